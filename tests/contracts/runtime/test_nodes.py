"""The second door by itself, on trees that the first never let through as text: it must hold alone."""

from __future__ import annotations

import ast

import pytest

from contracts.runtime.nodes import check_nodes

MAX_DEPTH, MAX_NODES = 64, 30_000  # as LANGUAGE.md says


def refusals(text: str) -> list[tuple[int, int, str]]:
    """(line, column, code) of each."""
    return [(error.line, error.column, error.code) for error in check_nodes(ast.parse(text))[0]]


@pytest.mark.parametrize(
    ("text", "column", "code"),
    [
        ("x = 1.5", 5, "FLOAT"),
        ("xy = 1j", 6, "FLOAT"),
        (f"x = {2**255}", 5, "CONSTANT_TOO_LARGE"),
        ("x + _y", 5, "UNDERSCORE"),
        ("xy + _y", 6, "UNDERSCORE"),
        ("x._y", 1, "UNDERSCORE"),
        ("f(_x=1)", 3, "UNDERSCORE"),
        ("def f(_x): pass", 7, "UNDERSCORE"),
        ("def _f(): pass", 1, "UNDERSCORE"),
        ("for _x in y: pass", 5, "UNDERSCORE"),
        ("\u00e9 = 1", 1, "NAME"),
        ("x.\u00e9", 1, "NAME"),
        ("a" * 65, 1, "NAME"),
        ("x.\uff49\uff46", 1, "NAME"),
        ("x / y", 1, "DIVISION"),
        ("x @ y", 1, "OPERATOR"),
        ("x /= y", 1, "DIVISION"),
        ("[y for x in z if (lambda: 1)]", 19, "LAMBDA"),
        ("f(*x)", 3, "STAR"),
        ("f(**x)", 3, "STAR"),
        ("{**x}", 1, "STAR"),
        ("x[::2]", 3, "SLICE_STEP"),
        ("x = y = 1", 1, "MULTI_ASSIGN"),
        ("from a import b as c", 15, "IMPORT"),
        ("def f(a=1): pass", 1, "DEFAULT"),
        ("def f(*, a): pass", 1, "STAR"),
        ("while x:\n    pass\nelse:\n    pass", 1, "LOOP_ELSE"),
        ("for x in y:\n    pass\nelse:\n    pass", 1, "LOOP_ELSE"),
    ],
)
def test_each_refusal_says_where_it_stands(text: str, column: int, code: str) -> None:
    assert refusals(text) == [(1, column, code)]


@pytest.mark.parametrize(
    "text", ["x = 'a'", "x = b'a'", "x = True", "x = None", "x = ...", f"x = {2**255 - 1}", "a" * 64]
)
def test_what_the_language_knows_passes(text: str) -> None:
    assert refusals(text) == []


def test_refusals_stand_in_the_order_of_the_source() -> None:
    assert refusals("x = [_b, 1.5]\ny = (lambda: _a)") == [
        (1, 6, "UNDERSCORE"),
        (1, 10, "FLOAT"),
        (2, 6, "LAMBDA"),
        (2, 14, "UNDERSCORE"),
    ]


@pytest.mark.parametrize("innermost", ["", "x", "1", "x.y", "not x"])
def test_a_tree_has_at_most_so_many_levels(innermost: str) -> None:
    inside = max((1 + text.count(".") + text.count("not ") for text in [innermost] if text), default=0)
    most = MAX_DEPTH - 2 - inside  # the module, and the statement
    assert refusals("[" * most + innermost + "]" * most) == []
    assert [code for _, _, code in refusals("[" * (most + 1) + innermost + "]" * (most + 1))] == ["NESTING"]


def indented(text: str) -> str:
    return "\n".join("    " + line for line in text.splitlines())


def test_an_elif_is_no_level_deeper_but_an_if_inside_of_else_with_more_is() -> None:
    chain = "if x: pass\n" + "elif x: pass\n" * 200
    assert refusals(chain) == []
    nest = "".join(f"{'    ' * i}if x:\n" for i in range(MAX_DEPTH - 2)) + "    " * (MAX_DEPTH - 2) + "pass"
    assert refusals(nest) == []
    assert {code for _, _, code in refusals(f"if y:\n{indented(nest)}")} == {"NESTING"}
    lines = [f"{'    ' * i}if x: pass\n{'    ' * i}else:\n{'    ' * i}    y\n" for i in range(MAX_DEPTH)]
    assert {code for _, _, code in refusals("".join(lines))} == {"NESTING"}


@pytest.mark.parametrize(
    ("text", "parts"),
    [("x", 3), ("1", 2), ("x.y", 6), ("x + y", 8), ("not x", 5), ("x(y=1)", 8), ("x[1]", 7), ("[]", 2)],
)
def test_a_tree_has_at_most_so_many_parts(text: str, parts: int) -> None:
    left = MAX_NODES - 7 - parts  # the module, `x = [...]` and the text are there
    rest = ["x"] * (left % 2) + ["1"] * ((left - 3 * (left % 2)) // 2)
    assert refusals(f"x = [{', '.join([text, *rest])}]") == []
    rest[-1] = "x"  # one part more
    assert [code for _, _, code in refusals(f"x = [{', '.join([text, *rest])}]")] == ["NESTING"]


def test_later_passes_get_what_a_statement_binds_calls_and_looks_up() -> None:
    tree = ast.parse("def f():\n    x = g(y[1])\n    x += 1\n    for z in [a for a in x]:\n        pass\nh()\n1")
    _, parts = check_nodes(tree)
    found = [[type(part).__name__ for part in parts[statement]] for statement in tree.body]
    assert found == [["Assign", "AugAssign", "For", "Call", "Subscript", "comprehension"], ["Call"], []]
