"""Command-line words into values, by the types that a contract's interface names."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from gridbft.abi import Type, item_types, parse_type
from gridbft.records import ContractAbi, FunctionAbi
from node.cli.output import InputError

Resolve = Callable[[str], str]
"""A key's name -> its address; raises InputError or WalletError where there is none."""

_INTEGER = re.compile(r"[+-]?[0-9]+(_[0-9]+)*")


def arguments(function: FunctionAbi, words: Sequence[str], resolve: Resolve) -> list[Any]:
    """One value for each parameter. Raises InputError that names the parameter and what was expected."""
    if len(words) != len(function.params):
        raise InputError(f"expected {len(function.params)} arguments, found {len(words)}: {function.signature()}")
    values = []
    for param, word in zip(function.params, words, strict=True):
        try:
            values.append(from_word(parse_type(param.type), word, resolve))
        except ValueError as error:
            raise InputError(f"{param.name}: {error}") from error
    return values


def from_word(kind: Type, word: str, resolve: Resolve) -> Any:
    """A word of the command line as a value of the type. Raises ValueError saying what was expected.

    Strings are taken as they are, except that @name is the address of a key (@@ stands for one @).
    """
    match kind.name:
        case "int":
            if not _INTEGER.fullmatch(word):
                raise ValueError(f"expected a whole number such as -12 or 1_000_000, found {word!r}")
            return int(word)
        case "bool":
            if word not in ("true", "false"):
                raise ValueError(f"expected true or false, found {word!r}")
            return word == "true"
        case "str":
            return _text(word, resolve)
        case "bytes":
            return _bytes(word)
        case "None":
            if word != "null":
                raise ValueError(f"expected null, found {word!r}")
            return None
        case "|":
            return _one_of(kind, word, lambda member: from_word(member, word, resolve))
        case _:
            return from_json(kind, _json(kind, word), resolve)


def from_json(kind: Type, value: Any, resolve: Resolve) -> Any:
    """A decoded JSON value as a value of the type; bytes are hexadecimal strings, map keys are words."""
    match kind.name:
        case "int" | "bool":
            if type(value) is not (int if kind.name == "int" else bool):
                raise ValueError(f"expected {kind}, found {json.dumps(value)}")
            return value
        case "str" | "bytes":
            if not isinstance(value, str):
                raise ValueError(f"expected a JSON string for {kind}, found {json.dumps(value)}")
            return _text(value, resolve) if kind.name == "str" else _bytes(value)
        case "None":
            if value is not None:
                raise ValueError(f"expected null, found {json.dumps(value)}")
            return None
        case "|":
            return _one_of(kind, value, lambda member: from_json(member, value, resolve))
        case "dict":
            return _dict(kind, value, resolve)
        case "Any":
            return _untyped(value)
        case _:
            return _array(kind, value, resolve)


def _array(kind: Type, value: Any, resolve: Resolve) -> list[Any]:
    """Lists and tuples are JSON arrays; records too, or objects by field name. The contract takes all as arrays."""
    if kind.fields and isinstance(value, dict):
        if set(value) != set(kind.fields):
            raise ValueError(
                f"expected exactly the fields {', '.join(kind.fields)}, found {', '.join(value) or 'none'}"
            )
        value = [value[f] for f in kind.fields]
    if not isinstance(value, list):
        raise ValueError(f"expected a JSON array for {kind}, found {json.dumps(value)}")
    kinds = item_types(kind, len(value))
    fixed = kind.of if kind.fields or (kind.name == "tuple" and kind.of[-1:] != (Type("..."),)) else kinds
    if len(fixed) != len(value):
        raise ValueError(f"expected {len(fixed)} items for {kind}, found {len(value)}")
    return [from_json(k, v, resolve) for k, v in zip(kinds, value, strict=True)]


def _untyped(value: Any) -> Any:
    if isinstance(value, float):
        raise ValueError(f"expected whole numbers only, found {value!r}")
    if isinstance(value, list):
        return [_untyped(v) for v in value]
    return {k: _untyped(v) for k, v in value.items()} if isinstance(value, dict) else value


def _dict(kind: Type, value: Any, resolve: Resolve) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object for {kind}, found {json.dumps(value)}")
    if len(kind.of) != 2:
        return {k: _untyped(v) for k, v in value.items()}
    keys, values = kind.of
    return {from_word(keys, k, resolve): from_json(values, v, resolve) for k, v in value.items()}


def _one_of(kind: Type, value: Any, attempt: Callable[[Type], Any]) -> Any:
    """null first, so that `str | None` can be None; then the members in their order."""
    for member in sorted(kind.of, key=lambda m: m.name != "None"):
        try:
            return attempt(member)
        except ValueError:
            continue
    raise ValueError(f"expected {kind}, found {value!r}")


def _text(word: str, resolve: Resolve) -> str:
    if word.startswith("@@"):
        return word[1:]
    return resolve(word[1:]) if word.startswith("@") else word


def _bytes(word: str) -> bytes:
    try:
        return bytes.fromhex(word.removeprefix("0x"))
    except ValueError as error:
        raise ValueError(f"expected hexadecimal bytes, found {word!r}") from error


def _json(kind: Type, word: str) -> Any:
    try:
        return json.loads(word)
    except ValueError as error:
        raise ValueError(f"expected JSON for {kind}, found {word!r}") from error


def find_function(contracts: Sequence[ContractAbi], contract: str, function: str, view: bool) -> FunctionAbi:
    """Raises InputError that lists what there is instead."""
    abi = next((c for c in contracts if c.name == contract), None)
    if abi is None:
        raise InputError(f"no contract {contract!r}; there are: {', '.join(c.name for c in contracts) or 'none'}")
    found = abi.function(function)
    if found is None or found.view != view:
        kind, other = ("view", "function") if view else ("function", "view")
        names = ", ".join(f.name for f in abi.functions if f.view == view) or "none"
        hint = f" (it is a {other})" if found is not None else ""
        raise InputError(f"{contract} has no {kind} {function!r}{hint}; there are: {names}")
    return found
