"""How peers keep each other whole: each says what it holds, the other sends what is lacking. Pure views of a state."""

from __future__ import annotations

from dataclasses import dataclass

from consensus.rules import proven, quorum_value
from consensus.state import State, Step
from consensus.types import NO_ROUND, PRECOMMIT, PREVOTE, BlockId, Height, Proposal, Round, Vote, VoteKind


@dataclass(frozen=True, slots=True)
class Standpoint:
    """Where a node stands in a height and what it holds of its round (the wire's PeerStatus).

    Bitmaps: bit i speaks of validator i of the height's set. has_proposal: the round's proposal and a verdict on its
    block. pol_round: the round whose prevotes the node still lacks to judge the proposal, or NO_ROUND; pol_prevotes: those
    of them that it has, counting only prevotes for the proposal's block.
    """

    height: Height
    round: Round
    step: Step
    prevotes: int
    precommits: int
    has_proposal: bool
    pol_round: Round
    pol_prevotes: int


@dataclass(frozen=True, slots=True)
class Lacking:
    """What to send to a peer. The block of `proposal` travels with it; `votes` need no order."""

    proposal: Proposal | None
    votes: tuple[Vote, ...]


def votes_held(state: State, round_: Round, kind: VoteKind) -> int:
    """A bitmap of the validators whose vote of this round and kind is held."""
    return state.at(round_).tally(kind).held


def standpoint(state: State) -> Standpoint:
    """What to tell the peers about ourselves."""
    seen = state.current.proposal
    has_proposal = seen is not None and seen.proposal.block_id in state.verdicts
    pol_round, pol_prevotes = NO_ROUND, 0
    if seen is not None and seen.proposal.pol_round != NO_ROUND and not proven(state, seen.proposal):
        pol_round = seen.proposal.pol_round
        pol_prevotes = state.at(pol_round).prevotes.holders_of(seen.proposal.block_id)
        pol_prevotes |= sum(1 << i for i in state.proof_extra)
    return Standpoint(
        height=state.height,
        round=state.round,
        step=state.step,
        prevotes=votes_held(state, state.round, PREVOTE),
        precommits=votes_held(state, state.round, PRECOMMIT),
        has_proposal=has_proposal,
        pol_round=pol_round,
        pol_prevotes=pol_prevotes,
    )


def lacking(state: State, peer: Standpoint) -> Lacking:
    """What a peer at our height lacks of its round and we hold. Nothing for a peer at another height.

    To a peer in a lower round we also offer what we ourselves said in ours: f + 1 of those bring it here. Bitmaps are a
    peer's word: extra bits cost the peer, no more.
    """
    if peer.height != state.height:
        return Lacking(None, ())
    kept = state.at(peer.round)
    proposal = kept.proposal.proposal if kept.proposal is not None and not peer.has_proposal else None
    votes = [*kept.prevotes.lacking(peer.prevotes), *kept.precommits.lacking(peer.precommits)]
    votes += proof_votes(state, peer)
    if peer.round < state.round:
        votes += [m for m in own_messages(state) if isinstance(m, Vote)]
    return Lacking(proposal, tuple(dict.fromkeys(votes)))


def proof_votes(state: State, peer: Standpoint) -> tuple[Vote, ...]:
    """The prevotes that a peer lacks to judge a proposal with a proof of lock."""
    if peer.pol_round == NO_ROUND:
        return ()
    prevotes = state.at(peer.pol_round).prevotes
    value = quorum_value(state, prevotes)
    votes = tuple(v for v in prevotes.lacking(peer.pol_prevotes) if value is None or v.block_id == value)
    seen = state.current.proposal
    if seen is not None and seen.proposal.pol_round == peer.pol_round:
        votes += tuple(vote for i, vote in state.proof_extra.items() if not peer.pol_prevotes >> i & 1)
    return votes


def own_messages(state: State) -> tuple[Proposal | Vote, ...]:
    """What this validator itself signed in the round it is in: its proposal, prevote and precommit, so far."""
    if state.me is None:
        return ()
    index = state.validators.index[state.me]
    kept = state.current
    own: list[Proposal | Vote] = []
    if kept.proposal is not None and kept.proposal.proposal.proposer == state.me:
        own.append(kept.proposal.proposal)
    own += [vote for vote in (kept.prevotes.votes[index], kept.precommits.votes[index]) if vote is not None]
    return tuple(own)


def wanted_blocks(state: State) -> tuple[BlockId, ...]:
    """Blocks that the machine waits for a verdict on: the round's proposal, and whatever a quorum voted for."""
    seen = state.current.proposal
    ids = [] if seen is None else [seen.proposal.block_id]
    for kept in state.rounds.values():
        ids += [b for t in (kept.prevotes, kept.precommits) if (b := quorum_value(state, t)) is not None]
    return tuple(b for b in dict.fromkeys(ids) if b not in state.verdicts)


def votes_into(state: State, round_: Round) -> tuple[Vote, ...]:
    """Others' votes of the round before and of all later ones: what led into `round_` is among them. Who forgets them after
    it signed there cannot help the others out of the round before."""
    votes: list[Vote] = []
    for at in sorted(r for r in state.rounds if r >= round_ - 1):
        for tally in (state.rounds[at].prevotes, state.rounds[at].precommits):
            votes += [v for v in tally.lacking(0) if v.validator != state.me]
    return tuple(votes)


def blocks_in_use(state: State) -> frozenset[BlockId]:
    """Blocks that the machine may still need: locked, valid, proposed in a round it keeps, or voted for in one."""
    used = {lock.block_id for lock in (state.locked, state.valid) if lock is not None}
    for kept in state.rounds.values():
        used |= {b for tally in (kept.prevotes, kept.precommits) for b in tally.by_value if b is not None}
        if kept.proposal is not None:
            used.add(kept.proposal.proposal.block_id)
    return frozenset(used)
