"""The second door: every node of the syntax tree, and every string in it, against the allow-list."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from contracts.runtime.codec import INT_MAX, INT_MIN
from contracts.runtime.model import CheckError
from contracts.runtime.vocabulary import ALLOWED_NODES, KEYWORDS, REFUSED_NODES

_PLACED = (ast.stmt, ast.expr, ast.arg, ast.keyword, ast.alias)  # nodes that say where they are
Problem = tuple[str, str]  # code, message

MAX_DEPTH = 64
MAX_NODES = 30_000
MAX_NAME_CHARACTERS = 64
MAX_PARAMETERS = 32


def error(node: ast.AST, code: str, message: str) -> CheckError:
    return CheckError(getattr(node, "lineno", 1), getattr(node, "col_offset", 0) + 1, code, message)


@dataclass(frozen=True, slots=True)
class _Shape:
    """What is known of a kind of node before any is seen."""

    fields: tuple[str, ...]
    has_place: bool  # it says where it stands
    is_plain: bool  # allowed, with nothing inside: an operator or a context
    is_allowed: bool
    names: bool  # its strings are identifiers
    form: Callable[[Any], Iterable[Problem]] | None


def check_nodes(tree: ast.Module) -> list[CheckError]:
    """Refusals that need no knowledge of names: unknown nodes, strange identifiers, forms that the language leaves out."""
    found: list[CheckError] = []
    accepted: set[str] = set()
    count = 1
    stack: list[tuple[ast.AST, ast.AST, int]] = [(tree, tree, 1)]
    while stack:
        node, where, depth = stack.pop()
        kind = type(node)
        shape = _shapes.get(kind) or _shape(kind)
        if not shape.is_allowed:
            code, message = REFUSED_NODES.get(kind.__name__, ("SYNTAX", f"{kind.__name__} is not in the language"))
            found.append(error(where, code, message))
        elif shape.form is not None:
            found.extend(error(where, code, message) for code, message in shape.form(node))
        for field in shape.fields:
            value = getattr(node, field, None)
            if value is None:
                continue
            for child in value if type(value) is list else (value,):
                inner = _shapes.get(type(child)) or _shape(type(child))
                if inner.fields or not inner.is_plain:
                    if type(child) is str and shape.names and field != "module" and child not in accepted:
                        problem = _identifier_problem(child)
                        if problem is None:
                            accepted.add(child)
                        else:
                            found.append(error(where, *problem))
                    if not isinstance(child, ast.AST):
                        continue
                    is_elif = kind is ast.If and field == "orelse" and type(child) is ast.If and value == [child]
                    stack.append((child, child if inner.has_place else where, depth if is_elif else depth + 1))
                count += 1
                if depth > MAX_DEPTH or count > MAX_NODES:
                    message = f"at most {MAX_DEPTH} levels deep and {MAX_NODES} parts: name the parts"
                    return [error(child if inner.has_place else where, "NESTING", message)]
    return sorted(found, key=lambda e: (e.line, e.column, e.code))


def _identifier_problem(text: str) -> Problem | None:
    if text.startswith("_"):
        return "UNDERSCORE", f"{text}: names begin with a letter"
    if not text.isascii() or not text.isidentifier() or len(text) > MAX_NAME_CHARACTERS or text in KEYWORDS:
        return "NAME", f"a name has at most {MAX_NAME_CHARACTERS} ASCII letters, digits and underscores"
    return None


# --- optional parts of allowed nodes


def _function(node: ast.FunctionDef) -> Iterator[Problem]:
    if getattr(node, "type_params", []):
        yield "TYPE_PARAMETERS", "functions have no type parameters"


def _parameters(node: ast.arguments) -> Iterator[Problem]:
    if node.posonlyargs or node.kwonlyargs or node.vararg or node.kwarg:
        yield "STAR", "parameters are plain names"
    if node.defaults:
        yield "DEFAULT", "parameters have no defaults: callers say what they mean"
    if len(node.args) > MAX_PARAMETERS:
        yield "PARAMETERS", f"at most {MAX_PARAMETERS} parameters"


def _keyword(node: ast.keyword) -> Iterator[Problem]:
    if node.arg is None:
        yield "STAR", "pass values by name"


def _dict(node: ast.Dict) -> Iterator[Problem]:
    if None in node.keys:
        yield "STAR", "write the entries"


def _slice(node: ast.Slice) -> Iterator[Problem]:
    if node.step is not None:
        yield "SLICE_STEP", "slices have no step"


def _loop(node: ast.For | ast.While) -> Iterator[Problem]:
    if node.orelse:
        yield "LOOP_ELSE", "no else after a loop"


def _generator(node: ast.comprehension) -> Iterator[Problem]:
    if node.is_async:
        yield "ASYNC", "nothing here waits"


def _assignment(node: ast.Assign) -> Iterator[Problem]:
    if len(node.targets) != 1:
        yield "MULTI_ASSIGN", "one target for each assignment"


def _imported(node: ast.alias) -> Iterator[Problem]:
    if node.asname is not None:
        yield "IMPORT", "host names keep their names"


def _constant(node: ast.Constant) -> tuple[Problem, ...]:
    value: Any = node.value
    kind = type(value)
    if kind is int:
        if not INT_MIN <= value <= INT_MAX:
            return (("CONSTANT_TOO_LARGE", "integers have at most 256 bits"),)
    elif kind is float or kind is complex:
        return (("FLOAT", "integers only: give the quantity a smaller unit (Wh, micros)"),)
    elif kind not in _CONSTANTS:
        return (("CONSTANT", "constants are int, str, bytes, bool and None"),)
    return ()


_CONSTANTS = frozenset({str, bytes, bool, type(None), type(...)})
_FORMS: dict[type, Callable[[Any], Iterable[Problem]]] = {
    ast.Constant: _constant,
    ast.FunctionDef: _function,
    ast.arguments: _parameters,
    ast.keyword: _keyword,
    ast.Dict: _dict,
    ast.Slice: _slice,
    ast.For: _loop,
    ast.While: _loop,
    ast.comprehension: _generator,
    ast.Assign: _assignment,
    ast.alias: _imported,
}
_shapes: dict[type, _Shape] = {}


def _shape(kind: type) -> _Shape:
    is_node = issubclass(kind, ast.AST)
    is_allowed = kind in ALLOWED_NODES
    has_place = issubclass(kind, _PLACED)
    fields: tuple[str, ...] = getattr(kind, "_fields", ()) if is_node else ()
    made = _shapes[kind] = _Shape(
        fields,
        has_place,
        is_allowed and not fields and not has_place,
        is_allowed,
        is_allowed and kind not in (ast.Constant, ast.alias),  # imports are compared with the host's names later
        _FORMS.get(kind),
    )
    return made
