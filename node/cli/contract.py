"""`gridbft contract new|check|run|abi|gas`: writing contracts, with no network."""

from __future__ import annotations

import json
import keyword
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import click

from node.cli.output import FAILURE, InputError, faults, json_option, plain, print_facts, print_json, print_table, show

DEFAULT_GAS = 10_000_000
DEFAULT_SENDER = "a" * 40
FILE = click.Path(path_type=Path, dir_okay=False)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


@click.group()
def contract() -> None:
    """Write, check and try contracts, away from the chain. The language: contracts/LANGUAGE.md."""


# --- new


@contract.command()
@click.argument("name")
@click.option(
    "--folder", type=click.Path(path_type=Path, file_okay=False), default=Path("."), help="Where to write them."
)
@json_option
def new(name: str, folder: Path, as_json: bool) -> None:
    """Write a contract NAME.py and its test, which passes at once.

    \b
    gridbft contract new counter --folder contracts
    """
    with faults(as_json):
        if not _NAME.fullmatch(name) or keyword.iskeyword(name):
            raise InputError(
                f"a contract's name has at most 32 lower-case letters, digits and underscores: not {name!r}"
            )
        files = {folder / f"{name}.py": CONTRACT, folder / f"test_{name}.py": TEST.replace("NAME", name)}
        standing = [str(path) for path in files if path.exists()]
        if standing:
            raise InputError(f"{' and '.join(standing)} stand there already: choose another name")
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            path.write_text(text)
    source, test = files
    if as_json:
        print_json({"ok": True, "contract": str(source), "test": str(test)})
        return
    click.echo(f"wrote {source} and {test}\ntry: pytest {test}\n     gridbft contract run {source} add '[5]'")


CONTRACT = '''"""A jar of coins for each account: replace it by your own rules."""

from contracts.host import Map, ctx, emit, export, require, view

coins: Map[str, int] = Map("coins")


@export
def add(amount: int) -> int:
    """Puts coins into the caller's jar; returns what is in it."""
    require(amount > 0, "AMOUNT_NOT_POSITIVE")
    held = coins.get(ctx.caller, 0) + amount
    coins[ctx.caller] = held
    emit("Added", account=ctx.caller, amount=amount)
    return held


@view
def held_by(account: str) -> int:
    """0 for an account that never added any."""
    return coins.get(account, 0)
'''

TEST = '''"""The contract NAME under plain CPython, and on the machine that the chain uses."""

from pathlib import Path

import pytest

from contracts.host import ContractError
from contracts.runtime.metered_world import MeteredWorld
from contracts.runtime.world import World

ALICE, BOB = "a" * 40, "b" * 40


@pytest.fixture(params=[World, MeteredWorld])
def world(request: pytest.FixtureRequest) -> World:
    made: World = request.param()
    made.deploy("NAME", Path(__file__).with_name("NAME.py"))
    return made


def test_coins_add_up_in_the_jar_of_who_added_them(world: World) -> None:
    alice = world.as_(ALICE)
    assert [alice.call("NAME", "add", 5), alice.call("NAME", "add", 2)] == [5, 7]
    assert world.view("NAME", "held_by", ALICE) == 7
    assert world.view("NAME", "held_by", BOB) == 0
    assert world.events[-1].fields == {"account": ALICE, "amount": 2}


def test_nothing_is_added_by_a_negative_amount(world: World) -> None:
    with pytest.raises(ContractError, match="AMOUNT_NOT_POSITIVE"):
        world.as_(ALICE).call("NAME", "add", -1)
    assert world.view("NAME", "held_by", ALICE) == 0
'''


# --- check, abi, gas


@contract.command()
@click.argument("file", type=FILE)
@json_option
def check(file: Path, as_json: bool) -> None:
    """Say whether FILE is a contract, and if not, where, why, and what to write instead.

    \b
    gridbft contract check counter.py
    """
    from contracts.runtime.checker import check as find_errors

    with faults(as_json):
        found, errors = find_errors(_read(file))
    if as_json:
        print_json({"ok": not errors, "errors": [asdict(error) for error in errors]})
    elif found is not None:
        count = sum(function.kind != "private" for function in found.functions.values())
        click.echo(f"{file} is a contract with {count} function{'s' if count > 1 else ''} to call")
    _show_errors(file, errors, as_json)


