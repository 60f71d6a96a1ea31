"""Following the chain: every subscriber reads the store by height at its own pace, so nothing piles up for slow ones."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass

from chain.store import BlockStore
from gridbft.v1 import chain_pb2 as chain_pb
from gridbft.v1 import client_pb2 as pb
from node.finality import Tip
from node.stages import PROCESS

CACHED_BLOCKS = 16


@dataclass(frozen=True, slots=True)
class Filter:
    """Empty sets match everything."""

    contracts: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()

    @property
    def is_everything(self) -> bool:
        return not self.contracts and not self.names

    def matches(self, events: frozenset[tuple[str, str]]) -> bool:
        return self.is_everything or any(
            (not self.contracts or contract in self.contracts) and (not self.names or name in self.names)
            for contract, name in events
        )


@dataclass(slots=True)
class AppliedBlock:
    """Its receipts are decoded when the first subscriber comes who does not want them all."""

    height: int
    time_ms: int
    block_id: bytes
    receipts: list[bytes]
    _events: list[frozenset[tuple[str, str]]] | None = None

    def matching(self, wanted: Filter) -> list[bytes]:
        if wanted.is_everything:
            return self.receipts
        if self._events is None:
            self._events = [_events_of(receipt) for receipt in self.receipts]
        return [r for r, events in zip(self.receipts, self._events, strict=True) if wanted.matches(events)]


class PrunedError(LookupError):
    """The message says which height can still be read."""


class Subscriptions:
    """Blocks that several subscribers read one after the other are decoded once."""

    def __init__(self, store: BlockStore, tip: Tip) -> None:
        self._store = store
        self._tip = tip
        self._cache: OrderedDict[int, AppliedBlock] = OrderedDict()

    async def follow(self, first: int, wanted: Filter) -> AsyncIterator[pb.SubscribeResponse]:
        """Every height from `first` on (0: from the next one on), past and live, without gaps. Raises PrunedError."""
        height = first or self._tip.height + 1
        while True:
            await self._tip.reach(height)
            with PROCESS.measured("rpc"):
                block = self._block(height)
                response = pb.SubscribeResponse(
                    height=height,
                    time_ms=block.time_ms,
                    block_id=block.block_id,
                    receipts=block.matching(wanted),
                    transactions=len(block.receipts),
                )
            yield response
            height += 1

    def _block(self, height: int) -> AppliedBlock:
        block = self._cache.get(height)
        if block is None:
            block = self._cache[height] = self._read(height)
            if len(self._cache) > CACHED_BLOCKS:
                self._cache.popitem(last=False)
        return block

    def _read(self, height: int) -> AppliedBlock:
        found, commit = self._store.header(height), self._store.commit(height)
        receipts = self._store.receipts(height)
        if found is None or commit is None or receipts is None:
            raise PrunedError(f"height {height} is no longer kept here: the earliest is {self._store.earliest()}")
        return AppliedBlock(height, found[0].time_ms, commit.block_id, receipts)


def _events_of(receipt: bytes) -> frozenset[tuple[str, str]]:
    message = chain_pb.Receipt.FromString(receipt)
    return frozenset((event.contract, event.name) for event in message.events)
