"""A disk that can lose power at any write: what was synced stays, what was not may be gone or torn."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from chain.memory import MemoryKV


class PowerCutError(Exception):
    """The machine stops here, between two writes or in the middle of one."""


@dataclass(slots=True)
class _File:
    synced: bytearray = field(default_factory=bytearray)
    unsynced: bytearray = field(default_factory=bytearray)

    def sync(self, count: int) -> None:
        """So many of the unsynced bytes are safe, the others are gone."""
        self.synced += self.unsynced[:count]
        self.unsynced.clear()


@dataclass(slots=True)
class VirtualDisk:
    """Implements node.files.Disk, and holds the machine's key-value store.

    `cut_in` counts write boundaries down to a power cut (None: none is planned). `full` makes every write fail.
    """

    random: Random
    files: dict[Path, _File] = field(default_factory=dict)
    store: dict[bytes, bytes] = field(default_factory=dict)
    cut_in: int | None = None
    full: bool = False
    _open: dict[int, Path] = field(default_factory=dict)
    _descriptor: int = 0

    # --- node.files.Disk -----------------------------------------------------------------------------------------

    def read(self, path: Path) -> bytes | None:
        file = self.files.get(path)
        return None if file is None else bytes(file.synced + file.unsynced)

    def entropy(self, count: int) -> bytes:
        return self.random.randbytes(count)

    def open_append(self, path: Path) -> int:
        self.files.setdefault(path, _File())
        self._descriptor += 1
        self._open[self._descriptor] = path
        return self._descriptor

    def append(self, descriptor: int, data: bytes) -> None:
        self._boundary()
        self.files[self._open[descriptor]].unsynced += data

    def sync(self, descriptor: int) -> None:
        self._boundary()
        file = self.files[self._open[descriptor]]
        file.sync(len(file.unsynced))
        self._boundary()

    def close(self, descriptor: int) -> None:
        del self._open[descriptor]

    def replace(self, path: Path, data: bytes) -> None:
        self._boundary()
        self.files[path] = _File(bytearray(data))
        self._boundary()

    # --- failing ---------------------------------------------------------------------------------------------------

    def _boundary(self) -> None:
        if self.full:
            raise OSError(28, "no space left on the virtual disk")
        if self.cut_in is not None:
            self.cut_in -= 1
            if self.cut_in <= 0:
                self.cut_in = None
                raise PowerCutError

    def lose_power(self, torn: bool) -> None:
        """What was not synced is gone; with `torn` some prefix of it may have reached the disk."""
        self._open.clear()
        self.cut_in = None
        for file in self.files.values():
            file.sync(self.random.randrange(len(file.unsynced) + 1) if torn else 0)

    def wipe(self) -> None:
        self.files.clear()
        self.store.clear()


class VirtualStore(MemoryKV):
    """The key-value store on a virtual disk: a batch is there as a whole or not at all."""

    def __init__(self, disk: VirtualDisk) -> None:
        super().__init__()
        self._pairs = disk.store  # no copy: what a dead machine still held open nobody reads
        self._has_deleted = True  # so that the next scan sorts
        self._disk = disk

    def write(self, puts: Iterable[tuple[bytes, bytes]], deletes: Iterable[bytes] = (), *, sync: bool = True) -> None:
        new, gone = dict(puts), list(deletes)
        self._disk._boundary()
        self._pairs.update(new)
        for key in gone:
            self._pairs.pop(key, None)
        self._has_deleted = True  # so that the next scan sorts
        self._disk._boundary()
