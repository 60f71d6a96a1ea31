"""The numbered rules of arXiv:1807.04938, Algorithm 1: one function each, all of the same shape.

A rule looks at a state and gives what follows, or None when it does not apply. The machine calls rules, and rules call
their conditions, through this module's names, so that a test can replace any one of them and see the damage.
"""

from __future__ import annotations

from collections.abc import Iterable

from consensus.counting import kept_rounds
from consensus.effects import BuildValue, Decide, Effect, PersistLock, RoundEntered, SignProposal, SignVote, StartTimer
from consensus.lock import Lock, LockRecord
from consensus.state import AT_DECIDED, AT_NEW, AT_PRECOMMIT, AT_PREVOTE, AT_PROPOSE, MAX_ROUND, State, replace
from consensus.tally import Tally, Value
from consensus.timeouts import TimerKind
from consensus.types import (
    ABSENT,
    COMMIT,
    NIL,
    NO_ROUND,
    PRECOMMIT,
    PREVOTE,
    BlockId,
    Commit,
    CommitEntry,
    Proposal,
    Round,
    ValidatorSet,
    Vote,
    VoteKind,
)

Transition = tuple[State, tuple[Effect, ...]]


# Conditions


def quorum(validators: ValidatorSet, power: int) -> bool:
    """2f + 1."""
    return validators.is_quorum(power)


def third(validators: ValidatorSet, power: int) -> bool:
    """f + 1."""
    return validators.is_third(power)


def quorum_value(state: State, tally: Tally) -> BlockId | None:
    """The block that a quorum of this tally voted for, if there is one."""
    validators = state.setup.validators
    if not quorum(validators, tally.power):
        return None
    for value, power in tally.by_value.items():
        if value is not None and quorum(validators, power):
            return value
    return None


def proven(state: State, proposal: Proposal) -> bool:
    """L28: a quorum prevoted the proposal's value in the earlier round that it points to."""
    power = state.at(proposal.pol_round).prevotes.power_for(proposal.block_id)
    power += sum(state.validators.validators[i].power for i in state.proof_extra)
    return quorum(state.validators, power)


def acceptable_fresh(state: State, block_id: BlockId, timely: bool) -> bool:
    """L23: valid, on time, and not against our lock."""
    return timely and state.verdicts[block_id] and (state.locked is None or state.locked.block_id == block_id)


def acceptable_proven(state: State, proposal: Proposal) -> bool:
    """L29: valid, and our lock is not newer than the proof. Time was judged when the value was fresh."""
    free = state.locked is None or state.locked.round <= proposal.pol_round
    return state.verdicts[proposal.block_id] and (free or unlocked_by_value(state, proposal.block_id))


def unlocked_by_value(state: State, block_id: BlockId) -> bool:
    return state.locked is not None and state.locked.block_id == block_id


def timer_is_current(state: State, height: int, round_: int) -> bool:
    """L57, L61, L65: a timer of another height or round says nothing any more."""
    return height == state.height and round_ == state.round


def nil_quorum(state: State) -> bool:
    """A quorum prevoted nil, so no value gets a quorum in this round: nothing of it is ever locked, proven or decided."""
    return quorum(state.validators, state.current.prevotes.power_for(None))


def silent_round(state: State) -> bool:
    """The proposer did not come, and nothing of the round can matter any more. (Where a proposal was refused, time may heal why.)"""
    return state.current.proposal is None and nil_quorum(state)


# Entering a round


def l11_start_round(state: State, round_: Round) -> Transition:
    """L11-L21: the proposer offers the value it is bound to, or asks for a new one; everybody limits the wait."""
    state = replace(
        state,
        round=round_,
        step=AT_PROPOSE,
        rounds=kept_rounds(state, round_),
        ahead={i: left for i, rs in state.ahead.items() if (left := tuple(r for r in rs if r > round_))},
        proof_extra={},
        building=False,
        prevote_timer=False,
        precommit_timer=False,
    )
    entered = (RoundEntered(round_), start_timer(state, TimerKind.PROPOSE))
    if state.me is None or state.proposer(round_) != state.me or state.current.proposal is not None:
        return state, entered
    state, turn = l14_propose(state)
    return state, entered + turn


def l14_propose(state: State) -> Transition:
    """L15-L19: a valid value is offered again with the round that proves it."""
    assert state.me is not None
    if state.valid is None:
        return replace(state, building=True), (BuildValue(state.height, state.round),)
    offer = Proposal(state.height, state.round, state.valid.block_id, state.valid.round, state.me)
    return state, (SignProposal(offer),)


def l18_value_built(state: State, block_id: BlockId) -> Transition:
    """L18-L19: the block we asked for becomes our proposal."""
    assert state.me is not None
    offer = Proposal(state.height, state.round, block_id, NO_ROUND, state.me)
    return replace(state, building=False), (SignProposal(offer),)


# Rules that wait for messages


def l22_fresh_proposal(state: State) -> Transition | None:
    """L22-L27: a proposal without proof is prevoted if it is acceptable, else nil."""
    seen = state.current.proposal
    if state.step is not AT_PROPOSE or seen is None or seen.proposal.pol_round != NO_ROUND:
        return None
    block_id = seen.proposal.block_id
    if block_id not in state.verdicts:
        return None
    return prevote(state, block_id if acceptable_fresh(state, block_id, seen.timely) else None)


def l28_proven_proposal(state: State) -> Transition | None:
    """L28-L33: a proposal with a proof of lock is judged once the proof is complete."""
    seen = state.current.proposal
    if state.step is not AT_PROPOSE or seen is None or seen.proposal.pol_round == NO_ROUND:
        return None
    proposal = seen.proposal
    if proposal.block_id not in state.verdicts or not proven(state, proposal):
        return None
    return prevote(state, proposal.block_id if acceptable_proven(state, proposal) else None)


