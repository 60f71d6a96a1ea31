"""The bounds of a source: the largest that is accepted, and the first beyond it, refused with its code at its place."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from contracts.runtime.abi import checked
from contracts.runtime.checker import check
from contracts.runtime.vocabulary import HOST_NAMES
from tests.contracts.runtime.corpus import HOST, STATE, body, module
from tests.contracts.runtime.twin import TwinWorld


def functions(count: int) -> str:
    return HOST + "".join(f"@export\ndef f{i}() -> int:\n    return {i}\n" for i in range(count))


def calls_deep(count: int) -> str:
    """f0 calls f1 calls f2 ...: `count` frames."""
    lines = [f"def f{i}() -> int:\n    return f{i + 1}()\n" for i in range(1, count - 1)]
    return (
        HOST
        + "@export\ndef f0() -> int:\n    return f1()\n"
        + "".join(lines)
        + f"def f{count - 1}() -> int:\n    return 1\n"
    )


def fields(count: int) -> str:
    return module('R = NamedTuple("R", [' + ", ".join(f'("a{i}", int)' for i in range(count)) + "])")


def parameters(count: int) -> str:
    return module("def g(" + ", ".join(f"a{i}: int" for i in range(count)) + ") -> int:\n    return 1")


def name(length: int) -> str:
    return body("a" * length + " = 1")


def local_names(count: int) -> str:
    """The parameter n is one of them."""
    return body("\n".join(f"x{i} = 1" for i in range(count - 1)))


def event_fields(count: int) -> str:
    return body("emit('X', " + ", ".join(f"a{i}=1" for i in range(count)) + ")")


def brackets(count: int) -> str:
    return body("x = " + "(" * count + "n" + ")" * count)


def operators(count: int) -> str:
    """In one line, but not in one expression."""
    return body("x = [" + ", ".join(["n + 1"] * count) + "]")


def elifs(count: int) -> str:
    return body("if n == 0:\n    pass" + "".join(f"\nelif n == {i}:\n    pass" for i in range(count)))


def text(length: int) -> str:
    return body("x = '" + "x" * length + "'")


def size(length: int) -> str:
    start = body("pass")
    return start + "#" * (length - len(start) - 1) + "\n"


def nodes(count: int) -> str:
    """Lists of empty lists: about `count` parts."""
    return body("\n".join(f"x = [{'[],' * 100}]" for _ in range(count // 205)))


def levels(depth: int) -> str:
    """Nested ifs."""
    inside = "".join("    " * i + "if n:\n" for i in range(depth)) + "    " * depth + "x = 1"
    return body(inside)


LIMITS: list[tuple[Callable[[int], str], int, str]] = [
    (functions, 128, "FUNCTIONS"),
    (calls_deep, 24, "CALL_DEPTH"),
    (fields, 32, "RECORD"),
    (parameters, 32, "PARAMETERS"),
    (name, 64, "NAME"),
    (local_names, 96, "LOCALS"),
    (event_fields, 32, "ARGUMENTS"),
    (brackets, 24, "NESTING"),
    (operators, 256, "NESTING"),
    (elifs, 32, "NESTING"),
    (text, 4_096, "CONSTANT_TOO_LARGE"),
    (size, 65_536, "SOURCE_TOO_LARGE"),
    (levels, 60, "NESTING"),
]


@pytest.mark.parametrize(("make", "most", "code"), LIMITS)
def test_the_largest_is_accepted_and_one_more_is_refused(make: Callable[[int], str], most: int, code: str) -> None:
    assert check(make(most).encode())[1] == []
    assert {e.code for e in check(make(most + 1).encode())[1]} == {code}


def test_a_source_has_at_most_thirty_thousand_parts() -> None:
    assert check(nodes(29_000).encode())[1] == []
    assert [e.code for e in check(nodes(31_000).encode())[1]] == ["NESTING"]


def test_a_refusal_says_its_line_and_column() -> None:
    (error,) = check(body("x = 1 +").encode())[1]
    assert (error.code, error.line) == ("SYNTAX", body("").count("\n") - 1)
    assert error.column > 4
    (deep,) = check(levels(61).encode())[1]
    assert deep.line == body("").count("\n") - 1 + 61
    assert deep.column == 4 * 62 + 1
    assert [(e.line, e.column) for e in check(calls_deep(25).encode())[1]] == [(1, 1)]
    assert [(e.line, e.column) for e in check(HOST.encode())[1]] == [(1, 1)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2 ** 3", 8),
        ("2 ** 0", 1),
        ("7 // 2 - 10", -7),
        ("-(2 ** 254) * 2", -(2**255)),
        ("2 ** 254 + (2 ** 254 - 1)", 2**255 - 1),
        ("(1, 'a', (b'c', None, True))", (1, "a", (b"c", None, True))),
        ("helper_constant", None),
        ("1 ** 255", 1),
        ("1 ** 256", None),
        ("2 ** -1", None),
        ("True + 1", None),
        ("'a' + 'b'", None),
    ],
)
def test_constants_are_worked_out_once_and_exactly(text: str, value: object) -> None:
    contract, errors = check(module(f"x = {text}").encode())
    if value is None:
        assert [e.code for e in errors] == ["CONSTANT"]
    else:
        assert contract is not None
        assert contract.constants["x"] == value
        assert type(contract.constants["x"]) is type(value)


@pytest.mark.parametrize("kind", ["export", "view"])
@pytest.mark.parametrize("signature", ["(x: Any) -> int", "(x: list[Any]) -> int", "() -> Any"])
def test_any_stands_in_private_functions_only(kind: str, signature: str) -> None:
    assert {e.code for e in check(module(f"@{kind}\ndef g{signature}:\n    return 1").encode())[1]} == {"TYPE"}
    assert check(module(f"def g{signature}:\n    return 1").encode())[1] == []


def test_a_function_is_called_by_its_callers_depth_not_by_their_number() -> None:
    source = HOST + STATE + "@export\ndef f(n: int) -> int:\n    return helper(n) + helper(n)\n"
    assert checked(source.encode()).functions.keys() == {"helper", "f"}


ORDER = """
log: Value[str] = Value("log", "")
def seen(mark: str, value: int) -> int:
    log.set(log.get() + mark)
    return value
