"""One claim per numbered rule of the paper (see consensus/SPEC.md)."""

# ruff: noqa: N802  (the paper's line numbers have a capital L)

from __future__ import annotations

import pytest

from consensus.effects import (
    BuildValue,
    Decide,
    Effect,
    Equivocation,
    PersistLock,
    RoundEntered,
    SignProposal,
    StartTimer,
)
from consensus.lock import Lock, LockRecord
from consensus.machine import Step, fullest_commit, step
from consensus.timeouts import Timeouts, TimerKind
from consensus.types import NO_ROUND, CommitStatus, Round
from tests.consensus.kit import (
    BEGIN,
    HEIGHT,
    PRECOMMIT,
    PREVOTE,
    X,
    Y,
    Z,
    built,
    checked,
    fired,
    last,
    machine,
    precommit,
    precommits,
    prevote,
    prevotes,
    proposal,
    returned,
    run,
    signed_votes,
    vid,
    vote,
)

ROUND_1 = fired(TimerKind.PRECOMMIT, 0)
ROUND_2 = fired(TimerKind.PRECOMMIT, 1)
LOCK_X = [BEGIN, proposal(X), checked(X), *prevotes("acd", X)]


def test_L11_the_proposer_of_a_round_asks_for_a_value_and_others_do_not() -> None:
    assert BuildValue(HEIGHT, Round(0)) in run(machine("a"), BEGIN)[1]
    assert not any(isinstance(e, BuildValue) for e in run(machine("b"), BEGIN)[1])


def test_L11_the_round_is_announced_before_its_timer_and_its_turn() -> None:
    _, effects = run(machine("a"), BEGIN)
    assert [type(e) for e in effects] == [RoundEntered, StartTimer, BuildValue]


def test_L16_the_proposer_offers_its_valid_value_with_the_round_that_proves_it() -> None:
    _, effects = last(machine("b"), *LOCK_X, ROUND_1)
    offers = [e.proposal for e in effects if isinstance(e, SignProposal)]
    assert [(p.block_id, p.round, p.pol_round) for p in offers] == [(X, 1, 0)]


def test_L18_a_built_value_is_proposed_once_without_proof() -> None:
    _, effects = run(machine("a"), BEGIN, built(X), built(Y))
    offers = [e.proposal for e in effects if isinstance(e, SignProposal)]
    assert [(p.block_id, p.pol_round, p.proposer) for p in offers] == [(X, NO_ROUND, vid("a"))]


def test_L18_a_value_that_comes_after_the_time_out_is_not_proposed() -> None:
    _, effects = last(machine("a"), BEGIN, fired(TimerKind.PROPOSE), built(X))
    assert effects == []


def test_L18_a_value_built_for_an_earlier_round_is_not_proposed() -> None:
    _, effects = last(machine("a"), BEGIN, built(X, 3))
    assert effects == []


def test_L22_a_valid_fresh_proposal_is_prevoted() -> None:
    _, effects = run(machine("b"), BEGIN, proposal(X), checked(X))
    assert signed_votes(effects) == [(PREVOTE, 0, X)]


def test_L22_a_proposal_waits_for_the_verdict_on_its_block() -> None:
    state, effects = run(machine("b"), BEGIN, proposal(X))
    assert (state.step, signed_votes(effects)) == (Step.PROPOSE, [])


def test_L22_an_invalid_proposal_is_prevoted_nil() -> None:
    _, effects = run(machine("b"), BEGIN, proposal(X), checked(X, valid=False))
    assert signed_votes(effects) == [(PREVOTE, 0, None)]


def test_L22_an_untimely_fresh_proposal_is_prevoted_nil() -> None:
    _, effects = run(machine("b"), BEGIN, proposal(X, timely=False), checked(X))
    assert signed_votes(effects) == [(PREVOTE, 0, None)]


def test_L22_a_lock_on_another_value_prevotes_nil() -> None:
    _, effects = last(machine("b"), *LOCK_X, ROUND_1, ROUND_2, checked(Y), proposal(Y, 2))
    assert signed_votes(effects) == [(PREVOTE, 2, None)]


def test_L22_a_lock_on_the_same_value_prevotes_it() -> None:
    _, effects = last(machine("b"), *LOCK_X, ROUND_1, ROUND_2, proposal(X, 2))
    assert signed_votes(effects) == [(PREVOTE, 2, X)]


def test_L22_a_proposal_of_someone_whose_turn_it_is_not_is_ignored() -> None:
    state, effects = run(machine("b"), BEGIN, checked(X), proposal(X, who="c"))
    assert (state.current.proposal, signed_votes(effects)) == (None, [])


