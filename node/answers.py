"""From the ledger's values to the client service's messages."""

from __future__ import annotations

from chain.directory import ContractInfo
from chain.ledger import ProvedKey, ProvedQuery
from chain.merkle import ListProof
from chain.refusal import Refusal
from chain.stateproof import StateProof, nibbles, place_of
from contracts.runtime.api import Outcome
from gridbft.v1 import chain_pb2, client_pb2

# What a sentence adds to the runtime's own codes; a contract's codes speak for themselves.
_SENTENCES = {
    "UNKNOWN_CONTRACT": "there is no such contract on this chain: list them with ListContracts",
    "UNKNOWN_FUNCTION": "the contract has no such function: list them with ListContracts",
    "NOT_A_VIEW": "this function writes: send it in a transaction",
    "BAD_ARGUMENTS": "the arguments do not fit the function's interface: see ListContracts",
    "OUT_OF_GAS": "the query needs more than a node spends on one: ask for less at once",
}


def verdict(tx_id: bytes, refusal: Refusal | None) -> client_pb2.Verdict:
    if refusal is None:
        return client_pb2.Verdict(tx_id=tx_id)
    return client_pb2.Verdict(tx_id=tx_id, code=refusal.code, message=refusal.message)


def queried(outcome: Outcome, height: int) -> client_pb2.QueryResponse:
    """`height` is the one whose outcome was read."""
    return client_pb2.QueryResponse(
        ok=outcome.ok,
        code=outcome.code,
        message="" if outcome.ok else _SENTENCES.get(outcome.code, "the view refused: see the contract's codes"),
        result=outcome.result if outcome.ok else b"",
        height=height,
        gas_used=outcome.gas_used,
    )


def proved(query: ProvedQuery) -> client_pb2.QueryResponse:
    response = queried(query.outcome, query.height)
    response.header, response.commit = query.header_bytes, query.commit_bytes
    places: dict[tuple[bytes, StateProof], int] = {}  # many keys stand in one page; pages of nothing may look alike
    for read in query.reads:
        way = nibbles(place_of(read.key))[: len(read.proof.siblings)]
        place = places.setdefault((way, read.proof), len(places))
        response.reads.append(
            client_pb2.ReadProof(key=read.key, present=read.value is not None, value=read.value or b"", proof=place)
        )
    response.proofs.extend(state_proof(proof) for _, proof in places)
    return response


def state(value: bytes | None, height: int) -> client_pb2.GetStateResponse:
    return client_pb2.GetStateResponse(present=value is not None, value=value or b"", height=height)


def proved_state(found: ProvedKey) -> client_pb2.GetStateResponse:
    response = state(found.read.value, found.height)
    response.proof.CopyFrom(state_proof(found.read.proof))
    response.header, response.commit = found.header_bytes, found.commit_bytes
    return response


def state_proof(proof: StateProof) -> chain_pb2.StateProof:
    return chain_pb2.StateProof(siblings=proof.siblings, records=proof.records)


def list_proof(proof: ListProof) -> chain_pb2.ListProof:
    return chain_pb2.ListProof(index=proof.index, size=proof.size, path=proof.path)


def contract(info: ContractInfo) -> client_pb2.ContractInfo:
    return client_pb2.ContractInfo(
        name=info.name,
        version=info.version,
        code_hash=info.code_hash,
        functions=[
            client_pb2.FunctionAbi(
                name=f.name,
                view=f.view,
                params=[client_pb2.Param(name=name, type=type_) for name, type_ in f.params],
                returns=f.returns,
                doc=f.doc,
            )
            for f in info.functions
        ],
    )
