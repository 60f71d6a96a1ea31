"""Seeded schedules of the production node: the same seed is the same run, and no fault breaks a promise."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys

import pytest

from chain.ledger import Ledger
from devnet.simnet.byzantine import TRICKS
from devnet.simnet.chaos import FAULTS, SNAPSHOT
from devnet.simnet.machine import Machine
from devnet.simnet.schedule import ALL_FAULTS, Outcome, run
from devnet.simnet.twins import run_twins
from devnet.simnet.world import Options, World
from node.replica import Replica

CI_SEEDS = 500


def clean(outcome: Outcome) -> None:
    assert not outcome.violations, f"python -m devnet.simnet --seed {outcome.seed} --trace: {outcome.violations}"


def test_five_hundred_harsh_schedules_break_no_promise() -> None:
    for seed in range(CI_SEEDS):
        clean(run(seed))


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_alone_breaks_no_promise(fault: str) -> None:
    for seed in range(4):
        clean(run(seed, Options(), frozenset({fault})))


@pytest.mark.parametrize("trick", [*TRICKS, "twins"])
def test_each_byzantine_trick_alone_breaks_no_promise(trick: str) -> None:
    for seed in range(4):
        outcome = run(seed, Options(), frozenset({trick}))
        clean(outcome)
        assert outcome.heights >= Options().heights
        assert outcome.transactions == Options().transactions


def test_wiped_machines_begin_from_true_snapshots_and_refuse_forged_ones() -> None:
    lines: list[str] = []
    for seed in range(24):
        outcome = run(
            seed, Options(validators=7, share=1.0, trace=True), frozenset({"wipe", "crash", "forge", SNAPSHOT})
        )
        clean(outcome)
        lines += outcome.lines
    assert any("begins from the snapshot" in line for line in lines)
    assert any("refuses the snapshot" in line for line in lines)


@pytest.mark.parametrize("validators", [1, 2, 3, 7, 10])
def test_other_numbers_of_validators_break_no_promise(validators: int) -> None:
    for seed in range(3):
        clean(run(seed, Options(validators=validators)))


def test_two_runs_of_a_seed_are_one_run_and_seeds_differ() -> None:
    first, again, other = run(11), run(11), run(12)
    assert first == again
    assert first.trace_digest != other.trace_digest


def test_the_hash_seed_does_not_change_a_schedule() -> None:
    digests = set()
    for hash_seed in ("0", "4321"):
        command = [sys.executable, "-m", "devnet.simnet", "--seeds", "0:12", "--json"]
        done = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, "PYTHONHASHSEED": hash_seed}, check=True
        )
        digests.add(json.loads(done.stdout.splitlines()[-1])["digest"])
    assert len(digests) == 1


def test_the_digest_of_a_range_is_that_of_its_last_seed() -> None:
    command = [sys.executable, "-m", "devnet.simnet", "--seeds", "4:7", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1])["digest"] == run(6).trace_digest


def test_a_world_that_ended_needs_no_collector() -> None:
    """Else it looks at every object of a long run again and again."""

    def worlds() -> dict[int, str]:
        kinds = World, Machine, Replica, Ledger
        return {id(o): type(o).__name__ for o in gc.get_objects() if isinstance(o, kinds)}

    run_twins(0, Options())
    gc.collect()
    gc.disable()
    try:
        before = worlds()
        for seed in range(3):
            run(seed)
        run_twins(0, Options())
        assert {i: kind for i, kind in worlds().items() if i not in before} == {}
    finally:
        gc.enable()


def test_the_trace_says_what_happened_and_changes_nothing() -> None:
    silent, spoken = run(5), run(5, Options(trace=True))
    assert silent.trace_digest == spoken.trace_digest
    assert not silent.lines
    assert any("faults:" in line for line in spoken.lines)
    assert any("height 1 is" in line for line in spoken.lines)


def test_a_schedule_with_everything_in_it_has_faults_and_liars() -> None:
    at_once = Options(trace=True, chaos_ms=1, calm_ms=1)
    opening = [run(seed, at_once).lines[0] for seed in range(200)]
    for name in ALL_FAULTS:
        assert any(name in line for line in opening), f"{name} is never drawn"
