"""Between consensus values and their wire messages. Decoding is total: what is malformed is a ValueError."""

from __future__ import annotations

from functools import lru_cache

from google.protobuf.message import DecodeError

from chain.hashes import ADDRESS_BYTES, HASH_BYTES, address, digest
from consensus.types import (
    BlockId,
    Commit,
    CommitEntry,
    CommitStatus,
    Height,
    Power,
    Proposal,
    Round,
    Validator,
    ValidatorId,
    ValidatorSet,
    Vote,
    VoteKind,
)
from gridbft.v1 import chain_pb2 as pb

MAX_HEIGHT = 2**63 - 1
MAX_ROUND = 2**31 - 1
SIGNATURE_BYTES = 64
MAX_VALIDATORS = 1024
SETS_KEPT = 64  # a set is read and written at every block, and hardly ever another one


def _sized(data: bytes, size: int, what: str) -> bytes:
    if len(data) != size:
        raise ValueError(f"{what} has {len(data)} bytes instead of {size}")
    return data


def _height(value: int) -> Height:
    if not 1 <= value <= MAX_HEIGHT:
        raise ValueError(f"height {value} is out of range")
    return Height(value)


def _round(value: int, lowest: int = 0) -> Round:
    if not lowest <= value <= MAX_ROUND:
        raise ValueError(f"round {value} is out of range")
    return Round(value)


def vote_to_wire(vote: Vote) -> pb.Vote:
    return pb.Vote(
        kind=pb.VoteKind.ValueType(int(vote.kind)),
        height=vote.height,
        round=vote.round,
        block_id=vote.block_id or b"",
        validator=vote.validator,
        signature=vote.signature,
    )


def vote_from_wire(message: pb.Vote) -> Vote:
    block_id = BlockId(_sized(message.block_id, HASH_BYTES, "a vote's block id")) if message.block_id else None
    return Vote(
        kind=VoteKind(int(message.kind)),  # ValueError for an unknown one
        height=_height(message.height),
        round=_round(message.round),
        block_id=block_id,
        validator=ValidatorId(_sized(message.validator, ADDRESS_BYTES, "a vote's validator")),
        signature=_sized(message.signature, SIGNATURE_BYTES, "a vote's signature"),
    )


def proposal_to_wire(proposal: Proposal) -> pb.Proposal:
    return pb.Proposal(
        height=proposal.height,
        round=proposal.round,
        block_id=proposal.block_id,
        pol_round=proposal.pol_round,
        proposer=proposal.proposer,
        signature=proposal.signature,
    )


def proposal_from_wire(message: pb.Proposal) -> Proposal:
    pol_round = _round(message.pol_round, lowest=-1)
    if pol_round >= message.round:
        raise ValueError("a proof of lock must be from an earlier round")
    return Proposal(
        height=_height(message.height),
        round=_round(message.round),
        block_id=BlockId(_sized(message.block_id, HASH_BYTES, "a proposal's block id")),
        pol_round=pol_round,
        proposer=ValidatorId(_sized(message.proposer, ADDRESS_BYTES, "a proposal's proposer")),
        signature=_sized(message.signature, SIGNATURE_BYTES, "a proposal's signature"),
    )


def validators_hash(validators: ValidatorSet) -> bytes:
    """What a header says of a validator set."""
    return digest(encode_validators(validators))


def encode_commit(commit: Commit) -> bytes:
    return pb.Commit(
        height=commit.height,
        round=commit.round,
        block_id=commit.block_id,
        entries=[
            pb.CommitEntry(
                status=pb.CommitStatus.ValueType(int(e.status)), validator=e.validator, signature=e.signature
            )
            for e in commit.entries
        ],
    ).SerializeToString(deterministic=True)


def decode_commit(raw: bytes) -> Commit:
    message = pb.Commit()
    try:
        message.ParseFromString(raw)
    except DecodeError as error:
        raise ValueError("these bytes are no encoded commit") from error
    if len(message.entries) > MAX_VALIDATORS:
        raise ValueError(f"a commit with {len(message.entries)} entries")
    return Commit(
        height=_height(message.height),
        round=_round(message.round),
        block_id=BlockId(_sized(message.block_id, HASH_BYTES, "a commit's block id")),
        entries=tuple(_entry_from_wire(e) for e in message.entries),
    )


def _entry_from_wire(message: pb.CommitEntry) -> CommitEntry:
    status = CommitStatus(int(message.status))  # ValueError for an unknown one
    expected = 0 if status is CommitStatus.ABSENT else SIGNATURE_BYTES
    return CommitEntry(
        status=status,
        validator=ValidatorId(_sized(message.validator, ADDRESS_BYTES, "a commit entry's validator")),
        signature=_sized(message.signature, expected, f"the signature of an entry that is {status.name}"),
    )


@lru_cache(maxsize=SETS_KEPT)
def encode_validators(validators: ValidatorSet) -> bytes:
    """Each validator length-prefixed, in the set's order: what validators_hash covers."""
    rows = [
        pb.Validator(name=v.name, public_key=v.public_key, power=v.power).SerializeToString(deterministic=True)
        for v in validators.validators
    ]
    return b"".join(len(row).to_bytes(4, "big") + row for row in rows)


@lru_cache(maxsize=SETS_KEPT)
def decode_validators(raw: bytes) -> ValidatorSet:
    """Raises ValueError on anything malformed."""
    members: list[Validator] = []
    at = 0
    while at < len(raw):
        size = int.from_bytes(raw[at : at + 4], "big")
        row, at = raw[at + 4 : at + 4 + size], at + 4 + size
        if at > len(raw) or len(members) >= MAX_VALIDATORS:
            raise ValueError("a validator set whose lengths lie")
        message = pb.Validator()
        try:
            message.ParseFromString(row)
        except DecodeError as error:
            raise ValueError("these bytes are no encoded validator") from error
        key = _sized(message.public_key, 32, "a validator's public key")
        members.append(Validator(ValidatorId(address(key)), key, Power(message.power), message.name))
    return ValidatorSet.of(members)
