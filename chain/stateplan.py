"""One batch of changes on its way through the state tree: first the pages, then the rows above them, level by level."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import compress
from typing import Protocol

import numpy as np

from chain.hashes import HASH_BYTES, ZERO_HASH
from chain.state import StateChange
from chain.statearrays import Children, PagesAtOnce, RowsAtOnce, groups, pieces, places_in_order
from chain.statememory import DEPTH, KEYS, PARENT, ROWS, SLOT, TreeMemory
from chain.statepages import PAGE_BYTES, SLOTS, row_hash, row_of, with_fields
from chain.stateproof import FANOUT, PAGE_RECORDS, RECORD_BYTES, last_beside, page_hash, place_of, value_field
from chain.staterecord import STATE, TREE, encode_record

AT_ONCE = 16
"""So many changes are worth the fixed cost of array operations on their pages."""


@dataclass(frozen=True, slots=True)
class TreeChange(StateChange):
    """`pages` has by path what pages changed alone have become, and `rows` the rows that are new. All else that changed is
    in `pages_at_once` and `rows_at_once`."""

    pages: dict[bytes, bytes] = field(default_factory=dict)
    rows: dict[bytes, bytes] = field(default_factory=dict)
    pages_at_once: PagesAtOnce | None = field(default=None, compare=False)
    rows_at_once: list[RowsAtOnce] = field(default_factory=list, compare=False)


class Tree(Protocol):
    """What planning asks of a tree: nothing that it reads is forgotten before the plan is adopted or given up."""

    root: bytes
    memory: TreeMemory

    def load_page_on(self, place: bytes) -> None:
        """Makes sure that the page on a place's way is in memory."""
        ...

    def page_at(self, path: bytes, expected: bytes) -> bytes:
        """The page of this hash at a path."""
        ...


