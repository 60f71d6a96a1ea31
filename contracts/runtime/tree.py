"""Walking syntax trees quickly: contexts and operators, which have nothing inside, are left out."""

from __future__ import annotations

import ast
from typing import TypeVar

_LEAVES = frozenset({"ctx", "op", "ops", "type_ignores", "type_params", "kind", "id", "attr", "arg", "name", "names"})
_fields: dict[type[ast.AST], tuple[str, ...]] = {ast.Constant: ()}


def _names(kind: type[ast.AST]) -> tuple[str, ...]:
    found = _fields[kind] = tuple(name for name in kind._fields if name not in _LEAVES)
    return found


def walk(root: ast.AST) -> list[ast.AST]:
    """The node and all below it, level by level."""
    found = [root]
    for node in found:  # the list grows while it is walked
        kind = type(node)
        for name in _fields.get(kind) or _names(kind):
            value = getattr(node, name, None)
            if type(value) is list:
                found += [item for item in value if isinstance(item, ast.AST)]
            elif isinstance(value, ast.AST):
                found.append(value)
    return found


Node = TypeVar("Node", bound=ast.AST)


def placed(root: Node) -> Node:
    """The same node; it and all below it have a place now, as Python wants of what it compiles.

    Which place is no matter: nobody sees the line of a contract's frame. A node that has one is the author's or was placed
    before, and so is all below it.
    """
    pending: list[ast.AST] = [root]
    for node in pending:
        fields = node.__dict__
        if "lineno" not in fields:
            fields["lineno"] = fields["end_lineno"] = 1
            fields["col_offset"] = fields["end_col_offset"] = 0
            kind = type(node)
            for name in _fields.get(kind) or _names(kind):
                value = fields.get(name)
                if type(value) is list:
                    pending += value
                elif isinstance(value, ast.AST):
                    pending.append(value)
    return root
