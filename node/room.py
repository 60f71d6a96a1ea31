"""What a block of ours may hold. Governance may make blocks smaller while transactions wait that no longer fit: one that is
kept would make every block of ours invalid, or stand in the way of all behind it."""

from __future__ import annotations

from dataclasses import dataclass

from chain.evidence import MAX_BYTES, MAX_IN_BLOCK
from chain.mempool import LIST_ITEM_BYTES
from chain.refusal import Code, Refusal
from chain.system import SystemState
from chain.tx import Tx

BLOCK_OVERHEAD_BYTES = 4_096 + MAX_IN_BLOCK * MAX_BYTES
VALIDATOR_OVERHEAD_BYTES = 128  # an entry of the last commit


@dataclass(frozen=True, slots=True)
class Room:
    """For the transactions of one block, and for one of them (`tx_gas`)."""

    bytes: int
    gas: int
    transactions: int
    tx_gas: int


def room_in(system: SystemState) -> Room:
    """In the next block."""
    params = system.params
    taken = BLOCK_OVERHEAD_BYTES + VALIDATOR_OVERHEAD_BYTES * len(system.last_validators)
    return Room(
        bytes=params.max_block_bytes - taken,
        gas=params.max_block_gas,
        transactions=params.max_block_transactions,
        tx_gas=min(params.max_tx_gas, params.max_block_gas),
    )


def unfit(tx: Tx, room: Room) -> Refusal | None:
    """Why no block may hold this transaction, not even alone."""
    if tx.gas_limit > room.tx_gas:
        return Refusal(Code.GAS_LIMIT, f"the gas limit may be at most {room.tx_gas}: ask for less")
    if len(tx.raw) + LIST_ITEM_BYTES > room.bytes:
        return Refusal(
            Code.TOO_LARGE, f"a block has {room.bytes} bytes for transactions, this one {len(tx.raw)}: split it"
        )
    return None
