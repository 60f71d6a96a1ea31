"""What the language does, in both worlds at once: plain CPython and the metered runtime must agree on everything."""

from __future__ import annotations

import pytest

from contracts.host import ContractError
from tests.contracts.runtime.twin import TwinWorld

HEADER = """from contracts.host import Any, Map, NamedTuple, Value, address_of, call, ctx, ed25519_verify, emit, export, fail
from contracts.host import replace, require, sha256, view

Point = NamedTuple("Point", [("x", int), ("label", str)])
RATES = (3, 5, 7)
NAME = "north"
counts: Map[str, int] = Map("counts")
points: Map[tuple[str, int], Point] = Map("points")
lists: Map[int, list[int]] = Map("lists")
total: Value[int] = Value("total", 40)
where: Value[Point | None] = Value("where", None)


def double(n: int) -> int:
    return n * 2


def mean(values: list[int]) -> int:
    require(len(values) > 0, "EMPTY")
    return sum(values) // len(values)

"""

# Lines of a function body with n = 5, and what it returns as a list.
RESULTS: list[tuple[str, list[int]]] = [
    (
        "return [n + 2, n - 7, n * 3, n // 2, n % 3, n ** 2, -n, n << 2, n >> 1, n & 4, n | 8, n ^ 1, ~n]",
        [7, -2, 15, 2, 2, 25, -5, 20, 2, 4, 13, 4, -6],
    ),
    ("return [-7 // 2, -7 % 3, 7 // -2, 7 % -3]", [-4, 2, -4, -2]),
    (
        "return [int(1 < n < 9), int(9 < n < 1), int(n == 5), int(n != 5), int(n in [1, 5]), int(n not in [1, 5])]",
        [1, 0, 1, 0, 1, 0],
    ),
    ("x = [1, 2, 3]\nreturn [int([1] < x < [9]), int((1, 2) == (1, 2)), int([x] != [x])]", [1, 1, 0]),
    ("return [1 if n > 3 else 2, n and 7, 0 or n, int(not n)]", [1, 7, 5, 0]),
    (
        "x = [3, 1, 2]\nx.append(9)\nx.insert(0, 8)\nx.extend([4, 5])\ny = x.pop()\nx.pop(0)\nreturn x + [y]",
        [3, 1, 2, 9, 4, 5],
    ),
    ("x = [1]\ny = x\ny += [2]\nreturn x", [1, 2]),
    ("x = [1]\ny = x\ny = y + [2]\nreturn x", [1]),
    ("x = {'a': [1]}\ny = x['a']\nx['a'] += [2]\nreturn y", [1, 2]),
    ("x = [[0] * 2] * 2\nx[0][1] = 5\nreturn x[1]", [0, 5]),
    ("x = [10, 20, 30, 40]\nreturn x[1:3] + x[:1] + x[3:] + [x[-1]]", [20, 30, 10, 40, 40]),
    (
        "d = {'b': 1, 'a': 2}\nd['c'] = 3\nd['b'] += 5\ndel d['a']\nreturn [d['b'], d.get('z', 9), d.pop('c'), len(d)]",
        [6, 9, 3, 1],
    ),
    ("d = {3: 4, 1: 2}\nreturn [k for k in d] + d.keys() + d.values() if n < 0 else [v for k, v in d.items()]", [4, 2]),
    ("d = {k: k * k for k in range(4) if k % 2 == 1}\nreturn [d[1], d[3], int(2 in d)]", [1, 9, 0]),
    ("d = {}\nfor word in ['x', 'y', 'x']:\n    d[word] = d.get(word, 0) + 1\nreturn [d['x'], d['y']]", [2, 1]),
    ("return [i * 10 + j for i in range(2) for j in range(3) if i != j]", [1, 2, 10, 12]),
    ("return [a + b for a, b in zip([1, 2], [10, 20])] + [i * v for i, v in enumerate([5, 6], 1)]", [11, 22, 5, 12]),
    ("return list(reversed([1, 2])) + sorted([3, 1, 2]) + sorted((2, 3), reverse=True)", [2, 1, 1, 2, 3, 3, 2]),
    (
        "return [i + a * b for i, (a, b) in enumerate(zip([1, 2], [3, 4]))] + [len(list(enumerate(zip([1], [2]))))]",
        [3, 9, 1],
    ),
    ("return [a + b + c for a, (b, c) in zip([1], [(2, 3)])]", [6]),
    (
        "return [min(3, 1), max([4, 9, 2]), sum((1, 2, 3)), abs(-4), len('abc'), int(all([1, 0])), int(any([0, 1]))]",
        [1, 9, 6, 4, 3, 0, 1],
    ),
    ("q, r = divmod(17, n)\nreturn [q, r]", [3, 2]),
    ("a, b = 1, 2\na, b = b, a\nreturn [a, b]", [2, 1]),
    ("x = 0\nwhile True:\n    x += 1\n    if x == 3:\n        continue\n    if x > n:\n        break\nreturn [x]", [6]),
    (
        "out: list[int] = []\nfor i in range(10, 0, -3):\n    if i == 7:\n        continue\n    out.append(i)\nreturn out",
        [10, 4, 1],
    ),
    (
        "out: list[int] = []\nfor i in range(3):\n    for j in range(3):\n        if j == i:\n            break\n        out.append(i * 10 + j)\nreturn out",
        [10, 20, 21],
    ),
    ("for i in range(3):\n    n += 0 if i else 1\nreturn [n]", [6]),
    ("if n > 9:\n    return [1]\nelif n > 4:\n    n = n + 1\nelse:\n    return [2]\nreturn [n]", [6]),
    (
        "p = Point(1, 'a')\np = replace(p, x=p.x + n)\nq = Point(label='b', x=2)\nreturn [p.x, q.x, int(p.label == 'a'), int(p == (6, 'a')), len(p), p[0]]",
        [6, 2, 1, 1, 2, 6],
    ),
    (
        "points[('z', 1)] = Point(n, 'a')\nreturn [points[('z', 1)].x, int(('z', 1) in points), int(('z', 2) in points)]",
        [5, 1, 0],
    ),
    ("lists[1] = [1]\nx = lists[1]\nx.append(2)\nreturn [len(lists[1])]", [1]),
    ("x = [1]\nlists[1] = x\nx.append(2)\nreturn lists[1]", [1]),
    ("counts['a'] = 1\ncounts['a'] += n\ndel counts['a']\ncounts['a'] = counts.get('a', 7)\nreturn [counts['a']]", [7]),
    ("total.set(total.get() + 2)\nreturn [total.get()]", [42]),
    (
        "before = where.get()\nwhere.set(Point(1, 'x'))\nafter = where.get()\nrequire(after is not None, 'NONE')\nreturn [int(before is None), after.x]",
        [1, 1],
    ),
    (
        "return [double(n), double(n=3), mean([1, 2, 6]), RATES[1], sum(RATES), int(NAME == 'north'), int('or' in NAME)]",
        [10, 6, 3, 5, 15, 1, 1],
    ),
    (
        "s = 'a' + str(n) + str(-3) + '-'.join(['x', 'y'])\nreturn [len(s), int(s == 'a5-3x-y'), int(s.startswith('a5')), int(s.endswith('z')), int('12'), ord(s[0])]",
        [7, 1, 1, 0, 12, 97],
    ),
    (
        "h = sha256('abc'.encode())\nreturn [len(h), h[0], int(h.hex().startswith('ba7816bf')), len(address_of(h))]",
        [32, 0xBA, 1, 40],
    ),
    (
        "return [int(ed25519_verify(b'k' * 32, b'm' * 32, b'k' * 32 + b'm' * 32)), int(ed25519_verify(b'', b'm', b''))]",
        [1, 0],
    ),
    ("return [ctx.height, ctx.time_ms, int(ctx.sender == ctx.caller), int(ctx.contract == 'c')]", [3, 3000, 1, 1]),
    ("emit('Seen', b=[1, (2, 'x')], a=Point(1, 'p'), n=n * 2, big=2 ** 200, none=None)\nreturn []", []),
    ("x = 2 ** 254 - 1 + 2 ** 254\nreturn [x - 1 - x, (x - 1 + 1) // x]", [-1, 1]),
    ("price = 123456\nenergy = 789\nreturn [price * energy // 1000, -price * energy // 1000]", [97406, -97407]),
    ("x: Any = [1, 2]\ny = x + [3]\nz = x * 2\nreturn y + z", [1, 2, 3, 1, 2, 1, 2]),
    ("d = {'a': 1}\ne = dict(d)\ne['a'] = 2\nf = list(d)\nreturn [d['a'], e['a'], len(f)]", [1, 2, 1]),
    ("out = []\nd = {1: 1, 2: 2}\nfor k in list(d):\n    del d[k]\n    out.append(k)\nreturn out", [1, 2]),
    ("x = [i for i in [i + 1 for i in range(n)] if i > 2]\nreturn x", [3, 4, 5]),
    ("x = [[j for j in range(i)] for i in range(3)]\nreturn [len(x), len(x[2])]", [3, 2]),
    ("x = sorted([(2, 'b'), (1, 'z'), (2, 'a')])\nreturn [p[0] for p in x]", [1, 2, 2]),
    ("t = (1, 2) + (3,)\nu = t * 2\nreturn [len(u), u[3], int(3 in t), int(t == (1, 2, 3))]", [6, 1, 1, 1]),
    ("b = b'\\x01\\x02' + b'x'\nreturn [b[0], len(b[1:]), int(b == b'\\x01\\x02x')]", [1, 2, 1]),
    ("x = []\nfor c in 'abc':\n    x.append(ord(c))\nreturn x", [97, 98, 99]),
    ("if True:\n    pass\nreturn [int(True), True + True]", [1, 2]),
]

