"""`gridbft genesis build` and `gridbft genesis check`: the file that a network begins with."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from chain.genesis import PARAM_BOUNDS, ChainParams, Genesis, GenesisCall, GenesisError, dump_genesis, load_genesis
from chain.genesis import load_member as parse_member
from contracts.energy import DEPLOYMENT_ORDER, SOURCES, genesis_calls
from node.cli.output import FAILURE, InputError, faults, json_option, print_facts, print_json, print_table
from node.consortium import Examined, examine, genesis_hash, put_together

file_type = click.Path(path_type=Path, dir_okay=False)


@click.group()
def genesis() -> None:
    """Put a consortium's genesis together from its members' public parts, or check one."""


@genesis.command()
@click.argument("members", metavar="MEMBER.json...", nargs=-1, required=True, type=file_type)
@click.option("-o", "--output", required=True, type=file_type, help="The genesis file to write.")
@click.option("--name", default="energy", show_default=True, help="What the chain id begins with.")
@click.option("--currency", default="EUR", show_default=True, help="The settlement currency (ISO 4217).")
@click.option("--time", "when", help="When the chain begins, as 2026-01-31T12:00:00Z (else now).")
@click.option(
    "--contracts",
    type=click.Choice(["energy", "none"]),
    default="energy",
    show_default=True,
    help="What is deployed from the first block on.",
)
@click.option(
    "--operator", "operators", multiple=True, help="Account that runs the market (40 hexadecimal characters)."
)
@click.option("--meter-operator", "meter_operators", multiple=True, help="Account that submits readings.")
@click.option("--issuer", "issuers", multiple=True, help="Account that issues certificates.")
@click.option("--param", "params", metavar="NAME=VALUE", multiple=True, help=f"One of {', '.join(PARAM_BOUNDS)}.")
@json_option
def build(
    members: tuple[Path, ...],
    output: Path,
    name: str,
    currency: str,
    when: str | None,
    contracts: str,
    operators: tuple[str, ...],
    meter_operators: tuple[str, ...],
    issuers: tuple[str, ...],
    params: tuple[str, ...],
    as_json: bool,
) -> None:
    """Put a genesis together. With the same parts and --time everybody gets the same file, whatever their order.

    \b
    gridbft genesis build */member.json -o genesis.json --time 2026-01-31T12:00:00Z \\
        --operator ACCOUNT --meter-operator ACCOUNT --issuer ACCOUNT
    """
    with faults(as_json):
        if output.exists():
            raise InputError(f"{output} exists already: a genesis is never overwritten")
        accounts = [
            _accounts(o, given)
            for o, given in (("--operator", operators), ("--meter-operator", meter_operators), ("--issuer", issuers))
        ]
        calls: list[GenesisCall] = []
        if contracts == "energy":
            for option, given in zip(("--operator", "--meter-operator", "--issuer"), accounts, strict=True):
                if not given:
                    raise InputError(f"the energy contracts need an account for {option} (`gridbft keys export NAME`)")
            calls = [GenesisCall(c, f, tuple(args)) for c, f, args in genesis_calls(*accounts)]
        order = DEPLOYMENT_ORDER if contracts == "energy" else ()
        made = put_together(
            _named(name),
            currency,
            _time_ms(when),
            [_member(file) for file in members],
            _params(params),
            [(c, SOURCES[c].decode("ascii")) for c in order],
            calls,
        )
        examined = _examined(made)
        if examined.is_usable:
            output.write_text(dump_genesis(made), encoding="utf-8")
        _report(made, examined, as_json, {"file": str(output) if examined.is_usable else None})


@genesis.command()
@click.argument("file", type=file_type)
@click.option("--member", type=file_type, help="Your own member.json: it must stand in the genesis as it is.")
@click.option("--chain-id", help="The chain id that you were told by another way.")
@json_option
def check(file: Path, member: Path | None, chain_id: str | None, as_json: bool) -> None:
    """Examine a genesis before you join it: its digest, members, certificates, contracts, and what the calls make.

    \b
    gridbft genesis check genesis.json --member member.json
    """
    with faults(as_json):
        found = read_genesis(file)
        if chain_id is not None and chain_id != found.chain_id:
            raise InputError(f"{file} is the genesis of {found.chain_id}, not of {chain_id}")
        if member is not None:
            own = _member(member)
            if own not in found.members:
                same_key = next((m for m in found.members if m.public_key == own.public_key), None)
                what = "is not in it" if same_key is None else "stands in it with something changed"
                raise InputError(f"{file}: {own.name} {what}; do not join it, ask who put it together")
        _report(found, _examined(found), as_json, {})


def read_genesis(file: Path) -> Genesis:
    """Raises InputError."""
    try:
        return load_genesis(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, GenesisError, RecursionError) as error:
        raise InputError(f"{file}: {error}") from error


def _member(file: Path) -> Any:
    try:
        return parse_member(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, GenesisError) as error:
        raise InputError(f"{file}: {error}") from error


def _examined(found: Genesis) -> Examined:
    try:
        return examine(found, time.time_ns() // 1_000_000)
    except ValueError as error:
        raise InputError(f"validators: {error}") from error


def _report(found: Genesis, examined: Examined, as_json: bool, more: dict[str, Any]) -> None:
    if as_json:
        print_json(
            {
                "ok": examined.is_usable,
                "chain_id": found.chain_id,
                "genesis_hash": genesis_hash(found).hex(),
                "validators": [
                    {
                        "name": m.name,
                        "role": m.role,
                        "power": m.power,
                        "peer_address": m.peer_address,
                        "address": m.id.hex(),
                    }
                    for m in found.members
                ],
                "faulty_power": examined.faulty_power,
                "state_root": examined.state_root,
                "faults": [f.what for f in examined.findings if f.is_fault],
                "warnings": [f.what for f in examined.findings if not f.is_fault],
                **more,
            }
        )
    else:
        rows = [(m.name, m.role, str(m.power), m.peer_address, m.id.hex()) for m in found.members]
        print_table("", ("name", "role", "power", "peers connect to", "address"), rows, numeric=("power",))
        print_facts(
            (
                ("chain id", found.chain_id),
                ("genesis hash", genesis_hash(found).hex()),
                ("begins", datetime.fromtimestamp(found.time_ms / 1_000, UTC).isoformat()),
                ("contracts", ", ".join(name for name, _ in found.contracts) or "none"),
                ("tolerates", f"faulty validators with a power of {examined.faulty_power} together"),
                ("state root", examined.state_root or "-"),
                *(("FAULT" if f.is_fault else "note", f.what) for f in examined.findings),
            )
        )
    if not examined.is_usable:
        raise SystemExit(FAILURE)


def _accounts(option: str, given: tuple[str, ...]) -> list[str]:
    for account in given:
        if re.fullmatch(r"[0-9a-f]{40}", account) is None:
            raise InputError(f"{option} {account!r} is no account: expected 40 hexadecimal characters")
    return list(given)


def _named(name: str) -> str:
    if re.fullmatch(r"[a-z0-9][a-z0-9-]{0,31}", name) is None:
        raise InputError(f"--name {name!r}: expected 1 to 32 of a-z, 0-9 and '-'")
    return name


def _time_ms(text: str | None) -> int:
    if text is None:
        return time.time_ns() // 1_000_000
    try:
        when = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as error:
        raise InputError(f"--time {text!r}: expected something like 2026-01-31T12:00:00Z") from error
    if when.tzinfo is None:
        raise InputError(f"--time {text!r} has no time zone: end it with Z for UTC")
    return int(when.timestamp() * 1_000)


def _params(given: tuple[str, ...]) -> ChainParams:
    values: dict[str, int] = {}
    for word in given:
        name, _, value = word.partition("=")
        if name not in PARAM_BOUNDS or not value.isdecimal():
            raise InputError(f"--param {word!r}: expected NAME=VALUE with one of {', '.join(PARAM_BOUNDS)}")
        least, most = PARAM_BOUNDS[name]
        if not least <= int(value) <= most:
            raise InputError(f"--param {name}: expected {least} to {most}, found {value}")
        values[name] = int(value)
    return ChainParams(**values)
