"""Transactions: an envelope {body bytes, public key, signature} whose body is read exactly as it was signed."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import NamedTuple

from google.protobuf.message import DecodeError

from chain.hashes import ADDRESS_BYTES, TX_DOMAIN, digest
from chain.refusal import Code, Refusal
from gridbft.v1 import chain_pb2 as pb

MAX_TX_BYTES = 128 * 1024
MAX_CALLS = 64
MAX_NAME_BYTES = 64
MAX_UINT63 = 2**63 - 1
GOVERNANCE = "governance"  # called like a contract (see chain.governance)

# Read for every transaction, so what is called for each is bound once. A named tuple made as a tuple takes half the time.
_parse_envelope, _parse_body = pb.Tx.FromString, pb.TxBody.FromString
_tuple = tuple.__new__

Verify = Callable[[bytes, bytes, bytes], bool]
"""(public key, message, signature) -> whether the signature is right."""


class TxCall(NamedTuple):
    """`args` is a msgpack array."""

    contract: str
    function: str
    args: bytes


class Tx(NamedTuple):
    """A decoded transaction beside its bytes. `key` is the hash of the whole envelope as a leaf of its block's list
    (`envelope_key`): two envelopes with one body (and so one id) may still differ in their signature."""

    id: bytes
    key: bytes
    raw: bytes
    sender: str
    nonce: int
    expiry_height: int
    gas_limit: int
    calls: tuple[TxCall, ...]


class SignedBytes(NamedTuple):
    """What has to be checked before a decoded transaction may be believed."""

    public_key: bytes
    message: bytes
    signature: bytes


def encode_body(
    chain_id: str, sender: bytes, nonce: int, expiry_height: int, gas_limit: int, calls: tuple[TxCall, ...]
) -> bytes:
    return pb.TxBody(
        chain_id=chain_id,
        sender=sender,
        nonce=nonce,
        expiry_height=expiry_height,
        gas_limit=gas_limit,
        calls=[pb.Call(contract=c.contract, function=c.function, args=c.args) for c in calls],
    ).SerializeToString(deterministic=True)


def sign_bytes(body: bytes) -> bytes:
    return TX_DOMAIN + body


def encode_tx(body: bytes, public_key: bytes, signature: bytes) -> bytes:
    return pb.Tx(body=body, public_key=public_key, signature=signature).SerializeToString(deterministic=True)


def tx_id(body: bytes) -> bytes:
    return digest(body)


def envelope_key(raw: bytes) -> bytes:
    """Under which a transaction is found again. It is also the leaf of a block's transaction root, so that who has it need not
    hash the bytes once more for that."""
    return sha256(b"\x00" + raw).digest()  # chain.merkle.leaf_hash, for every transaction


def decode_tx(raw: bytes, chain_id: str, key: bytes | None = None) -> tuple[Tx, SignedBytes] | Refusal:
    """Decodes and checks all that needs neither state nor the signature. Total: any bytes give a value.

    `key` is the `envelope_key` of `raw` where the caller has it already.
    """
    if len(raw) > MAX_TX_BYTES:
        return Refusal(Code.TOO_LARGE, f"a transaction has at most {MAX_TX_BYTES} bytes, this one {len(raw)}: split it")
    try:
        envelope = _parse_envelope(raw)
        signed = envelope.body  # each access of a field makes a new object: once is enough
        body = _parse_body(signed)
    except DecodeError:
        return Refusal(Code.MALFORMED, "these bytes are no encoded gridbft.v1.Tx: build it with a client library")
    public_key, signature = envelope.public_key, envelope.signature
    if len(public_key) != 32 or len(signature) != 64:
        return Refusal(Code.MALFORMED, "the public key needs 32 bytes and the signature 64")
    sender, nonce, expiry_height, gas_limit = body.sender, body.nonce, body.expiry_height, body.gas_limit
    if body.chain_id != chain_id:
        return Refusal(Code.WRONG_CHAIN, f"this network is {chain_id!r}, not {body.chain_id[:80]!r}: sign for this one")
    if sender != sha256(public_key).digest()[:ADDRESS_BYTES]:  # chain.hashes.address, for every transaction
        return Refusal(Code.WRONG_SENDER, "the sender must be the address of the envelope's public key")
    if nonce > MAX_UINT63 or expiry_height > MAX_UINT63 or gas_limit > MAX_UINT63:
        return Refusal(Code.MALFORMED, "nonce, expiry height and gas limit must be below 2^63")
    wire_calls = body.calls
    if len(wire_calls) == 1:  # most transactions
        call = wire_calls[0]
        calls: tuple[TxCall, ...] = (_tuple(TxCall, (call.contract, call.function, call.args)),)
    elif not wire_calls:
        return Refusal(Code.NO_CALLS, "a transaction needs at least one call")
    elif len(wire_calls) > MAX_CALLS:
        return Refusal(Code.TOO_MANY_CALLS, f"a transaction has at most {MAX_CALLS} calls: split it")
    else:
        calls = tuple([TxCall(c.contract, c.function, c.args) for c in wire_calls])
    for contract, function, _ in calls:
        if len(contract) > MAX_NAME_BYTES or len(function) > MAX_NAME_BYTES:
            return Refusal(Code.MALFORMED, f"names of contracts and functions have at most {MAX_NAME_BYTES} characters")
    tx_hash = sha256(signed).digest()
    tx = _tuple(Tx, (tx_hash, key or envelope_key(raw), raw, sender.hex(), nonce, expiry_height, gas_limit, calls))
    return tx, _tuple(SignedBytes, (public_key, TX_DOMAIN + signed, signature))


def governs(tx: Tx) -> bool:
    """Whether it calls nothing but governance: what may still happen on a chain that halted."""
    return all(call.contract == GOVERNANCE for call in tx.calls)
