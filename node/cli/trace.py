"""`gridbft trace certificate ID`: from the meter reading through every owner to the retirement."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from gridbft.client import Client
from gridbft.ground import Row, reading_rows
from gridbft.history import Happened, asked, blocks, happened, pages_with
from gridbft.trace import Way, standing_readings, way_record
from gridbft.trace import trace as find_way
from node.cli.network import Network, find_network, network_options
from node.cli.output import InputError, faults, json_option, print_json


@click.group()
def trace() -> None:
    """Follow something through the chain."""


@trace.command()
@click.argument("certificate_id", metavar="ID", type=click.IntRange(min=1))
@network_options
@json_option
def certificate(
    certificate_id: int, nodes: str | None, keys_folder: Path | None, genesis: Path | None, as_json: bool
) -> None:
    """Trace certificate ID: the reading that it was issued for, every owner of its units, and their retirements.

    \b
    gridbft trace certificate 42
    """
    with faults(as_json):
        record = asyncio.run(_traced(find_network(nodes, keys_folder, genesis), certificate_id))
        if as_json:
            print_json({"ok": True, **record})
        else:
            _print(record)


async def _traced(network: Network, certificate_id: int) -> dict[str, Any]:
    async with Client(network.addresses, tls=network.tls) as client:
        status = await client.status()
        events: list[Happened] = []
        async for block in blocks(client, max(1, status.earliest_height), status.height, ("certificates", "metering")):
            events.extend(happened(block))
        way = find_way(events, certificate_id)
        first = max(1, status.earliest_height)
        if way is None:
            kept = f" in what the node keeps, which begins at height {first}" if first > 1 else ""
            raise InputError(f"there is no certificate {certificate_id}{kept}")
        readings = [] if way.is_carbon else await _rows(client, way, events)
        return {**way_record(way, standing_readings(way, readings)), "from_height": first}


async def _rows(client: Client, way: Way, events: list[Happened]) -> list[Row]:
    """All readings of the device for the slots of production, oldest first."""
    batches = [
        e
        for e in events
        if e.kind == ("metering", "Metered")
        and e.fields["first_slot"] < way.slots.stop
        and e.fields["last_slot"] >= way.slots.start
    ]
    pages = await pages_with(client, [way.device]) if any(e.kind == ("metering", "Packed") for e in events) else {}
    rows: list[Row] = []
    for height in sorted({e.height for e in batches}):
        places = {e.tx_id: (e.height, e.index) for e in batches if e.height == height}
        rows += reading_rows(asked((await client.block(height)).raw), places, pages, {way.device})
    return rows


def _print(record: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.tree import Tree

    head = (
        f"certificate {record['certificate_id']}: units {record['unit_start']} to {record['unit_end']} "
        f"of {record['device']} ({record['technology']}, {record['location']})"
    )
    tree = Tree(escape(head), highlight=False)
    for r in record["readings"]:
        told = f"metered {r['export_wh']} Wh export in slot {r['slot']}, {r['quality']}, by {r['signed_by']}"
        tree.add(escape(f"{told}  (height {r['height']}, {r['tx_id']})"))
    for e in record["history"]:
        names = (
            "source",
            "owner",
            "seller",
            "buyer",
            "price_micros_per_kwh",
            "amount_micros",
            "beneficiary",
            "purpose",
        )
        people = ", ".join(f"{n} {e[n]}" for n in (*names, "how", "reason", "storage", "over_wh") if e.get(n))
        units = f"units {e['unit_start']} to {e['unit_end']}" if e["unit_end"] else "the device"
        units += f" as certificate {e['certificate_id']}" if "certificate_id" in e else ""
        tree.add(escape(f"{e['event']}: {units}, {people}  (height {e['height']}, {e['tx_id']})"))
    unit = record["unit"]
    ended = f"{record['ended_wh']} {unit} ended, " if record["ended_wh"] else ""
    tree.add(f"{record['retired_wh']} {unit} retired, {ended}{record['unretired_wh']} {unit} not retired")
    if record["from_height"] > 1:
        tree.add(
            f"the node keeps no block before height {record['from_height']}: what happened earlier is missing here"
        )
    console = Console()
    (console if console.is_terminal else Console(width=240)).print(tree)
