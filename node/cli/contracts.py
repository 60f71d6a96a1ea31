"""`gridbft contracts [CONTRACT]`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gridbft.records import ContractAbi
from node.cli.network import find_network, network_options
from node.cli.output import faults, json_option, print_json
from node.cli.session import chosen_contracts, connect, print_functions


@click.command()
@click.argument("contract", required=False)
@network_options
@json_option
def contracts(
    contract: str | None, nodes: str | None, keys_folder: Path | None, genesis: Path | None, as_json: bool
) -> None:
    """List the contracts on the chain and their functions.

    \b
    gridbft contracts payments --nodes 10.0.0.1:7101
    """
    with faults(as_json):
        with connect(find_network(nodes, keys_folder, genesis)) as client:
            found = client.contracts()
        chosen = chosen_contracts(found, contract)
        if as_json:
            print_json({"contracts": [_as_json(c) for c in chosen]})
        else:
            print_functions(chosen, None)


def _as_json(abi: ContractAbi) -> dict[str, Any]:
    return {
        "name": abi.name,
        "version": abi.version,
        "code_hash": abi.code_hash,
        "functions": [
            {
                "name": f.name,
                "view": f.view,
                "params": [{"name": p.name, "type": p.type} for p in f.params],
                "returns": f.returns,
                "doc": f.doc,
            }
            for f in abi.functions
        ],
    }
