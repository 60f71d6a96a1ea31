"""The async client: submits, waits, asks, checks, and follows the chain, over any of the nodes that it knows.

from gridbft import Client, Wallet

async with Client("127.0.0.1:7101", wallet=Wallet.load("keys/alice.json")) as client:
    receipt = await client.call("payments", "transfer", to, 1_000_000)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from typing import Any, Literal, Self, TypeVar, overload

import grpc
import grpc.aio

from chain.hashes import ADDRESS_BYTES
from chain.tx import TxCall
from contracts.runtime.api import Runtime
from gridbft.blocking import BlockingClient
from gridbft.errors import ClientError, NodeUnavailable, NotFinal, NotFound, TransactionFailed, TransactionRefused
from gridbft.nodes import Method, Nodes
from gridbft.records import (
    BlockEvents,
    BlockInfo,
    ContractAbi,
    NodeStatus,
    Receipt,
    Verdict,
    block_events_from_wire,
    block_from_wire,
    contracts_from_wire,
    receipt_from_bytes,
    receipt_from_wire,
    status_from_wire,
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
    proved_result,
    receipt_of,
    status_error,
    tx_id_bytes,
    unproved_result,
)
from gridbft.stream import BatchStream
from gridbft.v1 import chain_pb2 as chain_wire
from gridbft.v1 import client_pb2 as wire
from gridbft.values import encode_args
from gridbft.verify import Trust
from gridbft.wallet import Wallet

__all__ = ["BlockingClient", "Client"]

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")

_NONCE_TRIES = 5
_RECONNECT_PAUSE_S = 0.1


class Client:
    """A ledger seen through one or more of its nodes; when one does not answer, the next is asked.

    `addresses`: host:port, several as a sequence or comma-separated. `wallet` signs; without one the client only reads.
    `trust` (chain and genesis validators) is needed to check proofs. Use it as an async context manager.
    """

    def __init__(
        self,
        addresses: str | Sequence[str],
        wallet: Wallet | None = None,
        *,
        trust: Trust | None = None,
        limits: Limits | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        self._nodes = Nodes(addresses)
        self.wallet = wallet
        self.trust = trust
        self.limits = limits or Limits()
        self._runtime = runtime
        self._nonce: int | None = None
        self._nonce_lock = asyncio.Lock()
        self._chain_id = trust.chain_id if trust is not None else ""
        self._height_seen = (0, float("-inf"))  # height, and when it was learned (monotonic seconds)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._nodes.close()

    @property
    def addresses(self) -> tuple[str, ...]:
        return self._nodes.addresses

    # -- reading

    async def status(self, address: str | None = None) -> NodeStatus:
        """Where a node stands; with `address`, that very node and no other."""
        request = wire.StatusRequest()
        if address is not None:
            index = self.addresses.index(address)
            return status_from_wire(
                await self._nodes.ask_one(index, lambda s: s.Status, request, self.limits.request_s), address
            )
        answer, index = await self._nodes.ask(lambda s: s.Status, request, self.limits.request_s)
        self._learn_height(answer.height)
        return status_from_wire(answer, self.addresses[index])

    async def contracts(self) -> tuple[ContractAbi, ...]:
        """The contracts on the chain with their functions."""
        return contracts_from_wire(await self._ask(lambda s: s.ListContracts, wire.ListContractsRequest()))

    async def query(self, contract: str, view: str, *args: Any, prove: bool = False, sender: str = "") -> Any:
        """A view's decoded value; raises QueryFailed with the code where it gives none.

        With `prove` the answer is computed here, over state proved under a header that the trusted validators signed;
        raises VerificationError where the node's answer does not follow from it.
        """
        request = wire.QueryRequest(contract=contract, view=view, args=encode_args(args), prove=prove, sender=sender)
        answer = await self._ask(lambda s: s.Query, request, self._patience_s(prove))
        return proved_result(answer, request, self.trust, self._runtime) if prove else unproved_result(answer)

    async def simulate(self, calls: TxCall | Iterable[TxCall], gas_limit: int | None = None) -> Receipt:
        """What the calls would do now, sent by this wallet. Nothing is written."""
        request = wire.SimulateRequest(
            sender=self.wallet.address_bytes if self.wallet else bytes(ADDRESS_BYTES),
            calls=[chain_wire.Call(contract=c.contract, function=c.function, args=c.args) for c in calls_of(calls)],
            gas_limit=gas_limit or self.limits.gas_limit,
        )
        answer = await self._ask(lambda s: s.Simulate, request)
        return receipt_from_wire(answer.receipt)

    async def block(self, height: int = 0) -> BlockInfo:
        """The block at a height; 0 is the latest. Raises NotFound."""
        return block_from_wire(await self._ask(lambda s: s.GetBlock, wire.GetBlockRequest(height=height)))

    async def receipt(self, tx_id: str | bytes, *, prove: bool = False) -> Receipt:
        """The receipt of a final transaction, with `prove` checked against the validators' signatures.

        Raises NotFound while it is not final.
        """
        raw_id = tx_id_bytes(tx_id)
        request = wire.GetReceiptRequest(tx_id=raw_id, prove=prove)
        answer = await self._ask(lambda s: s.GetReceipt, request, self._patience_s(prove))
        return receipt_of(answer, raw_id, prove, self.trust)

    async def wait(self, tx_id: str | bytes, timeout_s: float | None = None) -> Receipt:
        """The receipt as soon as the transaction is final; raises NotFinal when that takes longer than `timeout_s`."""
        raw_id = tx_id_bytes(tx_id)
        patience_s = self.limits.final_s if timeout_s is None else timeout_s
        deadline = time.monotonic() + patience_s
        request = wire.GetReceiptRequest(tx_id=raw_id, wait=True)
        silent = 0  # nodes in a row that could not even be reached
        while (left_s := deadline - time.monotonic()) > 0 and silent < len(self.addresses):
            index = self._nodes.current
            pause_s = _RECONNECT_PAUSE_S
            try:
                answer = await self._nodes.ask_one(
                    index, lambda s: s.GetReceipt, request, min(left_s, self.limits.poll_s)
                )
                if answer.receipt:
                    return receipt_of(answer, raw_id, False, None)
                silent = 0
            except NodeUnavailable as error:
                silent = 0 if error.timed_out else silent + 1
                pause_s = 0.0 if error.timed_out else _RECONNECT_PAUSE_S  # it has waited for us already
            except NotFound:
                silent = 0
            self._nodes.leave(index)
            await asyncio.sleep(pause_s)
        if silent:
            raise self._nodes.nobody()
        raise NotFinal(raw_id.hex(), patience_s)

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

        `batch`: most transactions in a message (what is at hand goes out, nothing waits for a full batch); `window`:
        most batches on their way. After a lost connection the unanswered batches go to the next node. Look at
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
                    await asyncio.sleep(_RECONNECT_PAUSE_S)

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
                    message = await asyncio.wait_for(anext(messages, None), self.limits.silence_s)
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
            await asyncio.sleep(_RECONNECT_PAUSE_S)

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

    def _learn_height(self, height: int) -> None:
        self._height_seen = (height, time.monotonic())

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

    def _patience_s(self, prove: bool) -> float:
        """A proof may have to wait for the next block."""
        return self.limits.final_s if prove else self.limits.request_s

    async def _ask(
        self, method: Method[_Request, _Response], request: _Request, timeout_s: float | None = None
    ) -> _Response:
        return (await self._nodes.ask(method, request, timeout_s or self.limits.request_s))[0]
