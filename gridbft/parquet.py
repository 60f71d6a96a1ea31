"""Tables as Parquet files in a folder that grows with the chain: `TABLE/FIRST-LAST.parquet` for each stretch of heights.

`export.json` says which chain the folder is of and which height comes next. It is written last, so after a crash the
next run writes the unfinished stretch again; `schema.json` explains every column.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gridbft.tables import INT, SCHEMA_VERSION, TABLES, TEXT, TIME, Rows, schema_record

_STATE = "export.json"
_KINDS = {INT: pa.int64(), TEXT: pa.string(), TIME: pa.timestamp("ms", tz="UTC")}


class ExportError(ValueError):
    """The folder cannot be gone on with; the message says why."""


@dataclass(frozen=True, slots=True)
class ExportState:
    chain_id: str
    first_height: int
    next_height: int


def read_state(folder: Path) -> ExportState | None:
    """None where nothing was exported yet. Raises ExportError."""
    file = folder / _STATE
    if not file.exists():
        return None
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        version, state = (
            record["schema_version"],
            ExportState(record["chain_id"], record["first_height"], record["next_height"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExportError(f"{file} is no export's: {error}") from error
    if version != SCHEMA_VERSION:
        raise ExportError(f"{folder} has schema version {version}, this program writes {SCHEMA_VERSION}")
    return state


def write_stretch(folder: Path, state: ExportState, last_height: int, rows: Rows) -> ExportState:
    """Writes the rows of heights `state.next_height` to `last_height`; tables without rows get no file."""
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / "schema.json", json.dumps(schema_record(), indent=1).encode() + b"\n")
    for table in TABLES:
        _forget_unfinished(folder / table, state.next_height)
        if rows[table]:
            _write_table(folder / table, f"{state.next_height:012}-{last_height:012}.parquet", table, rows[table])
    following = ExportState(state.chain_id, state.first_height, last_height + 1)
    record = {
        "schema_version": SCHEMA_VERSION,
        "chain_id": following.chain_id,
        "first_height": following.first_height,
        "next_height": following.next_height,
    }
    _replace(folder / _STATE, json.dumps(record, indent=1).encode() + b"\n")
    return following


def arrow_schema(table: str) -> Any:
    """The table's Arrow schema; each field's metadata says what it means."""
    return pa.schema(
        [pa.field(c.name, _KINDS[c.kind], metadata={"meaning": c.meaning}) for c in TABLES[table]],
        metadata={"schema_version": str(SCHEMA_VERSION)},
    )


def _write_table(folder: Path, name: str, table: str, rows: list[dict[str, Any]]) -> None:
    folder.mkdir(exist_ok=True)
    unfinished = folder / f".{name}.part"
    pq.write_table(pa.Table.from_pylist(rows, schema=arrow_schema(table)), unfinished, compression="zstd")
    os.replace(unfinished, folder / name)


def _forget_unfinished(folder: Path, next_height: int) -> None:
    """Removes what a run left that ended before it could say so."""
    for file in folder.glob("*.parquet"):
        if file.stem[:12].isdecimal() and int(file.stem[:12]) >= next_height:
            file.unlink()
    for file in folder.glob(".*.part"):
        file.unlink()


def _replace(file: Path, content: bytes) -> None:
    unfinished = file.with_name(f".{file.name}.part")
    unfinished.write_bytes(content)
    os.replace(unfinished, file)
