"""A third or more may fork the chain, but not without leaving two signed messages each behind."""

from __future__ import annotations

from consensus.types import BlockId, Height, Round, ValidatorId, Vote, VoteKind
from devnet.simnet.checkers import Checkers, convicted
from devnet.simnet.schedule import run
from devnet.simnet.town import town_of
from devnet.simnet.witness import Witness
from devnet.simnet.world import Options

IDS = [ValidatorId(bytes([i]) * 20) for i in range(4)]
A, B = BlockId(b"a" * 32), BlockId(b"b" * 32)


def witness(*votes: tuple[VoteKind, int, BlockId | None, int]) -> Witness:
    """Of four validators; votes are (kind, round, block, who), and all of them reached somebody."""
    seen = Witness(4)
    seen.heard.add(b"")
    for kind, round_, block_id, who in votes:
        seen.vote(Vote(kind, Height(1), Round(round_), block_id, IDS[who]))
    return seen


def prevotes(round_: int, block_id: BlockId | None, *who: int) -> list[tuple[VoteKind, int, BlockId | None, int]]:
    return [(VoteKind.PREVOTE, round_, block_id, w) for w in who]


def precommits(round_: int, block_id: BlockId | None, *who: int) -> list[tuple[VoteKind, int, BlockId | None, int]]:
    return [(VoteKind.PRECOMMIT, round_, block_id, w) for w in who]


def test_every_fork_by_a_third_convicts_a_third() -> None:
    options = Options(adversary_third=True, transactions=100, calm_ms=100)
    outcomes = [run(seed, options, frozenset({"equivocate"})) for seed in range(16)]
    assert sum(o.forked for o in outcomes) >= 3, "nothing was tried"
    for outcome in outcomes:
        assert not outcome.violations, (outcome.seed, outcome.violations)


def test_a_fork_that_convicts_nobody_is_reported() -> None:
    checkers = Checkers(town_of(4), witness())
    checkers.forked = True
    checkers.judge(set(), 4, may_fork=True)
    assert [v.kind for v in checkers.violations] == ["unaccountable"]


def test_two_votes_of_one_step_convict() -> None:
    charges = witness(*prevotes(0, A, 0, 1), *prevotes(0, None, 0)).charges()
    assert convicted(charges) == {bytes(IDS[0])}


def test_a_forgotten_lock_convicts() -> None:
    seen = witness(*prevotes(0, A, 0, 1, 2), *precommits(0, A, 0), *prevotes(2, B, 0))
    assert {c.kind for c in seen.charges()} == {"forgot its lock"}
    assert convicted(seen.charges()) == {bytes(IDS[0])}


def test_a_lock_let_go_for_a_later_quorum_does_not_convict() -> None:
    seen = witness(*prevotes(0, A, 0, 1, 2), *precommits(0, A, 0), *prevotes(1, B, 1, 2, 3), *prevotes(2, B, 0))
    assert seen.charges() == []


def test_a_quorum_before_the_lock_does_not_excuse() -> None:
    seen = witness(*prevotes(0, B, 1, 2, 3), *prevotes(1, A, 0, 1, 2), *precommits(1, A, 0), *prevotes(2, B, 0))
    assert convicted(seen.charges()) == {bytes(IDS[0])}


def test_a_precommit_needs_a_quorum_of_prevotes_for_its_block() -> None:
    assert {c.kind for c in witness(*prevotes(0, A, 0, 1), *precommits(0, A, 0)).charges()} == {"hasty"}
    assert {c.kind for c in witness(*prevotes(0, A, 0, 1), *precommits(0, None, 0)).charges()} == {"hasty"}
    assert witness(*prevotes(0, A, 0, 1), *prevotes(0, None, 2), *precommits(0, None, 0)).charges() == []


def test_a_signature_that_reached_nobody_charges_nobody() -> None:
    seen = witness(*prevotes(0, A, 0), *prevotes(0, B, 0))
    assert [c.kind for c in seen.charges()] == ["doubly signed"]
    seen.heard.clear()
    assert seen.charges() == []


def test_a_wiped_validator_answers_for_what_somebody_still_remembers() -> None:
    seen = witness(*prevotes(0, A, 0), *prevotes(0, B, 0))
    seen.wiped.add(IDS[0])
    seen.reached(b"", (1, 7))
    assert [c.kind for c in seen.charges()] == ["doubly signed"]
    seen.remembers = lambda machine, life: (machine, life) != (1, 7)
    assert seen.charges() == []
