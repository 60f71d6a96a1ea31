"""What the async and the blocking client share: requests, limits, and the meaning of a gRPC status."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from chain.tx import TxCall
from contracts.runtime.api import Runtime
from gridbft.errors import ClientError, NodeUnavailable, NotFound, QueryFailed, RequestRefused, VerificationError
from gridbft.light import Link
from gridbft.records import Receipt, Verdict, block_from_wire, receipt_from_bytes, value_from_node
from gridbft.v1 import client_pb2 as wire
from gridbft.values import encode_args
from gridbft.verify import Trust, verify_receipt, verify_signature, verify_view

MAX_MESSAGE_BYTES = 64 * 1024 * 1024

CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # A node that comes back is found again within a second, not after a minute of doubled pauses.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)

# The connection or the process at its other end is gone: another node may well answer.
LOST = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})

# Signed again with a fresh nonce, the same calls may be admitted.
STALE_NONCE_CODES = frozenset({"NONCE_USED", "NONCE_TAKEN"})
ALREADY_FINAL = "ALREADY_FINAL"
REFUSED = "Connection refused"


@dataclass(frozen=True, slots=True)
class Limits:
    """How patient a client is, and what its transactions ask for."""

    request_s: float = 10.0
    final_s: float = 30.0  # how long to wait for a transaction to become final
    poll_s: float = 5.0  # one wait at one node; then the next node is asked
    reconnect_s: float = 30.0  # a subscription without any node gives up after this
    silence_s: float = 30.0  # blocks come at least every 10 s: a stream silent for longer is taken as lost
    expiry_heights: int = 10_000
    gas_limit: int = 500_000  # blocks set gas aside by limits: a small one lets more transactions into a block


def addresses_of(addresses: str | Sequence[str]) -> tuple[str, ...]:
    """Raises ValueError where there is none."""
    listed = addresses.split(",") if isinstance(addresses, str) else addresses
    found = tuple(a.strip() for a in listed if a.strip())
    if not found:
        raise ValueError("a client needs the address of at least one node, as host:port")
    return found


def make_call(contract: str, function: str, *args: Any) -> TxCall:
    """One call of a transaction. Raises ValueError for arguments that no contract can take."""
    return TxCall(contract, function, encode_args(args))


def calls_of(calls: TxCall | Iterable[TxCall]) -> tuple[TxCall, ...]:
    return (calls,) if isinstance(calls, TxCall) else tuple(calls)


def expiry_height(height: int, limits: Limits) -> int:
    """Some way ahead, by a random part of it less.

    Without that, two programs that use one key at the same moment for the same call would build the same bytes, the
    ledger would take them for one transaction, and both would report it as theirs.
    """
    return height + limits.expiry_heights - secrets.randbelow(limits.expiry_heights // 2 + 1)


CUT_WHILE_WRITING = "Internal error from Core"
"""The library's own words (no node's) where a connection is lost between the start and the end of a write."""


def status_error(code: grpc.StatusCode, details: str | None, address: str) -> ClientError:
    """The exception that a failed request becomes."""
    message = details or "no details"
    if message.endswith(REFUSED):
        message = REFUSED.lower()  # the library's own sentence names each address twice and says no more
    cut_while_writing = code is grpc.StatusCode.INTERNAL and message.startswith(CUT_WHILE_WRITING)
    if code in LOST or cut_while_writing or code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return NodeUnavailable(address, message, timed_out=code is grpc.StatusCode.DEADLINE_EXCEEDED)
    if code is grpc.StatusCode.NOT_FOUND:
        return NotFound(message)
    return RequestRefused(code.name, message)


def unproved_result(response: wire.QueryResponse) -> Any:
    if not response.ok:
        raise QueryFailed(response.code, response.message)
    return value_from_node(response.result)


def proved_result(
    response: wire.QueryResponse, request: wire.QueryRequest, trust: Trust | None, runtime: Runtime | None
) -> Any:
    """The view's value as computed here, over state that the validators signed for."""
    raw = verify_view(
        response, request.contract, request.view, request.args, request.sender, needed(trust), runtime or view_runtime()
    )
    if not response.ok:
        raise QueryFailed(response.code, response.message)
    return value_from_node(raw)


def receipt_of(response: wire.GetReceiptResponse, tx_id: bytes, prove: bool, trust: Trust | None) -> Receipt:
    if not response.receipt:
        raise NotFound(f"transaction {tx_id.hex()} is not final at this node")
    if prove:
        verify_receipt(response, tx_id, needed(trust))
    receipt = receipt_from_bytes(response.receipt)
    if receipt.tx_id != tx_id.hex():
        raise VerificationError("WRONG_RECEIPT", "the node sent the receipt of another transaction")
    return receipt


def link_of(response: wire.GetBlockResponse) -> Link:
    block = block_from_wire(response)
    return Link(block.header_bytes, block.commit_bytes)


def needed(trust: Trust | None) -> Trust:
    if trust is None:
        raise VerificationError("NO_TRUST", "proofs need the genesis validators: Client(..., trust=Trust.of(...))")
    return trust


def view_runtime() -> Runtime:
    """The contracts' runtime, loaded only by those who check proofs."""
    from contracts.runtime.engine import MeteredRuntime

    return MeteredRuntime(verify_signature)


def tx_id_bytes(tx_id: str | bytes) -> bytes:
    """Raises ValueError for anything but 32 bytes or 64 hexadecimal characters."""
    raw = bytes.fromhex(tx_id) if isinstance(tx_id, str) else tx_id
    if len(raw) != 32:
        raise ValueError("a transaction id has 32 bytes, written as 64 hexadecimal characters")
    return raw


def admitted(verdict: Verdict) -> bool:
    """A transaction that is final already needs no admission."""
    return verdict.admitted or verdict.code == ALREADY_FINAL
