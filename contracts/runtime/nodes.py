"""The second door: every node of the syntax tree, and every string in it, against the allow-list."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from contracts.runtime.codec import INT_MAX, INT_MIN
from contracts.runtime.model import BINDINGS, USES, CheckError
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

    fields: tuple[str, ...]  # those that are looked into
    has_place: bool  # it says where it stands
    has_context: bool
    is_part: bool  # later passes ask for it
    form: Callable[[Any], Iterable[Problem]] | None


Parts = dict[ast.stmt, list[ast.AST]]  # for each statement of the module the nodes inside that later passes ask for


def check_nodes(tree: ast.Module) -> tuple[list[CheckError], Parts]:
    """Refusals that need no knowledge of names: unknown nodes, strange identifiers, forms that the language leaves out.

    The only walk over the whole tree, level by level, so it also collects what later passes ask for.
    """
    found: list[CheckError] = []
    accepted: set[str] = set()
    parts: Parts = {statement: [] for statement in tree.body}
    pending: list[tuple[ast.AST, ast.AST, int, list[ast.AST]]] = [(node, node, 2, mine) for node, mine in parts.items()]
    leaves = 1  # the module, and what needs no turn of its own
    for node, where, depth, mine in pending:  # the list grows while it is walked
        shape = _shapes[type(node)]
        leaves += shape.has_context
        if shape.is_part:
            mine.append(node)
        if shape.form is not None:
            found.extend(error(where, code, message) for code, message in shape.form(node))
        for field in shape.fields:
            value: Any = getattr(node, field, None)
            child: Any
            for child in value if type(value) is list else (value,):
                kind = type(child)
                if kind is ast.Name and depth < MAX_DEPTH:
                    leaves += 3  # it, its text and its context
                    if child.id not in accepted:
                        found.extend(_identifier_errors(child, child.id, accepted))
                elif kind is ast.Constant and depth < MAX_DEPTH:
                    leaves += 2
                    if type(child.value) not in _CONSTANTS:
                        found.extend(error(child, code, message) for code, message in _constant(child))
                elif kind is str:
                    leaves += 1
                    if child not in accepted:
                        found.extend(_identifier_errors(where, child, accepted))
                elif kind in _LEAVES:
                    leaves += 1
                elif isinstance(child, ast.AST):
                    is_elif = kind is ast.If and type(node) is ast.If and field == "orelse" and len(value) == 1
                    place = child if _shapes[kind].has_place else where
                    pending.append((child, place, depth if is_elif else depth + 1, mine))
        if depth > MAX_DEPTH or leaves + len(pending) > MAX_NODES:
            message = f"at most {MAX_DEPTH} levels deep and {MAX_NODES} parts: name the parts"
            return [error(where, "NESTING", message)], parts
    return sorted(found, key=lambda e: (e.line, e.column, e.code)), parts


def _identifier_errors(where: ast.AST, text: str, accepted: set[str]) -> list[CheckError]:
    """An identifier seen for the first time; a good one need not be looked at again."""
    problem = _identifier_problem(text)
    if problem is None:
        accepted.add(text)
        return []
    return [error(where, *problem)]


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


def _constant(node: ast.Constant) -> Iterator[Problem]:
    value: Any = node.value
    if type(value) is int:
        if not INT_MIN <= value <= INT_MAX:
            yield "CONSTANT_TOO_LARGE", "integers have at most 256 bits"
    elif isinstance(value, float | complex):
        yield "FLOAT", "integers only: give the quantity a smaller unit (Wh, micros)"
    elif type(value) not in _CONSTANTS:
        yield "CONSTANT", "constants are int, str, bytes, bool and None"


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
_LEAVES = frozenset(kind for kind in ALLOWED_NODES if not kind._fields and not issubclass(kind, _PLACED))
# A context has no say, and this parser leaves no comments of types; a constant's value is seen by its form, and what is
# imported is compared with the host's names later.
_UNSEEN = {"ctx", "type_comment"}
_UNSEEN_OF: dict[type, set[str]] = {
    ast.Constant: {"value", "kind"},
    ast.alias: {"name", "asname"},
    ast.ImportFrom: {"module", "level"},
}


class _Shapes(dict[type, _Shape]):
    """Made when a kind of node is met for the first time."""

    def __missing__(self, kind: type) -> _Shape:
        unseen = _UNSEEN | _UNSEEN_OF.get(kind, set())
        fields = tuple(field for field in getattr(kind, "_fields", ()) if field not in unseen)
        form = _FORMS.get(kind) if kind in ALLOWED_NODES else _refuse(kind.__name__)
        has_context = "ctx" in getattr(kind, "_fields", ())
        shape = self[kind] = _Shape(fields, issubclass(kind, _PLACED), has_context, kind in BINDINGS | USES, form)
        return shape


def _refuse(name: str) -> Callable[[Any], Iterable[Problem]]:
    problem = REFUSED_NODES.get(name, ("SYNTAX", f"{name} is not in the language"))
    return lambda _: (problem,)


_shapes = _Shapes()