def test_L28_a_newer_proof_of_lock_unlocks() -> None:
    missed_round_1 = [ROUND_1, fired(TimerKind.PROPOSE, 1), checked(Y), ROUND_2, *prevotes("acd", Y, 1)]
    state, effects = last(machine("b"), *LOCK_X, *missed_round_1, proposal(Y, 2, pol=1))
    assert state.locked == Lock(Round(0), X)
    assert signed_votes(effects) == [(PREVOTE, 2, Y)]


def test_L28_a_proof_older_than_the_lock_does_not_unlock() -> None:
    locked_in_1 = [BEGIN, *prevotes("acd", X), ROUND_1, proposal(Y, 1), checked(Y), *prevotes("acd", Y, 1), ROUND_2]
    _, effects = last(machine("b"), *locked_in_1, checked(X), proposal(X, 2, pol=0))
    assert signed_votes(effects) == [(PREVOTE, 2, None)]


def test_L28_a_proposal_with_an_unproven_round_is_not_judged() -> None:
    state, effects = last(machine("b"), BEGIN, ROUND_1, ROUND_2, checked(X), *prevotes("ac", X), proposal(X, 2, pol=0))
    assert (state.step, effects) == (Step.PROPOSE, [])


def test_L28_prevotes_for_another_value_prove_nothing() -> None:
    state, _ = run(machine("b"), BEGIN, ROUND_1, ROUND_2, checked(X), prevotes("acd", Y), proposal(X, 2, pol=0))
    assert state.step is Step.PROPOSE


def test_L28_the_proof_may_come_after_the_proposal() -> None:
    state, effects = last(machine("b"), BEGIN, ROUND_1, ROUND_2, checked(X), proposal(X, 2, pol=0), *prevotes("acd", X))
    assert signed_votes(effects) == [(PREVOTE, 2, X)]
    assert state.locked is None, "a proof unlocks, only a quorum of this round locks"


def test_L28_an_untimely_reproposal_with_a_proof_is_prevoted() -> None:
    """indy-plenum #1488: re-proposed batches failed the timestamp check and views changed for ever."""
    events = [BEGIN, *prevotes("acd", X), ROUND_1, ROUND_2, checked(X), proposal(X, 2, pol=0, timely=False)]
    _, effects = last(machine("b"), *events)
    assert signed_votes(effects) == [(PREVOTE, 2, X)]


def test_L28_a_proof_of_the_same_or_a_later_round_is_no_proof() -> None:
    state, effects = run(machine("b"), BEGIN, checked(X), prevotes("acd", X), proposal(X, 0, pol=0))
    assert (state.current.proposal, signed_votes(effects)) == (None, [])


def test_L28_a_liar_who_prevoted_otherwise_to_us_cannot_break_a_proof() -> None:
    """d prevoted X to our peers and nil to us; the peers' proof must convince us all the same."""
    before = [BEGIN, *prevotes("ac", X), prevote("d", None), ROUND_1, ROUND_2, checked(X), proposal(X, 2, pol=0)]
    _, effects = last(machine("b"), *before, prevote("d", X))
    assert Equivocation(vote(PREVOTE, 0, None, "d"), vote(PREVOTE, 0, X, "d")) in effects
    assert signed_votes(effects) == [(PREVOTE, 2, X)]


def test_L34_any_prevote_quorum_starts_the_prevote_timer_once() -> None:
    events = [BEGIN, fired(TimerKind.PROPOSE), *prevotes("ac", X), prevote("d", Y), prevote("b", None)]
    _, effects = run(machine("b"), *events)
    assert [e for e in effects if isinstance(e, StartTimer) and e.kind is TimerKind.PREVOTE] == [
        StartTimer(TimerKind.PREVOTE, HEIGHT, Round(0), 500)
    ]


def test_L36_a_prevote_quorum_locks_and_precommits() -> None:
    state, effects = last(machine("b"), *LOCK_X)
    assert signed_votes(effects) == [(PRECOMMIT, 0, X)]
    assert state.locked == state.valid == Lock(Round(0), X)


def test_L36_the_lock_is_durable_before_the_precommit() -> None:
    """Amnesia (malachite #850, #864): the lock was not durable before the vote."""
    _, effects = last(machine("b"), *LOCK_X)
    proof = tuple(vote(PREVOTE, 0, X, w) for w in "acd")
    lock = Lock(Round(0), X)
    assert effects[0] == PersistLock(LockRecord(HEIGHT, lock, lock, proof))
    assert signed_votes(effects[1:]) == [(PRECOMMIT, 0, X)]


