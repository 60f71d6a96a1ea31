"""A whole ledger in one process: real transactions, blocks, commits and proofs, no consensus and no disk.

`FakeLedger` is the chain; any number of `FakeNode`s serve it on ports of their own and can be stopped and started.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from typing import Any, Self, TypeVar

import grpc
from nacl.signing import SigningKey

from chain import merkle
from chain.block import Header, make_block
from chain.executor import execute_block, execute_calls, next_nonce
from chain.hashes import ZERO_HASH, address
from chain.ledger import ProvedQuery, ProvedRead
from chain.memory import MemoryKV
from chain.mempool import Mempool
from chain.refusal import Code, Refusal
from chain.statetree import StateTree
from chain.tx import TxCall, decode_tx
from chain.wire import encode_commit
from consensus.signbytes import vote_sign_bytes
from consensus.types import (
    BlockId,
    Commit,
    CommitEntry,
    CommitStatus,
    Height,
    Round,
    ValidatorId,
    Vote,
    VoteKind,
)
from contracts.runtime.api import Call, Outcome, Runtime
from contracts.runtime.codec import decode
from contracts.runtime.keys import source_key
from gridbft.v1 import chain_pb2 as chain_wire
from gridbft.v1 import client_pb2 as wire
from gridbft.v1.client_pb2_grpc import add_LedgerServiceServicer_to_server
from gridbft.verify import Trust, validators_hash, verify_signature
from node.answers import proved, queried
from tests.gridbft.fake_bank import ABI, BankRuntime
from tests.gridbft.unserved import Unserved

CHAIN_ID = "test-0123456789abcdef"
START_MS = 1_750_000_000_000


class Recording:
    """A view that remembers what was read."""

    def __init__(self, state: dict[bytes, bytes]) -> None:
        self.state = state
        self.reads: dict[bytes, bytes | None] = {}

    def get(self, key: bytes, /) -> bytes | None:
        value = self.reads[key] = self.state.get(key)
        return value


class Made:
    """One decided block with all that is served about it, and the state after it."""

    def __init__(self, header_bytes: bytes, raw: bytes, block_id: BlockId, commit: bytes) -> None:
        self.header_bytes = header_bytes
        self.raw = raw
        self.block_id = block_id
        self.commit = commit
        self.receipts: tuple[bytes, ...] = ()
        self.state: dict[bytes, bytes] = {}
        self.time_ms = 0
        self.state_root = ZERO_HASH


class FakeLedger:
    """`auto` makes a block after each admitted transaction. All methods are safe to call from several threads."""

    def __init__(
        self,
        *,
        auto: bool = True,
        validators: int = 4,
        signing: int | None = None,
        runtime: Runtime | None = None,
        state: dict[bytes, bytes] | None = None,
    ) -> None:
        keys = [SigningKey(bytes([i + 1]) * 32) for i in range(validators)]
        self.trust = Trust.of(CHAIN_ID, [(f"v{i}", bytes(k.verify_key), 1) for i, k in enumerate(keys)])
        self._keys = {address(bytes(k.verify_key)): k for k in keys}
        self._signing = validators if signing is None else signing
        self.auto = auto
        self.runtime: Runtime = runtime or BankRuntime()
        self.changed = threading.Condition(threading.RLock())
        self.blocks: list[Made] = []
        self.places: dict[bytes, tuple[int, int]] = {}
        self.state: dict[bytes, bytes] = state or {}
        self.mempool = Mempool(lambda sender: next_nonce(self.state, sender))
        self.make_block()

    @property
    def height(self) -> int:
        return len(self.blocks)

    def admit(self, raw: bytes) -> wire.Verdict:
        with self.changed:
            decoded = decode_tx(raw, CHAIN_ID)
            if isinstance(decoded, Refusal):
                return wire.Verdict(code=decoded.code, message=decoded.message)
            tx, signed = decoded
            if not verify_signature(signed.public_key, signed.message, signed.signature):
                return wire.Verdict(tx_id=tx.id, code=Code.BAD_SIGNATURE, message="sign the body's bytes")
            if tx.id in self.places:
                return wire.Verdict(tx_id=tx.id, code=Code.ALREADY_FINAL, message="it is final")
            refusal = self.mempool.add(tx, self.height + 1)
            if refusal is not None:
                return wire.Verdict(tx_id=tx.id, code=refusal.code, message=refusal.message)
            if self.auto:
                self.make_block()
            return wire.Verdict(tx_id=tx.id)

    def make_block(self) -> None:
        with self.changed:
            height = self.height + 1
            last = self.blocks[-1] if self.blocks else None
            time_ms = START_MS + 1_000 * height
            txs = self.mempool.reap(1_000_000, 10**12, height)
            header = Header(
                chain_id=CHAIN_ID,
                height=Height(height),
                time_ms=time_ms,
                proposer=self.trust.validators.validators[0].id,
                parent=last.block_id if last else BlockId(ZERO_HASH),
                tx_root=ZERO_HASH,
                state_root=last.state_root if last else ZERO_HASH,
                receipt_root=merkle.root(last.receipts if last else ()),
                validators_hash=validators_hash(self.trust.validators),
                next_validators_hash=validators_hash(self.trust.validators),
                evidence_root=ZERO_HASH,
                last_commit_hash=ZERO_HASH,
            )
            block = make_block(header, txs, [], last.commit if last else b"", None)
            made = Made(block.header_bytes, block.raw, block.id, self.commit(height, block.id))
            outcome = execute_block(self.runtime, self.state, txs, height, time_ms)
            self.state = applied(self.state, outcome.writes)
            made.receipts = tuple(outcome.receipts)
            made.state, made.time_ms = self.state, time_ms
            made.state_root = tree_of(self.state).root
            self.blocks.append(made)
            self.places.update({tx.id: (height, i) for i, tx in enumerate(txs)})
            self.mempool.committed(txs, height)
            self.changed.notify_all()

    def commit(self, height: int, block_id: BlockId, signing: int | None = None) -> bytes:
        """An encoded commit by the first `signing` validators."""
        entries = []
        for index, validator in enumerate(self.trust.validators.validators):
            vote = Vote(VoteKind.PRECOMMIT, Height(height), Round(0), block_id, ValidatorId(validator.id))
            if index < (self._signing if signing is None else signing):
                signature = self._keys[validator.id].sign(vote_sign_bytes(CHAIN_ID, vote)).signature
                entries.append(CommitEntry(CommitStatus.COMMIT, validator.id, signature))
            else:
                entries.append(CommitEntry(CommitStatus.ABSENT, validator.id))
        return encode_commit(Commit(Height(height), Round(0), block_id, tuple(entries)))

    def query(self, request: wire.QueryRequest) -> wire.QueryResponse:
        """A proved answer is of the height before the last header, and runs with that header's height and time."""
        with self.changed:
            at = self.blocks[-2] if request.prove and self.height > 1 else self.blocks[-1]
            last = self.blocks[-1]
            view = Recording(at.state)
            height = self.height - 1 if request.prove else self.height
            call_height, time_ms = (self.height, last.time_ms) if request.prove else (height, at.time_ms)
            call = Call(request.contract, request.view, request.args, request.sender, call_height, time_ms, True)
            outcome: Outcome = self.runtime.execute(call, view, 10**9)
            if request.prove:
                for record in [v for k, v in view.reads.items() if k.startswith(b"$code/") and v is not None]:
                    view.get(source_key(decode(record)[1]))  # a warm runtime does not read what it has compiled
                tree = tree_of(at.state)
                reads = tuple(ProvedRead(key, value, tree.prove(key)) for key, value in view.reads.items())
                return proved(ProvedQuery(outcome, height, reads, last.header_bytes, last.commit))
            return queried(outcome, height)

    def receipt(self, tx_id: bytes, prove: bool) -> wire.GetReceiptResponse | None:
        with self.changed:
            if tx_id not in self.places:
                return None
            height, index = self.places[tx_id]
            receipts = self.blocks[height - 1].receipts
            response = wire.GetReceiptResponse(receipt=receipts[index])
            if prove:
                if self.height == height:
                    self.make_block()
                proof = merkle.prove(receipts, index)
                response.proof.CopyFrom(chain_wire.ListProof(index=proof.index, size=proof.size, path=proof.path))
                response.header, response.commit = self.blocks[height].header_bytes, self.blocks[height].commit
            return response


