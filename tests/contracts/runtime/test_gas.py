"""What is charged: exact figures for small programs, paid where control goes, and checks left out only where nothing can overflow."""

from __future__ import annotations

import pytest

from contracts.runtime.abi import checked
from contracts.runtime.api import Call
from contracts.runtime.bits import Bits
from contracts.runtime.codec import encode
from contracts.runtime.deploy import deploy_writes
from contracts.runtime.engine import MeteredRuntime
from devnet.bench_gas import LOOPS, loop_source
from tests.contracts.runtime.corpus import body

ENTRY = 503  # the call itself, two bytes of arguments, one of the result


def used(lines: str, n: int = 5) -> int:
    """Gas of f(n) with these lines, without what every call costs."""
    call = Call("c", "f", encode([n]), "a" * 40, 1, 1)
    outcome = MeteredRuntime(lambda *_: True).execute(call, deploy_writes("c", body(lines).encode()), 10_000_000)
    assert outcome.ok, outcome.code
    return outcome.gas_used - ENTRY


@pytest.mark.parametrize(
    ("lines", "gas"),
    [
        ("pass", 21),
        ("x = 1", 24),
        ("x = n + 1", 31),  # assign, operator, two names, check
        ("x = 1 + 2", 28),  # nothing to check
        ("if n == 5:\n    x = 1", 32),
        ("if n == 6:\n    x = 1", 29),  # the branch is not paid
        ("if n == 5:\n    return 0\nx = 1\nx = 2\nx = 3", 29 - 21 + 21),
        ("if n == 6:\n    return 0\nx = 1\nx = 2\nx = 3", 38),
        ("for i in range(3):\n    x = i", 24 + 25 + 25 + 1 + 3 * (5 + 3 + 3) - 3),
        ("x = [i for i in range(3)]", 21 + 2 + 25 + 1 + 3 + 3 * (5 + 1 + 3)),
        ("x = counts.get('a', 0)", 21 + 2 + 150 + 2),
        ("x = n // 7", 21 + 2 + 2 + 3 + 10 + 3),
        ("x = n % 7", 21 + 2 + 2 + 3 + 10),  # its result is no larger than 7
        ("x = n ** 2", 21 + 2 + 2 + 35 + 60),
        ("x = 'ab' + 'cdef'", 21 + 2 + 2 + 35 + 6 // 4),
        ("x = 'abcdefgh' in 'abcdefghijklmnop'", 21 + 2 + 2 + 3 + 35 + 17 // 4 + 8 * 16 // 32),
        ("x = [1, 2] == [1]", 21 + 2 + 3 * 5 + 3 + 3 + 35 + 8 * (28 + 2)),
        ("x = {'a': 1} == {}", 21 + 2 + 3 + 2 + 3 + 35 + 8 * (28 + 5)),
        ("x = [1, 2, 3, 4][1:3]", 21 + 2 + 3 * 5 + 4 + 2 + 25 + 3 * 35 + 8 * 2),
        ("x = ','.join(['a', 'b'])", 21 + 2 + 1 + 9 + 2 + 25 + 120 + 8 * 2 + 2 * 8 * 2 + 4 // 4),
        ("x = sorted([2, 1])", 21 + 2 + 9 + 2 + 25 + 8 * 2 + 8 * 30 + 8 * 30 * 3 // 2),
        ("x = sorted([3, 2, 1, 4])", 21 + 2 + 15 + 4 + 25 + 8 * 4 + 8 * 32 + 8 * 32 * 4 // 2),
        ("x, y = 1, 2", 21 + 2 + 2 * 3 + 3 * 3 + 2),
        ("x = helper(n)", 21 + 2 + 1 + 3 + 20 + 1 + 1 + 3 + 3),
        ("x = Point(1, 'a')", 21 + 2 + 30 + 2 + 2 * 3),
        ("x = replace(Point(1, 'a'), x=2)", 21 + 2 + 30 + 2 + 2 * 3 + 150 + 20 + 1),
        ("counts['a'] = n", 21 + 2 + 300 + 2 + len(b"c/counts/") + 2 + 1),
        (
            "pairs['a', 1] = [1]",
            21 + 2 + 300 + (3 * 3 + 2) + 250 + 3 * 2 + 1 + 8 * 29 + 6 * 2 + len(b"c/pairs/") + 4 + 2,
        ),
        ("emit('X', a=n)", 21 + 250 + 3 + 1 + 4),
        ("x = sha256(b'12345678')", 21 + 2 + 1 + 130 + 1),
        ("x = ed25519_verify(b'', b'', b'')", 21 + 2 + 3 + 12_000),
    ],
)
def test_a_program_costs_exactly_this(lines: str, gas: int) -> None:
    assert used(lines) == gas


@pytest.mark.parametrize(
    ("lines", "gas"),
    [
        ("return n", 20 + 1),  # what comes after is not paid
        ("while n < 0:\n    pass", 21 + 5),
        ("x = 0\nwhile x < 2:\n    x += 1", 21 + 3 + 5 + 2 * (5 + 5 + 2 + 3 + 2)),
        ("while n:\n    break", 21 + 1 + 5 + 1),
        ("if n:\n    while n < 0:\n        pass", 21 + 3 + 1 + 5),
        ("while len([n, n, n, n]) < n:\n    n = 0", 21 + 2 * (3 + 25 + 3 * 5 + 4 + 1) + 5 + 3),
        ("while n:\n    if n == 5:\n        break\n    n = 1", 21 + 1 + 5 + 1 + 3 + 5),
        ("while True:\n    return 0", 20 + 1 + 5 + 1 + 1),
        ("require(n == 5, 'X')", 21 + 3 + 5),
        ("x = [1]\nx += [2]", 21 + 9 + 2 + 35 + 7 + 8),
        ("x = n\nx *= 2", 21 + 3 + 2 + 3 + 2 + 3),
        ("x = n\nx -= 1", 21 + 3 + 2 + 3 + 2 + 3),
        ("x = 1\nx -= 1", 21 + 3 + 2 + 3 + 2),  # nothing to check
        ("x = [1]\nx[0] = 2", 21 + 9 + 2 + 1 + 35 + 2),
        ("x = [1]\nx[0] += 2", 21 + 9 + 2 + 2 + 3 + (4 + 2) + 1 + 3 + 35 + 2),
        ("x = [1]\nx[0] -= 2", 21 + 9 + 2 + 2 + 3 + (4 + 2) + 1 + 3 + 35 + 2),
        ("x = {'a': 1}\ndel x['a']", 21 + 2 + 3 + 2 + 35 + 2),
        ("counts['a'] = 1\ndel counts['a']", 21 + 316 + 300 + 1 + 1),
        ("counts['a'] = 1\ncounts['a'] += 1", 21 + 316 + 2 + 1 + (150 + 1 + 1) + 3 + 1 + 3 + 300 + 1 + 12),
        ("x: int = n", 21 + 2 + 1),
        ("x, y = (1, 2)", 21 + 2 + 2 * 3 + 3 * 3 + 2),
        ("for a, b in [(1, 2)]:\n    pass", 21 + 25 + 3 * 2 + 3 * 3 + 2 + 5 + 2 * 3),
        ("for a in [1, 2]:\n    break", 21 + 25 + 3 * 3 + 2 + 5 + 3),
        ("for a in range(3):\n    if a == 1:\n        break", 21 + 51 + 2 * (8 + 3 + 5)),
        ("for a in range(3):\n    if a == 1:\n        continue\n    x = 1", 21 + 51 + 3 * (8 + 3 + 5) + 2 * 3),
        ("for a in range(3):\n    for b in range(2):\n        x = 1", 21 + 51 + 3 * (8 + 51 + 2 * (8 + 3))),
        ("for a in range(3):\n    for b in [1, 2]:\n        break", 21 + 51 + 3 * (8 + 25 + 11 + 8)),
        ("if n == 5:\n    x = 1\nelse:\n    x = 2\n    x = 3", 21 + 3 + 5 + 3),
        ("if n == 6:\n    x = 1\nelse:\n    x = 2\n    x = 3", 21 + 3 + 5 + 3 + 3),
        ("if n == 6:\n    pass\nelif n == 5:\n    x = 1", 21 + 2 * (3 + 5) + 3),
        (
            "for a in range(2):\n    if n == 6:\n        return 0\n    x = 1\n    if n == 7:\n        return 0\n    x = 2",
            21 + 51 + 2 * (8 + 8 + 3 + 8 + 3),
        ),
        ("emit('X')", 21 + 250 + 1),
        ("emit('X', a=n + 1, b='t')", 21 + 250 + 2 * 3 + (3 + 2 + 3) + 1 + 8),
    ],
)
def test_a_statement_costs_exactly_this_where_control_goes(lines: str, gas: int) -> None:
    assert used(lines) == gas


@pytest.mark.parametrize(("name", "before", "inside"), LOOPS)
def test_every_construct_that_is_measured_against_the_clock_uses_up_its_gas(
    name: str, before: str, inside: str
) -> None:
    state = deploy_writes("c", loop_source(before, inside).encode())
    state |= deploy_writes("other", loop_source("", "pass").encode())
    call = Call("c", "f", encode([0]), "a" * 40, 1, 1)
    assert MeteredRuntime(lambda *_: True).execute(call, state, 200_000).code == "OUT_OF_GAS", name


def test_each_turn_of_a_loop_costs_the_same() -> None:
    for loop in ("while i < n:\n    i += 1", "for j in range(n):\n    i += j", "x = [i + j for j in range(n)]"):
        costs = [used(f"i = 0\n{loop}", n) for n in (10, 20, 30)]
        assert costs[2] - costs[1] == costs[1] - costs[0] >= 50


def fits(lines: str, name: str) -> bool:
    contract = checked(body(lines).encode())
    bits = Bits(contract, contract.functions["f"])
    return bits.variables.get(name, 256) < 255


@pytest.mark.parametrize(
    ("lines", "proved"),
    [
        ("x = 0\nwhile n:\n    x += 1", True),
        ("x = 0\nfor i in range(100):\n    x = x + i * i", True),
        ("x = 0\nfor i in range(100):\n    x -= len([i])", True),
        (f"x = 0\nwhile n:\n    x += {2**180}", True),
        (f"x = 0\nwhile n:\n    x += {2**190}", False),  # 2**64 steps could leave 255 bits
        ("x = 1\nwhile n:\n    x = x + x", False),
        ("x = 1\nwhile n:\n    x *= 2", False),
        ("x = 1\ny = 1\nwhile n:\n    x += y\n    y += x", False),
        ("x = n", False),
        ("x = 0\nx += n", False),
        ("x = counts.get('a', 0)", False),
        ("x = n % 1000 * 1000", True),
        ("x, y = 1, 2", False),
        ("x = 1 if n else n", False),
    ],
)
def test_a_check_is_left_out_only_where_nothing_can_overflow(lines: str, proved: bool) -> None:
    assert fits(lines, "x") == proved
