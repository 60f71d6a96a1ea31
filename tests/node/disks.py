"""A disk for tests: keeps the order of what was asked of it, and forgets what was not synced when the power goes."""

from __future__ import annotations

from pathlib import Path


class PowerCutError(OSError):
    """The power went at this operation."""


class FakeDisk:
    """Files in memory, each as (content, durable content). `trace` lists the operations in order; `cut_at` names the
    operation, counted from 0, at which the power goes."""

    def __init__(self, cut_at: int | None = None) -> None:
        self.files: dict[Path, bytes] = {}
        self.durable: dict[Path, bytes] = {}
        self.trace: list[str] = []
        self.cut_at = cut_at
        self._open: dict[int, Path] = {}

    def _did(self, operation: str) -> None:
        if self.cut_at is not None and len(self.trace) >= self.cut_at:
            raise PowerCutError(operation)
        self.trace.append(operation)

    def read(self, path: Path) -> bytes | None:
        return self.files.get(path)

    def entropy(self, count: int) -> bytes:
        return bytes(range(count))

    def open_append(self, path: Path) -> int:
        self.files.setdefault(path, b"")
        descriptor = len(self._open) + 3
        self._open[descriptor] = path
        return descriptor

    def append(self, descriptor: int, data: bytes) -> None:
        self._did("append")
        self.files[self._open[descriptor]] += data

    def sync(self, descriptor: int) -> None:
        self._did("sync")
        path = self._open[descriptor]
        self.durable[path] = self.files[path]

    def close(self, descriptor: int) -> None:
        del self._open[descriptor]

    def replace(self, path: Path, data: bytes) -> None:
        self._did("replace")
        self.files[path] = self.durable[path] = data

    def after_power_cut(self, torn: dict[Path, int] | None = None) -> FakeDisk:
        """What a restart finds: the durable bytes, and of the unsynced ones as many as `torn` says."""
        restarted = FakeDisk()
        for path, data in self.durable.items():
            kept = len(data) + (torn or {}).get(path, 0)
            restarted.files[path] = restarted.durable[path] = self.files[path][:kept]
        return restarted
