"""How a new or wiped node begins near the end of the chain: it asks the members for snapshots, trusts none of them, and
restores the newest state that is proved. Where none is, block sync from the genesis does the work.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import structlog
from google.protobuf.message import DecodeError

from chain.genesis import Genesis, Member
from chain.hashes import digest
from chain.kv import KV
from chain.snapshot import CHUNK_BYTES, MAX_OFFER_BYTES, Offer, SnapshotError, decode_offer, offer_fault, restore
from chain.snapshot import discard_unfinished as discard_unfinished_state
from chain.store import BlockStore
from gridbft.v1 import peer_pb2 as pb
from node import ed25519
from node.certs import TlsIdentity
from node.peers import SERVICE, member_channel

OFFER_SECONDS = 3.0
CHUNK_SECONDS = 20.0
CHUNKS_AT_ONCE = 4

log = structlog.get_logger("snapshots")


@dataclass(frozen=True, slots=True)
class Source:
    """A member that can be asked, and what it is asked through."""

    member: Member
    channel: Any

    async def ask(self, method: str, request: bytes, seconds: float) -> bytes | None:
        """None where it does not answer, or refuses."""
        call = self.channel.unary_unary(f"/{SERVICE}/{method}")
        try:
            answer = await call(request, timeout=seconds)
        except (grpc.RpcError, grpc.aio.BaseError):
            return None
        return answer if isinstance(answer, bytes) else None


@dataclass(frozen=True, slots=True)
class Candidate:
    """An offer that proves a state, and who holds just these chunks."""

    offer: Offer
    sources: tuple[Source, ...]


async def begin_from_snapshot(
    kv: KV, genesis: Genesis, me: bytes, tls: TlsIdentity, min_gap: int, folder: Path
) -> int | None:
    """Restores a snapshot into a store that holds no chain, if a member offers one above `min_gap` that is proved; its
    height. `me` is this node's address; chunks are gathered in `folder` first. None: nothing was restored.

    Raises StoreError or OSError where our own disk fails.
    """
    discard_unfinished_state(kv)
    if min_gap == 0 or BlockStore(kv).head() is not None:
        return None
    async with _sources([m for m in genesis.members if m.id != me], tls) as sources:
        for candidate in await _candidates(sources, genesis, min_gap):
            height = await _try(kv, candidate, folder)
            if height is not None:
                return height
    return None


@asynccontextmanager
async def _sources(members: Sequence[Member], tls: TlsIdentity) -> AsyncIterator[list[Source]]:
    sources = [Source(m, member_channel(m, tls)) for m in members]
    try:
        yield sources
    finally:
        for source in sources:
            await source.channel.close()


async def _candidates(sources: Sequence[Source], genesis: Genesis, min_gap: int) -> list[Candidate]:
    """Proved offers, highest first; those that name the same chunks are one."""
    offers = await asyncio.gather(*[_offer_of(source, genesis) for source in sources])
    found: dict[tuple[int, tuple[bytes, ...]], Candidate] = {}
    for source, offer in zip(sources, offers, strict=True):
        if offer is not None and offer.height > min_gap:
            key = (offer.height, offer.chunk_hashes)
            before = found.get(key, Candidate(offer, ()))
            found[key] = Candidate(before.offer, (*before.sources, source))
    return sorted(found.values(), key=lambda c: (-c.offer.height, -len(c.sources)))


async def _offer_of(source: Source, genesis: Genesis) -> Offer | None:
    raw = await source.ask("GetSnapshot", pb.GetSnapshotRequest().SerializeToString(), OFFER_SECONDS)
    if raw is None or len(raw) > MAX_OFFER_BYTES + 16:
        return None
    try:
        offer = decode_offer(pb.GetSnapshotResponse.FromString(raw).offer)
    except (ValueError, DecodeError) as error:
        log.warning("snapshot_offer_refused", peer=source.member.name, reason=str(error))
        return None
    fault = await asyncio.to_thread(offer_fault, offer, genesis, ed25519.verify)
    if fault is not None:
        log.warning("snapshot_offer_refused", peer=source.member.name, height=offer.height, reason=fault)
        return None
    return offer


async def _try(kv: KV, candidate: Candidate, folder: Path) -> int | None:
    """None where not all chunks came, or what they hold is not the proved state: the next candidate may do better."""
    offer = candidate.offer
    log.info("snapshot_found", height=offer.height, bytes=offer.total_bytes, peers=len(candidate.sources))
    with tempfile.TemporaryDirectory(prefix="restoring-", dir=folder) as name:
        files = Path(name)
        if not await _Download(candidate, files).run():
            log.warning("snapshot_incomplete", height=offer.height)
            return None
        try:
            await asyncio.to_thread(restore, kv, offer, _chunks(files, len(offer.chunk_hashes)))
        except SnapshotError as error:
            names = [s.member.name for s in candidate.sources]
            log.warning("snapshot_is_a_lie", height=offer.height, peers=names, reason=str(error))
            return None
    log.info("snapshot_restored", height=offer.height)
    return offer.height


def _chunks(files: Path, count: int) -> Iterator[bytes]:
    return ((files / str(index)).read_bytes() for index in range(count))


class _Download:
    """All chunks of a candidate, from all its sources; one that sends a wrong chunk, or none, is asked no more."""

    def __init__(self, candidate: Candidate, files: Path) -> None:
        self._offer = candidate.offer
        self._sources = list(candidate.sources)
        self._files = files
        self._wanted = list(range(len(candidate.offer.chunk_hashes)))[::-1]

    async def run(self) -> bool:
        """Whether every chunk is in the folder now."""
        await asyncio.gather(*[self._fetch() for _ in range(CHUNKS_AT_ONCE)])
        return not self._wanted

    async def _fetch(self) -> None:
        turn = 0
        while self._wanted and self._sources:
            index = self._wanted.pop()
            source = self._sources[(index + turn) % len(self._sources)]
            chunk = await self._chunk(source, index)
            if chunk is None:
                self._wanted.append(index)
                if source in self._sources:
                    self._sources.remove(source)
                turn += 1
            else:
                await asyncio.to_thread((self._files / str(index)).write_bytes, chunk)

    async def _chunk(self, source: Source, index: int) -> bytes | None:
        request = pb.GetSnapshotChunkRequest(height=self._offer.height, index=index)
        raw = await source.ask("GetSnapshotChunk", request.SerializeToString(), CHUNK_SECONDS)
        if raw is None or len(raw) > CHUNK_BYTES + 64:
            return None
        try:
            chunk = pb.GetSnapshotChunkResponse.FromString(raw).chunk
        except DecodeError:
            chunk = b""
        if digest(chunk) != self._offer.chunk_hashes[index]:
            log.warning("snapshot_chunk_refused", peer=source.member.name, height=self._offer.height, chunk=index)
            return None
        return chunk
