"""The one thing the ledger asks of a disk: ordered keys, atomic synced batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol


class Reader(Protocol):
    def get(self, key: bytes, /) -> bytes | None: ...


class KV(Reader, Protocol):
    def write(self, puts: Iterable[tuple[bytes, bytes]], deletes: Iterable[bytes] = (), *, sync: bool = True) -> None:
        """All or nothing, also across a power cut; with `sync` it is on the disk when this returns."""
        ...

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with start <= key < stop, in key order."""
        ...

    def compact(self, start: bytes, stop: bytes) -> None:
        """Gives the space of deleted keys in the range back to the disk."""
        ...

    def close(self) -> None: ...
