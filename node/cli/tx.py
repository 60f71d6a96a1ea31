"""`gridbft tx CONTRACT FUNCTION ARG... --from KEYNAME`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from gridbft.records import Receipt
from gridbft.requests import make_call
from node.cli.arguments import arguments, find_function
from node.cli.network import find_network, network_options
from node.cli.output import FAILURE, InputError, faults, json_option, print_json
from node.cli.receipt import print_receipt, receipt_json
from node.cli.session import connect, print_help_of_functions

GAS_LIMIT = 50_000_000  # one transaction by hand may be a big one; what is not used costs nothing


@click.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("contract", required=False)
@click.argument("function", required=False)
@click.argument("words", metavar="ARG...", nargs=-1, type=click.UNPROCESSED)
@click.option("--from", "key", metavar="KEYNAME", help="The key that signs.")
@click.option("--wait/--no-wait", default=True, help="Wait until the transaction is final (the default).")
@click.option("--gas", "gas_limit", type=click.IntRange(min=1), default=GAS_LIMIT, show_default=True, help="Gas limit.")
@network_options
@json_option
@click.option("--help", "-h", "wants_help", is_flag=True, help="Show this, and the functions on the chain.")
@click.pass_context
def tx(
    ctx: click.Context,
    contract: str | None,
    function: str | None,
    words: tuple[str, ...],
    key: str | None,
    wait: bool,
    gas_limit: int,
    nodes: str | None,
    keys_folder: Path | None,
    genesis: Path | None,
    as_json: bool,
    wants_help: bool,
) -> None:
    """Sign and send a call of a contract's function.

    Whole numbers may have underscores; @NAME is the address of a key; lists, tuples and records are JSON; bytes are
    hexadecimal. `gridbft tx CONTRACT --help` lists what a contract offers. Amounts are whole numbers of the contract's units: money in
    micros, energy in Wh.

    \b
    gridbft tx payments transfer @bob 2_500_000 --from alice      # 2.50 of the currency
    """
    with faults(as_json):
        if wants_help or contract is None:
            show_help(ctx, nodes, contract, view=False)
            return
        network = find_network(nodes, keys_folder, genesis)
        if function is None:
            raise InputError(f"which function of {contract}? `gridbft tx {contract} --help` lists them")
        if key is None:
            raise InputError("who signs? give --from KEYNAME (`gridbft keys list` names them)")
        keyring = network.keyring()
        with connect(network, keyring.get(key)) as client:
            abi = find_function(client.contracts(), contract, function, view=False)
            values = arguments(abi, words, lambda name: keyring.info(name).address)
            call = make_call(contract, function, *values)
            if wait:
                _report(client.submit(call, gas_limit=gas_limit), as_json)
            else:
                _report_admitted(client.send(call, gas_limit=gas_limit), as_json)


def show_help(ctx: click.Context, nodes: str | None, contract: str | None, *, view: bool) -> None:
    click.echo(ctx.get_help())
    try:
        network = find_network(nodes)
    except InputError:
        network = None
    print_help_of_functions(network, contract, view)


def _report(receipt: Receipt, as_json: bool) -> None:
    if as_json:
        print_json(receipt_json(receipt))
    else:
        print_receipt(receipt)
    if not receipt.ok:
        sys.exit(FAILURE)


def _report_admitted(tx_id: str, as_json: bool) -> None:
    if as_json:
        print_json({"ok": True, "tx_id": tx_id, "final": False})
    else:
        click.echo(f"admitted, not final yet: gridbft receipt {tx_id}")
