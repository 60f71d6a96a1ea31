"""What comes in is counted once, within bounds, and never raises: the message log of the paper's "upon" rules."""

from __future__ import annotations

from consensus.effects import Effect, Equivocation
from consensus.state import (
    FUTURE_ROUNDS,
    MAX_ROUND,
    MAX_VERDICTS,
    PAST_ROUNDS,
    RoundState,
    SeenProposal,
    State,
    replace,
)
from consensus.tally import Tally
from consensus.types import NO_ROUND, PRECOMMIT, PREVOTE, BlockId, Proposal, Round, Vote, VoteKind

Counted = tuple[State, tuple[Effect, ...]]


def count_vote(state: State, vote: Vote) -> Counted:
    """Adds a vote of a known validator for a round we keep. A second vote for another value is evidence, not a vote."""
    setup, round_, kind = state.setup, vote.round, vote.kind
    validators = setup.validators
    index = validators.index.get(vote.validator)
    if index is None or vote.height != setup.height or (kind != PREVOTE and kind != PRECOMMIT):
        return state, ()
    first = state.at(round_).tally(kind).votes[index]
    if first is not None:
        return (state, ()) if first.block_id == vote.block_id else conflicting_vote(state, index, first, vote)
    room = state if 0 <= round_ == state.round else make_room(state, index, round_)
    if room is None:
        return state, ()
    tally = room.at(round_).tally(kind).add(index, vote, validators.validators[index].power)
    return _with_tally(room, round_, kind, tally), ()


def conflicting_vote(state: State, index: int, first: Vote, second: Vote) -> Counted:
    """The first vote stays. The second is reported once, and may still help to prove the proposal we judge."""
    effects: tuple[Effect, ...] = ()
    tally = state.at(second.round).tally(second.kind)
    if not tally.doubled >> index & 1:
        effects = (Equivocation(first, second),)
        state = _with_tally(state, second.round, second.kind, tally.caught(index))
    seen = state.current.proposal
    claimed = seen is not None and (second.round, second.block_id) == (seen.proposal.pol_round, seen.proposal.block_id)
    if claimed and second.kind == PREVOTE and index not in state.proof_extra:
        state = replace(state, proof_extra={**state.proof_extra, index: second})
    return state, effects


def count_proposal(state: State, proposal: Proposal, timely: bool) -> Counted:
    """Keeps the first proposal of the round's proposer; a different second one is evidence."""
    round_ = proposal.round
    known = proposal.height == state.height and 0 <= round_ <= MAX_ROUND and NO_ROUND <= proposal.pol_round < round_
    if not known or proposal.proposer != state.proposer(round_):
        return state, ()
    kept = state.at(round_)
    if kept.proposal is not None:
        return conflicting_proposal(state, kept, kept.proposal, proposal)
    room = make_room(state, state.validators.index[proposal.proposer], round_)
    if room is None:
        return state, ()
    return room.with_round(round_, replace(room.at(round_), proposal=SeenProposal(proposal, timely))), ()


def conflicting_proposal(state: State, kept: RoundState, first: SeenProposal, second: Proposal) -> Counted:
    same = (first.proposal.block_id, first.proposal.pol_round) == (second.block_id, second.pol_round)
    if same or first.doubled:
        return state, ()
    caught = replace(kept, proposal=replace(first, doubled=True))
    return state.with_round(second.round, caught), (Equivocation(first.proposal, second),)


def count_verdict(state: State, block_id: BlockId, valid: bool) -> State:
    """Remembers whether a block is valid: the first verdict stays, the oldest one that nothing needs makes room."""
    if block_id in state.verdicts:
        return state
    verdicts = {**state.verdicts, block_id: valid}
    if len(verdicts) > MAX_VERDICTS:
        needed = {block_id} | {lock.block_id for lock in (state.locked, state.valid) if lock is not None}
        needed |= {r.proposal.proposal.block_id for r in state.rounds.values() if r.proposal is not None}
        idle = next((b for b in verdicts if b not in needed), None)
        if idle is not None:
            del verdicts[idle]
    return replace(state, verdicts=verdicts)


def make_room(state: State, index: int, round_: Round) -> State | None:
    """A state that may keep a message of validator `index` for this round; None if the round does not matter.

    Past rounds: the last PAST_ROUNDS, what is kept for a lock, and the round that the current proposal points to. Future
    rounds: the FUTURE_ROUNDS highest of each validator, so that one far behind hears where the others are *now*.
    """
    if not 0 <= round_ <= MAX_ROUND:
        return None
    if round_ <= state.round:
        return state if _past_round_matters(state, round_) else None
    spoken = state.ahead.get(index, ())
    if round_ in spoken:
        return state
    if len(spoken) < FUTURE_ROUNDS:
        return replace(state, ahead={**state.ahead, index: tuple(sorted((*spoken, round_)))})
    if round_ < spoken[0]:
        return None
    state = _forget(state, index, spoken[0])
    return replace(state, ahead={**state.ahead, index: tuple(sorted((*spoken[1:], round_)))})


def kept_rounds(state: State, now: Round) -> dict[Round, RoundState]:
    """The rounds still worth their memory once the machine enters round `now`."""
    locks = {lock.round for lock in (state.locked, state.valid) if lock is not None}
    return {r: kept for r, kept in state.rounds.items() if r >= now - PAST_ROUNDS or r in locks}


def _past_round_matters(state: State, round_: Round) -> bool:
    if round_ >= state.round - PAST_ROUNDS or round_ in state.rounds:
        return True
    seen = state.current.proposal
    return seen is not None and seen.proposal.pol_round == round_


def _forget(state: State, index: int, round_: Round) -> State:
    """Drops all that validator `index` said in a round ahead of ours."""
    kept = state.at(round_)
    validator = state.validators.validators[index]
    spoke = kept.proposal is not None and kept.proposal.proposal.proposer == validator.id
    left = RoundState(
        None if spoke else kept.proposal,
        kept.prevotes.without(index, validator.power),
        kept.precommits.without(index, validator.power),
    )
    if left.proposal is None and not left.prevotes.held and not left.precommits.held:
        return replace(state, rounds={r: other for r, other in state.rounds.items() if r != round_})
    return state.with_round(round_, left)


def _with_tally(state: State, round_: Round, kind: VoteKind, tally: Tally) -> State:
    kept = state.at(round_)
    if kind == PREVOTE:
        return state.with_round(round_, RoundState(kept.proposal, tally, kept.precommits))
    return state.with_round(round_, RoundState(kept.proposal, kept.prevotes, tally))
