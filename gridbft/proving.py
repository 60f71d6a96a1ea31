"""Makes proof files out of what a node answers. What a node says is checked on the way: a file that is made, verifies."""

from __future__ import annotations

from collections.abc import Generator

from chain.merkle import ListProof
from chain.stateproof import StateProof
from gridbft.light import TRUSTING_PERIOD_MS, Link
from gridbft.proofs import EventClaim, Proof, StateClaim, encode_proof
from gridbft.trail import Answer, Need, find_trail
from gridbft.v1 import client_pb2 as wire
from gridbft.verify import Trust


def event_proof(
    response: wire.GetReceiptResponse, event: int, trust: Trust, trusting_period_ms: int = TRUSTING_PERIOD_MS
) -> Generator[Need, Answer, bytes]:
    """A proof file for one event of a proved receipt; asks for the headers in between (see `gridbft.trail`)."""
    proof = ListProof(response.proof.index, response.proof.size, tuple(response.proof.path))
    claim = EventClaim(response.receipt, event, proof)
    return (yield from _with_steps(claim, Link(response.header, response.commit), trust, trusting_period_ms))


def state_proof(
    key: bytes, response: wire.GetStateResponse, trust: Trust, trusting_period_ms: int = TRUSTING_PERIOD_MS
) -> Generator[Need, Answer, bytes]:
    """A proof file for a key of the state, present or absent."""
    way = response.proof
    proof = StateProof(tuple(way.siblings), way.records)
    claim = StateClaim(key, response.value if response.present else None, proof)
    return (yield from _with_steps(claim, Link(response.header, response.commit), trust, trusting_period_ms))


def _with_steps(
    claim: EventClaim | StateClaim, link: Link, trust: Trust, trusting_period_ms: int
) -> Generator[Need, Answer, bytes]:
    steps, _ = yield from find_trail(trust.root, link, trust.chain_id, trusting_period_ms)
    return encode_proof(Proof(trust.chain_id, claim, steps))
