"""The bytes of the write-ahead log: frames, each holding the records of one append.

A file starts with a magic word and a random salt. A frame is {marker, length u32, CRC-32 u32, payload}; the checksum
starts from the salt and the frame's offset, so that nothing a peer puts into a block can pass for a frame. One append
is one frame: a crash may tear the last frame only, whatever order the disk wrote its sectors in.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import assert_never
from zlib import crc32

from chain.hashes import ADDRESS_BYTES, HASH_BYTES
from consensus.types import BlockId, Height, Proposal, Round, ValidatorId, Vote, VoteKind
from node.events import LoggedBlock, LoggedHeard, LoggedLock, LoggedOwn, LogRecord

MAGIC = b"gbftwal1"
SALT_BYTES = 16
HEADER_BYTES = len(MAGIC) + SALT_BYTES
MARKER = b"\xd7gbW"
MAX_PAYLOAD_BYTES = 64 * 1024 * 1024

_FRAME = struct.Struct(">4sII")
_RECORD = struct.Struct(">BQI")
_VOTE = struct.Struct(f">BQIB{HASH_BYTES}s{ADDRESS_BYTES}s")
_PROPOSAL = struct.Struct(f">QIi{HASH_BYTES}s{ADDRESS_BYTES}s")

BLOCK, LOCK, VOTE, PROPOSAL, HEARD = 1, 2, 3, 4, 5


class WalCorruptError(Exception):
    """The log is damaged where a crash cannot have damaged it; the message says where and what to do."""


@dataclass(frozen=True, slots=True)
class Scanned:
    """`good_bytes` is the length of the header and all whole frames."""

    records: tuple[LogRecord, ...]
    good_bytes: int


def height_of(record: LogRecord) -> int:
    match record:
        case LoggedOwn(message):
            return message.height
        case LoggedHeard(vote):
            return vote.height
        case _:
            return record.height


def encode_frame(records: tuple[LogRecord, ...], salt: bytes, offset: int) -> bytes:
    """`offset`: where in the file the frame will stand."""
    payload = b"".join([_encode_record(record) for record in records])
    assert len(payload) <= MAX_PAYLOAD_BYTES, "more in one append than a log frame holds"
    return _FRAME.pack(MARKER, len(payload), _checksum(payload, salt, offset)) + payload


def scan(data: bytes) -> Scanned:
    """Reads a log file up to its last whole frame.

    Raises WalCorruptError when the header is not a log's, or when a whole frame stands behind a bad one: a crash tears
    only the end.
    """
    if data[: len(MAGIC)] != MAGIC or len(data) < HEADER_BYTES:
        raise WalCorruptError("the file does not start like a write-ahead log: is it another file?")
    salt = data[len(MAGIC) : HEADER_BYTES]
    records: list[LogRecord] = []
    at = HEADER_BYTES
    while (payload := _frame_at(data, salt, at)) is not None:
        records += _decode_records(payload, at)
        at += _FRAME.size + len(payload)
    later = _whole_frame_after(data, salt, at)
    if later is not None:
        raise WalCorruptError(f"the record at byte {at} is damaged, but a whole one stands at byte {later}")
    return Scanned(tuple(records), at)


def _checksum(payload: bytes, salt: bytes, offset: int) -> int:
    return crc32(payload, crc32(salt + offset.to_bytes(8, "big") + len(payload).to_bytes(4, "big")))


def _frame_at(data: bytes, salt: bytes, at: int) -> bytes | None:
    if len(data) - at < _FRAME.size:
        return None
    marker, size, check = _FRAME.unpack_from(data, at)
    if marker != MARKER or size > MAX_PAYLOAD_BYTES or len(data) - at - _FRAME.size < size:
        return None
    payload = data[at + _FRAME.size : at + _FRAME.size + size]
    return payload if _checksum(payload, salt, at) == check else None


def _whole_frame_after(data: bytes, salt: bytes, at: int) -> int | None:
    candidate = data.find(MARKER, at + 1)
    while candidate >= 0:
        if _frame_at(data, salt, candidate) is not None:
            return candidate
        candidate = data.find(MARKER, candidate + 1)
    return None


def _encode_record(record: LogRecord) -> bytes:
    match record:
        case LoggedBlock(height, raw):
            return _RECORD.pack(BLOCK, height, len(raw)) + raw
        case LoggedLock(height, raw):
            return _RECORD.pack(LOCK, height, len(raw)) + raw
        case LoggedOwn(message):
            kind, body = (
                (VOTE, encode_vote(message)) if isinstance(message, Vote) else (PROPOSAL, encode_proposal(message))
            )
            return _RECORD.pack(kind, message.height, len(body)) + body
        case LoggedHeard(vote):
            body = encode_vote(vote)
            return _RECORD.pack(HEARD, vote.height, len(body)) + body
        case _:
            assert_never(record)


def _decode_records(payload: bytes, frame_at: int) -> list[LogRecord]:
    """The checksum was right, so what does not decode here was written by another program: named, never guessed."""
    records: list[LogRecord] = []
    at = 0
    try:
        while at < len(payload):
            kind, height, size = _RECORD.unpack_from(payload, at)
            at += _RECORD.size
            body, at = payload[at : at + size], at + size
            if len(body) != size:
                raise ValueError("its length lies")
            records.append(_decode_record(kind, Height(height), body))
    except (ValueError, struct.error) as error:
        raise WalCorruptError(f"the record at byte {frame_at} is not one this version writes: {error}") from error
    return records


def _decode_record(kind: int, height: Height, body: bytes) -> LogRecord:
    match kind:
        case 1:
            return LoggedBlock(height, body)
        case 2:
            return LoggedLock(height, body)
        case 3:
            return LoggedOwn(decode_vote(body))
        case 4:
            return LoggedOwn(decode_proposal(body))
        case 5:
            return LoggedHeard(decode_vote(body))
        case _:
            raise ValueError(f"kind {kind}")


def encode_vote(vote: Vote) -> bytes:
    some, block_id = (0, bytes(HASH_BYTES)) if vote.block_id is None else (1, vote.block_id)
    return _VOTE.pack(vote.kind, vote.height, vote.round, some, block_id, vote.validator) + vote.signature


def decode_vote(raw: bytes) -> Vote:
    kind, height, round_, some, block_id, validator = _VOTE.unpack_from(raw)
    return Vote(
        VoteKind(kind),
        Height(height),
        Round(round_),
        BlockId(block_id) if some else None,
        ValidatorId(validator),
        raw[_VOTE.size :],
    )


def encode_proposal(p: Proposal) -> bytes:
    return _PROPOSAL.pack(p.height, p.round, p.pol_round, p.block_id, p.proposer) + p.signature


def decode_proposal(raw: bytes) -> Proposal:
    height, round_, pol_round, block_id, proposer = _PROPOSAL.unpack_from(raw)
    return Proposal(
        Height(height),
        Round(round_),
        BlockId(block_id),
        Round(pol_round),
        ValidatorId(proposer),
        raw[_PROPOSAL.size :],
    )
