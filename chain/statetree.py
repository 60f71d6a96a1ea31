"""The authenticated state: a 16-way tree over the nibbles of the places of its keys, updated once for each block.

`chain.stateproof` defines what is hashed. Here is how it is kept:

    s<place>      a record, one for each key: the key and its value (`chain.staterecord`)
    n<path>       a row of which a child has a row; the path is one byte (0 to 15) a level

A subtree of more than PAGE_RECORDS keys has a row

    0x01 | 16 child hashes | u32 number of keys | u16 which children have rows

whose part up to the numbers is exactly what an inner node hashes. A subtree of fewer keys is a page: it is made of its
records when it is read, and kept in memory as just what is hashed, where short values can be read without the store. A row
above nothing but pages is made of its records too: fifteen rows of sixteen are such, every change would write one again,
and to read one takes at most 16 pages. What a changed key costs on disk is therefore its record, and rows that it shares
with hundreds of others.

Which subtrees have a row is a function of the keys alone, and so is everything that is stored. Paths instead of hashes as
names mean that a block overwrites what it replaces, so that nothing needs collecting.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from struct import Struct

from chain.hashes import HASH_BYTES, ZERO_HASH
from chain.kv import KV, StoreCorruptError
from chain.stateproof import (
    FANOUT,
    INNER_TAG,
    MAX_DEPTH,
    PAGE_RECORDS,
    PAGE_TAG,
    PLACE_BYTES,
    RECORD_BYTES,
    SHORT_VALUE_BYTES,
    StateProof,
    nibbles,
    place_of,
    value_field,
)
from chain.staterecord import STATE, decode_record, encode_record, value_in

TREE = b"n"
DEFAULT_CACHE_PAGES = 73_728  # all of a tree of a million keys

_ROW_HEAD = len(INNER_TAG)
_ROW_INNER = _ROW_HEAD + FANOUT * HASH_BYTES  # where the part that is hashed ends
_ROW_NUMBERS = Struct(">IH")
_ROW_BYTES = _ROW_INNER + _ROW_NUMBERS.size
_PAGE_HEAD = len(PAGE_TAG)
_PAGE_BYTES = _PAGE_HEAD + PAGE_RECORDS * RECORD_BYTES  # of the largest
_ROW_RECORDS = FANOUT * PAGE_RECORDS  # of the largest row that is made of its records
_DEPTHS_SOUGHT = 12  # no state that fits a disk is deeper, but for keys that somebody searched for
_SLOTS = [bytes((slot,)) for slot in range(FANOUT)]

# What a change made of a subtree: its hash, how many keys it has more than before, whether it has a row.
_Changed = tuple[bytes, int, bool]


@dataclass(frozen=True, slots=True)
class TreeChange:
    """What a batch of writes does to the state standing at `before`: make `puts` and `deletes` durable, then adopt.

    `rows` and `pages` are by path, as they are kept in memory (None: there is none any more).
    """

    before: bytes
    root: bytes
    puts: list[tuple[bytes, bytes]] = field(default_factory=list)
    deletes: list[bytes] = field(default_factory=list)
    rows: dict[bytes, bytes | None] = field(default_factory=dict)
    pages: dict[bytes, bytes | None] = field(default_factory=dict)


class StateTree:
    """The state kept in `kv`, standing at `root`.

    Raises StoreCorruptError, on opening or later, where the store does not hold the state of that root: every page and
    row is checked against the hash above it when it is read. `cache_pages` bounds the memory: a page of a large tree takes
    0.4 to 6 kB, and as many rows are kept.
    """

    def __init__(self, kv: KV, root: bytes = ZERO_HASH, cache_pages: int = DEFAULT_CACHE_PAGES) -> None:
        self.root = root
        self._kv = kv
        self._rows = _Cache(cache_pages)
        self._pages = _Cache(cache_pages)
        self._depth = 0
        try:
            self._has_row = self._open()
        except StoreCorruptError as fault:
            raise StoreCorruptError(
                f"The stored state is not the one with the root {root.hex()}. Sync this node anew."
            ) from fault

    def plan(self, writes: Mapping[bytes, bytes | None]) -> TreeChange:
        """What setting these keys (None deletes) does to the state. Changes nothing; call once for each block."""
        if not writes:
            return TreeChange(self.root, self.root)
        planning = _Planning(self, writes)
        root, _, _ = planning.change(b"", self.root, self._has_row, 0, len(writes))
        return TreeChange(self.root, root, planning.puts, planning.deletes, planning.rows, planning.pages)

    def adopt(self, change: TreeChange) -> None:
        """Moves to the planned version, once its puts and deletes are in the store."""
        assert change.before == self.root, "a change is adopted by the version that planned it"
        self._rows.update(change.rows)
        self._pages.update(change.pages)
        self._has_row = change.rows.get(b"", b"" if self._has_row else None) is not None
        self.root = change.root

    def prove(self, key: bytes, planned: TreeChange | None = None) -> StateProof:
        """A proof of what `root` says about `key`: present or absent. Given a planned change, of what its root will."""
        root, has_row = self.root, self._has_row
        rows: Mapping[bytes, bytes | None] = {}
        pages: Mapping[bytes, bytes | None] = {}
        if planned is not None:
            assert planned.before == self.root, "a change is known to the version that planned it"
            root, rows, pages = planned.root, planned.rows, planned.pages
            has_row = rows.get(b"", b"" if has_row else None) is not None
        way = nibbles(place_of(key))
        siblings: list[bytes] = []
        path, expected = b"", root
        while has_row:
            row = rows.get(path) or self._load(path, expected, True)
            slot = way[len(path)]
            at = _ROW_HEAD + slot * HASH_BYTES
            siblings.append(row[_ROW_HEAD:at] + row[at + HASH_BYTES : _ROW_INNER])
            expected = row[at : at + HASH_BYTES]
            has_row = bool(_ROW_NUMBERS.unpack_from(row, _ROW_INNER)[1] >> slot & 1)
            path = way[: len(path) + 1]
        page = pages.get(path) or self._load(path, expected, False)
        return StateProof(tuple(siblings), page[_PAGE_HEAD:])

    def get(self, key: bytes, /) -> bytes | None:
        """The value of a key. A short one costs no access of the store where its page is in memory."""
        place = place_of(key)
        way = nibbles(place)
        page = self._pages.get(way[: self._depth]) or self._page_on(way)
        if page is not None:
            at = _find(page, place)
            if at < 0:
                return None
            length = page[at + PLACE_BYTES]
            if length <= SHORT_VALUE_BYTES:
                at += PLACE_BYTES + 1
                return page[at : at + length]
        record = self._kv.get(STATE + place)
        return None if record is None else value_in(record, key)

    def _page_on(self, way: bytes) -> bytes | None:
        """The page on a key's way, as far as it is in memory."""
        for depth in range(_DEPTHS_SOUGHT):
            page = self._pages.get(way[:depth])
            if page is not None:
                self._depth = depth  # the next key's is likely as deep
                return page
        return None

    def warm(self) -> None:
        """Reads the tree in one pass, as far as it is kept in memory. Page by page, when changes need them, it takes
        several times as long."""
        if not self._has_row:
            return
        records = self._records(b"")
        following = next(records, None)
        pages = 0
        for path, expected, is_row in self._made_below(b"", self.root, True):
            pages += FANOUT if is_row else 1
            if pages > self._pages.limit:
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

    def _open(self) -> bool:
        """Reads what stands at the root; whether it is a row."""
        has_row = self._kv.get(TREE) is not None or sum(1 for _ in self._records(b"", PAGE_RECORDS + 1)) > PAGE_RECORDS
        self._load(b"", self.root, has_row)
        return has_row

    def _load(self, path: bytes, expected: bytes, is_row: bool) -> bytes:
        """A row or a page, as it is kept in memory."""
        known = (self._rows if is_row else self._pages).get(path)
        if known is not None:
            return known
        if not is_row:
            return self._make_page(path, expected, self._records(path, PAGE_RECORDS + 1))
        row = self._stored_row(path, expected)
        return self._make_row(path, expected, self._records(path, _ROW_RECORDS + 1)) if row is None else row

    def _records(self, path: bytes, most: int | None = None) -> Iterator[tuple[bytes, bytes]]:
        return islice(self._kv.scan(*_range(path)), most)

    def _stored_row(self, path: bytes, expected: bytes) -> bytes | None:
        row = self._kv.get(TREE + path)
        if row is None:
            return None
        if len(row) != _ROW_BYTES or _row_hash(row) != expected:
            raise _damaged(path)
        self._rows.put(path, row)
        return row

    def _make_row(self, path: bytes, expected: bytes, entries: Iterable[tuple[bytes, bytes]]) -> bytes:
        records = _records_of(entries)
        row, pages, larger = _row_of(path, records)
        if larger or _row_hash(row) != expected:
            raise _damaged(path)
        self._pages.update(pages)
        self._rows.put(path, row)
        return row

    def _make_page(self, path: bytes, expected: bytes, entries: Iterable[tuple[bytes, bytes]]) -> bytes:
        page = PAGE_TAG + _records_of(entries)
        if len(page) > _PAGE_BYTES or _page_hash(page) != expected:
            raise _damaged(path)
        self._pages.put(path, page)
        return page

    def _made_below(self, path: bytes, expected: bytes, is_row: bool) -> Iterator[tuple[bytes, bytes, bool]]:
        """(path, hash, whether it is a row) of all that is made of records, in the order of places."""
        row = self._stored_row(path, expected) if is_row else None
        if row is None:
            yield path, expected, is_row
            return
        _, rows = _ROW_NUMBERS.unpack_from(row, _ROW_INNER)
        for slot in range(FANOUT):
            at = _ROW_HEAD + slot * HASH_BYTES
            hashed = row[at : at + HASH_BYTES]
            if hashed != ZERO_HASH:
                yield from self._made_below(path + _SLOTS[slot], hashed, bool(rows >> slot & 1))


