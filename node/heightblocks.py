"""The proposed blocks of one height, within bounds, and which of them the write-ahead log holds already."""

from __future__ import annotations

from collections.abc import Iterator

from chain.block import Block
from consensus.gossip import blocks_in_use
from consensus.state import State, replace
from consensus.types import BlockId, Height
from node.events import LoggedBlock, LogRecord

MAX_BLOCKS = 32


class HeightBlocks:
    """By block id, in the order in which they came."""

    def __init__(self) -> None:
        self._blocks: dict[BlockId, Block] = {}
        self._logged: set[BlockId] = set()

    def __contains__(self, block_id: BlockId) -> bool:
        return block_id in self._blocks

    def __getitem__(self, block_id: BlockId) -> Block:
        return self._blocks[block_id]

    def __iter__(self) -> Iterator[Block]:
        return iter(tuple(self._blocks.values()))

    def get(self, block_id: BlockId) -> Block | None:
        return self._blocks.get(block_id)

    def keep(self, block: Block) -> None:
        self._blocks[block.id] = block

    def recovered(self, block: Block) -> None:
        """One that the log gave back."""
        self.keep(block)
        self._logged.add(block.id)

    def with_room(self, machine: State) -> State:
        """Makes room for another block: the oldest that nobody voted for and nothing points to goes, else the oldest that
        binds nobody; and with it its verdict, so that the machine asks for no block that is not at hand."""
        if len(self._blocks) < MAX_BLOCKS:
            return machine
        bound = {lock.block_id for lock in (machine.locked, machine.valid) if lock is not None}
        used = blocks_in_use(machine)
        idle = next((b for b in self._blocks if b not in used), None) or next(b for b in self._blocks if b not in bound)
        del self._blocks[idle]
        return replace(machine, verdicts={b: valid for b, valid in machine.verdicts.items() if b != idle})

    def unlogged(self, block_id: BlockId) -> tuple[LogRecord, ...]:
        """The block itself goes into the log with the first promise about it: else a power cut could lose the only
        value that the others are locked on."""
        if block_id in self._logged:
            return ()
        self._logged.add(block_id)
        block = self._blocks[block_id]
        return (LoggedBlock(Height(block.header.height), block.raw),)
