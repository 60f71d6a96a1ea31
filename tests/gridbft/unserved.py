"""A ledger service that serves nothing yet: what the fakes build on, each with the methods that it needs."""

from __future__ import annotations

from typing import Any

from gridbft.v1.client_pb2_grpc import LedgerServiceServicer


class Unserved(LedgerServiceServicer):
    """Every method is the generated one, which answers UNIMPLEMENTED; to the type checker they are no longer abstract."""

    Submit: Any = LedgerServiceServicer.Submit
    SubmitBatch: Any = LedgerServiceServicer.SubmitBatch
    Simulate: Any = LedgerServiceServicer.Simulate
    Query: Any = LedgerServiceServicer.Query
    GetBlock: Any = LedgerServiceServicer.GetBlock
    GetState: Any = LedgerServiceServicer.GetState
    GetReceipt: Any = LedgerServiceServicer.GetReceipt
    Subscribe: Any = LedgerServiceServicer.Subscribe
    Status: Any = LedgerServiceServicer.Status
    ListContracts: Any = LedgerServiceServicer.ListContracts
    ListEvidence: Any = LedgerServiceServicer.ListEvidence
    GetAccount: Any = LedgerServiceServicer.GetAccount
    GetGenesis: Any = LedgerServiceServicer.GetGenesis
