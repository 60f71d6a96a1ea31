"""`gridbft verify`: checks a proof file against a genesis, with no network."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from contracts.runtime.codec import decode
from gridbft.errors import VerificationError
from gridbft.light import TRUSTING_PERIOD_MS
from gridbft.statekeys import readable_key
from gridbft.verify import ProvedEvent, ProvedValue, Verified
from gridbft.verify import verify as check
from node.cli.output import FAILURE, InputError, fail, faults, json_option, plain, print_facts, print_json, show

_HOUR_MS = 3_600_000
_file = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("file", type=_file)
@click.option("--genesis", required=True, type=_file, help="The genesis file, obtained by a road of its own.")
@click.option(
    "--trusting-period-hours",
    type=click.IntRange(min=1),
    default=TRUSTING_PERIOD_MS // _HOUR_MS,
    show_default=True,
    help="How far a skip over headers may reach, in hours of block time.",
)
@json_option
def verify(file: Path, genesis: Path, trusting_period_hours: int, as_json: bool) -> None:
    """Check the proof in FILE. Exits with 1 and the reason where it does not hold.

    \b
    gridbft verify retirement-7.proof --genesis genesis.json
    """
    with faults(as_json):
        proof, text = _read(file), _read(genesis)
        try:
            found = check(
                proof,
                _text(genesis, text),
                now_ms=time.time_ns() // 1_000_000,
                trusting_period_ms=trusting_period_hours * _HOUR_MS,
            )
        except VerificationError as error:
            fail(FAILURE, error.reason, f"{file} proves nothing: {error}", as_json)
        if as_json:
            print_json({"ok": True, **proof_json(found)})
        else:
            _print(found)


def proof_json(found: Verified) -> dict[str, Any]:
    """What a proof shows, as a plain record."""
    facts = found.facts()
    if isinstance(found.claim, ProvedEvent):
        event = found.claim.event
        shown = {"contract": event.contract, "name": event.name, "fields": plain(dict(event.fields))}
        place = {"tx_id": found.claim.tx_id, "height": found.claim.height, "index": found.claim.index}
        return {"kind": "event", "event": shown, **place, **facts}
    value = found.claim
    return {
        "kind": "state",
        "key": value.key.hex(),
        "readable_key": readable_key(value.key),
        "height": value.height,
        "present": value.value is not None,
        "value": plain(_decoded(value)),
        **facts,
    }


def _decoded(value: ProvedValue) -> Any:
    """Contracts keep msgpack; what the system keeps may be other bytes."""
    if value.value is None:
        return None
    try:
        return decode(value.value)
    except ValueError:
        return value.value


def _print(found: Verified) -> None:
    if isinstance(found.claim, ProvedEvent):
        event = found.claim.event
        facts = [("proved", f"{event.contract}.{event.name} in transaction {found.claim.tx_id}")]
        facts += [(f"  {name}", show(value)) for name, value in event.fields.items()]
    else:
        has = show(_decoded(found.claim)) if found.claim.value is not None else "nothing"
        facts = [("proved", f"{readable_key(found.claim.key)} has {has} after height {found.claim.height}")]
    time_text = datetime.fromtimestamp(found.header_time_ms / 1000, UTC).isoformat(timespec="seconds")
    facts += [
        ("chain", found.chain_id),
        ("vouched for by", f"block {found.header_height} of {time_text}, {found.block_id}"),
        ("signed by", f"{found.signed_power} of {found.total_power} power, {found.steps} steps from the genesis"),
    ]
    print_facts(facts)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error


def _text(file: Path, raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is no genesis: it is not text") from error
