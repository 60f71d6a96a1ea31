"""What comes in is counted once and within bounds; nothing raises; no state ever changes in place."""

from __future__ import annotations

import copy
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.events import Begin, BlockChecked, Event, ProposalSeen, TimerFired, ValueBuilt, VoteSeen
from consensus.machine import State, Step, step
from consensus.rules import quorum_value
from consensus.state import FUTURE_ROUNDS, MAX_ROUND, MAX_VERDICTS, PAST_ROUNDS
from consensus.state import replace as changed_state
from consensus.tally import Tally
from consensus.timeouts import TimerKind
from consensus.types import BlockId, Height, Proposal, Round, ValidatorId, Vote, VoteKind
from tests.consensus.kit import (
    BEGIN,
    HEIGHT,
    PRECOMMIT,
    PREVOTE,
    X,
    Y,
    Z,
    block,
    checked,
    fired,
    machine,
    precommit,
    precommits,
    prevote,
    prevotes,
    proposal,
    run,
    validator_set,
    vid,
    vote,
)

HEIGHTS = st.sampled_from([HEIGHT, HEIGHT, HEIGHT, Height(6), Height(0), Height(-1), Height(2**70)])
ROUNDS = st.one_of(st.integers(0, 6), st.sampled_from([-1, -(2**40), 63, MAX_ROUND, MAX_ROUND + 1, 2**70])).map(Round)
WHO = st.sampled_from("aaabbbcccdddz").map(vid) | st.binary(max_size=3).map(ValidatorId)
BLOCKS = st.sampled_from([X, Y, Z, BlockId(b"")])
VALUES = st.none() | BLOCKS
VOTES = st.builds(Vote, st.sampled_from(VoteKind), HEIGHTS, ROUNDS, VALUES, WHO, st.binary(max_size=2))
PROPOSALS = st.builds(Proposal, HEIGHTS, ROUNDS, BLOCKS, ROUNDS, WHO, st.binary(max_size=2))
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(VoteSeen, VOTES),
    st.builds(VoteSeen, VOTES),
    st.builds(ProposalSeen, PROPOSALS, st.booleans()),
    st.builds(BlockChecked, BLOCKS, st.booleans()),
    st.builds(TimerFired, st.sampled_from(TimerKind), HEIGHTS, ROUNDS),
    st.builds(ValueBuilt, HEIGHTS, ROUNDS, BLOCKS),
    st.just(Begin()),
)
SCRIPTS = st.lists(EVENTS, max_size=40)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(SCRIPTS, st.sampled_from(["a", "b", None]))
def test_nothing_that_comes_in_raises_and_the_books_stay_right(script: list[Event], me: str | None) -> None:
    """A parameter that panics halts every node at once (GO-2024-2471): validation is total."""
    state = machine(me)
    for event in script:
        before = state
        state, _ = step(state, event)
        assert state.round >= before.round
        assert before.step is not Step.DECIDED or state.decided == before.decided
        for kept in state.rounds.values():
            books_are_right(state, kept.prevotes)
            books_are_right(state, kept.precommits)


def books_are_right(state: State, tally: Tally) -> None:
    present = [i for i, v in enumerate(tally.votes) if v is not None]
    assert tally.held == sum(1 << i for i in present)
    assert tally.power == sum(state.validators.validators[i].power for i in present) == sum(tally.by_value.values())
    assert all(power > 0 for power in tally.by_value.values())


@settings(max_examples=100, deadline=None, derandomize=True)
@given(SCRIPTS)
def test_a_step_never_changes_the_state_it_was_given(script: list[Event]) -> None:
    state = run(machine("b"), BEGIN)[0]
    for event in script:
        snapshot = copy.deepcopy(state)
        after, effects = step(state, event)
        assert state == snapshot
        assert (after, effects) == step(state, event), "the same question has the same answer"
        state = after


@settings(max_examples=100, deadline=None, derandomize=True)
@given(SCRIPTS)
def test_whatever_was_heard_twice_changes_nothing_the_second_time(script: list[Event]) -> None:
    state = run(machine("b"), BEGIN, *script)[0]
    for event in script:
        if isinstance(event, VoteSeen) and event.vote in state.at(event.vote.round).tally(event.vote.kind).votes:
            assert step(state, event) == (state, ())


def test_a_vote_for_another_height_is_not_ours() -> None:
    state = run(machine("b"), BEGIN)[0]
    assert step(state, VoteSeen(replace(vote(PREVOTE, 0, X, "a"), height=Height(8)))) == (state, ())


def test_a_stranger_does_not_count() -> None:
    """Vote index and unknown signer (GO-2024-3259, GO-2026-4361)."""
    state = run(machine("b"), BEGIN)[0]
    assert step(state, precommit("z", X)) == (state, ())


