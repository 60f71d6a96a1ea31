"""What distance and number cost: validators spread over cloud regions, no faults, published round-trip times.

Time is virtual: it counts how long messages travel, not how long a processor works.
"""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files

from devnet.simnet.town import town_of
from devnet.simnet.world import Options, World
from node.replica import ReplicaConfig

SIZES = (4, 7, 16, 32, 64, 100)
HEIGHTS = 60
WARM_UP = 5  # heights that a fresh network decides before anything is counted
JITTER = 0.1  # of a one-way time, added by chance
PRODUCTION = ReplicaConfig(tick_ms=1_000)  # the shipped time-outs; fewer statuses, which carry nothing without faults
LIMIT_MS = 600_000
CLIENT_EVERY_MS = 100


@dataclass(frozen=True, slots=True)
class Figures:
    """Finality: from a client's submission to a validator until that validator has applied the block with it."""

    validators: int
    regions: int
    heights: int
    heights_per_minute: int
    finality_p50_ms: int
    finality_p90_ms: int
    finality_p99_ms: int
    virtual_seconds: float


@cache
def round_trips() -> tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]:
    """Region names and the matrix of round-trip times in ms, from the data file."""
    lines = (files("devnet.simnet") / "round_trips.csv").read_text().splitlines()
    rows = list(csv.reader(line for line in lines if not line.startswith("#")))
    return tuple(rows[0][1:]), tuple(tuple(map(int, row[1:])) for row in rows[1:])


def measure(validators: int, heights: int = HEIGHTS, seed: int = 0) -> Figures:
    """Validators stand in the regions in turn; a client near each sends now and then."""
    regions, matrix = round_trips()
    world = World(seed, Options(validators=validators, heights=heights), town_of(validators), PRODUCTION)

    def one_way_ms(sender: int, receiver: int) -> int:
        trip = matrix[sender % len(regions)][receiver % len(regions)]
        return max(1, round(trip / 2 * (1 + JITTER * world.random.random())))

    world.one_way_ms = one_way_ms
    for machine in world.machines:
        world.after(world.random.randint(0, 50), machine.start)
    sent: dict[int, int] = {}
    took: list[int] = []
    number = 0
    begun_ms = 0
    while len(world.checkers.chain) < heights + WARM_UP and world.now_ms < LIMIT_MS and not world.checkers.violations:
        if begun_ms == 0 and len(world.checkers.chain) >= WARM_UP:
            begun_ms = world.now_ms
        if begun_ms:
            sent[number] = world.now_ms
        world.submit(number)
        number += 1
        world.run_until(world.now_ms + CLIENT_EVERY_MS, lambda: collect(world, sent, took))
    assert not world.checkers.violations, world.checkers.violations
    took.sort()
    decided = len(world.checkers.chain) - WARM_UP
    lasted_ms = world.now_ms - begun_ms
    half, most, nearly_all = (took[min(len(took) - 1, len(took) * share // 100)] for share in (50, 90, 99))
    per_minute = round(60_000 * decided / lasted_ms)
    spread = min(validators, len(regions))
    return Figures(validators, spread, decided, per_minute, half, most, nearly_all, lasted_ms / 1_000)


def collect(world: World, sent: dict[int, int], took: list[int]) -> bool:
    """Moves what has been acknowledged from `sent` to `took`; never ends the run."""
    for number in [n for n in sent if world.town.tx(n).id in world.checkers.acknowledged]:
        took.append(world.now_ms - sent.pop(number))
    return False


def report(sizes: tuple[int, ...], heights: int, as_json: bool) -> None:
    """Prints a line for each size, or all as one JSON object."""
    found = []
    for size in sizes:
        figures = measure(size, heights)
        found.append(figures)
        if not as_json:
            print(
                f"{size:>4} validators in {figures.regions:>2} regions: {figures.heights_per_minute:>4} heights a minute, "
                f"finality {figures.finality_p50_ms} ms (median), {figures.finality_p90_ms} (90 %), "
                f"{figures.finality_p99_ms} (99 %)",
                flush=True,
            )
    print(json.dumps({"round_trips": "devnet/simnet/round_trips.csv", "latency": [asdict(f) for f in found]}))
    sys.stdout.flush()
