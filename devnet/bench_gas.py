"""Whether gas follows the clock: seconds per million gas of every costly construct, the worst against the median.

`python -m devnet.bench_gas [--json] [--gas N]`. Each construct runs in an endless loop until its gas is used up; in a checkout, the
corpus of bombs that the tests hold is measured as well. Processor time, the best of a few runs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import import_module

from contracts.runtime.api import Call
from contracts.runtime.codec import encode
from contracts.runtime.deploy import deploy_writes
from contracts.runtime.engine import MeteredRuntime

HEAD = """from contracts.host import Any, Map, NamedTuple, Value, address_of, call, ctx, ed25519_verify, emit, export, fail
from contracts.host import column_above, column_sum, column_value, column_values, pack_column, replace, require, sha256, view
Point = NamedTuple("Point", [("x", int), ("label", str)])
Wide = NamedTuple("Wide", [("a", int), ("b", str), ("c", int), ("d", str), ("e", int), ("g", str), ("h", int), ("i", str)])
counts: Map[str, int] = Map("counts")
pairs: Map[tuple[str, int], list[int]] = Map("pairs")
texts: Map[int, str] = Map("texts")
points: Map[int, Point] = Map("points")
wides: Map[int, Wide] = Map("wides")
lists: Map[str, list[int]] = Map("lists")
tables: Map[str, dict[str, int]] = Map("tables")
nested: Map[int, list[list[int]]] = Map("nested")
total: Value[int] = Value("total", 0)
def helper(n: int) -> int:
    return n + 1
def wrap(n: int, s: str) -> Point:
    return Point(n, s)
@view
def nothing() -> int:
    return 0
