"""The types that a contract's interface names, as clients read them.

An interface spells a type as its author wrote it, and a record with its fields: `Order(account: str, quantity_wh: int)`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_TOKEN = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_.]*|\.\.\.|[\[\](),:|])")
_PUNCTUATION = frozenset("[](),:|")


@dataclass(frozen=True, slots=True)
class Type:
    """`name` is int, str, bytes, bool, None, list, tuple, dict, "..." (in tuple[T, ...]), "|" (one of), or a record's.

    `of` are the type's parameters, or a record's fields; `fields` are the latter's names.
    """

    name: str
    of: tuple[Type, ...] = ()
    fields: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.name == "|":
            return " | ".join(map(str, self.of))
        if self.fields:
            return f"{self.name}({', '.join(f'{f}: {t}' for f, t in zip(self.fields, self.of, strict=True))})"
        return f"{self.name}[{', '.join(map(str, self.of))}]" if self.of else self.name


def parse_type(text: str) -> Type:
    """Raises ValueError on anything but one type."""
    tokens: list[str] = []
    at = 0
    while at < len(text.rstrip()):
        found = _TOKEN.match(text, at)
        if found is None:
            raise ValueError(f"not a type: {text!r}")
        tokens.append(found.group(1))
        at = found.end()
    kind, rest = _union(tokens)
    if rest:
        raise ValueError(f"not a type: {text!r}")
    return kind


def named(kind: Type, value: Any) -> Any:
    """A decoded value with its records as dicts from field name to value, instead of as bare lists."""
    if kind.name == "|":
        members = [m for m in kind.of if m.name != "None"]
        return named(members[0], value) if len(members) == 1 else value
    if isinstance(value, list | tuple):
        if kind.fields and len(kind.fields) == len(value):
            return {f: named(t, v) for f, t, v in zip(kind.fields, kind.of, value, strict=True)}
        return [named(t, v) for t, v in zip(item_types(kind, len(value)), value, strict=True)]
    if isinstance(value, dict) and kind.name == "dict" and len(kind.of) == 2:
        return {k: named(kind.of[1], v) for k, v in value.items()}
    return value


def item_types(kind: Type, length: int) -> tuple[Type, ...]:
    """The type of each item of a list or tuple; of what is neither, types that say nothing."""
    if kind.name == "|":
        members = [m for m in kind.of if m.name != "None"]
        return item_types(members[0], length) if len(members) == 1 else (Type("Any"),) * length
    if kind.name == "list" and len(kind.of) == 1:
        return kind.of * length
    if kind.name == "tuple" and len(kind.of) == 2 and kind.of[1].name == "...":
        return kind.of[:1] * length
    return kind.of if len(kind.of) == length else (Type("Any"),) * length


def _union(tokens: Sequence[str]) -> tuple[Type, Sequence[str]]:
    first, tokens = _single(tokens)
    members = [first]
    while tokens and tokens[0] == "|":
        member, tokens = _single(tokens[1:])
        members.append(member)
    return (first if len(members) == 1 else Type("|", tuple(members))), tokens


def _single(tokens: Sequence[str]) -> tuple[Type, Sequence[str]]:
    if not tokens or tokens[0] in _PUNCTUATION:
        raise ValueError("a type's name is missing")
    name, tokens = tokens[0], tokens[1:]
    if tokens and tokens[0] == "[":
        members, tokens = _parameters(tokens)
        return Type(name, members), tokens
    if tokens and tokens[0] == "(":
        fields, members, tokens = _fields(tokens)
        return Type(name, members, fields), tokens
    return Type(name), tokens


def _parameters(tokens: Sequence[str]) -> tuple[tuple[Type, ...], Sequence[str]]:
    members: list[Type] = []
    while tokens and tokens[0] in ("[" if not members else ","):
        member, tokens = _union(tokens[1:])
        members.append(member)
    if not tokens or tokens[0] != "]":
        raise ValueError("a type's bracket is not closed")
    return tuple(members), tokens[1:]


def _fields(tokens: Sequence[str]) -> tuple[tuple[str, ...], tuple[Type, ...], Sequence[str]]:
    names: list[str] = []
    members: list[Type] = []
    while tokens and tokens[0] in ("(" if not members else ","):
        if len(tokens) < 3 or tokens[1] in _PUNCTUATION or tokens[2] != ":":
            raise ValueError("a record's field is a name, a colon and a type")
        names.append(tokens[1])
        member, tokens = _union(tokens[3:])
        members.append(member)
    if not tokens or tokens[0] != ")":
        raise ValueError("a record's bracket is not closed")
    return tuple(names), tuple(members), tokens[1:]
