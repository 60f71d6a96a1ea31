"""`gridbft prove`: files that anyone can check against the genesis alone, with `gridbft verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from contracts.runtime.codec import decode
from contracts.runtime.keys import code_key, source_key
from gridbft.abi import named, parse_type
from gridbft.blocking import BlockingClient
from gridbft.errors import NotFound, VerificationError
from gridbft.records import Receipt
from gridbft.statekeys import StateName, declared, key_of, readable_key
from gridbft.verify import Trust, Verified, verify
from node.cli.arguments import find_function, from_word
from node.cli.network import Network, find_network, network_options
from node.cli.output import InputError, faults, json_option, print_json
from node.cli.session import connect
from node.cli.verify import proof_json

_out = click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The file to write."
)


@click.group()
def prove() -> None:
    """Write a proof file that anyone can check offline."""


@prove.command()
@click.argument("retirement_id", metavar="ID", type=click.IntRange(min=1))
@_out
@network_options
@json_option
def retirement(
    retirement_id: int,
    output: Path,
    nodes: str | None,
    keys_folder: Path | None,
    genesis: Path | None,
    as_json: bool,
) -> None:
    """Prove that retirement ID happened: the event, its inclusion, the header and the validators' signatures.

    \b
    gridbft prove retirement 7 -o retirement-7.proof
    """
    with faults(as_json):
        network = find_network(nodes, keys_folder, genesis)
        with connect(network, prove=True) as client:
            receipt, event = find_retirement(client, retirement_id)
            proof = client.prove_event(receipt.tx_id, event)
        _write(proof, output, network, as_json)


@prove.command()
@click.argument("contract")
@click.argument("key")
@_out
@network_options
@json_option
def state(
    contract: str,
    key: str,
    output: Path,
    nodes: str | None,
    keys_folder: Path | None,
    genesis: Path | None,
    as_json: bool,
) -> None:
    """Prove what CONTRACT keeps under KEY, or that it keeps nothing there.

    KEY is NAME for a single value and NAME/PART/PART... for a map's entry, with the names of the contract's source. @NAME is
    the address of a key.

    \b
    gridbft prove state payments free/@alice -o alice.proof
    """
    with faults(as_json):
        network = find_network(nodes, keys_folder, genesis)
        with connect(network, prove=True) as client:
            names = state_names(client, contract)
            try:
                raw_key, _ = key_of(
                    contract, names, key, lambda kind, word: from_word(kind, word, lambda n: _address(network, n))
                )
            except ValueError as error:
                raise InputError(str(error)) from error
            proof = client.prove_state(raw_key)
        _write(proof, output, network, as_json)


def find_retirement(client: BlockingClient, retirement_id: int) -> tuple[Receipt, int]:
    """The receipt of a retirement and the number of its event. Raises InputError where there is no such retirement.

    Its record holds the time of its block, and block times grow, so a handful of blocks is enough to find it.
    """
    abi = find_function(client.contracts(), "certificates", "retirement", view=True)
    record = named(parse_type(abi.returns), client.query("certificates", "retirement", retirement_id))
    if not isinstance(record, dict):
        raise InputError(f"there is no retirement {retirement_id}")
    height = _height_at(client, record["retired_ms"])
    for receipt in client.block(height).receipts:
        for number, event in enumerate(receipt.events):
            if (event.contract, event.name) == ("certificates", "Retired") and (
                event.fields["retirement_id"] == retirement_id
            ):
                return receipt, number
    raise NotFound(f"the block of retirement {retirement_id}, {height}, does not hold its event")


def _height_at(client: BlockingClient, time_ms: int) -> int:
    """The first height whose time is not before `time_ms`."""
    status = client.status()
    low, high = max(1, status.earliest_height), status.height
    while low < high:
        middle = (low + high) // 2
        if client.block(middle).time_ms < time_ms:
            low = middle + 1
        else:
            high = middle
    return low


def state_names(client: BlockingClient, contract: str) -> dict[str, StateName]:
    """What a contract on the chain keeps. Raises InputError where there is no such contract."""
    try:
        code = client.state(code_key(contract))
    except UnicodeEncodeError:
        code = None
    if code is None:
        raise InputError(f"no contract {contract!r}; there are: {', '.join(c.name for c in client.contracts())}")
    try:
        source = client.state(source_key(decode(code)[1]))
        return declared(source or b"")
    except (ValueError, TypeError, IndexError) as error:
        raise VerificationError("BAD_SOURCE", f"the node's source of {contract} is none: {error}") from error


def _address(network: Network, name: str) -> str:
    return network.keyring().info(name).address


def _write(proof: bytes, output: Path, network: Network, as_json: bool) -> None:
    """A file is written only after it was checked as its reader will check it."""
    found = _checked(proof, network)
    try:
        output.write_bytes(proof)
    except OSError as error:
        raise InputError(f"{output} cannot be written: {error.strerror}") from error
    report: dict[str, Any] = {"ok": True, "file": str(output), "bytes": len(proof), **proof_json(found)}
    if as_json:
        print_json(report)
    else:
        what = report["event"]["name"] if "event" in report else readable_key(bytes.fromhex(report["key"]))
        click.echo(f"{output}: {what}, {len(proof)} bytes, vouched for by block {found.header_height}")


def _checked(proof: bytes, network: Network) -> Verified:
    assert network.genesis is not None, "connect(prove=True) asked for it"
    Trust.load(network.genesis)  # says which file it is that cannot be read
    return verify(proof, network.genesis.read_text(encoding="utf-8"))
