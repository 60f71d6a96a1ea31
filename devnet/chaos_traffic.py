"""Numbered transfers to all nodes in turn at a steady rate, and what each node says about them.

Transfer number n pays n micros, so the balances at the end say which ones happened, and whether one did twice. A
transfer is acknowledged when any node's subscription has delivered its receipt; until then it is sent again and again, as
the very same bytes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from devnet.network import Network
from gridbft import Client, Wallet
from gridbft.errors import ClientError, NotFound
from gridbft.records import BlockEvents, Receipt
from gridbft.requests import Limits, make_call

ROVERS = 4  # send to one node after the other
RESIDENTS = 4  # each to its own node: what one node took and never passed on must not hold up everything else
FUNDS_MICROS = 10**15
TICK_S = 0.5
SUBMIT_S = 1.5
RESEND_S = 2.0
REST_S = 0.3
NEVER_S = float("-inf")
MOST_WAITING = 4_000  # then nothing new is sent: the chain stands still and must not drown when it goes on
EXPIRY_HEIGHTS = 9_000
HARMLESS_CODES = frozenset({"", "ALREADY_FINAL", "NONCE_USED"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the chain a transaction is, and whether it took effect."""

    height: int
    index: int
    ok: bool


def place_of(receipt: Receipt) -> Place:
    return Place(receipt.height, receipt.index, receipt.ok)


@dataclass(frozen=True, slots=True)
class Account:
    """Who pays, and whom."""

    wallet: Wallet
    sink: str


@dataclass(slots=True)
class _Waiting:
    raw: bytes
    sent_at: float
    place: int  # the node it was sent to last


class Traffic:
    """`clients`: one for each node. Call `open`, then run `work` as a task."""

    def __init__(self, network: Network, clients: Sequence[Client], rate_per_s: float) -> None:
        self.accounts = tuple(
            Account(Wallet.generate(f"payer-{n}"), Wallet.generate(f"payee-{n}").address)
            for n in range(ROVERS + RESIDENTS)
        )
        self.amounts: dict[str, int] = {}  # tx id -> micros, of everything ever sent
        self.sink_of: dict[str, str] = {}  # tx id -> the payee
        self.acknowledged: dict[str, Place] = {}
        self.moved: list[str] = []  # tx ids that two nodes, or one twice, announced at different places
        self.announced: dict[int, set[str]] = {}  # height -> block ids
        self.decided: list[float] = []  # when the first node announced each next height, monotonic seconds
        self.height = 0
        self.refusals: dict[str, int] = {}
        self.waiting: dict[str, _Waiting] = {}
        self._network = network
        self._clients = clients
        self._rate_per_s = rate_per_s
        self._numbers = count(1)
        self._sending = True
        self._submissions: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Gives every payer the money it needs."""
        operator = self._network.keyring.get("operator")
        limits = Limits(request_s=10.0, final_s=60.0)
        async with Client(self._network.addresses, operator, limits=limits) as client:
            self.height = (await client.status()).height
            for account in self.accounts:
                await client.call("payments", "mint", account.wallet.address, FUNDS_MICROS, "to be sent")

    async def work(self) -> None:
        """Sends and listens until it is cancelled."""
        works = [self._pay(n % len(self._clients), n < ROVERS, account) for n, account in enumerate(self.accounts)]
        works += [self._follow(client) for client in self._clients]
        tasks = [asyncio.create_task(work) for work in (*works, self._send_again())]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in (*tasks, *self._submissions):
                task.cancel()
            await asyncio.gather(*tasks, *self._submissions, return_exceptions=True)

    async def drain(self, patience_s: float) -> None:
        """Stops sending anything new and waits until all that was sent is final."""
        self._sending = False
        deadline = time.monotonic() + patience_s
        while self.waiting and time.monotonic() < deadline:  # noqa: ASYNC110 - one condition for many events is no gain
            await asyncio.sleep(REST_S)
        for tx_id in list(self.waiting):
            await self._ask(tx_id)

    # -- sending

    async def _pay(self, place: int, roves: bool, account: Account) -> None:
        per_tick = self._rate_per_s * TICK_S / len(self.accounts)
        owed, nonce = 0.0, 0
        while self._sending:
            owed += per_tick
            if len(self.waiting) < MOST_WAITING:
                place = self._next(place) if roves else place
                batch = [self._signed(account, nonce + n, place) for n in range(int(owed))]
                nonce += len(batch)
                self._submit(place, batch)
            owed -= int(owed)
            await asyncio.sleep(TICK_S)

    def _signed(self, account: Account, nonce: int, place: int) -> _Waiting:
        amount = next(self._numbers)
        call = make_call("payments", "transfer", account.sink, amount)
        expiry = self.height + EXPIRY_HEIGHTS
        raw, raw_id = account.wallet.signed(self._network.chain_id, nonce, [call], expiry, Limits().gas_limit)
        tx_id = raw_id.hex()
        self.amounts[tx_id], self.sink_of[tx_id] = amount, account.sink
        self.waiting[tx_id] = sent = _Waiting(raw, time.monotonic(), place)
        return sent

    def _next(self, place: int) -> int:
        return (place + 1) % len(self._clients)

    async def _send_again(self) -> None:
        """What waits for long goes to the node after the one that had it last."""
        while True:
            await asyncio.sleep(RESEND_S / 4)
            now = time.monotonic()
            shares: dict[int, list[_Waiting]] = {}
            for sent in self.waiting.values():
                if now - sent.sent_at > RESEND_S:
                    sent.sent_at, sent.place = now, self._next(sent.place)
                    shares.setdefault(sent.place, []).append(sent)
            for place, batch in shares.items():
                self._submit(place, batch)

    def _submit(self, place: int, batch: list[_Waiting]) -> None:
        if not batch:
            return
        task = asyncio.create_task(self._submit_to(self._clients[place], batch))
        self._submissions.add(task)
        task.add_done_callback(self._submissions.discard)

    async def _submit_to(self, client: Client, batch: list[_Waiting]) -> None:
        """What a faulty node does not answer is sent to another one soon."""
        try:
            async with asyncio.timeout(SUBMIT_S):
                async for verdict in client.submit_many([sent.raw for sent in batch]):
                    if verdict.code not in HARMLESS_CODES and not verdict.retryable:
                        self.refusals[verdict.code] = self.refusals.get(verdict.code, 0) + 1
        except (ClientError, TimeoutError):
            for sent in batch:
                sent.sent_at = NEVER_S

    # -- listening

    async def _follow(self, client: Client) -> None:
        upcoming = 1
        while True:
            try:
                async for block in client.subscribe(from_height=upcoming):
                    self._absorb(block)
                    upcoming = block.height + 1
            except ClientError:
                await asyncio.sleep(REST_S)

    def _absorb(self, block: BlockEvents) -> None:
        if block.height > self.height:
            self.height = block.height
            self.decided.append(time.monotonic())
        self.announced.setdefault(block.height, set()).add(block.block_id)
        for receipt in block.receipts:
            self._final(receipt)

    def _final(self, receipt: Receipt) -> None:
        if receipt.tx_id not in self.amounts:
            return
        self.waiting.pop(receipt.tx_id, None)
        place = place_of(receipt)
        if self.acknowledged.setdefault(receipt.tx_id, place) != place:
            self.moved.append(receipt.tx_id)

    async def _ask(self, tx_id: str) -> None:
        """A reverted transaction has no event that a subscription would show."""
        for client in self._clients:
            try:
                self._final(await client.receipt(tx_id))
            except NotFound:
                continue
