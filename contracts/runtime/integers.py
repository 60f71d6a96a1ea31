"""Operators on integers that look at their operands first, because they could grow, or could be something else."""

from __future__ import annotations

from typing import Any

from contracts.runtime.codec import INT_MAX, INT_MIN
from contracts.runtime.errors import ContractError


def bound(value: int) -> int:
    if not INT_MIN <= value <= INT_MAX:
        raise ContractError("INT_OVERFLOW")
    return value


def require_int(value: Any) -> int:
    if type(value) is not int and type(value) is not bool:
        raise ContractError("TYPE_ERROR")
    return value


def require_str(value: Any) -> str:
    if type(value) is not str:
        raise ContractError("TYPE_ERROR")
    return value


def power(base: Any, exponent: Any) -> int:
    require_int(base)
    if require_int(exponent) < 0:
        raise ContractError("VALUE_ERROR")
    if base in (0, 1, -1):
        return int(base ** (exponent if exponent < 2 else 2 + exponent % 2))
    if exponent > 256:
        raise ContractError("INT_OVERFLOW")
    return bound(base**exponent)


def shift_left(value: Any, count: Any) -> int:
    require_int(value)
    if require_int(count) < 0:
        raise ContractError("VALUE_ERROR")
    if value == 0:
        return 0
    if count > 256:
        raise ContractError("INT_OVERFLOW")
    return bound(value << count)


def modulo(a: Any, b: Any) -> int:
    return require_int(a) % require_int(b)


def bit_or(a: Any, b: Any) -> int:
    return require_int(a) | require_int(b)


def divide(a: Any, b: Any) -> tuple[int, int]:
    quotient, rest = divmod(require_int(a), require_int(b))
    return bound(quotient), rest
