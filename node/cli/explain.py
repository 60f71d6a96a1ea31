"""`gridbft explain bill ACCOUNT`: a bill as a tree, from its total down to the readings, trades and prices."""

from __future__ import annotations

import asyncio
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chain.genesis import load_genesis
from contracts.energy.imbalance import Terms
from gridbft.client import Client
from gridbft.explain import Item, explain_bill, explain_other_money
from gridbft.ground import ExplainError, Ground, reading_rows
from gridbft.history import asked, blocks, happened, pages_with
from gridbft.money import GRID, TRADES, concerns, money_moved
from node.cli.network import Network, find_network, network_options
from node.cli.output import FAILURE, InputError, fail, faults, json_option, plain, print_json, show

if TYPE_CHECKING:
    from rich.tree import Tree

SLOT_SECONDS = 900
_TRIES = 5
_CONTRACTS = (
    "payments",
    "market",
    "metering",
    "balancing",
    "imbalance",
    "continuous",
    "bilateral",
    "grid",
    "resort",
    "certificates",
)


@click.group()
def explain() -> None:
    """Show what made a number."""


@explain.command()
@click.argument("account")
@click.option("--slot", type=click.IntRange(min=0), help="Only this slot: quarter-hours since 1970 in UTC.")
@click.option("--day", help="Only the slots of this day, YYYY-MM-DD in UTC.")
@network_options
@json_option
def bill(
    account: str,
    slot: int | None,
    day: str | None,
    nodes: str | None,
    keys_folder: Path | None,
    genesis: Path | None,
    as_json: bool,
) -> None:
    """Explain the bill of ACCOUNT (an address, or @NAME of a key) down to readings, trades, fees and prices.

    Amounts are in micros; positive ones are received. Every amount is computed again here; where something does not add
    up, the command says what and exits with 1. Without --slot and --day it also shows what moved the money besides:
    deposits, withdrawals, transfers. Of a node that has pruned blocks it says from which height on it explains.

    \b
    gridbft explain bill @bus-17 --day 2026-01-31
    gridbft explain bill ACCOUNT --slot 1967424 --json
    """
    with faults(as_json):
        network = find_network(nodes, keys_folder, genesis)
        address = network.keyring().get(account[1:]).address if account.startswith("@") else account
        slots = chosen_slots(slot, day)
        try:
            ground, item, check = asyncio.run(_explained(network, address, slots))
        except ExplainError as error:
            fail(FAILURE, "DOES_NOT_ADD_UP", str(error), as_json)
        if not item.parts:
            raise InputError(f"there is no bill of {address}" + (" for these slots" if slots is not None else ""))
        other = explain_other_money(ground) if slots is None else None
        if as_json:
            besides = {} if other is None else {"besides": as_record(other)}
            print_json({"ok": True, "money": check, "from_height": ground.first_height, **as_record(item), **besides})
        else:
            _print(ground, [item, *([other] if other is not None and other.parts else [])], check)


def chosen_slots(slot: int | None, day: str | None) -> range | None:
    """The slots that the options name; None for all. Raises InputError."""
    if slot is not None and day is not None:
        raise InputError("give --slot or --day, not both")
    if slot is not None:
        return range(slot, slot + 1)
    if day is None:
        return None
    try:
        start = datetime.fromisoformat(f"{date.fromisoformat(day)}T00:00:00+00:00")
    except ValueError as error:
        raise InputError(f"--day {day!r} is no day: expected YYYY-MM-DD") from error
    first = int(start.timestamp()) // SLOT_SECONDS
    return range(first, first + 96)


async def _explained(network: Network, account: str, slots: range | None) -> tuple[Ground, Item, dict[str, Any]]:
    async with Client(network.addresses, tls=network.tls) as client:
        ground = Ground(account)
        ground.first_height = max(1, (await client.status()).earliest_height)
        height = ground.first_height - 1
        for _ in range(_TRIES):
            height = await _read(client, ground, height + 1)
            money = [await client.query("payments", view, account) for view in ("balance", "held")]
            if (await client.status()).height == height:
                break  # what was asked is the state that the events lead to
        else:
            money = []
        await _read_readings(client, ground, slots)
        await _read_terms(client, ground, slots)
        await _read_tariffs(client, ground, slots)
    check = check_money(ground, network.genesis, sum(money) if money else None)
    return ground, explain_bill(ground, slots), check


async def _read(client: Client, ground: Ground, first: int) -> int:
    """Takes in the events from height `first` to the head, which it returns."""
    head = (await client.status()).height
    known = {c.name for c in await client.contracts()}
    async for block in blocks(client, first, head, [c for c in _CONTRACTS if c in known]):
        ground.events.extend(happened(block))
    return head


