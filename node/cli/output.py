"""How commands speak: tables for people, one JSON object as the last line for programs, faults as sentences."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from gridbft.errors import (
    ClientError,
    QueryFailed,
    RequestRefused,
    TransactionFailed,
    TransactionRefused,
    VerificationError,
    WalletError,
)

FAILURE = 1
BAD_INPUT = 2

json_option = click.option("--json", "as_json", is_flag=True, help="End with one JSON object on the last line.")


class InputError(Exception):
    """What the user gave is wrong; the message says what would be right."""


@contextmanager
def faults(as_json: bool) -> Iterator[None]:
    """Turns expected faults into a sentence and an exit code; anything else is a bug and shows its traceback."""
    try:
        yield
    except InputError as error:
        fail(BAD_INPUT, "BAD_INPUT", str(error), as_json)
    except WalletError as error:
        fail(BAD_INPUT, "BAD_KEY", str(error), as_json)
    except (TransactionRefused, TransactionFailed, QueryFailed, RequestRefused) as error:
        fail(FAILURE, error.code, str(error), as_json)
    except VerificationError as error:
        fail(FAILURE, error.reason, f"the answer is not proved: {error}", as_json)
    except ClientError as error:
        fail(FAILURE, _name(error), str(error), as_json)


def fail(exit_code: int, code: str, message: str, as_json: bool) -> NoReturn:
    click.echo(f"error: {message}", err=True)
    if as_json:
        print_json({"ok": False, "error": code, "message": message})
    sys.exit(exit_code)


def print_json(value: Any) -> None:
    click.echo(json.dumps(plain(value), ensure_ascii=True))


def plain(value: Any) -> Any:
    """JSON has no bytes and no tuples: bytes become hexadecimal, map keys strings."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {k if isinstance(k, str) else json.dumps(plain(k)): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value


def show(value: Any) -> str:
    """A decoded value in one line, for people."""
    return value if isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[str] = ()) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title or None, title_justify="left")
    for column in columns:
        table.add_column(column, justify="right" if column in numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)  # a pipe has no edge to wrap at
    console.print(table)


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Aligned name and value lines."""
    width = max((len(name) for name, _ in facts), default=0)
    for name, value in facts:
        click.echo(f"{name:<{width}}  {value}")


def _name(error: ClientError) -> str:
    """NodeUnavailable -> NODE_UNAVAILABLE."""
    return "".join(f"_{c}" if c.isupper() else c.upper() for c in type(error).__name__).lstrip("_")
