"""From a checked contract to code objects: lowered, compiled once, and shared by every machine that runs them."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from types import CellType, CodeType, FunctionType
from typing import Any

from contracts.runtime.lower import lower_function
from contracts.runtime.model import Contract

FILE_NAME = "<contract>"  # how the engine knows a contract's frame in a traceback


@dataclass(frozen=True, slots=True)
class Compiled:
    """Code objects by function name. Their one free variable is `_gas`."""

    contract: Contract
    code: Mapping[str, CodeType]

    def link(self, cell: CellType, names: dict[str, Any]) -> dict[str, FunctionType]:
        """Functions that count down `cell` and see nothing but `names`, the constants and each other."""
        scope: dict[str, Any] = {"__builtins__": {}, **self.contract.constants, **names}
        functions = {
            name: FunctionType(code, scope, name, None, (cell,) if code.co_freevars else ())
            for name, code in self.code.items()
        }
        scope.update(functions)
        return functions


def compile_contract(contract: Contract) -> Compiled:
    functions: list[ast.stmt] = [lower_function(contract, function) for function in contract.functions.values()]
    cell = ast.arguments(posonlyargs=[], args=[ast.arg(arg="_gas")], kwonlyargs=[], kw_defaults=[], defaults=[])
    around = ast.FunctionDef(name="_contract", args=cell, body=functions, decorator_list=[])
    if hasattr(around, "type_params") or "type_params" in ast.FunctionDef._fields:
        for node in (around, *functions):
            node.type_params = []  # type: ignore[attr-defined]
    module = ast.fix_missing_locations(ast.Module(body=[around], type_ignores=[]))
    whole = compile(module, FILE_NAME, "exec", dont_inherit=True, optimize=0)
    (factory,) = (item for item in whole.co_consts if isinstance(item, CodeType))
    code = {item.co_name: item for item in factory.co_consts if isinstance(item, CodeType)}
    assert code.keys() == contract.functions.keys()
    assert all(item.co_freevars == ("_gas",) for item in code.values())
    return Compiled(contract, code)
