"""What a peer lacks of the height at hand, and when it is sent again; and what a silent validator must be told of itself."""

from __future__ import annotations

from consensus.gossip import Standpoint, lacking
from consensus.state import State, Step
from consensus.types import NO_ROUND, Height, Round
from node.caution import memory_for
from node.events import Effect, PeerId, PeerState, SendMemory, SendProposal, SendVotes
from node.heightblocks import HeightBlocks

RECALL_EVERY_MS = 1_000
BLOCK_PATIENCE = 4  # times as long as for votes: a large block takes its time to arrive and to be checked


class Telling:
    """`settle_ms`: what a peer lacks may still be on its way; only later is it sent again. All times are the host's clock,
    which may be set back: a wait never grows by that."""

    def __init__(self, settle_ms: int) -> None:
        self._settle_ms = settle_ms
        self._round_since_ms = 0
        self._recalled_ms: dict[PeerId, int] = {}

    def entered_round(self, now_ms: int) -> None:
        self._round_since_ms = now_ms

    def what_it_lacks(
        self, machine: State, blocks: HeightBlocks, peer: PeerId, state: PeerState, now_ms: int
    ) -> list[Effect]:
        """Of the height that both are at."""
        waited_ms = now_ms - self._round_since_ms
        if 0 <= waited_ms < self._settle_ms or _holds_all(machine, state):
            return []
        there = Standpoint(
            Height(state.height),
            Round(state.round),
            Step(state.step),
            state.prevotes,
            state.precommits,
            state.has_proposal,
            Round(state.pol_round),
            state.pol_prevotes,
        )
        parts = lacking(machine, there)
        effects: list[Effect] = []
        is_late = not 0 <= waited_ms < BLOCK_PATIENCE * self._settle_ms
        if parts.proposal is not None and parts.proposal.block_id in blocks and is_late:
            effects.append(SendProposal(peer, parts.proposal, blocks[parts.proposal.block_id].raw))
        if parts.votes:
            effects.append(SendVotes(peer, parts.votes))
        return effects

    def what_it_forgot(self, machine: State, blocks: HeightBlocks, asker: PeerId, now_ms: int) -> list[Effect]:
        """All that we heard from it, even if we are silent ourselves; asked at every status, answered now and then."""
        if 0 <= now_ms - self._recalled_ms.get(asker, -RECALL_EVERY_MS) < RECALL_EVERY_MS:
            return []
        self._recalled_ms[asker] = now_ms
        memory = memory_for(machine, asker)
        offers = [p for p in memory.proposals if p.block_id in blocks]
        return [*(SendProposal(asker, p, blocks[p.block_id].raw) for p in offers), SendMemory(asker, memory)]


def _holds_all(machine: State, peer: PeerState) -> bool:
    """Whether `lacking` would find nothing for it, which is how most statuses end."""
    kept = machine.at(Round(peer.round))
    return (
        peer.round >= machine.round
        and peer.pol_round == NO_ROUND
        and not kept.prevotes.held & ~peer.prevotes
        and not kept.precommits.held & ~peer.precommits
        and (peer.has_proposal or kept.proposal is None)
    )
