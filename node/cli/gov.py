"""`gridbft gov` and `gridbft halt`: a validator proposes, votes and looks, by its own key; `gridbft evidence` lists faults."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click
import msgpack

from chain.evidence import decode_evidence
from chain.genesis import GenesisError, load_member
from chain.governance import NAME
from chain.system import EVIDENCE_AT, EVIDENCE_COUNT
from chain.tx import TxCall
from consensus.evidence import DoubleVote, offender
from contracts.runtime.checker import check
from gridbft.blocking import BlockingClient
from gridbft.requests import make_call
from gridbft.tls import Tls
from gridbft.wallet import Wallet
from node.cli.network import Network, find_network
from node.cli.output import FAILURE, InputError, faults, json_option, print_facts, print_json, print_table, show
from node.cli.session import connect
from node.cli.tls import tls_options
from node.cli.unlock import passphrase_option, unlocking
from node.config import Config, ConfigError, read_config
from node.home import Home

PAGE = 100

_Command = TypeVar("_Command", bound=Callable[..., Any])


def options(command: _Command) -> _Command:
    """Who speaks and to which nodes."""
    for option in (
        json_option,
        passphrase_option,
        click.option(
            "--nodes", help="Addresses of nodes, HOST:PORT,HOST:PORT (else the home's, or the network file's)."
        ),
        click.option("--from", "key", metavar="KEYNAME", help="The validator's key, by its name among --keys."),
        click.option("--keys", "keys_folder", type=click.Path(path_type=Path), help="Folder of keys."),
        click.option(
            "--home",
            type=click.Path(path_type=Path, file_okay=False),
            help="The validator's home (or its signer's folder, with --nodes): its key.",
        ),
    ):
        command = option(command)
    return tls_options(command)


@contextmanager
def session(
    nodes: str | None, key: str | None, keys_folder: Path | None, home: Path | None, signs: bool
) -> Iterator[BlockingClient]:
    """A client that signs as the validator. Raises InputError where it is not said who speaks."""
    config = None if home is None else _config(home, nodes)
    if config is not None:
        nodes = nodes or config.client_address
    network: Network = find_network(nodes, keys_folder, None if home is None else Home(home).genesis)
    if home is not None and config is not None and config.client_tls and network.tls is None:
        network = replace(network, tls=Tls.of_genesis(Home(home).genesis.read_text(encoding="utf-8")))
    wallet: Wallet | None = None
    if signs and config is not None and config.signer:
        raise InputError(
            f"the key of {home} is at its signer ({config.signer}), which signs no transactions: as the signer's user, give "
            f"the signer's folder by --home and this node by --nodes {config.client_address}"
        )
    if signs and home is not None:
        wallet = Wallet.load(Home(home).key, unlocking())
    elif signs and key is not None:
        wallet = network.keyring().get(key)
    elif signs:
        raise InputError("who speaks? give --home DIR of the validator, or --from KEYNAME")
    with connect(network, wallet) as client:
        yield client


def _config(home: Path, nodes: str | None) -> Config | None:
    """The home's configuration; None for a signer's folder, which knows no nodes. Raises InputError."""
    if not Home(home).config.is_file() and Home(home).key.is_file():
        if nodes is None:
            raise InputError(f"{home} is a signer's folder, which knows no nodes: give --nodes HOST:PORT too")
        return None
    try:
        return read_config(Home(home).config)
    except ConfigError as error:
        raise InputError(str(error)) from error


def submit(function: str, *args: Any, who: dict[str, Any], as_json: bool) -> None:
    submit_all([make_call(NAME, function, *args)], who=who, as_json=as_json)


def submit_all(calls: Sequence[TxCall], who: dict[str, Any], as_json: bool) -> None:
    """One transaction: all of the calls, or none. The result of one call is a value, of several a list."""
    with faults(as_json), session(**who, signs=True) as client:
        receipt = client.submit(calls)
        results = list(receipt.results) if receipt.ok else []
        result = results if len(calls) > 1 else results[0] if results else None
        if as_json:
            print_json({"ok": receipt.ok, "code": receipt.code, "result": result, "tx_id": receipt.tx_id})
        else:
            click.echo(f"{NAME}.{calls[0].function}: {show(result) if receipt.ok else receipt.code}")
        if not receipt.ok:
            sys.exit(FAILURE)


@click.group()
def gov() -> None:
    """Propose, vote and look at proposals of the validators. More than two thirds of the power decide."""


@gov.group()
def propose() -> None:
    """Make a proposal, and vote for it. The result is its number."""


@propose.command()
@click.argument("who_joins", metavar="MEMBER.json|PUBLIC_KEY")
@click.option("--name", help="A name for people.")
@click.option("--role", default="utility", show_default=True, help="What its operator is, for people.")
@click.option(
    "--power",
    required=True,
    type=click.IntRange(min=0),
    help="Its share in votes, beside the others' (a founder has 1); 0 makes it an observer.",
)
@click.option("--peer-address", help="HOST:PORT where other members reach it.")
@click.option("--certificate", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Its tls.crt.")
@options
def member(
    who_joins: str,
    name: str | None,
    role: str,
    power: int,
    peer_address: str | None,
    certificate: Path | None,
    as_json: bool,
    **who: Any,
) -> None:
    """Add or change a member, by the member.json of its home, or by its key and the options.

    \b
    gridbft gov propose member dso-5.json --power 0 --home /var/lib/gridbft
    """
    with faults(as_json):
        if Path(who_joins).is_file():
            wanted = _member_file(Path(who_joins))
        elif name is None or peer_address is None or certificate is None:
            raise InputError(f"{who_joins} is no file: a key needs --name, --peer-address and --certificate too")
        else:
            wanted = (who_joins, name, role, peer_address, certificate.read_text(encoding="utf-8"))
    key, called, its_role, address, pem = wanted
    submit("propose_member", key, called, its_role, power, address, pem, who=who, as_json=as_json)


def _member_file(file: Path) -> tuple[str, str, str, str, str]:
    try:
        found = load_member(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, GenesisError) as error:
        raise InputError(f"{file}: {error}") from error
    return found.public_key.hex(), found.name, found.role, found.peer_address, found.certificate


@propose.command()
@click.argument("public_key")
@options
def removal(public_key: str, as_json: bool, **who: Any) -> None:
    """Remove a member and its vote.

    \b
    gridbft gov propose removal PUBLIC_KEY --home /var/lib/gridbft
    """
    submit("propose_removal", public_key, who=who, as_json=as_json)


@propose.command()
@click.argument("name")
@click.argument("value", type=click.IntRange(min=0))
@options
def parameter(name: str, value: int, as_json: bool, **who: Any) -> None:
    """Change a parameter of the chain.

    \b
    gridbft gov propose parameter max_block_bytes 2000000 --home /var/lib/gridbft
    """
    submit("propose_parameter", name, value, who=who, as_json=as_json)


@propose.command("halt")
@click.argument("height", type=click.IntRange(min=0))
@options
def propose_halt(height: int, as_json: bool, **who: Any) -> None:
    """Stop the chain after HEIGHT; 0 takes a halt back.

    \b
    gridbft gov propose halt 250000 --home /var/lib/gridbft
    """
    submit("propose_halt", height, who=who, as_json=as_json)


def code_arguments(command: _Command) -> _Command:
    for option in (
        options,
        click.option(
            "--height", default=0, type=click.IntRange(min=0), help="In force at the end of this height; 0: at once."
        ),
        click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False)),
        click.argument("name"),
    ):
        command = option(command)
    return command


@propose.command()
@code_arguments
def deploy(name: str, file: Path, height: int, as_json: bool, **who: Any) -> None:
    """Put a new contract NAME on the chain, from its source FILE.

    \b
    gridbft contract check pool.py
    gridbft gov propose deploy pool pool.py --home /var/lib/gridbft
    """
    submit("propose_deploy", name, _source(file, as_json), height, who=who, as_json=as_json)


@propose.command()
@code_arguments
def upgrade(name: str, file: Path, height: int, as_json: bool, **who: Any) -> None:
    """Replace the code of contract NAME by FILE; its state stays, and its migrate(old_version) runs once.

    \b
    gridbft gov propose upgrade market market.py --height 250000 --home /var/lib/gridbft
    """
    submit("propose_upgrade", name, _source(file, as_json), height, who=who, as_json=as_json)


def _source(file: Path, as_json: bool) -> str:
    """Read here, so that a file that is no contract costs no proposal."""
    with faults(as_json):
        try:
            text = file.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{file} cannot be read as ASCII: {error}") from error
        _, errors = check(text.encode())
        if errors:
            raise InputError(f"{file} is no contract; see: gridbft contract check {file}")
        return text


@propose.command()
@click.argument("name")
@click.option("--emergency", is_flag=True, help="For a while only, and a third of the power is enough.")
@options
def pause(name: str, emergency: bool, as_json: bool, **who: Any) -> None:
    """Pause contract NAME: its functions are refused until it is resumed.

    \b
    gridbft gov propose pause market --emergency --home /var/lib/gridbft
    """
    submit("propose_emergency_pause" if emergency else "propose_pause", name, who=who, as_json=as_json)


@propose.command()
@click.argument("name")
@options
def resume(name: str, as_json: bool, **who: Any) -> None:
    """End the pause of contract NAME.

    \b
    gridbft gov propose resume market --home /var/lib/gridbft
    """
    submit("propose_resume", name, who=who, as_json=as_json)


@propose.command()
@click.argument("version", type=click.IntRange(min=2))
@click.argument("height", type=click.IntRange(min=0))
@options
def protocol(version: int, height: int, as_json: bool, **who: Any) -> None:
    """Follow VERSION of the chain's rules from HEIGHT on; height 0 takes that back.

    Every node must run a release that knows VERSION by then: one that does not stops, and says so.

    \b
    gridbft gov propose protocol 2 250000 --home /var/lib/gridbft
    """
    submit("propose_protocol", version, height, who=who, as_json=as_json)


@gov.command()
@click.argument("proposal_ids", metavar="PROPOSAL_ID...", type=click.IntRange(min=1), nargs=-1, required=True)
@click.option("--yes/--no", "approve", required=True, help="For it, or against it.")
@options
def vote(proposal_ids: tuple[int, ...], approve: bool, as_json: bool, **who: Any) -> None:
    """Vote on a proposal, or on several at once: they pass in the same block then. Gives their status.

    \b
    gridbft gov vote 7 8 --yes --home /var/lib/gridbft
    """
    submit_all([make_call(NAME, "vote", number, approve) for number in proposal_ids], who=who, as_json=as_json)


@gov.command("list")
@options
def list_(as_json: bool, **who: Any) -> None:
    """Show all proposals.

    \b
    gridbft gov list --home /var/lib/gridbft
    """
    with faults(as_json), session(**who, signs=False) as client:
        found: list[dict[str, Any]] = []
        while page := client.query(NAME, "proposals", len(found) + 1, PAGE):
            found += page
    if as_json:
        print_json({"ok": True, "proposals": found})
        return
    rows = [[str(p["id"]), p["kind"], show(_short(p["subject"])), p["status"], str(len(p["votes"]))] for p in found]
    print_table("", ["id", "kind", "subject", "status", "votes"], rows, ["id", "votes"])


@gov.command("show")
@click.argument("proposal_id", type=click.IntRange(min=1))
@options
def show_(proposal_id: int, as_json: bool, **who: Any) -> None:
    """Show one proposal and who voted.

    \b
    gridbft gov show 7 --home /var/lib/gridbft
    """
    with faults(as_json), session(**who, signs=False) as client:
        found = client.query(NAME, "proposal", proposal_id)
    if as_json:
        print_json({"ok": True, "proposal": found})
    else:
        print_facts([(name, show(value)) for name, value in found.items()])


def _short(subject: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in subject.items() if name != "certificate"}


@click.command()
@click.option("--height", required=True, type=click.IntRange(min=0), help="The last height; 0 takes a halt back.")
@options
def halt(height: int, as_json: bool, **who: Any) -> None:
    """Propose that the chain stops after a height. It does when more than two thirds of the power vote for it.

    \b
    gridbft halt --height 250000 --home /var/lib/gridbft
    """
    submit("propose_halt", height, who=who, as_json=as_json)


@click.command()
@options
def evidence(as_json: bool, **who: Any) -> None:
    """List the validators that were caught signing twice, as blocks took the evidence.

    \b
    gridbft evidence --nodes 10.0.0.1:7101
    """
    with faults(as_json), session(**who, signs=False) as client:
        total = int.from_bytes(client.state(EVIDENCE_COUNT) or b"", "big")
        records = [client.state(EVIDENCE_AT + n.to_bytes(8, "big")) for n in range(total)]
    found = [_fault(n, *msgpack.unpackb(raw)) for n, raw in enumerate(records) if raw is not None]
    if as_json:
        print_json({"ok": True, "evidence": found})
        return
    columns = ["number", "block", "validator", "kind", "height", "round"]
    print_table("", columns, [[str(f[c]) for c in columns] for f in found], ["number", "block", "height", "round"])


def _fault(number: int, block: int, raw: bytes) -> dict[str, Any]:
    fault = decode_evidence(raw)
    kind = fault.first.kind.name.lower() if isinstance(fault, DoubleVote) else "proposal"
    return {
        "number": number,
        "block": block,
        "validator": offender(fault).hex(),
        "kind": kind,
        "height": fault.first.height,
        "round": fault.first.round,
        "evidence": raw,
    }
