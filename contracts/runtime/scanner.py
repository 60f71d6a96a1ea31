"""The first door: the source as characters, before Python's parser may see it.

The parser's own limits (nesting, recursion, digits, escapes, string prefixes) differ between Python versions. What passes
here is far inside of all of them, so that acceptance never depends on the interpreter.
"""

from __future__ import annotations

import re

MAX_SOURCE_BYTES = 65_536
MAX_BRACKETS = 24
MAX_OPERATORS_PER_LINE = 256
MAX_ELIFS = 32
MAX_NUMBER_CHARACTERS = 80
MAX_STRING_CHARACTERS = 4_096

# One token of a contract; whatever matches none of these is refused.
_TOKEN = re.compile(
    r"""
    (?P<space>[ ]+) | (?P<newline>\n) | (?P<comment>\#[^\n]*)
  | (?P<triple>(?P<tprefix>[A-Za-z]*)(?P<tquote>\"\"\"|''')(?P<tbody>(?:[^\\]|\\.)*?)(?P=tquote))
  | (?P<string>(?P<sprefix>[A-Za-z]*)(?P<squote>["'])(?P<sbody>(?:[^\\\n]|\\[^\n])*?)(?P=squote))
  | (?P<number>\.?[0-9][0-9A-Za-z_.]*)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<open>[(\[{]) | (?P<close>[)\]}])
  | (?P<ellipsis>\.\.\.)
  | (?P<operator>->|\*\*=?|//=?|<<=?|>>=?|[-+*%&|^]=|[<>=!]=|[-+*/%&|^~<>=.,:;@!\\])
    """,
    re.VERBOSE | re.DOTALL,
)
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+(_[0-9a-fA-F]+)*|[1-9][0-9]*(_[0-9]+)*|0")
_FLOAT = re.compile(r"[0-9_]*\.[0-9_]*([eE][-+]?[0-9]*)?[jJ]?|[0-9][0-9_]*([eE][0-9]*)?[jJ]?")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_HEX_ESCAPE = re.compile(r"\\x[0-9a-fA-F]{2}")
_NESTING_WORDS = frozenset({"not", "if", "else", "and", "or", "in", "is", "lambda", "await", "for"})

Finding = tuple[int, int, str, str]  # line, column, code, message


def scan(source: bytes) -> Finding | None:
    """The first reason to refuse the source before parsing it, or None."""
    if len(source) > MAX_SOURCE_BYTES:
        return 1, 1, "SOURCE_TOO_LARGE", f"a contract is at most {MAX_SOURCE_BYTES} bytes: split it into two contracts"
    for number, line in enumerate(source.split(b"\n"), 1):
        column = next((i for i, byte in enumerate(line, 1) if not 32 <= byte < 127), None)
        if column is not None:
            return number, column, "NOT_ASCII", "printable ASCII, spaces and line feeds only: no tabs, no other letters"
    return _Scan(source.decode("ascii")).run()


class _Scan:
    """Walks the tokens once, counting what nests."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.line = 1
        self.line_start = 0
        self.brackets = 0
        self.operators = 0
        self.elifs = 0

    def run(self) -> Finding | None:
        position = 0
        while position < len(self.text):
            match = _TOKEN.match(self.text, position)
            column = position - self.line_start + 1
            if match is None:
                return self.line, column, "SYNTAX", "this is not the beginning of anything in the language"
            problem = self._token(match)
            if problem is not None:
                return self.line, column, *problem
            self._advance(match)
            position = match.end()
        return None

    def _advance(self, match: re.Match[str]) -> None:
        lines = match.group().count("\n")
        if lines:
            self.line += lines
            self.line_start = match.start() + match.group().rindex("\n") + 1

    def _token(self, match: re.Match[str]) -> tuple[str, str] | None:
        kind = match.lastgroup
        if kind == "string":
            return _string_problem(match.group("sprefix"), match.group("sbody"))
        if kind == "triple":
            return _string_problem(match.group("tprefix"), match.group("tbody"))
        if kind == "number":
            return _number_problem(match.group())
        return self._nesting_problem(kind, match.group())

    def _nesting_problem(self, kind: str | None, token: str) -> tuple[str, str] | None:
        if kind == "newline" and self.brackets == 0:
            self.operators = 0
        elif kind == "open":
            self.brackets += 1
        elif kind == "close":
            self.brackets = max(0, self.brackets - 1)
        elif token in _NESTING_WORDS or (kind == "operator" and token not in ",:;="):
            self.operators += 1
        elif token == "elif":
            self.elifs += 1
        elif token in ("def", "for", "while"):
            self.elifs = 0
        if self.brackets > MAX_BRACKETS:
            return "NESTING", f"at most {MAX_BRACKETS} brackets deep: name the parts"
        if self.operators > MAX_OPERATORS_PER_LINE:
            return "NESTING", f"at most {MAX_OPERATORS_PER_LINE} operators in one line: name the parts"
        if self.elifs > MAX_ELIFS:
            return "NESTING", f"at most {MAX_ELIFS} elif branches in a row"
        if token == "\\":
            return "SYNTAX", "no line continuation by a backslash: use brackets"
        return None


def _string_problem(prefix: str, body: str) -> tuple[str, str] | None:
    if prefix not in ("", "b"):
        code = "F_STRING" if "f" in prefix.lower() or "t" in prefix.lower() else "STRING_PREFIX"
        return code, "strings have no prefix but b: build text with str() and +"
    if len(body) > MAX_STRING_CHARACTERS:
        return "CONSTANT_TOO_LARGE", f"a string is at most {MAX_STRING_CHARACTERS} characters"
    for escape in _ESCAPE.finditer(body):
        if escape.group(1) == "x" and prefix == "b" and _HEX_ESCAPE.match(body, escape.start()):
            continue
        if escape.group(1) not in "nt\\'\"":
            return "ESCAPE", "escapes are \\n, \\t, \\\\, \\' and \\\", and \\xNN in bytes"
    return None


def _number_problem(token: str) -> tuple[str, str] | None:
    if len(token) > MAX_NUMBER_CHARACTERS:
        return "CONSTANT_TOO_LARGE", "integers have at most 256 bits"
    if _NUMBER.fullmatch(token):
        return None
    if "." in token or (_FLOAT.fullmatch(token) and not token.isdigit()):
        return "FLOAT", "integers only: give the quantity a smaller unit (Wh, micros)"
    return "NUMBER", "an integer is 123, 1_000 or 0xff, with a space after it"
