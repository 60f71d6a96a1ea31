"""`gridbft query CONTRACT VIEW ARG...`."""

from __future__ import annotations

from pathlib import Path

import click

from gridbft.abi import named, parse_type
from node.cli.arguments import arguments, find_function
from node.cli.network import Network, find_network, network_options
from node.cli.output import InputError, faults, json_option, plain, print_json, show
from node.cli.session import connect
from node.cli.tx import show_help


@click.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("contract", required=False)
@click.argument("view", required=False)
@click.argument("words", metavar="ARG...", nargs=-1, type=click.UNPROCESSED)
@click.option("--prove", is_flag=True, help="Compute the answer here, over state proved by the validators' signatures.")
@network_options
@json_option
@click.option("--help", "-h", "wants_help", is_flag=True, help="Show this, and the views on the chain.")
@click.pass_context
def query(
    ctx: click.Context,
    contract: str | None,
    view: str | None,
    words: tuple[str, ...],
    prove: bool,
    nodes: str | None,
    keys_folder: Path | None,
    genesis: Path | None,
    as_json: bool,
    wants_help: bool,
) -> None:
    """Ask a contract's view. Arguments are written as for `gridbft tx`.

    \b
    gridbft query payments balance @alice --prove --genesis genesis.json
    """
    with faults(as_json):
        if wants_help or contract is None:
            show_help(ctx, nodes, contract, view=True)
            return
        network = find_network(nodes, keys_folder, genesis)
        if view is None:
            raise InputError(f"which view of {contract}? `gridbft query {contract} --help` lists them")
        with connect(network, prove=prove) as client:
            abi = find_function(client.contracts(), contract, view, view=True)
            values = arguments(abi, words, lambda name: _address(network, name))
            result = client.query(contract, view, *values, prove=prove)
        result = named(parse_type(abi.returns or "None"), result)
        if as_json:
            print_json({"ok": True, "result": plain(result), "proved": prove})
        else:
            click.echo(show(result) + ("  (proved)" if prove else ""))


def _address(network: Network, name: str) -> str:
    return network.keyring().info(name).address
