"""Snapshots of the state after a block, in chunks; what proves one, and how a new node begins from it.

The entries of the state, in the order of their keys' places, are one stream of bytes (key length, key, value length, value)
that is cut into chunks. An offer says nothing that must be believed: its headers and commit are checked against the
genesis, and what the chunks hold must have exactly the root that the decided header names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from google.protobuf.message import DecodeError

from chain.block import block_id_of, decode_header
from chain.genesis import Genesis
from chain.hashes import HASH_BYTES, digest
from chain.kv import KV
from chain.overlay import Writes
from chain.state import open_state
from chain.stateproof import place_of
from chain.staterecord import LONGEST_KEY
from chain.store import (
    COMMIT,
    EARLIEST,
    GENESIS,
    HEAD,
    HEADER,
    RESTORING,
    BlockStore,
    Head,
    at_height,
    encode_head,
)
from chain.tx import Verify
from chain.wire import decode_commit, decode_validators
from consensus.commits import verify_commit
from consensus.types import CommitStatus, Height
from gridbft.v1 import chain_pb2 as chain_pb
from gridbft.v1 import peer_pb2 as pb

CHUNK_BYTES = 1_000_000
MAX_CHUNKS = 16_384  # 16 GB of state
MAX_OFFER_BYTES = 2 * 1024 * 1024
MAX_PART_BYTES = 64 * 1024 * 1024  # of one key or value: no contract can write one so large
ENTRIES_PER_BATCH = 20_000

_LENGTH_BYTES = 4


@dataclass(frozen=True, slots=True)
class Offer:
    """The state after block `height`. Headers, commits and validators are in their encoded forms."""

    height: int
    header: bytes
    next_header: bytes
    next_commit: bytes
    last_commit: bytes
    validators: bytes
    chunk_hashes: tuple[bytes, ...]
    total_bytes: int


class SnapshotError(Exception):
    """The chunks do not hold what the offer promises; nothing of them is kept."""


def encode_offer(offer: Offer) -> bytes:
    return pb.SnapshotOffer(
        height=offer.height,
        header=offer.header,
        next_header=offer.next_header,
        next_commit=offer.next_commit,
        last_commit=offer.last_commit,
        validators=offer.validators,
        chunk_hashes=offer.chunk_hashes,
        total_bytes=offer.total_bytes,
    ).SerializeToString(deterministic=True)


def decode_offer(raw: bytes) -> Offer:
    """Raises ValueError on anything but an offer within its bounds."""
    if len(raw) > MAX_OFFER_BYTES:
        raise ValueError(f"an offer has at most {MAX_OFFER_BYTES} bytes, this one {len(raw)}")
    m = pb.SnapshotOffer()
    try:
        m.ParseFromString(raw)
    except DecodeError as error:
        raise ValueError("these bytes are no encoded offer") from error
    if not 1 <= len(m.chunk_hashes) <= MAX_CHUNKS or any(len(h) != HASH_BYTES for h in m.chunk_hashes):
        raise ValueError(f"an offer has 1 to {MAX_CHUNKS} chunks with a hash of {HASH_BYTES} bytes each")
    if not (len(m.chunk_hashes) - 1) * CHUNK_BYTES < m.total_bytes <= len(m.chunk_hashes) * CHUNK_BYTES:
        raise ValueError("an offer whose size does not fit its number of chunks")
    return Offer(
        m.height,
        m.header,
        m.next_header,
        m.next_commit,
        m.last_commit,
        m.validators,
        tuple(m.chunk_hashes),
        m.total_bytes,
    )


def offer_fault(offer: Offer, genesis: Genesis, verify: Verify) -> str | None:
    """Why an offer proves no state of this chain, or None. Never raises on what a peer can send.

    The validators that it names must have decided header height + 1 by a full commit, and those of them that signed it must
    hold more than a third of the genesis's power: at least one of these is correct, and a correct one signs only for
    the set that the chain really had. Where the chain has moved on from its genesis so far that this fails, block sync
    still leads there.
    """
    try:
        header, following = decode_header(offer.header), decode_header(offer.next_header)
        validators, commit = decode_validators(offer.validators), decode_commit(offer.next_commit)
        decode_commit(offer.last_commit)
    except ValueError as error:
        return f"a part of the offer is malformed: {error}"
    if header.chain_id != genesis.chain_id or following.chain_id != genesis.chain_id:
        return "the headers are of another chain"
    if header.height != offer.height or following.height != offer.height + 1:
        return "the headers are not of the offer's height and the next one"
    if following.parent != block_id_of(offer.header):
        return "the second header does not follow the first"
    if following.last_commit_hash != digest(offer.last_commit):
        return "the last commit is not the one that the second header names"
    if following.validators_hash != digest(offer.validators):
        return "the validators are not those that the second header names"
    decided = block_id_of(offer.next_header)
    wrong = verify_commit(commit, genesis.chain_id, validators, Height(offer.height + 1), decided, verify)
    if wrong is not None:
        return f"the commit is refused: {wrong.code}: {wrong.detail}"
    known = sum(genesis.validators.power_of(e.validator) for e in commit.entries if e.status is CommitStatus.COMMIT)
    if not genesis.validators.is_third(known):
        return "too few of the genesis's validators signed: the set has changed too much since"
    return None


def make_offer(
    store: BlockStore, height: int, validators: bytes, chunk_hashes: Sequence[bytes], total_bytes: int
) -> Offer | None:
    """What proves a snapshot taken after block `height`, once the next block stands; None before. `validators` are those
    that the state after `height` names for the next height, encoded."""
    header, following = store.header(height), store.header(height + 1)
    last_commit, next_commit = _commit_in(store, height + 1), store.commit_bytes(height + 1)
    if header is None or following is None or last_commit is None or next_commit is None:
        return None
    hashes = tuple(chunk_hashes)
    return Offer(height, header[1], following[1], next_commit, last_commit, validators, hashes, total_bytes)


def _commit_in(store: BlockStore, height: int) -> bytes | None:
    raw = store.block_bytes(height)
    return None if raw is None else bytes(chain_pb.Block.FromString(raw).last_commit)


# --- chunks -----------------------------------------------------------------------------------------------------------


def chunks_of(entries: Iterable[tuple[bytes, bytes]]) -> Iterator[bytes]:
    """Entries, in the order in which they come, as chunks of CHUNK_BYTES each, the last one perhaps shorter."""
    buffer = bytearray()
    for pair in entries:
        for part in pair:
            buffer += len(part).to_bytes(_LENGTH_BYTES, "big")
            buffer += part
        while len(buffer) >= CHUNK_BYTES:
            yield bytes(buffer[:CHUNK_BYTES])
            del buffer[:CHUNK_BYTES]
    if buffer:
        yield bytes(buffer)


def entries_in(chunks: Iterable[bytes], place: Callable[[bytes], bytes] = place_of) -> Iterator[tuple[bytes, bytes]]:
    """The inverse of chunks_of. Raises SnapshotError for a stream that is cut short, or whose keys' places do not ascend."""
    reader = _Stream(chunks)
    before: bytes | None = None
    while (key := reader.part()) is not None:
        value = reader.part()
        if value is None:
            raise SnapshotError("the snapshot ends in the middle of an entry")
        following = place(key)
        if before is not None and following <= before:
            raise SnapshotError("the snapshot's entries are not in their order")
        before = following
        yield key, value


