"""A validator that followed a height in silence and then takes part in it: it knows all that it said, and contradicts none of it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.effects import BuildValue, Effect, SignProposal, SignVote
from consensus.events import Event, TimerFired
from consensus.lock import Lock, LockRecord
from consensus.machine import State, Step
from consensus.state import find_voice
from consensus.timeouts import TimerKind
from consensus.types import NO_ROUND, Proposal, Round, VoteKind
from tests.consensus.kit import (
    BEGIN,
    HEIGHT,
    PREVOTE,
    X,
    Y,
    checked,
    machine,
    precommit,
    prevote,
    proposal,
    run,
    validator_set,
    vid,
    vote,
)

ME = "b"
WHO = st.sampled_from("aabbcd")
VALUES = st.sampled_from([X, Y, None])
ROUNDS = st.integers(0, 3)
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(prevote, WHO, VALUES, ROUNDS),
    st.builds(precommit, WHO, VALUES, ROUNDS),
    st.builds(proposal, st.sampled_from([X, Y]), ROUNDS),
    st.builds(checked, st.sampled_from([X, Y])),
    st.builds(TimerFired, st.sampled_from(TimerKind), st.just(HEIGHT), ROUNDS.map(Round)),
    st.just(BEGIN),
)
SCRIPTS = st.lists(EVENTS, max_size=25)
POWERS = st.sampled_from([None, {ME: 2}, {ME: 5}])


def own_slots(state: State) -> set[tuple[Round, VoteKind]]:
    index = state.validators.index[vid(ME)]
    return {(r, k) for r, kept in state.rounds.items() for k in VoteKind if kept.tally(k).votes[index] is not None}


def own_offers(state: State) -> set[Round]:
    return {r for r, kept in state.rounds.items() if kept.proposal and kept.proposal.proposal.proposer == vid(ME)}


def first_round_of(state: State, offered: tuple[Proposal, ...] = ()) -> Round:
    spoken = {r for r, _ in own_slots(state)} | own_offers(state) | {p.round for p in offered}
    return max(Round(0), state.round, *spoken)


def signed_slots(effects: list[Effect]) -> set[tuple[Round, VoteKind]]:
    return {(e.vote.round, e.vote.kind) for e in effects if isinstance(e, SignVote)}


def offered_rounds(effects: list[Effect]) -> set[Round]:
    signed = {e.proposal.round for e in effects if isinstance(e, SignProposal)}
    return signed | {e.round for e in effects if isinstance(e, BuildValue)}


@settings(max_examples=400, deadline=None, derandomize=True)
@given(SCRIPTS, SCRIPTS, POWERS, st.booleans())
def test_nothing_is_signed_where_it_had_spoken_whatever_its_power(
    heard: list[Event], later: list[Event], powers: dict[str, int] | None, knows_offer: bool
) -> None:
    """Seed 8053: fed back message by message, others' proposals carried it into the round in which it had proposed itself."""
    followed, _ = run(machine(None, powers=powers), *heard)
    if followed.step is Step.DECIDED:
        return
    offered = (Proposal(HEIGHT, Round(1), X, NO_ROUND, vid(ME), b"sig"),) if knows_offer else ()
    first = first_round_of(followed, offered)
    _, effects = run(find_voice(followed, vid(ME), None, first, offered), BEGIN, *later)
    assert not signed_slots(effects) & own_slots(followed)
    assert not offered_rounds(effects) & (own_offers(followed) | {p.round for p in offered})


@settings(max_examples=200, deadline=None, derandomize=True)
@given(SCRIPTS)
def test_nothing_that_was_heard_is_forgotten(heard: list[Event]) -> None:
    followed, _ = run(machine(None), *heard)
    if followed.step is Step.DECIDED:
        return
    voiced = find_voice(followed, vid(ME), None, first_round_of(followed))
    assert voiced.rounds == followed.rounds
    assert voiced.verdicts == followed.verdicts
    assert voiced.step is Step.NEW


def test_a_lock_that_others_proved_counts_though_we_heard_other_first_votes() -> None:
    proof = tuple(vote(PREVOTE, 0, X, who) for who in "acd")
    record = LockRecord(HEIGHT, Lock(Round(0), X), Lock(Round(0), X), proof)
    followed, _ = run(machine(None), prevote("a", Y), prevote("b", None))
    voiced = find_voice(followed, vid(ME), record, Round(1))
    tally = voiced.at(Round(0)).prevotes
    assert (voiced.locked, voiced.valid) == (record.locked, record.valid)
    assert tally.power_for(X) == 3
    assert tally.votes[validator_set().index[vid(ME)]] == vote(PREVOTE, 0, None, ME)


def test_it_votes_in_the_round_where_the_others_are_if_it_had_not() -> None:
    followed, _ = run(machine(None), BEGIN, proposal(X), checked(X), prevote("a", X))
    _, effects = run(find_voice(followed, vid(ME), None, Round(0)), BEGIN)
    assert signed_slots(effects) == {(Round(0), PREVOTE)}
    assert isinstance(effects[-1], SignVote)
    assert effects[-1].vote.block_id == X
