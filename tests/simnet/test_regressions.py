"""Seeds that once found a bug in the node, each under the faults that it needs. A changed node may turn a seed into another
schedule, so each bug that a mutant can bring back has its mutant too."""

from __future__ import annotations

import pytest

from devnet.simnet.chaos import NOTICED
from devnet.simnet.schedule import ALL_FAULTS, run
from devnet.simnet.world import Options

EVERYTHING = frozenset(ALL_FAULTS) - {NOTICED}  # which is younger than they are

FOUND = [
    ("a block that names another proposer in its header was taken (mutant borrowed_name)", 21, 4, {"invalid"}),
    ("a peer that has not the blocks it promised was asked again without end", 53, 4, EVERYTHING - {"wipe"}),
    ("f + 1 votes carried a wiped validator into a round before it knew whether it may sign", 24, 4, EVERYTHING),
    ("the same with seven validators: it signed twice", 3, 7, EVERYTHING),
    ("the same, and evidence against it stood on the chain", 5, 7, EVERYTHING),
    ("who rejoined a height voted before it heard its own vote from the others", 161, 4, EVERYTHING),
    ("a validator that began a height as an observer never voted in it when it could", 9, 4, EVERYTHING),
    ("who rejoined a height was told its votes, but not that it had proposed in that round", 73723, 4, EVERYTHING),
    (
        "what a peer heard before it knew whether it may sign was lost, with the last copy of a vote",
        75467,
        4,
        EVERYTHING,
    ),
    ("who rejoined a height entered the round it had proposed in before it knew that proposal", 8053, 4, EVERYTHING),
    (
        "a checker's: whoever heard a wiped validator's vote was two heights behind and had no use for it",
        27411,
        4,
        EVERYTHING,
    ),
    ("a checker's: a block that was on a disk before its power was cut had been seen by nobody", 6510, 4, EVERYTHING),
    (
        "a checker's: a wiped validator's first vote had reached nobody before it was lost for good",
        50196,
        4,
        EVERYTHING,
    ),
]


@pytest.mark.parametrize(("bug", "seed", "validators", "faults"), FOUND, ids=[bug for bug, *_ in FOUND])
def test_a_seed_that_found_a_bug_finds_it_no_more(bug: str, seed: int, validators: int, faults: set[str]) -> None:
    outcome = run(seed, Options(validators=validators), frozenset(faults))
    assert not outcome.violations, f"{bug}: {outcome.violations}"
