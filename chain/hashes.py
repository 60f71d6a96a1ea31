"""Hashes and their domains, in one place, so that no two kinds of thing can share a digest."""

from hashlib import sha256

TX_DOMAIN = b"gridbft/tx/v1\x00"
HEADER_DOMAIN = b"gridbft/header/v1\x00"
HELLO_DOMAIN = b"gridbft/hello/v1\x00"

HASH_BYTES = 32
ADDRESS_BYTES = 20
ZERO_HASH = bytes(HASH_BYTES)


def digest(data: bytes) -> bytes:
    return sha256(data).digest()


def address(public_key: bytes) -> bytes:
    """The 20-byte address of an Ed25519 public key."""
    return sha256(public_key).digest()[:ADDRESS_BYTES]