def test_L36_two_of_four_prevotes_are_no_quorum() -> None:
    state, effects = last(machine("b"), BEGIN, proposal(X), checked(X), *prevotes("ac", X))
    assert (state.locked, effects) == (None, [])


def test_L36_power_counts_not_heads() -> None:
    heavy = machine("b", powers={"a": 7})
    state, effects = last(heavy, BEGIN, proposal(X), checked(X), prevote("a", X))
    assert signed_votes(effects) == [(PRECOMMIT, 0, X)]
    light, effects = last(heavy, BEGIN, proposal(X), checked(X), *prevotes("bcd", X))
    assert (light.locked, effects) == (None, [])
    assert state.locked is not None


def test_L36_exactly_two_thirds_are_no_quorum() -> None:
    three = machine("b", names="abc")
    state, _ = run(three, BEGIN, proposal(X), checked(X), prevotes("ac", X))
    assert state.locked is None
    assert run(state, prevote("b", X))[0].locked == Lock(Round(0), X)


def test_L36_a_quorum_for_an_invalid_block_locks_nothing() -> None:
    state, _ = run(machine("b"), BEGIN, proposal(X), checked(X, valid=False), prevotes("acd", X))
    assert (state.locked, state.valid) == (None, None)


def test_L42_a_late_quorum_becomes_the_valid_value_but_no_lock() -> None:
    state, effects = run(
        machine("b"), BEGIN, fired(TimerKind.PROPOSE), fired(TimerKind.PREVOTE), checked(X), prevotes("acd", X)
    )
    assert (state.locked, state.valid) == (None, Lock(Round(0), X))
    assert [e.record.locked for e in effects if isinstance(e, PersistLock)] == [None]


def test_L44_nil_prevote_quorum_precommits_nil() -> None:
    _, effects = last(machine("b"), BEGIN, fired(TimerKind.PROPOSE), *prevotes("acd", None))
    assert signed_votes(effects) == [(PRECOMMIT, 0, None)]


def test_L44_a_nil_quorum_keeps_the_lock() -> None:
    state, _ = run(machine("b"), LOCK_X, ROUND_1, fired(TimerKind.PROPOSE, 1), prevotes("acd", None, 1))
    assert state.locked == Lock(Round(0), X)


def test_L47_any_precommit_quorum_starts_the_precommit_timer_once() -> None:
    _, effects = run(machine("b"), BEGIN, precommits("ac", X), precommit("d", None), precommit("b", None))
    timers = [e for e in effects if isinstance(e, StartTimer) and e.kind is TimerKind.PRECOMMIT]
    assert timers == [StartTimer(TimerKind.PRECOMMIT, HEIGHT, Round(0), 400)]


def precommit_waits(effects: list[Effect]) -> list[int]:
    return [e.delay_ms for e in effects if isinstance(e, StartTimer) and e.kind is TimerKind.PRECOMMIT]


@pytest.mark.parametrize("round_", [0, 1, 30])
def test_L47_a_round_whose_proposer_stayed_silent_is_left_at_once(round_: int) -> None:
    """A quorum of nil prevotes: nothing of the round can be locked any more, so no vote of it is worth waiting for."""
    state, _ = run(machine("b", first_round=round_), BEGIN, prevotes("acd", None, round_))
    _, effects = run(state, precommits("acd", None, round_))
    assert precommit_waits(effects) == [0]


def test_L47_after_a_refused_proposal_the_wait_is_whole() -> None:
    """Where clocks disagree only time heals: rounds must not chase each other until it has passed."""
    _, effects = run(machine("b"), BEGIN, proposal(X, timely=False), checked(X), prevotes("acd", None))
    _, more = run(
        run(machine("b"), BEGIN, proposal(X, timely=False))[0], prevotes("acd", None), precommits("acd", None)
    )
    assert (precommit_waits(effects), precommit_waits(more)) == ([], [400])


def test_L47_a_round_that_lacks_one_nil_prevote_of_a_quorum_is_waited_for() -> None:
    """The fourth may have locked what two did not see."""
    _, effects = run(machine("b"), BEGIN, prevotes("ac", None), prevote("d", X), precommits("acd", None))
    assert precommit_waits(effects) == [400]


def test_L49_a_precommit_quorum_decides() -> None:
    state, effects = last(machine("b"), *LOCK_X, *precommits("acd", X))
    (decide,) = effects
    assert isinstance(decide, Decide)
    assert (decide.commit.block_id, decide.commit.round) == (X, 0)
    assert state.decided == decide.commit


