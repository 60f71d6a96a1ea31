"""Measures the state tree over LevelDB: `python -m devnet.bench_state --keys 1000000 --batch 1000`.

Fills a tree in a temporary folder, then changes batches of keys drawn at random among all of them, and prints one JSON
object: `us_per_key` is planning (everything but the store's own write), `write_us_per_key` the store's batch.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import tempfile
from pathlib import Path
from time import perf_counter

from chain.leveldb import LevelKV
from chain.statetree import StateTree


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
    fill(tree, kv, keys, 20_000)
    fill_seconds = perf_counter() - started
    kv.compact(b"", b"\xff")
    plan_seconds: list[float] = []
    write_seconds: list[float] = []
    changed = 0
    for turn in range(rounds):
        writes: dict[bytes, bytes | None] = {key_of(i): b"%d/%d" % (i, turn) for i in draw.sample(range(keys), batch)}
        began = perf_counter()
        change = tree.plan(writes)
        planned = perf_counter()
        kv.write(change.puts, change.deletes, sync=True)
        write_seconds.append(perf_counter() - planned)
        tree.adopt(change)
        plan_seconds.append(planned - began)
        changed += len(change.puts)
    kv.close()
    half = rounds // 2  # the first half warms the caches
    return {
        "keys": keys,
        "batch": batch,
        "us_per_key": round(sum(plan_seconds[half:]) / (rounds - half) / batch * 1e6, 2),
        "nodes_per_key": round(changed / rounds / batch, 2),
        "us_per_key_cold": round(plan_seconds[0] / batch * 1e6, 2),
        "write_us_per_key": round(sum(write_seconds[half:]) / (rounds - half) / batch * 1e6, 2),
        "fill_us_per_key": round(fill_seconds / keys * 1e6, 2),
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


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
