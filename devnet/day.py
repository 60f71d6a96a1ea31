"""`devnet/day.sh`: a day of a real feeder, traded, metered, settled and certified on the running network."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from devnet.bill import Bill, BillError, bills, check_bills
from devnet.book import DayBook
from devnet.feeder import DayData, Feeder, FeederError, parse_day, parse_feeder
from devnet.network import NETWORK_FILE, Network, NetworkError, load_network
from devnet.plan import Day, listing, set_up, wave
from devnet.player import DayError, Player
from devnet.report import Money, Report, differences, show, totals
from gridbft import Client, Wallet
from gridbft.errors import ClientError
from gridbft.records import NodeStatus
from gridbft.requests import Limits

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "devnet" / "data"
DEFAULT_DAY = "2016-06-10.csv"
ZONE = "feeder"
PAGE = 500
LINE_EVERY = 12  # waves between two lines where there is no terminal for a progress bar
ONE_ROOT_S = 25.0  # longer than two heartbeats


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    # With --json, standard output holds the one object only.
    console = Console(stderr=options.json, soft_wrap=True)
    try:
        feeder, data = read_files(options.feeder, options.day)
        first, last = options.slots or (0, len(data.energy_wh))
        if last > len(data.energy_wh):
            raise FeederError(data.day.isoformat() + ".csv", f"has no slot {last - 1}")
    except (FeederError, OSError) as error:
        _complain(error)
        return 2
    try:
        network = _network(options.network)
        report, made = asyncio.run(run(network, feeder, data, first, last, console, options.packed))
    except (NetworkError, DayError, BillError, ClientError) as error:
        _complain(error)
        return 1
    show(console if console.is_terminal else Console(stderr=options.json, width=160), report, made)
    problems = differences(report.totals, data, first, last)
    if report.money.residual != 0:
        problems.append(f"money: {report.money.residual} micros were lost or made")
    if not report.agree:
        problems.append("the nodes hold different state roots")
    for problem in problems:
        _complain(problem)
    if options.json:
        sys.stderr.flush()
        print(json.dumps(report.record()), flush=True)
    return 1 if problems else 0


def read_files(folder: Path, day: str) -> tuple[Feeder, DayData]:
    """`day`: a file's name in the folder, or a path. Raises FeederError, or OSError where a file cannot be read."""
    feeder = parse_feeder(_text(folder / "meters.csv"), "meters.csv")
    path = Path(day)
    if not path.is_file() and (folder / day).is_file():
        path = folder / day
    elif not path.is_file() and (folder / f"{day}.csv").is_file():
        path = folder / f"{day}.csv"
    return feeder, parse_day(_text(path), path.name, feeder)


def _text(path: Path) -> str:
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        row = raw.count(b"\n", 0, error.start) + 1
        column = raw.rfind(b"\n", 0, error.start)
        place = raw.count(b",", column + 1, error.start)
        header = raw.split(b"\n", 1)[0].decode("ascii", "replace").strip().split(",")
        named = header[place] if row > 1 and place < len(header) else str(place + 1)
        raise FeederError(path.name, "expected text in UTF-8", row, named) from error