def test_L49_the_commit_says_one_thing_of_each_validator() -> None:
    seven = machine("b", names="abcdefg")
    events = [BEGIN, checked(X), precommit("f", None), precommit("g", Y), *precommits("abcde", X)]
    state, _ = run(seven, *events)
    assert state.decided is not None
    said = [(e.status.name, e.signature) for e in state.decided.entries]
    committed = [("COMMIT", b"sig-" + w) for w in (b"a", b"b", b"c", b"d", b"e")]
    assert said == [*committed, ("NIL", b"sig-f"), ("ABSENT", b"")]


def test_L49_decides_in_an_earlier_round() -> None:
    state, _ = run(machine("b"), LOCK_X, ROUND_1, ROUND_2, precommits("acd", X))
    assert state.decided is not None
    assert (state.round, state.decided.round) == (2, 0)


def test_L49_decides_in_a_later_round_than_ours() -> None:
    state, _ = run(machine("b", powers={"a": 7}), BEGIN, checked(X), precommit("a", X, 5))
    assert state.decided is not None
    assert state.decided.round == 5


def test_L49_waits_for_the_verdict_on_the_block() -> None:
    state, effects = run(machine("b"), BEGIN, precommits("acd", X))
    assert state.step is Step.PROPOSE
    assert run(state, checked(X))[0].step is Step.DECIDED
    assert not any(isinstance(e, Decide) for e in effects)


def test_L49_an_invalid_block_is_never_decided() -> None:
    state, _ = run(machine("b"), BEGIN, checked(X, valid=False), precommits("abcd", X), checked(X))
    assert state.decided is None


def test_L49_precommits_of_different_rounds_do_not_add_up() -> None:
    state, _ = run(machine("b"), BEGIN, checked(X), precommits("ac", X), ROUND_1, precommits("d", X, 1))
    assert state.decided is None


def test_L49_prevotes_do_not_decide() -> None:
    assert run(machine("b"), LOCK_X, prevote("b", X))[0].decided is None


def test_L49_late_precommits_make_the_commit_fuller() -> None:
    state, _ = run(machine("b"), LOCK_X, precommits("acd", X), precommit("b", X))
    assert state.decided is not None
    assert [e.status for e in state.decided.entries].count(CommitStatus.ABSENT) == 1
    assert all(e.status is CommitStatus.COMMIT for e in fullest_commit(state).entries)


def test_L55_a_third_in_a_higher_round_moves_us_there() -> None:
    state, effects = run(machine("b"), BEGIN, prevote("a", None, 3), precommit("c", None, 3))
    assert state.round == 3
    assert RoundEntered(Round(3)) in effects


def test_L55_one_of_four_does_not_move_us() -> None:
    state, _ = run(machine("b"), BEGIN, prevote("a", None, 3), precommit("a", None, 3))
    assert state.round == 0


def test_L55_a_proposal_counts_as_its_proposers_word() -> None:
    state, _ = run(machine("b"), BEGIN, proposal(X, 2), prevote("d", None, 2))
    assert state.round == 2


def test_L55_different_higher_rounds_move_us_to_one_that_a_correct_validator_reached() -> None:
    """besu #7642: validators sat in different rounds and never met."""
    state, _ = run(machine("b"), BEGIN, prevote("a", None, 900), prevote("c", None, 3))
    assert state.round == 3


def test_L57_the_propose_time_out_prevotes_nil() -> None:
    _, effects = last(machine("b"), BEGIN, fired(TimerKind.PROPOSE))
    assert signed_votes(effects) == [(PREVOTE, 0, None)]


def test_L57_a_proposal_after_the_time_out_is_not_prevoted() -> None:
    _, effects = run(machine("b"), BEGIN, fired(TimerKind.PROPOSE), proposal(X), checked(X))
    assert signed_votes(effects) == [(PREVOTE, 0, None)]


def test_L61_the_prevote_time_out_precommits_nil() -> None:
    _, effects = last(machine("b"), BEGIN, proposal(X), checked(X), fired(TimerKind.PREVOTE))
    assert signed_votes(effects) == [(PRECOMMIT, 0, None)]


def test_L65_the_precommit_time_out_enters_the_next_round() -> None:
    state, _ = run(machine("b"), BEGIN, ROUND_1)
    assert (state.round, state.step) == (1, Step.PROPOSE)


def test_L65_a_stale_timer_changes_nothing() -> None:
    state, _ = run(machine("b"), BEGIN, ROUND_1)
    stale = [fired(kind, round_, height) for kind in TimerKind for round_, height in ((0, 7), (2, 7), (1, 6), (1, 8))]
    assert run(state, *stale) == (state, [])