class _Planning:
    """One batch of changes on its way through the tree. A subtree's changes are `keys[first:stop]`, places in order."""

    def __init__(self, tree: StateTree, writes: Mapping[bytes, bytes | None]) -> None:
        self._rows_known, self._pages_known, self._load = tree._rows.get, tree._pages.get, tree._load
        self._writes = {place_of(key): (key, value) for key, value in writes.items()}
        self._keys = sorted(self._writes)
        self.puts: list[tuple[bytes, bytes]] = []
        self.deletes: list[bytes] = []
        self.rows: dict[bytes, bytes | None] = {}
        self.pages: dict[bytes, bytes | None] = {}

    def change(self, path: bytes, expected: bytes, has_row: bool, first: int, stop: int) -> _Changed:
        return (self._change_row if has_row else self._change_page)(path, expected, first, stop)

    def _change_row(self, path: bytes, expected: bytes, first: int, stop: int) -> _Changed:
        stored = self._rows_known(path) or self._load(path, expected, True)
        row = bytearray(stored)
        count: int
        rows: int
        count, rows = _ROW_NUMBERS.unpack_from(row, _ROW_INNER)
        before, was_stored, keys = count, bool(rows), self._keys
        byte, shift = _nibble_at(len(path))
        while first < stop:
            slot = keys[first][byte] >> shift & 15
            end = self._end_of(slot, byte, shift, first, stop)
            at = _ROW_HEAD + slot * HASH_BYTES
            change = self._change_row if rows >> slot & 1 else self._change_page
            hashed, grown, has_row = change(path + _SLOTS[slot], stored[at : at + HASH_BYTES], first, end)
            row[at : at + HASH_BYTES] = hashed
            if grown:
                count += grown
                rows = rows | 1 << slot if has_row else rows & ~(1 << slot)
            first = end
        if was_stored and not rows:
            self.deletes.append(TREE + path)
        if count <= PAGE_RECORDS:
            return self._folded(path, row), count - before, False
        _ROW_NUMBERS.pack_into(row, _ROW_INNER, count, rows)
        if row == stored:
            return expected, 0, True
        after = self.rows[path] = bytes(row)
        if rows:
            self.puts.append((TREE + path, after))
        return _row_hash(after), count - before, True

    def _end_of(self, slot: int, byte: int, shift: int, first: int, stop: int) -> int:
        """Where the changes of a slot end that begin at `first`."""
        keys = self._keys
        after = first + 1
        if after == stop or keys[after][byte] >> shift & 15 != slot:  # so it is nearly always far down
            return after
        if slot == FANOUT - 1:
            return stop
        beyond = keys[first][:byte] + bytes(((keys[first][byte] >> shift) + 1 << shift,))
        return bisect_left(keys, beyond, after, stop)

    def _folded(self, path: bytes, row: bytearray) -> bytes:
        """Makes a page of a subtree that has become too small for a row; its hash. All below it are pages by now."""
        records = []
        for slot in range(FANOUT):
            at = _ROW_HEAD + slot * HASH_BYTES
            child, hashed = path + _SLOTS[slot], bytes(row[at : at + HASH_BYTES])
            if hashed != ZERO_HASH:
                page = self.pages.get(child) or self._load(child, hashed, False)
                records.append(page[_PAGE_HEAD:])
            self.pages[child] = None
        self.rows[path] = None
        page = self.pages[path] = PAGE_TAG + b"".join(records)
        return _page_hash(page)

    def _change_page(self, path: bytes, expected: bytes, first: int, stop: int) -> _Changed:
        stored = self._pages_known(path) or self._load(path, expected, False)
        many = stop - first > PAGE_RECORDS
        page = self._merged(stored, first, stop) if many else self._replaced(stored, first, stop)
        if page == stored:
            return expected, 0, False
        after = bytes(page)
        grown = (len(after) - len(stored)) // RECORD_BYTES
        if len(after) > _PAGE_BYTES:
            self.pages[path] = None
            return self._built(path, after[_PAGE_HEAD:]), grown, True
        self.pages[path] = after
        return _page_hash(after), grown, False

    def _replaced(self, stored: bytes, first: int, stop: int) -> bytearray:
        """A page after its changes."""
        page = bytearray(stored)
        for place in self._keys[first:stop]:
            key, value = self._writes[place]
            at = _find(page, place)
            if value is None:
                if at > 0:
                    del page[at : at + RECORD_BYTES]
                    self.deletes.append(STATE + place)
                continue
            held = value_field(value)
            if at < 0:
                at = _place_for(page, place)
                page[at:at] = place + held
            elif page.startswith(held, at + PLACE_BYTES):
                continue
            else:
                page[at + PLACE_BYTES : at + RECORD_BYTES] = held
            self.puts.append((STATE + place, encode_record(key, value)))
        return page

    def _merged(self, stored: bytes, first: int, stop: int) -> bytes:
        """The same for more changes than a page holds: one by one, each would move all that stands behind it."""
        records = [stored[at : at + RECORD_BYTES] for at in range(_PAGE_HEAD, len(stored), RECORD_BYTES)]
        standing = {record[:PLACE_BYTES]: record for record in records}
        for place in self._keys[first:stop]:
            key, value = self._writes[place]
            if value is None:
                if standing.pop(place, None) is not None:
                    self.deletes.append(STATE + place)
                continue
            record = place + value_field(value)
            if standing.get(place) != record:
                standing[place] = record
                self.puts.append((STATE + place, encode_record(key, value)))
        return PAGE_TAG + b"".join([standing[place] for place in sorted(standing)])

    def _built(self, path: bytes, records: bytes) -> bytes:
        """Makes a row of these records, which are all of the subtree, and what is below it; its hash."""
        row, pages, larger = _row_of(path, records)
        self.pages.update(pages)
        if larger:
            above = bytearray(row)
            for slot, below in larger.items():
                at = _ROW_HEAD + slot * HASH_BYTES
                above[at : at + HASH_BYTES] = self._built(path + _SLOTS[slot], below)
            row = bytes(above)
            self.puts.append((TREE + path, row))
        self.rows[path] = row
        return _row_hash(row)


