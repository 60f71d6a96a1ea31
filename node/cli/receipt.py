"""`gridbft receipt TXID`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gridbft.records import Receipt
from gridbft.requests import tx_id_bytes
from node.cli.network import find_network, network_options
from node.cli.output import InputError, faults, json_option, plain, print_facts, print_json, show
from node.cli.session import connect


@click.command()
@click.argument("tx_id", metavar="TXID")
@click.option("--prove", is_flag=True, help="Check it against the validators' signatures.")
@network_options
@json_option
def receipt(
    tx_id: str, prove: bool, nodes: str | None, keys_folder: Path | None, genesis: Path | None, as_json: bool
) -> None:
    """Show what a final transaction did.

    \b
    gridbft receipt TX_ID --prove --genesis genesis.json
    """
    with faults(as_json):
        try:
            raw_id = tx_id_bytes(tx_id)
        except ValueError as error:
            raise InputError(str(error)) from error
        with connect(find_network(nodes, keys_folder, genesis), prove=prove) as client:
            found = client.receipt(raw_id, prove=prove)
        if as_json:
            print_json({**receipt_json(found), "proved": prove})
        else:
            print_receipt(found)


def receipt_json(receipt: Receipt) -> dict[str, Any]:
    return {
        "ok": receipt.ok,
        "tx_id": receipt.tx_id,
        "final": True,
        "height": receipt.height,
        "index": receipt.index,
        "code": receipt.code,
        "gas_used": receipt.gas_used,
        "results": plain(receipt.results),
        "events": [{"contract": e.contract, "name": e.name, "fields": plain(dict(e.fields))} for e in receipt.events],
        "failed_call": None if receipt.ok else receipt.failed_call,
    }


def print_receipt(receipt: Receipt) -> None:
    outcome = "ok" if receipt.ok else f"reverted: {receipt.code} in call {receipt.failed_call}"
    facts = [
        ("transaction", receipt.tx_id),
        ("outcome", outcome),
        ("height", f"{receipt.height}, place {receipt.index}"),
        ("gas used", f"{receipt.gas_used:_}"),
    ]
    facts += [("result", show(r)) for r in receipt.results if r is not None]
    for event in receipt.events:
        fields = ", ".join(f"{k}={show(v)}" for k, v in event.fields.items())
        facts.append(("event", f"{event.contract}.{event.name}({fields})"))
    print_facts(facts)
