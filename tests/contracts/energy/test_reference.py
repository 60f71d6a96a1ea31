from __future__ import annotations

import ast

import pytest

from contracts.energy import DEPLOYMENT_ORDER, SOURCES
from tests.contracts.energy.reference import PAGE, calls_of, codes, constant, functions, page


def test_the_page_says_what_the_sources_say() -> None:
    assert PAGE.read_text(encoding="ascii") == page(), "run python -m tests.contracts.energy.reference"


@pytest.mark.parametrize("name", DEPLOYMENT_ORDER)
def test_every_public_function_is_documented(name: str) -> None:
    assert [one.name for one in functions(SOURCES[name]) if one.kind != "helper" and not one.doc] == []


@pytest.mark.parametrize("name", DEPLOYMENT_ORDER)
def test_a_contract_calls_only_those_deployed_before_it(name: str) -> None:
    called = {constant(call.args[0]) for call in calls_of(SOURCES[name], "call")}
    assert called <= set(DEPLOYMENT_ORDER[: DEPLOYMENT_ORDER.index(name)])


def test_every_refusal_code_is_met_by_a_test() -> None:
    """A code that no test names is a refusal that nobody has seen happen."""
    met = {
        node.value
        for file in PAGE.parents[2].joinpath("tests/contracts/energy").glob("test_*.py")
        for node in ast.walk(ast.parse(file.read_bytes()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    unreachable = {"PRODUCT_FULL"}  # takes 12,000 orders
    missing = {f"{name}: {code}" for name in DEPLOYMENT_ORDER for code in codes(SOURCES[name]) if code not in met}
    assert {line for line in missing if line.split(": ")[1] not in unreachable} == set()
