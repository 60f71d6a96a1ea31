"""Evidence of double votes and double proposals: on the wire, in blocks, and in the state once committed."""

from __future__ import annotations

from collections.abc import Sequence

import msgpack
from google.protobuf.message import DecodeError

from chain.tx import Verify
from chain.wire import (
    decode_validators,
    proposal_from_wire,
    proposal_to_wire,
    vote_from_wire,
    vote_to_wire,
)
from consensus.evidence import DoubleProposal, DoubleVote, Evidence, height_of, offender, verify_evidence
from consensus.types import ValidatorId, ValidatorSet
from contracts.runtime.api import StateView
from gridbft.v1 import chain_pb2 as pb

ON_RECORD = b"$evidence/"  # and a validator's id: the height of the block that last put a fault of it on record
HISTORY = b"$validators/history"
MAX_AGE = 100_000  # heights after which a fault is no longer taken
MAX_IN_BLOCK = 16
MAX_BYTES = 1_024


def encode_evidence(evidence: Evidence) -> bytes:
    match evidence:
        case DoubleVote(first, second):
            pair = pb.DoubleVote(first=vote_to_wire(first), second=vote_to_wire(second))
            return pb.Evidence(double_vote=pair).SerializeToString(deterministic=True)
        case DoubleProposal(one, other):
            both = pb.DoubleProposal(first=proposal_to_wire(one), second=proposal_to_wire(other))
            return pb.Evidence(double_proposal=both).SerializeToString(deterministic=True)


def decode_evidence(raw: bytes) -> Evidence:
    """Raises ValueError on anything but one well-formed piece of evidence in its one encoding."""
    if len(raw) > MAX_BYTES:
        raise ValueError(f"evidence of {len(raw)} bytes")
    message = pb.Evidence()
    try:
        message.ParseFromString(raw)
    except DecodeError as error:
        raise ValueError("these bytes are no encoded evidence") from error
    evidence: Evidence
    match message.WhichOneof("kind"):
        case "double_vote":
            votes = message.double_vote
            evidence = DoubleVote(vote_from_wire(votes.first), vote_from_wire(votes.second))
        case "double_proposal":
            proposals = message.double_proposal
            evidence = DoubleProposal(proposal_from_wire(proposals.first), proposal_from_wire(proposals.second))
        case _:
            raise ValueError("evidence of no known kind")
    if encode_evidence(evidence) != raw:
        raise ValueError("evidence in another encoding than its own")
    return evidence


def record_key(validator: ValidatorId) -> bytes:
    return ON_RECORD + validator


def fault_in(raw: bytes, height: int, view: StateView, chain_id: str, verify: Verify) -> str | None:
    """Why evidence may not stand in a block at `height`, or None.

    Once a validator is on record, only what it does afterwards counts again: a key can sign any number of faults for heights that
    are past, and each would cost the chain a place in a block and in the state.
    """
    try:
        evidence = decode_evidence(raw)
    except ValueError as error:
        return str(error)
    at = height_of(evidence)
    if not height - MAX_AGE <= at <= height:
        return f"evidence of height {at} in a block at {height}"
    recorded = view.get(record_key(offender(evidence)))
    if recorded is not None and at <= int.from_bytes(recorded, "big"):
        return "a fault of this validator, of that height or later, is on the chain already"
    validators = validators_at(view, at)
    if validators is None:
        return f"nobody knows the validators of height {at}"
    wrong = verify_evidence(evidence, chain_id, validators, verify)
    return None if wrong is None else f"{wrong.code}: {wrong.detail}"


def encode_history(sets: Sequence[tuple[int, bytes]]) -> bytes:
    """(first height, encoded validator set) for each change."""
    packed: bytes = msgpack.packb([list(entry) for entry in sets])
    return packed


def decode_history(raw: bytes) -> list[tuple[int, bytes]]:
    return [(since, encoded) for since, encoded in msgpack.unpackb(raw)]


def validators_at(view: StateView, height: int) -> ValidatorSet | None:
    """Who decided a height, from the chain's own record of changes."""
    raw = view.get(HISTORY)
    found = None
    for since, encoded in decode_history(raw) if raw else []:
        if since <= height:
            found = encoded
    return None if found is None else decode_validators(found)
