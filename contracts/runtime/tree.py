"""Walking syntax trees quickly: contexts and operators, which have nothing inside, are left out."""

from __future__ import annotations

import ast

_LEAVES = frozenset({"ctx", "op", "ops", "type_ignores", "type_params", "kind", "id", "attr", "arg"})
_fields: dict[type[ast.AST], tuple[str, ...]] = {ast.Constant: ()}


def walk(root: ast.AST) -> list[ast.AST]:
    """The node and all below it, level by level."""
    found = [root]
    for node in found:  # the list grows while it is walked
        kind = type(node)
        names = _fields.get(kind)
        if names is None:
            names = _fields[kind] = tuple(name for name in kind._fields if name not in _LEAVES)
        for name in names:
            value = getattr(node, name, None)
            if type(value) is list:
                found += [item for item in value if isinstance(item, ast.AST)]
            elif isinstance(value, ast.AST):
                found.append(value)
    return found
