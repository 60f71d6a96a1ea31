"""`gridbft export`: the chain as Parquet files, for DuckDB, pandas and whatever else reads them."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gridbft.client import Client
from gridbft.ground import packed_pages, reading_rows
from gridbft.history import asked, blocks, happened
from gridbft.tables import Rows, add_balance, add_block, add_event, add_readings, empty_rows, money_accounts
from node.cli.network import Network, find_network, network_options
from node.cli.output import InputError, faults, json_option, print_json

if TYPE_CHECKING:
    from gridbft.parquet import ExportState

STRETCH_HEIGHTS = 20_000
STRETCH_ROWS = 500_000
_PAGE = 1_000
_TRIES = 20
_FUNDS = ("market", "imbalance", "neutrality", "grid")


@click.command()
@click.option("--to", "folder", required=True, type=click.Path(path_type=Path, file_okay=False), help="The folder.")
@click.option("--from-height", type=click.IntRange(min=1), help="First height of a new export (default: the earliest).")
@network_options
@json_option
def export(
    folder: Path,
    from_height: int | None,
    nodes: str | None,
    keys_folder: Path | None,
    genesis: Path | None,
    as_json: bool,
) -> None:
    """Write blocks, trades, readings, imbalances, certificates and balances as Parquet.

    A folder that holds an export already is gone on with: only what is new is written. schema.json in it explains every
    column. Balances are those after the last height of each run.

    \b
    gridbft export --to chain-parquet --nodes 10.0.0.1:7101
    """
    with faults(as_json):
        if find_spec("pyarrow") is None:
            raise InputError("the export needs pyarrow: install gridbft[export]")
        from gridbft.parquet import ExportError

        network = find_network(nodes, keys_folder, genesis)
        try:
            counts, state = asyncio.run(_export(network, folder, from_height))
        except ExportError as error:
            raise InputError(str(error)) from error
        report = {"first_height": state.first_height, "next_height": state.next_height, "rows": counts}
        if as_json:
            print_json({"ok": True, "folder": str(folder), **report})
        else:
            written = ", ".join(f"{count} {table}" for table, count in counts.items() if count) or "nothing new"
            click.echo(f"{folder}: {written}; the next export begins at height {state.next_height}")


async def _export(network: Network, folder: Path, from_height: int | None) -> tuple[dict[str, int], ExportState]:
    counts = dict.fromkeys(empty_rows(), 0)
    async with Client(network.addresses, tls=network.tls) as client:
        status = await client.status()
        state = _begin(folder, status.chain_id, from_height, max(1, status.earliest_height))
        accounts: set[str] = set(_FUNDS)
        pages: dict[int, list[str]] = {}
        rows, reached, time_ms = empty_rows(), state.next_height - 1, 0
        for _ in range(_TRIES):
            head = (await client.status()).height
            async for block in blocks(client, reached + 1, head):
                reached, time_ms = block.height, block.time_ms
                add_block(rows, block)
                await _add_block_rows(client, rows, block, accounts, pages)
                if reached - state.next_height >= STRETCH_HEIGHTS or sum(map(len, rows.values())) >= STRETCH_ROWS:
                    state, rows = _written(folder, state, reached, rows, counts), empty_rows()
            balances = await _balances(client, accounts)
            if (await client.status()).height == reached:  # else they may be those of a later height
                for account, balance_micros, held_micros in balances if rows["blocks"] else ():
                    add_balance(rows, reached, time_ms, account, balance_micros, held_micros)
                break
        if reached >= state.next_height:
            state = _written(folder, state, reached, rows, counts)
    return counts, state


def _written(folder: Path, state: ExportState, last_height: int, rows: Rows, counts: dict[str, int]) -> ExportState:
    from gridbft.parquet import write_stretch

    for table in counts:
        counts[table] += len(rows[table])
    return write_stretch(folder, state, last_height, rows)


def _begin(folder: Path, chain_id: str, from_height: int | None, earliest: int) -> ExportState:
    from gridbft.parquet import ExportError, ExportState, read_state

    state = read_state(folder)
    if state is None:
        first = from_height or earliest
        if first < earliest:
            raise ExportError(f"the node keeps no block before height {earliest}")
        return ExportState(chain_id, first, first)
    if state.chain_id != chain_id:
        raise ExportError(f"{folder} holds an export of {state.chain_id}, the node is of {chain_id}")
    if state.next_height < earliest:
        raise ExportError(
            f"{folder} goes on at height {state.next_height}, the node keeps no block before {earliest}: ask another node"
        )
    if from_height is not None and from_height != state.next_height:
        raise ExportError(
            f"{folder} holds heights {state.first_height} to {state.next_height - 1} already: leave --from-height out to "
            "go on, or choose another folder"
        )
    return state


async def _add_block_rows(
    client: Client, rows: Rows, block: Any, accounts: set[str], pages: dict[int, list[str]]
) -> None:
    """`pages` are the meters of rosters' pages as far as they are known."""
    metered = {}
    for event in happened(block):
        add_event(rows, event)
        accounts |= money_accounts(event)
        if event.kind == ("metering", "Metered"):
            metered[event.tx_id] = (event.height, event.index)
    if metered:
        calls = list(asked((await client.block(block.height)).raw))
        for number, meter_count in packed_pages(calls).items():
            if len(pages.get(number, ())) < meter_count:
                pages[number] = await client.query("rosters", "meters_of", number)
        add_readings(rows, reading_rows(calls, metered, pages), block.time_ms)


async def _balances(client: Client, seen: set[str]) -> list[tuple[str, int, int]]:
    """(account, balance, holds) of every participant, and of every other account that events of this run spoke of."""
    count = await client.query("registry", "participant_count")
    for start in range(0, count, _PAGE):
        seen |= set(await client.query("registry", "participants", start, _PAGE))
    accounts = sorted(seen)
    found: list[tuple[str, int, int]] = []
    for start in range(0, len(accounts), _PAGE):
        page = accounts[start : start + _PAGE]
        free = await client.query("payments", "balances", page)
        held = await client.query("payments", "helds", page)
        found.extend(zip(page, free, held, strict=True))
    return found