def _range(path: bytes) -> tuple[bytes, bytes]:
    """Where the records below `path` begin, and where they have ended."""
    low = path.ljust(MAX_DEPTH, b"\x00")
    high = path.ljust(MAX_DEPTH, b"\x0f")
    return STATE + _packed(low), STATE + _packed(high) + b"\x00"


def _packed(path: bytes) -> bytes:
    """The inverse of `nibbles`."""
    return bytes(high << 4 | low for high, low in zip(path[::2], path[1::2], strict=True))


def _nibble_at(depth: int) -> tuple[int, int]:
    """In which byte of a place the nibble of this depth stands, and how far from its lower end."""
    return depth >> 1, 0 if depth & 1 else 4


def _by_slot(records: bytes, depth: int) -> Iterator[tuple[int, bytes]]:
    """Records in key order by their nibble at `depth`: (nibble, its records)."""
    byte, shift = _nibble_at(depth)
    start, size = 0, len(records)
    while start < size:
        slot = records[start + byte] >> shift & 15
        stop = start + RECORD_BYTES
        while stop < size and records[stop + byte] >> shift & 15 == slot:
            stop += RECORD_BYTES
        yield slot, records[start:stop]
        start = stop


def _find(page: bytes | bytearray, place: bytes) -> int:
    """Where the record of a key stands in a page; -1 where there is none."""
    at = page.find(place)
    while at > 0 and at % RECORD_BYTES != _PAGE_HEAD:  # a value that reads like this place
        at = page.find(place, at + 1)
    return at


