"""What a client's answers are made of: plain values, with ids and addresses as lower-case hexadecimal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError

from chain.block import decode_header
from chain.tx import tx_id
from gridbft.errors import RETRYABLE_CODES, VerificationError
from gridbft.v1 import chain_pb2 as chain_wire
from gridbft.v1 import client_pb2 as wire
from gridbft.values import decode


@dataclass(frozen=True, slots=True)
class EventRecord:
    """Something that a contract announced."""

    contract: str
    name: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a final transaction did. `results` has one decoded value for each call; `code` is empty when `ok`."""

    tx_id: str
    height: int
    index: int
    ok: bool
    code: str
    gas_used: int
    results: tuple[Any, ...]
    events: tuple[EventRecord, ...]
    failed_call: int

    @property
    def result(self) -> Any:
        """The last call's result; None where there is none."""
        return self.results[-1] if self.results else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """A transaction's fate at the door: an empty `code` means that it was admitted (or stands already)."""

    tx_id: str
    code: str
    message: str

    @property
    def admitted(self) -> bool:
        return not self.code

    @property
    def retryable(self) -> bool:
        """Refused for now only: the same bytes may be sent again a little later."""
        return self.code in RETRYABLE_CODES


@dataclass(frozen=True, slots=True)
class PeerRecord:
    name: str
    connected: bool
    height: int


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """Where a node stands; `state_root` is the one after `height`."""

    name: str
    address: str
    chain_id: str
    height: int
    block_id: str
    state_root: str
    time_ms: int
    round: int
    mempool: int
    peers: tuple[PeerRecord, ...]
    version: str
    earliest_height: int
    transactions: int = 0  # applied by this process since its start
    finality_ms: int = 0  # of the last block; 0: none yet


@dataclass(frozen=True, slots=True)
class BlockInfo:
    """A decided block. `state_root_before` is the header's: the root after the parent. `raw` is the encoded Block."""

    height: int
    block_id: str
    time_ms: int
    proposer: str
    parent: str
    state_root_before: str
    tx_ids: tuple[str, ...]
    receipts: tuple[Receipt, ...]
    round: int
    signers: tuple[str, ...]
    raw: bytes
    header_bytes: bytes
    commit_bytes: bytes


@dataclass(frozen=True, slots=True)
class BlockEvents:
    """All that one block has for a subscriber; `height` is the cursor. `events` are those that were asked for."""

    height: int
    time_ms: int
    block_id: str
    receipts: tuple[Receipt, ...]
    events: tuple[EventRecord, ...]
    transactions: int


@dataclass(frozen=True, slots=True)
class ParamAbi:
    name: str
    type: str


@dataclass(frozen=True, slots=True)
class FunctionAbi:
    name: str
    view: bool
    params: tuple[ParamAbi, ...]
    returns: str
    doc: str

    def signature(self) -> str:
        params = ", ".join(f"{p.name}: {p.type}" for p in self.params)
        return f"{self.name}({params}) -> {self.returns or 'None'}"


@dataclass(frozen=True, slots=True)
class ContractAbi:
    name: str
    version: int
    code_hash: str
    functions: tuple[FunctionAbi, ...]

    def function(self, name: str) -> FunctionAbi | None:
        return next((f for f in self.functions if f.name == name), None)


def receipt_from_bytes(raw: bytes) -> Receipt:
    """Raises VerificationError when a node sends something that is no receipt."""
    message = chain_wire.Receipt()
    try:
        message.ParseFromString(raw)
    except DecodeError as error:
        raise VerificationError("BAD_RECEIPT", "the node sent bytes that are no receipt") from error
    return receipt_from_wire(message)


def receipt_from_wire(message: chain_wire.Receipt) -> Receipt:
    return Receipt(
        tx_id=message.tx_id.hex(),
        height=message.height,
        index=message.index,
        ok=message.ok,
        code=message.code,
        gas_used=message.gas_used,
        results=tuple(value_from_node(r) for r in message.results),
        events=tuple(EventRecord(e.contract, e.name, _fields(e.fields)) for e in message.events),
        failed_call=message.failed_call,
    )


