"""From a checked contract to code objects: lowered, compiled once, and shared by every machine that runs them."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from types import CellType, CodeType, FunctionType
from typing import Any

from contracts.runtime.lower import function_node, lower_function
from contracts.runtime.model import Contract
from contracts.runtime.tree import placed

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
    """Each function stands in a factory of its own, so that `_gas` is its only free variable and all else is global."""
    lowered = [lower_function(contract, function) for function in contract.functions.values()]
    factories = [_define("_factory", [ast.arg(arg="_gas")], [function]) for function in lowered]
    module = placed(ast.Module(body=list(factories), type_ignores=[]))
    whole = compile(module, FILE_NAME, "exec", dont_inherit=True, optimize=0)
    code = {item.co_name: item for factory in _code_inside(whole) for item in _code_inside(factory)}
    assert code.keys() == contract.functions.keys()
    assert all(item.co_freevars == ("_gas",) for item in code.values())
    return Compiled(contract, code)


def _define(name: str, params: list[ast.arg], body: list[ast.FunctionDef]) -> ast.FunctionDef:
    arguments = ast.arguments(posonlyargs=[], args=params, kwonlyargs=[], kw_defaults=[], defaults=[])
    return function_node(name, arguments, list(body))


def _code_inside(code: CodeType) -> list[CodeType]:
    return [item for item in code.co_consts if isinstance(item, CodeType)]
