"""Messages that cannot be counted yet, kept within bounds: of the next height, or of this one before it may begin."""

from __future__ import annotations

from chain.block import Block
from consensus.types import Proposal, Vote
from node.events import PeerId, ProposalReceived, VotesReceived

VOTES_OF_A_PEER = 64
PROPOSALS_OF_A_PEER = 2


class EarlyMessages:
    """Per peer the newest few, so that a peer that floods displaces only its own."""

    def __init__(self) -> None:
        self._votes: dict[PeerId, list[Vote]] = {}
        self._proposals: dict[PeerId, list[tuple[Proposal, Block | None]]] = {}

    def keep_vote(self, peer: PeerId, vote: Vote) -> None:
        kept = self._votes.setdefault(peer, [])
        kept.append(vote)
        del kept[:-VOTES_OF_A_PEER]

    def keep_proposal(self, peer: PeerId, proposal: Proposal, block: Block | None) -> None:
        kept = self._proposals.setdefault(peer, [])
        kept.append((proposal, block))
        del kept[:-PROPOSALS_OF_A_PEER]

    def of_height(self, height: int) -> list[ProposalReceived | VotesReceived]:
        """Hands out everything kept for this height, proposals first, and forgets it and what was before."""
        proposals = [
            ProposalReceived(peer, proposal, block)
            for peer, kept in self._proposals.items()
            for proposal, block in kept
            if proposal.height == height
        ]
        votes = [
            VotesReceived(peer, tuple(v for v in kept if v.height == height)) for peer, kept in self._votes.items()
        ]
        self._votes = {peer: [v for v in kept if v.height > height] for peer, kept in self._votes.items()}
        self._proposals = {
            peer: [(p, b) for p, b in kept if p.height > height] for peer, kept in self._proposals.items()
        }
        return [*proposals, *votes]
