"""Lowers expressions: the same Python, with every costly or growing operation turned into one that is charged and bounded.

Each method returns the lowered node and adds the node's static cost to `cost`. A *term* may be an integer a few bits
beyond 256 (a sum inside of a sum); a *value* is bounded, because it goes where it could stay: a variable, a
collection, a call. Comparisons, indices and conditions take terms.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from contracts.runtime import gas
from contracts.runtime.bits import Bits
from contracts.runtime.kinds import Kinds, enforced_kind
from contracts.runtime.model import Contract, Function
from contracts.runtime.tree import placed
from contracts.runtime.types import Type
from contracts.runtime.vocabulary import ITERATORS

COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "_eq",
    ast.NotEq: "_ne",
    ast.Lt: "_lt",
    ast.LtE: "_le",
    ast.Gt: "_gt",
    ast.GtE: "_ge",
    ast.In: "_in",
    ast.NotIn: "_not_in",
}
_CALL_COSTS = {"sha256": gas.HASH, "address_of": gas.HASH, "ed25519_verify": gas.SIGNATURE, "call": gas.CROSS_CALL}
_CALL_COSTS |= dict.fromkeys(["column_sum", "column_values", "pack_column"], 2 * gas.COLUMN)
_CALL_COSTS |= {"column_value": gas.COLUMN, "column_above": 4 * gas.COLUMN}
_DIRECT = frozenset({"len", "ord", "range", "bool"})  # O(1), and nothing to bound


_LOAD, _STORE = ast.Load(), ast.Store()


@lru_cache(maxsize=2_048)
def load(name: str) -> ast.Name:
    """Nodes are only read once they are made, so one may stand in many places."""
    return placed(ast.Name(id=name, ctx=_LOAD))


def invoke(name: str, *args: ast.expr) -> ast.Call:
    return ast.Call(func=load(name), args=list(args), keywords=[])


@lru_cache(maxsize=2_048)
def number(value: int) -> ast.Constant:
    return placed(ast.Constant(value=value))


def excess(term: ast.expr) -> ast.BinOp:
    """True for whatever is outside of 0 <= x < 2**255; the slow check then looks at it properly."""
    return ast.BinOp(left=term, op=ast.RShift(), right=number(255))


class Expressions:
    """Lowers the expressions of one function."""

    def __init__(self, contract: Contract, function: Function) -> None:
        self.contract = contract
        self.function = function
        self.kinds = Kinds(contract, function)
        self.bits = Bits(contract, function)
        self.cost = 0
        self.temporaries = 0
        self.inside_iterable = 0  # Python allows no assignment expression there: calls do the work

    def temporary(self) -> str:
        self.temporaries += 1
        return f"_t{self.temporaries}"

    def is_int(self, node: ast.expr) -> bool:
        return self.kinds.of(node) == "int"

    # --- values and terms

    def value(self, node: ast.expr) -> ast.expr:
        """A bounded value."""
        term = self.term(node)
        return self.bounded(term) if self.is_loose(node) else term

    def is_loose(self, node: ast.expr) -> bool:
        """Whether the term may be an integer beyond 256 bits."""
        match node:
            case ast.Name() | ast.Constant():
                return False
            case ast.BinOp(op=ast.Add()):
                return self.is_int(node) and not self.bits.fits(node)
            case ast.BinOp(op=ast.Sub() | ast.FloorDiv()) | ast.UnaryOp(op=ast.USub()):
                return not self.bits.fits(node)
            case ast.Call(func=ast.Name(id="abs")):
                return not self.bits.fits(node)
            case _:
                return False

    def bounded(self, term: ast.expr) -> ast.expr:
        self.cost += gas.CHECKED
        if self.inside_iterable:
            return invoke("_bound", term)
        name = "_t"
        held = ast.NamedExpr(target=ast.Name(id=name, ctx=_STORE), value=term)
        return ast.IfExp(test=excess(held), body=invoke("_bound", load(name)), orelse=load(name))

    def typed(self, node: ast.expr, kind: Type) -> ast.expr:
        """A value for a place whose annotation is enforced."""
        wanted = enforced_kind(kind)
        value = self.value(node)
        return value if wanted is None or self.kinds.of(node) == wanted else invoke(f"_{wanted}", value)

    def term(self, node: ast.expr) -> ast.expr:
        return _TERMS[type(node)](self, node)

    def leaf(self, node: ast.Constant | ast.Name) -> ast.expr:
        self.cost += gas.NAME
        return node

    def unary(self, node: ast.UnaryOp) -> ast.expr:
        self.cost += gas.ARITHMETIC
        return ast.UnaryOp(op=node.op, operand=self.term(node.operand))

    def logic(self, node: ast.BoolOp) -> ast.expr:
        self.cost += gas.ARITHMETIC * len(node.values)
        return ast.BoolOp(op=node.op, values=[self.value(value) for value in node.values])

    def conditional(self, node: ast.IfExp) -> ast.expr:
        self.cost += gas.ARITHMETIC
        return ast.IfExp(test=self.term(node.test), body=self.value(node.body), orelse=self.value(node.orelse))

    def list_display(self, node: ast.List) -> ast.expr:
        return ast.List(elts=self.elements(node.elts), ctx=_LOAD)

    def tuple_display(self, node: ast.Tuple) -> ast.expr:
        return ast.Tuple(elts=self.elements(node.elts), ctx=_LOAD)

    def dict_display(self, node: ast.Dict) -> ast.expr:
        self.cost += gas.ELEMENT * len(node.values)
        pairs = [(self.key(key), self.value(item)) for key, item in zip(node.keys, node.values, strict=True) if key]
        return ast.Dict(keys=[key for key, _ in pairs], values=[item for _, item in pairs])

    def attribute(self, node: ast.Attribute) -> ast.expr:
        self.cost += gas.ITEM
        is_context = isinstance(node.value, ast.Name) and node.value.id == "ctx"
        holder = load("_ctx") if is_context else self.term(node.value)
        return ast.Attribute(value=holder, attr=node.attr, ctx=_LOAD)

    def elements(self, items: Sequence[ast.expr]) -> list[ast.expr]:
        self.cost += gas.ELEMENT * (1 + len(items))
        return [self.value(item) for item in items]

    def key(self, node: ast.expr) -> ast.expr:
        """A key for a dict: text as it is, integers and the rest looked at first."""
        value = self.value(node)
        if self.kinds.of(node) == "str":
            return value
        self.cost += gas.GENERAL
        return invoke("_key", value)

    # --- operators

    def binary(self, node: ast.BinOp) -> ast.expr:
        left, op, right = node.left, node.op, node.right
        helper = self.operator_helper(left, op, right)
        if helper is not None:
            self.cost += gas.GENERAL + (gas.POWER if helper == "_pow" else 0)
            return invoke(helper, self.value(left), self.value(right))
        self.cost += gas.ARITHMETIC + (gas.DIVIDE if isinstance(op, ast.FloorDiv | ast.Mod) else 0)
        lowered = ast.BinOp(left=self.term(left), op=op, right=self.term(right))
        grows = isinstance(op, ast.Mult) and not self.bits.fits(node)
        return self.bounded(lowered) if grows else lowered

    def operator_helper(self, left: ast.expr, op: ast.operator, right: ast.expr) -> str | None:
        """The general operator where the operands may be more than integers, or the result far larger than they are."""
        both, either = self.is_int(left) and self.is_int(right), self.is_int(left) or self.is_int(right)
        match op:
            case ast.Add():
                return None if either else "_add"
            case ast.Mult():
                return None if both else "_mul"
            case ast.Mod():
                return None if self.is_int(left) else "_mod"
            case ast.BitOr():
                return None if either else "_or"
            case ast.Pow():
                return "_pow"
            case ast.LShift():
                return "_shl"
            case _:
                return None  # only integers have -, //, >>, & and ^ in the language

    def compare(self, node: ast.Compare) -> ast.expr:
        self.cost += gas.ARITHMETIC * len(node.ops)
        operands = [node.left, *node.comparators]
        pairs = list(zip(node.ops, operands, operands[1:], strict=False))
        if len(pairs) == 1:
            return self.comparison(node.ops[0], node.left, node.comparators[0], None)
        if all(self.is_cheap(op, left, right) for op, left, right in pairs):
            return ast.Compare(
                left=self.term(node.left), ops=node.ops, comparators=[self.term(x) for x in node.comparators]
            )
        return self.chain(node)

    def chain(self, node: ast.Compare) -> ast.expr:
        """a < b < c with b worked out once: (a < (t := b)) and (t < c)."""
        parts: list[ast.expr] = []
        left, left_value = node.left, self.value(node.left)
        for i, (op, right) in enumerate(zip(node.ops, node.comparators, strict=True)):
            right_value = self.value(right)
            if i + 1 < len(node.ops):
                name = self.temporary()
                held = ast.NamedExpr(target=ast.Name(id=name, ctx=_STORE), value=right_value)
                parts.append(self.comparison_of(op, left, right, left_value, held))
                left, left_value = right, load(name)
            else:
                parts.append(self.comparison_of(op, left, right, left_value, right_value))
        return ast.BoolOp(op=ast.And(), values=parts)

    def is_cheap(self, op: ast.cmpop, left: ast.expr, right: ast.expr) -> bool:
        """Compares in bounded time as it is: an integer, text (which is bounded) or None stands on one side."""
        if isinstance(op, ast.In | ast.NotIn):
            return self.is_constant_tuple(right)
        scalars = (self.kinds.of(left), self.kinds.of(right))
        has_none = any(isinstance(side, ast.Constant) and side.value is None for side in (left, right))
        return has_none or "int" in scalars or "str" in scalars or isinstance(op, ast.Is | ast.IsNot)

    def is_constant_tuple(self, node: ast.expr) -> bool:
        """A short tuple of constants, or a constant text (then the left side must be text too)."""
        match node:
            case ast.Name(id=name) if name not in self.kinds.variables:
                value = self.contract.constants.get(name)
                return isinstance(value, tuple) and len(value) <= 16 and not any(isinstance(x, tuple) for x in value)
            case ast.Tuple(elts=items):
                return len(items) <= 16 and all(isinstance(item, ast.Constant) for item in items)
            case _:
                return False

    def comparison(self, op: ast.cmpop, left: ast.expr, right: ast.expr, _: None) -> ast.expr:
        if isinstance(op, ast.In | ast.NotIn) and isinstance(right, ast.Name) and self.is_state(right.id):
            self.cost += gas.STATE_READ
            found = invoke(f"_{right.id}_has", self.value(left))
            return ast.UnaryOp(op=ast.Not(), operand=found) if isinstance(op, ast.NotIn) else found
        if self.is_cheap(op, left, right):
            self.cost += gas.GENERAL if self.kinds.of(left) == self.kinds.of(right) == "str" else 0
            return ast.Compare(left=self.term(left), ops=[op], comparators=[self.term(right)])
        return self.comparison_of(op, left, right, self.value(left), self.value(right))

    def comparison_of(
        self, op: ast.cmpop, left: ast.expr, right: ast.expr, left_value: ast.expr, right_value: ast.expr
    ) -> ast.expr:
        if self.is_cheap(op, left, right):
            return ast.Compare(left=left_value, ops=[op], comparators=[right_value])
        self.cost += gas.GENERAL
        return invoke(COMPARISONS[type(op)], left_value, right_value)

    # --- items and state

    def is_state(self, name: str) -> bool:
        return name in self.contract.states and name not in self.kinds.variables

    def item(self, node: ast.Subscript) -> ast.expr:
        value, key = node.value, node.slice
        if isinstance(value, ast.Name) and self.is_state(value.id):
            self.cost += gas.STATE_READ
            return invoke(f"_{value.id}_at", self.value(key))
        if isinstance(key, ast.Slice):
            self.cost += gas.METHOD + 3 * gas.GENERAL
            bounds = [
                ast.Constant(value=None) if bound is None else self.value(bound) for bound in (key.lower, key.upper)
            ]
            return invoke("_slice", self.value(value), *bounds)
        if self.kinds.of(key) in ("int", "str"):
            self.cost += gas.ITEM
            return ast.Subscript(value=self.term(value), slice=self.term(key), ctx=_LOAD)
        self.cost += gas.GENERAL
        return invoke("_item", self.value(value), self.value(key))

    # --- comprehensions

    def list_comprehension(self, node: ast.ListComp) -> ast.expr:
        lowered, inner = self.generators(node.generators, [node.elt])
        return ast.ListComp(elt=inner[0], generators=lowered)

    def dict_comprehension(self, node: ast.DictComp) -> ast.expr:
        lowered, inner = self.generators(node.generators, [node.key, node.value])
        checked_key = inner[0] if self.kinds.of(node.key) == "str" else invoke("_key", inner[0])
        return ast.DictComp(key=checked_key, value=inner[1], generators=lowered)

    def generators(
        self, generators: list[ast.comprehension], results: list[ast.expr]
    ) -> tuple[list[ast.comprehension], list[ast.expr]]:
        """Each turn of each generator pays for its conditions and what comes after it, before it runs."""
        outside = self.cost
        iterables: list[tuple[ast.expr, int]] = []
        conditions: list[tuple[list[ast.expr], int]] = []
        for generator in generators:
            self.cost = 0
            self.inside_iterable += 1
            iterables.append((self.iterable(generator.iter), self.cost))
            self.inside_iterable -= 1
            self.cost = 0
            conditions.append(([self.term(test) for test in generator.ifs], self.cost))
        self.cost = gas.GENERAL if len(results) == 2 else 0
        values = [self.value(result) for result in results]
        after = [cost for _, cost in iterables[1:]] + [self.cost + gas.ELEMENT]
        self.cost = outside + iterables[0][1] + gas.ELEMENT
        lowered = [
            ast.comprehension(
                target=generator.target,
                iter=iterable,
                ifs=[self.tick(gas.ITERATION + paid + next_cost), *tests],
                is_async=0,
            )
            for generator, (iterable, _), (tests, paid), next_cost in zip(
                generators, iterables, conditions, after, strict=True
            )
        ]
        return lowered, values

    def tick(self, cost: int) -> ast.expr:
        """True, after paying."""
        if self.inside_iterable:
            return invoke("_tick", number(cost))
        left = ast.BinOp(left=load("_gas"), op=ast.Sub(), right=number(cost))
        pay = ast.NamedExpr(target=ast.Name(id="_gas", ctx=_STORE), value=left)
        return ast.BoolOp(
            op=ast.Or(), values=[ast.Compare(left=pay, ops=[ast.GtE()], comparators=[number(0)]), invoke("_out")]
        )

    def iterable(self, node: ast.expr) -> ast.expr:
        """What a loop walks over: dicts as a list of their keys, so that changing them meanwhile is no question."""
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in ITERATORS:
                self.cost += gas.METHOD
                args = [self.iterable(arg) if self.is_iterator(arg) else self.value(arg) for arg in node.args]
                return invoke("_zip", self.flag(node), *args) if name == "zip" else invoke(f"_{name}", *args)
            case ast.Call(func=ast.Name(id="range")):
                return self.value(node)
            case _ if self.kinds.of(node) in ("list", "tuple", "str", "bytes", "range"):
                return self.value(node)
            case _:
                self.cost += gas.GENERAL
                return invoke("_iter", self.value(node))

    def flag(self, node: ast.expr) -> ast.expr:
        """The call's one keyword (zip's strict, sorted's reverse), a constant."""
        keywords = node.keywords if isinstance(node, ast.Call) else []
        return keywords[0].value if keywords else ast.Constant(value=False)

    # --- calls

    def call(self, node: ast.Call) -> ast.expr:
        match node.func:
            case ast.Name(id=name):
                return self.named_call(node, name)
            case ast.Attribute(value=ast.Name(id=name), attr=attr) if self.is_state(name):
                return self.state_call(node, name, attr)
            case ast.Attribute(value=value, attr="append"):
                self.cost += gas.METHOD
                method = ast.Attribute(value=self.term(value), attr="append", ctx=_LOAD)
                return ast.Call(func=method, args=[self.value(node.args[0])], keywords=[])
            case ast.Attribute(value=value, attr=attr):
                self.cost += gas.METHOD + (gas.JOIN if attr == "join" else 0)
                return invoke(f"_m_{attr}", self.value(value), *[self.value(arg) for arg in node.args])
            case _:
                raise AssertionError("the checker lets only names and methods be called")

    def state_call(self, node: ast.Call, name: str, attr: str) -> ast.expr:
        self.cost += gas.STATE_WRITE if attr == "set" else gas.STATE_READ
        return invoke(f"_{name}_{attr}", *[self.value(arg) for arg in node.args])

    def named_call(self, node: ast.Call, name: str) -> ast.expr:
        contract = self.contract
        if name in contract.functions:
            return self.typed_call(node, name, contract.functions[name].params)
        if name in contract.records:
            self.cost += gas.RECORD
            return self.typed_call(node, name, contract.records[name].fields)
        if name == "replace":
            return self.replacement(node)
        if name in _DIRECT or name == "abs":
            self.cost += gas.METHOD
            return invoke(name, *[self.term(arg) for arg in node.args])
        self.cost += _CALL_COSTS.get(name, gas.METHOD)
        args = [self.iterable(arg) if self.is_iterator(arg) else self.value(arg) for arg in node.args]
        if name == "sorted":
            args.append(self.flag(node))
        return invoke(f"_to_{name}" if name in ("int", "str") else f"_{name}", *args)

    def is_iterator(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ITERATORS

    def typed_call(self, node: ast.Call, name: str, params: Sequence[tuple[str, Type]]) -> ast.expr:
        types = dict(params)
        args = [self.typed(arg, kind) for arg, (_, kind) in zip(node.args, params, strict=False)]
        keywords = [
            ast.keyword(arg=keyword.arg, value=self.typed(keyword.value, types[keyword.arg or ""]))
            for keyword in node.keywords
        ]
        self.cost += gas.ELEMENT * len(params)
        return ast.Call(func=load(name), args=args, keywords=keywords)

    def replacement(self, node: ast.Call) -> ast.expr:
        self.cost += gas.REPLACE + gas.REPLACED * len(node.keywords)
        record = self.value(node.args[0])
        values: list[ast.expr] = []
        for keyword in node.keywords:
            wanted = self.kinds.field(keyword.arg or "")
            value = self.value(keyword.value)
            values.append(
                value if wanted is None or self.kinds.of(keyword.value) == wanted else invoke(f"_{wanted}", value)
            )
        names: list[ast.expr | None] = [ast.Constant(value=keyword.arg) for keyword in node.keywords]
        return invoke("_replace", record, ast.Dict(keys=names, values=values))


_TERMS: dict[type, Callable[[Expressions, Any], ast.expr]] = {  # whatever else there is, the checker refused
    ast.Constant: Expressions.leaf,
    ast.Name: Expressions.leaf,
    ast.BinOp: Expressions.binary,
    ast.UnaryOp: Expressions.unary,
    ast.BoolOp: Expressions.logic,
    ast.IfExp: Expressions.conditional,
    ast.Compare: Expressions.compare,
    ast.List: Expressions.list_display,
    ast.Tuple: Expressions.tuple_display,
    ast.Dict: Expressions.dict_display,
    ast.Attribute: Expressions.attribute,
    ast.Subscript: Expressions.item,
    ast.ListComp: Expressions.list_comprehension,
    ast.DictComp: Expressions.dict_comprehension,
    ast.Call: Expressions.call,
}
