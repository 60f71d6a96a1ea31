"""Evidence convicts a validator of signing two messages that exclude each other, and nobody else of anything."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consensus.evidence import (
    DoubleProposal,
    DoubleVote,
    Evidence,
    double_proposal,
    double_vote,
    height_of,
    offender,
    verify_evidence,
)
from consensus.signbytes import proposal_sign_bytes, vote_sign_bytes
from consensus.types import BlockId, Height, Proposal, Round, Vote, VoteKind
from tests.consensus.kit import CHAIN, HEIGHT, PRECOMMIT, PREVOTE, X, Y, sign, toy_verify, validator_set, vid

SET = validator_set("abcd")


def signed_vote(
    value: BlockId | None, who: str = "a", kind: VoteKind = PREVOTE, height: int = 7, round_: int = 2
) -> Vote:
    bare = Vote(kind, Height(height), Round(round_), value, vid(who))
    return replace(bare, signature=sign(vote_sign_bytes(CHAIN, bare), b"key-" + who.encode()))


def signed_proposal(value: BlockId, pol: int = -1, who: str = "a", round_: int = 2) -> Proposal:
    bare = Proposal(HEIGHT, Round(round_), value, Round(pol), vid(who))
    return replace(bare, signature=sign(proposal_sign_bytes(CHAIN, bare), b"key-" + who.encode()))


def fault(evidence: Evidence, chain: str = CHAIN) -> str | None:
    error = verify_evidence(evidence, chain, SET, toy_verify)
    return None if error is None else error.code


@pytest.mark.parametrize(("one", "other"), [(X, Y), (None, X), (Y, None)])
@pytest.mark.parametrize("kind", list(VoteKind))
def test_two_signed_votes_for_different_values_convict(one: BlockId, other: BlockId, kind: VoteKind) -> None:
    evidence = double_vote(signed_vote(one, kind=kind), signed_vote(other, kind=kind))
    assert fault(evidence) is None
    assert (offender(evidence), height_of(evidence)) == (vid("a"), HEIGHT)


def test_the_same_fault_is_the_same_evidence_whoever_saw_which_first() -> None:
    one, other = signed_vote(X), signed_vote(None)
    assert double_vote(one, other) == double_vote(other, one)
    assert fault(DoubleVote(one, other)) == "WRONG_ORDER"
    first, second = signed_proposal(X), signed_proposal(Y)
    assert double_proposal(first, second) == double_proposal(second, first)
    assert fault(DoubleProposal(second, first)) == "WRONG_ORDER"


def test_two_proposals_that_differ_in_block_or_proof_convict() -> None:
    assert fault(double_proposal(signed_proposal(X), signed_proposal(Y))) is None
    assert fault(double_proposal(signed_proposal(X), signed_proposal(X, pol=1))) is None
    assert offender(double_proposal(signed_proposal(X), signed_proposal(Y))) == vid("a")


def test_saying_the_same_twice_is_no_fault() -> None:
    assert fault(DoubleVote(signed_vote(X), replace(signed_vote(X), signature=b"other"))) == "SAME_VALUE"
    assert fault(DoubleProposal(signed_proposal(X), signed_proposal(X))) == "SAME_VALUE"


@pytest.mark.parametrize(
    "other",
    [signed_vote(Y, who="b"), signed_vote(Y, kind=PRECOMMIT), signed_vote(Y, height=8), signed_vote(Y, round_=3)],
    ids=["validator", "kind", "height", "round"],
)
def test_votes_of_different_slots_are_no_fault(other: Vote) -> None:
    assert fault(DoubleVote(signed_vote(X), other)) == "DIFFERENT_SLOTS"


def test_proposals_of_different_slots_are_no_fault() -> None:
    assert fault(DoubleProposal(signed_proposal(X), signed_proposal(Y, round_=6))) == "DIFFERENT_SLOTS"
    assert fault(DoubleProposal(signed_proposal(X), signed_proposal(Y, who="b"))) == "DIFFERENT_SLOTS"


def test_an_unsigned_or_foreign_message_convicts_nobody() -> None:
    good = double_vote(signed_vote(X), signed_vote(Y))
    assert fault(replace(good, second=replace(good.second, signature=b""))) == "BAD_SIGNATURE"
    assert fault(replace(good, first=replace(good.first, signature=b"junk"))) == "BAD_SIGNATURE"
    assert fault(good, chain="another") == "BAD_SIGNATURE"
    stranger = double_vote(signed_vote(X, who="z"), signed_vote(Y, who="z"))
    assert fault(stranger) == "STRANGER"


@pytest.mark.parametrize(("height", "round_"), [(-1, 0), (2**64, 0), (7, -1), (7, 2**40)])
def test_impossible_numbers_are_refused_without_raising(height: int, round_: int) -> None:
    votes = [replace(signed_vote(v), height=Height(height), round=Round(round_)) for v in (X, Y)]
    assert fault(DoubleVote(votes[0], votes[1])) == "BAD_ROUND"
    proposals = [replace(signed_proposal(v), height=Height(height), round=Round(round_)) for v in (X, Y)]
    assert fault(DoubleProposal(proposals[0], proposals[1])) == "BAD_ROUND"


def test_an_impossible_proof_round_is_refused_without_raising() -> None:
    bad = replace(signed_proposal(Y), pol_round=Round(2**40))
    assert fault(DoubleProposal(signed_proposal(X), bad)) == "BAD_ROUND"


def test_an_unknown_kind_is_refused() -> None:
    bad = [replace(signed_vote(v), kind=9) for v in (X, Y)]  # type: ignore[arg-type]
    assert fault(DoubleVote(bad[0], bad[1])) == "BAD_KIND"