async def run(
    network: Network, feeder: Feeder, data: DayData, first: int, last: int, console: Console, packed: bool = False
) -> tuple[Report, list[Bill]]:
    """Plays what is not on the chain yet, and reads the result back. Raises DayError and what clients raise."""
    started = time.monotonic()
    participants = {site.bus: network.participant(site.bus) for site in feeder.sites}
    operators = {name: network.keyring.get(name) for name in ("operator", "meter-operator", "issuer")}
    wallets: dict[str, Wallet] = {**operators, **{wallet.address: wallet for wallet in participants.values()}}
    accounts = {bus: wallet.address for bus, wallet in participants.items()}
    day = Day(feeder, data, accounts, ZONE, first, last, packed)
    book = DayBook(ZONE, day.slots, operators["meter-operator"].address)
    progress = Progress(
        TextColumn("slot {task.fields[slot]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("height {task.fields[height]}  {task.fields[rate]:,.0f} tx/s"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    with progress:
        task = progress.add_task("day", total=day.waves, slot="-", height=0, rate=0.0)

        def on_block(height: int, transactions: int) -> None:
            rate = (transactions - before) / (time.monotonic() - started)
            progress.update(task, height=height, rate=rate)

        before = 0
        async with Player(network.addresses, wallets, book, on_block) as player:
            _refuse_played_day(day, book)
            before = book.transactions
            await player.play(set_up(day, book))
            await player.play(listing(day, book))
            for number in range(day.waves):
                slot = min(first + number, last - 1)
                progress.update(task, completed=number, slot=slot)
                if not console.is_terminal and number % LINE_EVERY == 0:
                    rate = (book.transactions - before) / (time.monotonic() - started)
                    print(f"slot {slot:3}  height {player.height:5}  {rate:5.0f} tx/s", file=sys.stderr, flush=True)
                await player.play(wave(day, book, number))
            progress.update(task, completed=day.waves)
    seconds = time.monotonic() - started
    made = bills(book)
    async with Client(network.addresses, limits=Limits(request_s=10.0)) as client:
        money, holdings = await _money(client, book)
    check_bills(made, holdings, book.carried)
    roots, silent = await one_state(network)
    return (
        Report(
            day=data.day.isoformat(),
            slots=len(day.slots),
            participants=len([site for site in feeder.sites if accounts[site.bus] in book.participants]),
            transactions=book.transactions,
            totals=totals(book),
            money=money,
            state_roots=roots,
            silent=silent,
            agree=len(set(roots.values())) == 1,
            seconds=seconds,
            sent=player.sent,
        ),
        made,
    )


def _refuse_played_day(day: Day, book: DayBook) -> None:
    if set(day.slots) <= book.settled.keys() and not any(
        step for number in range(len(day.slots), day.waves) for step in wave(day, book, number)
    ):
        raise DayError(
            f"{day.data.day.isoformat()} is on this chain already: a slot is traded and settled once. "
            "Begin anew with devnet/up.sh --fresh, or play another --day"
        )


async def _money(client: Client, book: DayBook) -> tuple[Money, dict[str, int]]:
    """The chain's money in all, and each participant's balance and holds."""
    accounts = sorted({*book.money_accounts, *book.participants, "neutrality", "market", "imbalance"})
    balances: dict[str, int] = {}
    holds: dict[str, int] = {}
    for start in range(0, len(accounts), PAGE):
        page = accounts[start : start + PAGE]
        balances.update(zip(page, await client.query("payments", "balances", page), strict=True))
        holds.update(zip(page, await client.query("payments", "helds", page), strict=True))
    minted, burned = await client.query("payments", "supply")
    money = Money(minted, burned, sum(balances.values()), sum(holds.values()))
    return money, {account: balances[account] + holds[account] for account in accounts}


async def one_state(network: Network, patience_s: float = ONE_ROOT_S) -> tuple[dict[str, str], tuple[str, ...]]:
    """Each answering node's state root, all at one height, and the names of those that do not answer.

    Nodes reach a height within moments of each other, so the roots are asked for until the heights are the same. Where
    that never happens (a node hangs behind), the roots are what they are, at the heights where the nodes are.
    """
    deadline = time.monotonic() + patience_s
    clients = [Client(node.client_address, limits=Limits(request_s=2.0)) for node in network.nodes]
    try:
        while True:
            found = await asyncio.gather(*(client.status() for client in clients), return_exceptions=True)
            for status in found:
                if isinstance(status, BaseException) and not isinstance(status, ClientError):
                    raise status
            pairs = list(zip(network.nodes, found, strict=True))
            answers = {node.name: status for node, status in pairs if isinstance(status, NodeStatus)}
            silent = tuple(node.name for node in network.nodes if node.name not in answers)
            if len({status.height for status in answers.values()}) == 1 or time.monotonic() > deadline:
                return {name: status.state_root for name, status in answers.items()}, silent
            await asyncio.sleep(0.1)
    finally:
        await asyncio.gather(*(client.close() for client in clients))


def _network(named: Path | None) -> Network:
    """The network file that was named, or the checkout's own. Raises NetworkError."""
    variable = os.environ.get("GRIDBFT_NETWORK")
    file = named or (Path(variable) if variable else ROOT / ".devnet" / NETWORK_FILE)
    network = load_network(file.parent)
    if network is None:
        raise NetworkError(f"there is no network file {file}: start one with devnet/up.sh")
    return network


def _complain(problem: object) -> None:
    print(f"error: {problem}", file=sys.stderr)


def _slots(text: str) -> tuple[int, int]:
    first, _, last = text.partition(":")
    if not (first.isdecimal() and last.isdecimal()) or not int(first) < int(last):
        raise argparse.ArgumentTypeError(f"{text!r}, expected FIRST:LAST, for example 40:52 for slots 40 to 51")
    return int(first), int(last)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="devnet/day.sh",
        description="Play a day of a real low-voltage feeder through the running network.",
        epilog="imbalance_wh is the sum of all participants' imbalances without their signs.",
    )
    parser.add_argument("--feeder", type=Path, default=DATA, metavar="DIR", help="folder with meters.csv and days")
    parser.add_argument("--day", default=DEFAULT_DAY, metavar="CSV", help=f"a day of it (default {DEFAULT_DAY})")
    parser.add_argument("--slots", type=_slots, metavar="FIRST:LAST", help="play a part of the day only")
    parser.add_argument("--packed", action="store_true", help="send readings as columns by a roster, not one by one")
    parser.add_argument("--json", action="store_true", help="end with one JSON object on standard output")
    parser.add_argument("--network", type=Path, metavar="FILE", help="network file (default .devnet/network.json)")
    return parser


def run_command(arguments: Sequence[str] | None = None) -> int:
    """`main`, with an interrupt said in a sentence: what is final stays, and the same command goes on from there."""
    try:
        return main(None if arguments is None else list(arguments))
    except KeyboardInterrupt:
        _complain("interrupted: what is final stays; the same command goes on where this one stopped")
        return 130


if __name__ == "__main__":
    sys.exit(run_command())
