"""The client service: what anyone may ask of a node. Every answer to bad input is a status with a sentence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError

from chain.hashes import ADDRESS_BYTES, HASH_BYTES
from chain.ledger import Ledger, ProvedQuery
from chain.receipt import Receipt, receipt_to_wire
from chain.refusal import Code, Refusal
from chain.store import CorruptStoreError
from chain.tx import MAX_CALLS, Tx, TxCall, tx_id
from chain.wire import encode_commit
from gridbft.v1 import chain_pb2, client_pb2, client_pb2_grpc
from node import answers
from node.admission import Door
from node.finality import ReceiptWaiters, Tip
from node.host import Host
from node.stages import PROCESS
from node.subscriptions import Filter, PrunedError, Subscriptions

MAX_BATCH_TXS = 4_000
MAX_ARGS_BYTES = 128 * 1024
MAX_NAME_CHARS = 64
MAX_KEY_BYTES = 1_024
MAX_FILTERS = 64
MAX_EVIDENCE = 100
MAX_GENESIS_BYTES = 24 * 1024 * 1024
QUERY_GAS = 50_000_000
WAIT_SECONDS = 60.0  # where the caller sets no deadline of its own
ANSWER_SECONDS = 0.25  # left of a caller's deadline for the sentence that says what did not happen in time
PROOF_WAIT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class StatusSource:
    """What only the whole process knows."""

    name: str
    version: str
    peers: Callable[[], Sequence[client_pb2.PeerInfo]]
    genesis: Path  # the file, as others may fetch it


class LedgerRpc(client_pb2_grpc.LedgerServiceServicer):
    """Implements gridbft.v1.LedgerService (see proto/gridbft/v1/client.proto)."""

    def __init__(self, host: Host, door: Door, status: StatusSource) -> None:
        self._host = host
        self._door = door
        self._status = status
        self._ledger: Ledger = host.ledger
        self._tip: Tip = host.tip
        self._receipts: ReceiptWaiters = host.receipts
        self._subscriptions = Subscriptions(host.ledger.store, host.tip)

    # --- transactions ---------------------------------------------------------------------------------------------

    async def Submit(self, request: client_pb2.SubmitRequest, context: Any) -> client_pb2.SubmitResponse:  # noqa: N802
        results = await self._door.txs([request.tx])
        if isinstance(results[0], Refusal):
            return client_pb2.SubmitResponse(verdict=answers.verdict(_id_of(request.tx), results[0]))
        tx = results[0]
        if not request.wait:
            verdicts = await self._submit([tx], context)
            return client_pb2.SubmitResponse(verdict=answers.verdict(tx.id, verdicts[0]))
        return await self._submit_and_wait(tx, context)

    async def _submit_and_wait(self, tx: Tx, context: Any) -> client_pb2.SubmitResponse:
        future = self._receipts.expect(tx.id)  # before the submission: it may be final when that returns
        try:
            refusal = (await self._submit([tx], context))[0]
            if refusal is None:
                receipt = await self._in_time(
                    future, context, f"transaction {tx.id.hex()} is admitted, but not final yet"
                )
            else:
                final = self._final_receipt(tx.id) if refusal.code is Code.ALREADY_FINAL else None
                receipt = final or b""
        finally:
            self._receipts.forget(tx.id, future)
        return client_pb2.SubmitResponse(verdict=answers.verdict(tx.id, refusal), receipt=receipt)

    async def SubmitBatch(  # noqa: N802
        self, request_iterator: AsyncIterator[client_pb2.SubmitBatchRequest], context: Any
    ) -> AsyncIterator[client_pb2.SubmitBatchResponse]:
        async for request in request_iterator:
            if len(request.txs) > MAX_BATCH_TXS:
                await _refuse(context, f"a batch has at most {MAX_BATCH_TXS} transactions, this one {len(request.txs)}")
            results = await self._door.txs(request.txs)
            admitted = [r for r in results if isinstance(r, Tx)]
            fates = iter(await self._submit(admitted, context))
            with PROCESS.measured("rpc"):
                response = client_pb2.SubmitBatchResponse(
                    verdicts=[
                        answers.verdict(r.id, next(fates)) if isinstance(r, Tx) else answers.verdict(_id_of(raw), r)
                        for raw, r in zip(request.txs, results, strict=True)
                    ]
                )
            yield response

    async def _submit(self, txs: Sequence[Tx], context: Any) -> Sequence[Refusal | None]:
        try:
            return await self._host.submit(txs)
        except ConnectionAbortedError as error:
            await _abort(context, grpc.StatusCode.UNAVAILABLE, str(error))

    # --- asking ---------------------------------------------------------------------------------------------------

    async def Simulate(self, request: client_pb2.SimulateRequest, context: Any) -> client_pb2.SimulateResponse:  # noqa: N802
        if len(request.sender) != ADDRESS_BYTES:
            await _refuse(context, f"sender has {len(request.sender)} bytes, expected {ADDRESS_BYTES}")
        if not 1 <= len(request.calls) <= MAX_CALLS:
            await _refuse(context, f"a transaction has 1 to {MAX_CALLS} calls, this one {len(request.calls)}")
        if any(len(c.args) > MAX_ARGS_BYTES or _too_long(c.contract, c.function) for c in request.calls):
            await _refuse(context, "a call's arguments or names are too long")
        calls = [TxCall(c.contract, c.function, c.args) for c in request.calls]
        gas_limit = min(request.gas_limit or QUERY_GAS, QUERY_GAS)
        height = self._ledger.head.height
        outcome = self._ledger.simulate(request.sender.hex(), calls, gas_limit)
        receipt = Receipt(
            tx_id=b"",
            height=height + 1,
            index=0,
            ok=outcome.ok,
            code=outcome.code,
            gas_used=outcome.gas_used,
            results=outcome.results,
            events=outcome.events,
            failed_call=outcome.failed_call,
        )
        return client_pb2.SimulateResponse(height=height, receipt=receipt_to_wire(receipt))

    async def Query(self, request: client_pb2.QueryRequest, context: Any) -> client_pb2.QueryResponse:  # noqa: N802
        if len(request.args) > MAX_ARGS_BYTES or _too_long(request.contract, request.view, request.sender):
            await _refuse(context, "the arguments or names of the query are too long")
        args = request.args or b"\x90"  # an empty msgpack array
        if request.prove:
            return answers.proved(await self._proved(request, args, context))
        outcome, height = self._ledger.query(request.contract, request.view, args, request.sender, QUERY_GAS)
        return answers.queried(outcome, height)

    async def GetState(self, request: client_pb2.GetStateRequest, context: Any) -> client_pb2.GetStateResponse:  # noqa: N802
        if len(request.key) > MAX_KEY_BYTES:
            await _refuse(context, f"a key of the state has at most {MAX_KEY_BYTES} bytes, this one {len(request.key)}")
        if not request.prove:
            return answers.state(self._ledger.view.get(request.key), self._ledger.head.height)
        await self._until_vouched()
        found = self._ledger.prove_key(request.key)
        if found is None:
            await _abort(context, grpc.StatusCode.UNAVAILABLE, "no decided header vouches for a state yet: ask again")
        return answers.proved_state(found)

    async def _until_vouched(self) -> None:
        """Waits until a decided header vouches for the outcome of the newest block with transactions. Where that takes
        too long, an answer is on the outcome before: it says its height."""
        head = self._ledger.head.height
        if head == 0 or self._ledger.store.receipts(head):
            with suppress(TimeoutError):  # then the older outcome is proved, or none at height 0
                async with asyncio.timeout(PROOF_WAIT_SECONDS):
                    await self._tip.reach(head + 1)

    async def _proved(self, request: client_pb2.QueryRequest, args: bytes, context: Any) -> ProvedQuery:
        await self._until_vouched()
        found = self._ledger.prove_query(request.contract, request.view, args, request.sender, QUERY_GAS)
        if found is None:
            await _abort(context, grpc.StatusCode.UNAVAILABLE, "no decided header vouches for a state yet: ask again")
        return found

    async def GetBlock(self, request: client_pb2.GetBlockRequest, context: Any) -> client_pb2.GetBlockResponse:  # noqa: N802
        head = self._ledger.head.height
        height = request.height or head
        store = self._ledger.store
        try:
            block = store.block_bytes(height) if 1 <= height <= head else None
            commit = store.commit(height) if block is not None else None
        except CorruptStoreError as error:
            await _abort(context, grpc.StatusCode.DATA_LOSS, str(error))
        if block is None or commit is None:
            await _abort(
                context,
                grpc.StatusCode.NOT_FOUND,
                f"no block of height {height} here: kept are {store.earliest()} to {head}",
            )
        return client_pb2.GetBlockResponse(
            block=block,
            block_id=commit.block_id,
            commit=encode_commit(commit),
            receipts=store.receipts(height),
        )

    async def GetReceipt(self, request: client_pb2.GetReceiptRequest, context: Any) -> client_pb2.GetReceiptResponse:  # noqa: N802
        if len(request.tx_id) != HASH_BYTES:
            await _refuse(context, f"tx_id has {len(request.tx_id)} bytes, expected {HASH_BYTES}")
        receipt = self._final_receipt(request.tx_id)
        if receipt is None and request.wait:
            future = self._receipts.expect(request.tx_id)
            try:
                receipt = await self._in_time(future, context, f"transaction {request.tx_id.hex()} is not final yet")
            finally:
                self._receipts.forget(request.tx_id, future)
        if receipt is None:
            message = f"no final transaction {request.tx_id.hex()}: it waits, was never admitted, or has expired"
            await _abort(context, grpc.StatusCode.NOT_FOUND, message)
        if not request.prove:
            return client_pb2.GetReceiptResponse(receipt=receipt)
        return await self._with_proof(request.tx_id, receipt, context)

    async def _with_proof(self, wanted: bytes, receipt: bytes, context: Any) -> client_pb2.GetReceiptResponse:
        place = self._ledger.store.find_tx(wanted)
        assert place is not None, "a final transaction has a place"
        height, index = place
        await self._in_time(self._tip.reach(height + 1), context, f"no header vouches for height {height} yet")
        found = self._ledger.prove_receipt(height, index)
        assert found is not None, "the next header stands"
        proof, header_bytes, commit_bytes = found
        return client_pb2.GetReceiptResponse(
            receipt=receipt, proof=answers.list_proof(proof), header=header_bytes, commit=commit_bytes
        )

    def _final_receipt(self, wanted: bytes) -> bytes | None:
        place = self._ledger.store.find_tx(wanted)
        receipts = None if place is None else self._ledger.store.receipts(place[0])
        return None if place is None or receipts is None else receipts[place[1]]

    async def _in_time(self, waiting: Any, context: Any, otherwise: str) -> Any:
        """Ends just before the caller's own deadline, so that the caller gets the sentence."""
        remaining = context.time_remaining()
        ours = WAIT_SECONDS if remaining is None else max(remaining - ANSWER_SECONDS, remaining / 2)
        try:
            async with asyncio.timeout(min(ours, WAIT_SECONDS)):
                return await waiting
        except TimeoutError:
            await _abort(context, grpc.StatusCode.DEADLINE_EXCEEDED, otherwise)

    async def Subscribe(  # noqa: N802
        self, request: client_pb2.SubscribeRequest, context: Any
    ) -> AsyncIterator[client_pb2.SubscribeResponse]:
        if len(request.contracts) > MAX_FILTERS or len(request.names) > MAX_FILTERS:
            await _refuse(context, f"a subscription names at most {MAX_FILTERS} contracts and as many events")
        if request.from_height > 2**63 - 1:
            await _refuse(context, f"from_height {request.from_height} is out of range")
        wanted = Filter(frozenset(request.contracts), frozenset(request.names))
        try:
            async for response in self._subscriptions.follow(request.from_height, wanted):
                yield response
        except PrunedError as error:
            await _abort(context, grpc.StatusCode.OUT_OF_RANGE, str(error))
        except CorruptStoreError as error:
            await _abort(context, grpc.StatusCode.DATA_LOSS, str(error))

    async def Status(self, request: client_pb2.StatusRequest, context: Any) -> client_pb2.StatusResponse:  # noqa: N802
        head, replica = self._ledger.head, self._host.replica
        return client_pb2.StatusResponse(
            name=self._status.name,
            chain_id=self._ledger.chain_id,
            height=head.height,
            block_id=head.block_id,
            state_root=head.state_root,
            peers=self._status.peers(),
            mempool=len(replica.mempool),
            round=replica.round,
            version=self._status.version,
            time_ms=head.time_ms,
            earliest_height=self._ledger.store.earliest(),
            cpu_us=PROCESS.spent_us(),
            transactions=self._host.meter.transactions,
            finality_ms=self._host.meter.finality_ms,
        )

    async def ListContracts(  # noqa: N802
        self, request: client_pb2.ListContractsRequest, context: Any
    ) -> client_pb2.ListContractsResponse:
        return client_pb2.ListContractsResponse(contracts=[answers.contract(c) for c in self._ledger.contracts()])

    async def GetAccount(self, request: client_pb2.GetAccountRequest, context: Any) -> client_pb2.GetAccountResponse:  # noqa: N802
        if len(request.address) != ADDRESS_BYTES:
            await _refuse(context, f"address has {len(request.address)} bytes, expected {ADDRESS_BYTES}")
        sender = request.address.hex()
        return client_pb2.GetAccountResponse(
            nonce=self._ledger.next_nonce(sender), pending_nonce=self._host.replica.mempool.pending_nonce(sender)
        )

    async def ListEvidence(  # noqa: N802
        self, request: client_pb2.ListEvidenceRequest, context: Any
    ) -> client_pb2.ListEvidenceResponse:
        count = min(request.count or MAX_EVIDENCE, MAX_EVIDENCE)
        found = self._ledger.evidence(request.start, count)
        return client_pb2.ListEvidenceResponse(
            evidence=[
                client_pb2.EvidenceInfo(number=request.start + offset, height=height, evidence=raw)
                for offset, (height, raw) in enumerate(found)
            ]
        )

    async def GetGenesis(  # noqa: N802
        self, request: client_pb2.GetGenesisRequest, context: Any
    ) -> client_pb2.GetGenesisResponse:
        file = self._status.genesis
        try:
            size = file.stat().st_size
            if size > MAX_GENESIS_BYTES:
                text = f"the genesis has {size} bytes, more than a message holds: copy the file from a member"
                await _abort(context, grpc.StatusCode.FAILED_PRECONDITION, text)
            return client_pb2.GetGenesisResponse(genesis=await asyncio.to_thread(file.read_bytes))
        except OSError as error:
            await _abort(context, grpc.StatusCode.UNAVAILABLE, f"the genesis cannot be read: {error.strerror or error}")


async def _refuse(context: Any, message: str) -> NoReturn:
    await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, message)


async def _abort(context: Any, status: grpc.StatusCode, message: str) -> NoReturn:
    await context.abort(status, message)
    raise AssertionError("abort raises")


def _too_long(*names: str) -> bool:
    return any(len(name) > MAX_NAME_CHARS for name in names)


def _id_of(raw: bytes) -> bytes:
    """The id of a transaction that was refused, as far as one can be read from it."""
    message = chain_pb2.Tx()
    try:
        message.ParseFromString(raw)
    except DecodeError:
        return b""
    return tx_id(message.body)