class _Stream:
    """Length-prefixed parts out of chunks that know nothing of their boundaries."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._buffer = b""
        self._at = 0

    def part(self) -> bytes | None:
        """None at the end of the stream."""
        prefix = self._take(_LENGTH_BYTES)
        if not prefix:
            return None
        size = int.from_bytes(prefix, "big")
        part = self._take(size) if len(prefix) == _LENGTH_BYTES and size <= MAX_PART_BYTES else None
        if part is None or len(part) != size:
            raise SnapshotError("the snapshot ends in the middle of an entry")
        return part

    def _take(self, size: int) -> bytes:
        while len(self._buffer) - self._at < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            self._buffer, self._at = self._buffer[self._at :] + chunk, 0
        taken = self._buffer[self._at : self._at + size]
        self._at += len(taken)
        return taken


# --- restoring --------------------------------------------------------------------------------------------------------


def restore(kv: KV, offer: Offer, chunks: Iterable[bytes]) -> Head:
    """Makes `kv`, which holds no chain, one that stands after block `offer.height`. The offer was checked before.

    Entries are written in batches, the head in the last one; a mark says so in between, and `discard_unfinished` clears up
    after a crash. Raises SnapshotError when the chunks do not hold the state that the offer's header names: then the
    store is empty again.
    """
    assert kv.get(HEAD) is None, "a snapshot is restored into an empty store"
    header, following = decode_header(offer.header), decode_header(offer.next_header)
    kv.write([(RESTORING, offer.height.to_bytes(8, "big"))])
    try:
        root = _write_state(kv, entries_in(_checked(chunks, offer)))
        if root != following.state_root:
            raise SnapshotError("the snapshot's state does not have the root that the header names")
    except SnapshotError:
        discard_unfinished(kv)
        raise
    head = Head(offer.height, following.parent, header.time_ms, following.state_root, following.receipt_root)
    puts = [
        (at_height(HEADER, offer.height), offer.header),
        (at_height(COMMIT, offer.height), offer.last_commit),
        (EARLIEST, (offer.height + 1).to_bytes(8, "big")),
        (GENESIS, header.chain_id.encode()),
        (HEAD, encode_head(head)),
    ]
    kv.write(puts, [RESTORING])
    return head


def discard_unfinished(kv: KV) -> bool:
    """Empties a store in which a restoration was interrupted; whether there was one."""
    if kv.get(RESTORING) is None:
        return False
    keys = (key for key, _ in kv.scan(b"", b"\xff" * 8) if key != RESTORING)
    while batch := list(islice(keys, ENTRIES_PER_BATCH)):
        kv.write((), batch)
    kv.write((), [RESTORING])
    return True


def _checked(chunks: Iterable[bytes], offer: Offer) -> Iterator[bytes]:
    count = 0
    for chunk, expected in zip(chunks, offer.chunk_hashes, strict=False):
        if digest(chunk) != expected:
            raise SnapshotError(f"chunk {count} does not have the hash in the offer")
        count += 1
        yield chunk
    if count != len(offer.chunk_hashes):
        raise SnapshotError(f"{count} chunks of {len(offer.chunk_hashes)}")


def _write_state(kv: KV, entries: Iterator[tuple[bytes, bytes]]) -> bytes:
    """Batch by batch, so that a large state needs little memory; the root of all of it."""
    tree = open_state(kv)
    while batch := list(islice(entries, ENTRIES_PER_BATCH)):
        if any(len(key) > LONGEST_KEY for key, _ in batch):
            raise SnapshotError(f"the snapshot has a key of more than {LONGEST_KEY} bytes, as no state can")
        writes: Writes = dict(batch)
        change = tree.plan(writes)
        kv.write(change.puts, change.deletes)
        tree.adopt(change)
    return tree.root
