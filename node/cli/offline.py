"""Commands that need no network: they read a file, run the contracts' own functions, and print."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from gridbft.rows import InputFault
from node.cli.output import BAD_INPUT, InputError, faults, json_option, print_json, print_table

file_type = click.Path(path_type=Path, dir_okay=False, allow_dash=True)


def run_offline(compute: Callable[[str], dict[str, Any]], file: Path, as_json: bool) -> dict[str, Any]:
    """What `compute` makes of the file's text ("-" is the standard input). Ends the process with 2 on bad input."""
    with faults(as_json):
        text = _read(file)
        try:
            return compute(text)
        except InputFault as fault:
            click.echo(f"error: {file}: {fault}", err=True)
            if as_json:
                place = {"table": fault.table, "row": fault.row, "field": fault.field}
                print_json({"ok": False, "error": "BAD_INPUT", "message": str(fault), **place})
            sys.exit(BAD_INPUT)


def _read(file: Path) -> str:
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8 text: byte {error.start}") from error


@click.group()
def market() -> None:
    """Clear a market away from the chain."""


@market.command()
@click.option("--orders", required=True, type=file_type, help="JSON with bids and asks; - is the standard input.")
@json_option
def clear(orders: Path, as_json: bool) -> None:
    """Clear the call auction of one product, by the function that the market contract runs.

    \b
    gridbft market clear --orders orders.json
    """
    from gridbft.offline import clear_market

    found = run_offline(clear_market, orders, as_json)
    if as_json:
        print_json(found)
        return
    price = found["price_micros_per_kwh"]
    click.echo("no trade" if price is None else f"{found['quantity_wh']} Wh at {price} micros per kWh")
    rows = [(str(fill["id"]), str(fill["filled_wh"])) for fill in found["fills"]]
    print_table("", ("order", "filled Wh"), rows, numeric=("filled Wh",))


@click.group()
def imbalance() -> None:
    """Settle imbalances away from the chain."""


@imbalance.command()
@click.option("--input", "file", required=True, type=file_type, help="JSON with prices and participants; - is stdin.")
@json_option
def settle(file: Path, as_json: bool) -> None:
    """Settle one slot, by the function that the imbalance contract runs. Positive amounts are received.

    \b
    gridbft imbalance settle --input slot.json
    """
    from gridbft.offline import settle_imbalance

    found = run_offline(settle_imbalance, file, as_json)
    if as_json:
        print_json(found)
        return
    for kind, table in (("account", "participants"), ("brp", "brps")):
        rows = [(str(r[kind]), str(r["imbalance_wh"]), str(r["amount_micros"])) for r in found[table]]
        print_table("", (kind, "imbalance Wh", "micros"), rows, numeric=("imbalance Wh", "micros"))
    click.echo(f"neutrality receives {found['neutrality_micros']} micros")


@click.group()
def certificates() -> None:
    """Split and match certificates away from the chain."""


@certificates.command()
@click.option("--input", "file", required=True, type=file_type, help="JSON with certificates and splits; - is stdin.")
@json_option
def split(file: Path, as_json: bool) -> None:
    """Split certificates, by the function that the certificates contract runs.

    \b
    gridbft certificates split --input splits.json
    """
    from gridbft.offline import split_certificates

    found = run_offline(split_certificates, file, as_json)
    if as_json:
        print_json(found)
        return
    columns = ("id", "parent", "unit_start", "unit_end", "quantity_wh")
    rows = [tuple("" if c[name] is None else str(c[name]) for name in columns) for c in found["certificates"]]
    print_table("", columns, rows, numeric=columns[2:])


@certificates.command()
@click.option("--input", "file", required=True, type=file_type, help="JSON with certificates and consumption.")
@json_option
def match(file: Path, as_json: bool) -> None:
    """Find the consumption of the same slot that certificates cover, by the contract's own function.

    \b
    gridbft certificates match --input slot.json
    """
    from gridbft.offline import match_certificates

    found = run_offline(match_certificates, file, as_json)
    if as_json:
        print_json(found)
        return
    for table, numeric in (("matches", 3), ("certificates", 1), ("consumption", 2)):
        if found[table]:
            columns = tuple(found[table][0])
            rows = [tuple(str(value) for value in row.values()) for row in found[table]]
            print_table(table, columns, rows, numeric=columns[numeric:])
