"""The reading half of the async client: asks nodes, one after the other, and checks what can be checked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator, Iterable, Sequence
from typing import Any, Self, TypeVar

from chain.hashes import ADDRESS_BYTES
from chain.tx import TxCall
from contracts.runtime.api import Runtime
from gridbft.errors import NodeUnavailable, NotFinal, NotFound
from gridbft.follow import Follower
from gridbft.light import Link
from gridbft.nodes import Method, Nodes
from gridbft.records import (
    BlockInfo,
    ContractAbi,
    NodeStatus,
    Receipt,
    block_from_wire,
    contracts_from_wire,
    receipt_from_wire,
    status_from_wire,
)
from gridbft.requests import (
    Limits,
    calls_of,
    link_of,
    proved_result,
    receipt_of,
    tx_id_bytes,
    unproved_result,
)
from gridbft.tls import Tls
from gridbft.trail import Answer, Need, NeedState
from gridbft.v1 import chain_pb2 as chain_wire
from gridbft.v1 import client_pb2 as wire
from gridbft.values import encode_args
from gridbft.verify import Trust
from gridbft.wallet import Wallet

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")
_Result = TypeVar("_Result")

RECONNECT_PAUSE_S = 0.1


class Reader:
    """What needs no wallet: statuses, views, blocks and receipts. `Client` adds writing and following."""

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
        self._nodes = Nodes(addresses, tls)
        self.wallet = wallet
        self.trust = trust
        self.limits = limits or Limits()
        self._runtime = runtime
        self._follower = None if trust is None else Follower(trust)
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
        if not prove:
            return unproved_result(answer)
        trust = await self._trust_for(Link(answer.header, answer.commit))
        return proved_result(answer, request, trust, self._runtime)

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

    async def state(self, key: bytes) -> bytes | None:
        """The stored bytes of one key of the newest state (see `contracts.runtime.keys`), as the node says."""
        answer = await self._ask(lambda s: s.GetState, wire.GetStateRequest(key=key))
        return answer.value if answer.present else None

    async def receipt(self, tx_id: str | bytes, *, prove: bool = False) -> Receipt:
        """The receipt of a final transaction, with `prove` checked against the validators' signatures.

        Raises NotFound while it is not final.
        """
        raw_id = tx_id_bytes(tx_id)
        request = wire.GetReceiptRequest(tx_id=raw_id, prove=prove)
        answer = await self._ask(lambda s: s.GetReceipt, request, self._patience_s(prove))
        trust = await self._trust_for(Link(answer.header, answer.commit)) if prove else None
        return receipt_of(answer, raw_id, prove, trust)

    async def wait(self, tx_id: str | bytes, timeout_s: float | None = None) -> Receipt:
        """The receipt as soon as the transaction is final; raises NotFinal when that takes longer than `timeout_s`."""
        raw_id = tx_id_bytes(tx_id)
        patience_s = self.limits.final_s if timeout_s is None else timeout_s
        deadline = time.monotonic() + patience_s
        request = wire.GetReceiptRequest(tx_id=raw_id, wait=True)
        silent = 0  # nodes in a row that could not even be reached
        while (left_s := deadline - time.monotonic()) > 0 and silent < len(self.addresses):
            index = self._nodes.current
            pause_s = RECONNECT_PAUSE_S
            try:
                answer = await self._nodes.ask_one(
                    index, lambda s: s.GetReceipt, request, min(left_s, self.limits.poll_s)
                )
                if answer.receipt:
                    return receipt_of(answer, raw_id, False, None)
                silent = 0
            except NodeUnavailable as error:
                silent = 0 if error.timed_out else silent + 1
                pause_s = 0.0 if error.timed_out else RECONNECT_PAUSE_S  # it has waited for us already
            except NotFound:
                silent = 0
            self._nodes.leave(index)
            await asyncio.sleep(pause_s)
        if silent:
            raise self._nodes.nobody()
        raise NotFinal(raw_id.hex(), patience_s)

    async def _trust_for(self, link: Link) -> Trust | None:
        return None if self._follower is None else await self._drive(self._follower.trust_for(link))

    async def _drive(self, steps: Generator[Need, Answer, _Result]) -> _Result:
        """Runs a generator that says what it needs from a node."""
        answer: Answer = None  # the first send starts the generator
        while True:
            try:
                need = steps.send(answer)
            except StopIteration as done:
                result: _Result = done.value
                return result
            if isinstance(need, NeedState):
                found = await self._ask(lambda s: s.GetState, wire.GetStateRequest(key=need.key))
                answer = found.value if found.present else None
            else:
                answer = link_of(await self._ask(lambda s: s.GetBlock, wire.GetBlockRequest(height=need.height)))

    def _learn_height(self, height: int) -> None:
        self._height_seen = (height, time.monotonic())

    def _patience_s(self, prove: bool) -> float:
        """A proof may have to wait for the next block."""
        return self.limits.final_s if prove else self.limits.request_s

    async def _ask(
        self, method: Method[_Request, _Response], request: _Request, timeout_s: float | None = None
    ) -> _Response:
        return (await self._nodes.ask(method, request, timeout_s or self.limits.request_s))[0]
