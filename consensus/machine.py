"""Tendermint as a pure machine: a state and an event give the next state and what to do, in that order.

The rules are in `consensus.rules`, what is counted in `consensus.counting`, the whole behaviour as a table in SPEC.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from consensus import rules
from consensus.counting import count_proposal, count_verdict, count_vote
from consensus.effects import Effect
from consensus.events import Begin, BlockChecked, Event, ProposalSeen, TimerFired, ValueBuilt, VoteSeen
from consensus.state import AT_DECIDED, AT_NEW, AT_PREVOTE, AT_PROPOSE, State, Step, new_height
from consensus.timeouts import TimerKind
from consensus.types import BlockId, Commit, Round, Vote

__all__ = ["State", "Step", "fullest_commit", "new_height", "step"]

Transition = tuple[State, tuple[Effect, ...]]


def step(state: State, event: Event) -> Transition:
    """The next state and the effects, which must happen in their order. Total: whatever comes in, nothing raises."""
    if state.step is AT_DECIDED:
        return _after_decision(state, event)
    match event:
        case VoteSeen(vote):
            return on_vote(state, vote)
        case ProposalSeen(proposal, timely):
            counted, effects = count_proposal(state, proposal, timely)
            return settle(counted, effects, ())
        case BlockChecked(block_id, valid):
            return on_verdict(state, block_id, valid)
        case TimerFired() as timer:
            return on_timer(state, timer)
        case ValueBuilt() as built:
            return on_value(state, built)
        case Begin():
            return on_begin(state)
        case _:
            assert_never(event)


def on_vote(state: State, vote: Vote) -> Transition:
    counted, effects = count_vote(state, vote)
    if counted is state:
        return state, effects
    return settle(counted, effects, (vote.round,))


def on_verdict(state: State, block_id: BlockId, valid: bool) -> Transition:
    state = count_verdict(state, block_id, valid)
    voted = [r for r in sorted(state.rounds) if block_id in state.rounds[r].precommits.by_value]
    return settle(state, (), voted)


def on_timer(state: State, timer: TimerFired) -> Transition:
    if not rules.timer_is_current(state, timer.height, timer.round):
        return state, ()
    match timer.kind:
        case TimerKind.PROPOSE:
            outcome = rules.l57_propose_timeout(state)
        case TimerKind.PREVOTE:
            outcome = rules.l61_prevote_timeout(state)
        case TimerKind.PRECOMMIT:
            outcome = rules.l65_precommit_timeout(state)
        case _:
            assert_never(timer.kind)
    return (state, ()) if outcome is None else settle(*outcome, ())


def on_value(state: State, built: ValueBuilt) -> Transition:
    wanted = state.building and built.height == state.height and built.round == state.round
    return rules.l18_value_built(state, built.block_id) if wanted else (state, ())


def on_begin(state: State) -> Transition:
    if state.step is not AT_NEW:
        return state, ()
    return settle(*rules.l11_start_round(state, state.setup.first_round), ())


def settle(state: State, effects: tuple[Effect, ...], touched: Iterable[Round]) -> Transition:
    """Applies rules until none applies. `touched`: the rounds whose precommits may now decide."""
    while (outcome := _next(state, touched)) is not None:
        state, more = outcome
        effects += more
    return state, effects


def _next(state: State, touched: Iterable[Round]) -> Transition | None:
    """The first rule that applies. Deciding goes first; agreeing goes before waiting, so that no needless timer starts. A rule
    checks its own step too: leaving out those of other steps changes nothing, and this is asked at every message."""
    at = state.step
    if at is AT_DECIDED:
        return None
    outcome = rules.l49_decide(state, touched) or (rules.l55_higher_round(state) if state.ahead else None)
    if outcome is not None or at is AT_NEW:
        return outcome
    if at is AT_PROPOSE:
        outcome = rules.l22_fresh_proposal(state) or rules.l28_proven_proposal(state)
    elif at is AT_PREVOTE:
        outcome = rules.l36_prevote_quorum(state) or rules.l44_nil_prevotes(state) or rules.l34_any_prevotes(state)
    else:
        outcome = rules.l36_prevote_quorum(state)
    return outcome or rules.l47_any_precommits(state)


def fullest_commit(state: State) -> Commit:
    """The certificate of a decided height with every precommit that has come in since, for the next block to carry."""
    assert state.decided is not None, "only a decided height has a commit"
    return rules.commit_of(state, state.decided.round, state.decided.block_id)


def _after_decision(state: State, event: Event) -> Transition:
    """Late votes still count: they make the commit fuller, and they are evidence."""
    match event:
        case VoteSeen(vote):
            return count_vote(state, vote)
        case ProposalSeen(proposal, timely):
            return count_proposal(state, proposal, timely)
        case _:
            return state, ()