@contract.command()
@click.argument("file", type=FILE)
@json_option
def abi(file: Path, as_json: bool) -> None:
    """Show the functions that FILE offers, with their types.

    \b
    gridbft contract abi counter.py
    """
    from contracts.runtime.abi import contract_abi

    with faults(as_json):
        source = _read(file)
        with _refusals(file, as_json):
            functions = contract_abi(source)
    if as_json:
        print_json({"ok": True, "functions": [{**asdict(f), "params": _params(f.params)} for f in functions]})
        return
    for function in functions:
        params = ", ".join(f"{name}: {kind}" for name, kind in function.params)
        click.echo(f"{'view' if function.view else 'export'} {function.name}({params}) -> {function.returns}")
        if function.doc:
            click.echo(f"    {function.doc.strip().splitlines()[0]}")


def _params(params: tuple[tuple[str, str], ...]) -> list[dict[str, str]]:
    return [{"name": name, "type": kind} for name, kind in params]


@contract.command()
@click.argument("file", type=FILE)
@json_option
def gas(file: Path, as_json: bool) -> None:
    """Show what each line of FILE costs. What depends on the size of values comes on top when it runs.

    \b
    gridbft contract gas counter.py
    """
    from contracts.runtime.abi import checked
    from contracts.runtime.listing import LineCost, line_costs

    with faults(as_json):
        source = _read(file)
        with _refusals(file, as_json):
            costs = line_costs(checked(source))
    lines = source.decode("ascii").splitlines()
    if as_json:
        rows = [
            {"line": line, "gas": cost.once, "gas_each_turn": cost.each_turn, "source": lines[line - 1]}
            for line, cost in costs.items()
        ]
        print_json({"ok": True, "lines": rows})
        return
    click.echo(f"{'gas':>6} {'a turn':>7}")
    for number, text in enumerate(lines, 1):
        cost = costs.get(number, LineCost())
        click.echo(f"{cost.once or '':>6} {cost.each_turn or '':>7}  {number:>4}  {text}".rstrip())
    click.echo("gas: each time the line runs; a turn: each turn of a loop or comprehension that begins there.")
    click.echo("On top: the bytes and elements of what is read, written, compared, copied or emitted (LANGUAGE.md).")


# --- run


@contract.command()
@click.argument("file", type=FILE)
@click.argument("function")
@click.argument("args_json", default="[]")
@click.option("--sender", default=DEFAULT_SENDER, help="Whose transaction it is: 40 hex characters, or genesis.")
@click.option(
    "--gas",
    "gas_limit",
    type=click.IntRange(1, 10**15),
    default=DEFAULT_GAS,
    show_default=True,
    help="Gas that it may use.",
)
@click.option(
    "--height", type=click.IntRange(0, 2**62), default=1, show_default=True, help="Height of its block (ctx.height)."
)
@click.option(
    "--time-ms",
    type=click.IntRange(0, 2**62),
    default=0,
    show_default=True,
    help="Unix time of its block in milliseconds (ctx.time_ms).",
)
@json_option
def run(
    file: Path, function: str, args_json: str, sender: str, gas_limit: int, height: int, time_ms: int, as_json: bool
) -> None:
    """Run a function of FILE on an empty state, metered as on the chain.

    ARGS_JSON is a JSON array: bytes as hexadecimal text, records as arrays or as objects by field name.

    \b
    gridbft contract run counter.py add '[5]' --height 10 --gas 1000000
    """
    from contracts.runtime.api import Call
    from contracts.runtime.codec import decode, encode
    from contracts.runtime.deploy import deploy_writes
    from contracts.runtime.engine import MeteredRuntime
    from node.ed25519 import verify

    with faults(as_json):
        source = _read(file)
        name = file.stem if _NAME.fullmatch(file.stem) else "contract"
        with _refusals(file, as_json):
            state = deploy_writes(name, source)
            args = _arguments(source, function, args_json)
        runtime = MeteredRuntime(verify)
        runtime.execute(
            Call(name, "", encode([]), sender, height, time_ms), state, gas_limit
        )  # finds no function: compiles
        call = Call(name, function, encode(args), sender, height, time_ms)
        started = time.perf_counter()
        outcome = runtime.execute(call, state, gas_limit)
        seconds = time.perf_counter() - started
    report = {
        "ok": outcome.ok,
        "result": plain(decode(outcome.result)) if outcome.ok else None,
        "error": outcome.code or None,
        "gas_used": outcome.gas_used,
        "events": [{"contract": e.contract, "name": e.name, "fields": plain(decode(e.fields))} for e in outcome.events],
        "writes": [_write(key, raw) for key, raw in outcome.writes.items()],
        "seconds": round(seconds, 6),
    }
    if as_json:
        print_json(report)
    else:
        _print_run(report)
    if not outcome.ok:
        raise SystemExit(FAILURE)


