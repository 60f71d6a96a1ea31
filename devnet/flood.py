"""What a flood of bad requests costs honest clients: a fresh network of real processes, once with the flood and twice without.

    python -m devnet.flood --rate 10000 --seconds 20 --json

The flooder is a process of its own that speaks from another loopback address, as another machine would. The honest
clients send transfers as fast as they become final. Without the flood is measured before and after, and averaged.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from devnet.chaos_site import free_first_port
from devnet.network import Network, create_network
from devnet.processes import running_pid, start_node, stop_nodes
from devnet.up import wait_ready
from gridbft import Client, Wallet
from gridbft.requests import Limits, make_call
from gridbft.v1 import client_pb2

FLOODER_ADDRESS = "127.0.0.2"
HONEST = 8
UNDER_WAY = 250  # transactions of each honest client that may wait to become final
FUND_MICROS = 10**9
POLL_S = 0.05
SETTLE_S = 2.0


class Honest:
    """One wallet that transfers to itself in a window; `final` is how many of its transactions are."""

    def __init__(self, wallet: Wallet, addresses: Sequence[str]) -> None:
        self.wallet = wallet
        self.final = 0
        self._client = Client(addresses, wallet, limits=Limits(request_s=20.0))
        self._sent = 0
        self._free = asyncio.Event()

    async def run(self) -> None:
        counting = asyncio.create_task(self._count())
        try:
            async for verdict in self._client.submit_many(self._transfers(), batch=100):
                assert verdict.admitted, f"an honest transaction was refused: {verdict}"
        finally:
            counting.cancel()
            await asyncio.gather(counting, return_exceptions=True)
            await self._client.close()

    async def _transfers(self) -> AsyncIterator[bytes]:
        call = make_call("payments", "transfer", self.wallet.address, 1, "again")
        while True:
            while self._sent - self.final >= UNDER_WAY:
                self._free.clear()
                await self._free.wait()
            tx, _ = await self._client.build(call, nonce=self._sent)
            self._sent += 1
            yield tx

    async def _count(self) -> None:
        request = client_pb2.GetAccountRequest(address=self.wallet.address_bytes)
        while True:
            self.final = (await self._client._ask(lambda s: s.GetAccount, request)).nonce
            self._free.set()
            await asyncio.sleep(POLL_S)


@contextmanager
def fresh_network(nodes: int) -> Any:
    with tempfile.TemporaryDirectory(prefix="gridbft-flood-") as folder:
        network = create_network(Path(folder) / "net", nodes, free_first_port(nodes))
        try:
            for node in network.nodes:
                start_node(node)
            yield network
        finally:
            stop_nodes(network.nodes)


async def measure(network: Network, rate: float, seconds: float, say: Any) -> dict[str, Any]:
    await wait_ready(network)
    wallets = [Wallet.generate(f"honest-{n}") for n in range(HONEST)]
    async with Client(network.addresses, network.keyring.get("operator")) as operator:
        for wallet in wallets:
            await operator.call("payments", "mint", wallet.address, FUND_MICROS, "to begin with")
    addresses = network.addresses
    clients = [
        Honest(w, (*addresses[n % len(addresses) :], *addresses[: n % len(addresses)])) for n, w in enumerate(wallets)
    ]
    tasks = [asyncio.create_task(c.run()) for c in clients]
    try:
        await asyncio.sleep(SETTLE_S)
        before = await _tps(clients, seconds)
        say(f"without: {before:.0f} transactions a second")
        flooder, flooded = await _flooded(network, clients, rate, seconds)
        say(f"with {flooder['sent'] / seconds:.0f} bad requests a second: {flooded:.0f}")
        await asyncio.sleep(SETTLE_S)
        after = await _tps(clients, seconds)
        say(f"without again: {after:.0f}")
        failed = [t.exception() for t in tasks if t.done() and not t.cancelled()]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    without = (before + after) / 2
    return {
        "rate": rate,
        "bad_requests": flooder["sent"],
        "bad_requests_per_s": round(flooder["sent"] / seconds, 1),
        "flooder": flooder,
        "tps_without": round(without, 1),
        "tps_before": round(before, 1),
        "tps_after": round(after, 1),
        "tps_with": round(flooded, 1),
        "cost": round(1 - flooded / without, 3) if without else None,
        "honest_failed": [repr(f) for f in failed],
        "alive": sum(running_pid(node) is not None for node in network.nodes),
    }


async def _tps(clients: Sequence[Honest], seconds: float) -> float:
    begun, first = time.monotonic(), sum(c.final for c in clients)
    await asyncio.sleep(seconds)
    return (sum(c.final for c in clients) - first) / (time.monotonic() - begun)


async def _flooded(
    network: Network, clients: Sequence[Honest], rate: float, seconds: float
) -> tuple[dict[str, int], float]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "devnet.flooder",
        *(FLOODER_ADDRESS, str(rate), str(seconds), network.chain_id, *network.addresses),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        await asyncio.sleep(0.5)  # its imports are none of the flood
        tps = await _tps(clients, seconds - 0.5)
        out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    report: dict[str, int] = json.loads(out)
    return report, tps


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m devnet.flood", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--rate", type=float, default=10_000, help="bad requests a second, over all nodes (default 10000)"
    )
    parser.add_argument(
        "--seconds", type=float, default=20, help="length of each of the three measurements (default 20)"
    )
    parser.add_argument("--nodes", type=int, default=4, help="validators (default 4)")
    parser.add_argument("--json", action="store_true", help="end with one JSON object on the last line")
    options = parser.parse_args()
    with fresh_network(options.nodes) as network:
        report = asyncio.run(measure(network, options.rate, options.seconds, lambda text: print(text, file=sys.stderr)))
    if options.json:
        print(json.dumps(report))
    else:
        print(f"the flood cost honest clients {report['cost']:.1%} of their throughput")
    return 0 if report["alive"] == options.nodes and not report["honest_failed"] else 1


if __name__ == "__main__":
    sys.exit(main())
