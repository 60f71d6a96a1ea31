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

# What is never refused and never nests is run over; then comes one token, or what is no token of the language.
_TOKEN = re.compile(
    r"""
    (?:[ ]+ | [,:;] | =(?!=) | \#[^\n]*
     | (?!(?:not|if|else|elif|and|or|in|is|lambda|await|for|def|while)\b)[A-Za-z_][A-Za-z0-9_]*+(?!["'])
     | "[^"\\\n]{1,256}" | '[^'\\\n]{1,256}' | [1-9][0-9]{0,17}(?![0-9A-Za-z_.])
    )*+
    (?:
        (?P<newline>\n)
      | (?P<open>[(\[{]) | (?P<close>[)\]}])
      | (?P<triple>(?P<tprefix>[A-Za-z]*)(?P<tquote>\"\"\"|''')(?P<tbody>(?:[^\\]|\\.)*?)(?P=tquote))
      | (?P<string>(?P<sprefix>[A-Za-z]*)(?P<squote>["'])(?P<sbody>(?:[^\\\n]|\\[^\n])*?)(?P=squote))
      | (?P<number>\.?[0-9][0-9A-Za-z_.]*)
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<ellipsis>\.\.\.)
      | (?P<operator>->|\*\*=?|//=?|<<=?|>>=?|[-+*%&|^]=|[<>=!]=|[-+*/%&|^~<>=.@!\\])
      | (?P<strange>.)
      | \Z
    )
    """,
    re.VERBOSE | re.DOTALL,
)
_STRANGE = re.compile(rb"[^\x20-\x7e\n]")
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
    strange = _STRANGE.search(source)
    if strange is not None:
        where = _place(source[: strange.start()].decode("latin-1"))
        return *where, "NOT_ASCII", "printable ASCII, spaces and line feeds only: no tabs, no other letters"
    text = source.decode("ascii")
    return _tokens(text)


def _place(before: str) -> tuple[int, int]:
    """Line and column of what comes after this text."""
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def _tokens(text: str) -> Finding | None:
    """Walks the tokens once, and counts what nests."""
    brackets = operators = elifs = 0
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        problem: tuple[str, str] | None = None
        if kind == "newline":
            if brackets == 0:
                operators = 0
        elif kind == "open":
            brackets += 1
            if brackets > MAX_BRACKETS:
                problem = "NESTING", f"at most {MAX_BRACKETS} brackets deep: name the parts"
        elif kind == "close":
            brackets = max(0, brackets - 1)
        elif kind == "operator" or kind == "word":
            token = match[kind]
            if kind == "operator" or token in _NESTING_WORDS:
                operators += 1
                if operators > MAX_OPERATORS_PER_LINE:
                    problem = "NESTING", f"at most {MAX_OPERATORS_PER_LINE} operators in one line: name the parts"
                elif token == "\\":
                    problem = "SYNTAX", "no line continuation by a backslash: use brackets"
            elif token == "elif":
                elifs += 1
                if elifs > MAX_ELIFS:
                    problem = "NESTING", f"at most {MAX_ELIFS} elif branches in a row"
            elif token in ("def", "while"):
                elifs = 0
        elif kind is not None:
            problem = _problem(match, kind)
        if kind is not None and problem is not None:
            return *_place(text[: match.start(kind)]), *problem
    return None


def _problem(match: re.Match[str], kind: str) -> tuple[str, str] | None:
    match kind:
        case "string":
            return _string_problem(match["sprefix"], match["sbody"])
        case "triple":
            return _string_problem(match["tprefix"], match["tbody"])
        case "number":
            return _number_problem(match["number"])
        case "strange":
            return "SYNTAX", "this is not the beginning of anything in the language"
        case _:
            return None  # ...


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
