"""Signs the steps of a plan, sends them to all nodes in turn, and waits until the chain says that they are final.

Finality comes from one subscription, so that a wave of a hundred transactions costs one wait. A node that dies takes
with it at most what it had admitted and not yet passed on: whatever is not final in time is sent again, as the very same
bytes, to the other nodes. The nonce makes that safe.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from devnet.book import DayBook
from devnet.plan import Step
from gridbft import Client, Wallet
from gridbft.errors import ClientError, NodeUnavailable, NotFound
from gridbft.records import BlockEvents, Receipt, Verdict
from gridbft.requests import Limits, make_call

RESEND_S = 1.5
GIVE_UP_S = 60.0
SEND_S = 4.0
REST_S = 30.0  # how long a node that did not answer at all gets no share
HARMLESS_CODES = frozenset({"", "ALREADY_FINAL", "NONCE_USED"})  # a receipt will tell whose nonce it was
EXPIRY_HEIGHTS = 5_000


class DayError(Exception):
    """The day cannot go on; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class _Sent:
    signer: str
    raw: bytes


class Player:
    """Use as an async context manager. `wallets` maps a step's signer to its key."""

    def __init__(
        self,
        addresses: Sequence[str],
        wallets: Mapping[str, Wallet],
        book: DayBook,
        on_block: Callable[[int, int], None] = lambda height, transactions: None,
    ) -> None:
        self.book = book
        self.height = 0
        self.sent = 0
        self._wallets = wallets
        self._on_block = on_block
        # Client i prefers node i and turns to the next ones when it is gone.
        limits = Limits(request_s=5.0, reconnect_s=GIVE_UP_S)
        self._clients = [Client([*addresses[i:], *addresses[:i]], limits=limits) for i in range(len(addresses))]
        self._reader = Client(addresses, limits=limits)
        self._nonces: dict[str, int] = {}
        self._chain_id = ""
        self._pending: dict[str, _Sent] = {}  # by tx id: sent and not known to be final
        self._failed: list[Receipt] = []
        self._turn = 0
        self._resting: dict[int, float] = {}  # client -> until when (monotonic seconds)
        self._news = asyncio.Condition()
        self._follower: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Reads the chain from its first block, so that the book knows what was done before."""
        status = await self._reader.status()
        self._chain_id = status.chain_id
        self._follower = asyncio.create_task(self._follow())
        await self._until(lambda: self.height >= status.height, "reading the chain's past")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.gather(self._follower, return_exceptions=True)
        await asyncio.gather(*(client.close() for client in (*self._clients, self._reader)))

    async def play(self, steps: Iterable[Step]) -> None:
        """Signs, sends, and returns when all are final. Raises DayError when one of them was reverted."""
        signed = dict([await self._sign(step) for step in steps])
        if not signed:
            return
        self._pending.update(signed)
        self.sent += len(signed)
        await self._send(list(signed.values()))
        started = time.monotonic()
        while self._pending:
            left = len(self._pending)
            if not await self._progress(RESEND_S) and self._pending:
                await self._settle_silent()
                await self._send(list(self._pending.values()))
            if len(self._pending) < left:
                started = time.monotonic()
            elif time.monotonic() - started > GIVE_UP_S:
                raise DayError(f"{left} transactions are not final after {GIVE_UP_S:.0f} s: see `gridbft status`")
        self._raise_failures()

    # -- within

    async def _sign(self, step: Step) -> tuple[str, _Sent]:
        """The transaction's id, and what to send."""
        wallet = self._wallets[step.signer]
        if step.signer not in self._nonces:
            self._nonces[step.signer] = await self._first_nonce(wallet)
        nonce = self._nonces[step.signer]
        self._nonces[step.signer] = nonce + 1
        calls = [make_call(contract, function, *args) for contract, function, args in step.calls]
        raw, tx_id = wallet.signed(self._chain_id, nonce, calls, self.height + EXPIRY_HEIGHTS, step.gas_limit)
        return tx_id.hex(), _Sent(step.signer, raw)

    async def _first_nonce(self, wallet: Wallet) -> int:
        """One reader asks for all wallets: a client for each of a hundred keys would open as many connections."""
        self._reader.wallet = wallet
        self._reader.forget_nonce()
        return await self._reader.next_nonce()

    async def _send(self, batch: list[_Sent]) -> None:
        """A share to each node, beginning with another one each time. One signer's transactions stay together: a node
        that dies with one of them must not leave the others at the rest of the network, waiting for its nonce."""
        self._turn += 1
        signers = list(dict.fromkeys(sent.signer for sent in batch))
        everyone = range(len(self._clients))
        awake = [i for i in everyone if self._resting.get(i, 0.0) < time.monotonic()] or list(everyone)
        places = {signer: awake[(self._turn + number) % len(awake)] for number, signer in enumerate(signers)}
        shares: dict[int, list[bytes]] = {}
        for sent in batch:
            shares.setdefault(places[sent.signer], []).append(sent.raw)
        results = await asyncio.gather(*(self._send_share(place, share) for place, share in shares.items()))
        for verdict in (verdict for verdicts in results for verdict in verdicts):
            if verdict.code not in HARMLESS_CODES and not verdict.retryable:
                raise DayError(f"transaction {verdict.tx_id} was refused with {verdict.code}: {verdict.message}")

    async def _send_share(self, place: int, raws: list[bytes]) -> list[Verdict]:
        """No verdict for what a dead or stopped node did not answer: it stays pending, and `play` sends it again."""
        verdicts: list[Verdict] = []
        try:
            async with asyncio.timeout(SEND_S):
                async for verdict in self._clients[place].submit_many(raws):
                    verdicts.append(verdict)
        except (NodeUnavailable, TimeoutError):
            self._resting[place] = time.monotonic() + REST_S
        return verdicts

    async def _follow(self) -> None:
        async for block in self._reader.subscribe(from_height=1):
            self._absorb(block)
            self._on_block(block.height, self.book.transactions)
            async with self._news:
                self._news.notify_all()

    def _absorb(self, block: BlockEvents) -> None:
        self.height = block.height
        for receipt in block.receipts:
            self._final(receipt)
            if receipt.ok:
                self.book.absorb(tuple((e.contract, e.name, e.fields) for e in receipt.events))

    def _final(self, receipt: Receipt) -> None:
        if self._pending.pop(receipt.tx_id, None) is not None and not receipt.ok:
            self._failed.append(receipt)

    async def _progress(self, patience_s: float) -> bool:
        """Whether everything became final, or at least something did, within the time."""
        before = len(self._pending)
        try:
            await self._until(lambda: not self._pending, "", patience_s)
        except TimeoutError:
            return len(self._pending) < before
        return True

    async def _until(self, reached: Callable[[], bool], what: str, patience_s: float = GIVE_UP_S) -> None:
        async def wait() -> None:
            async with self._news:
                while not reached():
                    if self._follower is not None and self._follower.done():
                        self._follower.result()
                        raise DayError("the subscription ended")
                    await self._news.wait()

        assert self._follower is not None
        waiting = asyncio.ensure_future(wait())
        try:
            await asyncio.wait({waiting, self._follower}, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                if self._follower.done():
                    self._follower.result()
                raise TimeoutError(what)
            waiting.result()
        finally:
            waiting.cancel()

    async def _settle_silent(self) -> None:
        """Asks for what may be final without an event of its own: a reverted transaction."""
        for tx_id in list(self._pending):
            try:
                receipt = await self._reader.receipt(tx_id)
            except (NotFound, NodeUnavailable):
                continue
            if not receipt.ok:
                self._final(receipt)

    def _raise_failures(self) -> None:
        if self._failed:
            first = self._failed[0]
            raise DayError(f"{first.code} in call {first.failed_call} of transaction {first.tx_id}")


async def ask_all(addresses: Sequence[str], patience_s: float = 3.0) -> dict[str, str | None]:
    """address -> None when it answers, else why not."""

    async def one(address: str) -> str | None:
        async with Client(address, limits=Limits(request_s=patience_s)) as client:
            try:
                await client.status()
            except ClientError as error:
                return str(error)
            return None

    return dict(zip(addresses, await asyncio.gather(*(one(a) for a in addresses)), strict=True))
