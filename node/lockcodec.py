"""The consensus lock as bytes, for the write-ahead log."""

from __future__ import annotations

from typing import Any

import msgpack

from chain.wire import vote_from_wire, vote_to_wire
from consensus.lock import Lock, LockRecord
from consensus.types import BlockId, Height, Round
from gridbft.v1 import chain_pb2 as pb


def encode_lock(record: LockRecord) -> bytes:
    votes = [vote_to_wire(v).SerializeToString(deterministic=True) for v in record.prevotes]
    packed: bytes = msgpack.packb([record.height, _plain(record.locked), _plain(record.valid), votes])
    return packed


def decode_lock(raw: bytes) -> LockRecord:
    """The inverse of encode_lock; what comes in was written by us and checked by the log's own sums."""
    height, locked, valid, votes = msgpack.unpackb(raw)
    held = _lock(valid)
    assert held is not None, "a lock record always has a valid value"
    prevotes = tuple(vote_from_wire(pb.Vote.FromString(v)) for v in votes)
    return LockRecord(Height(height), _lock(locked), held, prevotes)


def _plain(lock: Lock | None) -> list[Any] | None:
    return None if lock is None else [lock.round, lock.block_id]


def _lock(plain: list[Any] | None) -> Lock | None:
    return None if plain is None else Lock(Round(plain[0]), BlockId(plain[1]))
