"""What a node and its remote signer say to each other: frames of a two-byte length and a body, every one bounded.

A request is one of a few fixed layouts, never bytes to sign: the signer builds what it signs by itself, so whoever
holds the socket can ask for votes, proposals and the node's own Hello, and for nothing else.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from consensus.types import BlockId, Height, Proposal, Round, ValidatorId, Vote, VoteKind

MAX_FRAME_BYTES = 512
LENGTH = struct.Struct(">H")
_POSITION = struct.Struct(">QIB")
_VOTE = struct.Struct(">BQI")
_PROPOSAL = struct.Struct(">QIi")
ID_BYTES, KEY_BYTES, SIGNATURE_BYTES, DIGEST_BYTES = 32, 32, 64, 32
_NOBODY = ValidatorId(b"")  # the signature does not cover who votes: the key says it
MAX_HEIGHT, MAX_ROUND = 2**63 - 1, 2**31 - 1


@dataclass(frozen=True, slots=True)
class WhoAreYou:
    pass


@dataclass(frozen=True, slots=True)
class SignMessage:
    message: Vote | Proposal


@dataclass(frozen=True, slots=True)
class SignHello:
    certificate: bytes  # SHA-256 of its DER form


Request = WhoAreYou | SignMessage | SignHello


@dataclass(frozen=True, slots=True)
class Identity:
    """`last`: the highest (height, round, step) signed so far."""

    public_key: bytes
    chain_id: str
    last: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Signature:
    signature: bytes


@dataclass(frozen=True, slots=True)
class No:
    """The guard refuses, or the request made no sense."""

    reason: str


Reply = Identity | Signature | No


class MalformedError(ValueError):
    """A frame that is none of those above."""


def framed(body: bytes) -> bytes:
    assert 0 < len(body) <= MAX_FRAME_BYTES, "ours are all small"
    return LENGTH.pack(len(body)) + body


def encode_request(request: Request) -> bytes:
    match request:
        case WhoAreYou():
            return b"\x01"
        case SignMessage(Vote() as vote):
            value = b"\x00" if vote.block_id is None else b"\x01" + vote.block_id
            return b"\x02" + _VOTE.pack(vote.kind, vote.height, vote.round) + value
        case SignMessage(Proposal() as proposal):
            numbers = _PROPOSAL.pack(proposal.height, proposal.round, proposal.pol_round)
            return b"\x03" + numbers + proposal.block_id
        case SignHello(certificate):
            return b"\x04" + certificate
    raise AssertionError("every request has a layout")


def decode_request(body: bytes) -> Request:
    """Raises MalformedError."""
    kind, rest = body[:1], body[1:]
    if kind == b"\x01" and not rest:
        return WhoAreYou()
    if kind == b"\x02" and len(rest) >= _VOTE.size + 1:
        return SignMessage(_vote(rest))
    if kind == b"\x03" and len(rest) == _PROPOSAL.size + ID_BYTES:
        return SignMessage(_proposal(rest))
    if kind == b"\x04" and len(rest) == DIGEST_BYTES:
        return SignHello(rest)
    raise MalformedError("a request of no known kind and length")


def _vote(raw: bytes) -> Vote:
    kind, height, round_ = _VOTE.unpack_from(raw)
    value = raw[_VOTE.size :]
    if kind not in tuple(VoteKind) or not 1 <= height <= MAX_HEIGHT or round_ > MAX_ROUND:
        raise MalformedError("a vote whose numbers are out of range")
    if value == b"\x00":
        return Vote(VoteKind(kind), Height(height), Round(round_), None, _NOBODY)
    if value[:1] != b"\x01" or len(value) != 1 + ID_BYTES:
        raise MalformedError("a vote for something that is no block id")
    return Vote(VoteKind(kind), Height(height), Round(round_), BlockId(value[1:]), _NOBODY)


def _proposal(raw: bytes) -> Proposal:
    height, round_, pol_round = _PROPOSAL.unpack_from(raw)
    if not 1 <= height <= MAX_HEIGHT or round_ > MAX_ROUND or not (pol_round == -1 or 0 <= pol_round < round_):
        raise MalformedError("a proposal whose numbers are out of range")
    return Proposal(Height(height), Round(round_), BlockId(raw[_PROPOSAL.size :]), Round(pol_round), _NOBODY)


def encode_reply(reply: Reply) -> bytes:
    match reply:
        case Identity(public_key, chain_id, last):
            return b"\x01" + public_key + _POSITION.pack(*last) + chain_id.encode()
        case Signature(signature):
            return b"\x02" + signature
        case No(reason):
            return b"\x03" + reason.encode()[: MAX_FRAME_BYTES - 1]
    raise AssertionError("every reply has a layout")


def decode_reply(body: bytes) -> Reply:
    """Raises MalformedError."""
    kind, rest = body[:1], body[1:]
    if kind == b"\x01" and len(rest) > KEY_BYTES + _POSITION.size:
        height, round_, step = _POSITION.unpack_from(rest, KEY_BYTES)
        try:
            chain_id = rest[KEY_BYTES + _POSITION.size :].decode()
        except UnicodeDecodeError as error:
            raise MalformedError("a chain id that is no text") from error
        return Identity(rest[:KEY_BYTES], chain_id, (height, round_, step))
    if kind == b"\x02" and len(rest) == SIGNATURE_BYTES:
        return Signature(rest)
    if kind == b"\x03":
        return No(rest.decode(errors="replace"))
    raise MalformedError("a reply of no known kind and length")
