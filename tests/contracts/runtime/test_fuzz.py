"""Random programs do the same under plain CPython and on the metered runtime."""

from __future__ import annotations

import pytest

from contracts.host import ContractError
from contracts.runtime.checker import check
from tests.contracts.runtime.programs import program
from tests.contracts.runtime.twin import TwinWorld

SEEDS = 300


def run(seed: int) -> str:
    """Three calls one after the other; the code of the last."""
    world = TwinWorld()
    world.height = 5
    world.deploy("c", program(seed))
    code = ""
    for n in (4, 17, -3):
        try:
            world.call("c", "f", n)
            code = ""
        except ContractError as refusal:
            code = refusal.code
    return code


@pytest.mark.parametrize("start", range(0, SEEDS, 50))
def test_a_random_program_does_the_same_in_both_worlds(start: int) -> None:
    codes = [run(seed) for seed in range(start, start + 50)]
    assert codes.count("") > 5, "most programs should reach their end, or little is compared"


def test_a_random_program_is_in_the_language() -> None:
    for seed in range(0, SEEDS, 7):
        assert check(program(seed).encode())[1] == [], f"seed {seed}"
