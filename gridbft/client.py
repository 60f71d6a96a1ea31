"""The async client: submits, waits, asks, checks, and follows the chain, over any of the nodes that it knows.

from gridbft import Client, Wallet

async with Client("127.0.0.1:7101", wallet=Wallet.load("keys/alice.json")) as client:
    receipt = await client.call("payments", "transfer", to, 1_000_000)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from typing import Any, Literal, TypeVar, overload

import grpc
import grpc.aio

from chain.tx import TxCall
from contracts.runtime.api import Runtime
from gridbft.blocking import BlockingClient
from gridbft.errors import ClientError, NodeUnavailable, NotFound, TransactionFailed, TransactionRefused
from gridbft.reader import RECONNECT_PAUSE_S, Reader
from gridbft.records import (
    BlockEvents,
    Receipt,
    Verdict,
    block_events_from_wire,
    receipt_from_bytes,
    verdict_from_wire,
)
from gridbft.requests import (
    LOST,
    STALE_NONCE_CODES,
    Limits,
    admitted,
    calls_of,
    expiry_height,
    make_call,
    status_error,
    tx_id_bytes,
)
from gridbft.stream import BatchStream
from gridbft.tls import Tls
from gridbft.v1 import client_pb2 as wire
from gridbft.verify import Trust
from gridbft.wallet import Wallet

__all__ = ["BlockingClient", "Client"]

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")

_NONCE_TRIES = 5
_RECONNECT_PAUSE_S = 0.1


class Client(Reader):
    """A ledger seen through one or more of its nodes; when one does not answer, the next is asked.

    `addresses`: host:port, several as a sequence or comma-separated. `wallet` signs; without one the client only reads.
    `trust` (chain and genesis validators) is needed to check proofs; changes of the validators are followed from there.
    `tls` is for nodes whose client port speaks TLS (`gridbft.tls.Tls`). Use it as an async context manager.
    """

    def __init__(
        self,
        addresses: str | Sequence[str],
        wallet: Wallet | None = None,
        *,
        trust: Trust | None = None,
        limits: Limits | None = None,
        runtime: Runtime | None = None,
        tls: Tls | None = None,
    ) -> None:
        super().__init__(addresses, wallet, trust=trust, limits=limits, runtime=runtime, tls=tls)
        self._nonce: int | None = None
        self._nonce_lock = asyncio.Lock()

    # -- writing

    async def next_nonce(self) -> int:
        """Takes the wallet's next nonce. It must be used, or given back by `forget_nonce`, or later ones wait for it."""
        async with self._nonce_lock:
            if self._nonce is None:
                request = wire.GetAccountRequest(address=self._signer().address_bytes)
                self._nonce = (await self._ask(lambda s: s.GetAccount, request)).pending_nonce
            nonce, self._nonce = self._nonce, self._nonce + 1
            return nonce

    def forget_nonce(self) -> None:
        """The next transaction asks the node again which nonce is the first free one."""
        self._nonce = None

    async def build(
        self, calls: TxCall | Iterable[TxCall], *, gas_limit: int | None = None, nonce: int | None = None
    ) -> tuple[bytes, bytes]:
        """A signed transaction and its id (32 bytes), ready for `submit_tx` or `submit_many`."""
        wallet = self._signer()
        chain_id, height = await self._chain_id_and_height()
        if nonce is None:
            nonce = await self.next_nonce()
        expiry = expiry_height(height, self.limits)
        return wallet.signed(chain_id, nonce, calls_of(calls), expiry, gas_limit or self.limits.gas_limit)

    @overload
    async def submit_tx(self, tx: bytes, wait: Literal[False] = False, timeout_s: float | None = None) -> Verdict: ...
    @overload
    async def submit_tx(self, tx: bytes, wait: Literal[True], timeout_s: float | None = None) -> Receipt: ...
    @overload
    async def submit_tx(self, tx: bytes, wait: bool, timeout_s: float | None = None) -> Verdict | Receipt: ...
    async def submit_tx(self, tx: bytes, wait: bool = False, timeout_s: float | None = None) -> Verdict | Receipt:
        """Submits a signed transaction: the verdict, or with `wait` its receipt (whether it was ok or reverted).

        Raises TransactionRefused, or NotFinal when waiting takes longer than `timeout_s`. Sending the same bytes again
        is harmless, so a lost answer is asked for at the next node.
        """
        verdict, receipt = await self._submit(tx, wait, timeout_s)
        if not verdict.admitted:
            raise TransactionRefused(verdict.code, verdict.message)
        if not wait:
            return verdict
        return receipt if receipt is not None else await self.wait(verdict.tx_id, timeout_s)

    @overload
    async def submit(
        self, calls: TxCall | Iterable[TxCall], wait: Literal[False] = False, *, gas_limit: int | None = None
    ) -> Verdict: ...
    @overload
    async def submit(
        self, calls: TxCall | Iterable[TxCall], wait: Literal[True], *, gas_limit: int | None = None
    ) -> Receipt: ...
    @overload
    async def submit(
        self, calls: TxCall | Iterable[TxCall], wait: bool, *, gas_limit: int | None = None
    ) -> Verdict | Receipt: ...
    async def submit(
        self, calls: TxCall | Iterable[TxCall], wait: bool = False, *, gas_limit: int | None = None
    ) -> Verdict | Receipt:
        """Signs and submits calls (see `make_call`) as one transaction: all of them happen, or none.

        A nonce that another user of the same key took meanwhile is replaced. Raises TransactionRefused or NotFinal;
        a final transaction that was reverted gives its receipt.
        """
        listed = calls_of(calls)
        for tries_left in reversed(range(_NONCE_TRIES)):
            tx, tx_id = await self.build(listed, gas_limit=gas_limit)
            verdict, receipt = await self._submit(tx, wait, None)
            if admitted(verdict):
                if not wait:
                    return Verdict(tx_id.hex(), "", "")
                return receipt if receipt is not None else await self.wait(tx_id)
            self.forget_nonce()
            if verdict.code not in STALE_NONCE_CODES or not tries_left:
                raise TransactionRefused(verdict.code, verdict.message)
        raise AssertionError("the last try returns or raises")

    @overload
    async def call(
        self, contract: str, function: str, *args: Any, wait: Literal[True] = True, gas_limit: int | None = None
    ) -> Receipt: ...
    @overload
    async def call(
        self, contract: str, function: str, *args: Any, wait: Literal[False], gas_limit: int | None = None
    ) -> Verdict: ...
    async def call(
        self, contract: str, function: str, *args: Any, wait: bool = True, gas_limit: int | None = None
    ) -> Receipt | Verdict:
        """One contract call as a transaction; waits until it is final and raises TransactionFailed if it was reverted."""
        done = await self.submit(make_call(contract, function, *args), wait, gas_limit=gas_limit)
        if isinstance(done, Receipt) and not done.ok:
            raise TransactionFailed(done.code, done)
        return done

    async def submit_many(
        self, txs: Iterable[bytes] | AsyncIterable[bytes], *, batch: int = 256, window: int = 8
    ) -> AsyncIterator[Verdict]:
        """Streams signed transactions in batches and yields one verdict for each, in order, refused ones included.

        `batch`: most transactions in a message; what is at hand goes out once the node has answered what it got before, and a full
        batch at once. `window`: most batches on their way. After a lost connection the unanswered batches go to the next node. Look at
        `verdict.retryable`: what was refused for now only is the caller's to send again.
        """
        async with BatchStream(txs, batch, window) as pipeline:
            silent = 0
            while not pipeline.finished:
                index = self._nodes.current
                stream = self._nodes.stub(index).SubmitBatch(pipeline.requests())
                try:
                    async for verdict in pipeline.verdicts(stream, self.addresses[index], self.limits.silence_s):
                        silent = 0
                        yield verdict
                except NodeUnavailable:
                    silent += 1
                    if silent > len(self.addresses):
                        raise
                    self._nodes.leave(index)
                    await asyncio.sleep(RECONNECT_PAUSE_S)

    # -- following

    async def subscribe(
        self, from_height: int = 0, contracts: Sequence[str] = (), names: Sequence[str] = ()
    ) -> AsyncIterator[BlockEvents]:
        """Every block from a height onwards (0: from the next one on), with the receipts that hold a matching event.

        Blocks come in order, each once, also over lost connections: the next node is asked to go on from the cursor.
        Raises NodeUnavailable when no node can be reached for `limits.reconnect_s`.
        """
        wanted = (frozenset(contracts), frozenset(names))
        upcoming = from_height or (await self.status()).height + 1
        lost_since: float | None = None
        while True:
            index = self._nodes.current
            request = wire.SubscribeRequest(from_height=upcoming, contracts=contracts, names=names)
            stream = self._nodes.stub(index).Subscribe(request)
            messages = aiter(stream)
            try:
                while True:
                    async with asyncio.timeout(self.limits.silence_s):
                        message = await anext(messages, None)
                    if message is None or message.height > upcoming:
                        break  # the node ended the stream, or left a block out: ask again from the cursor
                    lost_since = None
                    if message.height == upcoming:
                        upcoming += 1
                        yield block_events_from_wire(message, *wanted)
            except grpc.aio.AioRpcError as error:
                if error.code() not in LOST:
                    raise status_error(error.code(), error.details(), self.addresses[index]) from error
            except TimeoutError:
                pass  # silent for longer than a heartbeat: as good as lost
            finally:
                stream.cancel()
            lost_since = time.monotonic() if lost_since is None else lost_since
            if time.monotonic() - lost_since > self.limits.reconnect_s:
                raise self._nodes.nobody(f"subscription at height {upcoming}")
            self._nodes.leave(index)
            await asyncio.sleep(RECONNECT_PAUSE_S)

    # -- within

    def _signer(self) -> Wallet:
        if self.wallet is None:
            raise ClientError("this client has no wallet, so it cannot sign: Client(address, wallet=Wallet.load(path))")
        return self.wallet

    async def _chain_id_and_height(self) -> tuple[str, int]:
        height, learned_at = self._height_seen
        # The expiry window is thousands of heights wide, so a height a minute old serves as well as a fresh one.
        if not self._chain_id or time.monotonic() - learned_at > 60:
            status = await self.status()
            if self._chain_id and status.chain_id != self._chain_id:
                raise ClientError(f"{status.address} is a node of {status.chain_id!r}, not of {self._chain_id!r}")
            self._chain_id, height = status.chain_id, status.height
        return self._chain_id, height

    async def _submit(self, tx: bytes, wait: bool, timeout_s: float | None) -> tuple[Verdict, Receipt | None]:
        """The verdict, and with `wait` the receipt where it came in time.

        Where the transaction had to be sent again, the door may refuse it just because the first time worked: its
        receipt tells.
        """
        first = self._nodes.current
        patience_s = self.limits.request_s
        if wait:
            patience_s = min(self.limits.poll_s, self.limits.final_s if timeout_s is None else timeout_s)
        request = wire.SubmitRequest(tx=tx, wait=wait)
        try:
            answer, index = await self._nodes.ask(lambda s: s.Submit, request, patience_s, past_deadline=not wait)
            sent_again = index != first
        except NodeUnavailable as error:
            if not (wait and error.timed_out):
                raise
            answer = await self._ask(lambda s: s.Submit, wire.SubmitRequest(tx=tx))
            sent_again = True
        verdict = verdict_from_wire(answer.verdict)
        receipt = receipt_from_bytes(answer.receipt) if answer.receipt else None
        if sent_again and not verdict.admitted:
            receipt = await self._receipt_or_none(tx_id_bytes(verdict.tx_id))
            if receipt is not None:
                return Verdict(receipt.tx_id, "", ""), receipt
        return verdict, receipt

    async def _receipt_or_none(self, tx_id: bytes) -> Receipt | None:
        try:
            return await self.receipt(tx_id)
        except NotFound:
            return None
