"""The third door: function bodies, name by name. Every name is known, and used only for what it is."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable
from typing import Any

from contracts.runtime.model import CheckError, Contract, Function
from contracts.runtime.nodes import error
from contracts.runtime.tree import walk
from contracts.runtime.types import BadType, parse
from contracts.runtime.vocabulary import (
    BUILTINS,
    CONSUMERS,
    CONTEXT_FIELDS,
    HOST_FUNCTIONS,
    HOST_NAMES,
    ITERATORS,
    MAP_METHODS,
    METHODS,
    TYPE_NAMES,
    VALUE_METHODS,
)

MAX_EVENT_FIELDS = 32
MAX_LOCALS = 96
_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_EVENT = re.compile(r"[A-Z][A-Za-z0-9]{0,63}")

# builtin -> (fewest, most arguments), and the keywords that take a constant True or False
_BUILTIN_ARGUMENTS: dict[str, tuple[int, int]] = {
    "abs": (1, 1),
    "all": (1, 1),
    "any": (1, 1),
    "bool": (1, 1),
    "dict": (0, 1),
    "divmod": (2, 2),
    "enumerate": (1, 2),
    "int": (1, 1),
    "len": (1, 1),
    "list": (0, 1),
    "max": (1, 16),
    "min": (1, 16),
    "ord": (1, 1),
    "range": (1, 3),
    "reversed": (1, 1),
    "sorted": (1, 1),
    "str": (1, 1),
    "sum": (1, 1),
    "tuple": (0, 1),
    "zip": (1, 8),
}
_FLAGS = {("sorted", "reverse"), ("zip", "strict")}
_STATEMENT_ONLY = frozenset({"require", "emit", "fail"})


def check_body(contract: Contract, function: Function) -> list[CheckError]:
    body = _Body(contract, function)
    body.check()
    return body.errors


def writes_state(contract: Contract, function: Function) -> bool:
    """Whether the body itself writes, deletes or emits."""
    return any(_writes(contract, node) for node in function.uses)


def _writes(contract: Contract, node: ast.AST) -> bool:
    match node:
        case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
            return name in contract.states
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="set")):
            return name in contract.states
        case ast.Call(func=ast.Name(id="emit")):
            return True
        case _:
            return False


def local_names(function: Function) -> set[str]:
    """Parameters and what the statements assign; comprehension variables are not among them."""
    names = {name for name, _ in function.params}
    for part in function.bindings:
        match part:
            case ast.Assign(targets=targets):
                names |= {name for target in targets for name in _assigned(target)}
            case ast.AugAssign(target=target) | ast.AnnAssign(target=target) | ast.For(target=target):
                names |= set(_assigned(target))
            case _:
                pass
    return names


def _assigned(target: ast.expr) -> list[str]:
    if isinstance(target, ast.Name):
        return [target.id]
    return [part.id for part in walk(target) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)]


class _Body:
    """Checks one function; `scopes` holds its locals and the variables of the comprehensions around."""

    def __init__(self, contract: Contract, function: Function) -> None:
        self.contract = contract
        self.function = function
        self.errors: list[CheckError] = []
        self.scopes: list[set[str]] = [local_names(function)]
        self.in_iterable = 0  # how many comprehensions' iterables are around
        self.fields = {field for record in contract.records.values() for field, _ in record.fields}

    def check(self) -> None:
        node = self.function.node
        names = [arg.arg for arg in node.args.args]
        for arg in node.args.args:
            self.binding(arg, arg.arg)
        if len(set(names)) != len(names):
            self.refuse(node, "SHADOWING", "a parameter stands twice")
        if len(self.scopes[0]) > MAX_LOCALS:
            self.refuse(node, "LOCALS", f"at most {MAX_LOCALS} variables in a function: split it")
        self.statements(node.body, in_loop=False)

    def refuse(self, node: ast.AST, code: str, message: str) -> None:
        self.errors.append(error(node, code, message))

    # --- statements

    def statements(self, nodes: list[ast.stmt], in_loop: bool) -> None:
        for i, node in enumerate(nodes):
            is_doc = i == 0 and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            if not is_doc:
                self.statement(node, in_loop)

    def statement(self, node: ast.stmt, in_loop: bool) -> None:
        match node:
            case ast.Pass():
                pass
            case ast.Break() | ast.Continue():
                if not in_loop:
                    self.refuse(node, "SYNTAX", "break and continue stand in a loop")
            case ast.Expr(value=ast.Call(func=ast.Name(id=name)) as call) if name in _STATEMENT_ONLY:
                self.host_statement(name, call)
            case ast.Expr(value=ast.Call() as call):
                self.expression(call)
            case ast.Return(value=value):
                if value is not None:
                    self.expression(value)
            case ast.Assign(targets=[target], value=value):
                self.expression(value)
                self.target(target)
            case ast.AugAssign(target=target, value=value):
                self.expression(value)
                self.target(target)
            case ast.AnnAssign(target=ast.Name() as target, annotation=annotation, value=value) if value is not None:
                self.annotation(annotation)
                self.expression(value)
                self.target(target)
            case ast.Delete(targets=[ast.Subscript() as target]):
                self.target(target)
            case ast.If(test=test, body=body, orelse=orelse):
                self.expression(test)
                self.statements(body, in_loop)
                self.statements(orelse, in_loop)
            case ast.While(test=test, body=body):
                self.expression(test)
                self.statements(body, in_loop=True)
            case ast.For(target=target, iter=iterated, body=body):
                self.iterated(iterated)
                self.names_target(target)
                self.statements(body, in_loop=True)
            case _:
                self.refuse(node, "STATEMENT", "a statement assigns, calls, decides, loops or returns")

    def annotation(self, node: ast.expr) -> None:
        try:
            parse(node, self.contract.records)
        except BadType as bad:
            self.refuse(bad.node, "TYPE", str(bad))

    def target(self, node: ast.expr) -> None:
        match node:
            case ast.Subscript(value=value, slice=key):
                if isinstance(key, ast.Slice):
                    self.refuse(node, "SLICE_TARGET", "assign item by item")
                elif not self.is_map(value):
                    self.expression(value)
                self.expression(key)
            case _:
                self.names_target(node)

    def names_target(self, node: ast.expr) -> None:
        match node:
            case ast.Name(id=name):
                self.binding(node, name)
            case ast.Tuple(elts=items) if items:
                for item in items:
                    self.names_target(item)
            case _:
                self.refuse(node, "TARGET", "assign to a name, to names in a tuple, or to an item")

    def binding(self, node: ast.AST, name: str) -> None:
        contract = self.contract
        taken = name in contract.records or name in contract.states or name in contract.constants
        if taken or name in HOST_NAMES or name in BUILTINS or name in TYPE_NAMES:
            self.refuse(node, "SHADOWING", f"{name} means something else here: choose another name")

    def host_statement(self, name: str, node: ast.Call) -> None:
        if not self.imported(node, name):
            return
        if name == "emit":
            self.emit(node)
            return
        wanted = 2 if name == "require" else 1
        if len(node.args) != wanted or node.keywords:
            self.refuse(node, "ARGUMENTS", 'write require(condition, "CODE") or fail("CODE")')
            return
        self.constant_text(node.args[-1], _CODE, "CODE", "a code is a constant in UPPER_SNAKE")
        if name == "require":
            self.expression(node.args[0])

    def emit(self, node: ast.Call) -> None:
        if len(node.args) != 1 or len(node.keywords) > MAX_EVENT_FIELDS:
            self.refuse(node, "ARGUMENTS", f'write emit("Event", field=value), at most {MAX_EVENT_FIELDS} fields')
            return
        self.constant_text(node.args[0], _EVENT, "EVENT_NAME", "an event's name is a constant in CamelCase")
        self.keywords(node)

    def constant_text(self, node: ast.expr, pattern: re.Pattern[str], code: str, message: str) -> None:
        value = node.value if isinstance(node, ast.Constant) else None
        if isinstance(node, ast.Name):
            value = self.contract.constants.get(node.id)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            self.refuse(node, code, message)

    # --- expressions

    def expressions(self, nodes: Iterable[ast.expr]) -> None:
        for node in nodes:
            self.expression(node)

    def expression(self, node: ast.expr) -> None:
        check = _EXPRESSIONS.get(type(node))
        if check is None:
            self.refuse(node, "EXPRESSION", "this cannot stand here")
        else:
            check(self, node)

    def constant(self, node: ast.Constant) -> None:
        if node.value is ...:
            self.refuse(node, "CONSTANT", "... stands only in the type tuple[T, ...]")

    def logic(self, node: ast.BoolOp) -> None:
        self.expressions(node.values)

    def unary(self, node: ast.UnaryOp) -> None:
        self.expression(node.operand)

    def binary(self, node: ast.BinOp) -> None:
        self.expression(node.left)
        self.expression(node.right)

    def conditional(self, node: ast.IfExp) -> None:
        self.expressions([node.test, node.body, node.orelse])

    def display(self, node: ast.List | ast.Tuple) -> None:
        self.expressions(node.elts)

    def dict_display(self, node: ast.Dict) -> None:
        self.expressions(key for key in node.keys if key is not None)
        self.expressions(node.values)

    def is_map(self, node: ast.expr) -> bool:
        state = self.contract.states.get(node.id) if isinstance(node, ast.Name) else None
        return state is not None and state.key is not None

    def is_local(self, name: str) -> bool:
        return any([name in scope for scope in self.scopes])  # noqa: C419 - a list is faster for one or two scopes

    def name(self, node: ast.Name) -> None:
        contract, name = self.contract, node.id
        if self.is_local(name) or name in contract.constants:
            return
        if name in contract.states:
            self.refuse(node, "STATE_AS_VALUE", f"{name} is state: read {name}[key] or {name}.get(...)")
        elif name in contract.functions or name in contract.records:
            self.refuse(node, "FUNCTION_AS_VALUE", f"{name} can only be called")
        elif name in HOST_NAMES or name in BUILTINS or name in TYPE_NAMES:
            self.refuse(node, "HOST_AS_VALUE", f"{name} can only be called or asked")
        else:
            self.refuse(node, "UNKNOWN_NAME", f"{name} is defined nowhere")

    def compare(self, node: ast.Compare) -> None:
        self.expression(node.left)
        if self.in_iterable and len(node.ops) > 1:
            self.refuse(node, "CHAIN", "compare step by step inside of what a comprehension iterates")
        for op, right in zip(node.ops, node.comparators, strict=True):
            if isinstance(op, ast.Is | ast.IsNot):
                if not (isinstance(right, ast.Constant) and right.value is None):
                    self.refuse(node, "IS", "is compares with None only: write ==")
            elif isinstance(op, ast.In | ast.NotIn) and self.is_map(right):
                if len(node.ops) > 1:
                    self.refuse(node, "CHAIN", "ask a Map in a comparison of its own")
            else:
                self.expression(right)

    def subscript(self, node: ast.Subscript) -> None:
        value, key = node.value, node.slice
        if self.is_map(value):
            if isinstance(key, ast.Slice):
                self.refuse(key, "SLICE_STATE", "a Map is read key by key")
                return
        else:
            self.expression(value)
        if isinstance(key, ast.Slice):
            self.expressions(bound for bound in (key.lower, key.upper) if bound is not None)
        else:
            self.expression(key)

    def attribute(self, node: ast.Attribute) -> None:
        if isinstance(node.value, ast.Name) and node.value.id == "ctx":
            if self.imported(node, "ctx") and node.attr not in CONTEXT_FIELDS:
                self.refuse(node, "ATTRIBUTE", f"ctx has {', '.join(sorted(CONTEXT_FIELDS))}")
            return
        if node.attr not in self.fields:
            self.refuse(node, "ATTRIBUTE", f"no record here has a field {node.attr}")
        self.expression(node.value)

    def imported(self, node: ast.AST, name: str) -> bool:
        if name not in self.contract.imported:
            self.refuse(node, "IMPORT", f"import {name} from contracts.host first")
            return False
        return True

    def list_comprehension(self, node: ast.ListComp) -> None:
        self.comprehension(node.generators, [node.elt])

    def dict_comprehension(self, node: ast.DictComp) -> None:
        self.comprehension(node.generators, [node.key, node.value])

    def comprehension(self, generators: list[ast.comprehension], results: list[ast.expr]) -> None:
        self.scopes.append(set())
        for generator in generators:
            self.in_iterable += 1
            self.iterated(generator.iter)
            self.in_iterable -= 1
            self.names_target(generator.target)
            self.scopes[-1] |= {node.id for node in walk(generator.target) if isinstance(node, ast.Name)}
            self.expressions(generator.ifs)
        self.expressions(results)
        self.scopes.pop()

    def iterated(self, node: ast.expr) -> None:
        """Where something is iterated at once: only here do enumerate, zip and reversed stand."""
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in ITERATORS and not self.is_local(name):
                self.builtin(node, name)
            case _:
                self.expression(node)

    # --- calls

    def call(self, node: ast.Call) -> None:
        match node.func:
            case ast.Name(id=name):
                self.named_call(node, name)
            case ast.Attribute(value=ast.Name(id=name), attr=attr) if name in self.contract.states:
                is_map = self.contract.states[name].key is not None
                self.method(node, MAP_METHODS if is_map else VALUE_METHODS, attr)
            case ast.Attribute(value=value, attr=attr):
                self.expression(value)
                self.method(node, METHODS, attr)
            case _:
                self.refuse(node, "NOT_CALLABLE", "only functions, records and methods can be called")

    def named_call(self, node: ast.Call, name: str) -> None:
        contract = self.contract
        if self.is_local(name):
            self.refuse(node, "NOT_CALLABLE", f"{name} is a variable here")
        elif name in contract.functions:
            self.arity(node, [param for param, _ in contract.functions[name].params])
        elif name in contract.records:
            self.arity(node, [field for field, _ in contract.records[name].fields])
        elif name in _STATEMENT_ONLY:
            self.refuse(node, "STATEMENT_ONLY", f"{name} is a statement of its own")
        elif name in HOST_FUNCTIONS:
            if self.imported(node, name):
                self.host_call(node, name)
        elif name in ITERATORS:
            self.refuse(
                node,
                "ITERATOR",
                f"{name} stands where something iterates at once: for ... in {name}(...), list({name}(...))",
            )
        elif name in BUILTINS:
            self.builtin(node, name)
        else:
            self.refuse(node, "NOT_CALLABLE", f"there is no function {name}")

    def arity(self, node: ast.Call, names: list[str]) -> None:
        given = names[: len(node.args)] + [keyword.arg or "" for keyword in node.keywords]
        if len(node.args) > len(names) or sorted(given) != sorted(names):
            self.refuse(node, "ARGUMENTS", f"it takes {', '.join(names) or 'no arguments'}, each once")
        self.expressions(node.args)
        self.keywords(node)

    def keywords(self, node: ast.Call) -> None:
        names = [keyword.arg for keyword in node.keywords]
        if len(set(names)) != len(names):
            self.refuse(node, "ARGUMENTS", "an argument stands twice")
        self.expressions(keyword.value for keyword in node.keywords)

    def host_call(self, node: ast.Call, name: str) -> None:
        match name:
            case "call":
                fits = len(node.args) >= 2 and not node.keywords
            case "replace":
                fits = len(node.args) == 1 and all(keyword.arg in self.fields for keyword in node.keywords)
            case "ed25519_verify":
                fits = len(node.args) == 3 and not node.keywords
            case "column_above" | "column_value":
                fits = len(node.args) == 2 and not node.keywords
            case _:
                fits = len(node.args) == 1 and not node.keywords
        if not fits:
            self.refuse(node, "ARGUMENTS", f"{name} takes other arguments: see LANGUAGE.md")
        self.expressions(node.args)
        self.keywords(node)

    def builtin(self, node: ast.Call, name: str) -> None:
        fewest, most = _BUILTIN_ARGUMENTS[name]
        if not fewest <= len(node.args) <= most or not all(self.is_flag(name, keyword) for keyword in node.keywords):
            self.refuse(node, "ARGUMENTS", f"{name} takes {fewest} to {most} arguments and no such keyword")
        for arg in node.args:
            if name in CONSUMERS and len(node.args) == 1:
                self.iterated(arg)
            else:
                self.expression(arg)

    def is_flag(self, name: str, keyword: ast.keyword) -> bool:
        is_bool = isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, bool)
        return is_bool and (name, keyword.arg) in _FLAGS

    def method(self, node: ast.Call, methods: dict[str, tuple[int, int]], attr: str) -> None:
        if attr not in methods:
            self.refuse(node, "ATTRIBUTE", f"there is no method {attr} here; there are {', '.join(sorted(methods))}")
        elif not methods[attr][0] <= len(node.args) <= methods[attr][1] or node.keywords:
            self.refuse(node, "ARGUMENTS", f"{attr} takes {methods[attr][0]} to {methods[attr][1]} arguments")
        self.expressions(node.args)


_EXPRESSIONS: dict[type, Callable[[_Body, Any], None]] = {
    ast.Constant: _Body.constant,
    ast.Name: _Body.name,
    ast.BoolOp: _Body.logic,
    ast.UnaryOp: _Body.unary,
    ast.BinOp: _Body.binary,
    ast.IfExp: _Body.conditional,
    ast.Compare: _Body.compare,
    ast.List: _Body.display,
    ast.Tuple: _Body.display,
    ast.Dict: _Body.dict_display,
    ast.Subscript: _Body.subscript,
    ast.Attribute: _Body.attribute,
    ast.Call: _Body.call,
    ast.ListComp: _Body.list_comprehension,
    ast.DictComp: _Body.dict_comprehension,
}
