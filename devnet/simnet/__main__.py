"""`python -m devnet.simnet --seeds A:B`: plays seeded schedules and says which of them broke a promise."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict

import click

from devnet.simnet.schedule import FAULTS, Outcome, run
from devnet.simnet.world import Options


@click.command()
@click.option("--seeds", default="0:100", show_default=True, help="A:B plays seeds A to B - 1.")
@click.option("--seed", type=int, help="Plays this one seed (with --trace, shows it).")
@click.option("--validators", default=4, show_default=True)
@click.option("--heights", default=4, show_default=True, help="Heights that every schedule decides at least.")
@click.option("--faults", default=",".join(FAULTS), show_default=True, help="Faults to draw from.")
@click.option("--trace", is_flag=True, help="Prints every event.")
@click.option("--json", "as_json", is_flag=True, help="The last line is one JSON object.")
def main(seeds: str, seed: int | None, validators: int, heights: int, faults: str, trace: bool, as_json: bool) -> None:
    first, last = (seed, seed + 1) if seed is not None else map(int, seeds.split(":"))
    options = Options(validators=validators, heights=heights, trace=trace)
    begun = time.perf_counter()
    outcomes: list[Outcome] = []
    for number in range(first, last):
        outcome = run(number, options, frozenset(f for f in faults.split(",") if f))
        outcomes.append(outcome)
        if trace:
            print("\n".join(outcome.lines))
        for violation in outcome.violations:
            print(f"seed {number}: {violation.kind}: {violation.detail}", flush=True)
        if not as_json and number % 200 == 199:
            print(f"{number + 1 - first} schedules", file=sys.stderr, flush=True)
    seconds = time.perf_counter() - begun
    summary = {
        "seeds": len(outcomes),
        "schedules_per_minute": round(60 * len(outcomes) / seconds),
        "heights_decided": sum(o.heights for o in outcomes),
        "transactions": sum(o.transactions for o in outcomes),
        "violations": [{"seed": o.seed, **asdict(v)} for o in outcomes for v in o.violations],
    }
    print(json.dumps(summary))
    sys.exit(1 if summary["violations"] else 0)


main()
