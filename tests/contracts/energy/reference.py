"""Writes contracts/energy/README.md from the contracts' own text: `python -m tests.contracts.energy.reference`.

A test compares the page with what this module makes of the sources, so the page stays true.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from contracts.energy import DEPLOYMENT_ORDER, SOURCES

PAGE = Path(__file__).parents[3] / "contracts" / "energy" / "README.md"

INTRODUCTION = """# The energy contracts

One file for each contract, to be read as the rulebook: the text at the head of a file states the rule, the functions
carry it out. They are deployed in the order of this page, and a contract calls only those above it. Energy is integer
Wh, money integer micros of the settlement currency, prices micros per kWh; a slot is `unix_seconds // 900`. Accounts are
40 hex characters, or the name of a contract or fund. Authority is the immediate caller's, and sender "genesis" holds every role
at height 0 only.

Every refusal has a code and undoes the whole transaction. The codes below are a contract's own; a call can also be
refused by a contract that it calls. A failed call emits nothing.

In the life of a slot: orders (`market.place_order`, `continuous.place`, `bilateral.offer`) within what the grid allows
(`grid`), gate and auction (`market.clear`), what stays open (`resort.serve`), ordered flexibility (`balancing.activate`),
readings (`metering.submit`, `metering.submit_packed` by rosters, `metering.submit_signed`), settlement (`imbalance.post_price`,
`imbalance.settle`, which closes the slot in market, metering and balancing), corrected readings and `imbalance.settle` again,
certificates (`certificates.issue`, `transfer`, `lock`, `buy`, `retire`, only for a closed slot).

Energy of a kind. An attribute is asked for in one of two ways; either way a seller that does not match is never traded with.

- In the call auction by the zone: an operator makes one known for renewable energy (`grid.set_zone("green", "renewable", "")`)
  or for one feeder's (`grid.set_zone("feeder 7 only", "feeder", "feeder 7")`). Who buys there (`market.place_order("green",
  slot, "buy", ...)`) is matched only with sellers whose every producing meter is renewable, or who are connected to that
  feeder; others are refused at the door (NOT_RENEWABLE, NOT_ON_THE_FEEDER). The product has a price of its own. Such a
  zone is a label, not a place: it needs no transfer capacity, and position, envelope and imbalance count over all zones.
- Before the gate by the order: `continuous.place(zone, slot, "buy", ..., "renewable")` or `"feeder"` (the buyer's own) passes over
  resting offers that do not match, however cheap, and rests until one comes that does.

This page is written by `python -m tests.contracts.energy.reference` from the sources.
"""


@dataclass(frozen=True, slots=True)
class Function:
    name: str
    kind: str  # export, view or helper
    signature: str
    doc: str


def functions(source: bytes) -> Iterator[Function]:
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            marks = [mark.id for mark in node.decorator_list if isinstance(mark, ast.Name)]
            returns = ast.unparse(node.returns) if node.returns is not None else "None"
            signature = f"{node.name}({ast.unparse(node.args)}) -> {returns}"
            yield Function(node.name, marks[0] if marks else "helper", signature, ast.get_docstring(node) or "")


def calls_of(source: bytes, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
            yield node


def constant(node: ast.expr) -> str:
    assert isinstance(node, ast.Constant)
    assert isinstance(node.value, str)
    return node.value


def codes(source: bytes) -> list[str]:
    found = {constant(call.args[1]) for call in calls_of(source, "require")}
    return sorted(found | {constant(call.args[0]) for call in calls_of(source, "fail")})


def events(source: bytes) -> dict[str, list[str]]:
    """Event name -> its fields. One event has the same fields wherever it is emitted."""
    found: dict[str, list[str]] = {}
    for call in calls_of(source, "emit"):
        fields = [keyword.arg for keyword in call.keywords if keyword.arg is not None]
        assert found.setdefault(constant(call.args[0]), fields) == fields
    return found


def section(name: str, source: bytes) -> str:
    doc = ast.get_docstring(ast.parse(source)) or ""
    lines = [f"## {name}", "", doc.split("\n\n")[0].replace("\n", " "), ""]
    for kind, title in (("export", "Functions"), ("view", "Views")):
        lines += [f"### {title} of {name}", ""]
        for function in functions(source):
            if function.kind == kind:
                lines.append(f"- `{function.signature}` - {' '.join(function.doc.split())}")
        lines.append("")
    lines += [f"### Refusals of {name}", "", ", ".join(f"`{code}`" for code in codes(source)) or "None of its own.", ""]
    lines += [f"### Events of {name}", ""]
    lines += [f"- `{event}`: {', '.join(fields)}" for event, fields in events(source).items()]
    return "\n".join(lines) + "\n"


def page() -> str:
    return "\n".join([INTRODUCTION, *(section(name, SOURCES[name]) for name in DEPLOYMENT_ORDER)])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="ascii")
