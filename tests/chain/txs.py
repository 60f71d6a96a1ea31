"""Makers of transactions for tests."""

from __future__ import annotations

from functools import cache

import msgpack
from nacl.signing import SigningKey

from chain.hashes import address
from chain.refusal import Refusal
from chain.tx import Tx, TxCall, decode_tx, encode_body, encode_tx, sign_bytes

CHAIN = "test-chain"


@cache
def key_of(name: str) -> SigningKey:
    return SigningKey(name.encode().ljust(32, b"\0")[:32])


def address_of(name: str) -> str:
    return address(key_of(name).verify_key.encode()).hex()


def signed(
    sender: str = "alice",
    nonce: int = 0,
    calls: tuple[TxCall, ...] | None = None,
    expiry_height: int = 100,
    gas_limit: int = 1_000_000,
    chain_id: str = CHAIN,
) -> bytes:
    key = key_of(sender)
    public_key = key.verify_key.encode()
    wanted = calls or (call("payments", "transfer", address_of("bob"), 1),)
    body = encode_body(chain_id, address(public_key), nonce, expiry_height, gas_limit, wanted)
    return encode_tx(body, public_key, key.sign(sign_bytes(body)).signature)


def call(contract: str, function: str, *args: object) -> TxCall:
    return TxCall(contract, function, msgpack.packb(list(args)))


def tx(sender: str = "alice", nonce: int = 0, expiry_height: int = 100, gas_limit: int = 1_000_000) -> Tx:
    decoded = decode_tx(signed(sender, nonce, None, expiry_height, gas_limit), CHAIN)
    assert not isinstance(decoded, Refusal)
    return decoded[0]
