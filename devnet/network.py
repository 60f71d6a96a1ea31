"""A local network's folder: a home for each validator, one genesis, the keys of its operators, and a file that lists it all."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from chain.genesis import ChainParams, Genesis, GenesisCall, Member, build_genesis, dump_genesis
from contracts.energy import DEPLOYMENT_ORDER, SOURCES, genesis_calls
from gridbft.wallet import OPEN_MARK, Keyring, Wallet
from node.cli.init import create_home
from node.home import Home

NETWORK_FILE = "network.json"
GENESIS_FILE = "genesis.json"
SEED_FILE = "participants.seed"
OPERATORS = ("operator", "meter-operator", "issuer")
CURRENCY = "EUR"
BASE_PORT = 7101
HISTORY_DAYS = 36_500
BASE_PORT_VARIABLE = "GRIDBFT_BASE_PORT"
PEER_PORT_OFFSET = 100
MAX_NODES = 64
PARTICIPANT_DOMAIN = b"gridbft/devnet/participant/v1\x00"


class NetworkError(Exception):
    """The folder or the request is not usable; one sentence that says why and what to do."""


@dataclass(frozen=True, slots=True)
class Node:
    name: str
    role: str
    client_address: str
    peer_address: str
    home: Path


@dataclass(frozen=True, slots=True)
class Network:
    folder: Path
    chain_id: str
    nodes: tuple[Node, ...]

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(node.client_address for node in self.nodes)

    @property
    def keyring(self) -> Keyring:
        return Keyring(self.folder / "keys")

    def participant(self, bus: str) -> Wallet:
        """The key of a bus's participant, derived from this network's own secret."""
        return participant_wallet((self.folder / "keys" / SEED_FILE).read_text(encoding="ascii"), bus)


def participant_wallet(network_seed: str, bus: str) -> Wallet:
    seed = bytes.fromhex(network_seed.strip())
    return Wallet.from_seed(sha256(PARTICIPANT_DOMAIN + seed + bus.encode()).digest(), f"bus-{bus}")


def node_names(count: int) -> list[tuple[str, str]]:
    """(name, role): utility-1, utility-2, dso-1, dso-2, then utility-3, dso-3, utility-4, ..."""
    first = [("utility", 1), ("utility", 2), ("dso", 1), ("dso", 2)]
    further = [(role, number) for number in range(3, count) for role in ("utility", "dso")]
    return [(f"{role}-{number}", role) for role, number in (first + further)[:count]]


def base_port() -> int:
    """The first client port, from the environment or the default. Raises NetworkError."""
    text = os.environ.get(BASE_PORT_VARIABLE, str(BASE_PORT))
    if not text.isdecimal() or not 1024 <= int(text) <= 65_535 - PEER_PORT_OFFSET - MAX_NODES:
        raise NetworkError(f"{BASE_PORT_VARIABLE} is {text!r}, expected a port from 1024 to 65300")
    return int(text)


def create_network(folder: Path, count: int, first_port: int, more_calls: Iterable[GenesisCall] = ()) -> Network:
    """Makes all homes and keys anew; the genesis makes `more_calls` after its own. Raises NetworkError where a network stands already."""
    if not 1 <= count <= MAX_NODES:
        raise NetworkError(f"expected 1 to {MAX_NODES} nodes, found {count}")
    if (folder / NETWORK_FILE).exists():
        raise NetworkError(f"{folder} holds a network already")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    keyring = Keyring(folder / "keys")
    keyring.folder.mkdir(mode=0o700)
    (keyring.folder / OPEN_MARK).write_text("The keys in this folder have no passphrase: they only play.\n")
    operators = [keyring.new(name) for name in OPERATORS]
    seed = folder / "keys" / SEED_FILE
    seed.touch(mode=0o600)
    seed.write_text(secrets.token_hex(32) + "\n", encoding="ascii")
    nodes: list[Node] = []
    members: list[Member] = []
    for place, (name, role) in enumerate(node_names(count)):
        client = f"127.0.0.1:{first_port + place}"
        peer = f"127.0.0.1:{first_port + PEER_PORT_OFFSET + place}"
        node = Node(name, role, client, peer, folder / name)
        members.append(create_home(node.home, name, role, client, peer))
        nodes.append(node)
    genesis = devnet_genesis(tuple(members), operators, int(time.time() * 1000), tuple(more_calls))
    text = dump_genesis(genesis)
    for node in nodes:
        Home(node.home).genesis.write_text(text, encoding="utf-8")
    (folder / GENESIS_FILE).write_text(text, encoding="utf-8")
    network = Network(folder, genesis.chain_id, tuple(nodes))
    _write(network)  # last: a folder without it is a network that was never finished
    return network


def devnet_genesis(
    members: tuple[Member, ...], operators: list[Wallet], time_ms: int, more_calls: tuple[GenesisCall, ...] = ()
) -> Genesis:
    """`operators`: the market's operator, the meter operator and the certificate issuer."""
    accounts = [wallet.address for wallet in operators]
    return build_genesis(
        name="devnet",
        time_ms=time_ms,
        currency=CURRENCY,
        members=members,
        params=ChainParams(),
        contracts=tuple((name, SOURCES[name].decode("ascii")) for name in DEPLOYMENT_ORDER),
        calls=(
            *(GenesisCall(contract, function, tuple(args)) for contract, function, args in genesis_calls(*accounts)),
            # The days that are played here lie years back: their certificates must not have expired when they are issued.
            GenesisCall("certificates", "set_lifetime", (HISTORY_DAYS,)),
            *more_calls,
        ),
    )


def load_network(folder: Path) -> Network | None:
    """None where there is none. Raises NetworkError for a damaged file."""
    file = folder / NETWORK_FILE
    if not file.exists():
        return None
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        nodes = tuple(
            Node(n["name"], n["role"], n["client_address"], n["peer_address"], folder / n["home"])
            for n in record["nodes"]
        )
        return Network(folder, str(record["chain_id"]), nodes)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NetworkError(f"{file} is damaged ({error!r}): begin anew with devnet/up.sh --fresh") from error


def _write(network: Network) -> None:
    """Paths are relative to the folder, so that it can be moved."""
    record = {
        "chain_id": network.chain_id,
        "genesis": GENESIS_FILE,
        "nodes": [
            {
                "name": node.name,
                "role": node.role,
                "client_address": node.client_address,
                "peer_address": node.peer_address,
                "home": node.home.relative_to(network.folder).as_posix(),
            }
            for node in network.nodes
        ],
        "keys": "keys",
    }
    (network.folder / NETWORK_FILE).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
