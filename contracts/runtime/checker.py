"""Reads a contract and says what is wrong with it. Deny by default: what is not known is refused."""

from __future__ import annotations

import ast
import re
from typing import Any

from contracts.runtime.bodies import check_body, writes_state
from contracts.runtime.calls import call_graph, deepest_call, find_cycle, reachable
from contracts.runtime.constants import NotConstant, fold
from contracts.runtime.model import BINDINGS, USES, CheckError, Contract, Function, FunctionKind, State
from contracts.runtime.nodes import Parts, check_nodes, error
from contracts.runtime.scanner import scan
from contracts.runtime.types import BadType, Mismatch, RecordOf, Scalar, TupleOf, Type, contains_any, converter, parse
from contracts.runtime.vocabulary import BUILTINS, HOST_NAMES, TAKEN_FIELD_NAMES, TYPE_NAMES

MAX_FUNCTIONS = 128
MAX_CALL_DEPTH = 24
MAX_RECORD_FIELDS = 32
_STORED_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


def check(source: bytes) -> tuple[Contract | None, list[CheckError]]:
    """The contract, or None and at least one error."""
    finding = scan(source)
    if finding is not None:
        return None, [CheckError(*finding)]
    try:
        tree = ast.parse(source, feature_version=(3, 11))
    except (SyntaxError, ValueError) as problem:  # the scanner has excluded the parser's own limits
        line, column = getattr(problem, "lineno", None), getattr(problem, "offset", None)
        return None, [CheckError(line or 1, column or 1, "SYNTAX", "this is not Python 3.11")]
    errors, parts = check_nodes(tree)
    if errors:
        return None, errors
    reader = _ModuleReader(parts)
    contract = reader.read(tree)
    errors = reader.errors
    if not errors:
        errors = _check_functions(contract)
    return (None, sorted(errors, key=lambda e: (e.line, e.column))) if errors else (contract, [])


def _check_functions(contract: Contract) -> list[CheckError]:
    errors: list[CheckError] = []
    for function in contract.functions.values():
        errors.extend(check_body(contract, function))
    if errors:
        return errors
    graph = call_graph(contract)
    cycle = find_cycle(graph)
    if cycle is not None:
        node = contract.functions[cycle].node
        return [error(node, "RECURSION", f"{cycle} calls itself, perhaps through others: write a loop")]
    if deepest_call(graph) > MAX_CALL_DEPTH:
        return [CheckError(1, 1, "CALL_DEPTH", f"functions call each other at most {MAX_CALL_DEPTH} deep")]
    writers = {name for name, function in contract.functions.items() if writes_state(contract, function)}
    for function in contract.functions.values():
        if function.kind == "view" and reachable(graph, [function.name]) & writers:
            errors.append(
                error(function.node, "VIEW_WRITES", f"the view {function.name} writes or emits: make it @export")
            )
    return errors