def test_time_outs_grow_with_the_round_and_are_capped() -> None:
    """besu #7642: time-outs doubled up to 4,096 s."""
    delays = [Timeouts(1000, 500, 500, 500, 10_000).delay_ms(TimerKind.PROPOSE, Round(r)) for r in range(1000)]
    assert delays[:3] == [1000, 1500, 2000]
    assert delays == sorted(delays)
    assert max(delays) == 10_000


def test_an_observer_follows_to_the_decision_and_signs_nothing() -> None:
    for watcher in (machine(None), machine("z")):
        state, effects = run(watcher, LOCK_X, prevote("b", X), precommits("abc", X))
        assert state.step is Step.DECIDED
        assert {type(e) for e in effects} == {RoundEntered, StartTimer, Decide}


def test_a_restored_lock_still_binds_and_still_proves() -> None:
    _, effects = last(machine("b"), *LOCK_X)
    record = next(e.record for e in effects if isinstance(e, PersistLock))
    restored = machine("b", restored=record, first_round=1)
    _, effects = run(restored, BEGIN)
    offers = [e.proposal for e in effects if isinstance(e, SignProposal)]
    assert [(p.block_id, p.pol_round) for p in offers] == [(X, 0)]
    _, effects = last(machine("b", restored=record, first_round=2), BEGIN, checked(Y), proposal(Y, 2))
    assert signed_votes(effects) == [(PREVOTE, 2, None)]
    _, effects = last(machine("b", restored=record, first_round=2), BEGIN, checked(X), proposal(X, 2, pol=0))
    assert signed_votes(effects) == [(PREVOTE, 2, X)]


def test_after_a_restart_nothing_is_signed_twice() -> None:
    """The votes of the write-ahead log come back first; the machine goes on from them."""
    replayed = [prevote("b", X, 4), precommit("b", None, 4)]
    state, effects = run(machine("b", first_round=4), replayed, BEGIN, proposal(Y, 4), checked(Y))
    assert (state.round, signed_votes(effects)) == (4, [])
    _, effects = run(state, fired(TimerKind.PREVOTE, 4))
    assert signed_votes(effects) == []


def test_after_a_restart_between_lock_and_precommit_the_precommit_follows() -> None:
    _, effects = last(machine("b"), *LOCK_X)
    record = next(e.record for e in effects if isinstance(e, PersistLock))
    events = [prevote("b", X), BEGIN, checked(X), proposal(X), *prevotes("ac", X)]
    _, effects = run(machine("b", restored=record), *events)
    assert signed_votes(effects) == [(PRECOMMIT, 0, X)]


def test_after_a_restart_a_proposer_does_not_propose_again() -> None:
    _, effects = run(machine("a"), proposal(X), BEGIN)
    assert not any(isinstance(e, SignProposal | BuildValue) for e in effects)


def test_after_a_restart_we_do_not_enter_a_round_below_the_one_we_signed_in() -> None:
    state, _ = run(machine("b", first_round=5), prevote("b", None, 5), prevotes("ac", None, 1), BEGIN)
    assert state.round == 5


def test_our_own_messages_take_the_same_road_as_those_of_others() -> None:
    state, effects = run(machine("a"), BEGIN, built(X), checked(X))
    offer = next(e for e in effects if isinstance(e, SignProposal))
    state, effects = run(state, returned(offer))
    assert signed_votes(effects) == [(PREVOTE, 0, X)]


def test_a_double_vote_is_reported_once_and_the_first_one_counts() -> None:
    state, effects = run(machine("b"), BEGIN, precommit("a", X), precommit("a", Y), precommit("a", None))
    assert effects[2:] == [Equivocation(vote(PRECOMMIT, 0, X, "a"), vote(PRECOMMIT, 0, Y, "a"))]
    assert state.current.precommits.by_value == {X: 1}


def test_a_double_proposal_is_reported_once_and_the_first_one_counts() -> None:
    state, effects = run(machine("b"), BEGIN, proposal(X), proposal(Y), proposal(Z))
    assert len([e for e in effects if isinstance(e, Equivocation)]) == 1
    assert state.current.proposal is not None
    assert state.current.proposal.proposal.block_id == X


def test_a_decided_height_still_collects_evidence() -> None:
    state, _ = run(machine("b"), LOCK_X, precommits("acd", X))
    _, effects = step(state, precommit("a", Y))
    assert [type(e) for e in effects] == [Equivocation]
