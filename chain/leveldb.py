"""The ledger's store on disk: LevelDB through plyvel, with checksums verified on every read."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import plyvel

from chain.kv import StoreCorruptError, StoreError, StoreLockedError

_BLOCK_CACHE_BYTES = 16 << 20
# A block of the ledger writes some megabytes, the same tree nodes again and again: what is overwritten before the buffer is
# full never reaches a table. At most two such buffers are in memory.
_WRITE_BUFFER_BYTES = 32 << 20
_BLOOM_BITS_PER_KEY = 10  # one false positive in a hundred
_OPEN_FILES = 256
_KEPT_BATCH_BYTES = 16 << 20


class LevelKV:
    """Implements chain.kv.KV in the folder `path`, made if it is not there (its parents too).

    Raises StoreLockedError if another process has it open, StoreCorruptError if its files are damaged, else StoreError. After a
    failed write (a full disk, say) LevelDB refuses all further ones: stop, mend the cause, open again. What was written
    before stands.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with self._faults("open"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = plyvel.DB(
                str(self.path),
                create_if_missing=True,
                paranoid_checks=True,
                lru_cache_size=_BLOCK_CACHE_BYTES,
                write_buffer_size=_WRITE_BUFFER_BYTES,
                bloom_filter_bits=_BLOOM_BITS_PER_KEY,
                compression=None,  # hashes hardly shrink; filling and changing a tree took 7.0 s without, 8.7 s with it
                max_open_files=_OPEN_FILES,
            )
            self._get = self._db.get
        # Written batches, empty again: a new one would grow to a block's megabytes anew, in memory that is new to the process.
        self._spare_batches: list[Any] = []

    def get(self, key: bytes, /) -> bytes | None:
        try:  # the hottest line of a node: no context manager here
            value: bytes | None = self._get(key, verify_checksums=True)
        except (plyvel.Error, RuntimeError) as fault:
            raise self._explained("read", fault) from fault
        return value

    def write(self, puts: Iterable[tuple[bytes, bytes]], deletes: Iterable[bytes] = (), *, sync: bool = True) -> None:
        spare = self._spare_batches if sync else []
        with self._faults("write"):
            try:  # not looked at first: another thread may take it in between
                batch = spare.pop()
            except IndexError:
                batch = self._db.write_batch(sync=sync)
        put, delete = batch.put, batch.delete
        for key, value in puts:
            put(key, value)
        for key in deletes:
            delete(key)
        with self._faults("write"):
            batch.write()
        if batch.approximate_size() <= _KEPT_BATCH_BYTES:
            batch.clear()
            spare.append(batch)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        if start >= stop:
            return iter(())
        with self._faults("read"):
            # Made here and not at the first step of a generator, so that it shows the store as it is at the call.
            pairs = self._db.iterator(start=start, stop=stop, verify_checksums=True)
        return self._drawn(pairs)

    def compact(self, start: bytes, stop: bytes) -> None:
        with self._faults("compact"):
            self._db.compact_range(start=start, stop=stop)

    def close(self) -> None:
        self._spare_batches.clear()
        self._db.close()

    def _drawn(self, pairs: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        try:  # once around all of it, not around each pair: a large state has millions
            yield from pairs
        except (plyvel.Error, OSError, RuntimeError) as fault:
            raise self._explained("read", fault) from fault

    @contextmanager
    def _faults(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (plyvel.Error, OSError, RuntimeError) as fault:
            raise self._explained(doing, fault) from fault

    def _explained(self, doing: str, fault: Exception) -> StoreError:
        """The fault of LevelDB or the system as a sentence."""
        text = str(fault).removesuffix(".")
        where = f"the store in {self.path}"
        if isinstance(fault, RuntimeError):
            return StoreError(f"Cannot {doing} {where}: it is closed.")
        if isinstance(fault, plyvel.CorruptionError) or "orruption" in text:
            return StoreCorruptError(
                f"Cannot {doing} {where}: its files are damaged ({text}). Restore or sync it anew."
            )
        if "lock" in text.lower():
            return StoreLockedError(f"Cannot {doing} {where}: another process has it open. Stop that one first.")
        if "No space left" in text or getattr(fault, "errno", None) == errno.ENOSPC:
            return StoreError(f"Cannot {doing} {where}: the disk is full. Free some space and start again.")
        if "ermission denied" in text or "ead-only" in text:
            return StoreError(f"Cannot {doing} {where}: no permission to write there ({text}).")
        return StoreError(f"Cannot {doing} {where}: {text}.")