def l34_any_prevotes(state: State) -> Transition | None:
    """L34-L35: a quorum prevoted without agreeing yet: wait a while for the rest, once."""
    if state.step is not AT_PREVOTE or state.prevote_timer:
        return None
    if not quorum(state.validators, state.current.prevotes.power):
        return None
    return replace(state, prevote_timer=True), (start_timer(state, TimerKind.PREVOTE),)


def l36_prevote_quorum(state: State) -> Transition | None:
    """L36-L43: a quorum prevoted a valid block: lock it and precommit, or, too late for that, remember it."""
    if state.step not in (AT_PREVOTE, AT_PRECOMMIT):
        return None
    known = state.valid is not None and state.valid.round == state.round
    if state.step is AT_PRECOMMIT and known:
        return None
    block_id = quorum_value(state, state.current.prevotes)
    if block_id is None or not state.verdicts.get(block_id, False):
        return None
    return lock(state, block_id) if state.step is AT_PREVOTE else remember(state, block_id)


def lock(state: State, block_id: BlockId) -> Transition:
    """L37-L41, L42-L43: the lock is durable before the precommit that promises it."""
    held = Lock(state.round, block_id)
    state = replace(state, locked=held, valid=held)
    state, vote = precommit(state, block_id)
    return state, persist_lock(state) + vote


def remember(state: State, block_id: BlockId) -> Transition:
    """L42-L43."""
    state = replace(state, valid=Lock(state.round, block_id))
    return state, persist_lock(state)


def persist_lock(state: State) -> tuple[Effect, ...]:
    """The lock and its proof; an observer promises nothing and keeps nothing."""
    if state.me is None or state.valid is None:
        return ()
    proof = state.at(state.valid.round).prevotes.votes_for(state.valid.block_id)
    return (PersistLock(LockRecord(state.height, state.locked, state.valid, proof)),)


def l44_nil_prevotes(state: State) -> Transition | None:
    """L44-L46: a quorum prevoted nil: nothing will be locked in this round."""
    if state.step is not AT_PREVOTE or not nil_quorum(state):
        return None
    return precommit(state, None)


def l47_any_precommits(state: State) -> Transition | None:
    """L47-L48: a quorum precommitted without agreeing yet: wait a while for the rest, once. In a silent round
    there is no rest that could matter."""
    if state.step is AT_NEW or state.precommit_timer:
        return None
    if not quorum(state.validators, state.current.precommits.power):
        return None
    timer = start_timer(state, TimerKind.PRECOMMIT)
    if silent_round(state):
        timer = StartTimer(timer.kind, timer.height, timer.round, 0)
    return replace(state, precommit_timer=True), (timer,)


def l49_decide(state: State, touched: Iterable[Round]) -> Transition | None:
    """L49-L54: a quorum precommitted a valid block, in any round, the current one or not."""
    for round_ in touched:
        block_id = quorum_value(state, state.at(round_).precommits)
        if block_id is not None and state.verdicts.get(block_id, False):
            commit = commit_of(state, round_, block_id)
            return replace(state, step=AT_DECIDED, decided=commit, building=False), (Decide(commit),)
    return None


def l55_higher_round(state: State) -> Transition | None:
    """L55-L56: f + 1 speak of higher rounds, so a correct one is there: go to the highest that one of them must be in."""
    if not state.ahead:
        return None
    power = 0
    for highest, index in sorted(((rounds[-1], i) for i, rounds in state.ahead.items()), reverse=True):
        power += state.validators.validators[index].power
        if third(state.validators, power):
            return l11_start_round(state, max(highest, state.setup.first_round))
    return None


# Rules that wait for time


def l57_propose_timeout(state: State) -> Transition | None:
    """L57-L60: no proposal that we could judge came in time."""
    return prevote(state, None) if state.step is AT_PROPOSE else None


def l61_prevote_timeout(state: State) -> Transition | None:
    """L61-L64: the prevotes did not agree in time."""
    return precommit(state, None) if state.step is AT_PREVOTE else None


def l65_precommit_timeout(state: State) -> Transition | None:
    """L65-L67: the round failed: the next one."""
    if state.step is AT_NEW or state.round >= MAX_ROUND:
        return None
    return l11_start_round(state, Round(state.round + 1))


# What rules do


def prevote(state: State, value: Value) -> Transition:
    return replace(state, step=AT_PREVOTE, building=False), cast(state, PREVOTE, value)


def precommit(state: State, value: Value) -> Transition:
    return replace(state, step=AT_PRECOMMIT), cast(state, PRECOMMIT, value)


def cast(state: State, kind: VoteKind, value: Value) -> tuple[Effect, ...]:
    """Asks for our vote, unless we are an observer or (after a restart) have voted in this round already."""
    if state.me is None:
        return ()
    mine = state.current.tally(kind).votes[state.validators.index[state.me]]
    return () if mine is not None else (SignVote(Vote(kind, state.height, state.round, value, state.me)),)


def start_timer(state: State, kind: TimerKind) -> StartTimer:
    return StartTimer(kind, state.height, state.round, state.setup.params.delay_ms(kind, state.round))


def commit_of(state: State, round_: Round, block_id: BlockId) -> Commit:
    """The certificate from the precommits of one round. A precommit for another block stands as absent."""
    precommits = state.at(round_).precommits
    entries = []
    for validator, vote in zip(state.validators.validators, precommits.votes, strict=True):
        if vote is None or (vote.block_id is not None and vote.block_id != block_id):
            entries.append(CommitEntry(ABSENT, validator.id))
        else:
            status = NIL if vote.block_id is None else COMMIT
            entries.append(CommitEntry(status, validator.id, vote.signature))
    return Commit(state.height, round_, block_id, tuple(entries))
