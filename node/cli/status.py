"""`gridbft status`: where every node stands, and whether their states agree."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from gridbft.client import Client
from gridbft.errors import ClientError
from gridbft.records import NodeStatus
from gridbft.requests import Limits
from gridbft.tls import Tls
from node.cli.network import Network, NodeEntry, find_network, network_options
from node.cli.output import FAILURE, faults, json_option, print_json, print_table

PATIENCE = Limits(request_s=3.0)


@dataclass(frozen=True, slots=True)
class Row:
    """One node's answer, or why there is none. `common_root` is its state root at the greatest common height."""

    node: NodeEntry
    status: NodeStatus | None
    error: str = ""
    common_root: str = ""


@click.command()
@network_options
@json_option
def status(nodes: str | None, keys_folder: Path | None, genesis: Path | None, as_json: bool) -> None:
    """Show where each node stands, and whether they agree.

    They agree when all that answer have one state root at the greatest height that all of them have reached. Exits
    with 1 when they do not, or when none answers.

    \b
    gridbft status
    gridbft status --nodes 10.0.0.1:7101,10.0.0.2:7101 --tls --genesis genesis.json
    """
    with faults(as_json):
        rows, common = asyncio.run(survey(find_network(nodes, keys_folder, genesis)))
    agreed = agree(rows)
    if not as_json:
        _print_rows(rows, common, agreed)
    else:
        print_json({"nodes": [_as_json(r) for r in rows], "agree": agreed, "common_height": common})
    if not agreed:
        sys.exit(FAILURE)


def agree(rows: list[Row]) -> bool:
    """A node that does not answer has no say; one that answers must prove the common root."""
    roots = {r.common_root for r in rows if r.status is not None}
    return len(roots) == 1 and "" not in roots


async def survey(network: Network) -> tuple[list[Row], int | None]:
    """Asks all nodes at once; the greatest common height is None when none answers."""
    rows = list(await asyncio.gather(*(_row(n, network.tls) for n in network.nodes)))
    heights = [r.status.height for r in rows if r.status is not None]
    common = min(heights, default=None)
    if common is None:
        return rows, None
    return list(await asyncio.gather(*(_with_root(r, common, network.tls) for r in rows))), common


async def _row(node: NodeEntry, tls: Tls | None) -> Row:
    try:
        async with Client(node.address, limits=PATIENCE, tls=tls) as client:
            return Row(node, await client.status())
    except ClientError as error:
        return Row(node, None, str(error))


async def _with_root(row: Row, height: int, tls: Tls | None) -> Row:
    """A node beyond the height tells its root there in the next block's header."""
    if row.status is None:
        return row
    if row.status.height == height:
        return replace(row, common_root=row.status.state_root)
    try:
        async with Client(row.node.address, limits=PATIENCE, tls=tls) as client:
            return replace(row, common_root=(await client.block(height + 1)).state_root_before)
    except ClientError as error:
        return replace(row, error=f"no root at height {height}: {error}")


def _as_json(row: Row) -> dict[str, Any]:
    status = row.status
    found: dict[str, Any] = {
        "name": row.node.name or (status.name if status else ""),
        "address": row.node.address,
        "height": status.height if status else None,
        "block_id": status.block_id if status else None,
        "state_root": status.state_root if status else None,
        "peers": sum(p.connected for p in status.peers) if status else None,
        "mempool": status.mempool if status else None,
    }
    return {**found, "error": row.error} if row.error else found


def _print_rows(rows: list[Row], common: int | None, agreed: bool) -> None:
    table = []
    for row in rows:
        status = row.status
        if status is None:
            table.append((row.node.name, row.node.address, "-", "", "", "", "", row.error))
            continue
        peers = f"{sum(p.connected for p in status.peers)}/{len(status.peers)}"
        ids = (status.block_id[:16], status.state_root[:16])
        name = row.node.name or status.name
        table.append((name, row.node.address, str(status.height), *ids, peers, str(status.mempool), row.error))
    columns = ("node", "address", "height", "block", "state root", "peers", "mempool", "fault")
    if not any(row[-1] for row in table):
        columns, table = columns[:-1], [row[:-1] for row in table]  # type: ignore[assignment, misc]
    print_table("", columns, table, numeric=("height", "mempool"))
    if common is None:
        click.echo("No node answers.")
    else:
        click.echo(f"At height {common} the nodes that answer {'agree' if agreed else 'DO NOT AGREE'}.")
