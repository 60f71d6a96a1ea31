"""`python -m controlroom.viewers`: what viewers cost the nodes. Rounds of the same load, with and without them, in turn.

The load is transfers between accounts of its own, funded by --key (an operator's), each account sending its next batch as
soon as the last one is final. Viewers are WebSockets, spread over the pages. Everything shares this machine's
processors, so the viewers' own work and the page server's count against them here as well.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from websockets.asyncio.client import connect

from gridbft import Client, Wallet
from gridbft.errors import ClientError
from gridbft.requests import Limits, make_call

SENDERS = 24
BATCH = 40
FUNDS_MICROS = 1_000_000
PAGES = [
    ["head", "network"],
    ["head", "market/day", "market/slot"],
    ["head", "feeder"],
    ["head", "participants", "participant"],
    ["head", "certificates"],
    ["head", "explorer"],
]
"""What a page watches; viewers are spread over them."""
PAUSE_S = 1.0
LIMITS = Limits(request_s=20.0, final_s=60.0)


@dataclass(slots=True)
class Seen:
    """What all viewers together were sent."""

    messages: int = 0
    bytes: int = 0


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        return asyncio.run(compare(options))
    except (ClientError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


async def compare(options: argparse.Namespace) -> int:
    wallets = [Wallet.generate(f"viewer-load-{number}") for number in range(SENDERS)]
    rates: dict[int, list[float]] = {0: [], options.viewers: []}
    async with AsyncExitStack() as stack:
        operator = await stack.enter_async_context(
            Client(options.nodes, Wallet.load(options.key, options.passphrase), limits=LIMITS)
        )
        calls = [make_call("payments", "mint", w.address, FUNDS_MICROS, "load") for w in wallets]
        receipt = await operator.submit(calls, True, gas_limit=50_000_000)
        if not receipt.ok:
            print(f"error: the key may not mint: {receipt.code}", file=sys.stderr)
            return 1
        clients = [await stack.enter_async_context(Client(options.nodes, w, limits=LIMITS)) for w in wallets]
        await load(clients, wallets, options.seconds / 2)  # warm
        for number in range(options.rounds):
            for viewers in (0, options.viewers) if number % 2 == 0 else (options.viewers, 0):
                seen = Seen()
                rate = await with_viewers(viewers, options.page, seen, clients, wallets, options.seconds)
                rates[viewers].append(rate)
                sent = f", {seen.messages} messages and {seen.bytes / 1e6:.1f} MB to viewers" if viewers else ""
                print(f"round {number + 1}, {viewers:3} viewers: {rate:7.1f} transactions/s{sent}", flush=True)
                await asyncio.sleep(PAUSE_S)
    alone, watched = median(rates[0]), median(rates[options.viewers])
    print(
        f"median without {alone:.1f}, with {options.viewers} viewers {watched:.1f} transactions/s: {watched / alone:.3f}"
    )
    return 0


async def with_viewers(
    count: int, page: str, seen: Seen, clients: Sequence[Client], wallets: Sequence[Wallet], seconds: float
) -> float:
    """Transactions a second of the load while so many look on."""
    tasks = [asyncio.create_task(view(page, PAGES[place % len(PAGES)], seen)) for place in range(count)]
    await asyncio.sleep(PAUSE_S)  # all have come, and see what they came for
    try:
        return await load(clients, wallets, seconds)
    finally:
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended


async def view(page: str, watched: Sequence[str], seen: Seen) -> None:
    async with connect(f"{page.replace('http', 'ws', 1).rstrip('/')}/live", max_size=None) as socket:
        await socket.send(json.dumps(watched))
        async for message in socket:
            seen.messages += 1
            seen.bytes += len(message)


async def load(clients: Sequence[Client], wallets: Sequence[Wallet], seconds: float) -> float:
    """Final transactions a second."""
    started, ends = time.monotonic(), time.monotonic() + seconds
    sent = await asyncio.gather(
        *(send(client, wallets[place - 1].address, ends) for place, client in enumerate(clients))
    )
    return sum(sent) / (time.monotonic() - started)


async def send(client: Client, to: str, ends: float) -> int:
    """Batch after batch until the time is over; each is final before the next."""
    done = 0
    while time.monotonic() < ends:
        built = [await client.build(make_call("payments", "transfer", to, 1)) for _ in range(BATCH)]
        async for verdict in client.submit_many([raw for raw, _ in built]):
            if not verdict.admitted:
                raise ClientError(f"the load was refused: {verdict.code}")
        await client.wait(built[-1][1])
        done += len(built)
    return done


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m controlroom.viewers", description="What viewers cost the nodes.")
    parser.add_argument("--nodes", default="127.0.0.1:7101", help="client addresses that the load goes to")
    parser.add_argument("--page", default="http://127.0.0.1:7100", help="address of the control room")
    parser.add_argument("--key", type=Path, default=Path(".devnet/keys/operator.json"), help="an operator's key file")
    parser.add_argument("--passphrase", default="", help="of the key file, where it has one")
    parser.add_argument("--viewers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each round")
    parser.add_argument("--rounds", type=int, default=5)
    return parser


if __name__ == "__main__":
    sys.exit(main())
