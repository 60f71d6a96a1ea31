"""`python -m devnet.simnet --seeds A:B`: plays seeded schedules and says which of them broke a promise."""

from __future__ import annotations

import json
import re
import sys
import time
from dataclasses import asdict, replace

import click

from devnet.simnet import latency
from devnet.simnet.mutants import MUTANTS
from devnet.simnet.schedule import ALL_FAULTS, Outcome
from devnet.simnet.schedule import run as run_schedule
from devnet.simnet.town import town_of
from devnet.simnet.twins import run_twins
from devnet.simnet.world import Options
from node.collector import calm_collector

PROGRESS_EVERY = 100


class Numbers(click.ParamType[tuple[int, ...]]):
    """Several whole numbers, separated by commas."""

    name = "numbers"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if not re.fullmatch(r"\d+(,\d+)*", str(value)):
            self.fail(f"{value!r} is no list of numbers such as 4,7,16", param, ctx)
        return tuple(map(int, str(value).split(",")))


def seed_range(text: str) -> range:
    found = re.fullmatch(r"(\d+):(\d+)", text)
    if found is None or int(found[1]) >= int(found[2]):
        raise click.BadParameter(f"{text!r} is no range of seeds such as 0:200 (from 0 to 199).", param_hint="--seeds")
    return range(int(found[1]), int(found[2]))


def fault_names(text: str) -> frozenset[str]:
    names = frozenset(name for name in text.split(",") if name)
    unknown = sorted(names - {*ALL_FAULTS, "all", "none"})
    if unknown or not names:
        what = f"There is no fault {unknown[0]!r}." if unknown else "Name at least one fault, or none."
        raise click.BadParameter(f"{what} Known: all, none, {', '.join(ALL_FAULTS)}.", param_hint="--faults")
    return frozenset(ALL_FAULTS) if "all" in names else names - {"none"}


@click.command()
@click.option("--seeds", default="0:100", show_default=True, help="A:B plays the seeds from A to B - 1.")
@click.option("--seed", type=click.IntRange(min=0), help="Plays this one seed (with --trace, shows it).")
@click.option("--validators", type=Numbers(), help="How many validators (4 unless told; several with --latency).")
@click.option("--heights", type=click.IntRange(1, 10_000), help="Heights that every schedule decides at least.")
@click.option("--faults", default="all", show_default=True, help="Faults to draw from, separated by commas.")
@click.option("--mutant", help="Plays with one rule of the node broken, in the schedules in which that shows.")
@click.option(
    "--adversary-third", is_flag=True, help="A third or more is byzantine: forks may happen and must convict."
)
@click.option("--twins", is_flag=True, help="Two machines with one key; partitions and leaders chosen for each round.")
@click.option("--latency", "wide_area", is_flag=True, help="No faults: heights and finality over published delays.")
@click.option("--trace", is_flag=True, help="Prints every event.")
@click.option("--json", "as_json", is_flag=True, help="No progress; the last line is one JSON object in any case.")
def main(
    seeds: str,
    seed: int | None,
    validators: tuple[int, ...] | None,
    heights: int | None,
    faults: str,
    mutant: str | None,
    adversary_third: bool,
    twins: bool,
    wide_area: bool,
    trace: bool,
    as_json: bool,
) -> None:
    """Seeded schedules of the production node under a virtual clock, network and disk."""
    if wide_area:
        if not all(1 <= size <= 200 for size in validators or ()):
            raise click.BadParameter("numbers from 1 to 200.", param_hint="--validators")
        latency.report(validators or latency.SIZES, heights or latency.HEIGHTS, as_json)
        return
    if validators is not None and (len(validators) != 1 or not 1 <= validators[0] <= 100):
        raise click.BadParameter("one number from 1 to 100.", param_hint="--validators")
    numbers = range(seed, seed + 1) if seed is not None else seed_range(seeds)
    if mutant is not None and mutant not in MUTANTS:
        raise click.BadParameter(f"there is no mutant {mutant!r}. Known: {', '.join(MUTANTS)}.", param_hint="--mutant")
    options = Options(
        validators=validators[0] if validators else 4,
        heights=heights or Options().heights,
        adversary_third=adversary_third,
        trace=trace,
    )
    play(numbers, options, fault_names(faults), mutant, twins, as_json)


def play(
    numbers: range, options: Options, faults: frozenset[str], mutant: str | None, twins: bool, as_json: bool
) -> None:
    """Plays and prints; exits with 1 if any schedule broke a promise."""
    town_of(options.validators)
    calm_collector()  # what all schedules share is not looked at again
    begun = time.perf_counter()
    outcomes: list[Outcome] = []
    for number in numbers:
        shown = options if number == numbers[-1] else replace(options, digest=False)
        outcome = play_one(number, shown, faults, mutant, twins)
        outcomes.append(outcome)
        if options.trace:
            print("\n".join(outcome.lines))
        for violation in outcome.violations:
            print(f"seed {number}: {violation.kind}: {violation.detail}", flush=True)
        if not as_json and len(outcomes) % PROGRESS_EVERY == 0:
            print(f"{len(outcomes)} of {len(numbers)} schedules", file=sys.stderr, flush=True)
    seconds = time.perf_counter() - begun
    summary = {
        "seeds": len(outcomes),
        "schedules_per_minute": round(60 * len(outcomes) / seconds),
        "heights_decided": sum(o.heights for o in outcomes),
        "transactions": sum(o.transactions for o in outcomes),
        "violations": [{"seed": o.seed, **asdict(v)} for o in outcomes for v in o.violations],
        "forks": sum(o.forked for o in outcomes),
        "most_calm_rounds": max((o.most_rounds for o in outcomes), default=0),
        "digest": outcomes[-1].trace_digest,
    }
    print(json.dumps(summary))
    sys.exit(1 if summary["violations"] else 0)


def play_one(number: int, options: Options, faults: frozenset[str], mutant: str | None, twins: bool) -> Outcome:
    if mutant is not None:
        return MUTANTS[mutant].play(number, options)
    return run_twins(number, options) if twins else run_schedule(number, options, faults)


if __name__ == "__main__":
    main()
