"""A command's connection to the ledger."""

from __future__ import annotations

from collections.abc import Sequence

import click

from gridbft.blocking import BlockingClient
from gridbft.errors import ClientError
from gridbft.records import ContractAbi, FunctionAbi
from gridbft.requests import Limits
from gridbft.verify import Trust
from gridbft.wallet import Wallet
from node.cli.network import Network
from node.cli.output import InputError

HELP_PATIENCE = Limits(request_s=2.0)


def connect(network: Network, wallet: Wallet | None = None, prove: bool = False) -> BlockingClient:
    """A client of the network's nodes; `prove` needs the network's genesis."""
    trust = None
    if prove:
        if network.genesis is None:
            raise InputError("a proof needs the genesis file: give --genesis FILE")
        trust = Trust.load(network.genesis)
    return BlockingClient(network.addresses, wallet, trust=trust, tls=network.tls)


def chosen_contracts(contracts: Sequence[ContractAbi], name: str | None) -> list[ContractAbi]:
    """The one of that name, or all. Raises InputError where there is none."""
    chosen = [c for c in contracts if name in (None, c.name)]
    if name is not None and not chosen:
        raise InputError(f"no contract {name!r}; there are: {', '.join(c.name for c in contracts) or 'none'}")
    return chosen


def print_functions(contracts: Sequence[ContractAbi], view: bool | None) -> None:
    """Signatures with the first line of their documentation: views, functions, or both."""
    for abi in contracts:
        click.echo(f"\n{abi.name} (version {abi.version})")
        listed = [f for f in abi.functions if view is None or f.view == view]
        for function in listed:
            click.echo(f"  {'view  ' if function.view and view is None else ''}{function.signature()}")
            if summary := _summary(function):
                click.echo(f"      {summary}")
        if not listed:
            click.echo("  (none)")


def print_help_of_functions(network: Network | None, contract: str | None, view: bool) -> None:
    """What `tx --help` and `query --help` add; without a reachable node, they say so."""
    if network is None:
        click.echo("\nNo nodes known here, so the contracts cannot be listed: give --nodes HOST:PORT.")
        return
    try:
        with BlockingClient(network.addresses, limits=HELP_PATIENCE, tls=network.tls) as client:
            contracts = client.contracts()
    except ClientError as error:
        click.echo(f"\nThe contracts cannot be listed: {error}")
        return
    print_functions(chosen_contracts(contracts, contract), view)


def _summary(function: FunctionAbi) -> str:
    return function.doc.strip().splitlines()[0] if function.doc.strip() else ""