def _place_for(page: bytearray, place: bytes) -> int:
    """Where the record of a key belongs that has none in this page."""
    low, high = 0, len(page) // RECORD_BYTES
    while low < high:
        middle = low + high >> 1
        at = _PAGE_HEAD + middle * RECORD_BYTES
        if page[at : at + PLACE_BYTES] < place:
            low = middle + 1
        else:
            high = middle
    return _PAGE_HEAD + low * RECORD_BYTES


def _records_of(entries: Iterable[tuple[bytes, bytes]]) -> bytes:
    """What stands in pages for entries of the store."""
    return b"".join([stored[len(STATE) :] + value_field(decode_record(record)[1]) for stored, record in entries])


def _row_of(path: bytes, records: bytes) -> tuple[bytes, dict[bytes, bytes], dict[int, bytes]]:
    """The row of a subtree's records; its pages by path; and the records of each slot that has too many for a page, whose
    hash is still missing in the row."""
    row = bytearray(_ROW_BYTES)
    row[:_ROW_HEAD] = INNER_TAG
    pages: dict[bytes, bytes] = {}
    larger: dict[int, bytes] = {}
    for slot, below in _by_slot(records, len(path)):
        if len(below) > PAGE_RECORDS * RECORD_BYTES:
            larger[slot] = below
            continue
        page = pages[path + _SLOTS[slot]] = PAGE_TAG + below
        at = _ROW_HEAD + slot * HASH_BYTES
        row[at : at + HASH_BYTES] = _page_hash(page)
    rows = sum(1 << slot for slot in larger)
    _ROW_NUMBERS.pack_into(row, _ROW_INNER, len(records) // RECORD_BYTES, rows)
    return bytes(row), pages, larger


def _page_hash(page: bytes) -> bytes:
    return sha256(page).digest() if len(page) > _PAGE_HEAD else ZERO_HASH


def _row_hash(row: bytes) -> bytes:
    return sha256(row[:_ROW_INNER]).digest()


def _damaged(path: bytes) -> StoreCorruptError:
    return StoreCorruptError(f"The state below {path.hex()!r} is missing or damaged. Sync this node anew.")


class _Cache:
    """Rows or pages by path; beyond the limit, those go that came first."""

    __slots__ = ("_kept", "get", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._kept: dict[bytes, bytes | None] = {}  # None only inside `update`
        self.get = self._kept.get

    def put(self, path: bytes, kept: bytes) -> None:
        self._kept[path] = kept
        self._shrink()

    def update(self, changed: Mapping[bytes, bytes | None]) -> None:
        kept = self._kept
        kept.update(changed)
        if None in changed.values():
            for path in [path for path, value in changed.items() if value is None]:
                del kept[path]
        self._shrink()

    def _shrink(self) -> None:
        kept = self._kept
        if len(kept) > self.limit:
            for path in list(islice(kept, len(kept) - self.limit * 7 // 8)):
                del kept[path]