# Lines, and the code that both worlds end with.
REFUSALS: list[tuple[str, str]] = [
    ("counts['a'] = 1\nfail('STOP')", "STOP"),
    ("x = mean([])\nreturn [x]", "EMPTY"),
    ("return [counts['nobody']]", "KEY_MISSING"),
    ("return [[1][n]]", "INDEX_ERROR"),
    ("return [1 // (n - 5)]", "ZERO_DIVISION"),
    ("x: Any = 'a'\nreturn [x]", "BAD_RESULT"),
    ("x: Any = 'a'\ncounts['a'] = x\nreturn []", "TYPE_ERROR"),
    ("counts['a'] = 2 ** 254 * 2\nreturn []", "INT_OVERFLOW"),
    ("x: Any = None\nlists[x] = []\nreturn []", "KEY_TYPE"),
    ("a, b = [1, 2, 3]\nreturn []", "VALUE_ERROR"),
    ("return [c for a, c in zip([1], [2, 3], strict=True)]", "VALUE_ERROR"),
    ("x: Any = 'a'\nreturn [x + 1]", "TYPE_ERROR"),
    ("emit('X', x=range(3))\nreturn []", "TYPE_ERROR"),
    ("counts['x' * 1000] = 1\nreturn []", "VALUE_TOO_LARGE"),
    ("call('c', 'f', n)\nreturn []", "REENTRANT"),
    ("call('nobody', 'f', n)\nreturn []", "UNKNOWN_CONTRACT"),
    ("x: Any = None\nreturn [x.label]", "TYPE_ERROR"),
    ("p: Any = (1, 2)\nreturn [p.x]", "TYPE_ERROR"),
]


