"""Columns: numbers in bytes, four of them for each, unsigned and little-endian. A contract reads, adds and bounds many at once.

Shared by both worlds: what the chain's machine does after charging, a plain Python test does through `contracts.host`.
A column that is no whole number of numbers is VALUE_ERROR.
"""

from __future__ import annotations

from operator import gt
from struct import error as PackingError  # noqa: N812 - it is an exception, under a name that says so
from struct import pack, unpack
from typing import Any

from contracts.runtime.codec import MAX_TEXT
from contracts.runtime.errors import ContractError

NUMBER_BYTES = 4
MAX_NUMBERS = MAX_TEXT // NUMBER_BYTES


def require_column(column: Any) -> bytes:
    """Raises ContractError TYPE_ERROR or VALUE_ERROR."""
    if type(column) is not bytes:
        raise ContractError("TYPE_ERROR")
    if len(column) % NUMBER_BYTES:
        raise ContractError("VALUE_ERROR")
    return column


def values_of(column: bytes) -> tuple[int, ...]:
    return unpack(f"<{len(column) // NUMBER_BYTES}I", column)


def packed(values: list[Any]) -> bytes:
    """Raises ContractError: TYPE_ERROR for what is no integer, VALUE_ERROR for one below 0 or beyond 32 bits."""
    if len(values) > MAX_NUMBERS:
        raise ContractError("VALUE_TOO_LARGE")
    if not all(type(value) is int for value in values):
        raise ContractError("TYPE_ERROR")
    try:
        return pack(f"<{len(values)}I", *values)
    except PackingError:
        raise ContractError("VALUE_ERROR") from None


def value_at(column: bytes, place: Any) -> int:
    """Raises ContractError INDEX_ERROR: places count from 0, and none from the end."""
    if type(place) is not int:
        raise ContractError("TYPE_ERROR")
    if not 0 <= place < len(column) // NUMBER_BYTES:
        raise ContractError("INDEX_ERROR")
    return int.from_bytes(column[NUMBER_BYTES * place : NUMBER_BYTES * (place + 1)], "little")


def above(column: bytes, limits: bytes) -> list[int]:
    """The places where the column exceeds its limit: the one at the same place, or the only one there is.

    Raises ContractError VALUE_ERROR for another number of limits.
    """
    values = values_of(column)
    if len(limits) == NUMBER_BYTES:
        limit = value_at(limits, 0)
        if max(values, default=0) <= limit:
            return []
        return [place for place, value in enumerate(values) if value > limit]
    if len(limits) != len(column):
        raise ContractError("VALUE_ERROR")
    bounds = values_of(limits)
    if not any(map(gt, values, bounds)):
        return []
    return [place for place, (value, bound) in enumerate(zip(values, bounds, strict=True)) if value > bound]
