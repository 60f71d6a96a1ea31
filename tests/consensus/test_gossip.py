"""What one node lacks and another holds is sent again, and nothing else."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.events import Event
from consensus.gossip import Lacking, lacking, own_messages, standpoint, votes_held, wanted_blocks
from consensus.machine import Step
from consensus.timeouts import TimerKind
from consensus.types import Height, Round
from tests.consensus.kit import (
    BEGIN,
    PRECOMMIT,
    PREVOTE,
    X,
    Y,
    checked,
    fired,
    machine,
    precommits,
    prevote,
    prevotes,
    proposal,
    run,
    vote,
)

TO_ROUND_2 = [fired(TimerKind.PRECOMMIT, 0), fired(TimerKind.PRECOMMIT, 1)]


def test_bitmaps_say_whose_votes_are_held() -> None:
    state, _ = run(machine("b"), BEGIN, prevotes("ad", X), precommits("c", None))
    assert votes_held(state, Round(0), PREVOTE) == 0b1001
    assert votes_held(state, Round(0), PRECOMMIT) == 0b0100
    assert votes_held(state, Round(9), PREVOTE) == 0


def test_a_peer_is_sent_exactly_what_it_lacks() -> None:
    rich, _ = run(machine("b"), BEGIN, proposal(X), checked(X), prevotes("abd", X), precommits("a", X))
    poor, _ = run(machine("c"), BEGIN, prevotes("ac", X))
    sent = lacking(rich, standpoint(poor))
    assert sent.proposal is not None
    assert sent.proposal.block_id == X
    assert sent.votes == (vote(PREVOTE, 0, X, "b"), vote(PREVOTE, 0, X, "d"), vote(PRECOMMIT, 0, X, "a"))


def test_a_peer_that_holds_all_is_sent_nothing() -> None:
    state, _ = run(machine("b"), BEGIN, proposal(X), checked(X), prevotes("acd", X))
    assert lacking(state, standpoint(state)) == Lacking(None, ())


def test_a_peer_at_another_height_is_sent_nothing() -> None:
    state, _ = run(machine("b"), BEGIN, prevotes("ab", X))
    elsewhere = replace(standpoint(run(machine("c"), BEGIN)[0]), height=Height(8))
    assert lacking(state, elsewhere) == Lacking(None, ())


def test_a_proposal_without_its_block_is_asked_for_again() -> None:
    state, _ = run(machine("b"), BEGIN, proposal(X))
    assert not standpoint(state).has_proposal
    assert wanted_blocks(state) == (X,)


def test_a_block_that_a_quorum_wants_is_asked_for() -> None:
    state, _ = run(machine("b"), BEGIN, precommits("acd", Y))
    assert wanted_blocks(state) == (Y,)
    assert wanted_blocks(run(state, checked(Y, valid=False))[0]) == ()


def test_a_missing_proof_of_lock_is_asked_for_and_sent() -> None:
    poor, _ = run(machine("b"), BEGIN, prevotes("a", X), prevote("d", None), TO_ROUND_2, checked(X), proposal(X, 2, 0))
    rich, _ = run(machine("c"), BEGIN, checked(X), prevotes("acd", X))
    stands = standpoint(poor)
    assert (stands.pol_round, stands.pol_prevotes) == (0, 0b0001), "d's nil is no part of the proof"
    sent = lacking(rich, stands)
    assert run(poor, [prevote("c", X), prevote("d", X)])[0].step is Step.PREVOTE
    assert {v.validator[:1] for v in sent.votes} == {b"c", b"d"}


def test_a_second_prevote_that_counts_towards_the_proof_is_not_asked_for_again() -> None:
    claim: list[Event] = [*TO_ROUND_2, checked(X), proposal(X, 2, 0)]
    state, _ = run(machine("b"), BEGIN, prevotes("a", X), prevote("d", None), claim, prevote("d", X))
    assert standpoint(state).pol_prevotes == 0b1001


def test_a_proof_made_of_second_prevotes_is_passed_on() -> None:
    """A liar's two prevotes: what convinced us must convince the next one."""
    claim: list[Event] = [*TO_ROUND_2, checked(X), proposal(X, 2, 0)]
    rich, _ = run(machine("b"), BEGIN, prevotes("ac", X), prevote("d", None), claim, prevote("d", X))
    poor, _ = run(machine("a"), BEGIN, prevotes("ac", X), prevote("d", None), claim)
    assert rich.step is Step.PREVOTE
    assert poor.step is Step.PROPOSE
    sent = lacking(rich, standpoint(poor))
    assert run(poor, [prevote("d", v.block_id) for v in sent.votes if v.validator[:1] == b"d"])[0].step is Step.PREVOTE


def test_a_peer_in_a_lower_round_hears_our_own_votes() -> None:
    ahead, _ = run(machine("a"), BEGIN, TO_ROUND_2, prevote("a", None, 2))
    behind, _ = run(machine("b"), BEGIN)
    assert lacking(ahead, standpoint(behind)).votes == (vote(PREVOTE, 2, None, "a"),)


def test_own_messages_are_the_proposal_and_the_votes_of_this_round() -> None:
    state, _ = run(machine("a"), BEGIN, proposal(X), prevotes("ab", X), precommits("a", X))
    assert [type(m).__name__ for m in own_messages(state)] == ["Proposal", "Vote", "Vote"]
    assert own_messages(run(state, fired(TimerKind.PRECOMMIT))[0]) == ()
    assert own_messages(run(machine(None), BEGIN, prevotes("ab", X))[0]) == ()


@settings(deadline=None, derandomize=True)
@given(st.integers(-5, 10), st.integers(0, 2**70), st.integers(0, 2**70), st.integers(-5, 10), st.integers(0, 2**70))
def test_a_peer_may_claim_anything(round_: int, prevoted: int, precommitted: int, pol_round: int, pol: int) -> None:
    """Bit-array length (GO-2025-4025): a bitmap longer than the set, a round that does not exist."""
    state, _ = run(machine("b"), BEGIN, proposal(X), checked(X), prevotes("acd", X))
    claim = replace(
        standpoint(state),
        round=Round(round_),
        prevotes=prevoted,
        precommits=precommitted,
        pol_round=Round(pol_round),
        pol_prevotes=pol,
    )
    assert len(lacking(state, claim).votes) <= 8