def applied(state: dict[bytes, bytes], writes: Mapping[bytes, bytes | None]) -> dict[bytes, bytes]:
    merged = {**state, **{k: v for k, v in writes.items() if v is not None}}
    return {k: v for k, v in merged.items() if writes.get(k, b"") is not None}


def tree_of(state: dict[bytes, bytes]) -> StateTree:
    kv = MemoryKV()
    tree = StateTree(kv)
    change = tree.plan(dict(state))
    kv.write(change.puts, change.deletes)
    tree.adopt(change)
    return tree


Tamper = Callable[[Any], Any]
_Answer = TypeVar("_Answer")


class FakeNode(Unserved):
    """One server of the ledger. `tamper` may change any answer; `verdicts_left` cuts a batch stream short."""

    def __init__(self, ledger: FakeLedger, name: str = "node") -> None:
        self.ledger = ledger
        self.name = name
        self.port = 0
        self.tamper: Tamper = lambda answer: answer
        self.requests: list[str] = []
        self.batches_until_cut: int | None = None
        self.blocks_until_cut: int | None = None
        self.lag = 0  # how many blocks it pretends not to have
        self.lose_next_answer = False
        self._server: grpc.Server | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> Self:
        """On the port of the last start, or on a free one."""
        self._server = grpc.server(futures.ThreadPoolExecutor(16), options=(("grpc.so_reuseport", 0),))
        add_LedgerServiceServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        self._server.start()
        return self

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop(None).wait()
            self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # The names and signatures below are those of the generated service.

    def Submit(self, request: wire.SubmitRequest, context: grpc.ServicerContext) -> wire.SubmitResponse:  # noqa: N802
        self.requests.append("Submit")
        verdict = self.ledger.admit(request.tx)
        if self.lose_next_answer:
            self.lose_next_answer = False
            context.abort(grpc.StatusCode.UNAVAILABLE, "lost on the way back")
        response = wire.SubmitResponse(verdict=verdict)
        if request.wait and not verdict.code:
            found = self._await_receipt(verdict.tx_id, context)
            response.receipt = found.receipt if found else b""
        return self._answer(response)

    def SubmitBatch(  # noqa: N802
        self, request_iterator: Iterator[wire.SubmitBatchRequest], context: grpc.ServicerContext
    ) -> Iterator[wire.SubmitBatchResponse]:
        self.requests.append("SubmitBatch")
        for request in request_iterator:
            verdicts = [self.ledger.admit(tx) for tx in request.txs]
            if self.batches_until_cut is not None:
                self.batches_until_cut -= 1
                if self.batches_until_cut < 0:
                    self.batches_until_cut = None
                    context.abort(grpc.StatusCode.UNAVAILABLE, "cut")
            yield self._answer(wire.SubmitBatchResponse(verdicts=verdicts))

    def Simulate(self, request: wire.SimulateRequest, context: grpc.ServicerContext) -> wire.SimulateResponse:  # noqa: N802
        calls = [TxCall(c.contract, c.function, c.args) for c in request.calls]
        ledger = self.ledger
        done = execute_calls(
            ledger.runtime, ledger.state, calls, request.sender.hex(), ledger.height + 1, START_MS, request.gas_limit
        )
        receipt = chain_wire.Receipt(ok=done.ok, code=done.code, gas_used=done.gas_used, results=done.results)
        return self._answer(wire.SimulateResponse(height=ledger.height, receipt=receipt))

    def Query(self, request: wire.QueryRequest, context: grpc.ServicerContext) -> wire.QueryResponse:  # noqa: N802
        self.requests.append("Query")
        return self._answer(self.ledger.query(request))

    def GetBlock(self, request: wire.GetBlockRequest, context: grpc.ServicerContext) -> wire.GetBlockResponse:  # noqa: N802
        height = request.height or self.ledger.height
        if height > self.ledger.height:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no block {height} yet")
        made = self.ledger.blocks[height - 1]
        return self._answer(
            wire.GetBlockResponse(block=made.raw, block_id=made.block_id, commit=made.commit, receipts=made.receipts)
        )

    def GetReceipt(self, request: wire.GetReceiptRequest, context: grpc.ServicerContext) -> wire.GetReceiptResponse:  # noqa: N802
        self.requests.append("GetReceipt")
        if request.wait:
            found = self._await_receipt(request.tx_id, context)
        else:
            found = self.ledger.receipt(request.tx_id, request.prove)
        if found is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such transaction is final")
        return self._answer(found)

    def Subscribe(  # noqa: N802
        self, request: wire.SubscribeRequest, context: grpc.ServicerContext
    ) -> Iterator[wire.SubscribeResponse]:
        self.requests.append("Subscribe")
        height = request.from_height or self.ledger.height + 1
        while True:
            with self.ledger.changed:
                while height > self.ledger.height - self.lag:
                    self.ledger.changed.wait(0.02)
                    if not context.is_active():
                        return
            if self.blocks_until_cut is not None:
                self.blocks_until_cut -= 1
                if self.blocks_until_cut < 0:
                    self.blocks_until_cut = None
                    context.abort(grpc.StatusCode.UNAVAILABLE, "cut")
            made = self.ledger.blocks[height - 1]
            yield self._answer(
                wire.SubscribeResponse(
                    height=height,
                    time_ms=made.time_ms,
                    block_id=made.block_id,
                    receipts=[r for r in made.receipts if _matches(r, request)],
                    transactions=len(made.receipts),
                )
            )
            height += 1

    def Status(self, request: wire.StatusRequest, context: grpc.ServicerContext) -> wire.StatusResponse:  # noqa: N802
        self.requests.append("Status")
        with self.ledger.changed:
            height = self.ledger.height - self.lag
            made = self.ledger.blocks[height - 1]
            return self._answer(
                wire.StatusResponse(
                    name=self.name,
                    chain_id=CHAIN_ID,
                    height=height,
                    block_id=made.block_id,
                    state_root=made.state_root,
                    time_ms=made.time_ms,
                    mempool=len(self.ledger.mempool),
                    peers=[wire.PeerInfo(name="other", connected=True, height=height)],
                    version="0",
                    earliest_height=1,
                )
            )

    def ListContracts(  # noqa: N802
        self, request: wire.ListContractsRequest, context: grpc.ServicerContext
    ) -> wire.ListContractsResponse:
        return self._answer(wire.ListContractsResponse(contracts=[ABI]))

    def GetAccount(self, request: wire.GetAccountRequest, context: grpc.ServicerContext) -> wire.GetAccountResponse:  # noqa: N802
        self.requests.append("GetAccount")
        sender = request.address.hex()
        with self.ledger.changed:
            nonce = next_nonce(self.ledger.state, sender)
            return wire.GetAccountResponse(nonce=nonce, pending_nonce=self.ledger.mempool.pending_nonce(sender))

    def _answer(self, answer: _Answer) -> _Answer:
        changed: _Answer = self.tamper(answer)
        return changed

    def _await_receipt(self, tx_id: bytes, context: grpc.ServicerContext) -> wire.GetReceiptResponse | None:
        with self.ledger.changed:
            while (found := self.ledger.receipt(tx_id, False)) is None and context.is_active():
                self.ledger.changed.wait(0.02)
            return found


def _matches(raw: bytes, request: wire.SubscribeRequest) -> bool:
    receipt = chain_wire.Receipt()
    receipt.ParseFromString(raw)
    return any(
        (not request.contracts or e.contract in request.contracts) and (not request.names or e.name in request.names)
        for e in receipt.events
    )
