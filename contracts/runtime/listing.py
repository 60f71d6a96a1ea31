"""What each line of a contract costs: the very charges of the compiler, put down to the lines they come from."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from contracts.runtime.lower import Statements
from contracts.runtime.model import Contract, Function


@dataclass(frozen=True, slots=True)
class LineCost:
    """`once` is paid each time that the line is reached; `each_turn` for each turn of a loop or comprehension that begins
    in it, besides what the lines inside cost. Costs by size come on top of both."""

    once: int = 0
    each_turn: int = 0


def line_costs(contract: Contract) -> Mapping[int, LineCost]:
    """By line (1-based), for every line that a statement begins in. A function's own line has the cost of calling it."""
    costs: dict[int, LineCost] = {}
    for function in contract.functions.values():
        listing = _Listing(contract, function)
        listing.body()
        for line in listing.once.keys() | listing.turns.keys():
            before = costs.get(line, LineCost())
            costs[line] = LineCost(before.once + listing.once[line], before.each_turn + listing.turns[line])
    return dict(sorted(costs.items()))


class _Listing(Statements):
    """Lowers a function and notes which statement each charge belongs to."""

    def __init__(self, contract: Contract, function: Function) -> None:
        super().__init__(contract, function)
        self.once: defaultdict[int, int] = defaultdict(int)
        self.turns: defaultdict[int, int] = defaultdict(int)
        self.around: list[ast.stmt] = [function.node]

    def statement(self, node: ast.stmt) -> list[ast.stmt]:
        self.around.append(node)
        before = self.cost
        lowered = super().statement(node)
        self.once[node.lineno] += self.cost - before
        self.around.pop()
        return lowered

    def block(self, nodes: list[ast.stmt], extra: int) -> tuple[list[ast.stmt], int]:
        """What a block costs beside its statements: a function its call, a loop its turn."""
        node = self.around[-1]
        (self.once if node is self.function.node else self.turns)[node.lineno] += extra
        return super().block(nodes, extra)

    def tick(self, cost: int) -> ast.expr:
        self.turns[self.around[-1].lineno] += cost
        return super().tick(cost)
