"""The ledger's store in memory: for tests and simulations, under the same contract as the one on disk."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping

from chain.kv import StoreError


class MemoryKV:
    """Implements chain.kv.KV. What is written survives as long as the object; `copy` stands for opening it again."""

    def __init__(self, pairs: Mapping[bytes, bytes] | None = None) -> None:
        self._pairs = dict(pairs or {})
        self._keys = sorted(self._pairs)
        self._added: list[bytes] = []
        self._has_deleted = False
        self._closed = False

    def get(self, key: bytes, /) -> bytes | None:
        self._check_open()
        return self._pairs.get(key)

    def write(self, puts: Iterable[tuple[bytes, bytes]], deletes: Iterable[bytes] = (), *, sync: bool = True) -> None:
        self._check_open()
        # Both are drawn whole before the first change: an iterable that raises half-way leaves nothing behind.
        new, gone = dict(puts), list(deletes)
        self._added += [key for key in new if key not in self._pairs]
        self._pairs.update(new)
        for key in gone:
            if self._pairs.pop(key, None) is not None:
                self._has_deleted = True

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        self._check_open()
        keys = self._sorted_keys()
        found = keys[bisect_left(keys, start) : bisect_left(keys, stop)]
        return iter([(key, self._pairs[key]) for key in found])

    def compact(self, start: bytes, stop: bytes) -> None:
        self._check_open()

    def close(self) -> None:
        self._closed = True

    def copy(self) -> MemoryKV:
        return MemoryKV(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def _sorted_keys(self) -> list[bytes]:
        """Sorting is put off until somebody scans; two sorted runs then merge in linear time."""
        if self._has_deleted:
            self._keys = sorted(self._pairs)
        elif self._added:
            self._keys += sorted(self._added)
            self._keys.sort()
        self._added, self._has_deleted = [], False
        return self._keys

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("This store is closed.")
