"""The authenticated state: a 16-way tree over the nibbles of SHA-256(key), updated once for each block.

`chain.stateproof` defines what is hashed. Here is how it is kept. Under `prefix` there are

    0x10 || key hash     the value's hash: a record, one for each key
    path                 a row, for each subtree of more than PAGE_RECORDS keys; the path is one byte (0 to 15) a level
                         u32 number of keys | u16 which children have rows | 0x01 | 16 child hashes

A row holds from 0x01 on exactly what an inner node hashes. A subtree of fewer keys is a page: its records stand side by
side, and its hashes are made of them when they are read. What a changed key costs on disk is therefore its record and the
rows above it, which it shares with many others; the page is put together in memory, and kept there:

    16 x u8 the number of records up to the end of each slot | 0x01 | 16 child hashes | records in key order (key hash, value hash)

Which subtrees have a row is a function of the keys alone, and so is everything that is stored. Paths instead of hashes as
names mean that a block overwrites what it replaces, so that nothing needs collecting.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from struct import Struct

from chain.hashes import HASH_BYTES, ZERO_HASH
from chain.kv import KV, StoreCorruptError
from chain.stateproof import FANOUT, MAX_DEPTH, StateProof, nibbles

PAGE_RECORDS = 48
"""The most that a page holds. Reading one costs about a microsecond for each record, and so does it in memory in 100 bytes."""
DEFAULT_CACHE_PAGES = 73_728  # all of a tree of a million keys

_RECORD = b"\x10"  # no path begins with it
_RECORD_BYTES = 2 * HASH_BYTES
_HASHES_BYTES = FANOUT * HASH_BYTES
_ROW_HEAD = Struct(">IH")
_ROW_INNER = _ROW_HEAD.size  # where the part that is hashed begins
_ROW_HASHES = _ROW_INNER + 1
_ROW_BYTES = _ROW_HASHES + _HASHES_BYTES
_PAGE_INNER = FANOUT
_PAGE_HASHES = _PAGE_INNER + 1
_PAGE_HEAD = _PAGE_HASHES + _HASHES_BYTES
_EMPTY_PAGE = bytes(FANOUT) + b"\x01" + bytes(_HASHES_BYTES)
_GAPS = tuple(bytes(empty * HASH_BYTES) for empty in range(FANOUT + 1))

# A key's hash, its nibbles, and its value's hash (None: delete).
_Change = tuple[bytes, bytes, bytes | None]
# What a change made of a subtree: its hash, how many keys it has more than before, whether it has a row.
_Changed = tuple[bytes, int, bool]


@dataclass(frozen=True, slots=True)
class TreeChange:
    """What a batch of writes does to the tree standing at `before`: make `puts` and `deletes` durable, then adopt.

    `rows` and `pages` are the same by path, as they are kept in memory (None: there is none any more).
    """

    before: bytes
    root: bytes
    puts: list[tuple[bytes, bytes]] = field(default_factory=list)
    deletes: list[bytes] = field(default_factory=list)
    rows: dict[bytes, bytes | None] = field(default_factory=dict)
    pages: dict[bytes, bytes | None] = field(default_factory=dict)


class StateTree:
    """The tree kept in `kv` under `prefix`, standing at `root`.

    Raises StoreCorruptError, on opening or later, where the store does not hold the tree of that root: every page and
    row is checked against the hash above it when it is read. `cache_pages` bounds the memory: a page takes about 2 kB,
    and as many rows are kept.
    """

    def __init__(
        self, kv: KV, prefix: bytes = b"n", root: bytes = ZERO_HASH, cache_pages: int = DEFAULT_CACHE_PAGES
    ) -> None:
        self.root = root
        self._kv = kv
        self._prefix = prefix
        self._records = prefix + _RECORD
        self._rows = _Cache(cache_pages)
        self._pages = _Cache(cache_pages)
        self._has_row = kv.get(prefix) is not None
        try:
            self._load(b"", root, self._has_row)
        except StoreCorruptError as fault:
            raise StoreCorruptError(
                f"The stored state is not the one with the root {root.hex()}. Sync this node anew."
            ) from fault

    def plan(self, writes: Mapping[bytes, bytes | None]) -> TreeChange:
        """What setting these keys (None deletes) does to the tree. Changes nothing; call once for each block."""
        changes = _sorted_changes(writes)
        planned = TreeChange(self.root, self.root)
        if not changes:
            return planned
        change = self._change_row if self._has_row else self._change_page
        root, _, _ = change(b"", self.root, changes, planned)
        return TreeChange(self.root, root, planned.puts, planned.deletes, planned.rows, planned.pages)

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
        way = nibbles(sha256(key).digest())
        siblings: list[bytes] = []
        path, expected = b"", root
        while has_row:
            row = rows.get(path) or self._load(path, expected, True)
            slot = way[len(path)]
            siblings.append(_without(row[_ROW_HASHES:], slot))
            at = _ROW_HASHES + slot * HASH_BYTES
            expected = row[at : at + HASH_BYTES]
            has_row = bool(_ROW_HEAD.unpack_from(row)[1] >> slot & 1)
            path = way[: len(path) + 1]
        page = pages.get(path) or self._load(path, expected, False)
        return _prove_in_page(page, way, siblings)

    def warm(self) -> None:
        """Reads the tree in one pass, as far as it is kept in memory. Page by page, when changes need them, it takes
        several times as long."""
        if not self._has_row:
            return
        records = self._kv.scan(self._records, self._records + b"\xff" * HASH_BYTES + b"\x00")
        following = next(records, None)
        for path, expected in islice(self._pages_below(b"", self.root), self._pages.limit):
            stop = self._range(path)[1]
            found = []
            while following is not None and following[0] < stop:
                found.append(following)
                following = next(records, None)
            self._keep_page(path, expected, found)

    # --- reading --------------------------------------------------------------------------------------------------

    def _load(self, path: bytes, expected: bytes, is_row: bool) -> bytes:
        """A row or a page, as it is kept in memory."""
        known = (self._rows if is_row else self._pages).get(path)
        if known is not None:
            return known
        if is_row:
            row = self._kv.get(self._prefix + path)
            if row is None or len(row) != _ROW_BYTES or sha256(row[_ROW_INNER:]).digest() != expected:
                raise _damaged(path)
            self._rows.put(path, row)
            return row
        return self._keep_page(path, expected, islice(self._kv.scan(*self._range(path)), PAGE_RECORDS + 1))

    def _keep_page(
        self, path: bytes, expected: bytes, entries: Iterator[tuple[bytes, bytes]] | list[tuple[bytes, bytes]]
    ) -> bytes:
        skip = len(self._records)
        records = b"".join([key[skip:] + value for key, value in entries])
        if len(records) % _RECORD_BYTES or len(records) > PAGE_RECORDS * _RECORD_BYTES:
            raise _damaged(path)
        page = _page_of(records, len(path))
        if _page_hash(page) != expected:
            raise _damaged(path)
        self._pages.put(path, page)
        return page

    def _range(self, path: bytes) -> tuple[bytes, bytes]:
        """Where the records below `path` begin, and where they have ended."""
        low = path.ljust(MAX_DEPTH, b"\x00")
        high = path.ljust(MAX_DEPTH, b"\x0f")
        return self._records + _packed(low), self._records + _packed(high) + b"\x00"

    def _pages_below(self, path: bytes, expected: bytes) -> Iterator[tuple[bytes, bytes]]:
        """(path, hash) of every page that is not empty, in key order."""
        row = self._load(path, expected, True)
        _, rows = _ROW_HEAD.unpack_from(row)
        for slot in range(FANOUT):
            at = _ROW_HASHES + slot * HASH_BYTES
            child, hashed = path + bytes((slot,)), row[at : at + HASH_BYTES]
            if rows >> slot & 1:
                yield from self._pages_below(child, hashed)
            elif hashed != ZERO_HASH:
                yield child, hashed

    # --- planning -------------------------------------------------------------------------------------------------

    def _change_row(self, path: bytes, expected: bytes, changes: Sequence[_Change], planned: TreeChange) -> _Changed:
        stored = self._rows.get(path) or self._load(path, expected, True)
        row = bytearray(stored)
        keys: int
        rows: int
        keys, rows = _ROW_HEAD.unpack_from(row)
        before, depth = keys, len(path)
        for slot, below in _by_slot(changes, depth):
            at = _ROW_HASHES + slot * HASH_BYTES
            change = self._change_row if rows >> slot & 1 else self._change_page
            hashed, grown, has_row = change(below[0][1][: depth + 1], stored[at : at + HASH_BYTES], below, planned)
            row[at : at + HASH_BYTES] = hashed
            if grown:
                keys += grown
                rows = rows | 1 << slot if has_row else rows & ~(1 << slot)
        if keys <= PAGE_RECORDS:
            return self._folded(path, row, planned), keys - before, False
        _ROW_HEAD.pack_into(row, 0, keys, rows)
        if row == stored:
            return expected, 0, True
        after = planned.rows[path] = bytes(row)
        planned.puts.append((self._prefix + path, after))
        return sha256(after[_ROW_INNER:]).digest(), keys - before, True

    def _folded(self, path: bytes, row: bytearray, planned: TreeChange) -> bytes:
        """Makes a page of a subtree that has become too small for a row; its hash. All below it are pages by now."""
        records = []
        for slot in range(FANOUT):
            at = _ROW_HASHES + slot * HASH_BYTES
            child, hashed = path + bytes((slot,)), bytes(row[at : at + HASH_BYTES])
            if hashed != ZERO_HASH:
                page = planned.pages.get(child) or self._load(child, hashed, False)
                records.append(page[_PAGE_HEAD:])
            planned.pages[child] = None
        planned.rows[path] = None
        planned.deletes.append(self._prefix + path)
        page = planned.pages[path] = _page_of(b"".join(records), len(path))
        return _page_hash(page)

    def _change_page(self, path: bytes, expected: bytes, changes: Sequence[_Change], planned: TreeChange) -> _Changed:
        stored = self._pages.get(path) or self._load(path, expected, False)
        count, size, depth = len(changes), len(stored), len(path)
        if size + count * _RECORD_BYTES > _PAGE_HEAD + PAGE_RECORDS * _RECORD_BYTES:
            return self._change_full_page(path, stored, changes, planned)
        page = bytearray(stored)
        if count == 1:
            self._change_slot(page, changes[0][1][depth], depth, changes, planned)
        else:
            for slot, below in _by_slot(changes, depth):
                self._change_slot(page, slot, depth, below, planned)
        if page == stored:
            return expected, 0, False
        after = planned.pages[path] = bytes(page)
        return _page_hash(after), (len(after) - size) // _RECORD_BYTES, False

    def _change_slot(
        self, page: bytearray, slot: int, depth: int, changes: Sequence[_Change], planned: TreeChange
    ) -> None:
        """Makes the changes of one slot, and its hash."""
        first = _PAGE_HEAD + page[slot - 1] * _RECORD_BYTES if slot else _PAGE_HEAD
        last = end = _PAGE_HEAD + page[slot] * _RECORD_BYTES
        for key_hash, _, value_hash in changes:
            at = first
            while at < last and page[at : at + HASH_BYTES] < key_hash:
                at += _RECORD_BYTES
            stands = at < last and page.startswith(key_hash, at)
            if value_hash is None:
                if stands:
                    del page[at : at + _RECORD_BYTES]
                    last -= _RECORD_BYTES
                    planned.deletes.append(self._records + key_hash)
            elif not stands:
                page[at:at] = key_hash + value_hash
                last += _RECORD_BYTES
                planned.puts.append((self._records + key_hash, value_hash))
            elif not page.startswith(value_hash, at + HASH_BYTES):
                page[at + HASH_BYTES : at + _RECORD_BYTES] = value_hash
                planned.puts.append((self._records + key_hash, value_hash))
        if last != end:
            grown = (last - end) // _RECORD_BYTES
            page[slot:FANOUT] = [records + grown for records in page[slot:FANOUT]]
        at = _PAGE_HASHES + slot * HASH_BYTES
        page[at : at + HASH_BYTES] = _group_hash(bytes(page[first:last]), depth + 1)

    def _change_full_page(
        self, path: bytes, stored: bytes, changes: Sequence[_Change], planned: TreeChange
    ) -> _Changed:
        """Of more changes than a page may have room for: what comes of it is built anew."""
        standing = {record[:HASH_BYTES]: record[HASH_BYTES:] for record in _records(stored[_PAGE_HEAD:])}
        before = len(standing)
        for key_hash, _, value_hash in changes:
            if value_hash is None:
                if standing.pop(key_hash, None) is not None:
                    planned.deletes.append(self._records + key_hash)
            elif standing.get(key_hash) != value_hash:
                standing[key_hash] = value_hash
                planned.puts.append((self._records + key_hash, value_hash))
        records = [key_hash + value_hash for key_hash, value_hash in sorted(standing.items())]
        planned.pages[path] = None  # where it becomes a row
        hashed, has_row = self._build(path, records, planned)
        return hashed, len(records) - before, has_row

    def _build(self, path: bytes, records: list[bytes], planned: TreeChange) -> tuple[bytes, bool]:
        """Rows and pages of these records, in key order, which are all of the subtree: its hash, whether it has a row."""
        depth = len(path)
        if len(records) <= PAGE_RECORDS:
            page = planned.pages[path] = _page_of(b"".join(records), depth)
            return _page_hash(page), False
        slots: list[list[bytes]] = [[] for _ in range(FANOUT)]
        byte, shift = _nibble_at(depth)
        for record in records:
            slots[record[byte] >> shift & 15].append(record)
        row = bytearray(_ROW_BYTES)
        row[_ROW_INNER] = 1
        rows = 0
        for slot, below in enumerate(slots):
            if below:
                at = _ROW_HASHES + slot * HASH_BYTES
                row[at : at + HASH_BYTES], has_row = self._build(path + bytes((slot,)), below, planned)
                rows |= has_row << slot
        _ROW_HEAD.pack_into(row, 0, len(records), rows)
        after = planned.rows[path] = bytes(row)
        planned.puts.append((self._prefix + path, after))
        return sha256(after[_ROW_INNER:]).digest(), True


def _sorted_changes(writes: Mapping[bytes, bytes | None]) -> list[_Change]:
    changes: list[_Change] = []
    for key, value in writes.items():
        key_hash = sha256(key).digest()
        changes.append((key_hash, nibbles(key_hash), None if value is None else sha256(value).digest()))
    changes.sort()
    return changes


def _by_slot(changes: Sequence[_Change], depth: int) -> Iterator[tuple[int, Sequence[_Change]]]:
    """Sorted changes by their nibble at `depth`."""
    start, count = 0, len(changes)
    while start < count:
        slot = changes[start][1][depth]
        stop = start + 1
        while stop < count and changes[stop][1][depth] == slot:
            stop += 1
        yield slot, changes[start:stop]
        start = stop


def _packed(path: bytes) -> bytes:
    """The inverse of `nibbles`."""
    return bytes(high << 4 | low for high, low in zip(path[::2], path[1::2], strict=True))


def _nibble_at(depth: int) -> tuple[int, int]:
    """In which byte of a key hash the nibble of this depth stands, and how far from its lower end."""
    return depth >> 1, 0 if depth & 1 else 4


def _records(group: bytes) -> list[bytes]:
    return [group[at : at + _RECORD_BYTES] for at in range(0, len(group), _RECORD_BYTES)]


def _groups(records: bytes, depth: int) -> Iterator[tuple[int, bytes]]:
    """Records in key order by their nibble at `depth`: (nibble, its records)."""
    byte, shift = _nibble_at(depth)
    start, size = 0, len(records)
    while start < size:
        slot = records[start + byte] >> shift & 15
        stop = start + _RECORD_BYTES
        while stop < size and records[stop + byte] >> shift & 15 == slot:
            stop += _RECORD_BYTES
        yield slot, records[start:stop]
        start = stop


def _page_of(records: bytes, depth: int) -> bytes:
    """The page of these records (at most PAGE_RECORDS), which share their first `depth` nibbles and stand in key order."""
    page = bytearray(_EMPTY_PAGE)
    counted = slot = 0
    for occupied, group in _groups(records, depth):
        while slot < occupied:
            page[slot] = counted
            slot += 1
        counted += len(group) // _RECORD_BYTES
        at = _PAGE_HASHES + occupied * HASH_BYTES
        page[at : at + HASH_BYTES] = _group_hash(group, depth + 1)
    page[slot:FANOUT] = bytes((counted,)) * (FANOUT - slot)
    return bytes(page) + records


def _page_hash(page: bytes) -> bytes:
    if len(page) <= _PAGE_HEAD + _RECORD_BYTES:
        return sha256(b"\x00" + page[_PAGE_HEAD:]).digest() if len(page) > _PAGE_HEAD else ZERO_HASH
    return sha256(page[_PAGE_INNER:_PAGE_HEAD]).digest()


def _group_hash(records: bytes, depth: int) -> bytes:
    """The hash of the subtree of these records, which share their first `depth` nibbles and stand in key order."""
    size = len(records)
    if size == _RECORD_BYTES:
        return sha256(b"\x00" + records).digest()
    if not records:
        return ZERO_HASH
    byte, shift = _nibble_at(depth)
    parts = [b"\x01"]
    filled = start = 0
    while start < size:
        slot = records[start + byte] >> shift & 15
        stop = start + _RECORD_BYTES
        while stop < size and records[stop + byte] >> shift & 15 == slot:
            stop += _RECORD_BYTES
        parts.append(_GAPS[slot - filled])
        if stop - start == _RECORD_BYTES:
            parts.append(sha256(b"\x00" + records[start:stop]).digest())
        else:
            parts.append(_group_hash(records[start:stop], depth + 1))
        filled, start = slot + 1, stop
    parts.append(_GAPS[FANOUT - filled])
    return sha256(b"".join(parts)).digest()


def _prove_in_page(page: bytes, way: bytes, siblings: list[bytes]) -> StateProof:
    """Goes on from where a page stands to where the key's way ends."""
    while len(page) > _PAGE_HEAD + _RECORD_BYTES:
        depth = len(siblings)
        slot = way[depth]
        siblings.append(_without(page[_PAGE_HASHES:_PAGE_HEAD], slot))
        first, last = page[slot - 1] if slot else 0, page[slot]
        page = _page_of(page[_PAGE_HEAD + first * _RECORD_BYTES : _PAGE_HEAD + last * _RECORD_BYTES], depth + 1)
    record = page[_PAGE_HEAD:]
    return StateProof(tuple(siblings), record[:HASH_BYTES], record[HASH_BYTES:])


def _without(hashes: bytes, slot: int) -> bytes:
    return hashes[: slot * HASH_BYTES] + hashes[(slot + 1) * HASH_BYTES :]


def _damaged(path: bytes) -> StoreCorruptError:
    return StoreCorruptError(f"The state below {path.hex()!r} is missing or damaged. Sync this node anew.")


class _Cache:
    """Rows or pages by path; beyond the limit, those go that came first."""

    __slots__ = ("_kept", "get", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._kept: dict[bytes, bytes] = {}
        self.get = self._kept.get

    def put(self, path: bytes, kept: bytes) -> None:
        self._kept[path] = kept
        self._shrink()

    def update(self, changed: Mapping[bytes, bytes | None]) -> None:
        kept = self._kept
        for path, value in changed.items():
            if value is None:
                kept.pop(path, None)
            else:
                kept[path] = value
        self._shrink()

    def _shrink(self) -> None:
        kept = self._kept
        if len(kept) > self.limit:
            for path in list(islice(kept, len(kept) - self.limit * 7 // 8)):
                del kept[path]
