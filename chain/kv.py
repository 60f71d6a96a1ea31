"""The one thing the ledger asks of a disk: ordered keys, atomic synced batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol


class StoreError(Exception):
    """The store cannot do what was asked; the message is a sentence that says why and what to do."""


class StoreLockedError(StoreError):
    """Another process has the store open."""


class StoreCorruptError(StoreError):
    """What the disk gives back is not what was written."""


class Reader(Protocol):
    def get(self, key: bytes, /) -> bytes | None: ...


class KV(Reader, Protocol):
    """Every method raises StoreError when the store fails or is closed."""

    def write(self, puts: Iterable[tuple[bytes, bytes]], deletes: Iterable[bytes] = (), *, sync: bool = True) -> None:
        """All or nothing, also across a power cut; with `sync` it is on the disk when this returns.

        Of several puts of a key the last stands; a key that is both put and deleted is gone.
        """
        ...

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with start <= key < stop, in key order, as they stand at the call: later writes do not show."""
        ...

    def compact(self, start: bytes, stop: bytes) -> None:
        """Gives the space of deleted keys in the range back to the disk."""
        ...

    def close(self) -> None: ...
