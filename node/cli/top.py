"""`gridbft top`: all nodes of the network, live: where they stand, how fast, and how it was in the last minute."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gridbft.client import Client
from gridbft.errors import ClientError
from gridbft.records import NodeStatus
from gridbft.requests import Limits
from node.cli.network import Network, NodeEntry, find_network, network_options
from node.cli.output import FAILURE, faults, json_option, print_json

PATIENCE = Limits(request_s=2.0)
KEPT = 60
NUMBERS = ("node", "height", "round", "finality", "tx/s", "mempool", "peers")
MARGIN = 3  # what a column takes beside its text: two blanks and a rule
SHORTEST, LONG_TITLE, REASON = (
    8,
    23,
    30,
)  # characters of a sparkline; from the last on it gives way to why a node is lost
BARS = "▁▂▃▄▅▆▇█"
BEHIND = 10
"""Blocks behind the highest node from which on a node's height is shown in yellow."""


@dataclass(slots=True)
class Track:
    """What was seen of one node; `rates` are transactions a second, newest last."""

    node: NodeEntry
    status: NodeStatus | None = None
    error: str = ""
    rates: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    finality_ms: deque[int] = field(default_factory=lambda: deque(maxlen=KEPT))
    _at_s: float = 0.0

    def saw(self, status: NodeStatus, at_s: float) -> None:
        before, elapsed_s = self.status, at_s - self._at_s
        if before is not None and elapsed_s > 0:
            # Fewer than before: it was started anew meanwhile.
            done = status.transactions - (before.transactions if status.transactions >= before.transactions else 0)
            self.rates.append(done / elapsed_s)
        if before is None or status.height > before.height:
            self.finality_ms.append(status.finality_ms)
        self.status, self.error, self._at_s = status, "", at_s

    def missed(self, error: str) -> None:
        self.status, self.error = None, error
        self.rates.append(0.0)


def sparkline(values: Sequence[float], width: int) -> str:
    """The last `width` values from 0 to the greatest of them, one character each."""
    shown = list(values)[-width:]
    most = max(shown, default=0.0)
    if most <= 0:
        return BARS[0] * len(shown)
    return "".join(BARS[min(len(BARS) - 1, int(v / most * len(BARS)))] for v in shown)


class Watch:
    """Asks all nodes at once; one that is slow to answer keeps nobody waiting beyond its patience."""

    def __init__(self, network: Network) -> None:
        self.tracks = [Track(node) for node in network.nodes]
        self._client = Client(list(network.addresses), limits=PATIENCE, tls=network.tls)

    async def look(self) -> None:
        await asyncio.gather(*(self._ask(track) for track in self.tracks))

    async def _ask(self, track: Track) -> None:
        try:
            track.saw(await self._client.status(track.node.address), monotonic())
        except ClientError as error:
            track.missed(str(error))

    async def close(self) -> None:
        await self._client.close()


def as_json(track: Track) -> dict[str, Any]:
    status = track.status
    found: dict[str, Any] = {"name": track.node.name, "address": track.node.address}
    if status is None:
        return {**found, "height": None, "error": track.error}
    return {
        "name": track.node.name or status.name,
        "address": track.node.address,
        "height": status.height,
        "round": status.round,
        "finality_ms": status.finality_ms,
        "tps": round(track.rates[-1], 1) if track.rates else None,
        "mempool": status.mempool,
        "peers": sum(p.connected for p in status.peers),
        "peers_known": len(status.peers),
        "version": status.version,
    }


def screen(tracks: Sequence[Track], width: int) -> Group:
    heights = [t.status.height for t in tracks if t.status is not None]
    top_height = max(heights, default=0)
    table = Table(expand=False, title=f"height {top_height}: {len(heights)} of {len(tracks)} nodes answer")
    for column in NUMBERS:
        table.add_column(column, justify="left" if column == "node" else "right", no_wrap=True)
    rows = [_cells(track, top_height) for track in tracks]
    lines, span = _room(width, rows)
    if lines:
        table.add_column("tx/s in the last minute" if span >= LONG_TITLE else "tx/s", no_wrap=True)
    if lines == 2:
        table.add_column("finality", no_wrap=True)
    for track, cells in zip(tracks, rows, strict=True):
        table.add_row(*cells, *_sparks(track, span)[:lines])
    lost = [] if span >= REASON else [t for t in tracks if t.status is None and t.error]
    reasons = [Text(f"{_name(track)}: {track.error.splitlines()[0]}", style="red") for track in lost]
    return Group(table, *reasons, Text("Ctrl-C ends.", style="dim"))


