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


_SCALAR_KINDS = {"int": "int", "bool": "int", "str": "str", "bytes": "bytes"}
_STRUCTURE_KINDS: dict[type, str] = {
    ListOf: "list",
    DictOf: "dict",
    **dict.fromkeys([TupleOf, TupleEach, RecordOf], "tuple"),
}


def kind_of_type(kind: Type) -> Kind:
    return _SCALAR_KINDS.get(kind.name) if isinstance(kind, Scalar) else _STRUCTURE_KINDS.get(type(kind))


def enforced_kind(kind: Type) -> Kind:
    """The kinds that the compiler enforces where a value is passed, returned or put into a record."""
    found = kind_of_type(kind)
    return found if found in ("int", "str") else None


_VALUE_KINDS: dict[type, Kind] = {int: "int", bool: "int", str: "str", bytes: "bytes", tuple: "tuple"}


def _kind_of_value(value: Any) -> Kind:
    return _VALUE_KINDS.get(type(value))


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
        self._fields: dict[str, Kind] = {}
        params = {name: enforced_kind(kind) for name, kind in function.params}
        bindings = list(_bindings(function))
        self.variables: dict[str, Kind] = {**{name: UNSET for name, _ in bindings}, **params}
        changed = True
        while changed:
            changed = False
            for name, find in bindings:
                found = join(self.variables[name], find(self))
                if found != self.variables[name]:
                    self.variables[name] = found
                    changed = True

    def of(self, node: ast.expr) -> Kind:
        find = _FINDERS.get(type(node))
        return find(self, node) if find is not None else _KINDS.get(type(node))

    def _constant(self, node: ast.Constant) -> Kind:
        return _kind_of_value(node.value)

    def _name(self, node: ast.Name) -> Kind:
        name = node.id
        return self.variables[name] if name in self.variables else _kind_of_value(self.contract.constants.get(name))

    def _binary(self, node: ast.BinOp) -> Kind:
        return self._operator(self.of(node.left), node.op, self.of(node.right))

    def _logic(self, node: ast.BoolOp) -> Kind:
        return self._join(node.values)

    def _choice(self, node: ast.IfExp) -> Kind:
        return join(self.of(node.body), self.of(node.orelse))

    def _attribute(self, node: ast.Attribute) -> Kind:
        if isinstance(node.value, ast.Name) and node.value.id == "ctx":
            return "int" if node.attr in ("height", "time_ms") else "str"
        return self.field(node.attr)

    def field(self, name: str) -> Kind:
        """The kind that all records with such a field enforce for it."""
        if name not in self._fields:
            kinds = {enforced_kind(kind) for kind in self.contract.field_types(name)}
            self._fields[name] = kinds.pop() if len(kinds) == 1 else None
        return self._fields[name]

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

    def _item(self, node: ast.Subscript) -> Kind:
        value, key = node.value, node.slice
        if isinstance(value, ast.Name) and value.id in self.contract.states and value.id not in self.variables:
            return kind_of_type(self.contract.states[value.id].value)
        kind = self.of(value)
        if isinstance(key, ast.Slice):
            return kind
        return _ITEM_KINDS.get(kind or "")

    def _call(self, node: ast.Call) -> Kind:
        contract, function = self.contract, node.func
        if isinstance(function, ast.Name):
            name = function.id
            if name in contract.functions:
                return enforced_kind(contract.functions[name].returns)
            if name in contract.records or name == "replace":
                return "tuple"
            return self._join(node.args) if name in ("min", "max") and len(node.args) > 1 else _CALL_KINDS.get(name)
        assert isinstance(function, ast.Attribute)
        holder = function.value
        if function.attr == "get" and isinstance(holder, ast.Name) and holder.id in contract.states:
            kind = kind_of_type(contract.states[holder.id].value)
            return join(kind, self.of(node.args[1])) if node.args else kind
        return _METHOD_KINDS.get(function.attr)


_FINDERS: dict[type, Callable[[Kinds, Any], Kind]] = {
    ast.Constant: Kinds._constant,
    ast.Name: Kinds._name,
    ast.BinOp: Kinds._binary,
    ast.BoolOp: Kinds._logic,
    ast.IfExp: Kinds._choice,
    ast.Attribute: Kinds._attribute,
    ast.Subscript: Kinds._item,
    ast.Call: Kinds._call,
}
_KINDS: dict[type, Kind] = {
    **dict.fromkeys([ast.UnaryOp, ast.Compare], "int"),
    **dict.fromkeys([ast.List, ast.ListComp], "list"),
    ast.Tuple: "tuple",
    **dict.fromkeys([ast.Dict, ast.DictComp], "dict"),
}
Finder = Callable[[Kinds], Kind]


def _bindings(function: Function) -> Iterator[tuple[str, Finder]]:
    """Every name that a body binds, with how to find its kind. Names of comprehensions count as the function's."""
    for node in function.bindings:
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
