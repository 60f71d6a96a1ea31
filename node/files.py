"""The few disk operations that durability rests on, as one value, so that a test can watch or break them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Disk(Protocol):
    """Every method raises OSError."""

    def read(self, path: Path) -> bytes | None:
        """The whole file; None where there is none."""
        ...

    def entropy(self, count: int) -> bytes:
        """Random bytes."""
        ...

    def open_append(self, path: Path) -> int:
        """A descriptor that appends; the file is made, readable by its owner only, if it is not there."""
        ...

    def append(self, descriptor: int, data: bytes) -> None:
        """Writes all of `data` at the end."""
        ...

    def sync(self, descriptor: int) -> None:
        """Returns once everything written to it is on the disk."""
        ...

    def close(self, descriptor: int) -> None: ...

    def replace(self, path: Path, data: bytes) -> None:
        """The file is `data` afterwards, or what it was before: never anything between, also across a power cut."""
        ...


@dataclass(frozen=True, slots=True)
class OsDisk:
    """The real one."""

    def read(self, path: Path) -> bytes | None:
        return path.read_bytes() if path.exists() else None

    def entropy(self, count: int) -> bytes:
        return os.urandom(count)

    def open_append(self, path: Path) -> int:
        existed = path.exists()
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        if not existed:
            sync_folder(path.parent)
        return descriptor

    def append(self, descriptor: int, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]

    def sync(self, descriptor: int) -> None:
        os.fdatasync(descriptor)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def replace(self, path: Path, data: bytes) -> None:
        draft = path.with_name(path.name + ".new")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            self.append(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(draft, path)
        sync_folder(path.parent)


OS_DISK = OsDisk()


def sync_folder(folder: Path) -> None:
    """Makes a new or renamed entry of a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
