"""What an expression surely is, from the annotations that the runtime enforces: integers and text get the fast operators.

`None` means "could be anything", and is always right. The kinds of a function's variables do not depend on where one stands
in it, so they are found by repeating a pass over its assignments until nothing changes.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from contracts.runtime.model import Contract, Function
from contracts.runtime.types import DictOf, ListOf, RecordOf, Scalar, TupleEach, TupleOf, Type

Kind = str | None  # "int" (bool included), "str", "bytes", "list", "tuple", "dict", "range", or unknown
UNSET = "unset"  # no assignment seen yet

_CALL_KINDS = {
    **dict.fromkeys(["len", "ord", "int", "sum", "bool", "all", "any", "ed25519_verify", "abs"], "int"),
    **dict.fromkeys(["str", "address_of"], "str"),
    "list": "list",
    "sorted": "list",
    "tuple": "tuple",
    "divmod": "tuple",
    "dict": "dict",
    "range": "range",
    "sha256": "bytes",
    **dict.fromkeys(["column_sum", "column_value"], "int"),
    **dict.fromkeys(["column_above", "column_values"], "list"),
    "pack_column": "bytes",
}
_METHOD_KINDS = {"encode": "bytes", "hex": "str", "join": "str", "startswith": "int", "endswith": "int"}
_METHOD_KINDS |= {"keys": "list", "values": "list", "items": "list"}


def kind_of_type(kind: Type) -> Kind:
    match kind:
        case Scalar("int" | "bool"):
            return "int"
        case Scalar("str" | "bytes" as name):
            return name
        case ListOf():
            return "list"
        case DictOf():
            return "dict"
        case TupleOf() | TupleEach() | RecordOf():
            return "tuple"
        case _:
            return None


def enforced_kind(kind: Type) -> Kind:
    """The kinds that the compiler enforces where a value is passed, returned or put into a record."""
    found = kind_of_type(kind)
    return found if found in ("int", "str") else None


def _kind_of_value(value: Any) -> Kind:
    return {int: "int", bool: "int", str: "str", bytes: "bytes", tuple: "tuple"}.get(type(value))


def join(first: Kind, second: Kind) -> Kind:
    if first == UNSET:
        return second
    if second == UNSET or first == second:
        return first
    return None


class Kinds:
    """The kinds of one function's expressions."""

    def __init__(self, contract: Contract, function: Function) -> None:
        self.contract = contract
        self.variables: dict[str, Kind] = {}
        params = {name: enforced_kind(kind) for name, kind in function.params}
        bindings = list(_bindings(function))
        self.variables = {**{name: UNSET for name, _ in bindings}, **params}
        changed = True
        while changed:
            changed = False
            for name, find in bindings:
                found = join(self.variables[name], find(self))
                if found != self.variables[name]:
                    self.variables[name] = found
                    changed = True

    def of(self, node: ast.expr) -> Kind:
        match node:
            case ast.Constant(value=value):
                return _kind_of_value(value)
            case ast.Name(id=name):
                known = self.variables.get(name)
                return known if name in self.variables else _kind_of_value(self.contract.constants.get(name))
            case ast.BinOp(left=left, op=op, right=right):
                return self._operator(self.of(left), op, self.of(right))
            case ast.UnaryOp() | ast.Compare():
                return "int"
            case ast.BoolOp(values=values):
                return self._join(values)
            case ast.IfExp(body=body, orelse=orelse):
                return self._join([body, orelse])
            case ast.List() | ast.ListComp():
                return "list"
            case ast.Tuple():
                return "tuple"
            case ast.Dict() | ast.DictComp():
                return "dict"
            case ast.Attribute(value=ast.Name(id="ctx"), attr=attr):
                return "int" if attr in ("height", "time_ms") else "str"
            case ast.Attribute(attr=attr):
                kinds = {enforced_kind(kind) for kind in self.contract.field_types(attr)}
                return kinds.pop() if len(kinds) == 1 else None
            case ast.Subscript(value=value, slice=key):
                return self._item(value, key)
            case ast.Call():
                return self._call(node)
            case _:
                return None

    def _join(self, nodes: list[ast.expr]) -> Kind:
        kind: Kind = UNSET
        for node in nodes:
            kind = join(kind, self.of(node))
        return kind

    def _operator(self, left: Kind, op: ast.operator, right: Kind) -> Kind:
        if isinstance(op, ast.Add):
            for kind in ("int", "str", "bytes", "list", "tuple"):  # what adds to one of these is one of these
                if kind in (left, right):
                    return kind
            return UNSET if UNSET in (left, right) else None
        if isinstance(op, ast.Mult):
            if UNSET in (left, right):
                return UNSET
            return "int" if left == right == "int" else None
        return "int"

    def _item(self, value: ast.expr, key: ast.expr) -> Kind:
        if isinstance(value, ast.Name) and value.id in self.contract.states and value.id not in self.variables:
            return kind_of_type(self.contract.states[value.id].value)
        kind = self.of(value)
        if isinstance(key, ast.Slice):
            return kind
        return {"str": "str", "bytes": "int", "range": "int", UNSET: UNSET}.get(kind or "")

    def _call(self, node: ast.Call) -> Kind:
        contract = self.contract
        match node.func:
            case ast.Name(id=name) if name in contract.functions:
                return enforced_kind(contract.functions[name].returns)
            case ast.Name(id=name) if name in contract.records or name == "replace":
                return "tuple"
            case ast.Name(id="min" | "max") if len(node.args) > 1:
                return self._join(node.args)
            case ast.Name(id=name):
                return _CALL_KINDS.get(name)
            case ast.Attribute(value=ast.Name(id=name), attr="get") if name in contract.states:
                kind = kind_of_type(contract.states[name].value)
                return join(kind, self.of(node.args[1])) if node.args else kind
            case ast.Attribute(attr=attr):
                return _METHOD_KINDS.get(attr)
            case _:
                return None


