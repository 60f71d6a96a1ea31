"""Lowers functions: statements, and the charge at the head of every basic block.

A block is a run of statements that all run once the first does; its static cost is charged before its first statement.
A new block begins in every branch, in every turn of a loop, and after every statement that may leave early. A `for` over a
`range` that is never left early pays for all of its turns at once, before the first.
"""

from __future__ import annotations

import ast
from functools import lru_cache

from contracts.runtime import gas
from contracts.runtime.lower_expr import Expressions, excess, invoke, load, number
from contracts.runtime.model import Contract, Function
from contracts.runtime.tree import placed, walk
from contracts.runtime.types import Scalar, parse


def lower_function(contract: Contract, function: Function) -> ast.FunctionDef:
    """The function as the machine runs it: no annotations, no decorators, charged and bounded."""
    names = [ast.arg(arg=name) for name, _ in function.params]
    arguments = ast.arguments(posonlyargs=[], args=names, kwonlyargs=[], kw_defaults=[], defaults=[])
    body = Statements(contract, function).body()
    return function_node(function.name, arguments, body)


def function_node(name: str, arguments: ast.arguments, body: list[ast.stmt]) -> ast.FunctionDef:
    node = ast.FunctionDef(name=name, args=arguments, body=body, decorator_list=[])
    if "type_params" in node._fields:  # Python 3.12 and later
        node.type_params = []  # type: ignore[attr-defined]
    return node


@lru_cache(maxsize=2_048)
def charge(cost: int) -> tuple[ast.stmt, ast.stmt]:
    """_gas -= cost; if _gas < 0: _out()"""
    pay = ast.AugAssign(target=ast.Name(id="_gas", ctx=ast.Store()), op=ast.Sub(), value=number(cost))
    return placed(pay), _STOP_WHEN_OUT


_STOP_WHEN_OUT = placed(
    ast.If(
        test=ast.Compare(left=load("_gas"), ops=[ast.Lt()], comparators=[number(0)]),
        body=[ast.Expr(value=invoke("_out"))],
        orelse=[],
    )
)
_JUMPS = frozenset({ast.Return, ast.Break, ast.Continue})
_LOOP_ENDS = frozenset({ast.Return, ast.Break})


def _leaves_early(node: ast.stmt) -> bool:
    """Whether control may not reach the statement after this one."""
    return _holds(node, _JUMPS)


def _leaves_loop(body: list[ast.stmt]) -> bool:
    """Whether a loop with this body may end before its iterable does. (A break of an inner loop counts too.)"""
    return any(_holds(node, _LOOP_ENDS) for node in body)


def _holds(node: ast.stmt, kinds: frozenset[type[ast.stmt]]) -> bool:
    """Whether the statement is one of these kinds, or has one inside."""
    if isinstance(node, ast.If | ast.For | ast.While):
        for part in (*node.body, *node.orelse):
            if _holds(part, kinds):
                return True
    return type(node) in kinds


