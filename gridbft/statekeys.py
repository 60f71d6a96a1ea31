"""Names of state, as a contract's source declares them, and the keys under which the chain keeps them.

A contract says `free: Map[str, int] = Map("free")` or `total: Value[int] = Value("total", 0)`. For people the entry of
account A is `free/A`, of a key with several parts `sums/A/1627000`, and the single value is `total`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from contracts.runtime.codec import decode
from contracts.runtime.keys import state_key
from gridbft.abi import Type, parse_type

Convert = Callable[[Type, str], Any]
"""A word as a value of a type; raises ValueError saying what was expected."""


@dataclass(frozen=True, slots=True)
class StateName:
    """`key` is None for a single value."""

    name: str
    key: Type | None
    value: Type


def declared(source: bytes) -> dict[str, StateName]:
    """The state that a contract's source declares, by name. Raises ValueError for what is no contract's source."""
    found: dict[str, StateName] = {}
    records: dict[str, Type] = {}
    try:
        body = ast.parse(source).body
    except SyntaxError as error:
        raise ValueError("the node's source of the contract is no Python") from error
    for node in body:
        if isinstance(node, ast.Assign) and _is_record(node.value) and isinstance(node.targets[0], ast.Name):
            assert isinstance(node.value, ast.Call)
            records[node.targets[0].id] = _record(node.targets[0].id, node.value, records)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Call) and node.value.args:
            name, kind = (
                ast.literal_eval(node.value.args[0]),
                _resolved(parse_type(ast.unparse(node.annotation)), records),
            )
            if kind.name == "Map" and len(kind.of) == 2:
                found[name] = StateName(name, kind.of[0], kind.of[1])
            elif kind.name == "Value" and len(kind.of) == 1:
                found[name] = StateName(name, None, kind.of[0])
    return found


def key_of(contract: str, names: dict[str, StateName], text: str, convert: Convert) -> tuple[bytes, StateName]:
    """The state key that `NAME` or `NAME/PART/PART...` means. Raises ValueError that says what would be right.

    The last part takes the rest, so that a key of one part may hold a slash.
    """
    name, slash, rest = text.partition("/")
    if name not in names:
        raise ValueError(f"{contract} keeps nothing named {name!r}; there are: {', '.join(sorted(names)) or 'none'}")
    state = names[name]
    if state.key is None:
        if slash:
            raise ValueError(f"{name} is a single value: no key belongs to it")
        return state_key(contract, name), state
    kinds = state.key.of if state.key.name == "tuple" or state.key.fields else (state.key,)
    parts = rest.split("/", len(kinds) - 1)
    if not slash or len(parts) != len(kinds):
        wanted = "/".join([name, *(str(kind).upper() for kind in kinds)])
        raise ValueError(f"a key of {name} is written {wanted}, found {text!r}")
    values = [convert(kind, part) for kind, part in zip(kinds, parts, strict=True)]
    return state_key(contract, name, values[0] if len(kinds) == 1 else tuple(values)), state


def readable_key(key: bytes) -> str:
    """A state key as people write it; one that is no contract's, as its bytes read."""
    contract, _, rest = key.partition(b"/")
    name, slash, packed = rest.partition(b"/")
    head = b"/".join(part for part in (contract, name) if part).decode("ascii", "replace")
    if not slash:
        return head
    try:
        value = decode(packed)
    except ValueError:
        return f"{head}/{packed!r}"
    return "/".join([head, *(str(part) for part in (value if isinstance(value, list) else [value]))])


def _is_record(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "NamedTuple"


def _record(name: str, node: ast.Call, records: dict[str, Type]) -> Type:
    fields = node.args[1]
    pairs = fields.elts if isinstance(fields, ast.List | ast.Tuple) else []
    names, kinds = [], []
    for pair in pairs:
        if isinstance(pair, ast.Tuple) and len(pair.elts) == 2:
            names.append(ast.literal_eval(pair.elts[0]))
            kinds.append(_resolved(parse_type(ast.unparse(pair.elts[1])), records))
    return Type(name, tuple(kinds), tuple(names))


def _resolved(kind: Type, records: dict[str, Type]) -> Type:
    """The type with the names of records replaced by what they hold."""
    if kind.name in records and not kind.of:
        return records[kind.name]
    return Type(kind.name, tuple(_resolved(k, records) for k in kind.of), kind.fields)
