"""Annotations are the ABI: what each type takes and what it refuses."""

from __future__ import annotations

import ast
from typing import Any

import pytest

from contracts.runtime.abi import contract_abi
from contracts.runtime.types import INT, STR, BadType, Mismatch, RecordOf, converter, parse, render

POINT = RecordOf("Point", (("x", INT), ("label", STR)))


def of(text: str) -> Any:
    return parse(ast.parse(text, mode="eval").body, {"Point": POINT})


@pytest.mark.parametrize(
    ("text", "value", "wanted"),
    [
        ("int", 5, 5),
        ("int", -(2**255), -(2**255)),
        ("str", "a", "a"),
        ("bytes", b"a", b"a"),
        ("bool", True, True),
        ("None", None, None),
        ("list[int]", [1, 2], [1, 2]),
        ("list[int]", (1, 2), [1, 2]),
        ("tuple[int, str]", [1, "a"], (1, "a")),
        ("tuple[int, ...]", [1, 2, 3], (1, 2, 3)),
        ("tuple[int]", [1], (1,)),
        ("dict[str, list[int]]", {"a": [1]}, {"a": [1]}),
        ("Point", [1, "a"], (1, "a")),
        ("int | None", None, None),
        ("list[Point | None]", [None, [1, "a"]], [None, (1, "a")]),
    ],
)
def test_a_value_of_the_type_is_taken(text: str, value: Any, wanted: Any) -> None:
    found = converter(of(text), {})(value)
    assert found == wanted
    assert type(found) is type(wanted)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("int", True),
        ("int", 1.0),
        ("int", "1"),
        ("int", None),
        ("int", 2**255),
        ("str", b"a"),
        ("str", "x" * 4_097),
        ("bytes", "a"),
        ("bool", 1),
        ("None", 0),
        ("list[int]", ["a"]),
        ("list[int]", "ab"),
        ("list[int]", {1: 2}),
        ("tuple[int, str]", [1]),
        ("tuple[int, str]", [1, "a", 2]),
        ("dict[str, int]", [["a", 1]]),
        ("dict[str, int]", {1: 1}),
        ("Point", [1]),
        ("Point", ["a", 1]),
        ("int | None", "a"),
    ],
)
def test_a_value_of_another_type_is_refused(text: str, value: Any) -> None:
    with pytest.raises(Mismatch):
        converter(of(text), {})(value)


@pytest.mark.parametrize(
    "text", ["float", "set[int]", "list", "dict[list[int], int]", "'int'", "int | str", "object", "list[int", "x.y"]
)
def test_what_is_no_type_of_the_language_is_refused(text: str) -> None:
    with pytest.raises((BadType, SyntaxError)):
        of(text)


@pytest.mark.parametrize("text", ["int", "list[tuple[str, int]]", "dict[str, bytes]", "tuple[int, ...]", "int | None"])
def test_a_type_is_written_as_it_is_read(text: str) -> None:
    assert render(of(text)) == text


def test_a_record_is_spelled_out_for_clients() -> None:
    assert render(of("list[Point]")) == "list[Point(x: int, label: str)]"


def test_converted_lists_share_nothing_with_what_came_in() -> None:
    inner = [1]
    found = converter(of("list[list[int]]"), {})([inner])
    inner.append(2)
    assert found == [[1]]


def test_the_abi_lists_exported_functions_in_order() -> None:
    source = b'''from contracts.host import NamedTuple, export, view
Point = NamedTuple("Point", [("x", int)])
def private(n: int) -> int:
    return n
@view
def show(p: Point, tags: list[str]) -> Point | None:
    """Shows."""
    return None
@export
def go() -> None:
    pass
'''
    show, go = contract_abi(source)
    assert (show.name, show.view, show.doc) == ("show", True, "Shows.")
    assert show.params == (("p", "Point(x: int)"), ("tags", "list[str]"))
    assert show.returns == "Point(x: int) | None"
    assert (go.name, go.view, go.params) == ("go", False, ())