def _arguments(source: bytes, function: str, args_json: str) -> list[Any]:
    """JSON by the types of the function; a function that does not exist takes anything, and the runtime refuses it."""
    from contracts.runtime.abi import contract_abi
    from gridbft.abi import parse_type
    from node.cli.arguments import from_json

    try:
        values = json.loads(args_json)
    except ValueError as error:
        raise InputError(f"the arguments are no JSON array: {error}") from error
    if not isinstance(values, list):
        raise InputError(f'the arguments are a JSON array, such as [1, "text"], not {args_json}')
    known = contract_abi(source)
    found = next((f for f in known if f.name == function), None)
    if found is None:
        raise InputError(f"there is no function {function!r}; there are: {', '.join(f.name for f in known)}")
    if len(values) != len(found.params):
        wanted = ", ".join(f"{name}: {kind}" for name, kind in found.params) or "none"
        raise InputError(f"expected {len(found.params)} arguments ({wanted}), found {len(values)}")
    arguments = []
    for (name, kind), value in zip(found.params, values, strict=True):
        try:
            arguments.append(from_json(parse_type(kind), value, lambda word: "@" + word))
        except ValueError as error:
            raise InputError(f"{name}: {error}") from error
    return arguments


def _write(key: bytes, raw: bytes | None) -> dict[str, Any]:
    """`contract/map/` and a key's encoding, or `contract/value`, spelled out beside the very bytes."""
    from contracts.runtime.codec import decode

    _, place, *rest = key.split(b"/", 2)
    return {
        "state": place.decode(),
        "entry": plain(decode(rest[0])) if rest else None,
        "value": None if raw is None else plain(decode(raw)),
        "deleted": raw is None,
        "key_hex": key.hex(),
        "value_hex": None if raw is None else raw.hex(),
    }


def _print_run(report: dict[str, Any]) -> None:
    ended = show(report["result"]) if report["ok"] else f"refused with {report['error']}"
    print_facts([("result", ended), ("gas", f"{report['gas_used']:,}"), ("seconds", f"{report['seconds']:.6f}")])
    for event in report["events"]:
        click.echo(f"event    {event['name']} {show(event['fields'])}")
    rows = [
        (w["state"], "" if w["entry"] is None else show(w["entry"]), "(deleted)" if w["deleted"] else show(w["value"]))
        for w in report["writes"]
    ]
    if rows:
        print_table("writes", ("state", "key", "value"), rows)


# --- reading files and refusals


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error


@contextmanager
def _refusals(file: Path, as_json: bool) -> Iterator[None]:
    """A file that is no contract ends the command with the checker's errors."""
    from contracts.runtime.abi import NotAContract

    try:
        yield
    except NotAContract as refusal:
        if as_json:
            print_json({"ok": False, "error": "NOT_A_CONTRACT", "errors": [asdict(e) for e in refusal.errors]})
        _show_errors(file, refusal.errors, as_json)


def _show_errors(file: Path, errors: list[Any], as_json: bool) -> None:
    if not as_json:
        for error in errors:
            click.echo(f"{file}:{error.line}:{error.column}: {error.code}: {error.message}", err=True)
    if errors:
        _leave()


def _leave() -> NoReturn:
    raise SystemExit(FAILURE)
