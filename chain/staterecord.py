"""How the state lies in the store: a record for each pair, under the key's place in the tree, and some rows of the tree.

s<place>    u16 length of the key | key | value
n<path>     a row of which a child has a row (`chain.statepages`); the path is one byte (0 to 15) a level
"""

from __future__ import annotations

from chain.kv import StoreCorruptError
from chain.stateproof import place_of

STATE = b"s"
TREE = b"n"

_LENGTH_BYTES = 2
LONGEST_KEY = (1 << 8 * _LENGTH_BYTES) - 1
_USUAL = [length.to_bytes(_LENGTH_BYTES, "big") for length in range(256)]


def record_key(key: bytes) -> bytes:
    """Where the record of a key of the state stands in the store."""
    return STATE + place_of(key)


def encode_record(key: bytes, value: bytes) -> bytes:
    """Raises OverflowError for a key that is longer than LONGEST_KEY."""
    length = len(key)
    return (_USUAL[length] if length < len(_USUAL) else length.to_bytes(_LENGTH_BYTES, "big")) + key + value


def decode_record(raw: bytes) -> tuple[bytes, bytes]:
    """Key and value. Raises StoreCorruptError for what is no record."""
    end = _LENGTH_BYTES + int.from_bytes(raw[:_LENGTH_BYTES], "big")
    if not _LENGTH_BYTES <= end <= len(raw):
        raise StoreCorruptError("A record of the state is damaged. Sync this node anew.")
    return raw[_LENGTH_BYTES:end], raw[end:]


def value_in(raw: bytes, key: bytes) -> bytes:
    """The value of `key` in its record. Raises StoreCorruptError where it is another key's."""
    if not raw.startswith(key, _LENGTH_BYTES) or int.from_bytes(raw[:_LENGTH_BYTES], "big") != len(key):
        raise StoreCorruptError(f"The record of {key!r} in the state is damaged. Sync this node anew.")
    return raw[_LENGTH_BYTES + len(key) :]
