"""Executes a decided block: transactions in order, each all or nothing, into one set of writes and a list of receipts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from chain.overlay import Overlay, Writes
from chain.receipt import encoded_receipt
from chain.tx import Tx, TxCall
from contracts.runtime.api import Call, Event, Runtime, StateView

_tuple = tuple.__new__  # a named tuple made so takes half the time, and some are made for every transaction

NONCE_PREFIX = b"$nonce/"
GENESIS_SENDER = "genesis"


def nonce_key(sender: str) -> bytes:
    return NONCE_PREFIX + sender.encode()


def next_nonce(view: StateView, sender: str) -> int:
    stored = view.get(nonce_key(sender))
    return 0 if stored is None else int.from_bytes(stored, "big")


class CallsOutcome(NamedTuple):
    ok: bool
    code: str
    gas_used: int
    results: tuple[bytes, ...]
    events: tuple[Event, ...]
    writes: Writes
    failed_call: int = 0


Kind = tuple[str, str]
"""Of a call: contract and function."""


@dataclass(frozen=True, slots=True)
class BlockOutcome:
    """`receipts` are encoded, in the block's order. `examples` has for each kind of call the first transaction that made it
    alone and was carried out, with what it wrote."""

    writes: Writes
    receipts: list[bytes]
    examples: dict[Kind, tuple[Tx, Writes]]


def execute_calls(
    runtime: Runtime, view: StateView, calls: Sequence[TxCall], sender: str, height: int, time_ms: int, gas_limit: int
) -> CallsOutcome:
    """Runs calls in order on a view, all or none; nothing is written to the view itself."""
    if len(calls) == 1:  # most transactions: what a call wrote then needs no layer of its own
        name, function, args = calls[0]
        request = _tuple(Call, (name, function, args, sender, height, time_ms, False))
        ok, code, gas_used, result, emitted, written = runtime.execute(request, view, gas_limit)
        if not ok:
            return CallsOutcome(False, code, gas_used, (), (), {})
        return _tuple(CallsOutcome, (True, "", gas_used, (result,), emitted, written, 0))
    scratch = Overlay(view)
    gas_used = 0
    results: list[bytes] = []
    events: list[Event] = []
    for index, call in enumerate(calls):
        request = Call(call.contract, call.function, call.args, sender, height, time_ms)
        outcome = runtime.execute(request, scratch, gas_limit - gas_used)
        gas_used += outcome.gas_used
        if not outcome.ok:
            return CallsOutcome(False, outcome.code, gas_used, (), (), {}, index)
        scratch.writes.update(outcome.writes)
        results.append(outcome.result)
        events.extend(outcome.events)
    return CallsOutcome(True, "", gas_used, tuple(results), tuple(events), scratch.writes)


def execute_block(runtime: Runtime, view: StateView, txs: Sequence[Tx], height: int, time_ms: int) -> BlockOutcome:
    """Runs a valid block's transactions (see `chain.validity`): each sender's nonces follow one another.

    A transaction that fails leaves only its nonce behind. Gas is a limit, not a price.
    """
    state = Overlay(view)
    writes = state.writes
    receipts: list[bytes] = []
    examples: dict[Kind, tuple[Tx, Writes]] = {}
    for index, tx in enumerate(txs):
        sender = tx.sender
        ok, code, gas_used, results, events, written, failed_call = execute_calls(
            runtime, state, tx.calls, sender, height, time_ms, tx.gas_limit
        )
        writes.update(written)
        writes[nonce_key(sender)] = (tx.nonce + 1).to_bytes(8, "big")
        receipts.append(encoded_receipt(tx.id, height, index, ok, code, gas_used, results, events, failed_call))
        kind = tx.calls[0][:2]
        if kind not in examples and ok and len(tx.calls) == 1:
            examples[kind] = tx, written
    return BlockOutcome(writes, receipts, examples)
