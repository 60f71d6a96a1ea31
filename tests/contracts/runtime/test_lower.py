"""What the lowering decides: where a block begins, when gas is out, what an annotation enforces."""

from __future__ import annotations

import pytest

from contracts.runtime.api import Call, Outcome
from contracts.runtime.codec import decode, encode
from contracts.runtime.deploy import deploy_writes
from contracts.runtime.engine import MeteredRuntime
from tests.contracts.runtime.corpus import HOST, STATE, body

PLENTY = 1_000_000


def run(source: str, gas_limit: int = PLENTY, n: int = 5) -> Outcome:
    call = Call("c", "f", encode([n]), "a" * 40, 1, 1)
    return MeteredRuntime(lambda *_: True).execute(call, deploy_writes("c", source.encode()), gas_limit)


@pytest.mark.parametrize(
    "lines", ["fail('X')", "x = 1\nfail('X')", "if n == 5:\n    fail('X')", "while n:\n    fail('X')"]
)
def test_the_last_unit_of_gas_is_enough_and_one_less_is_not(lines: str) -> None:
    whole = run(body(lines))
    assert whole.code == "X"
    assert run(body(lines), whole.gas_used).code == "X"
    assert run(body(lines), whole.gas_used - 1).code == "OUT_OF_GAS"


def test_a_block_is_paid_before_its_first_statement_also_when_that_fails() -> None:
    short, long = run(body("fail('X')")), run(body("fail('X')\nx = 1\nx = n"))
    assert long.gas_used - short.gas_used == 3 + 3
    inside = [run(body(f"if n:\n    fail('X'){rest}")).gas_used for rest in ("", "\n    x = 1\n    x = n")]
    assert inside[1] - inside[0] == 3 + 3


def test_what_stands_after_a_statement_that_may_leave_is_a_block_of_its_own() -> None:
    left = [run(body(f"if n:\n    return 1{rest}")).gas_used for rest in ("", "\nx = 1\nx = n")]
    assert left[1] == left[0]


@pytest.mark.parametrize(
    "lines",
    [
        "x: int = ['a'][0]",
        "x: str = [n][0]",
        "y = [n, 'a']\nx: int = y[1]",
        "y = {'a': 'b'}\nx: int = y['a']",
        "y = n\nx: str = [y][0]",
    ],
)
def test_an_annotated_variable_holds_what_its_annotation_says(lines: str) -> None:
    assert run(body(lines)).code == "TYPE_ERROR"
    assert run(body(lines.replace(": int =", " =").replace(": str =", " ="))).ok


@pytest.mark.parametrize(
    ("iterated", "last"),
    [
        ("'abc'", 3),
        ("(7, 8, 9)", 3),
        ("[7, 8]", 2),
        ("{'a': 1}", 1),
        ("b'abcd'", 4),
        ("range(5)", 5),
        ("[[1], [2]][1]", 1),
    ],
)
def test_every_kind_of_iterable_is_walked_once(iterated: str, last: int) -> None:
    outcome = run(body(f"i = 0\nfor x in {iterated}:\n    i += 1\nreturn i"))
    assert outcome.ok, outcome.code
    assert decode(outcome.result) == last


SPOKEN = '''
def first(x: int) -> int:
    """What it does."""
    y = x + 1
    return y
def silent(x: int) -> int:
    y = x + 1
    return y
def last(x: int) -> None:
    y = 5
    counts["y"] = y
    emit("X")
def branch(x: int) -> None:
    if x > 1:
        counts["y"] = 1
    emit("X")
def alone(x: int) -> None:
    """Does nothing."""
'''


def spoken(lines: str) -> Outcome:
    text = "".join(f"    {line}\n" for line in lines.split("\n"))
    return run(f"{HOST}{STATE}{SPOKEN}@export\ndef f(n: int) -> int:\n{text}")


def test_a_docstring_costs_nothing_and_is_all_that_is_left_out() -> None:
    assert spoken("return first(n)").gas_used == spoken("return silent(n)").gas_used
    for name in ("last", "branch"):
        outcome = spoken(f"{name}(n)\nreturn counts['y']")
        assert outcome.ok, outcome.code
        assert decode(outcome.result) == {"last": 5, "branch": 1}[name]
    assert spoken("alone(n)\nreturn 1").ok
