"""Random programs of the language, one for each seed: the same program from the same seed on every interpreter."""

from __future__ import annotations

from random import Random

HEADER = """from contracts.host import Map, NamedTuple, Value, call, ctx, emit, export, replace, require
from contracts.host import column_above, column_sum, column_value, column_values, pack_column
Pair = NamedTuple("Pair", [("left", int), ("right", str)])
Box = NamedTuple("Box", [("pair", Pair), ("row", list[int]), ("note", str | None)])
ints: Map[str, int] = Map("ints")
boxes: Map[int, Box] = Map("boxes")
grids: Map[str, list[list[int]]] = Map("grids")
columns: Map[str, bytes] = Map("columns")
pairs: Map[tuple[int, str], Pair] = Map("pairs")
total: Value[int] = Value("total", 7)
BASE = 11
WORDS = ("x", "yy", "zzz")


def mix(a: int, b: int) -> int:
    if a > b:
        return a - b
    return (a * 31 + b) % 1009


def tag(a: int) -> str:
    total.set(total.get() + 1)
    return WORDS[a % 3] + str(a % 10)


"""
# What programs call: it keeps records of its own, turns nested lists about, and sometimes calls back, which is refused.
OTHER = """from contracts.host import Map, NamedTuple, Value, call, ctx, emit, export, require, view
Item = NamedTuple("Item", [("name", str), ("parts", list[int])])
seen: Map[str, Item] = Map("seen")
turns: Value[int] = Value("turns", 0)


@export
def note(name: str, parts: list[int]) -> int:
    require(len(parts) < 25, "TOO_MANY")
    turns.set(turns.get() + 1)
    before = seen.get(name, Item(name, []))
    seen[name] = Item(ctx.caller, parts + before.parts[:3])
    emit("Noted", name=name, parts=parts, turn=turns.get())
    return sum(before.parts) % 1009


@export
def back(function: str) -> int:
    result: int = call(ctx.caller, function, 1)
    return result


@view
def turned(rows: list[list[int]]) -> list[list[int]]:
    return [row[1:] + row[:1] for row in rows if len(row) < 30]


@view
def known(name: str) -> Item | None:
    return seen.get(name, None)
"""
INTS, LISTS, TEXTS, DICTS = ("a", "b", "c"), ("xs", "ys"), ("s", "t"), ("d",)


