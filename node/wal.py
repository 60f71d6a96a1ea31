"""The write-ahead log: what this validator promised, on the disk before anyone else can see it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from node.events import LogRecord
from node.files import OS_DISK, Disk
from node.walcodec import HEADER_BYTES, MAGIC, SALT_BYTES, WalCorruptError, encode_frame, height_of, scan

ROTATE_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Recovered:
    """What an opened log held, in order; `torn_bytes` of an unfinished last append were cut off."""

    records: tuple[LogRecord, ...]
    torn_bytes: int


class WriteAheadLog:
    """An append is durable as a whole when `append` returns. Made by `open`."""

    def __init__(self, path: Path, salt: bytes, size: int, disk: Disk, rotate_bytes: int) -> None:
        self._path = path
        self._salt = salt
        self._size = size
        self._disk = disk
        self._rotate_bytes = rotate_bytes
        self._descriptor = disk.open_append(path)

    @classmethod
    def open(
        cls, path: Path, disk: Disk = OS_DISK, rotate_bytes: int = ROTATE_BYTES
    ) -> tuple[WriteAheadLog, Recovered]:
        """Recovers to the last whole record. Raises WalCorruptError for damage that no crash explains, or OSError."""
        data = disk.read(path) or b""
        if len(data) < HEADER_BYTES:
            # A header is written whole and renamed into place: a shorter file was never a log with records.
            salt = disk.entropy(SALT_BYTES)
            disk.replace(path, MAGIC + salt)
            return cls(path, salt, HEADER_BYTES, disk, rotate_bytes), Recovered((), len(data))
        try:
            scanned = scan(data)
        except WalCorruptError as error:
            raise WalCorruptError(
                f"The write-ahead log {path} is damaged: {error}. It holds this validator's own votes, so starting "
                "without it risks signing twice. Restore it from the disk's own copy, or move the validator to a new key."
            ) from error
        torn_bytes = len(data) - scanned.good_bytes
        if torn_bytes:
            disk.replace(path, data[: scanned.good_bytes])
        salt = data[len(MAGIC) : HEADER_BYTES]
        return cls(path, salt, scanned.good_bytes, disk, rotate_bytes), Recovered(scanned.records, torn_bytes)

    @property
    def size_bytes(self) -> int:
        return self._size

    def append(self, records: tuple[LogRecord, ...]) -> None:
        """One write and one sync for all of them. An OSError here must stop the node: the promise is not kept."""
        if not records:
            return
        frame = encode_frame(records, self._salt, self._size)
        self._disk.append(self._descriptor, frame)
        self._disk.sync(self._descriptor)
        self._size += len(frame)

    def start_height(self, height: int) -> None:
        """Everything below `height` is final and in the store. Dropped only once the log is large: no sync of its own
        in the common case, since readers of the log filter by height anyway."""
        if self._size <= self._rotate_bytes:
            return
        kept = tuple(r for r in scan(self._disk.read(self._path) or b"").records if height_of(r) >= height)
        salt = self._disk.entropy(SALT_BYTES)
        frame = encode_frame(kept, salt, HEADER_BYTES) if kept else b""
        self._disk.close(self._descriptor)
        self._disk.replace(self._path, MAGIC + salt + frame)
        self._descriptor = self._disk.open_append(self._path)
        self._salt, self._size = salt, HEADER_BYTES + len(frame)

    def close(self) -> None:
        self._disk.close(self._descriptor)
