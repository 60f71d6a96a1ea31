"""Columns of numbers: the same in both worlds, bounded, and paid for by their length."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.host import ContractError, column_above, column_sum, column_value, column_values, pack_column
from contracts.runtime.abi import checked
from contracts.runtime.bits import Bits
from contracts.runtime.checker import check
from tests.contracts.runtime.twin import TwinWorld

NUMBERS = st.integers(0, 2**32 - 1)
SOURCE = """from contracts.host import column_above, column_sum, column_value, column_values, pack_column, view
@view
def pack(values: list[int]) -> bytes:
    return pack_column(values)
@view
def values(column: bytes) -> list[int]:
    return column_values(column)
@view
def value(column: bytes, place: int) -> int:
    return column_value(column, place)
@view
def total(column: bytes) -> int:
    return column_sum(column)
@view
def above(column: bytes, limits: bytes) -> list[int]:
    return column_above(column, limits)
@view
def mixed(kind: int) -> list[int]:
    rows = [[1, None], [b"a"], [True], ["a"]]
    return column_values(pack_column(rows[kind]))
@view
def no_column(kind: int) -> int:
    things = ["abcd", [1], 7, None]
    return column_sum(things[kind])
"""


@pytest.fixture(scope="module")
def world() -> TwinWorld:
    world = TwinWorld()
    world.deploy("c", SOURCE)
    return world


@given(st.lists(NUMBERS, max_size=1_024))
@settings(max_examples=50, deadline=None)
def test_a_column_gives_back_what_was_packed(values: list[int]) -> None:
    column = pack_column(values)
    assert len(column) == 4 * len(values)
    assert column_values(column) == values
    assert column_sum(column) == sum(values)
    assert [column_value(column, place) for place in range(len(values))] == values


@given(st.data(), st.lists(NUMBERS, min_size=1, max_size=50))
@settings(max_examples=100, deadline=None)
def test_above_names_exactly_the_places_that_exceed_their_limit(data: st.DataObject, values: list[int]) -> None:
    limits = data.draw(st.lists(NUMBERS | st.sampled_from(values), min_size=len(values), max_size=len(values)))
    expected = [place for place, (value, limit) in enumerate(zip(values, limits, strict=True)) if value > limit]
    assert column_above(pack_column(values), pack_column(limits)) == expected
    one = data.draw(NUMBERS | st.sampled_from(values))
    assert column_above(pack_column(values), pack_column([one])) == [p for p, value in enumerate(values) if value > one]


@given(st.binary(max_size=40), st.binary(max_size=40), st.integers(-2, 12))
@settings(max_examples=150, deadline=None)
def test_both_worlds_do_the_same_with_any_bytes(column: bytes, limits: bytes, place: int) -> None:
    world = TwinWorld()
    world.deploy("c", SOURCE)
    calls = (("values", [column]), ("total", [column]), ("value", [column, place]), ("above", [column, limits]))
    for function, args in calls:
        with suppress(ContractError):
            world.view("c", function, *args)  # the twins compare what they did


@pytest.mark.parametrize(
    ("function", "args", "code"),
    [
        ("pack", ([-1],), "VALUE_ERROR"),
        ("pack", ([2**32],), "VALUE_ERROR"),
        ("pack", ([2**200],), "VALUE_ERROR"),
        ("pack", ([0] * 1_025,), "VALUE_TOO_LARGE"),
        ("values", (b"abc",), "VALUE_ERROR"),
        ("total", (b"abcde",), "VALUE_ERROR"),
        ("value", (bytes(8), 2), "INDEX_ERROR"),
        ("value", (bytes(8), -1), "INDEX_ERROR"),
        ("value", (b"", 0), "INDEX_ERROR"),
        ("above", (bytes(12), bytes(8)), "VALUE_ERROR"),
        ("above", (bytes(12), b""), "VALUE_ERROR"),
        ("mixed", (0,), "TYPE_ERROR"),
        ("mixed", (1,), "TYPE_ERROR"),
        ("mixed", (2,), "TYPE_ERROR"),
        ("mixed", (3,), "TYPE_ERROR"),
        *(("no_column", (kind,), "TYPE_ERROR") for kind in range(4)),
    ],
)
def test_what_is_no_column_is_refused_by_its_code(
    world: TwinWorld, function: str, args: tuple[object, ...], code: str
) -> None:
    with pytest.raises(ContractError) as refusal:
        world.view("c", function, *args)
    assert refusal.value.code == code


def test_a_column_is_paid_by_its_length(world: TwinWorld) -> None:
    gas = []
    for count in (100, 200, 300):
        world.view("c", "total", bytes(4 * count))
        gas.append(world.metered.gas_used)
    assert gas[2] - gas[1] == gas[1] - gas[0] == 100 * 8 + 400  # its numbers, and its bytes as an argument


def test_a_column_that_cannot_be_paid_is_not_looked_at(world: TwinWorld) -> None:
    world.metered.gas_limit, before = 3_000, world.metered.gas_limit
    try:
        with pytest.raises(ContractError, match="OUT_OF_GAS"):
            world.metered.view("c", "total", bytes(2_048))
    finally:
        world.metered.gas_limit = before


NAMES = "column_above, column_sum, column_value, column_values, pack_column"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("return column_sum(c, c)", "ARGUMENTS"),
        ("return column_value(c)", "ARGUMENTS"),
        ("return column_value(c, place=0)", "ARGUMENTS"),
        ("return len(column_above(c))", "ARGUMENTS"),
        ("return len(column_values())", "ARGUMENTS"),
        ("return len(pack_column(1, 2))", "ARGUMENTS"),
        ("x = column_sum", "HOST_AS_VALUE"),
        ("column_sum = 7", "SHADOWING"),
    ],
)
def test_the_checker_refuses_what_cannot_be_a_call_of_them(line: str, code: str) -> None:
    source = f"from contracts.host import {NAMES}, view\n@view\ndef f(c: bytes) -> int:\n    {line}\n    return 0\n"
    assert [error.code for error in check(source.encode())[1]] == [code]


def test_a_name_that_is_not_imported_is_refused() -> None:
    source = "from contracts.host import view\n@view\ndef f(c: bytes) -> int:\n    return column_sum(c)\n"
    assert [error.code for error in check(source.encode())[1]] == ["IMPORT"]


def test_what_column_functions_return_needs_no_overflow_check() -> None:
    """A sum of 1,024 numbers of 32 bits has 42: adding some of them up stays far from 256."""
    lines = "    t = 0\n    for v in [1, 2]:\n        t += column_sum(c) + column_value(c, 0)\n    return t\n"
    contract = checked(f"from contracts.host import {NAMES}, view\n@view\ndef f(c: bytes) -> int:\n{lines}".encode())
    assert Bits(contract, contract.functions["f"]).variables["t"] < 255