async def _read_readings(client: Client, ground: Ground, slots: range | None) -> None:
    """The account's own readings, out of the transactions that brought them."""
    meters = set(await client.query("registry", "meters_of", ground.account))
    batches = [e for e in ground.of("metering", "Metered") if slots is None or _overlaps(e.fields, slots)]
    pages = await pages_with(client, meters) if ground.of("metering", "Packed") else {}
    for height in sorted({e.height for e in batches}):
        places = {e.tx_id: (e.height, e.index) for e in batches if e.height == height}
        for row in reading_rows(asked((await client.block(height)).raw), places, pages, meters):
            ground.readings.setdefault((row.meter, row.slot), []).append(row)


def _overlaps(fields: Any, slots: range) -> bool:
    return bool(fields["first_slot"] < slots.stop and fields["last_slot"] >= slots.start)


async def _read_terms(client: Client, ground: Ground, slots: range | None) -> None:
    settled = {e.fields["slot"] for e in ground.of("imbalance", "Settled") if e.fields["account"] == ground.account}
    for slot in sorted(settled):
        if slots is None or slot in slots:
            terms = await client.query("imbalance", "terms", slot)
            if terms is not None:
                ground.terms[slot] = Terms(*terms)


async def _read_tariffs(client: Client, ground: Ground, slots: range | None) -> None:
    """The rates of grid fees and losses of every product in which the account paid or received them."""
    products = {
        (e.fields["zone"], e.fields["slot"])
        for e in ground.events
        if e.name in TRADES and "path" in e.fields and concerns(e, ground.account)
        if ground.account in (e.fields["buyer"], GRID)
    }
    for zone, slot in sorted(products):
        if slots is None or slot in slots:
            ground.tariffs[zone, slot] = list(await client.query("market", "product_fees_of", zone, slot))


def check_money(ground: Ground, genesis: Path | None, found_micros: int | None) -> dict[str, Any]:
    """Whether everything that happened to the account gives its balance and holds. Raises ExplainError where not.

    What it had at the start stands in the genesis only; without that file, or without all blocks, nothing is checked.
    """
    if ground.pruned or genesis is None or found_micros is None or not genesis.is_file():
        return {"checked": False}
    calls = load_genesis(genesis.read_text(encoding="utf-8")).calls
    minted = [c.args for c in calls if (c.contract, c.function) == ("payments", "mint")]
    expected = money_moved(ground, sum(int(args[1]) for args in minted if args[0] == ground.account))
    if expected != found_micros:
        raise ExplainError(f"the account should have {expected} micros by all that happened, it has {found_micros}")
    return {"checked": True, "balance_and_holds_micros": found_micros}


def as_record(item: Item) -> dict[str, Any]:
    """An item as plain data; `parts` add up to its amount, `because` adds nothing."""
    record: dict[str, Any] = {"label": item.label}
    if item.amount_micros is not None:
        record["amount_micros"] = item.amount_micros
    record.update(plain(dict(item.facts)))
    if item.parts:
        record["parts"] = [as_record(part) for part in item.parts]
    if item.because:
        record["because"] = [as_record(reason) for reason in item.because]
    return record


def _print(ground: Ground, items: list[Item], check: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.tree import Tree

    console = Console()
    for item in items:
        tree = Tree(_line(item), highlight=False)
        _grow(tree, item)
        (console if console.is_terminal else Console(width=200)).print(tree)
    if check["checked"]:
        click.echo(f"Balance and holds are {check['balance_and_holds_micros']} micros, as all events say.")
    elif ground.pruned:
        click.echo(
            f"The node keeps no block before height {ground.first_height}: what happened earlier is missing here, and "
            "the balance was not checked. A node that keeps all blocks (--nodes) explains the whole bill."
        )
    else:
        click.echo(
            "The balance was not checked: that needs the genesis file (--genesis) and a chain that rests a moment."
        )


def _grow(tree: Tree, item: Item) -> None:
    for child in (*item.parts, *item.because):
        _grow(tree.add(_line(child)), child)


def _line(item: Item) -> str:
    from rich.markup import escape

    facts = ", ".join(f"{name} {show(value)}" for name, value in item.facts.items())
    amount = "" if item.amount_micros is None else f" [bold]{item.amount_micros:+,}[/bold]"
    return f"{escape(item.label)}{amount}" + (f"  [dim]{escape(facts)}[/dim]" if facts else "")
