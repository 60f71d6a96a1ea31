"""A snapshot is proved by the next block, however long its chunks take and whatever was pruned meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from chain import pruning
from chain.snapshot import decode_offer, offer_fault
from node import snapshots
from node.ed25519 import verify
from node.finality import Tip
from node.snapshots import SnapshotFolder, SnapshotTaker
from tests.chain.network import Chain, genesis


def test_a_snapshot_that_takes_longer_than_blocks_are_kept_is_still_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its proof was looked for when the chunks were written: by then the block was pruned, and no snapshot was ever whole."""
    go_on = Event()
    honest = snapshots.write_chunks

    def slow(*args: Any) -> Any:
        assert go_on.wait(10)
        return honest(*args)

    monkeypatch.setattr(snapshots, "write_chunks", slow)

    async def scenario() -> SnapshotFolder:
        chain, tip, folder = Chain(genesis()), Tip(0), SnapshotFolder(tmp_path)
        taker = SnapshotTaker(folder, chain.ledger, tip, 2)
        for height in range(1, 12):
            chain.grow()
            tip.advance(height)
            taker.applied(height)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        pruning.prune(chain.kv, pruning.LEAST_KEPT)
        go_on.set()
        assert taker._task is not None
        await taker._task
        await taker.stop()
        assert offer_fault(decode_offer(folder.offer(2)), chain.genesis, verify) is None
        return folder

    folder = asyncio.run(scenario())
    assert folder.heights() == [2]
    assert folder.chunk(2, 0)
