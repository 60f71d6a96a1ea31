"""The process that sends: `python -m devnet.bench.load FOLDER`, through the public client, from what lies signed in the folder.

Open loop: each transaction is due at a moment fixed beforehand, and its latency counts from there, sent or not. Without a
rate it is saturated: a transaction is due when fewer than `window` are under way.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter, deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import grpc.aio
import msgpack

from devnet.bench.gauges import cpu_us
from devnet.bench.options import Options
from gridbft import Client
from gridbft.errors import ClientError
from gridbft.requests import Limits
from gridbft.v1 import client_pb2
from gridbft.v1.client_pb2_grpc import LedgerServiceStub

SPEC, SIGNED, RESULT = "load.spec", "load.signed", "load.result"
FINISH_S = 60.0  # after the last one was sent
TICK_S = 0.005  # many transactions a second leave so much too late at most, which counts: else waking for each costs the nodes
AGAIN_S = 1.0  # after a node was killed
BATCH, WINDOW = 256, 16
BATCH_OF_READINGS = 8  # transactions of 123 kB in a message

Lane = list[tuple[int, bytes, bytes]]


class Load:
    """What was sent, when it was due, and when its receipt came back (monotonic seconds)."""

    def __init__(self, options: Options, addresses: list[str], lanes: list[Lane]) -> None:
        self._options = options
        self._addresses = addresses
        self._lanes = lanes
        self._place = {tx_id.hex(): place for lane in lanes for place, _, tx_id in lane}
        self._asked: list[deque[int]] = [
            deque() for _ in lanes
        ]  # positions in a lane, in the order of the verdicts to come
        self._again: list[deque[int]] = [deque() for _ in lanes]  # of what a node had no room for
        self.due: dict[int, float] = {}
        self.final: dict[int, float] = {}
        self.failed: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.blocks = 0  # with receipts of the load
        self.sent_again = 0
        self.under_way = 0
        self._changed = asyncio.Event()
        self.begun = 0.0
        self.first_height = 0

    async def run(self) -> None:
        first = await self._first_height()
        self.first_height = first
        self.begun = monotonic()
        following = asyncio.create_task(self._follow(first))
        try:
            await asyncio.gather(*(self._send(index) for index in range(len(self._lanes))))
            async with asyncio.timeout(FINISH_S):
                await self._all_final()
        except TimeoutError:
            return  # what is still missing is counted as lost
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _first_height(self) -> int:
        async with Client(self._addresses[0]) as client:
            return (await client.status()).height + 1

    def _rotated(self, index: int) -> list[str]:
        return self._addresses[index:] + self._addresses[:index]

    async def _send(self, index: int) -> None:
        """The lane's transactions, and again what its node had no room for."""
        async with Client(self._rotated(index), limits=Limits(silence_s=FINISH_S)) as client:
            await self._submit(client, index, self._due(index))
            give_up = monotonic() + FINISH_S
            while self._again[index] and monotonic() < give_up:
                await asyncio.sleep(AGAIN_S)
                await self._submit(client, index, self._once_more(index))

    async def _submit(self, client: Client, index: int, source: Iterable[bytes] | AsyncIterable[bytes]) -> None:
        batch = BATCH_OF_READINGS if self._options.workload == "meter" else BATCH
        async for verdict in client.submit_many(source, batch=batch, window=WINDOW):
            at = self._asked[index].popleft()
            if verdict.retryable:
                self._again[index].append(at)
                self._changed.set()
            elif not verdict.admitted and verdict.code != "ALREADY_FINAL":
                self.refused[verdict.code] += 1
                self._done()

    async def _due(self, index: int) -> AsyncIterator[bytes]:
        """The lane's transactions as they fall due, and before each of them what there was no room for, until the time is over."""
        rate, end = self._options.rate, self.begun + self._options.seconds
        for at, (place, raw, _) in enumerate(self._lanes[index]):
            if rate is None:
                while self.under_way >= self._options.window:
                    self._changed.clear()
                    await self._changed.wait()
                    for refused in self._once_more(index):
                        yield refused
                due = monotonic()
            else:
                due = self.begun + place / rate
                if (early := due - monotonic()) > 0:
                    await asyncio.sleep(early if rate * TICK_S < 1 else max(early, TICK_S))
            if due >= end and self._options.readings is None:
                return
            for refused in self._once_more(index):
                yield refused
            self.due[place] = due
            self.under_way += 1
            self._asked[index].append(at)
            yield raw

    def _once_more(self, index: int) -> Iterator[bytes]:
        again = self._again[index]
        for _ in range(len(again)):
            at = again.popleft()
            self._asked[index].append(at)
            self.sent_again += 1
            yield self._lanes[index][at][1]

    async def kill_later(self, index: int, pid: int, after_s: float) -> None:
        """SIGKILL for a node, and what lacks its receipt a while later is sent again elsewhere: what the node had taken in
        and not yet passed on died with it. That a node has it already is no harm."""
        await asyncio.sleep(after_s)
        os.kill(pid, signal.SIGKILL)
        told = set(self.due)
        await asyncio.sleep(AGAIN_S)
        missing = [raw for place, raw, _ in self._lanes[index] if place in told and place not in self.final]
        async with Client(self._rotated((index + 1) % len(self._addresses))) as client:
            async for _ in client.submit_many(missing, batch=BATCH, window=WINDOW):
                self.sent_again += 1

    async def _follow(self, first: int) -> None:
        async with Client(self._rotated(1 % len(self._addresses))) as client:
            async for block in client.subscribe(from_height=first):
                now = monotonic()
                self.blocks += bool(block.receipts)
                for receipt in block.receipts:
                    place = self._place.get(receipt.tx_id)
                    if place is None or place in self.final:
                        continue
                    self.final[place] = now
                    if not receipt.ok:
                        self.failed[receipt.code] += 1
                    self._done()

    def _done(self) -> None:
        self.under_way -= 1
        self._changed.set()

    async def _all_final(self) -> None:
        while self.under_way > 0:
            self._changed.clear()
            await self._changed.wait()


