"""Tables of whole numbers and names from files that people write: each fault names its table, row and field."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

MAX_ROWS = 100_000
MAX_TEXT_CHARACTERS = 128
_SHOWN_CHARACTERS = 60


class InputFault(ValueError):  # noqa: N818 - a fault of the input, named like its fields
    """What is wrong with the input, and where. `row` counts from 1; it is None for what stands in no row."""

    def __init__(self, what: str, field: str = "", table: str = "", row: int | None = None) -> None:
        place = [table] if table else []
        place += [f"row {row}"] if row is not None else []
        place += [field] if field else []
        super().__init__(f"{', '.join(place)}: {what}" if place else what)
        self.what = what
        self.field = field
        self.table = table
        self.row = row


@dataclass(frozen=True, slots=True)
class Integer:
    """A field that holds a whole number within bounds; `default` None says that it must be there."""

    least: int
    most: int
    default: int | None = None

    def read(self, value: Any) -> int:
        if type(value) is not int or not self.least <= value <= self.most:
            raise ValueError(f"expected a whole number from {self.least} to {self.most}, found {shown(value)}")
        return value


@dataclass(frozen=True, slots=True)
class Text:
    """A field that holds a name of 1 to 128 characters; with a default also the empty one."""

    default: str | None = None

    def read(self, value: Any) -> str:
        least = 1 if self.default is None else 0
        if type(value) is not str or not least <= len(value) <= MAX_TEXT_CHARACTERS:
            raise ValueError(f"expected a text of {least} to {MAX_TEXT_CHARACTERS} characters, found {shown(value)}")
        return value


@dataclass(frozen=True, slots=True)
class Id:
    """A field that holds a text or a whole number, which is given back as it came."""

    default: None = None

    def read(self, value: Any) -> str | int:
        if type(value) is int or (type(value) is str and 0 < len(value) <= MAX_TEXT_CHARACTERS):
            found: str | int = value
            return found
        raise ValueError(
            f"expected a whole number or a text of 1 to {MAX_TEXT_CHARACTERS} characters, found {shown(value)}"
        )


Field = Integer | Text | Id


@dataclass(frozen=True, slots=True)
class Row:
    """One row with the place where it stood, so that a later rule can still say which one breaks it."""

    table: str
    number: int
    values: Mapping[str, Any]

    def __getitem__(self, field: str) -> Any:
        return self.values[field]

    def refuse(self, field: str, what: str) -> NoReturn:
        raise InputFault(what, field, self.table, self.number)


def parse_object(text: str, fields: Sequence[str]) -> dict[str, Any]:
    """A JSON object with no other fields than these. Raises InputFault."""
    try:
        record = json.loads(text, object_pairs_hook=_without_repeats, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise InputFault(f"line {error.lineno}, column {error.colno}: not JSON: {error.msg}") from error
    except RecursionError as error:
        raise InputFault("not the JSON of a table: nested too deeply") from error
    except ValueError as error:
        raise InputFault(f"not usable JSON: {error}") from error
    if not isinstance(record, dict):
        raise InputFault(f"expected a JSON object with {', '.join(fields)}, found {shown(record)}")
    _refuse_unknown(record, fields, "", None)
    return record


def read_table(record: Mapping[str, Any], table: str, schema: Mapping[str, Field]) -> list[Row]:
    """The rows of `record[table]`, each field read by its schema. Raises InputFault for the first fault in reading order."""
    rows = record.get(table)
    if not isinstance(rows, list):
        raise InputFault(f"expected a list of rows, found {'nothing' if table not in record else shown(rows)}", table)
    if len(rows) > MAX_ROWS:
        raise InputFault(f"expected at most {MAX_ROWS} rows, found {len(rows)}", table)
    return [_read_row(row, table, number, schema) for number, row in enumerate(rows, 1)]


def read_field(record: Mapping[str, Any], name: str, field: Field, table: str = "", row: int | None = None) -> Any:
    """One field of an object. Raises InputFault."""
    if name not in record:
        if field.default is None:
            raise InputFault("is missing", name, table, row)
        return field.default
    try:
        return field.read(record[name])
    except ValueError as error:
        raise InputFault(str(error), name, table, row) from error


def require_unique(rows: Sequence[Row], field: str) -> None:
    """Refuses the second row with the same value in `field`, also across tables."""
    seen: dict[Any, Row] = {}
    for row in rows:
        first = seen.setdefault(row[field], row)
        if first is not row:
            row.refuse(field, f"{shown(row[field])} stands already in {first.table}, row {first.number}")


def shown(value: Any) -> str:
    """A value of the input as JSON, cut where it is long."""
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."


def _read_row(row: Any, table: str, number: int, schema: Mapping[str, Field]) -> Row:
    if not isinstance(row, dict):
        raise InputFault(f"expected an object with {', '.join(schema)}, found {shown(row)}", "", table, number)
    _refuse_unknown(row, tuple(schema), table, number)
    return Row(table, number, {name: read_field(row, name, field, table, number) for name, field in schema.items()})


def _refuse_unknown(record: Mapping[str, Any], fields: Sequence[str], table: str, row: int | None) -> None:
    unknown = next((name for name in record if name not in fields), None)
    if unknown is not None:
        raise InputFault(f"is no field here; there are: {', '.join(fields)}", unknown[:_SHOWN_CHARACTERS], table, row)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the field {shown(repeated)} stands twice in one object")
    return record


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number here")