Finder = Callable[[Kinds], Kind]


def _bindings(function: Function) -> Iterator[tuple[str, Finder]]:
    """Every name that a body binds, with how to find its kind. Names of comprehensions count as the function's."""
    for node in function.parts:
        match node:
            case ast.Assign(targets=[target], value=value):
                yield from _bind(target, _kind_of(value))
            case ast.AnnAssign(target=target, annotation=ast.Name(id="int" | "str" as name)):
                yield from _bind(target, _always(name))
            case ast.AnnAssign(target=target, value=value) if value is not None:
                yield from _bind(target, _kind_of(value))
            case ast.AugAssign(target=ast.Name(id=name), op=op, value=value):
                yield name, _kind_of(ast.BinOp(left=ast.Name(id=name, ctx=ast.Load()), op=op, right=value))
            case ast.For(target=target, iter=iterated) | ast.comprehension(target=target, iter=iterated):
                yield from _bind_items(target, iterated)
            case _:
                pass


def _kind_of(node: ast.expr) -> Finder:
    return lambda kinds: kinds.of(node)


def _always(kind: Kind) -> Finder:
    return lambda kinds: kind


def _bind(target: ast.expr, find: Finder) -> Iterator[tuple[str, Finder]]:
    match target:
        case ast.Name(id=name):
            yield name, find
        case ast.Tuple(elts=items):
            for item in items:
                yield from _bind(item, _always(None))
        case _:
            pass


_ITEM_KINDS: Mapping[str, Kind] = {"range": "int", "str": "str", "bytes": "int", UNSET: UNSET}


def _bind_items(target: ast.expr, iterated: ast.expr) -> Iterator[tuple[str, Finder]]:
    match target, iterated:
        case ast.Tuple(elts=[index, item]), ast.Call(func=ast.Name(id="enumerate")):
            yield from _bind(index, _always("int"))
            yield from _bind(item, _always(None))
        case _, ast.Call(func=ast.Name(id="enumerate" | "zip" | "reversed")):
            yield from _bind(target, _always(None))
        case _:
            yield from _bind(target, lambda kinds: _ITEM_KINDS.get(kinds.of(iterated) or ""))