def _name(track: Track) -> str:
    return track.node.name or (track.status.name if track.status is not None else track.node.address)


def _room(width: int, rows: Sequence[Sequence[Text | str]]) -> tuple[int, int]:
    """How many sparklines fit beside the numbers, which are never cut off, and how long each may be."""
    numbers = sum(max(len(cell) for cell in column) + MARGIN for column in zip(NUMBERS, *rows, strict=True))
    left = width - numbers - 1
    for lines in (2, 1):
        span = left // lines - MARGIN
        if span >= SHORTEST:
            return lines, min(KEPT, span)
    return 0, 0


def _sparks(track: Track, span: int) -> list[Text]:
    if track.status is None:
        reason = (track.error.splitlines() or ["asked"])[0] if span >= REASON else ""
        return [Text(reason[:span], style="red"), Text("")]
    rates = Text(sparkline(track.rates, span), style="green")
    return [rates, Text(sparkline(track.finality_ms, span), style="cyan")]


def _cells(track: Track, top_height: int) -> list[Text | str]:
    status = track.status
    if status is None:
        return [Text(_name(track), style="red"), "-", "", "", "", "", ""]
    connected = sum(p.connected for p in status.peers)
    few = connected * 3 < len(status.peers) * 2
    return [
        _name(track),
        Text(str(status.height), style="yellow" if top_height - status.height >= BEHIND else ""),
        Text(str(status.round), style="yellow" if status.round else ""),
        f"{status.finality_ms} ms" if status.finality_ms else "",
        f"{track.rates[-1]:,.0f}" if track.rates else "",
        f"{status.mempool:,}",
        Text(f"{connected}/{len(status.peers)}", style="yellow" if few else ""),
    ]


@click.command()
@click.option("--once", is_flag=True, help="Two looks, one interval apart, then the table once: for scripts.")
@click.option(
    "--interval",
    "interval_s",
    default=1.0,
    show_default=True,
    type=click.FloatRange(min=0.1, max=60.0),
    help="Seconds between two looks.",
)
@network_options
@json_option
def top(
    once: bool, interval_s: float, nodes: str | None, keys_folder: Path | None, genesis: Path | None, as_json: bool
) -> None:
    """Watch all nodes live: height, round, finality, transactions a second, mempool, peers.

    \b
    gridbft top
    gridbft top --once --json --nodes 10.0.0.5:7101,10.0.1.5:7101

    Finality is the time from a block's own time to when it was durable on that node. With --json it ends after one
    look, as with --once; exits with 1 if no node answers.
    """
    with faults(as_json):
        network = find_network(nodes, keys_folder, genesis)
        if once or as_json:
            tracks = asyncio.run(_look_twice(network, interval_s))
            _print_once(tracks, as_json)
            if all(t.status is None for t in tracks):
                sys.exit(FAILURE)
            return
        try:
            asyncio.run(_follow(network, interval_s))
        except KeyboardInterrupt:
            return  # that is how one leaves


def _print_once(tracks: Sequence[Track], wants_json: bool) -> None:
    if wants_json:
        print_json({"nodes": [as_json(t) for t in tracks]})
        return
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)  # a pipe has no edge to wrap at
    console.print(*screen(tracks, console.width).renderables[:-1], sep="\n")


async def _look_twice(network: Network, interval_s: float) -> list[Track]:
    watch = Watch(network)
    try:
        await watch.look()
        await asyncio.sleep(interval_s)
        await watch.look()
        return watch.tracks
    finally:
        await watch.close()


async def _follow(network: Network, interval_s: float) -> None:
    watch = Watch(network)
    console = Console()
    try:
        with Live(screen(watch.tracks, console.width), console=console, screen=True, auto_refresh=False) as live:
            while True:
                await watch.look()
                live.update(screen(watch.tracks, console.width), refresh=True)
                await asyncio.sleep(interval_s)
    finally:
        await watch.close()