class Programs:
    """Grows one program: every name has a fixed type, so that most programs run to their end."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def choice(self, *options: str) -> str:
        return self.random.choice(options)

    def program(self) -> str:
        start = [
            "a = n",
            "b = 3",
            "c = -2",
            "xs = [n, 1]",
            "ys: list[int] = []",
            "s = 'k'",
            "t = tag(n)",
            "d = {'k': 1}",
            "p = Pair(n, 'p')",
            "q = Box(p, [n, 2], None)",
            "g = [[n], [1, 2]]",
            "e = {'k': [n, 3]}",
            "k = pack_column([1, 70_000])",
        ]
        end = "return [a, b, c, len(s), len(t), sum(d.values()), p.left, q.pair.left] + xs[:50] + ys[:50] + q.row[:9]"
        lines = [*start, *self.block(3, 8), end]
        return HEADER + "@export\ndef f(n: int) -> list[int]:\n" + "".join(f"    {line}\n" for line in lines)

    def block(self, depth: int, most: int) -> list[str]:
        return [line for _ in range(self.random.randint(1, most)) for line in self.statement(depth)]

    def nested(self, head: str, depth: int) -> list[str]:
        return [head, *("    " + line for line in self.block(depth - 1, 3))]

    def statement(self, depth: int) -> list[str]:
        if self.random.random() < 0.3:
            return self.structured()
        kind = self.random.randrange(20 if depth > 0 else 15)
        match kind:
            case 0 | 1 | 2:
                return [f"{self.choice(*INTS)} = {self.bounded()}"]
            case 3:
                return [f"{self.choice(*INTS)} {self.choice('+=', '-=')} {self.bounded()}", *self.cut()]
            case 4:
                return [f"{self.choice(*LISTS)}.append({self.bounded()})"]
            case 5:
                return [f"{self.choice(*LISTS)} = {self.collection()}[:20]"]
            case 6:
                return [f"{self.choice(*TEXTS)} = ({self.text()} + {self.text()})[:12]"]
            case 7:
                return [f"d[{self.text()}] = {self.bounded()}"]
            case 8:
                return [f"ints[{self.text()}] = {self.bounded()}"]
            case 9:
                return [f"pairs[({self.bounded()}, {self.text()})] = Pair({self.bounded()}, {self.text()})"]
            case 10:
                return [f"total.set(total.get() + {self.bounded()})"]
            case 11:
                return [
                    f"emit('Seen', z={self.integer(2)}, a={self.text()}, list={self.choice(*LISTS)}, d=[{self.text()}])"
                ]
            case 12:
                return [f"require({self.condition()} or {self.bounded()} < 900, 'UNLUCKY')"]
            case 13:
                return [
                    "a, b = b, a"
                    if self.random.random() < 0.5
                    else f"b, c = divmod({self.bounded()}, {self.bounded()})"
                ]
            case 14:
                return [f"xs += {self.choice(*LISTS)}[:5]", "xs = xs[:30]"]
            case 15 | 16:
                branch = self.nested(f"if {self.condition()}:", depth)
                return [*branch, *(self.nested("else:", depth) if self.random.random() < 0.5 else [])]
            case 17:
                return self.nested(f"for i in range({self.random.randint(0, 6)}):", depth)
            case 18:
                body = self.nested(
                    f"for i in {self.choice('xs[:6]', 'ys[:6]', 'sorted(xs)[:4]', '[v for v in d.values()][:5]')}:",
                    depth,
                )
                return [
                    *body,
                    f"    if {self.condition()}:",
                    f"        {self.choice('break', 'continue', 'return [a]', 'pass')}",
                ]
            case _:
                body = self.nested(f"while w{depth} > 0 and {self.condition()}:", depth)
                return [f"w{depth} = {self.random.randint(1, 5)}", body[0], f"    w{depth} -= 1", *body[1:]]

    def structured(self) -> list[str]:
        """Records, collections in collections, and calls of another contract."""
        x, y, text, items = self.bounded(), self.bounded(), self.text(), self.choice(*LISTS)
        match self.random.randrange(19):
            case 16:
                mask = self.choice(
                    "0xffff", "0xffffffff", "0xffffffff", "0x1ffffffff"
                )  # the last one is too wide at times
                return [f"k = pack_column([({self.integer(1)} * v) & {mask} for v in {items}[:9]])"]
            case 17:
                column = self.choice("k", "columns.get('k', k)", "k[4:]", "k[:8]", "k + k", "k[1:]")
                if self.random.random() < 0.3:
                    return [f"k = ({column})[:40]", f"columns[{text}] = k"]
                return [f"a = (column_sum({column}) + sum(column_values({column}))) % 1009"]
            case 18:
                limits = self.choice(
                    "k", f"pack_column([{x}])", "pack_column([2 ** 31])", "pack_column(column_values(k))"
                )
                return [
                    self.choice(f"ys = column_above(k, {limits})", f"b = column_value(k, {x} % max(len(k) // 4, 1))"),
                    f"b += len(column_above(k, {limits}))",
                ]
            case 0:
                return [f"p = replace(p, left={x}{self.choice('', f', right={text}[:9]')})"]
            case 1:
                return [f"p = {self.choice(f'pairs.get(({x}, {text}), p)', 'q.pair', f'Pair({x}, p.right)')}"]
            case 2:
                return [f"q = Box({self.choice('p', 'q.pair')}, {items}[:7], {self.choice('None', 't', 'q.note')})"]
            case 3:
                return [f"boxes[{x} % 4] = q"]
            case 4:
                return [f"q = boxes.get({x} % 4, q)", f"q.row.append({y})"]
            case 5:
                return [f"q = replace(q, pair=replace(q.pair, left={x}), row=q.row[:5] + [{y}])"]
            case 6:
                return [f"g.append({self.choice(f'{items}[:4]', f'[{x}, {y}]', 'q.row[:3]', '[]')})", "g = g[-9:]"]
            case 7:
                return [
                    f"g[{x} % len(g)] = {items}[:5]"
                    if self.random.random() < 0.5
                    else "g = [row + [1] for row in g][:7]"
                ]
            case 8:
                return [f"grids[{text}] = g", f"g = grids[{text}] + [[{x}]]"]
            case 9:
                return [f"xs = [v for row in g for v in row if v != {x}][:20]"]
            case 10:
                return [
                    f"e[{text}] = {self.choice(items, f'{items}[:3]', 'q.row')}",
                    f"a = sum(e.get({self.text()}, [a])[:9]) % 1009",
                ]
            case 11:
                return ["ys = [len(k) + sum(v[:5]) % 97 for k, v in e.items()][:20]"]
            case 12:
                return [f"a = call('other', 'note', {text}, {items}[:{self.random.randint(3, 26)}])"]
            case 13:
                return ["g = call('other', 'turned', g)[:9]", "g.append([c])"]
            case 14:
                return [
                    f"b = 0 if call('other', 'known', {text}) is None else 1",
                    f"require(g {self.choice('!=', '>')} [] or b == 0, 'EMPTY')",
                ]
            case _:
                if self.random.random() < 0.15:
                    return ["c = call('other', 'back', 'f')"]
                return [f"c = (1 if q.note is None else 2) + (p == q.pair) + len(q.row) + (0 if {x} < p.left else 5)"]

    def cut(self) -> list[str]:
        return [f"{name} = {name} % 100003" for name in INTS]

    def bounded(self) -> str:
        return f"({self.integer(2)}) % 1009"

    def integer(self, depth: int) -> str:
        if depth == 0:
            return self.choice(
                *INTS, "n", "BASE", str(self.random.randint(-9, 99)), "total.get()", "ctx.height", "len(xs)"
            )
        first, second = self.integer(depth - 1), self.integer(depth - 1)
        match self.random.randrange(12):
            case 0 | 1 | 2:
                return f"({first} {self.choice('+', '-', '*', '&', '|', '^')} {second})"
            case 3:
                return f"({first} {self.choice('//', '%')} {second})"
            case 4:
                return f"mix({first}, {second})"
            case 5:
                return f"{self.choice('min', 'max')}({first}, {second})"
            case 6:
                return f"({first} if {self.condition()} else {second})"
            case 7:
                return f"{self.choice('sum', 'max', 'min')}({self.collection()} + [{first}])"
            case 8:
                return f"ints.get({self.text()}, {first})"
            case 9:
                return f"replace(Pair({first}, {self.text()}), left={second}).left"
            case 10:
                return f"ys[{first}]" if self.random.random() < 0.1 else f"(xs + [7])[{first} % (len(xs) + 1)]"
            case _:
                return f"d.get({self.text()}, {second})"

    def collection(self) -> str:
        item = self.choice("i", "i * 2", "mix(i, n)", "i - a")
        source = self.choice(*LISTS, "range(4)", "reversed(xs)", "sorted(ys, reverse=True)", "list(d.values())")
        condition = self.choice("", f" if i > {self.random.randint(-5, 50)}", " if i in ys")
        return self.choice(
            f"[{item} for i in {source}{condition}]",
            "[p + q for p, q in zip(xs, ys)]",
            "[i + v for i, v in enumerate(xs)]",
        )

    def text(self) -> str:
        return self.choice(*TEXTS, "'k'", "tag(a)", "WORDS[1]", "str(b % 100)", "s[:2]", "'-'.join([s, t])[:9]")

    def condition(self) -> str:
        return self.choice(
            f"{self.integer(1)} {self.choice('<', '<=', '==', '!=', '>')} {self.integer(1)}",
            f"{self.text()} {self.choice('<', '==', 'in', 'not in')} {self.text()}",
            f"{self.text()} in d",
            f"{self.text()} in ints",
            f"({self.integer(0)}, {self.text()}) not in pairs",
            f"{self.integer(0)} in {self.choice(*LISTS)}",
            f"0 <= {self.integer(1)} < {self.integer(1)}",
            f"xs {self.choice('==', '<', '!=')} ys",
            f"not ({self.integer(0)} and {self.integer(0)})",
        )


def program(seed: int) -> str:
    return Programs(seed).program()
