"""Module-level constants: literals, and arithmetic on them, worked out once by the checker."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

from contracts.runtime.codec import INT_MAX, INT_MIN


class NotConstant(ValueError):  # noqa: N818 - reads as what the expression is
    """`node` is the part that is no constant."""

    def __init__(self, node: ast.expr) -> None:
        super().__init__("not a constant")
        self.node = node


_OPERATORS: Mapping[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.FloorDiv: lambda a, b: a // b if b else INT_MAX + 1,
    ast.Pow: lambda a, b: a**b if 0 <= b < 256 else INT_MAX + 1,
}


def fold(node: ast.expr, known: Mapping[str, Any]) -> Any:
    """The value of a constant expression: int, str, bytes, bool, None, or a tuple of these. Raises NotConstant."""
    match node:
        case ast.Constant(value=value) if value is not ...:
            return value
        case ast.Name(id=name) if name in known:
            return known[name]
        case ast.Tuple(elts=items):
            return tuple(fold(item, known) for item in items)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _bounded(node, -_int(operand, known))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _bounded(node, _OPERATORS[type(op)](_int(left, known), _int(right, known)))
        case _:
            raise NotConstant(node)


def _int(node: ast.expr, known: Mapping[str, Any]) -> int:
    value = fold(node, known)
    if type(value) is not int:
        raise NotConstant(node)
    return value


def _bounded(node: ast.expr, value: int) -> int:
    if not INT_MIN <= value <= INT_MAX:
        raise NotConstant(node)
    return value
