"""Chaos on real processes: four nodes, steady numbered transfers, faults from a seed; then every promise is checked.

Ends with {"acknowledged", "lost", "doubled", "forks", "stall_seconds_max", "died", "faults": {kind: count}}. `died` counts
nodes that ended by themselves while nothing was done to them; `stall_seconds_max` is what `longest_stall` measures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devnet.chaos_check import Findings, check
from devnet.chaos_plan import Fault, Kind, Round, longest_stall, rounds
from devnet.chaos_site import Site
from devnet.chaos_traffic import Traffic
from devnet.network import NetworkError
from gridbft.errors import ClientError

READY_HEIGHT = 2
TELL_S = 10.0
LEVEL_REST_S = 2.0  # between faults, with all nodes level
SIGN_S = 60.0
DRAIN_S = 60.0
LAG_POLL_S = 0.25
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Options:
    """`rate_per_s`: transfers a second over all nodes."""

    minutes: float
    seed: int
    rate_per_s: float = 40.0
    kinds: tuple[Kind, ...] = tuple(Kind)
    is_json: bool = False
    folder: Path | None = None


@dataclass(slots=True)
class Outcome:
    """`problems`: sentences about what is wrong beside what the findings count."""

    findings: Findings
    acknowledged: int
    stall_seconds_max: float
    faults: Counter[str]
    problems: list[str] = field(default_factory=list)
    died: int = 0

    @property
    def good(self) -> bool:
        found = self.findings
        return not (found.lost or found.doubled or found.forks or self.died or self.problems)

    def record(self) -> dict[str, Any]:
        return {
            "acknowledged": self.acknowledged,
            "lost": len(self.findings.lost),
            "doubled": len(self.findings.doubled),
            "forks": len(self.findings.forks),
            "stall_seconds_max": round(self.stall_seconds_max, 1),
            "died": self.died,
            "faults": dict(sorted(self.faults.items())),
        }


class Run:
    """One run over a site that is open."""

    def __init__(self, site: Site, options: Options) -> None:
        self.site = site
        self.options = options
        self.traffic = Traffic(site.network, site.clients, options.rate_per_s)
        self.faults: Counter[str] = Counter()
        self.problems: list[str] = []
        self._begun = time.monotonic()
        self._lags: list[tuple[float, float]] = []  # (when, by how much this very process was late), seconds

    async def whole(self) -> Outcome:
        """Raises NetworkError where a node does not come back."""
        await asyncio.gather(*(self.site.answers(place, READY_HEIGHT) for place in range(4)))
        await self.traffic.open()
        self._begun = time.monotonic()
        self.tell(f"four nodes in {self.site.network.folder}, seed {self.options.seed}")
        helpers = [asyncio.create_task(work) for work in (self.traffic.work(), self._report(), self._measure_lag())]
        striking = asyncio.create_task(self._strike_until_time())
        try:
            await asyncio.wait({striking, *helpers}, return_when=asyncio.FIRST_COMPLETED)
            for task in (striking, *helpers):
                if task.done():
                    task.result()
            return await self._finish()
        finally:
            for task in (striking, *helpers):
                task.cancel()
            await asyncio.gather(striking, *helpers, return_exceptions=True)

    async def _strike_until_time(self) -> None:
        until = self._begun + 60 * self.options.minutes
        plan = rounds(self.options.seed, self.options.kinds)
        await asyncio.sleep(LEVEL_REST_S)
        while time.monotonic() < until:
            await self.strike(next(plan))
            await asyncio.sleep(LEVEL_REST_S)

    async def strike(self, faults: Round) -> None:
        """All at once; returns when every node is whole again."""
        self.tell(" and ".join(map(str, faults)))
        await asyncio.gather(*(self.site.strike(fault) for fault in faults))
        self.faults.update(_counted(faults))
        await self._be_whole_again()

    async def _be_whole_again(self) -> None:
        """All level and all voting, so that the next fault finds no other one."""
        height = await self.site.level()
        silent = await self.site.all_sign(height, SIGN_S)
        if silent:
            self.problems.append(f"{', '.join(silent)} signed no block within {SIGN_S:.0f} s after height {height}")
            self.tell(self.problems[-1])

    async def _finish(self) -> Outcome:
        self.tell("healed: waiting until all is final and all nodes are level")
        self.site.wires.heal()
        stall = longest_stall(self.traffic.decided, self.site.spans)
        await self.traffic.drain(DRAIN_S)
        height = await self.site.level()
        self._note_what_is_left()
        acknowledged = len(self.traffic.acknowledged)
        self.tell(f"looking up {acknowledged} transactions and {height} blocks on every node")
        findings = await check(self.site.clients, self.traffic, height)
        late = max((lag for at, lag in self._lags if stall.begin <= at <= stall.end + 1), default=0.0)
        self.tell(
            f"longest stall {stall.end - stall.begin:.1f} s, {stall.begin - self._begun:.0f} s after the start; this "
            f"process itself was late by up to {late:.1f} s then, load average {os.getloadavg()[1]:.1f}"
        )
        if findings.accusing:
            self.problems.append(f"blocks {findings.accusing[:SHOWN]} hold evidence that a validator signed twice")
        deaths = self.site.deaths
        return Outcome(findings, acknowledged, stall.end - stall.begin, self.faults, self.problems, len(deaths))

    def _note_what_is_left(self) -> None:
        traffic = self.traffic
        if traffic.waiting:
            self.problems.append(f"{len(traffic.waiting)} transactions are not final {DRAIN_S:.0f} s after the end")
        if traffic.refusals:
            self.problems.append(f"good transactions were refused: {traffic.refusals}")
        reverted = sum(not place.ok for place in traffic.acknowledged.values())
        if reverted:
            self.problems.append(f"{reverted} good transfers were reverted")

    # -- for people

    def tell(self, line: str) -> None:
        at = time.monotonic() - self._begun
        print(f"{at:6.0f} s  {line}", file=sys.stderr if self.options.is_json else sys.stdout, flush=True)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(TELL_S)
            traffic = self.traffic
            self.tell(
                f"height {traffic.height}, sent {len(traffic.amounts)}, acknowledged {len(traffic.acknowledged)}, "
                f"waiting {len(traffic.waiting)}, faults {sum(self.faults.values())}, died {len(self.site.deaths)}"
            )

    async def _measure_lag(self) -> None:
        """How late this process is itself: where it got no processor, the nodes got none either."""
        while True:
            due = time.monotonic() + LAG_POLL_S
            await asyncio.sleep(LAG_POLL_S)
            now = time.monotonic()
            self._lags.append((now, now - due))


def _counted(faults: Sequence[Fault]) -> list[str]:
    """Each fault by its kind; two at once are counted once more."""
    return [fault.kind.value for fault in faults] + (["two_at_once"] if len(faults) > 1 else [])


async def chaos(options: Options, folder: Path) -> Outcome:
    """A fresh network in `folder`, which is empty or not there. Raises NetworkError."""
    async with Site(folder) as site:
        run = Run(site, options)
        try:
            return await run.whole()
        finally:
            for death in site.deaths:
                run.tell(f"{death.name} ended by itself; the end of its log:\n{death.log}")


async def _until_told(options: Options, folder: Path) -> Outcome:
    """SIGTERM ends it as Ctrl-C does."""
    task = asyncio.current_task()
    assert task is not None, "asyncio.run makes one"
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await chaos(options, folder)


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    out = sys.stderr if options.is_json else sys.stdout
    try:
        with tempfile.TemporaryDirectory(prefix="gridbft-chaos-") as temporary:
            outcome = asyncio.run(_until_told(options, options.folder or Path(temporary) / "net"))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("stopped; no process is left", file=sys.stderr)
        return 130
    except (NetworkError, ClientError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for what in ("lost", "doubled", "forks"):
        found = getattr(outcome.findings, what)
        if found:
            print(f"{what}: {', '.join(map(str, found[:SHOWN]))}{' ...' if len(found) > SHOWN else ''}", file=out)
    for problem in outcome.problems:
        print(f"problem: {problem}", file=out)
    print(json.dumps(outcome.record()))
    return 0 if outcome.good else 1


def _options(arguments: list[str] | None) -> Options:
    parser = argparse.ArgumentParser(
        prog="devnet/chaos.sh",
        description="Four real processes under load while faults strike; then every acknowledged transaction is looked "
        "up on every node. Exit 1 when something was lost, doubled, forked, or a node ended by itself.",
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="how long faults strike (default 10)")
    parser.add_argument("--seed", type=int, default=1, help="which faults, in which order (default 1)")
    parser.add_argument("--rate", type=float, default=40.0, help="transactions a second (default 40)")
    parser.add_argument("--faults", help=f"kinds, comma-separated (default all: {','.join(Kind)})")
    parser.add_argument("--folder", type=Path, help="keep the network here afterwards, with all logs")
    parser.add_argument("--json", action="store_true", help="nothing but the result on the standard output")
    given = parser.parse_args(arguments)
    if given.minutes <= 0 or given.rate <= 0:
        parser.error("--minutes and --rate are above 0")
    try:
        kinds = tuple(Kind(word) for word in given.faults.split(",")) if given.faults else tuple(Kind)
    except ValueError:
        parser.error(f"--faults {given.faults!r}: known are {', '.join(Kind)}")
    return Options(given.minutes, given.seed, given.rate, kinds, given.json, given.folder)


if __name__ == "__main__":
    sys.exit(main())
