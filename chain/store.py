"""Where blocks, commits, receipts and the state lie in the key-value store.

b<height>  encoded block            c<height>  the commit that decided it      r<height>  its receipts
t<tx id>   height, index            s<place>   a pair of the state             n<path>    a row of its tree
u<height>  state values before the block (what undoes it)                      m<name>    the head and other marks
h<height>  the header alone, of a block whose body is not kept (pruned, or below a restored snapshot)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgpack

from chain.block import Header, block_id_of, decode_header
from chain.hashes import digest
from chain.kv import KV, Reader
from chain.receipt import unpack_list
from chain.staterecord import STATE, decode_record, record_key, value_in
from chain.wire import decode_commit
from consensus.types import BlockId, Commit
from gridbft.v1 import chain_pb2 as pb

BLOCK, COMMIT, RECEIPTS, TX, UNDO, MARK = b"b", b"c", b"r", b"t", b"u", b"m"
HEADER = b"h"
HEAD = MARK + b"head"
EARLIEST = MARK + b"earliest"
GENESIS = MARK + b"genesis"
RESTORING = MARK + b"restoring"  # a snapshot's height, while its state is being written


class CorruptStoreError(Exception):
    """What lies on the disk is not what was written; the message names it and says what to do."""


def at_height(kind: bytes, height: int) -> bytes:
    return kind + height.to_bytes(8, "big")


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the chain as this node holds it. Height 0 is the genesis, which has no block."""

    height: int
    block_id: BlockId
    time_ms: int
    state_root: bytes
    receipt_root: bytes


def encode_head(head: Head) -> bytes:
    packed: bytes = msgpack.packb([head.height, head.block_id, head.time_ms, head.state_root, head.receipt_root])
    return packed + digest(packed)


def decode_head(raw: bytes) -> Head:
    packed, check = raw[:-32], raw[-32:]
    if digest(packed) != check:
        raise CorruptStoreError(
            "the record of the chain's head is damaged: restore a backup, or sync from an empty store"
        )
    height, block_id, time_ms, state_root, receipt_root = msgpack.unpackb(packed)
    return Head(height, BlockId(block_id), time_ms, state_root, receipt_root)


def encode_undo(before: Mapping[bytes, bytes | None]) -> bytes:
    """The values before a block of all that it changed; None where there was none."""
    packed: bytes = msgpack.packb(before)
    return packed


def decode_undo(raw: bytes) -> dict[bytes, bytes | None]:
    before: dict[bytes, bytes | None] = msgpack.unpackb(raw)
    return before


class StateReader:
    """The state in the store, as a contract runtime reads it."""

    __slots__ = ("_get",)

    def __init__(self, kv: Reader) -> None:
        self._get = kv.get

    def get(self, key: bytes, /) -> bytes | None:
        raw = self._get(record_key(key))
        return None if raw is None else value_in(raw, key)


class BlockStore:
    """Reads of what the ledger wrote. Blocks are checked against their commit before they are given out."""

    def __init__(self, kv: KV) -> None:
        self._kv = kv

    def head(self) -> Head | None:
        raw = self._kv.get(HEAD)
        return None if raw is None else decode_head(raw)

    def earliest(self) -> int:
        """The first height whose block is kept."""
        raw = self._kv.get(EARLIEST)
        return 1 if raw is None else int.from_bytes(raw, "big")

    def commit_bytes(self, height: int) -> bytes | None:
        return self._kv.get(at_height(COMMIT, height))

    def commit(self, height: int) -> Commit | None:
        raw = self.commit_bytes(height)
        if raw is None:
            return None
        try:
            return decode_commit(raw)
        except ValueError as error:
            raise CorruptStoreError(
                f"the commit of height {height} is damaged: {error}; sync this node again"
            ) from error

    def block_bytes(self, height: int) -> bytes | None:
        """None where there is none (not yet, or pruned). Raises CorruptStoreError for one whose header changed on disk."""
        raw = self._kv.get(at_height(BLOCK, height))
        if raw is not None:
            self._header_bytes(raw, height)
        return raw

    def header(self, height: int) -> tuple[Header, bytes] | None:
        """The header and its exact bytes; kept also where the body is not."""
        raw = self._kv.get(at_height(BLOCK, height))
        if raw is not None:
            header_bytes = self._header_bytes(raw, height)
            return decode_header(header_bytes), header_bytes
        alone = self._kv.get(at_height(HEADER, height))
        if alone is None:
            return None
        self._check_decided(alone, height)
        return decode_header(alone), alone

    def _header_bytes(self, raw: bytes, height: int) -> bytes:
        message = pb.Block()
        try:
            message.ParseFromString(raw)
        except Exception as error:
            raise CorruptStoreError(f"the block of height {height} is damaged: sync this node again") from error
        self._check_decided(message.header, height)
        return message.header

    def _check_decided(self, header_bytes: bytes, height: int) -> None:
        commit = self.commit(height)
        if commit is None or block_id_of(header_bytes) != commit.block_id:
            raise CorruptStoreError(
                f"the block of height {height} is not the one that was decided: sync this node again"
            )

    def receipts(self, height: int) -> list[bytes] | None:
        raw = self._kv.get(at_height(RECEIPTS, height))
        return None if raw is None else unpack_list(raw)

    def find_tx(self, tx_id: bytes) -> tuple[int, int] | None:
        """Height and index of a final transaction."""
        raw = self._kv.get(TX + tx_id)
        return None if raw is None else (int.from_bytes(raw[:8], "big"), int.from_bytes(raw[8:], "big"))

    def undo(self, height: int) -> dict[bytes, bytes | None] | None:
        raw = self._kv.get(at_height(UNDO, height))
        return None if raw is None else decode_undo(raw)

    def state_entries(self) -> Iterator[tuple[bytes, bytes]]:
        """In the order of their keys' places, as they stand at the call: blocks that are applied while they are drawn do not
        show."""
        records = self._kv.scan(STATE, bytes([STATE[0] + 1]))
        return (decode_record(record) for _, record in records)
