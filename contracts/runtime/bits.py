"""How large a variable can become: proves that counters and small sums stay within 256 bits, so that nobody checks them.

A gas limit has at most 64 bits and every step costs gas, so `x += e` runs fewer than 2**64 times in a call: a variable that only starts
from values of b bits and adds values of b bits stays below b + 65 bits. Everything from outside (arguments, state, what
other contracts return) counts as 256 bits wide.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import Any

from contracts.runtime.model import Contract, Function
from contracts.runtime.tree import walk

WIDE = 256
STEPS = 64
_SMALL_CALLS = {"len": 64, "ord": 21, "bool": 1, "all": 1, "any": 1, "column_sum": 42, "column_value": 32}


class Bits:
    """Upper bounds of the bits (without sign) of one function's integers; WIDE where nothing is known."""

    def __init__(self, contract: Contract, function: Function) -> None:
        self.contract = contract
        self.variables: dict[str, int] = {name: WIDE for name, _ in function.params}
        bindings: dict[str, list[ast.expr | None]] = {}
        for name, value in _bindings(function):
            bindings.setdefault(name, []).append(value)
        pending = [name for name in bindings if name not in self.variables]
        for _ in range(len(pending)):  # a variable is known once all that it is made from is known
            for name in [name for name in pending if name not in self.variables]:
                bound = self._bound(name, bindings[name])
                if bound is not None:
                    self.variables[name] = bound

    def fits(self, node: ast.expr) -> bool:
        """Whether the expression's value surely needs no check."""
        bits = self.of(node)
        return bits is not None and bits < WIDE - 1

    def _bound(self, name: str, values: list[ast.expr | None]) -> int | None:
        """The bound of a variable with these bindings, or None while it depends on one that is not known yet."""
        starts: list[int] = [0]
        steps: list[int] = [0]
        for value in values:
            if value is None:
                return WIDE
            match value:
                case ast.BinOp(left=ast.Name(id=left), op=ast.Add() | ast.Sub(), right=right) if left == name:
                    bits, group = self.of(right), steps
                case _:
                    bits, group = self.of(value), starts
            if bits is None:
                return None
            group.append(bits)
        if max(steps) == 0:
            return max(starts)
        return min(WIDE, max(*starts, *steps) + STEPS + 1)

    def of(self, node: ast.expr) -> int | None:
        """None while a variable in it is not known."""
        find = _FINDERS.get(type(node))
        return find(self, node) if find is not None else WIDE

    def _constant(self, node: ast.Constant) -> int:
        return node.value.bit_length() if isinstance(node.value, int) else WIDE

    def _name(self, node: ast.Name) -> int | None:
        name = node.id
        if name in self.variables:
            return self.variables[name]
        value = self.contract.constants.get(name)
        if isinstance(value, int):
            return value.bit_length()
        return WIDE if name in self.contract.constants else None

    def _unary(self, node: ast.UnaryOp) -> int | None:
        if isinstance(node.op, ast.Not):
            return 1
        return self.of(node.operand) if isinstance(node.op, ast.USub | ast.UAdd) else WIDE

    def _compare(self, _: ast.Compare) -> int:
        return 1

    def _choice(self, node: ast.IfExp) -> int | None:
        return self._join(self.of(node.body), self.of(node.orelse))

    def _attribute(self, node: ast.Attribute) -> int:
        is_clock = node.attr in ("height", "time_ms") and isinstance(node.value, ast.Name) and node.value.id == "ctx"
        return 64 if is_clock else WIDE

    def _call(self, node: ast.Call) -> int | None:
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in _SMALL_CALLS:
                return _SMALL_CALLS[name]
            case ast.Call(func=ast.Name(id="abs"), args=[value]):
                return self.of(value)
            case ast.Call(func=ast.Name(id="min" | "max"), args=[first, second]):
                return self._join(self.of(first), self.of(second))
            case _:
                return WIDE

    def _join(self, first: int | None, second: int | None) -> int | None:
        return None if first is None or second is None else max(first, second)

    def _operator(self, node: ast.BinOp) -> int | None:
        left, right = self.of(node.left), self.of(node.right)
        if left is None or right is None:
            return None
        match node.op:
            case ast.Add() | ast.Sub():
                return min(WIDE, max(left, right) + 1)
            case ast.Mult():
                return min(WIDE, left + right)
            case ast.FloorDiv():
                return min(WIDE, left + 1)  # rounding towards minus infinity
            case ast.Mod():
                return right
            case ast.RShift():
                return left
            case _:
                return WIDE


_FINDERS: dict[type, Callable[[Bits, Any], int | None]] = {
    ast.Constant: Bits._constant,
    ast.Name: Bits._name,
    ast.BinOp: Bits._operator,
    ast.UnaryOp: Bits._unary,
    ast.Compare: Bits._compare,
    ast.IfExp: Bits._choice,
    ast.Attribute: Bits._attribute,
    ast.Call: Bits._call,
}


def _bindings(function: Function) -> Iterator[tuple[str, ast.expr | None]]:
    """Every name that a body binds, with the expression it is bound to, or None where that is not one integer expression."""
    for node in function.bindings:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                yield name, value
            case ast.AnnAssign(target=ast.Name(id=name), value=value):
                yield name, value
            case ast.AugAssign(target=ast.Name(id=name), op=op, value=value):
                yield name, ast.BinOp(left=ast.Name(id=name, ctx=ast.Load()), op=op, right=value)
            case ast.For(target=ast.Name(id=name), iter=ast.Call(func=ast.Name(id="range"), args=args)):
                yield name, _widest(args)
            case ast.For(target=target) | ast.comprehension(target=target) | ast.Assign(targets=[target]):
                for part in walk(target):
                    if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                        yield part.id, None
            case _:
                pass


def _widest(args: list[ast.expr]) -> ast.expr:
    """An expression as wide as the widest element of the range (a step goes no further than the end)."""
    widest = args[0]
    for arg in args[1:2]:
        widest = ast.IfExp(test=arg, body=widest, orelse=arg)
    return widest
