"""A checker that cannot fail is worth nothing: each broken rule is found, within its stated number of seeds."""

from __future__ import annotations

import pytest

from devnet.simnet.mutants import MUTANTS


@pytest.mark.parametrize("name", list(MUTANTS))
def test_a_mutant_is_found_within_its_seeds(name: str) -> None:
    mutant = MUTANTS[name]
    assert any(mutant.play(seed).violations for seed in range(mutant.within)), f"{name}: {mutant.what}, unseen"


def test_there_are_more_than_a_dozen_mutants() -> None:
    assert len(MUTANTS) >= 12


def test_a_mutant_leaves_the_honest_rules_as_they_were() -> None:
    for mutant in MUTANTS.values():
        places = [(where, name) for where, name, _ in mutant.patches()]
        before = [getattr(where, name) for where, name in places]
        with mutant.applied():
            assert [getattr(where, name) for where, name in places] != before
        assert [getattr(where, name) for where, name in places] == before