def contract(lines: str) -> str:
    body = "".join(f"    {line}\n" for line in lines.split("\n"))
    return f"{HEADER}\n@export\ndef f(n: int) -> list[int]:\n{body}"


def world(source: str) -> TwinWorld:
    found = TwinWorld()
    found.height, found.time_ms = 3, 3_000
    found.deploy("c", source)
    return found


@pytest.mark.parametrize(("lines", "wanted"), RESULTS)
def test_both_worlds_give_this_result(lines: str, wanted: list[int]) -> None:
    assert world(contract(lines)).call("c", "f", 5) == wanted


@pytest.mark.parametrize(("lines", "code"), REFUSALS)
def test_both_worlds_refuse_with_this_code_and_keep_nothing(lines: str, code: str) -> None:
    found = world(contract(lines))
    with pytest.raises(ContractError) as refusal:
        found.call("c", "f", 5)
    assert refusal.value.code == code
    assert found.state == {}
    assert found.events == []


def test_state_lives_from_call_to_call() -> None:
    found = world(contract("total.set(total.get() + n)\nreturn [total.get()]"))
    assert [found.call("c", "f", 1), found.call("c", "f", 2)] == [[41], [43]]


def test_a_local_may_have_the_name_of_a_function() -> None:
    assert world(contract("double = n + 1\nreturn [double]")).call("c", "f", 5) == [6]


def test_results_of_other_contracts_are_plain_copies() -> None:
    found = world(
        contract(
            "x = call('d', 'points', 3)\nx[0][1].append(9)\ny = call('d', 'points', 3)\nreturn y[0][1] + [y[0][0]]"
        )
    )
    found.deploy(
        "d",
        "from contracts.host import NamedTuple, view\n"
        'P = NamedTuple("P", [("x", int), ("tags", list[int])])\n'
        "@view\ndef points(n: int) -> list[P]:\n    return [P(n, [1])]\n",
    )
    assert found.call("c", "f", 5) == [1, 3]


def test_only_governance_migrates_and_only_directly() -> None:
    found = world(contract("call('d', 'migrate', n)\nreturn []"))
    source = "from contracts.host import Value, export\n" + 'v: Value[int] = Value("v", 0)\n'
    found.deploy("d", source + "@export\ndef migrate(old_version: int) -> None:\n    v.set(old_version)\n")
    for sender, name, function in (("a" * 40, "d", "migrate"), ("a" * 40, "c", "f"), ("governance", "c", "f")):
        with pytest.raises(ContractError, match="NOT_GOVERNANCE"):
            found.as_(sender).call(name, function, 1)
    found.as_("governance").call("d", "migrate", 1)
    assert list(found.state.values()) == [b"\x01"]


def test_fields_of_events_and_records_may_be_named_like_the_parameters_of_the_host() -> None:
    """Found by random programs: under plain CPython a field `name` met emit's own parameter."""
    source = (
        "from contracts.host import NamedTuple, emit, export, replace\n"
        'Thing = NamedTuple("Thing", [("name", str), ("record", int)])\n'
        "@export\ndef f(name: str) -> str:\n"
        "    thing = replace(Thing(name, 1), name=name + name, record=2)\n"
        "    emit('Made', name=thing.name, record=thing.record, self=1)\n"
        "    return thing.name\n"
    )
    world = TwinWorld()
    world.deploy("c", source)
    assert world.call("c", "f", "x") == "xx"
    assert world.events[-1].fields == {"name": "xx", "record": 2, "self": 1}
