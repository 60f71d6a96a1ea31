"""Random programs do the same under plain CPython and on the metered runtime; more of them by `python -m tests.contracts.runtime.fuzz`."""

from __future__ import annotations

import pytest

from contracts.runtime.checker import check
from tests.contracts.runtime.fuzz import fuzz, run, strange
from tests.contracts.runtime.programs import OTHER, program

SEEDS = 200


@pytest.mark.parametrize("start", range(0, SEEDS, 50))
def test_a_random_program_does_the_same_in_both_worlds(start: int) -> None:
    report = fuzz(start, 50)
    assert report["endings"]["ok"] > 10, "most programs should reach their end, or little is compared"


def test_a_random_program_is_in_the_language() -> None:
    for seed in range(0, SEEDS, 7):
        assert check(program(seed).encode())[1] == [], f"seed {seed}"
    assert check(OTHER.encode())[1] == []


def test_the_same_seed_gives_the_same_program_and_the_same_digest() -> None:
    assert program(3) == program(3) != program(4)
    assert run(3) == run(3)


def test_random_programs_use_records_nested_collections_and_other_contracts() -> None:
    text = "".join(program(seed) for seed in range(60))
    for part in (
        "replace(q",
        "boxes[",
        "grids[",
        "g.append",
        "call('other', 'note'",
        "call('other', 'turned'",
        "e.items()",
    ):
        assert part in text, part


def test_a_program_with_something_strange_in_it_differs_by_that_only() -> None:
    for seed in range(20):
        assert 1 <= len(strange(seed).splitlines()) - len(program(seed).splitlines()) <= 6
