"""The one encoding of values: in state, arguments, results and events.

msgpack, made canonical: shortest headers, map keys sorted by their encoded bytes, integers beyond 64 bits as extension
type 1 (big-endian two's complement, shortest form, at most 256 bits), tuples and records as arrays. No floats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgpack

INT_BITS = 256
INT_MIN = -(1 << (INT_BITS - 1))
INT_MAX = (1 << (INT_BITS - 1)) - 1
MAX_DEPTH = 16
MAX_ITEMS = 65_536
MAX_TEXT = 4_096  # characters of a str, bytes of a bytes, in any value of a contract
EXT_BIG_INT = 1
INT_HEADS = frozenset((*range(0x80), *range(0xCC, 0xD4), *range(0xE0, 0x100)))
"""With which the encoding of an integer of up to 64 bits begins, and no other: msgpack reads it without being told anything."""

_pack = msgpack.Packer(autoreset=True).pack
_FLAT = frozenset({int, str, bytes, bool, type(None)})
_TEXT = frozenset({str})
_SMALL_MIN, _SMALL_MAX = -(1 << 63), (1 << 64) - 1


class Unencodable(ValueError):  # noqa: N818 - reads as what the value is
    """`code` is the contract's error: TYPE_ERROR, INT_OVERFLOW, VALUE_TOO_DEEP or VALUE_TOO_LARGE."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def encode(value: Any) -> bytes:
    """Canonical bytes of None, bool, int, str, bytes, and lists, tuples and dicts of these. Raises Unencodable."""
    kind = type(value)
    if kind is str or kind is bool or kind is bytes or value is None:
        return _pack_scalar(value)
    if kind is int and _SMALL_MIN <= value <= _SMALL_MAX:
        small: bytes = _pack(value)
        return small
    if isinstance(value, list | tuple) and len(value) <= MAX_ITEMS and _FLAT.issuperset(map(type, value)):
        try:
            flat: bytes = _pack(value)  # most records are flat: msgpack packs them canonically as they are
        except (OverflowError, ValueError):
            return _pack_scalar(_plain(value, 0))  # an integer beyond 64 bits, or what the slow way gives its code
        return flat
    return _pack_scalar(_plain(value, 0))


def _pack_scalar(value: Any) -> bytes:
    try:
        packed: bytes = _pack(value)
    except ValueError:  # a lone surrogate, or a length beyond the format
        raise Unencodable("VALUE_ERROR") from None
    return packed


def _plain(value: Any, depth: int) -> Any:
    """The value as msgpack packs it canonically."""
    kind = type(value)
    if kind is str or kind is bytes or kind is bool or value is None:
        return value
    if kind is int:
        return value if _SMALL_MIN <= value <= _SMALL_MAX else _big(value)
    if depth >= MAX_DEPTH:
        raise Unencodable("VALUE_TOO_DEEP")
    if isinstance(value, list | tuple | dict) and len(value) > MAX_ITEMS:
        raise Unencodable("VALUE_TOO_LARGE")
    if isinstance(value, list | tuple):
        return _items(value, depth + 1)
    if kind is dict:
        if _TEXT.issuperset(map(type, value)):
            names = sorted(value, key=_pack_text)
            return dict(zip(names, _items([value[name] for name in names], depth + 1), strict=True))
        pairs = sorted((encode(key), _plain(key, depth + 1), _plain(item, depth + 1)) for key, item in value.items())
        return {_frozen(key): item for _, key, item in pairs}
    raise Unencodable("TYPE_ERROR")


def _items(values: Sequence[Any], depth: int) -> list[Any]:
    if _FLAT.issuperset(map(type, values)):
        return [v if type(v) is not int or _SMALL_MIN <= v <= _SMALL_MAX else _big(v) for v in values]
    return [_plain(item, depth) for item in values]


def _pack_text(text: str) -> bytes:
    return _pack_scalar(text)


def _frozen(key: Any) -> Any:
    return tuple(_frozen(item) for item in key) if type(key) is list else key


def _big(value: int) -> msgpack.ExtType:
    if not INT_MIN <= value <= INT_MAX:
        raise Unencodable("INT_OVERFLOW")
    return msgpack.ExtType(EXT_BIG_INT, value.to_bytes(_width(value), "big", signed=True))


def _width(value: int) -> int:
    """Bytes of the shortest two's complement form."""
    return (value if value >= 0 else ~value).bit_length() // 8 + 1


def _from_ext(code: int, data: bytes) -> int:
    if code != EXT_BIG_INT or not 1 <= len(data) <= INT_BITS // 8:
        raise ValueError("unknown extension")
    value = int.from_bytes(data, "big", signed=True)
    if _SMALL_MIN <= value <= _SMALL_MAX or len(data) != _width(value):
        raise ValueError("an integer in a longer form than it needs")
    return value


# For bytes that `encode` made.
decode_trusted: Callable[[bytes], Any] = partial(
    msgpack.unpackb,
    raw=False,
    use_list=True,
    strict_map_key=False,
    ext_hook=_from_ext,
    max_array_len=MAX_ITEMS,
    max_map_len=MAX_ITEMS,
)


def decode(data: bytes) -> Any:
    """The value of well-formed bytes, arrays as lists. Total: whatever the bytes are, nothing but ValueError is raised.

    Accepts what any msgpack library writes for such values (a longer header, map keys in another order).
    """
    try:
        value = decode_trusted(data)
        if type(value) is not list or not _FLAT.issuperset(map(type, value)):  # most arguments are flat
            _check(value, 0)
    except (ValueError, TypeError, OverflowError, msgpack.exceptions.UnpackException) as error:
        raise ValueError(f"not a value: {error}") from None
    return value


def is_canonical(data: bytes) -> bool:
    """Whether these are the only bytes that `encode` makes of their value."""
    try:
        return encode(decode(data)) == data
    except ValueError:
        return False


def _check(value: Any, depth: int) -> None:
    kind = type(value)
    if kind is int or kind is str or kind is bytes or kind is bool or value is None:
        return
    if depth >= MAX_DEPTH:
        raise ValueError("nested too deeply")
    if kind is list:
        for item in value:
            _check(item, depth + 1)
    elif kind is dict:
        for key, item in value.items():
            if type(key) not in (int, str, bytes, bool):
                raise ValueError("a map key is a str, an int, bytes or a bool")
            _check(item, depth + 1)
    else:
        raise ValueError(f"no {kind.__name__} values")
