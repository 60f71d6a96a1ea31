"""Proof files, version 3: all that is needed to check one fact of a chain against its genesis, and nothing else.

    bytes 0..15    "gridbft-proof/3\\n"
    then           a canonical msgpack array [chain id, kind, claim, steps]
    last 32        SHA-256 of everything before

kind "event", claim [receipt, event, index, size, path]: the event with number `event` of an encoded Receipt, which is
leaf `index` of `size` under the receipt root of the last step's header (RFC 6962 audit path, from the leaf upwards).

kind "state", claim [key, value, siblings, records]: what a key of the state has under the state root of the last step's
header; value nil says that it has none. The proof's shape is that of gridbft.v1.StateProof.

steps [[header, commit, validators], ...]: the headers that a light client believes one after the other, from the
genesis on (see gridbft.light). `validators`, encoded as a header's validators_hash covers them, is empty where the
validators are those of the step before, or of the genesis.

The checksum finds damage; what a forger changes together with the checksum is found by hashes and signatures.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from chain.merkle import ListProof
from chain.stateproof import StateProof
from contracts.runtime.codec import decode, encode
from gridbft.errors import VerificationError
from gridbft.light import Link
from gridbft.trail import Step

MAGIC = b"gridbft-proof/3\n"
MAX_BYTES = 64 * 1024 * 1024
CHECKSUM_BYTES = 32
MAX_STEPS = 10_000


@dataclass(frozen=True, slots=True)
class EventClaim:
    receipt: bytes
    event: int
    proof: ListProof


@dataclass(frozen=True, slots=True)
class StateClaim:
    """`value` None: the key is absent."""

    key: bytes
    value: bytes | None
    proof: StateProof


@dataclass(frozen=True, slots=True)
class Proof:
    chain_id: str
    claim: EventClaim | StateClaim
    steps: tuple[Step, ...]


def encode_proof(proof: Proof) -> bytes:
    """The one encoding that a proof has."""
    kind, claim = _claim_to_plain(proof.claim)
    steps = [[s.link.header, s.link.commit, s.validators] for s in proof.steps]
    body = MAGIC + encode([proof.chain_id, kind, claim, steps])
    return body + sha256(body).digest()


def decode_proof(raw: bytes) -> Proof:
    """Raises VerificationError for anything but bytes that `encode_proof` makes."""
    if not raw.startswith(MAGIC):
        raise VerificationError("NOT_A_PROOF", "the file does not begin as a proof of version 3")
    if len(raw) > MAX_BYTES:
        raise VerificationError("NOT_A_PROOF", f"a proof has at most {MAX_BYTES} bytes, this one {len(raw)}")
    body, checksum = raw[:-CHECKSUM_BYTES], raw[-CHECKSUM_BYTES:]
    if sha256(body).digest() != checksum:
        raise VerificationError("DAMAGED", "the file's checksum is not that of its bytes: it was changed or cut off")
    try:
        plain = decode(body[len(MAGIC) :])
        proof = _from_plain(plain)
    except ValueError as error:
        raise VerificationError("MALFORMED", f"the proof is not of the form it should have: {error}") from error
    if encode_proof(proof) != raw:
        raise VerificationError("MALFORMED", "a proof in another encoding than its own")
    return proof


def _claim_to_plain(claim: EventClaim | StateClaim) -> tuple[str, list[Any]]:
    if isinstance(claim, EventClaim):
        proof = claim.proof
        return "event", [claim.receipt, claim.event, proof.index, proof.size, list(proof.path)]
    way = claim.proof
    return "state", [claim.key, claim.value, list(way.siblings), way.records]


def _from_plain(plain: Any) -> Proof:
    chain_id, kind, claim, steps = _items(plain, 4, "a proof")
    if type(chain_id) is not str:
        raise ValueError("the chain id is no text")
    if type(steps) is not list or not 1 <= len(steps) <= MAX_STEPS:
        raise ValueError(f"a proof has 1 to {MAX_STEPS} steps")
    return Proof(chain_id, _claim_from_plain(kind, claim), tuple(_step_from_plain(s) for s in steps))


def _claim_from_plain(kind: Any, plain: Any) -> EventClaim | StateClaim:
    if kind == "event":
        receipt, event, index, size, path = _items(plain, 5, "a claim of an event")
        if not all(type(n) is int and n >= 0 for n in (event, index, size)):
            raise ValueError("an event's place is no number")
        return EventClaim(_bytes(receipt), event, ListProof(index, size, _bytes_list(path)))
    if kind == "state":
        key, value, siblings, records = _items(plain, 4, "a claim of the state")
        way = StateProof(_bytes_list(siblings), _bytes(records))
        return StateClaim(_bytes(key), None if value is None else _bytes(value), way)
    raise ValueError("an unknown kind of claim")


def _step_from_plain(plain: Any) -> Step:
    header, commit, validators = _items(plain, 3, "a step")
    return Step(Link(_bytes(header), _bytes(commit)), _bytes(validators))


def _items(plain: Any, count: int, what: str) -> list[Any]:
    if type(plain) is not list or len(plain) != count:
        raise ValueError(f"{what} has {count} parts")
    return plain


def _bytes(plain: Any) -> bytes:
    if type(plain) is not bytes:
        raise ValueError("bytes were expected")
    return plain


def _bytes_list(plain: Any) -> tuple[bytes, ...]:
    if type(plain) is not list:
        raise ValueError("a list of bytes was expected")
    return tuple(_bytes(item) for item in plain)
