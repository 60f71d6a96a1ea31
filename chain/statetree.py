"""The authenticated state: a 16-way tree over the nibbles of the places of its keys, updated once for each block.

`chain.stateproof` defines what is hashed. Here is how it is kept:

    s<place>      a record, one for each key: the key and its value (`chain.staterecord`)
    n<path>       a row of which a child has a row (`chain.statepages`); the path is one byte (0 to 15) a level

A subtree of more than PAGE_RECORDS keys has a row. One of fewer keys is a page: it is made of its records when it is read,
and kept in memory as just what is hashed, where short values can be read without the store. A row above nothing but pages
is made of its records too: fifteen rows of sixteen are such, every change would write one again, and to read one takes at
most 16 pages. What a changed key costs on disk is therefore its record, and rows that it shares with hundreds of others.

Which subtrees have a row is a function of the keys alone, and so is everything that is stored. Paths instead of hashes as
names mean that a block overwrites what it replaces, so that nothing needs collecting.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from chain.hashes import HASH_BYTES, ZERO_HASH
from chain.kv import KV, StoreCorruptError
from chain.statepages import (
    PAGE_BYTES,
    PAGES_ONLY,
    ROW_BYTES,
    ROW_HASHES_BYTES,
    SLOTS,
    child_hash,
    find,
    row_hash,
    row_numbers,
    row_of,
    with_children,
    with_fields,
)
from chain.stateproof import (
    FANOUT,
    MAX_DEPTH,
    PAGE_RECORDS,
    PLACE_BYTES,
    RECORD_BYTES,
    SHORT_VALUE_BYTES,
    StateProof,
    nibbles,
    page_hash,
    place_of,
    value_field,
)
from chain.staterecord import STATE, decode_record, encode_record, value_in

TREE = b"n"
DEFAULT_CACHE_PAGES = 73_728  # all of a tree of a million keys

_ROW_RECORDS = FANOUT * PAGE_RECORDS  # of the largest row that is made of its records
_LAST = b"\xff" * PLACE_BYTES
_HEX = bytes.maketrans(bytes(range(FANOUT)), b"0123456789abcdef")
_DEPTHS_SOUGHT = 12  # no state that fits a disk is deeper, but for keys that somebody searched for

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
        return _Planning(self).of(writes)

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
            at = slot * HASH_BYTES
            siblings.append(row[:at] + row[at + HASH_BYTES : ROW_HASHES_BYTES])
            path, expected, has_row = _child(path, row, slot)
        page = pages.get(path)
        return StateProof(tuple(siblings), self._load(path, expected, False) if page is None else page)

    def get(self, key: bytes, /) -> bytes | None:
        """The value of a key. A short one costs no access of the store where its page is in memory."""
        place = place_of(key)
        way = nibbles(place)
        page = self._pages.get(way[: self._depth]) or self._page_on(way)
        if page is not None:
            at = page.find(place)
            if at % RECORD_BYTES:  # not here, or in the middle of a value
                at = find(page, place)
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

    def page_on(self, way: bytes) -> tuple[bytes, bytes]:
        """The page at the end of a way, and its path."""
        path = way[: self._depth]
        page = self._pages.get(path)
        if page is not None:
            return path, page
        path, expected, has_row = b"", self.root, self._has_row
        while has_row:
            path, expected, has_row = _child(path, self._load(path, expected, True), way[len(path)])
        self._depth = len(path)
        return path, self._load(path, expected, False)

    def row_at(self, path: bytes) -> bytes:
        """The row of a subtree that has one."""
        known = self._rows.get(path)
        if known is not None:
            return known
        expected = self.root
        for depth, slot in enumerate(path):
            expected = child_hash(self._load(path[:depth], expected, True), slot)
        return self._load(path, expected, True)

    def page_at(self, path: bytes, expected: bytes) -> bytes:
        """The page of a subtree that has no row."""
        return self._load(path, expected, False)

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
        if len(row) != ROW_BYTES or row_hash(row) != expected:
            raise _damaged(path)
        self._rows.put(path, row)
        return row

    def _make_row(self, path: bytes, expected: bytes, entries: Iterable[tuple[bytes, bytes]]) -> bytes:
        row, pages, larger = row_of(len(path), _page_of(entries))
        if larger or row_hash(row) != expected:
            raise _damaged(path)
        self._pages.update({path + SLOTS[slot]: page for slot, page in pages.items()})
        self._rows.put(path, row)
        return row

    def _make_page(self, path: bytes, expected: bytes, entries: Iterable[tuple[bytes, bytes]]) -> bytes:
        page = _page_of(entries)
        if len(page) > PAGE_BYTES or page_hash(page) != expected:
            raise _damaged(path)
        self._pages.put(path, page)
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


class _Planning:
    """One batch of changes on its way through the tree: first the pages, then the rows above them, level by level."""

    def __init__(self, tree: StateTree) -> None:
        self._tree = tree
        self._change = TreeChange(tree.root, tree.root)
        self._changed: defaultdict[int, dict[bytes, _Changed]] = defaultdict(dict)  # by depth and path

    def of(self, writes: Mapping[bytes, bytes | None]) -> TreeChange:
        self._change_pages(writes)
        for depth in range(max(self._changed, default=0), 0, -1):
            self._change_rows(depth - 1, self._changed[depth])
        change = self._change
        root, _, _ = self._changed[0].get(b"", (change.before, 0, False))
        return TreeChange(change.before, root, change.puts, change.deletes, change.rows, change.pages)

    def _change_pages(self, writes: Mapping[bytes, bytes | None]) -> None:
        key_at = {place_of(key): key for key in writes}
        places = sorted(key_at)
        values = [writes[key_at[place]] for place in places]
        fields = [None if value is None else value_field(value) for value in values]
        paths, pages, firsts = self._pages_of(places)
        after, changed = with_fields(pages, firsts, places, fields)
        puts, deletes = self._change.puts, self._change.deletes
        for index in changed:
            place, value = places[index], values[index]
            if value is None:
                deletes.append(STATE + place)
            else:
                puts.append((STATE + place, encode_record(key_at[place], value)))
        kept = self._change.pages
        for path, before, page in zip(paths, pages, after, strict=True):
            if len(page) != len(before):
                self._changed[len(path)][path] = self._changed_page(path, before, page)
            elif page != before:  # nothing but values: most pages
                kept[path] = page
                self._changed[len(path)][path] = (page_hash(page), 0, False)

    def _pages_of(self, places: list[bytes]) -> tuple[list[bytes], list[bytes], list[int]]:
        """The pages in which these places (in order) lie: path, page, and which place is the first in each."""
        paths: list[bytes] = []
        pages: list[bytes] = []
        firsts: list[int] = []
        last, page_on = b"", self._tree.page_on
        for index, place in enumerate(places):
            if place > last:
                path, page = page_on(nibbles(place))
                last = _last_beside(place, len(path))
                paths.append(path)
                pages.append(page)
                firsts.append(index)
        return paths, pages, firsts

    def _changed_page(self, path: bytes, before: bytes, page: bytes) -> _Changed:
        grown = (len(page) - len(before)) // RECORD_BYTES
        if len(page) > PAGE_BYTES:
            self._change.pages[path] = None
            return self._built(path, page), grown, True
        self._change.pages[path] = page
        return page_hash(page), grown, False

    def _change_rows(self, depth: int, below: Mapping[bytes, _Changed]) -> None:
        """The rows of this depth after what changed below them."""
        paths = list(dict.fromkeys([path[:depth] for path in below]))
        number = {path: index for index, path in enumerate(paths)}
        rows = [self._tree.row_at(path) for path in paths]
        parents = [number[path[:depth]] for path in below]
        after = with_children(rows, parents, [path[depth] for path in below], list(below.values()))
        changed = self._changed[depth]
        for path, before, row in zip(paths, rows, after, strict=True):
            changed[path] = self._changed_row(path, before, row)

    def _changed_row(self, path: bytes, before: bytes, row: bytes) -> _Changed:
        if row.endswith(PAGES_ONLY) and row.endswith(before[ROW_HASHES_BYTES:]):
            self._change.rows[path] = row  # most rows: as many keys as before, and nothing to store
            return row_hash(row), 0, True
        count, rows = row_numbers(row)
        count_before, rows_before = row_numbers(before)
        if rows:
            self._change.puts.append((TREE + path, row))
        elif rows_before:
            self._change.deletes.append(TREE + path)
        if count <= PAGE_RECORDS:
            return self._folded(path, row), count - count_before, False
        self._change.rows[path] = row
        return row_hash(row), count - count_before, True

    def _folded(self, path: bytes, row: bytes) -> bytes:
        """Makes a page of a subtree that has become too small for a row; its hash. All below it are pages by now."""
        pages = self._change.pages
        records = []
        for slot in range(FANOUT):
            child, hashed, _ = _child(path, row, slot)
            if hashed != ZERO_HASH:
                page = pages.get(child)
                records.append(self._tree.page_at(child, hashed) if page is None else page)
            pages[child] = None
        self._change.rows[path] = None
        page = pages[path] = b"".join(records)
        return page_hash(page)

    def _built(self, path: bytes, records: bytes) -> bytes:
        """Makes a row of these records, which are all of the subtree, and what is below it; its hash."""
        row, pages, larger = row_of(len(path), records)
        self._change.pages.update({path + SLOTS[slot]: page for slot, page in pages.items()})
        if larger:
            above = bytearray(row)
            for slot, below in larger.items():
                at = slot * HASH_BYTES
                above[at : at + HASH_BYTES] = self._built(path + SLOTS[slot], below)
            row = bytes(above)
            self._change.puts.append((TREE + path, row))
        self._change.rows[path] = row
        return row_hash(row)


def _child(path: bytes, row: bytes, slot: int) -> tuple[bytes, bytes, bool]:
    """Path and hash of a child, and whether it has a row."""
    return path + SLOTS[slot], child_hash(row, slot), bool(row_numbers(row)[1] >> slot & 1)


def _range(path: bytes) -> tuple[bytes, bytes]:
    """Where the records below `path` begin, and where they have ended."""
    first = bytes.fromhex(path.translate(_HEX).ljust(MAX_DEPTH, b"0").decode())
    return STATE + first, STATE + _last_beside(first, len(path)) + b"\x00"


def _last_beside(place: bytes, depth: int) -> bytes:
    """The last place that shares the first `depth` nibbles with this one."""
    whole = depth >> 1
    if depth & 1:
        return place[:whole] + bytes((place[whole] | 15,)) + _LAST[whole + 1 :]
    return place[:whole] + _LAST[whole:]


def _page_of(entries: Iterable[tuple[bytes, bytes]]) -> bytes:
    """What stands in a page for entries of the store."""
    return b"".join([stored[len(STATE) :] + value_field(decode_record(record)[1]) for stored, record in entries])


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
