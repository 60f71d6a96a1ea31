"""`python -m devnet.simnet` as its users meet it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from devnet.simnet.__main__ import main

NAMED = {"seeds", "schedules_per_minute", "heights_decided", "transactions", "violations"}


def test_the_last_line_is_the_promised_object() -> None:
    result = CliRunner().invoke(main, ["--seeds", "3:6", "--json"])
    assert result.exit_code == 0
    summary = json.loads(result.stdout.splitlines()[-1])
    assert summary.keys() >= NAMED
    assert summary["seeds"] == 3
    assert summary["violations"] == []


def test_a_violation_is_named_with_its_seed_and_exits_with_one() -> None:
    result = CliRunner().invoke(main, ["--seeds", "0:2", "--mutant", "quorum_minus_one", "--json"])
    assert result.exit_code == 1
    violations = json.loads(result.stdout.splitlines()[-1])["violations"]
    assert violations[0].keys() == {"seed", "kind", "detail"}
    assert violations[0]["seed"] == 0


def test_a_trace_is_readable() -> None:
    result = CliRunner().invoke(main, ["--seed", "5", "--trace"])
    assert result.exit_code == 0
    assert "VotesReceived from" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--seeds", "5"], "is no range of seeds"),
        (["--seeds", "9:3"], "is no range of seeds"),
        (["--faults", "meteor"], "There is no fault 'meteor'"),
        (["--faults", ""], "Name at least one fault"),
        (["--mutant", "x"], "there is no mutant 'x'"),
        (["--validators", "0"], "one number from 1 to 100"),
        (["--validators", "4,7"], "one number from 1 to 100"),
        (["--validators", "four"], "is no list of numbers"),
        (["--heights", "0"], "0 is not in the range"),
        (["--latency", "--validators", "0"], "from 1 to 200"),
    ],
)
def test_bad_input_gets_a_sentence_and_exit_code_two(arguments: list[str], sentence: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr


def test_wide_area_figures_grow_with_distance_not_with_chance() -> None:
    runs = [CliRunner().invoke(main, ["--latency", "--validators", "4,10", "--heights", "12", "--json"]) for _ in "ab"]
    assert runs[0].stdout == runs[1].stdout
    near, far = json.loads(runs[0].stdout.splitlines()[-1])["latency"]
    assert near["heights"] >= 12
    assert near["finality_p50_ms"] <= near["finality_p90_ms"] <= near["finality_p99_ms"]
    assert far["regions"] == 10
