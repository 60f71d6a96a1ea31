"""A steady load for long runs: so many transfers a second through all nodes, signed as they fall due, none forgotten.

What a run has sent is either final, refused for good, or lost; `Steady` keeps the transactions under way and nothing else, so
it may run for days.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic

from devnet.bench.town import account, wallet
from gridbft import Client
from gridbft.errors import RETRYABLE_CODES, ClientError
from gridbft.requests import Limits, make_call

SENDERS = 64  # for each node: a sender always speaks to the same one, so that its nonces arrive in order
GAS = 200_000
LIFE_HEIGHTS = 50_000
LATENCIES_KEPT = 100_000
PATIENT = Limits(silence_s=60.0, reconnect_s=60.0)


@dataclass(slots=True)
class _Sent:
    raw: bytes
    due: float


@dataclass
class Steady:
    """`rate` in transactions a second over all `addresses`; `accounts` are those of `devnet.bench.town`."""

    addresses: list[str]
    chain_id: str
    rate: float
    accounts: int
    height: int = 0  # of the last block that was seen
    sent: int = 0
    final: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    latencies_s: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES_KEPT))
    _under_way: dict[str, _Sent] = field(default_factory=dict)
    _again: list[deque[bytes]] = field(default_factory=list)
    _nonces: Counter[int] = field(default_factory=Counter)
    _ending: bool = False
    _done: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def under_way(self) -> int:
        return len(self._under_way)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Sends as long as the block lasts. Raises what stopped the load."""
        async with Client(self.addresses[0]) as client:
            self.height = (await client.status()).height
        self._again = [deque() for _ in self.addresses]
        async with asyncio.TaskGroup() as group:
            following = group.create_task(self._follow(self.height + 1))
            sending = [group.create_task(self._send(lane)) for lane in range(len(self.addresses))]
            yield
            self._ending = True
            await asyncio.gather(*sending)
            following.cancel()

    async def settled(self, patience_s: float) -> bool:
        """Whether everything that is under way became final in time; to be asked while it runs."""
        self._ending = True
        self._look_whether_done()
        try:
            async with asyncio.timeout(patience_s):
                await self._done.wait()
        except TimeoutError:
            return False
        return True

    def _look_whether_done(self) -> None:
        if self._ending and not self._under_way:
            self._done.set()

    async def _send(self, lane: int) -> None:
        others = self.addresses[lane:] + self.addresses[:lane]
        async with Client(others, limits=PATIENT) as client:
            while not self._ending or self._again[lane]:
                async for verdict in client.submit_many(self._due(lane)):
                    if verdict.admitted or verdict.code == "ALREADY_FINAL":
                        continue
                    self.refused[verdict.code] += 1
                    sent = self._under_way.get(verdict.tx_id)
                    if sent is not None and verdict.code in RETRYABLE_CODES:
                        self._again[lane].append(sent.raw)
                    else:
                        self._under_way.pop(verdict.tx_id, None)
                        self._look_whether_done()

    async def _due(self, lane: int) -> AsyncIterator[bytes]:
        """What was refused for now only comes first: later ones of its sender wait for it."""
        step_s = len(self.addresses) / self.rate
        due = monotonic() + step_s * lane / len(self.addresses)
        again = self._again[lane]
        while True:
            if (early := due - monotonic()) > 0:
                await asyncio.sleep(early)
            # After the wait, not before: who ends the load meanwhile counts what is under way at once.
            if again:
                yield again.popleft()
            elif self._ending:
                return
            else:
                yield self._new(lane, due)
            due += step_s

    def _new(self, lane: int, due: float) -> bytes:
        number = lane + len(self.addresses) * (self.sent % SENDERS)
        call = make_call("payments", "transfer", account((number + 1) % self.accounts), 1)
        nonce = self._nonces[number]
        self._nonces[number] += 1
        raw, tx_id = wallet(number).signed(self.chain_id, nonce, (call,), self.height + LIFE_HEIGHTS, GAS)
        self._under_way[tx_id.hex()] = _Sent(raw, due)
        self.sent += 1
        return raw

    async def _follow(self, first: int) -> None:
        async with Client(self.addresses[::-1], limits=PATIENT) as client:
            async for block in client.subscribe(from_height=first):
                now = monotonic()
                self.height = block.height
                for receipt in block.receipts:
                    sent = self._under_way.pop(receipt.tx_id, None)
                    if sent is None:
                        continue
                    self.final += 1
                    self.latencies_s.append(now - sent.due)
                    if not receipt.ok:
                        self.failed[receipt.code] += 1
                self._look_whether_done()


def accounts_for(nodes: int) -> int:
    return nodes * SENDERS


Say = Callable[[str], None]
__all__ = ["ClientError", "Say", "Steady", "accounts_for"]