def value_from_node(raw: bytes) -> Any:
    try:
        return decode(raw)
    except ValueError as error:
        raise VerificationError("BAD_VALUE", f"the node sent a value that is malformed: {error}") from error


def _fields(raw: bytes) -> Mapping[str, Any]:
    fields = value_from_node(raw)
    if not isinstance(fields, dict):
        raise VerificationError("BAD_VALUE", "the node sent an event whose fields are no map")
    return fields


def verdict_from_wire(message: wire.Verdict) -> Verdict:
    return Verdict(message.tx_id.hex(), message.code, message.message)


def status_from_wire(message: wire.StatusResponse, address: str) -> NodeStatus:
    return NodeStatus(
        name=message.name,
        address=address,
        chain_id=message.chain_id,
        height=message.height,
        block_id=message.block_id.hex(),
        state_root=message.state_root.hex(),
        time_ms=message.time_ms,
        round=message.round,
        mempool=message.mempool,
        peers=tuple(PeerRecord(p.name, p.connected, p.height) for p in message.peers),
        version=message.version,
        earliest_height=message.earliest_height,
        transactions=message.transactions,
        finality_ms=message.finality_ms,
    )


def block_from_wire(message: wire.GetBlockResponse) -> BlockInfo:
    """Raises VerificationError when the node sent something that is no block; nothing else is checked here."""
    block, commit = chain_wire.Block(), chain_wire.Commit()
    try:
        block.ParseFromString(message.block)
        commit.ParseFromString(message.commit)
        header = decode_header(block.header)
        tx_ids = tuple(_tx_id(raw) for raw in block.txs)
    except (DecodeError, ValueError) as error:
        raise VerificationError("BAD_BLOCK", "the node sent bytes that are no block") from error
    return BlockInfo(
        height=header.height,
        block_id=message.block_id.hex(),
        time_ms=header.time_ms,
        proposer=header.proposer.hex(),
        parent=header.parent.hex(),
        state_root_before=header.state_root.hex(),
        tx_ids=tx_ids,
        receipts=tuple(receipt_from_bytes(r) for r in message.receipts),
        round=commit.round,
        signers=tuple(e.validator.hex() for e in commit.entries if e.status == chain_wire.COMMIT_STATUS_COMMIT),
        raw=message.block,
        header_bytes=block.header,
        commit_bytes=message.commit,
    )


def _tx_id(raw: bytes) -> str:
    envelope = chain_wire.Tx()
    envelope.ParseFromString(raw)
    return tx_id(envelope.body).hex()


def block_events_from_wire(
    message: wire.SubscribeResponse, contracts: frozenset[str], names: frozenset[str]
) -> BlockEvents:
    receipts = tuple(receipt_from_bytes(r) for r in message.receipts)
    return BlockEvents(
        height=message.height,
        time_ms=message.time_ms,
        block_id=message.block_id.hex(),
        receipts=receipts,
        events=tuple(_matching(receipts, contracts, names)),
        transactions=message.transactions,
    )


def _matching(receipts: Iterable[Receipt], contracts: frozenset[str], names: frozenset[str]) -> Iterable[EventRecord]:
    for receipt in receipts:
        for event in receipt.events:
            if (not contracts or event.contract in contracts) and (not names or event.name in names):
                yield event


def contracts_from_wire(message: wire.ListContractsResponse) -> tuple[ContractAbi, ...]:
    return tuple(
        ContractAbi(
            name=c.name,
            version=c.version,
            code_hash=c.code_hash.hex(),
            functions=tuple(
                FunctionAbi(f.name, f.view, tuple(ParamAbi(p.name, p.type) for p in f.params), f.returns, f.doc)
                for f in c.functions
            ),
        )
        for c in message.contracts
    )
