"""`gridbft join`: a home takes the genesis of a network, new or running."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click

from chain.genesis import Genesis, dump_genesis
from gridbft.errors import WalletError
from gridbft.wallet import key_info
from node.cli.genesis import read_genesis
from node.cli.init import create_home, member_record
from node.cli.output import FAILURE, InputError, fail, faults, json_option, print_facts, print_json
from node.cli.tls import shown_to_nodes, tls_options
from node.cli.unlock import given_file, new_passphrase, passphrase_option
from node.config import ConfigError, is_address, read_config
from node.consortium import genesis_hash
from node.genesisfetch import WrongGenesisError, any_certificate, fetch_genesis
from node.home import Home


@click.command()
@click.option("--home", "folder", required=True, type=click.Path(path_type=Path, file_okay=False), help="The home.")
@click.option("--genesis", "file", type=click.Path(path_type=Path, dir_okay=False), help="The network's, as a file.")
@click.option("--genesis-from", "source", metavar="HOST:PORT", help="Or fetch it: the client port of a running node.")
@click.option(
    "--genesis-hash",
    "hash_",
    metavar="HEX",
    help="The file's SHA-256, as a member told you (`gridbft genesis check` and sha256sum show it): needed to fetch it.",
)
@click.option("--chain-id", help="The chain id, as you were told by another way: the file must be that network's.")
@click.option("--name", help="Makes the home too, where there is none: its name.")
@click.option("--role", default="utility", show_default=True, help="What its operator is, for people.")
@click.option("--client-address", default="127.0.0.1:7101", show_default=True, help="HOST:PORT where clients connect.")
@click.option(
    "--peer-address", default="127.0.0.1:7201", show_default=True, help="HOST:PORT where the other validators connect."
)
@click.option(
    "--unencrypted", is_flag=True, help="No passphrase for node.key and tls.key: for validators that only play."
)
@passphrase_option
@tls_options
@json_option
def join(
    folder: Path,
    file: Path | None,
    source: str | None,
    hash_: str | None,
    chain_id: str | None,
    name: str | None,
    role: str,
    client_address: str,
    peer_address: str,
    unencrypted: bool,
    as_json: bool,
) -> None:
    """Take a genesis into a home, after checking that both belong together.

    A member of the genesis can start then. Anybody else follows the chain once the members have voted it in: `join` says what
    one of them has to propose.

    \b
    gridbft join --home /var/lib/gridbft --genesis genesis.json                     # after `gridbft init`
    gridbft join --home /var/lib/gridbft --genesis genesis.json --name dso-5 \\
        --peer-address 10.0.0.9:7201 --passphrase-file /etc/gridbft/passphrase      # a new member of a running network
    gridbft join --home /var/lib/gridbft --genesis-from 10.0.0.1:7101 --tls --genesis-hash HEX      # fetches it
    """
    with faults(as_json):
        try:
            genesis = _genesis(file, source, hash_)
        except WrongGenesisError as error:
            fail(FAILURE, "WRONG_GENESIS", str(error), as_json)
        if chain_id is not None and chain_id != genesis.chain_id:
            raise InputError(f"{file or source} is the genesis of {genesis.chain_id}, not of {chain_id}")
        home = Home(folder)
        if home.genesis.exists() and home.genesis.read_text(encoding="utf-8") != dump_genesis(genesis):
            raise InputError(f"{home.genesis} is another network's: a home belongs to one network for ever")
        if not home.config.exists():
            if name is None:
                raise InputError(f"{folder} is no home yet: make it with `gridbft init`, or here with --name NAME")
            _make(home, name, role, client_address, peer_address, unencrypted)
        public_key, config_name = _own(home)
        member = next((m for m in genesis.members if m.public_key.hex() == public_key), None)
        certificate = home.tls_certificate.read_text(encoding="utf-8")
        if member is not None and member.certificate != certificate:
            raise InputError(f"{file or source} pins another certificate for {member.name} than {home.tls_certificate}")
        home.genesis.write_text(dump_genesis(genesis), encoding="utf-8")
        proposal = None if member is not None else _proposal(home, config_name)
        if as_json:
            print_json(
                {
                    "ok": True,
                    "home": str(folder),
                    "chain_id": genesis.chain_id,
                    "member": member is not None,
                    "propose": proposal,
                }
            )
            return
        print_facts(
            (
                ("home", str(folder)),
                ("chain id", genesis.chain_id),
                ("standing", f"validator {member.name}" if member else "not in the genesis: follows once voted in"),
                *((("a member proposes", proposal),) if proposal else ()),
                ("next", f"gridbft start --home {folder}"),
            )
        )


def _genesis(file: Path | None, source: str | None, hash_: str | None) -> Genesis:
    """From the file or from the node, and of that hash. Raises InputError, ClientError or WrongGenesisError."""
    if (file is None) == (source is None):
        raise InputError(
            "give the network's genesis by --genesis FILE, or by --genesis-from HOST:PORT --genesis-hash HEX"
        )
    expected = None if hash_ is None else _hash(hash_)
    if file is not None:
        genesis = read_genesis(file)
        if expected is not None and genesis_hash(genesis) != expected:
            raise WrongGenesisError(f"{file} has the hash {genesis_hash(genesis).hex()}, not {expected.hex()}")
        return genesis
    assert source is not None, "one of them is given"
    if expected is None:
        raise InputError("--genesis-from needs --genesis-hash HEX, which a member tells you: a node may lie")
    if not is_address(source):
        raise InputError(f"--genesis-from {source!r}: expected HOST:PORT")
    speaks_tls, tls = shown_to_nodes()
    if speaks_tls and (tls is None or tls.roots is None):
        tls = any_certificate(source, tls)
    return fetch_genesis(source, expected, tls)


def _hash(text: str) -> bytes:
    if re.fullmatch(r"[0-9A-Fa-f]{64}", text) is None:
        raise InputError(f"--genesis-hash {text!r}: expected a SHA-256 of 64 hexadecimal characters")
    return bytes.fromhex(text)


def _make(home: Home, name: str, role: str, client_address: str, peer_address: str, unencrypted: bool) -> None:
    for option, address in (("--client-address", client_address), ("--peer-address", peer_address)):
        if not is_address(address):
            raise InputError(f"{option} {address!r}: expected HOST:PORT")
    words = None if unencrypted else new_passphrase("the validator's keys", given_file())
    try:
        member = create_home(home.path, name, role, client_address, peer_address, words)
    except OSError as error:
        raise InputError(f"{home.path} cannot be made: {error}") from error
    (home.path / "member.json").write_text(json.dumps(member_record(member), indent=1) + "\n", encoding="utf-8")


def _own(home: Home) -> tuple[str, str]:
    """The home's public key and its name."""
    try:
        config = read_config(home.config)
        if config.signer:
            known = json.loads((home.path / "member.json").read_text(encoding="utf-8"))
            return str(known["public_key"]), config.name
        return key_info(home.key).public_key, config.name
    except (ConfigError, WalletError, OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{home.path}: {error}") from error


def _proposal(home: Home, name: str) -> str:
    return f"gridbft gov propose member {home.path / 'member.json'} --power 0 --home A_VALIDATORS_HOME (adds {name})"