async def stages(address: str) -> dict[str, int]:
    """Microseconds of processor time by stage, as the node counts them; empty where it does not answer."""
    async with grpc.aio.insecure_channel(address) as channel:
        try:
            answer = await LedgerServiceStub(channel).Status(client_pb2.StatusRequest(), timeout=5.0)
        except grpc.aio.AioRpcError:
            return {}
        return dict(answer.cpu_us)


async def sample(addresses: list[str], pids: list[int]) -> list[dict[str, int]]:
    return [{**await stages(a), "total": cpu_us(pid)} for a, pid in zip(addresses, pids, strict=True)]


async def main(folder: Path) -> None:
    spec: dict[str, Any] = msgpack.unpackb((folder / SPEC).read_bytes())
    options = Options.from_json(spec["options"])
    lanes: list[Lane] = msgpack.unpackb((folder / SIGNED).read_bytes(), use_list=False)
    addresses, pids = spec["addresses"], spec["pids"]
    load = Load(options, addresses, lanes)
    before, own_before = await sample(addresses, pids), cpu_us(os.getpid())
    killing: asyncio.Task[None] | None = None
    if spec["kill_pid"] is not None:
        killed, after_s = pids.index(spec["kill_pid"]), options.kill_after * options.seconds
        killing = asyncio.create_task(load.kill_later(killed, spec["kill_pid"], after_s))
    await load.run()
    after, own_after = await sample(addresses, pids), cpu_us(os.getpid())
    if killing is not None:
        await killing
    result = {
        "due": load.due,
        "final": load.final,
        "blocks": load.blocks,
        "failed": dict(load.failed),
        "refused": dict(load.refused),
        "sent_again": load.sent_again,
        "begun": load.begun,
        "first_height": load.first_height,
        "cpu": [{k: a.get(k, 0) - b.get(k, 0) for k in b} for b, a in zip(before, after, strict=True)],
        "client_cpu_us": own_after - own_before,
    }
    (folder / RESULT).write_bytes(msgpack.packb(result))


if __name__ == "__main__":
    try:
        asyncio.run(main(Path(sys.argv[1])))
    except ClientError as error:
        sys.exit(f"error: {error}")
