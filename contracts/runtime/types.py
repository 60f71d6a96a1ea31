"""The types of the language: what annotations say, and what values must then be.

Annotations are the ABI: `parse` reads one, `render` writes it, `converter` makes the function that checks a value.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, assert_never

from contracts.runtime.codec import INT_MAX, INT_MIN, MAX_TEXT

SCALARS = ("int", "str", "bytes", "bool")


@dataclass(frozen=True, slots=True)
class Scalar:
    """int, str, bytes, bool, None; Any stands only where nothing crosses the contract's door."""

    name: str


@dataclass(frozen=True, slots=True)
class ListOf:
    item: Type


@dataclass(frozen=True, slots=True)
class TupleOf:
    items: tuple[Type, ...]


@dataclass(frozen=True, slots=True)
class TupleEach:
    """tuple[T, ...]"""

    item: Type


@dataclass(frozen=True, slots=True)
class DictOf:
    key: Type
    value: Type


@dataclass(frozen=True, slots=True)
class RecordOf:
    name: str
    fields: tuple[tuple[str, Type], ...]


@dataclass(frozen=True, slots=True)
class OptionalOf:
    item: Type


Type: TypeAlias = Scalar | ListOf | TupleOf | TupleEach | DictOf | RecordOf | OptionalOf

INT, STR, BOOL, NONE, ANY = Scalar("int"), Scalar("str"), Scalar("bool"), Scalar("None"), Scalar("Any")


class BadType(ValueError):  # noqa: N818 - reads as what the annotation is
    """An annotation outside of the language; `node` is where."""

    def __init__(self, node: ast.expr, message: str) -> None:
        super().__init__(message)
        self.node = node


def parse(node: ast.expr, records: Mapping[str, RecordOf]) -> Type:
    """Raises BadType."""
    match node:
        case ast.Constant(value=None):
            return NONE
        case ast.Name(id=name) if name in SCALARS or name == "Any":
            return Scalar(name)
        case ast.Name(id=name) if name in records:
            return records[name]
        case ast.Subscript(value=ast.Name(id="list"), slice=item):
            return ListOf(parse(item, records))
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=[item, ast.Constant(value=rest)])) if (
            rest is ...
        ):
            return TupleEach(parse(item, records))
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=items)):
            return TupleOf(tuple(parse(item, records) for item in items))
        case ast.Subscript(value=ast.Name(id="tuple"), slice=item):
            return TupleOf((parse(item, records),))
        case ast.Subscript(value=ast.Name(id="dict"), slice=ast.Tuple(elts=[key, value])):
            key_type = parse(key, records)
            if not isinstance(key_type, Scalar) or key_type.name not in SCALARS:
                raise BadType(key, "keys of a dict are int, str, bytes or bool; a Map also takes tuples")
            return DictOf(key_type, parse(value, records))
        case ast.BinOp(left=item, op=ast.BitOr(), right=ast.Constant(value=None)):
            return OptionalOf(parse(item, records))
        case _:
            raise BadType(
                node,
                "a type is int, str, bytes, bool, None, list[T], tuple[...], dict[K, V], a record's name, or T | None",
            )


def render(kind: Type) -> str:
    """As an author writes it; a record is spelled out, so that a client needs nothing else: Order(account: str, ...)."""
    match kind:
        case Scalar(name):
            return name
        case ListOf(item):
            return f"list[{render(item)}]"
        case TupleOf(items):
            return f"tuple[{', '.join(map(render, items))}]"
        case TupleEach(item):
            return f"tuple[{render(item)}, ...]"
        case DictOf(key, value):
            return f"dict[{render(key)}, {render(value)}]"
        case RecordOf(name, fields):
            return f"{name}({', '.join(f'{field}: {render(item)}' for field, item in fields)})"
        case OptionalOf(item):
            return f"{render(item)} | None"
        case _:
            assert_never(kind)


def contains_any(kind: Type) -> bool:
    match kind:
        case Scalar(name):
            return name == "Any"
        case ListOf(item) | TupleEach(item) | OptionalOf(item):
            return contains_any(item)
        case TupleOf(items):
            return any(map(contains_any, items))
        case DictOf(key, value):
            return contains_any(key) or contains_any(value)
        case RecordOf(_, fields):
            return any(contains_any(item) for _, item in fields)
        case _:
            assert_never(kind)


