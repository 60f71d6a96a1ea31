"""Walking syntax trees quickly: contexts and operators, which have nothing inside, are left out."""

from __future__ import annotations

import ast
from collections.abc import Iterator

_LEAVES = frozenset({"ctx", "op", "ops", "type_ignores", "type_params", "kind", "id", "attr", "arg"})
_fields: dict[type[ast.AST], tuple[str, ...]] = {}


def children(node: ast.AST) -> Iterator[ast.AST]:
    kind = type(node)
    names = _fields.get(kind)
    if names is None:
        names = _fields[kind] = tuple(name for name in kind._fields if name not in _LEAVES)
    for name in names:
        value = getattr(node, name, None)
        if type(value) is list:
            for item in value:
                if isinstance(item, ast.AST):
                    yield item
        elif isinstance(value, ast.AST):
            yield value


def walk(root: ast.AST) -> Iterator[ast.AST]:
    """The node and all below it, in no particular order."""
    stack = [root]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(children(node))
