"""Which nodes and keys a command speaks of: from its options, the environment, or the network file around it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from gridbft.tls import Tls
from gridbft.wallet import Keyring
from node.cli.output import InputError
from node.cli.tls import chosen_tls, tls_options
from node.cli.unlock import passphrase_option, unlocking

NETWORK_FILE = Path(".devnet") / "network.json"
NETWORK_VARIABLE = "GRIDBFT_NETWORK"
KEYS_VARIABLE = "GRIDBFT_KEYS"

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class NodeEntry:
    """`name` is empty where only an address was given."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Network:
    """`genesis` is None where it is not known; then nothing can be proved."""

    nodes: tuple[NodeEntry, ...]
    genesis: Path | None
    keys: Path | None
    tls: Tls | None = None

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(n.address for n in self.nodes)

    def keyring(self) -> Keyring:
        if self.keys is None:
            raise InputError(
                f"no folder of keys: give --keys FOLDER, set {KEYS_VARIABLE}, or run in a network's folder"
            )
        return Keyring(self.keys, unlocking())


def network_options(command: _Command) -> _Command:
    """Adds --nodes, --keys, --genesis, --passphrase-file and the options of TLS to a command."""
    for option in (
        click.option(
            "--genesis", type=click.Path(path_type=Path), help="Genesis file that proofs are checked against."
        ),
        click.option("--keys", "keys_folder", type=click.Path(path_type=Path), help="Folder of keys."),
        click.option("--nodes", help="Addresses of nodes, HOST:PORT,HOST:PORT (else from the network file)."),
    ):
        command = option(command)
    return tls_options(passphrase_option(command))


def find_network(
    nodes: str | None = None, keys: Path | None = None, genesis: Path | None = None, start: Path | None = None
) -> Network:
    """Options win over the network file, which $GRIDBFT_NETWORK names or a folder from `start` upwards holds.

    Raises InputError when no node is known at all, or when the file is damaged.
    """
    file = _network_file(start or Path.cwd())
    found = read_network(file) if file is not None else Network((), None, None)
    entries = _entries(nodes) if nodes is not None else found.nodes
    if not entries:
        raise InputError(f"no nodes known: give --nodes HOST:PORT, or run where {NETWORK_FILE} is found upwards")
    variable = os.environ.get(KEYS_VARIABLE)
    known_genesis = genesis or found.genesis
    keys_folder = keys or (Path(variable) if variable else found.keys)
    return Network(entries, known_genesis, keys_folder, chosen_tls(known_genesis))


def read_network(file: Path) -> Network:
    """Raises InputError with the field that is wrong."""
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"network file {file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"network file {file} is not JSON") from error
    try:
        nodes = tuple(NodeEntry(str(n["name"]), str(n["client_address"])) for n in record["nodes"])
        return Network(nodes, _path(file, record.get("genesis")), _path(file, record.get("keys")))
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"network file {file} needs nodes with a name and a client_address each") from error


def _network_file(start: Path) -> Path | None:
    named = os.environ.get(NETWORK_VARIABLE)
    if named:
        return Path(named)
    folders = (start.resolve(), *start.resolve().parents)
    return next((folder / NETWORK_FILE for folder in folders if (folder / NETWORK_FILE).is_file()), None)


def _path(file: Path, value: str | None) -> Path | None:
    """Relative paths start at the network file's folder, or at the one that holds it."""
    if not value:
        return None
    folder = file.resolve().parent
    inside = folder / value
    return inside if inside.exists() or not (folder.parent / value).exists() else folder.parent / value


def _entries(nodes: str) -> tuple[NodeEntry, ...]:
    addresses = [a.strip() for a in nodes.split(",") if a.strip()]
    for address in addresses:
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
            raise InputError(f"{address!r} is no address of a node: expected HOST:PORT")
    return tuple(NodeEntry("", a) for a in addresses)
