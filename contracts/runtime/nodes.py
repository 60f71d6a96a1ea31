"""The second door: every node of the syntax tree, and every string in it, against the allow-list."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from contracts.runtime.codec import INT_MAX, INT_MIN
from contracts.runtime.model import CheckError
from contracts.runtime.vocabulary import ALLOWED_NODES, KEYWORDS, REFUSED_NODES

_PLACED = (ast.stmt, ast.expr, ast.arg, ast.keyword, ast.alias)  # nodes that say where they are
_PLAIN = frozenset(node for node in ALLOWED_NODES if not node._fields) - {ast.Pass, ast.Break, ast.Continue}

MAX_DEPTH = 64
MAX_NODES = 30_000
MAX_NAME_CHARACTERS = 64
MAX_PARAMETERS = 32


def error(node: ast.AST, code: str, message: str) -> CheckError:
    return CheckError(getattr(node, "lineno", 1), getattr(node, "col_offset", 0) + 1, code, message)


def check_nodes(tree: ast.Module) -> list[CheckError]:
    """Refusals that need no knowledge of names: unknown nodes, strange identifiers, forms that the language leaves out."""
    found: list[CheckError] = []
    count = 0
    where: ast.AST = tree
    stack: list[tuple[ast.AST, ast.AST, int]] = [(tree, tree, 0)]
    while stack:
        node, parent, depth = stack.pop()
        count += 1
        where = node if isinstance(node, _PLACED) else parent
        if depth > MAX_DEPTH or count > MAX_NODES:
            return [error(where, "NESTING", f"at most {MAX_DEPTH} levels deep and {MAX_NODES} parts: name the parts")]
        kind = type(node)
        if kind in _PLAIN:
            continue
        found.extend(_check_node(node, where))
        for field in kind._fields:
            value = getattr(node, field, None)
            for child in value if type(value) is list else (value,):
                if isinstance(child, ast.AST):
                    is_elif = kind is ast.If and field == "orelse" and type(child) is ast.If and value == [child]
                    stack.append((child, where, depth if is_elif else depth + 1))
    return sorted(found, key=lambda e: (e.line, e.column, e.code))


def _check_node(node: ast.AST, where: ast.AST) -> Iterator[CheckError]:
    kind = type(node)
    if kind not in ALLOWED_NODES:
        code, message = REFUSED_NODES.get(kind.__name__, ("SYNTAX", f"{kind.__name__} is not in the language"))
        yield error(where, code, message)
        return
    for field, value in ast.iter_fields(node):
        if kind in (ast.Constant, ast.alias) or field == "module":  # imports are compared with the host's names later
            continue
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str):
                yield from _check_identifier(text, where)
    yield from _check_form(node, where)


def _check_identifier(text: str, where: ast.AST) -> Iterator[CheckError]:
    if text.startswith("_"):
        yield error(where, "UNDERSCORE", f"{text}: names begin with a letter")
    elif not text.isascii() or not text.isidentifier() or len(text) > MAX_NAME_CHARACTERS or text in KEYWORDS:
        yield error(where, "NAME", f"a name has at most {MAX_NAME_CHARACTERS} ASCII letters, digits and underscores")


def _check_form(node: ast.AST, where: ast.AST) -> Iterator[CheckError]:
    """Optional parts of allowed nodes."""
    match node:
        case ast.Constant():
            yield from _check_constant(node)
        case ast.FunctionDef():
            if getattr(node, "type_params", []):
                yield error(node, "TYPE_PARAMETERS", "functions have no type parameters")
        case ast.arguments():
            if node.posonlyargs or node.kwonlyargs or node.vararg or node.kwarg:
                yield error(where, "STAR", "parameters are plain names")
            if node.defaults:
                yield error(where, "DEFAULT", "parameters have no defaults: callers say what they mean")
            if len(node.args) > MAX_PARAMETERS:
                yield error(where, "PARAMETERS", f"at most {MAX_PARAMETERS} parameters")
        case ast.keyword(arg=None):
            yield error(where, "STAR", "pass values by name")
        case ast.Dict() if None in node.keys:
            yield error(where, "STAR", "write the entries")
        case ast.Slice(step=step) if step is not None:
            yield error(where, "SLICE_STEP", "slices have no step")
        case ast.For() | ast.While() if node.orelse:
            yield error(where, "LOOP_ELSE", "no else after a loop")
        case ast.comprehension() if node.is_async:
            yield error(where, "ASYNC", "nothing here waits")
        case ast.Assign() if len(node.targets) != 1:
            yield error(where, "MULTI_ASSIGN", "one target for each assignment")
        case ast.alias() if node.asname is not None:
            yield error(where, "IMPORT", "host names keep their names")
        case _:
            pass


def _check_constant(node: ast.Constant) -> Iterator[CheckError]:
    value = node.value
    kind = type(value)
    if isinstance(value, int):
        if not INT_MIN <= value <= INT_MAX:
            yield error(node, "CONSTANT_TOO_LARGE", "integers have at most 256 bits")
    elif kind in (float, complex):
        yield error(node, "FLOAT", "integers only: give the quantity a smaller unit (Wh, micros)")
    elif kind not in (str, bytes, bool, type(None), type(...)):
        yield error(node, "CONSTANT", "constants are int, str, bytes, bool and None")
