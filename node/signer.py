"""The signer and its guard: what was signed last is on the disk before the signature leaves.

The guard is a file of fixed records {height u64, round u32, step u8, SHA-256 of the signed bytes, signature, CRC-32}.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from zlib import crc32

from chain.hashes import digest
from consensus.signbytes import proposal_sign_bytes, vote_sign_bytes
from consensus.types import Proposal, Vote, VoteKind
from node.files import OS_DISK, Disk

PROPOSE_STEP, PREVOTE_STEP, PRECOMMIT_STEP = 1, 2, 3
COMPACT_BYTES = 1024 * 1024

_RECORD = struct.Struct(">QIB32s64s")
RECORD_BYTES = _RECORD.size + 4

Position = tuple[int, int, int]  # height, round, step


class GuardError(Exception):
    """The guard cannot vouch for what was signed before; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Refused:
    reason: str


class Signer(Protocol):
    def sign(self, message: Vote | Proposal) -> Vote | Proposal | Refused:
        """The message with its signature, or why it is not signed."""
        ...


@dataclass(frozen=True, slots=True)
class SignedOnce:
    position: Position
    digest: bytes
    signature: bytes


def position_of(message: Vote | Proposal) -> Position:
    if isinstance(message, Proposal):
        return message.height, message.round, PROPOSE_STEP
    step = PREVOTE_STEP if message.kind is VoteKind.PREVOTE else PRECOMMIT_STEP
    return message.height, message.round, step


def sign_bytes_of(chain_id: str, message: Vote | Proposal) -> bytes:
    if isinstance(message, Proposal):
        return proposal_sign_bytes(chain_id, message)
    return vote_sign_bytes(chain_id, message)


def encode_record(record: SignedOnce) -> bytes:
    body = _RECORD.pack(*record.position, record.digest, record.signature)
    return body + crc32(body).to_bytes(4, "big")


def decode_guard(data: bytes, where: str) -> tuple[SignedOnce, ...]:
    """The records in order. A last one that is short, or all zeros (a power cut between the file's new length and its
    data), was never synced, so its signature never left: it is dropped.

    Raises GuardError for a damaged one or for positions that do not grow.
    """
    records: list[SignedOnce] = []
    for at in range(0, len(data) - RECORD_BYTES + 1, RECORD_BYTES):
        body, check = data[at : at + _RECORD.size], data[at + _RECORD.size : at + RECORD_BYTES]
        if at + 2 * RECORD_BYTES > len(data) and not any(data[at:]):
            break
        if crc32(body) != int.from_bytes(check, "big"):
            raise GuardError(_damaged(where, f"record {at // RECORD_BYTES} fails its checksum"))
        height, round_, step, seen, signature = _RECORD.unpack(body)
        record = SignedOnce((height, round_, step), seen, signature)
        if records and record.position <= records[-1].position:
            raise GuardError(_damaged(where, f"record {at // RECORD_BYTES} is not above the one before it"))
        records.append(record)
    return tuple(records)


def _damaged(where: str, why: str) -> str:
    return (
        f"The signer's guard {where} is damaged ({why}). Without it this validator could sign two different messages "
        "for one step. Restore the file as it was when the node stopped, or move the validator to a new key."
    )


class FileSigner:
    """Signs with a key in memory; `sign_with` is the key's signing function. Made by `open`."""

    def __init__(
        self, chain_id: str, sign_with: Callable[[bytes], bytes], path: Path, held: tuple[SignedOnce, ...], disk: Disk
    ) -> None:
        self._chain_id = chain_id
        self._sign_with = sign_with
        self._path = path
        self._disk = disk
        self._last: Position = held[-1].position if held else (0, 0, 0)
        self._of_height = {r.position: r for r in held if r.position[0] == self._last[0]}
        self._size = RECORD_BYTES * len(self._of_height)
        disk.replace(path, _encoded(self._of_height))
        self._descriptor = disk.open_append(path)

    @classmethod
    def open(
        cls,
        chain_id: str,
        sign_with: Callable[[bytes], bytes],
        path: Path,
        *,
        has_chain: bool,
        disk: Disk = OS_DISK,
    ) -> FileSigner:
        """`has_chain`: this home holds blocks or a log already, so a guard must be there too. Raises GuardError."""
        data = disk.read(path)
        if data is not None:
            return cls(chain_id, sign_with, path, decode_guard(data, str(path)), disk)
        if has_chain:
            raise GuardError(
                f"The signer's guard {path} is missing, but this node's chain has begun: it may have signed before. "
                "Restore the file as it was when the node stopped, or move the validator to a new key."
            )
        return cls(chain_id, sign_with, path, (), disk)

    @property
    def last(self) -> Position:
        """The highest (height, round, step) signed so far; zeros when nothing was."""
        return self._last

    def sign(self, message: Vote | Proposal) -> Vote | Proposal | Refused:
        """The same message gets the same signature again. An OSError must stop the node."""
        position = position_of(message)
        signed_bytes = sign_bytes_of(self._chain_id, message)
        seen = digest(signed_bytes)
        before = self._of_height.get(position)
        if before is not None:
            if before.digest == seen:
                return message.signed(before.signature)
            return Refused(f"another message was signed at {_spoken(position)}")
        if position <= self._last:
            return Refused(f"{_spoken(position)} is not above {_spoken(self._last)}, which was signed before")
        record = SignedOnce(position, seen, self._sign_with(signed_bytes))
        self._remember(record)
        return message.signed(record.signature)

    def _remember(self, record: SignedOnce) -> None:
        """Disk first: a record that could not be written must not be answered from memory either."""
        same_height = record.position[0] == self._last[0]
        of_height = {**self._of_height, record.position: record} if same_height else {record.position: record}
        if self._size >= COMPACT_BYTES:
            self._compact(of_height)
        else:
            self._disk.append(self._descriptor, encode_record(record))
            self._disk.sync(self._descriptor)
            self._size += RECORD_BYTES
        self._last, self._of_height = record.position, of_height

    def _compact(self, of_height: dict[Position, SignedOnce]) -> None:
        self._disk.close(self._descriptor)
        self._disk.replace(self._path, _encoded(of_height))
        self._descriptor = self._disk.open_append(self._path)
        self._size = RECORD_BYTES * len(of_height)

    def close(self) -> None:
        self._disk.close(self._descriptor)


def _encoded(of_height: dict[Position, SignedOnce]) -> bytes:
    return b"".join(encode_record(record) for record in of_height.values())


def _spoken(position: Position) -> str:
    step = {PROPOSE_STEP: "proposal", PREVOTE_STEP: "prevote", PRECOMMIT_STEP: "precommit"}[position[2]]
    return f"height {position[0]}, round {position[1]}, {step}"
