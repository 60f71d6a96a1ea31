"""Writes on top of a view of the state."""

from __future__ import annotations

from contracts.runtime.api import StateView

Writes = dict[bytes, bytes | None]
"""New values by key; None deletes."""


class Overlay:
    """Reads what was written, else what lies below."""

    __slots__ = ("_base_get", "writes")

    def __init__(self, base: StateView, writes: Writes | None = None) -> None:
        self._base_get = base.get
        self.writes: Writes = {} if writes is None else writes

    def get(self, key: bytes, /) -> bytes | None:
        writes = self.writes
        return writes[key] if key in writes else self._base_get(key)
