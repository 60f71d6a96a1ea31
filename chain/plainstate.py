"""The state as `chain.stateproof` defines it, with nothing to make it fast: for computing blocks again where numpy, on which
`chain.statetree` stands, is not built for the interpreter; and a second opinion on what that makes of the definition.

All pairs are kept in memory. Of the store it reads and writes the records only.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from chain.hashes import ZERO_HASH
from chain.kv import KV, StoreCorruptError
from chain.state import StateChange
from chain.stateproof import (
    FANOUT,
    PAGE_RECORDS,
    StateProof,
    first_on,
    last_beside,
    nibbles,
    page_hash,
    place_of,
    value_field,
)
from chain.staterecord import STATE, decode_record, encode_record


class _Version:
    """The pairs of one moment, by place; `hashes` are those of subtrees already known, by path."""

    def __init__(self, pairs: Mapping[bytes, tuple[bytes, bytes]], hashes: dict[bytes, bytes]) -> None:
        self.pairs = pairs
        self.hashes = hashes
        self._places = sorted(pairs)

    def hash(self, path: bytes) -> bytes:
        known = self.hashes.get(path)
        if known is None:
            places = self._below(path)
            known = self.hashes[path] = (
                page_hash(self._records(places))
                if len(places) <= PAGE_RECORDS
                else sha256(b"".join(map(self.hash, _children(path)))).digest()
            )
        return known

    def proof(self, key: bytes) -> StateProof:
        way = nibbles(place_of(key))
        siblings: list[bytes] = []
        path = b""
        while len(places := self._below(path)) > PAGE_RECORDS:
            following = way[: len(path) + 1]
            siblings.append(b"".join(self.hash(child) for child in _children(path) if child != following))
            path = following
        return StateProof(tuple(siblings), self._records(places))

    def _below(self, path: bytes) -> list[bytes]:
        first = first_on(path)
        return self._places[
            bisect_left(self._places, first) : bisect_right(self._places, last_beside(first, len(path)))
        ]

    def _records(self, places: list[bytes]) -> bytes:
        return b"".join([place + value_field(self.pairs[place][1]) for place in places])


@dataclass(frozen=True, slots=True)
class _PlainChange(StateChange):
    version: _Version | None = None


class PlainState:
    """The state whose records `kv` holds. Raises StoreCorruptError where they are not those of `root`."""

    def __init__(self, kv: KV, root: bytes = ZERO_HASH) -> None:
        stored = kv.scan(STATE, bytes((STATE[0] + 1,)))
        self._version = _Version({place[len(STATE) :]: decode_record(raw) for place, raw in stored}, {})
        if self.root != root:
            raise StoreCorruptError(f"The stored state is not the one with the root {root.hex()}. Sync this node anew.")

    @property
    def root(self) -> bytes:
        return self._version.hash(b"")

    def warm(self) -> None:
        """All is in memory."""

    def get(self, key: bytes, /) -> bytes | None:
        found = self._version.pairs.get(place_of(key))
        return None if found is None else found[1]

    def many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return [self.get(key) for key in keys]

    def plan(self, writes: Mapping[bytes, bytes | None]) -> StateChange:
        pairs = dict(self._version.pairs)
        stale: set[bytes] = set()
        puts: list[tuple[bytes, bytes]] = []
        deletes: list[bytes] = []
        for key, value in writes.items():
            place = place_of(key)
            if self.get(key) == value:
                continue
            way = nibbles(place)
            stale.update(way[:depth] for depth in range(len(way) + 1))
            if value is None:
                del pairs[place]
                deletes.append(STATE + place)
            else:
                pairs[place] = key, value
                puts.append((STATE + place, encode_record(key, value)))
        hashes = {path: known for path, known in self._version.hashes.items() if path not in stale}
        version = _Version(pairs, hashes)
        return _PlainChange(self.root, version.hash(b""), puts, deletes, version)

    def adopt(self, change: StateChange) -> None:
        assert isinstance(change, _PlainChange)
        assert change.version is not None
        assert change.before == self.root, "a change is adopted by the version that planned it"
        self._version = change.version

    def prove(self, key: bytes, planned: StateChange | None = None) -> StateProof:
        if planned is None:
            return self._version.proof(key)
        assert isinstance(planned, _PlainChange)
        assert planned.version is not None
        return planned.version.proof(key)


def _children(path: bytes) -> list[bytes]:
    return [path + bytes((slot,)) for slot in range(FANOUT)]
