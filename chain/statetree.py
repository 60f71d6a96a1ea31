"""The authenticated state: a 16-way tree over the nibbles of the places of its keys, updated once for each block.

`chain.stateproof` defines what is hashed, `chain.staterecord` says what is stored: a record for each key, and few rows.
A subtree of more than PAGE_RECORDS keys has a row. One of fewer keys is a page: it is made of its records when it is read,
and kept in memory as just what is hashed, where short values can be read without the store. A row above nothing but pages
is made of its records too: fifteen rows of sixteen are such, every change would write one again, and to read one takes at
most 16 pages. What a changed key costs on disk is therefore its record, and rows that it shares with hundreds of others.

Which subtrees have a row is a function of the keys alone, and so is everything that is stored. Paths instead of hashes as
names mean that a block overwrites what it replaces, so that nothing needs collecting.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from chain.hashes import HASH_BYTES, ZERO_HASH
from chain.kv import KV, StoreCorruptError
from chain.state import StateChange
from chain.statearrays import places_in_order, short_values
from chain.statememory import ELSEWHERE, TreeMemory
from chain.statepages import PAGE_BYTES, ROW_BYTES, ROW_HASHES_BYTES, SLOTS, child_hash, row_hash, row_numbers, row_of
from chain.stateplan import Planning, TreeChange
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
from chain.staterecord import STATE, TREE, decode_record, value_in

DEFAULT_MEMORY_BYTES = 320 << 20  # all of a tree of four million keys

_ROW_RECORDS = FANOUT * PAGE_RECORDS  # of the largest row that is made of its records


class StateTree:
    """The state kept in `kv`, standing at `root`.

    Raises StoreCorruptError, on opening or later, where the store does not hold the state of that root: every page and
    row is checked against the hash above it when it is read. About `memory_bytes` of pages are kept in memory.
    """

    def __init__(self, kv: KV, root: bytes = ZERO_HASH, memory_bytes: int = DEFAULT_MEMORY_BYTES) -> None:
        self.root = root
        self.memory = TreeMemory(memory_bytes)
        self._kv = kv
        try:
            self._open()
        except StoreCorruptError as fault:
            raise StoreCorruptError(
                f"The stored state is not the one with the root {root.hex()}. Sync this node anew."
            ) from fault

    def plan(self, writes: Mapping[bytes, bytes | None]) -> TreeChange:
        """What setting these keys (None deletes) does to the state. Changes nothing; call once for each block."""
        return Planning(self).of(writes)

    def adopt(self, change: StateChange) -> None:
        """Moves to the planned version, once its puts and deletes are in the store."""
        assert isinstance(change, TreeChange)
        assert change.before == self.root, "a change is adopted by the version that planned it"
        memory = self.memory
        if change.pages_at_once is not None:
            change.pages_at_once.store(memory)
        for rows in change.rows_at_once:
            rows.store(memory)
        for path in sorted([*change.rows, *change.pages], key=len):  # what stands above comes first
            if path in change.rows:
                memory.put_row(path, change.rows[path])
            else:
                memory.put_page(path, change.pages[path])
        memory.shrink()
        self.root = change.root

    def prove(self, key: bytes, planned: StateChange | None = None) -> StateProof:
        """A proof of what `root` says about `key`: present or absent. Given a planned change, of what its root will."""
        version = TreeChange(self.root, self.root) if planned is None else planned
        assert isinstance(version, TreeChange)
        assert version.before == self.root, "a change is known to the version that planned it"
        way = nibbles(place_of(key))
        siblings: list[bytes] = []
        path, expected = b"", version.root
        is_row = path in version.rows or (path not in version.pages and self._root_is_row)
        while is_row:
            row = self._row_in(version, path, expected)
            slot = way[len(path)]
            at = slot * HASH_BYTES
            siblings.append(row[:at] + row[at + HASH_BYTES : ROW_HASHES_BYTES])
            path, expected, is_row = _child(path, row, slot)
        return StateProof(tuple(siblings), self._page_in(version, path, expected))

    def get(self, key: bytes, /) -> bytes | None:
        """The value of a key. A short one costs no access of the store where its page is in memory."""
        place = place_of(key)
        value = self.memory.value(place)
        if value is not ELSEWHERE:
            return value
        record = self._kv.get(STATE + place)
        return None if record is None else value_in(record, key)

    def many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Their values, in their order. Of a thousand in memory it takes two fifths of the time that `get` of each would."""
        if not keys:
            return []
        places, order = places_in_order(keys)
        values: list[bytes | None] = [None] * len(keys)
        for index, value in zip(order, short_values(self.memory, places), strict=True):
            values[index] = self.get(keys[index]) if value is ELSEWHERE else value
        return values

    def warm(self) -> None:
        """Reads the tree in one pass, as far as it is kept in memory. Page by page, when changes need them, it takes
        several times as long."""
        if not self._root_is_row:
            return
        records = self._records(b"")
        following = next(records, None)
        for path, expected, is_row in self._made_below(b"", self.root, True):
            if self.memory.used_bytes > self.memory.limit_bytes:
                return
            stop = _range(path)[1]
            found = []
            while following is not None and following[0] < stop:
                found.append(following)
                following = next(records, None)
            if is_row:
                self._make_row(path, expected, found)
            else:
                self._make_page(path, expected, found)

    # --- reading --------------------------------------------------------------------------------------------------

    def load_page_on(self, place: bytes) -> None:
        """Makes sure that the page on a place's way is in memory."""
        way = nibbles(place)
        path, expected, is_row = b"", self.root, self._root_is_row
        while is_row:
            path, expected, is_row = _child(path, self._row_at(path, expected), way[len(path)])
        self.page_at(path, expected)

    def page_at(self, path: bytes, expected: bytes) -> bytes:
        """The page of this hash at a path."""
        link = self.memory.link(path)
        if link < 0:
            return self.memory.page(-link)
        return self._make_page(path, expected, self._records(path, PAGE_RECORDS + 1))

    def _row_at(self, path: bytes, expected: bytes) -> bytes:
        link = self.memory.link(path)
        if link > 0:
            return self.memory.row(link)
        row = self._stored_row(path, expected)
        return self._make_row(path, expected, self._records(path, _ROW_RECORDS + 1)) if row is None else row

    def _row_in(self, version: TreeChange, path: bytes, expected: bytes) -> bytes:
        row = version.rows.get(path)
        number = self.memory.link(path)
        if row is None and number > 0:
            row = next(filter(None, (rows.row_numbered(number) for rows in version.rows_at_once)), None)
        return self._row_at(path, expected) if row is None else row

    def _page_in(self, version: TreeChange, path: bytes, expected: bytes) -> bytes:
        if expected == ZERO_HASH:
            return b""  # nothing stands there: in memory there may not even be a row above it
        page = version.pages.get(path)
        if page is None and version.pages_at_once is not None:
            page = version.pages_at_once.page(-self.memory.link(path))
        return self.page_at(path, expected) if page is None else page

    @property
    def _root_is_row(self) -> bool:
        return self.memory.link(b"") > 0

    def _open(self) -> None:
        """Reads what stands at the root."""
        first = self._records(b"", PAGE_RECORDS + 1)
        if self._kv.get(TREE) is not None or sum(1 for _ in first) > PAGE_RECORDS:
            self._row_at(b"", self.root)
        else:
            self.page_at(b"", self.root)

    def _records(self, path: bytes, most: int | None = None) -> Iterator[tuple[bytes, bytes]]:
        return islice(self._kv.scan(*_range(path)), most)

    def _stored_row(self, path: bytes, expected: bytes) -> bytes | None:
        row = self._kv.get(TREE + path)
        if row is None:
            return None
        if len(row) != ROW_BYTES or row_hash(row) != expected:
            raise _damaged(path)
        self.memory.put_row(path, row)
        return row

    def _make_row(self, path: bytes, expected: bytes, entries: Iterable[tuple[bytes, bytes]]) -> bytes:
        row, pages, larger = row_of(len(path), _page_of(entries))
        if larger or row_hash(row) != expected:
            raise _damaged(path)
        self.memory.put_row(path, row)
        for slot, page in pages.items():
            self.memory.put_page(path + SLOTS[slot], page)
        return row

    def _make_page(self, path: bytes, expected: bytes, entries: Iterable[tuple[bytes, bytes]]) -> bytes:
        page = _page_of(entries)
        if len(page) > PAGE_BYTES or page_hash(page) != expected:
            raise _damaged(path)
        self.memory.put_page(path, page)
        return page

    def _made_below(self, path: bytes, expected: bytes, is_row: bool) -> Iterator[tuple[bytes, bytes, bool]]:
        """(path, hash, whether it is a row) of all that is made of records, in the order of places."""
        row = self._stored_row(path, expected) if is_row else None
        if row is None:
            yield path, expected, is_row
            return
        for slot in range(FANOUT):
            child, hashed, has_row = _child(path, row, slot)
            if hashed != ZERO_HASH:
                yield from self._made_below(child, hashed, has_row)


def _child(path: bytes, row: bytes, slot: int) -> tuple[bytes, bytes, bool]:
    """Path and hash of a child, and whether it has a row."""
    return path + SLOTS[slot], child_hash(row, slot), bool(row_numbers(row)[1] >> slot & 1)


def _range(path: bytes) -> tuple[bytes, bytes]:
    """Where the records below `path` begin, and where they have ended."""
    first = first_on(path)
    return STATE + first, STATE + last_beside(first, len(path)) + b"\x00"


def _page_of(entries: Iterable[tuple[bytes, bytes]]) -> bytes:
    """What stands in a page for entries of the store."""
    return b"".join([stored[len(STATE) :] + value_field(decode_record(record)[1]) for stored, record in entries])


def _damaged(path: bytes) -> StoreCorruptError:
    return StoreCorruptError(f"The state below {path.hex()!r} is missing or damaged. Sync this node anew.")
