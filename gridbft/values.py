"""Arguments and results on the wire: the contracts' own canonical encoding, for clients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from contracts.runtime.codec import decode as decode_value
from contracts.runtime.codec import encode


def encode_args(args: Iterable[Any]) -> bytes:
    """A call's arguments as a msgpack array. Raises ValueError for what no contract can take (floats, sets, ...)."""
    return encode(list(args))


def decode(raw: bytes) -> Any:
    """Raises ValueError on anything malformed. Records come as lists, in the order of their fields."""
    return decode_value(raw)