def test_a_byzantine_validator_cannot_fill_the_memory_with_future_rounds() -> None:
    state = run(machine("b"), BEGIN)[0]
    for round_ in range(1, 3000):
        state, _ = run(state, prevote("a", X, round_), precommit("a", Y, round_), proposal(X, round_, who="a"))
    assert len(state.rounds) == FUTURE_ROUNDS
    assert state.ahead == {0: (2996, 2997, 2998, 2999)}


def test_a_validator_far_ahead_is_remembered_where_it_is_now() -> None:
    state = run(machine("b"), BEGIN, [prevote("a", None, r) for r in range(1, 50)], prevote("c", None, 49))[0]
    assert state.round == 49


def test_a_round_below_the_highest_ones_of_a_validator_is_not_worth_a_place() -> None:
    state = run(machine("b"), BEGIN, [prevote("a", None, r) for r in range(10, 10 + FUTURE_ROUNDS)])[0]
    assert run(state, prevote("a", None, 3))[0] is state


def test_evicted_rounds_leave_the_votes_of_others_alone() -> None:
    state = run(machine("b", names="abcdefg"), BEGIN, prevote("a", X, 1), prevote("c", X, 1))[0]
    state = run(state, [prevote("a", X, r) for r in range(2, 2 + FUTURE_ROUNDS)])[0]
    assert state.at(Round(1)).prevotes.by_value == {X: 1}


def test_old_rounds_are_let_go_but_not_the_one_of_the_lock() -> None:
    state = run(machine("b"), BEGIN, proposal(X), checked(X), prevotes("acd", X))[0]
    for round_ in range(200):
        state = run(state, prevotes("acd", None, round_), fired(TimerKind.PRECOMMIT, round_))[0]
    assert state.round == 200
    assert len(state.rounds) <= PAST_ROUNDS + 2
    assert quorum_value(state, state.at(Round(0)).prevotes) == X


def test_votes_of_rounds_let_go_are_not_taken_again_unless_a_proposal_needs_them() -> None:
    state = run(machine("b"), BEGIN, [fired(TimerKind.PRECOMMIT, r) for r in range(100)])[0]
    assert run(state, prevote("a", X, 1))[0] is state
    state = run(state, proposal(X, 100, pol=1), checked(X))[0]
    assert run(state, prevotes("acd", X, 1))[0].step is Step.PREVOTE


def test_verdicts_are_bounded_and_those_in_use_stay() -> None:
    state = run(machine("b"), BEGIN, proposal(X), checked(X), prevotes("acd", X))[0]
    state = run(state, [checked(block(f"n{i}")) for i in range(2 * MAX_VERDICTS)])[0]
    assert len(state.verdicts) == MAX_VERDICTS
    assert state.verdicts[X]


def test_the_first_verdict_on_a_block_stays() -> None:
    state = run(machine("b"), BEGIN, checked(X), checked(X, valid=False))[0]
    assert state.verdicts == {X: True}


def test_second_prevotes_for_a_claimed_proof_are_forgotten_with_the_round() -> None:
    """One extra prevote per validator, for one value, while one round lasts."""
    two_rounds_on = [fired(TimerKind.PRECOMMIT, 0), fired(TimerKind.PRECOMMIT, 1)]
    state = run(machine("b"), BEGIN, prevotes("ad", None), *two_rounds_on, proposal(X, 2, pol=0))[0]
    state = run(state, prevotes("ad", X), prevotes("ad", Y))[0]
    assert {i: v.block_id for i, v in state.proof_extra.items()} == {0: X, 3: X}
    assert run(state, fired(TimerKind.PRECOMMIT, 2))[0].proof_extra == {}


@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 6), st.sampled_from([None, X, Y])), max_size=20))
def test_a_tally_forgets_exactly_what_it_is_told_to(casts: list[tuple[int, BlockId | None]]) -> None:
    validators = validator_set("abcdefg")
    tally = Tally.empty(len(validators))
    first: dict[int, BlockId | None] = {}
    for index, value in casts:
        if index not in first:
            first[index] = value
            tally = tally.add(index, vote(PRECOMMIT, 0, value, "abcdefg"[index]), index + 1)
    for index in list(first)[::2]:
        tally = tally.without(index, index + 1)
        del first[index]
    assert tally.power == sum(i + 1 for i in first)
    assert {v.block_id for v in tally.votes if v} == set(tally.by_value)
    assert list(tally.lacking(0)) == [v for v in tally.votes if v]
    assert {i for i in range(7) if tally.holders_of(X) >> i & 1} == {i for i, v in first.items() if v == X}


def test_precommits_for_an_invalid_block_change_nothing_but_the_timer() -> None:
    state, effects = run(run(machine("b"), BEGIN)[0], checked(X, valid=False), precommits("acd", X))
    assert state.decided is None
    assert [type(e).__name__ for e in effects] == ["StartTimer"]


def test_a_changed_state_is_what_dataclasses_would_make_of_it() -> None:
    state = machine()
    changed = changed_state(state, round=Round(3), building=True)
    assert changed == replace(state, round=Round(3), building=True)
    assert changed != state
    assert state == machine()
