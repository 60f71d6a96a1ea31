"""A small client for scripts without asyncio, over the same stubs: one request at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, Self, TypeVar

import grpc

from chain.tx import TxCall
from contracts.runtime.api import Runtime
from gridbft import proving
from gridbft.errors import ClientError, NodeUnavailable, NotFinal, NotFound, TransactionFailed, TransactionRefused
from gridbft.follow import Follower
from gridbft.light import TRUSTING_PERIOD_MS, Link
from gridbft.records import (
    BlockInfo,
    ContractAbi,
    NodeStatus,
    Receipt,
    Verdict,
    block_from_wire,
    contracts_from_wire,
    status_from_wire,
    verdict_from_wire,
)
from gridbft.requests import (
    STALE_NONCE_CODES,
    Limits,
    addresses_of,
    admitted,
    calls_of,
    expiry_height,
    link_of,
    make_call,
    needed,
    proved_result,
    receipt_of,
    status_error,
    tx_id_bytes,
    unproved_result,
)
from gridbft.tls import Tls, blocking_channel
from gridbft.trail import Answer, Need, NeedState
from gridbft.v1 import client_pb2 as wire
from gridbft.v1.client_pb2_grpc import LedgerServiceStub
from gridbft.values import encode_args
from gridbft.verify import Trust
from gridbft.wallet import Wallet

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")
_Result = TypeVar("_Result")
_Method = Callable[[LedgerServiceStub], "grpc.UnaryUnaryMultiCallable[_Request, _Response]"]

_NONCE_TRIES = 5
_NOT_FOUND_PAUSE_S = 0.1


class BlockingClient:
    """Like `Client`, without streams: for many transactions or for following the chain, use the async one.

    The nonce is asked for before each transaction, so several programs may take turns with one key.
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
        self.addresses = addresses_of(addresses)
        self._tls = tls
        self.wallet = wallet
        self.trust = trust
        self.limits = limits or Limits()
        self._runtime = runtime
        self._follower = None if trust is None else Follower(trust)
        self._channels: dict[int, grpc.Channel] = {}
        self._current = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            channel.close()

    def status(self, address: str | None = None) -> NodeStatus:
        """Where a node stands; with `address`, that very node and no other."""
        request = wire.StatusRequest()
        if address is not None:
            index = self.addresses.index(address)
            return status_from_wire(self._ask_one(index, lambda s: s.Status, request, self.limits.request_s), address)
        answer = self._ask(lambda s: s.Status, request)
        return status_from_wire(answer, self.addresses[self._current])

    def contracts(self) -> tuple[ContractAbi, ...]:
        return contracts_from_wire(self._ask(lambda s: s.ListContracts, wire.ListContractsRequest()))

    def query(self, contract: str, view: str, *args: Any, prove: bool = False, sender: str = "") -> Any:
        """A view's decoded value, with `prove` computed here over proved state. Raises QueryFailed, VerificationError."""
        request = wire.QueryRequest(contract=contract, view=view, args=encode_args(args), prove=prove, sender=sender)
        answer = self._ask(lambda s: s.Query, request, self._patience_s(prove))
        if not prove:
            return unproved_result(answer)
        return proved_result(answer, request, self._trust_for(Link(answer.header, answer.commit)), self._runtime)

    def block(self, height: int = 0) -> BlockInfo:
        """The block at a height; 0 is the latest. Raises NotFound."""
        return block_from_wire(self._ask(lambda s: s.GetBlock, wire.GetBlockRequest(height=height)))

    def receipt(self, tx_id: str | bytes, *, prove: bool = False) -> Receipt:
        """The receipt of a final transaction. Raises NotFound while it is not final."""
        raw_id = tx_id_bytes(tx_id)
        answer = self._receipt(raw_id, prove)
        trust = self._trust_for(Link(answer.header, answer.commit)) if prove else None
        return receipt_of(answer, raw_id, prove, trust)

    def state(self, key: bytes) -> bytes | None:
        """The stored bytes of one key of the newest state (see `contracts.runtime.keys`), as the node says."""
        answer = self._ask(lambda s: s.GetState, wire.GetStateRequest(key=key))
        return answer.value if answer.present else None

    def prove_state(self, key: bytes, *, trusting_period_ms: int = TRUSTING_PERIOD_MS) -> bytes:
        """A proof file (see `gridbft.proofs`) for one key of the newest state that the validators vouch for."""
        request = wire.GetStateRequest(key=key, prove=True)
        answer = self._ask(lambda s: s.GetState, request, self._patience_s(True))
        return self._drive(proving.state_proof(key, answer, needed(self.trust), trusting_period_ms))

    def prove_event(self, tx_id: str | bytes, event: int, *, trusting_period_ms: int = TRUSTING_PERIOD_MS) -> bytes:
        """A proof file for event number `event` (from 0) of a final transaction."""
        answer = self._receipt(tx_id_bytes(tx_id), True)
        return self._drive(proving.event_proof(answer, event, needed(self.trust), trusting_period_ms))

    def wait(self, tx_id: str | bytes, timeout_s: float | None = None) -> Receipt:
        """The receipt as soon as the transaction is final; raises NotFinal when that takes longer than `timeout_s`."""
        raw_id = tx_id_bytes(tx_id)
        patience_s = self.limits.final_s if timeout_s is None else timeout_s
        deadline = time.monotonic() + patience_s
        request = wire.GetReceiptRequest(tx_id=raw_id, wait=True)
        silent = 0
        while (left_s := deadline - time.monotonic()) > 0:
            index = self._current
            try:
                answer = self._ask_one(index, lambda s: s.GetReceipt, request, min(left_s, self.limits.poll_s))
                if answer.receipt:
                    return receipt_of(answer, raw_id, False, None)
                silent = 0
            except NodeUnavailable as error:
                silent = 0 if error.timed_out else silent + 1
                if silent >= len(self.addresses):
                    raise
            except NotFound:
                silent = 0
                time.sleep(_NOT_FOUND_PAUSE_S)
            self._leave(index)
        raise NotFinal(raw_id.hex(), patience_s)

    def submit_tx(self, tx: bytes) -> Verdict:
        """Submits a signed transaction; raises TransactionRefused."""
        verdict = verdict_from_wire(self._ask(lambda s: s.Submit, wire.SubmitRequest(tx=tx)).verdict)
        if not verdict.admitted:
            raise TransactionRefused(verdict.code, verdict.message)
        return verdict

    def send(self, calls: TxCall | Iterable[TxCall], *, gas_limit: int | None = None) -> str:
        """Signs and submits calls as one transaction, and gives its id once it is admitted. Raises TransactionRefused."""
        listed = calls_of(calls)
        for tries_left in reversed(range(_NONCE_TRIES)):
            tx, tx_id = self._build(listed, gas_limit or self.limits.gas_limit)
            verdict = verdict_from_wire(self._ask(lambda s: s.Submit, wire.SubmitRequest(tx=tx)).verdict)
            if admitted(verdict):
                return tx_id.hex()
            if verdict.code not in STALE_NONCE_CODES or not tries_left:
                raise TransactionRefused(verdict.code, verdict.message)
            try:
                return self.receipt(tx_id).tx_id  # a lost answer may have hidden that it was taken
            except NotFound:
                continue
        raise AssertionError("the last try returns or raises")

    def submit(self, calls: TxCall | Iterable[TxCall], *, gas_limit: int | None = None) -> Receipt:
        """Like `send`, then waits until it is final; a reverted transaction gives its receipt. Raises NotFinal."""
        return self.wait(self.send(calls, gas_limit=gas_limit))

    def _build(self, calls: tuple[TxCall, ...], gas_limit: int) -> tuple[bytes, bytes]:
        if self.wallet is None:
            raise ClientError("this client has no wallet, so it cannot sign: give it one")
        account = self._ask(lambda s: s.GetAccount, wire.GetAccountRequest(address=self.wallet.address_bytes))
        status = self.status()
        if self.trust is not None and status.chain_id != self.trust.chain_id:
            raise ClientError(f"{status.address} is a node of {status.chain_id!r}, not of {self.trust.chain_id!r}")
        expiry = expiry_height(status.height, self.limits)
        return self.wallet.signed(status.chain_id, account.pending_nonce, calls, expiry, gas_limit)

    def call(self, contract: str, function: str, *args: Any, gas_limit: int | None = None) -> Receipt:
        """One contract call as a transaction, once it is final; raises TransactionFailed if it was reverted."""
        receipt = self.submit(make_call(contract, function, *args), gas_limit=gas_limit)
        if not receipt.ok:
            raise TransactionFailed(receipt.code, receipt)
        return receipt

    def _receipt(self, raw_id: bytes, prove: bool) -> wire.GetReceiptResponse:
        request = wire.GetReceiptRequest(tx_id=raw_id, prove=prove)
        return self._ask(lambda s: s.GetReceipt, request, self._patience_s(prove))

    def _trust_for(self, link: Link) -> Trust | None:
        return None if self._follower is None else self._drive(self._follower.trust_for(link))

    def _drive(self, steps: Generator[Need, Answer, _Result]) -> _Result:
        """Runs a generator that says what it needs from a node."""
        answer: Answer = None  # the first send starts the generator
        while True:
            try:
                need = steps.send(answer)
            except StopIteration as done:
                result: _Result = done.value
                return result
            if isinstance(need, NeedState):
                answer = self.state(need.key)
            else:
                answer = link_of(self._ask(lambda s: s.GetBlock, wire.GetBlockRequest(height=need.height)))

    def _patience_s(self, prove: bool) -> float:
        """A proof may have to wait for the next block."""
        return self.limits.final_s if prove else self.limits.request_s

    def _ask(
        self, method: _Method[_Request, _Response], request: _Request, timeout_s: float | None = None
    ) -> _Response:
        failures: list[NodeUnavailable] = []
        for _ in self.addresses:
            index = self._current
            try:
                return self._ask_one(index, method, request, timeout_s or self.limits.request_s)
            except NodeUnavailable as error:
                failures.append(error)
                self._leave(index)
        if len(failures) == 1:
            raise failures[0]
        raise NodeUnavailable(", ".join(self.addresses), "; ".join(map(str, failures)))

    def _ask_one(
        self, index: int, method: _Method[_Request, _Response], request: _Request, timeout_s: float
    ) -> _Response:
        channel = self._channels.get(index)
        if channel is None:
            channel = self._channels[index] = blocking_channel(self.addresses[index], self._tls)
        try:
            return method(LedgerServiceStub(channel))(request, timeout=timeout_s)
        except grpc.RpcError as error:
            # The synchronous stubs raise an object that is a call and an error at once; its type says only the latter.
            code, details = error.code(), error.details()
            raise status_error(code, details, self.addresses[index]) from error

    def _leave(self, index: int) -> None:
        self._current = (index + 1) % len(self.addresses)