class Mismatch(Exception):  # noqa: N818 - reads as what happened
    """A value that is not of its type."""


Converter: TypeAlias = Callable[[Any], Any]
Make: TypeAlias = Callable[..., Any]


def converter(kind: Type, classes: Mapping[str, Make]) -> Converter:
    """A function from plain data (arrays as lists or tuples) to a checked, unshared copy; it raises Mismatch.

    `classes` makes records by name; a record without a class becomes a plain tuple.
    """
    match kind:
        case Scalar(name):
            return _SCALAR_CONVERTERS[name]
        case ListOf(item):
            return _list_converter(converter(item, classes))
        case TupleEach(item):
            as_list = _list_converter(converter(item, classes))
            return lambda value: tuple(as_list(value))
        case TupleOf(items):
            slow = _array_converter([converter(item, classes) for item in items], _fields)
            return _flat_converter(items, _fields, slow)
        case RecordOf(name, fields):
            make = classes.get(name, _fields)
            slow = _array_converter([converter(item, classes) for _, item in fields], make)
            return _flat_converter(tuple([item for _, item in fields]), make, slow)
        case DictOf(key, value):
            return _dict_converter(converter(key, classes), converter(value, classes))
        case OptionalOf(item):
            convert = converter(item, classes)
            return lambda value: None if value is None else convert(value)
        case _:
            assert_never(kind)


def _int(value: Any) -> Any:
    if type(value) is not int or not INT_MIN <= value <= INT_MAX:
        raise Mismatch
    return value


def _text(kind: type[str] | type[bytes]) -> Converter:
    def convert(value: Any) -> Any:
        if not isinstance(value, kind) or len(value) > MAX_TEXT:
            raise Mismatch
        return value

    return convert


def _exactly(kind: type) -> Converter:
    def convert(value: Any) -> Any:
        if type(value) is not kind:
            raise Mismatch
        return value

    return convert


_SCALAR_CONVERTERS: dict[str, Converter] = {
    "int": _int,
    "str": _text(str),
    "bytes": _text(bytes),
    "bool": _exactly(bool),
    "None": _exactly(type(None)),
    "Any": lambda value: value,
}


def _list_converter(convert: Converter) -> Converter:
    def convert_list(value: Any) -> list[Any]:
        if not isinstance(value, list | tuple):
            raise Mismatch
        return [convert(item) for item in value]

    return convert_list


def _array_converter(converts: list[Converter], make: Make) -> Converter:
    count = len(converts)

    def convert_array(value: Any) -> Any:
        if not isinstance(value, list | tuple) or len(value) != count:
            raise Mismatch
        return make(*[convert(item) for convert, item in zip(converts, value, strict=True)])

    return convert_array


_FLAT: dict[str, type] = {"int": int, "str": str, "bytes": bytes, "bool": bool}


def _fields(*fields: Any) -> Any:
    return fields


def _flat_converter(items: tuple[Type, ...], make: Make, slow: Converter) -> Converter:
    """What `slow` does, for records of scalars in a third of the time: nearly every record that a contract reads."""
    kinds = tuple([_FLAT.get(item.name) if isinstance(item, Scalar) else None for item in items])
    if None in kinds:
        return slow
    texts = [place for place, kind in enumerate(kinds) if kind is str or kind is bytes]
    integers = [place for place, kind in enumerate(kinds) if kind is int]

    def convert_flat(value: Any) -> Any:
        if not isinstance(value, list | tuple) or tuple(map(type, value)) != kinds:
            return slow(value)
        for place in texts:
            if len(value[place]) > MAX_TEXT:
                raise Mismatch
        for place in integers:
            if not INT_MIN <= value[place] <= INT_MAX:
                raise Mismatch
        return make(*value)

    return convert_flat


def _dict_converter(convert_key: Converter, convert_value: Converter) -> Converter:
    def convert_dict(value: Any) -> dict[Any, Any]:
        if type(value) is not dict:
            raise Mismatch
        return {convert_key(key): convert_value(item) for key, item in value.items()}

    return convert_dict
