"""Measures the state tree over LevelDB: `python -m devnet.bench_state --keys 1000000 --batch 1000`.

Fills a tree in a temporary folder, then changes batches of keys drawn at random among all of them, and prints one JSON
object. `us_per_key` is the median batch's planning: hashing, reading nodes, building the puts, everything but the store's
own write, which is `write_us_per_key`. `us_per_key_best` is the best batch, closest to what an idle machine gives.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter, thread_time

from chain.leveldb import LevelKV
from chain.statetree import StateTree
from node.collector import calm_collector


def key_of(number: int) -> bytes:
    return b"payments/balances/%d" % number


def fill(tree: StateTree, kv: LevelKV, keys: int, batch: int) -> None:
    for start in range(0, keys, batch):
        change = tree.plan({key_of(i): b"%d" % i for i in range(start, min(start + batch, keys))})
        kv.write(change.puts, change.deletes, sync=False)
        tree.adopt(change)


def run(keys: int, batch: int, rounds: int, folder: Path) -> dict[str, object]:
    """Figures of `rounds` batches against a tree of `keys` keys."""
    draw = random.Random(7)
    kv = LevelKV(folder / "state")
    tree = StateTree(kv)
    started = perf_counter()
    fill(tree, kv, keys, 2_000)
    fill_seconds = perf_counter() - started
    kv.compact(b"", b"\xff")
    calm_collector()  # as a node does
    plan_us: list[float] = []
    plan_cpu_us: list[float] = []
    write_us: list[float] = []
    changed = 0
    for turn in range(rounds):
        writes: dict[bytes, bytes | None] = {key_of(i): b"%d/%d" % (i, turn) for i in draw.sample(range(keys), batch)}
        began, cpu = perf_counter(), thread_time()
        change = tree.plan(writes)
        planned, planned_cpu = perf_counter(), thread_time()
        kv.write(change.puts, change.deletes, sync=True)
        write_us.append((perf_counter() - planned) / batch * 1e6)
        tree.adopt(change)
        plan_us.append((planned - began) / batch * 1e6)
        plan_cpu_us.append((planned_cpu - cpu) / batch * 1e6)
        changed += len(change.puts)
    kv.close()
    warm = rounds // 2  # the first half fills the caches
    return {
        "keys": keys,
        "batch": batch,
        "us_per_key": round(median(plan_us[warm:]), 2),
        "puts_per_key": round(changed / rounds / batch, 2),
        "cpu_us_per_key": round(median(plan_cpu_us[warm:]), 2),
        "us_per_key_best": round(min(plan_us[warm:]), 2),
        "write_us_per_key": round(median(write_us[warm:]), 2),
        "fill_us_per_key": round(fill_seconds / keys * 1e6, 2),
        "private_mb": private_memory_mb(),
    }


def private_memory_mb() -> int:
    """Without the store's mapped files, which the system may drop at will."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("RssAnon"))


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the state tree over LevelDB.")
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=200)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(run(given.keys, given.batch, given.rounds, Path(folder))))


if __name__ == "__main__":
    main()
