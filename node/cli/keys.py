"""`gridbft keys list` and `gridbft keys new NAME`."""

from __future__ import annotations

from pathlib import Path

import click

from gridbft.wallet import Keyring, Wallet
from node.cli.network import find_network
from node.cli.output import faults, json_option, print_json, print_table

folder_option = click.option(
    "--keys", "keys_folder", type=click.Path(path_type=Path), help="Folder of keys (else the network's)."
)


@click.group()
def keys() -> None:
    """List keys, or make a new one."""


@keys.command("list")
@folder_option
@json_option
def list_keys(keys_folder: Path | None, as_json: bool) -> None:
    """List the keys of the folder with their addresses."""
    with faults(as_json):
        keyring = _keyring(keys_folder)
        found = list(keyring)
        if as_json:
            print_json({"folder": str(keyring.folder), "keys": [_public(w) for w in found]})
        else:
            print_table(f"Keys in {keyring.folder}", ("name", "address"), [(w.name, w.address) for w in found])


@keys.command("new")
@click.argument("name")
@folder_option
@json_option
def new_key(name: str, keys_folder: Path | None, as_json: bool) -> None:
    """Make a key and save it in the folder, readable by its owner only."""
    with faults(as_json):
        wallet = _keyring(keys_folder).new(name)
        if as_json:
            print_json(_public(wallet))
        else:
            click.echo(f"{wallet.name}  {wallet.address}")


def _public(wallet: Wallet) -> dict[str, str]:
    return {"name": wallet.name, "address": wallet.address, "public_key": wallet.public_key.hex()}


def _keyring(folder: Path | None) -> Keyring:
    if folder is not None:
        return Keyring(folder)
    return find_network(nodes="localhost:1").keyring()  # no node is asked here, so none has to be known
