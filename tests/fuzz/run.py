"""One run: a node in its own process, its services fuzzed from one process, the decoders from another."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import re
import resource
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz.mutate import Mutator
from tests.fuzz.services import Watched, fuzz_services
from tests.fuzz.targets import Target, targets
from tests.fuzz.town import Town, harvest, living

SLOW_CPU_S = 1.0  # for one input of at most 64 KB
GROWTH_MB = 150
CORPUS = 400
OUTCOMES = 5_000  # that a target is remembered by: some repeat what they were fed, and there is no end of that
SLICE = 200  # inputs of one target before the next one has its turn


@dataclass
class Decoded:
    inputs: dict[str, int] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    slowest_cpu_ms: float = 0.0
    grown_mb: float = 0.0


def fuzz_decoders(chosen: list[Target], seconds: float, seed: int) -> Decoded:
    """Turn by turn. An input whose outcome was never seen before joins its target's corpus."""
    result = Decoded()
    mutators = {t.name: Mutator(seed + n, t.seeds) for n, t in enumerate(chosen)}
    outcomes: dict[str, set[str]] = {t.name: set() for t in chosen}
    replace = random.Random(seed)
    until, rss = time.monotonic() + seconds, 0.0
    while True:
        for target in chosen:
            mutator = mutators[target.name]
            for _ in range(SLICE):
                raw = mutator.next()
                begun = time.process_time()
                outcome, finding = _fed(target, raw)
                took = time.process_time() - begun
                result.slowest_cpu_ms = max(result.slowest_cpu_ms, round(took * 1_000, 1))
                if took > SLOW_CPU_S:
                    finding = finding or f"{took:.1f} s of processor time"
                if finding is not None and len(result.findings) < 50:
                    result.findings.append(f"{target.name}: {finding}: {raw[:2_000].hex()}")
                if len(outcomes[target.name]) < OUTCOMES and outcome not in outcomes[target.name]:
                    outcomes[target.name].add(outcome)
                    if len(mutator.corpus) < CORPUS:
                        mutator.corpus.append(raw)
                    else:
                        mutator.corpus[replace.randrange(CORPUS)] = raw
            result.inputs[target.name] = result.inputs.get(target.name, 0) + SLICE
            if time.monotonic() > until:
                result.grown_mb = round(_peak_mb() - rss, 1)
                if rss and result.grown_mb > GROWTH_MB:
                    result.findings.append(f"the decoders' memory grew by {result.grown_mb} MB")
                return result
        rss = rss or _peak_mb()  # after each target has had a turn


def _fed(target: Target, raw: bytes) -> tuple[str, str | None]:
    """What came of it, without its numbers; and what was wrong with that."""
    try:
        value = target.feed(raw)
    except target.allowed as error:
        return re.sub(r"[0-9a-f]*[0-9][0-9a-f]*|'[^']*'", "", str(error))[:120], None
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        return repr(error)[:80], f"{type(error).__name__}: {str(error)[:200]}"
    reason = getattr(value, "reason", None) or getattr(value, "code", "")
    return f"{type(value).__name__} {str(reason)[:60]}", None


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024


def _decode_in_process(town: Town, seeds: Mapping[str, list[bytes]], seconds: float, seed: int, answer: Any) -> None:
    answer.send(asdict(fuzz_decoders(targets(town, seeds), seconds, seed)))


async def run(seconds: float, seed: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Figures and findings of `seconds` of fuzzing; decoders and services at the same time."""
    with tempfile.TemporaryDirectory(prefix="gridbft-fuzz-") as folder:
        async with living(Path(folder)) as town:
            seeds = harvest(town)
            say(f"seed {seed}: {sum(map(len, seeds.values()))} right inputs to begin with")
            bare = Town(town.home, town.genesis, town.guests, town.client_address, town.peer_address)
            ours, theirs = multiprocessing.Pipe(duplex=False)
            context = multiprocessing.get_context("spawn")
            process = context.Process(target=_decode_in_process, args=(bare, seeds, seconds, seed, theirs))
            process.start()
            try:
                watched = await fuzz_services(town, seeds, seconds, seed)
                decoded = Decoded(**await asyncio.to_thread(_received, ours, process))
            finally:
                if process.is_alive():
                    process.kill()
                process.join()
    return _report(seconds, seed, decoded, watched)


def _received(ours: Any, process: Any) -> dict[str, Any]:
    while not ours.poll(0.5):
        if not process.is_alive() and not ours.poll(0):
            return {"findings": [f"the decoders' process ended with {process.exitcode}"]}
    found: dict[str, Any] = ours.recv()
    return found


def _report(seconds: float, seed: int, decoded: Decoded, watched: Watched) -> dict[str, Any]:
    by_target = {**decoded.inputs, **watched.inputs}
    return {
        "minutes": round(seconds / 60, 2),
        "seed": seed,
        "inputs": sum(by_target.values()),
        "by_target": by_target,
        "findings": decoded.findings + watched.findings,
        "decoders": {"slowest_cpu_ms": decoded.slowest_cpu_ms, "grown_mb": decoded.grown_mb},
        "node": {
            "honest_transactions": len(watched.heights),
            "slowest_answer_s": round(watched.slowest_answer_s, 2),
            "rss_mb_first": round(watched.rss_mb[0], 1) if watched.rss_mb else None,
            "rss_mb_last": round(watched.rss_mb[-1], 1) if watched.rss_mb else None,
            "open_files_first": watched.descriptors[0] if watched.descriptors else None,
            "open_files_last": watched.descriptors[-1] if watched.descriptors else None,
        },
    }
