"""Whether a block may follow the chain: everything that a node checks before it prevotes it.

The block's lists were checked against its header, and its transactions' signatures, when it came in (`chain.block`).
"""

from __future__ import annotations

from collections.abc import Sequence

from chain.block import Block
from chain.evidence import MAX_IN_BLOCK, decode_evidence, fault_in
from chain.executor import next_nonce
from chain.genesis import ChainParams
from chain.store import Head
from chain.system import SystemState
from chain.tx import Tx, Verify, governs
from chain.wire import validators_hash
from consensus.commits import verify_commit
from consensus.evidence import offender
from consensus.types import Height, ValidatorId
from contracts.runtime.api import StateView


def fault(block: Block, head: Head, system: SystemState, view: StateView, chain_id: str, verify: Verify) -> str | None:
    """Why `block` may not follow `head`, or None if it may. Never raises on what a proposer can send."""
    return (
        _header_fault(block, head, system, chain_id)
        or _last_commit_fault(block, head, system, chain_id, verify)
        or _evidence_fault(block, view, chain_id, verify)
        or _size_fault(block, system.params)
        or _halt_fault(block, system)
        or _transactions_fault(block.txs, block.header.height, view, system.params)
    )


def _header_fault(block: Block, head: Head, system: SystemState, chain_id: str) -> str | None:
    header = block.header
    expected = {
        "version": (header.version, system.protocol.at(head.height + 1)),
        "chain id": (header.chain_id, chain_id),
        "height": (header.height, head.height + 1),
        "parent": (header.parent, head.block_id),
        "state root": (header.state_root, head.state_root),
        "receipt root": (header.receipt_root, head.receipt_root),
        "validators hash": (header.validators_hash, validators_hash(system.validators)),
        "next validators hash": (header.next_validators_hash, validators_hash(system.next_validators)),
    }
    for name, (found, wanted) in expected.items():
        if found != wanted:
            return f"the header's {name} is not the expected one"
    if header.time_ms <= head.time_ms:
        return "the block's time does not grow"
    if system.validators.get(header.proposer) is None:
        return "the proposer is no validator of this height"
    return None


def _last_commit_fault(block: Block, head: Head, system: SystemState, chain_id: str, verify: Verify) -> str | None:
    if head.height == 0:
        return None if block.last_commit is None else "the first block has no last commit"
    if block.last_commit is None:
        return "the last commit is missing"
    error = verify_commit(
        block.last_commit, chain_id, system.last_validators, Height(head.height), head.block_id, verify
    )
    return None if error is None else f"the last commit is refused: {error.code}"


def _evidence_fault(block: Block, view: StateView, chain_id: str, verify: Verify) -> str | None:
    if len(block.evidence) > MAX_IN_BLOCK:
        return f"the block has {len(block.evidence)} pieces of evidence, {MAX_IN_BLOCK} are allowed"
    seen: set[ValidatorId] = set()
    for raw in block.evidence:
        reason = fault_in(raw, block.header.height, view, chain_id, verify)
        if reason is not None:
            return f"the block's evidence is refused: {reason}"
        caught = offender(decode_evidence(raw))
        if caught in seen:
            return "the block holds evidence against one validator twice"
        seen.add(caught)
    return None


def _size_fault(block: Block, params: ChainParams) -> str | None:
    if len(block.raw) > params.max_block_bytes:
        return f"the block has {len(block.raw)} bytes, {params.max_block_bytes} are allowed"
    if len(block.txs) > params.max_block_transactions:
        return f"the block has {len(block.txs)} transactions, {params.max_block_transactions} are allowed"
    if sum([tx.gas_limit for tx in block.txs]) > params.max_block_gas:
        return "the gas limits of the block's transactions exceed what a block may use"
    return None


def _halt_fault(block: Block, system: SystemState) -> str | None:
    """A halted chain rests but for votes: else nobody could ever lift the halt."""
    if system.is_halted(block.header.height) and not (block.txs and all(map(governs, block.txs))):
        return f"the chain is halted after height {system.halt_height}: a block may hold governance calls only"
    return None


def _transactions_fault(txs: Sequence[Tx], height: int, view: StateView, params: ChainParams) -> str | None:
    upcoming: dict[str, int] = {}
    max_tx_gas = params.max_tx_gas
    for index, tx in enumerate(txs):
        sender, found = tx.sender, tx.nonce
        nonce = upcoming.get(sender)
        if nonce is None:
            nonce = next_nonce(view, sender)
        if found != nonce:
            return f"transaction {index} has nonce {found} instead of {nonce}"
        if tx.expiry_height < height:
            return f"transaction {index} expired at height {tx.expiry_height}"
        if tx.gas_limit > max_tx_gas:
            return f"transaction {index} asks for more gas than one may use"
        upcoming[sender] = nonce + 1
    return None
