"""The production ledger behind a client port: a chain grown by hand, with real proofs, governance and contracts."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent import futures
from typing import Any, Self

import grpc

from chain.ledger import Ledger
from chain.wire import encode_commit
from gridbft.v1 import client_pb2 as wire
from gridbft.v1.client_pb2_grpc import add_LedgerServiceServicer_to_server
from node import answers
from tests.chain.network import Chain
from tests.gridbft.unserved import Unserved

QUERY_GAS = 10**9


class ChainNode(Unserved):
    """Serves what reading clients ask of a `Chain`; use it as a context manager. Subscriptions end at the head."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.blocks_asked = 0
        self._server = grpc.server(futures.ThreadPoolExecutor(4))
        add_LedgerServiceServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    @property
    def ledger(self) -> Ledger:
        return self.chain.ledger

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait()

    def Query(self, request: wire.QueryRequest, context: Any) -> wire.QueryResponse:  # noqa: N802
        asked = request.contract, request.view, request.args or b"\x90", request.sender, QUERY_GAS
        if not request.prove:
            return answers.queried(*self.ledger.query(*asked))
        found = self.ledger.prove_query(*asked)
        assert found is not None
        return answers.proved(found)

    def GetState(self, request: wire.GetStateRequest, context: Any) -> wire.GetStateResponse:  # noqa: N802
        if not request.prove:
            return answers.state(self.ledger.view.get(request.key), self.ledger.head.height)
        found = self.ledger.prove_key(request.key)
        assert found is not None
        return answers.proved_state(found)

    def GetBlock(self, request: wire.GetBlockRequest, context: Any) -> wire.GetBlockResponse:  # noqa: N802
        self.blocks_asked += 1
        height = request.height or self.ledger.head.height
        store = self.ledger.store
        block, commit = store.block_bytes(height), store.commit(height)
        if block is None or commit is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no block {height}")
        assert block is not None
        assert commit is not None
        receipts = store.receipts(height)
        return wire.GetBlockResponse(
            block=block, block_id=commit.block_id, commit=encode_commit(commit), receipts=receipts
        )

    def GetReceipt(self, request: wire.GetReceiptRequest, context: Any) -> wire.GetReceiptResponse:  # noqa: N802
        place = self.ledger.store.find_tx(request.tx_id)
        if place is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such transaction")
        assert place is not None
        height, index = place
        receipts = self.ledger.store.receipts(height)
        assert receipts is not None
        if not request.prove:
            return wire.GetReceiptResponse(receipt=receipts[index])
        found = self.ledger.prove_receipt(height, index)
        if found is None:
            context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "no header vouches for it yet")
        assert found is not None
        proof, header, commit = found
        return wire.GetReceiptResponse(
            receipt=receipts[index], proof=answers.list_proof(proof), header=header, commit=commit
        )

    def Subscribe(self, request: wire.SubscribeRequest, context: Any) -> Iterator[wire.SubscribeResponse]:  # noqa: N802
        for height in range(request.from_height or 1, self.ledger.head.height + 1):
            header = self.ledger.store.header(height)
            receipts = self.ledger.store.receipts(height)
            commit = self.ledger.store.commit(height)
            assert header is not None
            assert receipts is not None
            assert commit is not None
            yield wire.SubscribeResponse(
                height=height,
                time_ms=header[0].time_ms,
                block_id=commit.block_id,
                receipts=receipts,
                transactions=len(receipts),
            )

    def Status(self, request: wire.StatusRequest, context: Any) -> wire.StatusResponse:  # noqa: N802
        head = self.ledger.head
        return wire.StatusResponse(
            name="chain",
            chain_id=self.ledger.chain_id,
            height=head.height,
            block_id=head.block_id,
            state_root=head.state_root,
            time_ms=head.time_ms,
            earliest_height=self.ledger.store.earliest(),
        )

    def ListContracts(self, request: wire.ListContractsRequest, context: Any) -> wire.ListContractsResponse:  # noqa: N802
        return wire.ListContractsResponse(contracts=[answers.contract(c) for c in self.ledger.contracts()])
