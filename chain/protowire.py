"""Just enough of protobuf's encoding to write, without message objects, what is written for every transaction."""

from __future__ import annotations

from functools import lru_cache

_SHORT = (*(bytes((n,)) for n in range(128)), *(bytes((n & 127 | 128, n >> 7)) for n in range(128, 4_096)))
"""Ready-made: places in a block, lengths and what a call uses are mostly among them."""


def varint(number: int) -> bytes:
    """`number` from 0 upwards: seven bits a byte, the lowest first."""
    if number < len(_SHORT):
        return _SHORT[number]
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def sized(tag: bytes, data: bytes) -> bytes:
    """A field of bytes, text or an inner message; `tag` is its number << 3 | 2."""
    return tag + varint(len(data)) + data


@lru_cache(maxsize=1_024)
def text(tag: bytes, value: str) -> bytes:
    """A field of text that comes again and again, as names of contracts and events do."""
    return sized(tag, value.encode()) if value else b""