"""

# name, lines before the loop, the loop's lines
LOOPS: list[tuple[str, str, str]] = [
    ("empty loop", "", "pass"),
    ("add small", "x = 0", "x = x + 1"),
    ("add wide", "x = n", "x = n + n"),
    ("multiply wide", "x = 2 ** 120 + n", "y = x * x"),
    ("divide wide", "x = 2 ** 250 + n\nz = 2 ** 120 + 7", "y = x // z"),
    ("remainder wide", "x = 2 ** 250 + n\nz = 2 ** 120 + 7", "y = x % z"),
    ("power", "x = n + 3", "y = x ** 150"),
    ("power small", "x = n + 3", "y = x ** 2"),
    ("shift", "x = n + 3", "y = x << 200"),
    ("or", "x = n + 3", "y = x | 2 ** 200"),
    ("divmod", "x = 2 ** 250 + n", "a, b = divmod(x, 2 ** 100 + 3)"),
    ("compare texts", "s = 'x' * 4000\nt = 'x' * 3999 + 'y'", "y = s == t"),
    ("compare lists", "s = [1] * 2000\nt = [1] * 2000", "y = s == t"),
    ("compare small lists", "s = [1]\nt = [1]", "y = s == t"),
    ("compare lists of texts", "s = ['x' * 100] * 200\nt = ['x' * 99 + 'y'] * 200", "y = s == t"),
    ("compare nested lists", "s = [[1]] * 200\nt = [[1]] * 200", "y = s < t"),
    ("compare dicts", "s = {str(i): i for i in range(100)}\nt = {str(i): i for i in range(100)}", "y = s == t"),
    ("compare wide integers in lists", "s = [2 ** 250] * 500\nt = [2 ** 250] * 500", "y = s == t"),
    ("compare records", "s = Point(1, 'a')\nt = Point(1, 'a')", "y = s == t"),
    ("in list", "s = [i for i in range(1000)]", "y = n - 1 in s"),
    ("in list of texts", "s = ['x' * 60 + str(i) for i in range(300)]\nt = 'x' * 60 + '!'", "y = t in s"),
    ("in small list", "s = [1, 2]", "y = n in s"),
    ("in text", "s = 'ab' * 2000\nt = 'ab' * 20 + 'c'", "y = t in s"),
    ("in bytes", "s = b'ab' * 2000\nt = b'ab' * 900 + b'c'", "y = t in s"),
    ("in text, periodic", "s = ('a' * 60 + 'b') * 60\nt = 'a' * 30 + 'b' + 'a' * 61", "y = t in s"),
    ("in text, every pair", "s = 'a' * 2400\nt = 'a' * 600 + 'b' + 'a' * 599", "y = t in s"),
    ("in bytes, every pair", "s = b'a' * 4000\nt = b'a' * 1500 + b'b' + b'a' * 1499", "y = t in s"),
    ("in text, short pattern", "s = 'a' * 4000\nt = 'a' * 40 + 'b' + 'a' * 39", "y = t in s"),
    ("write empty lists", "s: list[list[int]] = [[] for i in range(200)]", "nested[1] = s"),
    ("read empty lists", "nested[1] = [[] for i in range(200)]", "y = nested[1]"),
    ("in dict", "s = {str(i): i for i in range(100)}", "y = 'zz' in s"),
    ("join texts", "s = ['x' * 10] * 300", "y = ','.join(s)"),
    ("join small", "s = ['x']", "y = ','.join(s)"),
    ("text plus text", "s = 'x' * 2000", "y = s + s"),
    ("text plus text, small", "s = 'x'", "y = s + s"),
    ("text times", "", "y = 'x' * 4000"),
    ("text slice", "s = 'x' * 4000", "y = s[1:3999]"),
    ("text slice, small", "s = 'x' * 4000", "y = s[1:3]"),
    ("text item", "s = 'x' * 100", "y = s[7]"),
    ("text encode", "s = 'x' * 4000", "y = s.encode()"),
    ("bytes hex", "s = b'x' * 2000", "y = s.hex()"),
    ("startswith", "s = 'x' * 4000", "y = s.startswith(s)"),
    ("int of text", "", "y = int('7' * 76)"),
    ("text of int", "x = 2 ** 254 + n", "y = str(x)"),
    ("text of small int", "", "y = str(n)"),
    ("ord", "", "y = ord('x')"),
    ("list of ints", "", "y = [1, 2, 3, 4, 5, 6, 7, 8]"),
    ("empty list", "", "y = []"),
    ("empty dict", "", "y = {}"),
    ("dict", "", "y = {'a': 1, 'b': 2, 'c': 3}"),
    ("tuple", "", "y = (n, n, n)"),
    ("unpack", "s = (1, 2, 3)", "a, b, c = s"),
    ("list plus list", "s = [1] * 1000", "y = s + s"),
    ("list plus list, small", "s = [1]", "y = s + s"),
    ("list times", "", "y = [0] * 5000"),
    ("list slice", "s = [1] * 2000", "y = s[1:]"),
    ("list of range", "", "y = list(range(1000))"),
    ("list of zip", "s = [1] * 500", "y = list(zip(s, s, s, s))"),
    ("list of enumerate", "s = [1] * 500", "y = list(enumerate(s))"),
    ("list of reversed", "s = [1] * 500", "y = list(reversed(s))"),
    ("tuple of list", "s = [1] * 500", "y = tuple(s)"),
    ("dict of pairs", "s = [(str(i), i) for i in range(200)]", "y = dict(s)"),
    ("dict of dict", "s = {str(i): i for i in range(200)}", "y = dict(s)"),
    ("comprehension", "", "y = [i for i in range(500)]"),
    ("comprehension, small", "", "y = [i for i in range(1)]"),
    ("comprehension of texts", "s = 'x' * 50", "y = [s + s for i in range(100)]"),
    ("dict comprehension", "", "y = {i: i for i in range(300)}"),
    ("dict comprehension of texts", "", "y = {str(i): i for i in range(300)}"),
    ("comprehension with condition", "", "y = [i for i in range(500) if i > 1000]"),
    ("append", "s = [1]", "s.append(1)\nif len(s) > 1000:\n    s = [1]"),
    ("insert", "s = [1] * 5000", "s.insert(0, 1)\ny = s.pop()"),
    ("pop first", "s = [1] * 5000", "y = s.pop(0)\ns.append(1)"),
    ("extend", "t = [1] * 100", "s = [1]\ns.extend(t)"),
    ("delete item", "s = [1] * 5000", "del s[0]\ns.append(1)"),
    ("store item", "s = [1] * 50", "s[7] = n"),
    ("store in dict", "s = {'a': 1}", "s['a'] = n"),
    ("grow dict", "s = {0: 0}\ni = 0", "s[i] = i\ni += 1\nif i > 500:\n    s = {0: 0}\n    i = 0"),
    ("dict get", "s = {'a': 1}", "y = s.get('b', 2)"),
    ("dict items", "s = {str(i): i for i in range(200)}", "y = s.items()"),
    ("dict keys", "s = {str(i): i for i in range(200)}", "y = s.keys()"),
    ("sum", "s = [1] * 1000", "y = sum(s)"),
    ("sum wide", "s = [2 ** 200] * 1000", "y = sum(s)"),
    ("min of list", "s = [1] * 1000", "y = min(s)"),
    ("max of two", "", "y = max(n, 7)"),
    ("max of texts", "s = ['x' * 200 + str(i) for i in range(100)]", "y = max(s)"),
    ("any", "s = [0] * 1000", "y = any(s)"),
    ("sort sorted", "s = [i for i in range(1000)]", "y = sorted(s)"),
    ("sort mixed", "s = [i * 7919 % 1009 for i in range(1000)]", "y = sorted(s)"),
    ("sort wide", "s = [2 ** 200 + i * 7919 % 1009 for i in range(1000)]", "y = sorted(s)"),
    ("sort pairs", "s = [(1, i * 7919 % 1009) for i in range(500)]", "y = sorted(s)"),
    ("sort texts", "s = ['x' * 60 + str(i * 7919 % 1009) for i in range(500)]", "y = sorted(s)"),
    ("sort lists", "s = [[1, 1, 1, i * 7919 % 1009] for i in range(300)]", "y = sorted(s)"),
    ("sort small", "s = [2, 1]", "y = sorted(s)"),
    ("call own function", "", "y = helper(n)"),
    ("column sum", "s = pack_column([i for i in range(1000)])", "y = column_sum(s)"),
    ("column sum, small", "s = pack_column([1])", "y = column_sum(s)"),
    ("column value", "s = pack_column([i for i in range(1000)])", "y = column_value(s, 999)"),
    ("column values", "s = pack_column([2 ** 31 + i for i in range(1000)])", "y = column_values(s)"),
    ("column values, small", "s = pack_column([1])", "y = column_values(s)"),
    (
        "column above one limit",
        "s = pack_column([2 ** 31 + i for i in range(1000)])\nt = pack_column([2 ** 32 - 1])",
        "y = column_above(s, t)",
    ),
    (
        "column above one limit, all",
        "s = pack_column([2 ** 31 + i for i in range(1000)])\nt = pack_column([0])",
        "y = column_above(s, t)",
    ),
    ("column above limits", "s = pack_column([2 ** 31 + i for i in range(1000)])", "y = column_above(s, s)"),
    (
        "column above limits, all",
        "s = pack_column([2 ** 31 + i for i in range(1000)])\nt = pack_column([i for i in range(1000)])",
        "y = column_above(s, t)",
    ),
    ("column above, small", "s = pack_column([1])", "y = column_above(s, s)"),
    ("pack column", "s = [2 ** 31 + i for i in range(1000)]", "y = pack_column(s)"),
    ("pack column, small", "s = [1]", "y = pack_column(s)"),
    ("make record", "", "y = Point(n, 'a')"),
    ("record from function", "", "y = wrap(n, 'a')"),
    ("record field", "p = Point(1, 'a')", "y = p.x"),
    ("replace", "p = Point(1, 'a')", "p = replace(p, x=2)"),
    (
        "replace wide",
        "p = Wide(1, '', 2, '', 3, '', 4, '')",
        "p = replace(p, a=2, b='x', c=3, d='y', e=4, g='z', h=5, i='w')",
    ),
    ("ctx", "", "y = ctx.height"),
    ("require", "", "require(n == 0, 'X')"),
    ("sha256", "s = b'x' * 4000", "y = sha256(s)"),
    ("sha256 small", "", "y = sha256(b'x')"),
    ("address_of", "", "y = address_of(b'x')"),
    ("read int", "counts['a'] = 1", "y = counts['a']"),
    ("read absent", "", "y = counts.get('zz', 0)"),
    ("ask for a key", "", "y = 'zz' in counts"),
    ("write int", "", "counts['a'] = n"),
    ("write int, wide", "", "counts['a'] = 2 ** 250 + n"),
    ("write new keys", "i = 0", "texts[i] = 'x'\ni += 1"),
    ("delete", "", "counts['a'] = 1\ndel counts['a']"),
    ("write text", "s = 'x' * 4000", "texts[1] = s"),
    ("read text", "texts[1] = 'x' * 4000", "y = texts[1]"),
    ("write small list", "s = [1, 2, 3]", "lists['a'] = s"),
    ("write empty list", "s: list[int] = []", "lists['a'] = s"),
    ("read small list", "lists['a'] = [1, 2, 3]", "y = lists['a']"),
    ("write list", "s = [i for i in range(1000)]", "lists['a'] = s"),
    ("write wide list", "s = [2 ** 200 + i for i in range(500)]", "lists['a'] = s"),
    ("read list", "lists['a'] = [i for i in range(1000)]", "y = lists['a']"),
    ("read wide list", "lists['a'] = [2 ** 200 + i for i in range(500)]", "y = lists['a']"),
    ("write nested", "s = [[1]] * 200", "nested[1] = s"),
    ("read nested", "nested[1] = [[1]] * 200", "y = nested[1]"),
    ("write table", "s = {str(i): i for i in range(200)}", "tables['a'] = s"),
    ("read table", "tables['a'] = {str(i): i for i in range(200)}", "y = tables['a']"),
    ("write record", "p = Point(1, 'a')", "points[1] = p"),
    ("read record", "points[1] = Point(1, 'a')", "y = points[1]"),
    ("write wide record", "p = Wide(1, '', 2, '', 3, '', 4, '')", "wides[1] = p"),
    ("read wide record", "wides[1] = Wide(1, '', 2, '', 3, '', 4, '')", "y = wides[1]"),
    ("tuple key", "pairs['a', 1] = [1]", "y = pairs['a', 1]"),
    ("tuple key, absent", "", "y = ('a', n) in pairs"),
    ("long key", "s = 'x' * 500", "y = s in counts"),
    ("value", "", "total.set(n)\ny = total.get()"),
    ("emit", "", "emit('X', a=n)"),
    ("emit wide", "", "emit('X', a=n, b=n, c=n, d=n, e=n, f=n, g=n, h=n)"),
    ("emit list", "s = [i for i in range(200)]", "emit('X', a=s)"),
    ("emit record", "p = Point(1, 'a')", "emit('X', a=p)"),
    ("call another contract", "", "y = call('other', 'nothing')"),
]


@dataclass(frozen=True, slots=True)
class Rate:
    name: str
    seconds_per_million_gas: float
    times_median: float = 0.0


def loop_source(before: str, inside: str) -> str:
    lines = [*before.split("\n"), "while True:", *("    " + line for line in inside.split("\n"))]
    body = "".join(f"    {line}\n" for line in lines if line)
    return f"{HEAD}@export\ndef f(n: int) -> int:\n{body}    return 0\n"


def corpus() -> Iterator[tuple[str, str]]:
    """The tests' bombs, where there are tests: an installed package has none."""
    try:
        found = import_module("tests.contracts.runtime.corpus")
    except ImportError:
        return
    for text, code in found.BOMBS:
        if code == "OUT_OF_GAS":
            yield "bomb: " + text.replace("\n", " | "), found.body(text)


