"""Prunes while the node runs: a few heights after each block, and now and then the files are compacted."""

from __future__ import annotations

import asyncio

import structlog

from chain import pruning
from chain.kv import KV, StoreError

HEIGHTS_AT_ONCE = 4  # after each block: it keeps up, and catches up, without holding the node
COMPACT_EVERY = 5_000  # pruned heights

log = structlog.get_logger("pruning")


class Pruner:
    """Keeps the last `keep` blocks' bodies; 0 keeps all."""

    def __init__(self, kv: KV, keep: int) -> None:
        self._kv = kv
        self._keep = keep
        self._since_compaction = 0
        self._compaction: asyncio.Future[None] | None = None

    def applied(self, height: int) -> None:
        """Raises CorruptStoreError where what is to be pruned is damaged."""
        if self._keep == 0:
            return
        done = pruning.prune(self._kv, self._keep, most=HEIGHTS_AT_ONCE)
        self._since_compaction += done.blocks
        if self._since_compaction >= COMPACT_EVERY and self._compaction is None:
            self._since_compaction = 0
            self._compaction = asyncio.ensure_future(asyncio.to_thread(self._compact))
            self._compaction.add_done_callback(self._compacted)

    def _compact(self) -> None:
        try:
            pruning.compact(self._kv)
        except StoreError as error:
            log.error("compaction_failed", reason=str(error))

    def _compacted(self, _: object) -> None:
        self._compaction = None

    async def stop(self) -> None:
        """Returns once nothing works on the store any more."""
        if self._compaction is not None:
            await asyncio.gather(self._compaction, return_exceptions=True)
