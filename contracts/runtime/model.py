"""A checked contract, as values: what the compiler, the ABI and the in-memory world work from."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from contracts.runtime.types import RecordOf, Type

BINDINGS = frozenset({ast.Assign, ast.AnnAssign, ast.AugAssign, ast.For, ast.comprehension})
USES = frozenset({ast.Call, ast.Subscript})
FunctionKind = Literal["export", "view", "private"]


@dataclass(frozen=True, slots=True)
class CheckError:
    """Why a contract is refused, where (1-based), and what to write instead."""

    line: int
    column: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class State:
    """`name: Map[K, V] = Map("stored")` (then `key` is K) or `name: Value[V] = Value("stored", initial)` (then None)."""

    name: str
    stored: str
    key: Type | None
    value: Type
    initial: Any = None


@dataclass(frozen=True, slots=True)
class Function:
    name: str
    kind: FunctionKind
    params: tuple[tuple[str, Type], ...]
    returns: Type
    doc: str
    node: ast.FunctionDef
    bindings: tuple[ast.AST, ...]
    """What its body binds: the nodes of the kinds in BINDINGS, as the walk over the tree met them."""
    uses: tuple[ast.AST, ...]
    """What it calls and looks up: those of the kinds in USES."""


@dataclass(frozen=True, slots=True)
class Contract:
    doc: str
    records: Mapping[str, RecordOf]
    states: Mapping[str, State]
    constants: Mapping[str, Any]
    functions: Mapping[str, Function]
    imported: frozenset[str]

    def field_types(self, field: str) -> list[Type]:
        """The types that a field of this name has in the contract's records."""
        return [kind for record in self.records.values() for name, kind in record.fields if name == field]