class Statements(Expressions):
    """Lowers the statements of one function."""

    def body(self) -> list[ast.stmt]:
        nodes = self.function.node.body
        if isinstance(nodes[0], ast.Expr) and isinstance(nodes[0].value, ast.Constant):
            nodes = nodes[1:]
        statements, first = self.block(nodes, gas.CALL)
        return [ast.Nonlocal(names=["_gas"]), *charge(first), *statements]

    def block(self, nodes: list[ast.stmt], extra: int) -> tuple[list[ast.stmt], int]:
        """The lowered statements, and the cost of the first basic block, which the caller charges."""
        outside, self.cost = self.cost, extra
        first: int | None = None
        done: list[ast.stmt] = []
        segment: list[ast.stmt] = []
        for node in nodes:
            segment.extend(self.statement(node))
            if _leaves_early(node) and node is not nodes[-1]:
                done, first, segment = self.close(done, first, segment)
        done, first, _ = self.close(done, first, segment)
        self.cost = outside
        return done or [ast.Pass()], first

    def close(
        self, done: list[ast.stmt], first: int | None, segment: list[ast.stmt]
    ) -> tuple[list[ast.stmt], int, list[ast.stmt]]:
        """Ends a basic block: its charge goes before its statements, or to the caller for the first one."""
        cost, self.cost = self.cost, 0
        if first is None:
            return [*done, *segment], cost, []
        return [*done, *(charge(cost) if cost else []), *segment], first, []

    def statement(self, node: ast.stmt) -> list[ast.stmt]:
        match node:
            case ast.Expr(value=ast.Call(func=ast.Name(id="require"), args=[test, code])):
                return self.require(test, code)
            case ast.Expr(value=ast.Call(func=ast.Name(id="fail"), args=[code])):
                return [ast.Expr(value=invoke("_fail", code))]
            case ast.Expr(value=ast.Call(func=ast.Name(id="emit")) as call):
                return self.emit(call)
            case ast.Expr(value=value):
                return [ast.Expr(value=self.value(value))]
            case ast.Return(value=value):
                return [ast.Return(value=self.result(value))]
            case ast.Assign(targets=[target], value=value):
                return self.assign(target, value)
            case ast.AnnAssign(target=target, annotation=annotation, value=value) if value is not None:
                kind = parse(annotation, self.contract.records)
                if kind in (Scalar("int"), Scalar("str")) and self.kinds.of(value) != kind.name:
                    self.cost += gas.ASSIGN
                    return [ast.Assign(targets=[target], value=self.typed(value, kind))]
                return self.assign(target, value)
            case ast.AugAssign(target=target, op=op, value=value):
                return self.augmented(target, op, value)
            case ast.Delete(targets=[ast.Subscript(value=value, slice=key)]):
                return self.delete(value, key)
            case ast.If(test=test, body=body, orelse=orelse):
                return self.choice(test, body, orelse)
            case ast.While(test=test, body=body):
                return self.while_loop(test, body)
            case ast.For(target=target, iter=iterated, body=body):
                return self.for_loop(target, iterated, body)
            case _:
                return [node]  # pass, break, continue

    # --- leaving

    def require(self, test: ast.expr, code: ast.expr) -> list[ast.stmt]:
        self.cost += gas.ARITHMETIC
        refused = ast.UnaryOp(op=ast.Not(), operand=self.term(test))
        return [ast.If(test=refused, body=[ast.Expr(value=invoke("_fail", code))], orelse=[])]

    def result(self, value: ast.expr | None) -> ast.expr | None:
        return None if value is None else self.typed(value, self.function.returns)

    def emit(self, call: ast.Call) -> list[ast.stmt]:
        """Fields are worked out in the order of the source and handed over sorted, as they are encoded."""
        self.cost += gas.EVENT + gas.ELEMENT * len(call.keywords)
        before: list[ast.stmt] = []
        fields: dict[str, ast.expr] = {}
        for keyword in call.keywords:
            value = self.value(keyword.value)
            if not isinstance(keyword.value, ast.Name | ast.Constant):
                name = self.temporary()
                before.append(ast.Assign(targets=[ast.Name(id=name, ctx=ast.Store())], value=value))
                value = load(name)
            fields[keyword.arg or ""] = value
        names: list[ast.expr | None] = [ast.Constant(value=name) for name in sorted(fields)]
        values = [fields[name] for name in sorted(fields)]
        return [*before, ast.Expr(value=invoke("_emit", call.args[0], ast.Dict(keys=names, values=values)))]

    # --- assigning

    def assign(self, target: ast.expr, value: ast.expr) -> list[ast.stmt]:
        self.cost += gas.ASSIGN
        match target:
            case ast.Name(id=name):
                return self.assign_name(name, value)
            case ast.Subscript(value=holder, slice=key):
                return [ast.Expr(value=self.store(holder, key, self.value(value)))]
            case _:
                self.cost += gas.ELEMENT * sum(isinstance(part, ast.Name) for part in walk(target))
                return [ast.Assign(targets=[target], value=self.value(value))]

    def assign_name(self, name: str, value: ast.expr) -> list[ast.stmt]:
        store = ast.Name(id=name, ctx=ast.Store())
        if self.is_loose(value):
            self.cost += gas.CHECKED
            return [ast.Assign(targets=[store], value=self.term(value)), self.check(name)]
        return [ast.Assign(targets=[store], value=self.value(value))]

    def check(self, name: str) -> ast.stmt:
        return ast.If(test=excess(load(name)), body=[ast.Expr(value=invoke("_bound", load(name)))], orelse=[])

    def store(self, holder: ast.expr, key: ast.expr, value: ast.expr) -> ast.expr:
        """The value is worked out first, then the holder, then the key, as Python does."""
        if isinstance(holder, ast.Name) and self.is_state(holder.id):
            self.cost += gas.STATE_WRITE
            return invoke(f"_{holder.id}_set", value, self.value(key))
        self.cost += gas.GENERAL
        return invoke("_store", value, self.value(holder), self.value(key))

    def augmented(self, target: ast.expr, op: ast.operator, value: ast.expr) -> list[ast.stmt]:
        self.cost += gas.ASSIGN
        if isinstance(target, ast.Name):
            return self.augmented_name(target.id, op, value)
        assert isinstance(target, ast.Subscript)
        before: list[ast.stmt] = []
        holder = target.value
        if not (isinstance(holder, ast.Name) and self.is_state(holder.id)):
            holder = self.hold(before, holder)
        key = self.hold(before, target.slice)
        read = ast.Subscript(value=holder, slice=key, ctx=ast.Load())
        if isinstance(op, ast.Add) and self.operator_helper(read, op, value) is not None:
            self.cost += gas.GENERAL
            changed: ast.expr = invoke("_grow", self.value(read), self.value(value))
        else:
            changed = self.value(ast.BinOp(left=read, op=op, right=value))
        return [*before, ast.Expr(value=self.store(holder, key, changed))]

    def hold(self, before: list[ast.stmt], node: ast.expr) -> ast.Name:
        """Works an expression out once, into a variable of ours."""
        name = self.temporary()
        self.kinds.variables[name] = self.kinds.of(node)
        before.append(ast.Assign(targets=[ast.Name(id=name, ctx=ast.Store())], value=self.value(node)))
        return load(name)

    def augmented_name(self, name: str, op: ast.operator, value: ast.expr) -> list[ast.stmt]:
        left = load(name)
        if isinstance(op, ast.Add) and self.operator_helper(left, op, value) is not None:
            self.cost += gas.GENERAL  # a list grows in place, as in Python
            grown = invoke("_grow", left, self.value(value))
            return [ast.Assign(targets=[ast.Name(id=name, ctx=ast.Store())], value=grown)]
        whole = ast.BinOp(left=left, op=op, right=value)
        if isinstance(op, ast.Mult) and self.operator_helper(left, op, value) is not None:
            self.cost += gas.GENERAL
            product = invoke(
                "_int", invoke("_mul", left, self.value(value))
            )  # no `*=` on lists: it would change others' too
            return [ast.Assign(targets=[ast.Name(id=name, ctx=ast.Store())], value=product)]
        return self.assign_name(name, whole)

    def delete(self, holder: ast.expr, key: ast.expr) -> list[ast.stmt]:
        if isinstance(holder, ast.Name) and self.is_state(holder.id):
            self.cost += gas.STATE_WRITE
            return [ast.Expr(value=invoke(f"_{holder.id}_del", self.value(key)))]
        self.cost += gas.GENERAL
        return [ast.Expr(value=invoke("_delete", self.value(holder), self.value(key)))]

    # --- deciding and looping

    def choice(self, test: ast.expr, body: list[ast.stmt], orelse: list[ast.stmt]) -> list[ast.stmt]:
        self.cost += gas.ARITHMETIC
        condition = self.term(test)
        then, then_cost = self.block(body, 0)
        other, other_cost = self.block(orelse, 0) if orelse else ([], 0)
        return [
            ast.If(
                test=condition,
                body=[*(charge(then_cost) if then_cost else []), *then],
                orelse=[*(charge(other_cost) if other_cost else []), *other],
            )
        ]

    def while_loop(self, test: ast.expr, body: list[ast.stmt]) -> list[ast.stmt]:
        before = self.cost
        condition = self.term(test)
        statements, first = self.block(body, gas.ITERATION + self.cost - before)
        return [ast.While(test=condition, body=[*charge(first), *statements], orelse=[])]

    def for_loop(self, target: ast.expr, iterated: ast.expr, body: list[ast.stmt]) -> list[ast.stmt]:
        self.cost += gas.METHOD
        iterable = self.iterable(iterated)
        names = sum(isinstance(part, ast.Name) for part in walk(target))
        statements, first = self.block(body, gas.ITERATION + gas.ELEMENT * names)
        if self.kinds.of(iterated) == "range" and not _leaves_loop(body):
            return [ast.For(target=target, iter=invoke("_span", iterable, number(first)), body=statements, orelse=[])]
        return [ast.For(target=target, iter=iterable, body=[*charge(first), *statements], orelse=[])]
