"""The checker where one comparison, one bound or one name decides: each test here is what would notice the other choice."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.runtime import gas
from contracts.runtime.checker import check
from tests.contracts.runtime.corpus import module


def refusals(source: str) -> list[tuple[str, str]]:
    return [(error.code, error.message) for error in check(source.encode())[1]]


def codes(source: str) -> list[str]:
    return [code for code, _ in refusals(source)]


@pytest.mark.parametrize("name", ["builtins", "zzz", "contracts", "contracts.hosts", "contracts.host.core"])
def test_a_name_of_the_host_comes_from_the_host_only(name: str) -> None:
    assert codes(module(f"from {name} import Map")) == ["IMPORT"]


def test_a_refused_import_names_what_the_host_lacks_and_nothing_that_it_has() -> None:
    ((code, message),) = refusals(module("from contracts.host import World, Map, Clock"))
    assert code == "IMPORT"
    assert message.startswith("the host has no Clock, World; it has Any, Map, NamedTuple,")


@pytest.mark.parametrize("given", ["Q", "S", "r"])
def test_a_record_is_called_what_its_variable_is_called(given: str) -> None:
    assert codes(module(f'R = NamedTuple("{given}", [("a", int)])')) == ["RECORD"]


@pytest.mark.parametrize(
    "text",
    [
        'm: Map[str, int] = Value("m")',
        'm: Map[str, int] = Nothing("m")',
        'v: Value[int] = Map("v", 0)',
        'v: Value[int] = Zero("v", 0)',
    ],
)
def test_state_is_made_by_what_its_annotation_says(text: str) -> None:
    assert codes(module(text)) == ["STATE"]


@pytest.mark.parametrize("text", ["-(2 ** 254) * 2 - 1", "2 ** 255", "2 ** 254 * 2", "0 - 2 ** 256"])
def test_a_constant_stays_within_256_bits_on_both_sides(text: str) -> None:
    assert codes(module(f"x = {text}")) == ["CONSTANT"]


def test_a_function_with_a_strange_type_is_refused_for_that_type_alone() -> None:
    assert codes(module("@export\ndef g(n: float) -> Any:\n    return 1")) == ["TYPE"]


def test_sorting_costs_whole_units() -> None:
    costs: list[Any] = [gas.sort_cost(count, 7) for count in (0, 1, 2, 3, 1000)]
    assert costs == [28, 56, 84, 84, 308]
    assert {type(cost) for cost in costs} == {int}


@pytest.mark.parametrize(
    "text",
    [
        "counts = [1]",
        "def helper(n: float) -> int:\n    return 1",
        'Point = NamedTuple("Point", [])',
        'counts: Map[str, int] = Map("../x")',
        'total: Value[int] = Value("../x", "text")',
    ],
)
def test_a_name_that_is_taken_is_refused_for_that_alone(text: str) -> None:
    assert codes(module(text)) == ["SHADOWING"]


@pytest.mark.parametrize(
    "text", ['m: Map[str, int] = Map("../x")', 'v: Value[int] = Value("v", "a")', 'R = NamedTuple("R", [])']
)
def test_what_is_not_imported_is_refused_for_that_alone(text: str) -> None:
    source = f"from contracts.host import export\n{text}\n@export\ndef f() -> int:\n    return 1\n"
    assert codes(source) == ["IMPORT"]


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ('m: Map[str, int] = Map("../x")', 'write m: Map[...] = Map("m")'),
        ('v: Value[int] = Value("../x", 0)', 'write v: Value[...] = Value("v", initial)'),
    ],
)
def test_a_refused_state_is_told_what_to_write(text: str, advice: str) -> None:
    assert refusals(module(text)) == [("STATE", advice)]


def test_every_function_beyond_the_bound_is_refused() -> None:
    many = "".join(f"def g{number}() -> int:\n    return 1\n" for number in range(130))
    assert codes(module(many)) == ["FUNCTIONS"] * 4  # with helper and f there are 132


@pytest.mark.parametrize(("head", "doc"), [('"""What it is for."""\n', "What it is for."), ("", "")])
def test_a_contract_may_say_what_it_is_for(head: str, doc: str) -> None:
    contract, errors = check((head + module("")).encode())
    assert errors == []
    assert contract is not None
    assert contract.doc == doc
