"""Snapshots on this node's disk: taken every so many heights while blocks go on, offered to members, the last two kept.

A snapshot lies in `snapshots/<height>/`: `offer` (an encoded SnapshotOffer) and the chunks `0`, `1`, ... It is written under
another name and renamed when it is whole, so what lies there under its height is complete.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

import structlog
from google.protobuf.message import DecodeError

from chain.hashes import digest
from chain.kv import StoreError
from chain.ledger import Ledger
from chain.snapshot import MAX_CHUNKS, Offer, SnapshotError, chunks_of, decode_offer, encode_offer, make_offer
from chain.store import CorruptStoreError
from chain.system import VALIDATORS
from gridbft.v1 import peer_pb2 as pb
from node.files import OS_DISK, sync_folder
from node.finality import Tip

KEPT = 2
OFFER = "offer"
UNFINISHED = ".part"

T = TypeVar("T")

log = structlog.get_logger("snapshots")


class SnapshotFolder:
    """Only whole snapshots show. Methods raise OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def heights(self) -> list[int]:
        """Newest first."""
        if not self.path.is_dir():
            return []
        return sorted((int(f.name) for f in self.path.iterdir() if f.name.isdecimal()), reverse=True)

    def offer(self, height: int) -> bytes:
        return (self.path / str(height) / OFFER).read_bytes()

    def chunk(self, height: int, index: int) -> bytes | None:
        file = self.path / str(height) / str(index)
        return file.read_bytes() if file.is_file() else None

    def begin(self, height: int) -> Path:
        """An empty folder for a snapshot that is being written; what a crash left of others is gone."""
        for leftover in self.path.glob("*" + UNFINISHED):
            shutil.rmtree(leftover)
        draft = self.path / f"{height}{UNFINISHED}"
        draft.mkdir(parents=True, mode=0o700)
        return draft

    def finish(self, draft: Path, offer: Offer) -> None:
        """The snapshot is whole: it shows from now on, and older ones than the last KEPT go."""
        OS_DISK.replace(draft / OFFER, encode_offer(offer))
        final = self.path / str(offer.height)
        if final.exists():  # of before a block was taken back
            shutil.rmtree(final)
        draft.rename(final)
        sync_folder(self.path)
        for height in self.heights()[KEPT:]:
            shutil.rmtree(self.path / str(height))


def write_chunks(
    draft: Path, entries: Iterable[tuple[bytes, bytes]], stop: Callable[[], bool]
) -> tuple[list[bytes], int] | None:
    """The hash of each chunk and the bytes of all; None when told to stop. Raises OSError, StoreError, SnapshotError."""
    hashes: list[bytes] = []
    total = 0
    for index, chunk in enumerate(chunks_of(entries)):
        if stop():
            return None
        if index == MAX_CHUNKS:
            raise SnapshotError(f"the state needs more than {MAX_CHUNKS} chunks")
        OS_DISK.replace(draft / str(index), chunk)
        hashes.append(digest(chunk))
        total += len(chunk)
    return hashes, total


class SnapshotTaker:
    """Takes a snapshot after every `interval` blocks (0: none) beside the node's other work, one at a time."""

    def __init__(self, folder: SnapshotFolder, ledger: Ledger, tip: Tip, interval: int) -> None:
        self._folder = folder
        self._ledger = ledger
        self._tip = tip
        self._interval = interval
        self._task: asyncio.Task[None] | None = None
        self._thread: asyncio.Future[Any] | None = None
        self._stopping = Event()

    def applied(self, height: int) -> None:
        """To be called right after the block was applied, before the next one."""
        busy = self._task is not None and not self._task.done()
        if self._interval == 0 or height % self._interval or busy:
            return
        validators = self._ledger.view.get(VALIDATORS)
        assert validators is not None, "the state names its validators"
        entries = self._ledger.store.state_entries()  # fixed now: later blocks do not show in it
        self._task = asyncio.create_task(self._take(height, entries, validators), name="snapshot")

    async def _take(self, height: int, entries: Iterable[tuple[bytes, bytes]], validators: bytes) -> None:
        """A snapshot that fails is missed by nobody: the node says so and goes on."""
        try:
            draft = self._folder.begin(height)
            writing = self._in_thread(lambda: write_chunks(draft, entries, self._stopping.is_set))
            await self._tip.reach(height + 1)
            proof = make_offer(self._ledger.store, height, validators, (), 0)  # now: the next block may soon be pruned
            written = await asyncio.shield(writing)
            if written is None:
                return
            if proof is None:
                raise SnapshotError(f"block {height + 1}, which proves it, is not kept any more: keep more blocks")
            offer = replace(proof, chunk_hashes=tuple(written[0]), total_bytes=written[1])
            await asyncio.shield(self._in_thread(lambda: self._folder.finish(draft, offer)))
            log.info("snapshot", height=height, chunks=len(offer.chunk_hashes), bytes=offer.total_bytes)
        except (OSError, StoreError, CorruptStoreError, SnapshotError) as error:
            log.error("snapshot_failed", height=height, reason=str(error))

    def _in_thread(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Shield it where it is awaited: `stop` waits for it to end by itself."""
        future = asyncio.ensure_future(asyncio.to_thread(work))
        self._thread = future
        return future

    async def stop(self) -> None:
        """Returns once nothing reads the store or writes to the folder any more."""
        self._stopping.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._thread is not None:
            await asyncio.gather(self._thread, return_exceptions=True)


def answers(folder: SnapshotFolder) -> dict[str, Callable[[bytes], bytes | None]]:
    """What members may ask about snapshots, by the method's name. What cannot be read is not here."""

    def newest(raw: bytes) -> bytes | None:
        for height in folder.heights():
            try:
                offer = folder.offer(height)
                decode_offer(offer)
            except (OSError, ValueError) as error:
                log.error("snapshot_damaged", height=height, reason=str(error))
                continue
            return pb.GetSnapshotResponse(offer=offer).SerializeToString()
        return None

    def chunk(raw: bytes) -> bytes | None:
        request = pb.GetSnapshotChunkRequest()
        try:
            request.ParseFromString(raw)
        except DecodeError as error:
            raise ValueError("bytes that are no request for a chunk") from error
        try:
            found = folder.chunk(request.height, request.index)
        except OSError as error:
            log.error("snapshot_damaged", height=request.height, reason=str(error))
            return None
        return None if found is None else pb.GetSnapshotChunkResponse(chunk=found).SerializeToString()

    return {"GetSnapshot": newest, "GetSnapshotChunk": chunk}
