"""`gridbft block HEIGHT`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from gridbft.records import BlockInfo
from node.cli.network import find_network, network_options
from node.cli.output import faults, json_option, print_facts, print_json
from node.cli.receipt import receipt_json
from node.cli.session import connect


@click.command()
@click.argument("height", type=click.IntRange(min=0))
@network_options
@json_option
def block(height: int, nodes: str | None, keys_folder: Path | None, genesis: Path | None, as_json: bool) -> None:
    """Show the block at HEIGHT; 0 is the latest.

    \b
    gridbft block 0
    gridbft block 250000 --nodes 10.0.0.1:7101 --json
    """
    with faults(as_json):
        with connect(find_network(nodes, keys_folder, genesis)) as client:
            found = client.block(height)
        if as_json:
            print_json(_as_json(found))
        else:
            _print(found)


def _as_json(found: BlockInfo) -> dict[str, Any]:
    return {
        "height": found.height,
        "block_id": found.block_id,
        "time_ms": found.time_ms,
        "proposer": found.proposer,
        "parent": found.parent,
        "state_root_before": found.state_root_before,
        "round": found.round,
        "signers": list(found.signers),
        "transactions": list(found.tx_ids),
        "receipts": [receipt_json(r) for r in found.receipts],
    }


def _print(found: BlockInfo) -> None:
    time = datetime.fromtimestamp(found.time_ms / 1000, UTC).isoformat(timespec="milliseconds")
    reverted = sum(not r.ok for r in found.receipts)
    facts = [
        ("block", f"{found.height}  {found.block_id}"),
        ("time", time),
        ("proposer", found.proposer),
        ("parent", found.parent),
        ("state root before", found.state_root_before),
        ("decided in round", f"{found.round}, by {len(found.signers)} precommits"),
        ("transactions", f"{len(found.tx_ids)}" + (f", of which {reverted} reverted" if reverted else "")),
    ]
    outcomes = {r.tx_id: "ok" if r.ok else r.code for r in found.receipts}
    print_facts(facts + [("", f"{tx_id}  {outcomes.get(tx_id, '')}") for tx_id in found.tx_ids])