class _ModuleReader:
    """Reads the statements of the module, in order."""

    def __init__(self, parts: Parts) -> None:
        self.errors: list[CheckError] = []
        self.parts = parts
        self.imported: set[str] = set()
        self.records: dict[str, RecordOf] = {}
        self.states: dict[str, State] = {}
        self.constants: dict[str, Any] = {}
        self.functions: dict[str, Function] = {}

    def read(self, tree: ast.Module) -> Contract:
        for statement in tree.body:
            self._statement(statement)
        if not any(function.kind != "private" for function in self.functions.values()):
            self._refuse(tree, "NO_FUNCTIONS", "a contract has at least one @export or @view function")
        return Contract(
            ast.get_docstring(tree) or "",
            self.records,
            self.states,
            self.constants,
            self.functions,
            frozenset(self.imported),
        )

    def _refuse(self, node: ast.AST, code: str, message: str) -> None:
        self.errors.append(error(node, code, message))

    def _statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                pass
            case ast.ImportFrom():
                self._import(node)
            case ast.FunctionDef():
                self._function(node)
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=ast.Name(id="NamedTuple")) as call):
                self._record(node, name, call)
            case ast.Assign(targets=[ast.Name()], value=ast.Call(func=ast.Name(id="Map" | "Value"))):
                self._refuse(node, "STATE_TYPE", 'state says its types: balances: Map[str, int] = Map("balances")')
            case ast.AnnAssign(
                target=ast.Name(id=name),
                annotation=ast.Subscript(value=ast.Name(id="Map" | "Value")),
            ):
                self._state(node, name)
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                self._constant(node, name, value)
            case ast.AnnAssign(target=ast.Name(id=name), value=value) if value is not None:
                self._constant(node, name, value)
            case _:
                self._refuse(node, "MODULE_STATEMENT", "a module has imports, records, state, constants and functions")

    def _import(self, node: ast.ImportFrom) -> None:
        names = {alias.name for alias in node.names}
        if node.module != "contracts.host" or node.level != 0:
            self._refuse(node, "IMPORT", "the only import is `from contracts.host import ...`")
        elif not names <= HOST_NAMES:
            unknown = ", ".join(sorted(names - HOST_NAMES))
            self._refuse(node, "IMPORT", f"the host has no {unknown}; it has {', '.join(sorted(HOST_NAMES))}")
        self.imported |= names

    def _define(self, node: ast.AST, name: str) -> bool:
        taken = {**self.records, **self.states, **self.constants, **self.functions}
        if name in taken or name in HOST_NAMES or name in BUILTINS or name in TYPE_NAMES:
            self._refuse(node, "SHADOWING", f"{name} is defined already")
            return False
        return True

    def _type(self, node: ast.expr | None, where: ast.AST) -> Type | None:
        if node is None:
            self._refuse(where, "ANNOTATION", "every parameter and every result says its type")
            return None
        try:
            return parse(node, self.records)
        except BadType as bad:
            self._refuse(bad.node, "TYPE", str(bad))
            return None

    def _record(self, node: ast.Assign, name: str, call: ast.Call) -> None:
        if not self._needs(node, "NamedTuple") or not self._define(node, name):
            return
        match call:
            case ast.Call(args=[ast.Constant(value=str() as given), ast.List(elts=items)], keywords=[]) if (
                given == name
            ):
                fields = [self._field(item) for item in items]
            case _:
                self._refuse(node, "RECORD", f'write {name} = NamedTuple("{name}", [("field", int), ...])')
                return
        known = [field for field in fields if field is not None]
        if len({field for field, _ in known}) != len(items) or not 0 < len(items) <= MAX_RECORD_FIELDS:
            self._refuse(node, "RECORD", f"a record has 1 to {MAX_RECORD_FIELDS} fields, each once")
            return
        self.records[name] = RecordOf(name, tuple(known))

    def _field(self, node: ast.expr) -> tuple[str, Type] | None:
        match node:
            case ast.Tuple(elts=[ast.Constant(value=str() as name), annotation]):
                kind = self._type(annotation, node)
                if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name) or name in TAKEN_FIELD_NAMES:
                    self._refuse(node, "FIELD_NAME", f"{name} cannot be a field: lower case, and no method's name")
                elif kind is not None:
                    return name, kind
            case _:
                self._refuse(node, "RECORD", 'a field is ("name", type)')
        return None

    def _state(self, node: ast.AnnAssign, name: str) -> None:
        annotation = node.annotation
        assert isinstance(annotation, ast.Subscript)
        assert isinstance(annotation.value, ast.Name)
        holder = annotation.value.id
        if not self._needs(node, holder) or not self._define(node, name):
            return
        match node.value:
            case ast.Call(func=ast.Name(id=made), args=[ast.Constant(value=str() as stored), *rest], keywords=[]):
                pass
            case _:
                made, stored, rest = "", "", []
        if made != holder or len(rest) != (holder == "Value") or not _STORED_NAME.fullmatch(stored):
            self._refuse(
                node, "STATE", f'write {name}: {holder}[...] = {holder}("{name}"{", initial" if rest else ""})'
            )
        elif any(state.stored == stored for state in self.states.values()):
            self._refuse(node, "STATE", f'"{stored}" is the name of another Map or Value')
        elif holder == "Map":
            self._map(node, name, stored, annotation.slice)
        else:
            self._value(node, name, stored, annotation.slice, rest[0])

    def _map(self, node: ast.AnnAssign, name: str, stored: str, types: ast.expr) -> None:
        match types:
            case ast.Tuple(elts=[key_node, value_node]):
                key, value = self._type(key_node, node), self._type(value_node, node)
            case _:
                self._refuse(node, "TYPE", "a Map has two types: Map[str, int]")
                return
        if key is None or value is None:
            return
        if not _is_key(key):
            self._refuse(node, "TYPE", "keys of a Map are str, int, bytes, bool, or tuples and records of them")
        elif contains_any(value):
            self._refuse(node, "TYPE", "what is stored has a type; Any is none")
        else:
            self.states[name] = State(name, stored, key, value)

    def _value(self, node: ast.AnnAssign, name: str, stored: str, annotation: ast.expr, initial: ast.expr) -> None:
        kind = self._type(annotation, node)
        if kind is None:
            return
        try:
            value = fold(initial, self.constants)
            converter(kind, {})(value)
        except (NotConstant, Mismatch):
            self._refuse(initial, "STATE", "the initial value is a constant of the declared type")
            return
        if contains_any(kind):
            self._refuse(node, "TYPE", "what is stored has a type; Any is none")
        else:
            self.states[name] = State(name, stored, None, kind, value)

    def _constant(self, node: ast.stmt, name: str, value: ast.expr) -> None:
        if not self._define(node, name):
            return
        try:
            self.constants[name] = fold(value, self.constants)
        except NotConstant as bad:
            message = (
                "a constant is an int, str, bytes, bool, None, or a tuple of these, known without running anything"
            )
            self._refuse(bad.node, "CONSTANT", message)

    def _function(self, node: ast.FunctionDef) -> None:
        if not self._define(node, node.name):
            return
        kind = self._decoration(node)
        if len(self.functions) >= MAX_FUNCTIONS:
            self._refuse(node, "FUNCTIONS", f"at most {MAX_FUNCTIONS} functions")
        params = [(arg.arg, self._type(arg.annotation, arg)) for arg in node.args.args]
        returns = self._type(node.returns, node)
        known = [(name, param) for name, param in params if param is not None]
        if returns is None or len(known) != len(params):
            return
        if kind != "private" and any(map(contains_any, [returns, *(param for _, param in known)])):
            self._refuse(node, "TYPE", "parameters and results of @export and @view functions have types; Any is none")
        doc, parts = ast.get_docstring(node) or "", self.parts[node]
        bindings = tuple(part for part in parts if type(part) in BINDINGS)
        uses = tuple(part for part in parts if type(part) in USES)
        self.functions[node.name] = Function(node.name, kind, tuple(known), returns, doc, node, bindings, uses)

    def _decoration(self, node: ast.FunctionDef) -> FunctionKind:
        match node.decorator_list:
            case []:
                return "private"
            case [ast.Name(id="export")] if self._needs(node, "export"):
                return "export"
            case [ast.Name(id="view")] if self._needs(node, "view"):
                return "view"
            case _:
                self._refuse(node, "DECORATOR", "a function is @export, @view, or has no decorator")
                return "private"

    def _needs(self, node: ast.AST, name: str) -> bool:
        if name not in self.imported:
            self._refuse(node, "IMPORT", f"import {name} from contracts.host first")
        return name in self.imported


def _is_key(kind: Type) -> bool:
    match kind:
        case Scalar(name):
            return name not in ("None", "Any")
        case TupleOf(items):
            return all(map(_is_key, items))
        case RecordOf(_, fields):
            return all(_is_key(item) for _, item in fields)
        case _:
            return False
