"""Random programs of the language, one for each seed: the same program from the same seed on every interpreter."""

from __future__ import annotations

from random import Random

HEADER = """from contracts.host import Map, NamedTuple, Value, ctx, emit, export, replace, require
Pair = NamedTuple("Pair", [("left", int), ("right", str)])
ints: Map[str, int] = Map("ints")
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
        ]
        lines = [*start, *self.block(3, 8), "return [a, b, c, len(s), len(t), sum(d.values())] + xs[:50] + ys[:50]"]
        return HEADER + "@export\ndef f(n: int) -> list[int]:\n" + "".join(f"    {line}\n" for line in lines)

    def block(self, depth: int, most: int) -> list[str]:
        return [line for _ in range(self.random.randint(1, most)) for line in self.statement(depth)]

    def nested(self, head: str, depth: int) -> list[str]:
        return [head, *("    " + line for line in self.block(depth - 1, 3))]

    def statement(self, depth: int) -> list[str]:
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
