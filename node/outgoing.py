"""What a replica wants sent, gathered over one turn of the host (transactions over some): neighbours share a message, each is
encoded once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from chain.wire import proposal_to_wire, vote_to_wire
from consensus.types import Vote
from gridbft.v1 import peer_pb2 as pb
from node.events import (
    Memory,
    PeerId,
    PeerState,
    RequestBlocks,
    SendEvidence,
    SendMemory,
    SendProposal,
    SendStatus,
    SendTxs,
    SendVotes,
)
from node.outbox import Lane

TXS_PER_MESSAGE = 2_000
TX_BYTES_PER_MESSAGE = 512 * 1024
VOTES_PER_MESSAGE = 1_024

Send = Callable[[PeerId | None, Lane, bytes], None]
Sending = SendEvidence | SendTxs | SendProposal | SendVotes | SendMemory | SendStatus | RequestBlocks


class Outgoing:
    """`flush` sends all but transactions, `flush_txs` these; destination None is every peer. Votes go first: they are small and
    others wait for them."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._votes: dict[PeerId | None, list[Vote]] = {}
        self._memories: dict[PeerId, Memory] = {}
        self._proposals: dict[tuple[PeerId | None, bytes], SendProposal] = {}
        self._statuses: dict[PeerId | None, PeerState] = {}
        self._requests: list[RequestBlocks] = []
        self._txs: dict[PeerId | None, list[bytes]] = {}

    def add(self, effect: Sending) -> None:
        match effect:
            case SendVotes(to, votes):
                self._votes.setdefault(to, []).extend(votes)
            case SendMemory(asker, memory):
                self._memories[asker] = memory
            case SendProposal(to, proposal, _):
                self._proposals[to, proposal.signature] = effect
            case SendStatus(to, state):
                self._statuses[to] = state
            case RequestBlocks():
                self._requests.append(effect)
            case SendEvidence(to, evidence):
                batch = pb.EvidenceBatch(evidence=evidence)  # rare: it needs no gathering
                self._send(to, Lane.VITAL, pb.PeerMessage(evidence=batch).SerializeToString())
            case SendTxs(to, raw_txs):
                self._txs.setdefault(to, []).extend(raw_txs)

    def flush(self) -> None:
        if self._votes:
            self._flush_votes()
        if self._proposals:
            self._flush_proposals()
        if self._memories:
            self._flush_memories()
        if self._requests:
            self._flush_requests()
        if self._statuses:
            self._flush_statuses()

    @property
    def has_txs(self) -> bool:
        return bool(self._txs)

    def _flush_votes(self) -> None:
        pending, self._votes = self._votes, {}
        for to, votes in pending.items():
            for at in range(0, len(votes), VOTES_PER_MESSAGE):
                batch = pb.VoteBatch(votes=[vote_to_wire(v) for v in votes[at : at + VOTES_PER_MESSAGE]])
                self._send(to, Lane.VITAL, pb.PeerMessage(votes=batch).SerializeToString())

    def _flush_memories(self) -> None:
        """One message each: what makes it worth something is that it is all."""
        pending, self._memories = self._memories, {}
        for to, memory in pending.items():
            batch = pb.VoteBatch(
                votes=[vote_to_wire(v) for v in memory.votes],
                recalled_height=memory.height,
                recalled_proposals=[proposal_to_wire(p) for p in memory.proposals],
            )
            self._send(to, Lane.VITAL, pb.PeerMessage(votes=batch).SerializeToString())

    def _flush_proposals(self) -> None:
        pending, self._proposals = self._proposals, {}
        for effect in pending.values():
            proposed = pb.ProposedBlock(proposal=proposal_to_wire(effect.proposal), block=effect.raw_block)
            self._send(effect.to, Lane.VITAL, pb.PeerMessage(proposal=proposed).SerializeToString())

    def _flush_requests(self) -> None:
        pending, self._requests = self._requests, []
        for effect in pending:
            request = pb.BlockRequest(from_height=effect.first, to_height=effect.last)
            self._send(effect.to, Lane.VITAL, pb.PeerMessage(block_request=request).SerializeToString())

    def _flush_statuses(self) -> None:
        pending, self._statuses = self._statuses, {}
        for to, state in pending.items():
            self._send(to, Lane.STATUS, pb.PeerMessage(status=status_to_wire(state)).SerializeToString())

    def flush_txs(self) -> None:
        pending, self._txs = self._txs, {}
        for to, raw_txs in pending.items():
            for batch in tx_batches(raw_txs):
                self._send(to, Lane.BULK, pb.PeerMessage(txs=pb.TxBatch(txs=batch)).SerializeToString())


def tx_batches(raw_txs: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Runs of transactions that fit into one message each."""
    start, size = 0, 0
    for at, raw in enumerate(raw_txs):
        if at > start and (size + len(raw) > TX_BYTES_PER_MESSAGE or at - start >= TXS_PER_MESSAGE):
            yield raw_txs[start:at]
            start, size = at, 0
        size += len(raw)
    if start < len(raw_txs):
        yield raw_txs[start:]


def status_to_wire(state: PeerState) -> pb.PeerStatus:
    return pb.PeerStatus(
        height=state.height,
        round=state.round,
        step=state.step,
        prevotes=bitmap_bytes(state.prevotes),
        precommits=bitmap_bytes(state.precommits),
        has_proposal=state.has_proposal,
        pol_round=state.pol_round,
        pol_prevotes=bitmap_bytes(state.pol_prevotes),
        earliest_height=state.earliest_height,
        silent=state.silent,
    )


def bitmap_bytes(bits: int) -> bytes:
    """Little-endian, as short as possible."""
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")