def held(mark: str, value: list[int]) -> list[int]:
    log.set(log.get() + mark)
    return value
@export
def fields() -> str:
    emit("X", c=seen("c", 1), a=seen("a", 2), b=log.get())
    return log.get()
@export
def store() -> str:
    xs = [5, 6]
    held("h", xs)[seen("k", 1)] += seen("v", 3)
    held("i", xs)[seen("l", 0)] -= seen("w", 3)
    counts[str(seen("s", 1))] = seen("t", 1)
    counts[str(seen("u", 1))] += seen("x", 1)
    return log.get() + str(xs[0]) + str(xs[1]) + str(counts["1"])
@export
def grow() -> list[int]:
    xs = [1]
    ys = [xs]
    ys[0] += [2]
    return xs
"""


@pytest.mark.parametrize(("function", "result"), [("fields", "ca"), ("store", "hkvilwtsux292"), ("grow", [1, 2])])
def test_parts_are_worked_out_in_the_order_of_the_source(function: str, result: object) -> None:
    world = TwinWorld()
    world.deploy("c", HOST + STATE + ORDER)
    assert world.call("c", function) == result
    assert [event.fields for event in world.events] == ([{"a": 2, "b": "ca", "c": 1}] if function == "fields" else [])


AUGMENTED = """
@export
def f(n: int) -> list[int]:
    x: Any = n
    x += 3
    x *= 3
    x -= 1
    x //= 2
    x %= 7
    x **= 3
    x <<= 2
    x |= 1
    x ^= 6
    x &= 255
    x >>= 1
    xs = [n, n, n, n, n, n]
    xs[0] += 2
    xs[1] *= 3
    xs[2] -= 9
    xs[3] **= 2
    xs[4] |= 8
    xs[5] %= 3
    d = {"a": [n], "b": [n]}
    d["a"] += [1]
    d["b"] += (2, 3)
    return xs + d["a"] + d["b"] + [x]
"""


def test_every_augmented_assignment_is_its_own_operator_whatever_is_known_of_the_operands() -> None:
    world = TwinWorld()
    world.deploy("c", HOST + AUGMENTED)
    for n in (5, 0, -4):
        result = world.call("c", "f", n)
        assert result[:6] == [n + 2, n * 3, n - 9, n**2, n | 8, n % 3]
        assert result[6:11] == [n, 1, n, 2, 3]
        assert result[11] == ((((((n + 3) * 3 - 1) // 2 % 7) ** 3 << 2 | 1) ^ 6) & 255) >> 1


@pytest.mark.parametrize("text", ["x: int = 5", "x = 5", "x: int = 2 + 3"])
def test_a_constant_may_say_its_type(text: str) -> None:
    assert checked(module(text).encode()).constants == {"x": 5}


@pytest.mark.parametrize(
    ("missing", "text"),
    [
        ("NamedTuple", 'R = NamedTuple("R", [("a", int)])'),
        ("Map", 'm: Map[str, int] = Map("m")'),
        ("Value", 'v: Value[int] = Value("v", 0)'),
        ("view", "@view\ndef g() -> int:\n    return 1"),
        ("emit", "def g() -> None:\n    emit('X')"),
        ("require", "def g() -> None:\n    require(1, 'X')"),
        ("fail", "def g() -> None:\n    fail('X')"),
        ("ctx", "def g() -> int:\n    return ctx.height"),
        ("call", "def g() -> None:\n    call('a', 'b')"),
        ("sha256", "def g() -> bytes:\n    return sha256(b'')"),
    ],
)
def test_what_is_used_is_imported_first(missing: str, text: str) -> None:
    source = f"from contracts.host import export\n{text}\n@export\ndef f() -> int:\n    return 1\n"
    assert "IMPORT" in {e.code for e in check(source.encode())[1]}
    assert check(source.replace("import export", f"import export, {missing}").encode())[1] == []


def test_all_of_the_host_may_be_imported_in_one_line() -> None:
    source = f"from contracts.host import {', '.join(sorted(HOST_NAMES))}\n@export\ndef f() -> int:\n    return 1\n"
    assert check(source.encode())[1] == []
