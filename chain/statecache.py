"""The newest state with the values that were used last kept in memory: a busy account is looked up once, not in every block."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Protocol

from chain.kv import Reader

FETCHED_AT_ONCE = 16
"""Fewer are read sooner one by one."""
DEFAULT_VALUES = 131_072
LARGEST_BYTES = 1_024  # larger values are rare and would make the bound on their number none on memory


class ManyReader(Reader, Protocol):
    def many(self, keys: Sequence[bytes]) -> list[bytes | None]: ...


class _Values(dict[bytes, bytes | None]):
    """Looks up in `stored` what is not here, and keeps it: a found value then costs no call of Python's, and nearly all are
    found."""

    __slots__ = ("limit", "stored")

    limit: int
    stored: Callable[[bytes], bytes | None]

    def __missing__(self, key: bytes) -> bytes | None:
        value = self.stored(key)
        if value is None or len(value) <= LARGEST_BYTES:
            self[key] = value
            if len(self) > self.limit:
                self.shrink()
        return value

    def shrink(self) -> None:
        """Drops what was kept first, if there is more than the limit."""
        while len(self) > self.limit:
            for old in list(islice(self, self.limit // 4 + 1)):
                del self[old]


class StateCache:
    """Reads what `state` reads. It is right as long as every change of the state is told to `applied`."""

    __slots__ = ("_many", "_values", "get")

    def __init__(self, state: ManyReader, limit: int = DEFAULT_VALUES) -> None:
        self._values = _Values()
        self._many = state.many
        self._values.stored, self._values.limit = state.get, limit
        self.get: Callable[[bytes], bytes | None] = self._values.__getitem__

    def many(self, keys: Iterable[bytes]) -> dict[bytes, bytes | None]:
        """The values of all these keys, in their order."""
        get = self.get
        return {key: get(key) for key in keys}

    def lacks_some(self, keys: Iterable[bytes]) -> bool:
        values = self._values
        return any(key not in values for key in keys)

    def fetch(self, keys: Iterable[bytes]) -> None:
        """Reads what is not here of these, all at once, for whoever is going to ask."""
        values = self._values
        missing = list({key: None for key in keys if key not in values})
        if len(missing) < FETCHED_AT_ONCE:
            return
        for key, value in zip(missing, self._many(missing), strict=True):
            if value is None or len(value) <= LARGEST_BYTES:
                values[key] = value
        values.shrink()

    def applied(self, changed: Mapping[bytes, bytes | None]) -> None:
        """After these changes (None: deleted) are in the store."""
        values = self._values
        values.update(changed)
        for key, value in changed.items():
            if value is not None and len(value) > LARGEST_BYTES:
                del values[key]
        values.shrink()