class Planning:
    """Plans one batch. Raises StoreCorruptError where the store does not hold what has to be read."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._memory = tree.memory
        self._places: list[bytes] = []
        self._keys: list[bytes] = []  # of these places
        self._values: list[bytes | None] = []
        self._below: defaultdict[int, Children] = defaultdict(Children)  # by the rows' depth; -1 is above the root
        self._puts: list[tuple[bytes, bytes]] = []
        self._deletes: list[bytes] = []
        self._pages: dict[bytes, bytes] = {}
        self._rows: dict[bytes, bytes] = {}
        self._pages_at_once: PagesAtOnce | None = None
        self._rows_at_once: list[RowsAtOnce] = []

    def of(self, writes: Mapping[bytes, bytes | None]) -> TreeChange:
        root = self._tree.root
        if not writes:
            return TreeChange(root, root)
        changed = (self._change_many if len(writes) >= AT_ONCE else self._change_few)(writes)
        if not changed:
            return TreeChange(root, root)
        self._store(changed)
        for depth in range(max(self._below), -1, -1):
            self._change_rows(depth)
        return TreeChange(
            root,
            self._below[-1].hashes[0],
            self._puts,
            self._deletes,
            self._pages,
            self._rows,
            self._pages_at_once,
            self._rows_at_once,
        )

    def _store(self, changed: list[int]) -> None:
        places, keys, values = self._places, self._keys, self._values
        self._deletes += [STATE + places[index] for index in changed if values[index] is None]
        self._puts += [
            (STATE + places[index], encode_record(keys[index], value))
            for index in changed
            if (value := values[index]) is not None
        ]

    # --- pages ----------------------------------------------------------------------------------------------------

    def _change_few(self, writes: Mapping[bytes, bytes | None]) -> list[int]:
        """Which of the changes changed anything."""
        key_at = {place_of(key): key for key in writes}
        places = self._places = sorted(key_at)
        self._keys = [key_at[place] for place in places]
        self._values = [writes[key] for key in self._keys]
        changed: list[int] = []
        first = 0
        while first < len(places):
            number = self._number_on(places[first])
            last = last_beside(places[first], len(self._memory.path_of(number)))
            stop = bisect_right(places, last, first)
            changed += self._change_alone(number, first, stop)
            first = stop
        return changed

    def _change_many(self, writes: Mapping[bytes, bytes | None]) -> list[int]:
        keys = list(writes)
        places, order = places_in_order(keys)
        self._places = pieces(places)
        self._keys = [keys[index] for index in order]
        self._values = [writes[key] for key in self._keys]
        numbers = self._memory.pages_on(places)
        for index in np.flatnonzero(numbers == 0).tolist():
            numbers[index] = self._number_on(self._places[index])
        firsts = groups(numbers)
        pages = PagesAtOnce(self._memory, numbers[firsts], places, firsts, self._values)
        changed = pages.changed
        if changed:
            self._change_at_once(pages)
        spans = [*firsts.tolist(), len(keys)]
        for index in pages.alone:
            changed = changed + self._change_alone(int(numbers[spans[index]]), spans[index], spans[index + 1])
        return changed

    def _change_at_once(self, pages: PagesAtOnce) -> None:
        self._pages_at_once = pages
        columns = self._memory.pages[pages.numbers]
        depths = self._memory.rows[columns[:, PARENT], DEPTH]
        hashes = pages.hashes()
        for depth in set(depths.tolist()):
            here = depths == depth
            parents, slots = columns[here, PARENT], columns[here, SLOT]
            these = hashes if here.all() else compress(hashes, here.tolist())
            self._below[depth].add_many(parents, slots, these, pages.grown[here], np.zeros(len(parents), bool))

    def _change_alone(self, number: int, first: int, stop: int) -> list[int]:
        """Which of these changes, all of one page, changed anything."""
        path, before = self._memory.path_of(number), self._memory.page(number)
        fields = [None if value is None else value_field(value) for value in self._values[first:stop]]
        page, changed = with_fields(before, self._places[first:stop], fields)
        if changed:
            too_long = len(page) > PAGE_BYTES
            if too_long:
                hashed = self._built(path, page)
            else:
                self._pages[path] = page
                hashed = page_hash(page)
            parent, slot = self._memory.above(number)
            grown = (len(page) - len(before)) // RECORD_BYTES
            self._below[len(path) - 1].add(parent, slot, hashed, grown, too_long)
        return [first + index for index in changed]

    def _number_on(self, place: bytes) -> int:
        """The page on the way of a place."""
        number = self._memory.page_on(place)
        if not number:
            self._tree.load_page_on(place)
            number = self._memory.page_on(place)
        return number

    # --- rows -----------------------------------------------------------------------------------------------------

    def _change_rows(self, depth: int) -> None:
        """The rows of this depth after what changed below them."""
        rows = RowsAtOnce(self._memory, self._below[depth])
        self._rows_at_once.append(rows)
        paths = self._memory.paths
        numbers, hashes = rows.numbers.tolist(), rows.hashes()
        keys, has_rows = rows.columns[:, KEYS], rows.columns[:, ROWS]
        self._puts += [(TREE + paths[numbers[index]], rows.row(index)) for index in np.flatnonzero(has_rows).tolist()]
        grown = keys - rows.before[:, KEYS]
        if rows.columns is not rows.before:
            for index in np.flatnonzero((rows.before[:, ROWS] != 0) & (has_rows == 0)).tolist():
                self._deletes.append(TREE + paths[numbers[index]])
            for index in np.flatnonzero(keys <= PAGE_RECORDS).tolist():
                hashes[index] = self._folded(paths[numbers[index]], rows, index)
        self._below[depth - 1].add_many(
            rows.columns[:, PARENT], rows.columns[:, SLOT], hashes, grown, keys > PAGE_RECORDS
        )

    def _folded(self, path: bytes, rows: RowsAtOnce, index: int) -> bytes:
        """Makes a page of a subtree that has become too small for a row; its hash. All below it are pages by now."""
        records = []
        for slot in range(FANOUT):
            child, hashed = path + SLOTS[slot], rows.child_hash(index, slot)
            if hashed != ZERO_HASH:
                records.append(self._page_now(child, hashed))
            self._pages.pop(child, None)
        page = self._pages[path] = b"".join(records)
        return page_hash(page)

    def _page_now(self, path: bytes, hashed: bytes) -> bytes:
        """A page after this batch."""
        page = self._pages.get(path)
        if page is None and self._pages_at_once is not None:
            page = self._pages_at_once.page(-self._memory.link(path))
        return self._tree.page_at(path, hashed) if page is None else page

    def _built(self, path: bytes, records: bytes) -> bytes:
        """Makes a row of these records, which are all of the subtree, and what is below it; its hash."""
        row, pages, larger = row_of(len(path), records)
        self._pages.update({path + SLOTS[slot]: page for slot, page in pages.items()})
        if larger:
            above = bytearray(row)
            for slot, below in larger.items():
                at = slot * HASH_BYTES
                above[at : at + HASH_BYTES] = self._built(path + SLOTS[slot], below)
            row = bytes(above)
            self._puts.append((TREE + path, row))
        self._rows[path] = row
        return row_hash(row)
