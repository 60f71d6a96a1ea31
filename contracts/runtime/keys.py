"""Where a contract's state stands in the authenticated tree. Light clients and proofs use this too."""

from __future__ import annotations

from typing import Any

from contracts.runtime.codec import Unencodable, encode

CODE_PREFIX = b"$code/"
SOURCE_PREFIX = b"$source/"
CONTRACTS_KEY = b"$contracts"

MISSING: Any = object()
MAX_KEY_BYTES = 512  # of a Map's key, encoded


def state_key(contract: str, name: str, key: Any = MISSING) -> bytes:
    """The key of a Map's entry (`contract/name/` + canonical key) or, without `key`, of a Value (`contract/name`).

    Raises Unencodable for a key that no contract could use.
    """
    if key is MISSING:
        return value_key(contract, name)
    return map_prefix(contract, name) + key_bytes(key)


def value_key(contract: str, name: str) -> bytes:
    return f"{contract}/{name}".encode("ascii")


def map_prefix(contract: str, name: str) -> bytes:
    return f"{contract}/{name}/".encode("ascii")


def key_bytes(key: Any) -> bytes:
    """Canonical bytes of a key: str, int, bytes, bool, or a tuple (a record) of keys, at most 512 bytes."""
    _require_key(key, 0)
    encoded = encode(key)
    if len(encoded) > MAX_KEY_BYTES:
        raise Unencodable("VALUE_TOO_LARGE")
    return encoded


def _require_key(key: Any, depth: int) -> None:
    kind = type(key)
    if kind is str or kind is int or kind is bytes or kind is bool:
        return
    if not isinstance(key, tuple) or depth > 2 or len(key) > 16:
        raise Unencodable("KEY_TYPE")
    for item in key:
        _require_key(item, depth + 1)


def code_key(contract: str) -> bytes:
    """Holds the canonical array [version, code hash, paused until height]."""
    return CODE_PREFIX + contract.encode("ascii")


def source_key(code_hash: bytes) -> bytes:
    return SOURCE_PREFIX + code_hash
