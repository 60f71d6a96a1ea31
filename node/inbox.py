"""What the other validators send: through the door, then to the replica. Their requests for blocks are answered here."""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog

from chain.store import BlockStore, CorruptStoreError
from gridbft.v1 import peer_pb2 as pb
from node.admission import MAX_SERVED_BYTES, Admitted, Door, Fault
from node.events import Event, PeerDown, PeerId, PeerUp, StatusReceived, TxsReceived
from node.outbox import Lane
from node.outgoing import Send

TX_QUEUE_BYTES = 16 * 1024 * 1024

log = structlog.get_logger("inbox")


class Replicas(Protocol):
    """What an inbox needs of the host."""

    def post(self, event: Event) -> None: ...

    async def post_from(self, peer: PeerId, event: Event) -> None: ...

    def post_txs(self, event: TxsReceived) -> bool: ...

    def crashed(self, error: BaseException) -> None: ...


class Penalise(Protocol):
    def __call__(self, peer: PeerId, reason: str) -> None: ...


class Inbox:
    """Implements node.peers.Listener. Votes of a peer are never kept waiting by its transactions: those queue apart,
    within a bound, and are dropped beyond it (whoever took them from a client still holds them)."""

    def __init__(self, door: Door, host: Replicas, store: BlockStore, send: Send, penalise: Penalise) -> None:
        self._door = door
        self._host = host
        self._store = store
        self._send = send
        self._penalise = penalise
        self._tx_queue: asyncio.Queue[tuple[PeerId, pb.TxBatch, int]] = asyncio.Queue()
        self._tx_room = TX_QUEUE_BYTES
        self.heights: dict[PeerId, int] = {}  # the last committed height that each peer claimed
        self.dropped_txs = 0

    def up(self, peer: PeerId) -> None:
        self._host.post(PeerUp(peer))

    def down(self, peer: PeerId) -> None:
        self._host.post(PeerDown(peer))

    def crashed(self, error: BaseException) -> None:
        self._host.crashed(error)

    async def message(self, peer: PeerId, raw: bytes) -> None:
        message = self._door.message(raw)
        if isinstance(message, Fault):
            self._penalise(peer, message.reason)
            return
        match message.WhichOneof("kind"):
            case "txs":
                self._queue_txs(peer, message.txs, len(raw))
            case "votes":
                await self._admit(peer, await self._door.votes(peer, message.votes))
            case "proposal":
                await self._admit(peer, await self._door.proposal(peer, message.proposal))
            case "status":
                await self._admit(peer, self._door.status(peer, message.status))
            case "evidence":
                await self._admit(peer, self._door.evidence(peer, message.evidence))
            case "block_request":
                self._serve_blocks(peer, message.block_request)
            case "block_response":
                await self._admit(peer, self._door.blocks(peer, message.block_response))
            case _:
                self._penalise(peer, "a message of no known kind")

    async def _admit(self, peer: PeerId, admitted: Admitted | Fault | None) -> None:
        """Returns when the peer's next message may be read: the host takes only so many of each."""
        if isinstance(admitted, Fault):
            self._penalise(peer, admitted.reason)
        elif admitted is not None:
            if isinstance(admitted, StatusReceived):
                self.heights[peer] = max(admitted.state.height - 1, 0)
            await self._host.post_from(peer, admitted)

    def _queue_txs(self, peer: PeerId, batch: pb.TxBatch, size: int) -> None:
        if size > self._tx_room:
            self.dropped_txs += len(batch.txs)
            return
        self._tx_room -= size
        self._tx_queue.put_nowait((peer, batch, size))

    async def work(self) -> None:
        """Checks queued transactions, batch after batch; runs as long as the node."""
        while True:
            peer, batch, size = await self._tx_queue.get()
            admitted = await self._door.peer_txs(peer, batch)
            self._tx_room += size
            if isinstance(admitted, Fault):
                self._penalise(peer, admitted.reason)
            elif not self._host.post_txs(admitted):
                self.dropped_txs += len(admitted.txs)

    def _serve_blocks(self, peer: PeerId, request: pb.BlockRequest) -> None:
        """As many from the first one on as fit; none where this node has none."""
        heights = self._door.block_request(request)
        if isinstance(heights, Fault):
            self._penalise(peer, heights.reason)
            return
        response = pb.BlockResponse(from_height=heights.first)
        size = 0
        for height in range(heights.first, heights.last + 1):
            found = self._read_block(height)
            if found is None or (size and size + len(found[0]) > MAX_SERVED_BYTES):
                break
            response.blocks.append(found[0])
            response.commits.append(found[1])
            size += len(found[0]) + len(found[1])
        self._send(peer, Lane.VITAL, pb.PeerMessage(block_response=response).SerializeToString())

    def _read_block(self, height: int) -> tuple[bytes, bytes] | None:
        """A damaged block is named in the log and never served."""
        try:
            block, commit = self._store.block_bytes(height), self._store.commit_bytes(height)
        except CorruptStoreError as error:
            log.error("stored_block_damaged", height=height, reason=str(error))
            return None
        return None if block is None or commit is None else (block, commit)