def rate(source: str, gas: int, repeats: int) -> float:
    """Seconds of a million gas. A program that ends before half of its gas has too little to measure: 0."""
    runtime = MeteredRuntime(lambda *_: True)
    state = deploy_writes("c", source.encode()) | deploy_writes("other", loop_source("", "pass").encode())
    call = Call("c", "f", encode([0]), "a" * 40, 1, 1)
    runtime.execute(call, state, 100_000)
    best, used = float("inf"), 0
    for _ in range(repeats):
        start = time.process_time()
        used = runtime.execute(call, state, gas).gas_used
        best = min(best, time.process_time() - start)
    return best * 1e6 / used if used > gas // 2 else 0.0


def measure(gas: int, repeats: int) -> list[Rate]:
    """Worst first."""
    programs = [(name, loop_source(before, inside)) for name, before, inside in LOOPS] + list(corpus())
    found = [(name, rate(source, gas, repeats)) for name, source in programs]
    found = [(name, seconds) for name, seconds in found if seconds]
    median = statistics.median(seconds for _, seconds in found)
    rates = [Rate(name, round(seconds, 6), round(seconds / median, 2)) for name, seconds in found]
    return sorted(rates, key=lambda r: -r.seconds_per_million_gas)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Seconds per million gas of every construct, the worst first.")
    parser.add_argument("--gas", type=int, default=3_000_000, help="what each program gets")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--show", type=int, default=15, help="how many of the worst to list")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    rates = measure(options.gas, options.repeats)
    seconds = [r.seconds_per_million_gas for r in rates]
    report = {
        "programs": len(rates),
        "median_s": round(statistics.median(seconds), 6),
        "worst_s": seconds[0],
        "best_s": seconds[-1],
        "worst_times_median": rates[0].times_median,
    }
    if options.json:
        print(json.dumps({**report, "rates": [asdict(r) for r in rates]}))
        return 0
    for r in rates[: options.show]:
        print(f"{r.times_median:6.2f}x {r.seconds_per_million_gas * 1e3:8.2f} ms  {r.name[:100]}")
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
