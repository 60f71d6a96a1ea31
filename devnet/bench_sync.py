"""How fast a node that was away takes in what it missed: `python -m devnet.bench_sync --seconds 30`.

Four validators of real processes take as many transfers as they can; one is killed when half of that time is over. Once
all is final it is started again, and fetches the blocks from the others. `live_tps` is what the four made final before,
the beginning left out; `sync_tps` is what the one executes and makes durable each second, from its first answer until it
stands where the others do; `ratio` is the one over the other. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time

from chain.leveldb import LevelKV
from chain.store import BlockStore
from devnet.bench.command import WINDOWS
from devnet.bench.figures import Measured
from devnet.bench.options import DEFAULT_ACCOUNTS, Options
from devnet.bench.run import loaded
from devnet.network import Network, NetworkError, Node
from devnet.processes import start_node
from gridbft import Client
from gridbft.errors import ClientError
from node.home import Home

NODES = 4
KILL_AFTER = 0.5
WARM = 0.4  # of the time before that
POLL_S = 0.02
PATIENCE_S = 120.0


def height_of(node: Node) -> int:
    """Where the store of a stopped node ends."""
    kv = LevelKV(Home(node.home).db)
    try:
        head = BlockStore(kv).head()
    finally:
        kv.close()
    assert head is not None, "the node was killed before it had a chain"
    return head.height


async def transactions_after(height: int, address: str) -> dict[int, int]:
    """How many transactions each block after `height` has, by height, up to the head."""
    async with Client(address) as client:
        head = (await client.status()).height
        counted: dict[int, int] = {}
        async for block in client.subscribe(from_height=height + 1):
            counted[block.height] = block.transactions
            if block.height >= head:
                break
        return counted


async def caught_up(node: Node, head: int) -> tuple[int, float]:
    """(height at the first answer, seconds from then until the node stands at `head`)."""
    first: tuple[int, float] | None = None
    async with asyncio.timeout(PATIENCE_S), Client(node.client_address) as client:
        while True:
            try:
                height = (await client.status()).height
            except ClientError:
                height = -1
            now = time.monotonic()
            if height >= 0 and first is None:
                first = height, now
            if first is not None and height >= head:
                return first[0], now - first[1]
            await asyncio.sleep(POLL_S)


def run(options: Options) -> dict[str, object]:
    with loaded(options, lambda text: print(text, file=sys.stderr)) as (network, measured):
        away = _away(network, options)
        stood = height_of(away)
        missed = asyncio.run(transactions_after(stood, network.addresses[0]))
        begun = time.monotonic()
        start_node(away)
        first, took_s = asyncio.run(caught_up(away, max(missed)))
        whole_s = time.monotonic() - begun
    live = live_tps(measured)
    taken = sum(count for height, count in missed.items() if height > first)
    return {
        "blocks": len(missed),
        "transactions": sum(missed.values()),
        "live_tps": round(live, 1),
        "sync_tps": round(taken / took_s, 1),
        "ratio": round(taken / took_s / live, 2),
        "seconds_with_start": round(whole_s, 2),
    }


def live_tps(measured: Measured) -> float:
    """Final transactions a second while all nodes ran, from when the load was under way."""
    until = measured.options.kill_after * measured.options.seconds
    begun = measured.result["begun"]
    final = sum(WARM * until <= moment - begun < until for moment in measured.result["final"].values())
    return float(final / (until - WARM * until))


def _away(network: Network, options: Options) -> Node:
    return next(node for node in network.nodes if node.name == options.kill)


def main() -> None:
    parser = argparse.ArgumentParser(description="How fast a node that was away takes in what it missed.")
    parser.add_argument("--seconds", type=float, default=30.0)
    given = parser.parse_args()
    accounts, window = DEFAULT_ACCOUNTS["transfer"], WINDOWS["transfer"]
    options = Options(NODES, given.seconds, "transfer", accounts, None, "dso-2", window, kill_after=KILL_AFTER)
    try:
        print(json.dumps(run(options)))
    except (NetworkError, ClientError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
