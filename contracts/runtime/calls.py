"""Who calls whom inside a contract. Functions are no values in the language, so this graph is exact."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping

from contracts.runtime.model import Contract

Graph = Mapping[str, frozenset[str]]


def call_graph(contract: Contract) -> Graph:
    return {
        name: frozenset(
            node.func.id
            for node in function.uses
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in contract.functions
        )
        for name, function in contract.functions.items()
    }


def _leaves_first(graph: Graph) -> tuple[list[str], set[str]]:
    """Functions in an order in which callees come before callers, and those that no order can place."""
    order: list[str] = []
    left = set(graph)
    while True:
        ready = sorted(name for name in left if not graph[name] & left)
        if not ready:
            return order, left
        order.extend(ready)
        left.difference_update(ready)


def find_cycle(graph: Graph) -> str | None:
    """A function that can reach itself, or None."""
    _, left = _leaves_first(graph)
    return next((name for name in sorted(left) if name in reachable(graph, graph[name])), None)


def deepest_call(graph: Graph) -> int:
    """Frames on the longest chain of calls; the graph has no cycle."""
    depth: dict[str, int] = {}
    for name in _leaves_first(graph)[0]:
        depth[name] = 1 + max((depth[callee] for callee in graph[name]), default=0)
    return max(depth.values(), default=0)


def reachable(graph: Graph, start: Iterable[str]) -> set[str]:
    """What may run once the functions of `start` run, themselves included."""
    seen: set[str] = set()
    stack = list(start)
    while stack:
        name = stack.pop()
        if name not in seen:
            seen.add(name)
            stack.extend(graph[name])
    return seen
