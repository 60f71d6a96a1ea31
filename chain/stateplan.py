"""One batch of changes on its way through the state tree: first the pages, then the rows above them, level by level."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from operator import itemgetter
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
    """Where keys came or went, `pages` has what stands at a path (None: no page), and `rows` has the rows that are new or
    gone. All else that changed is in `pages_at_once` and `rows_at_once`."""

    pages: dict[bytes, bytes | None] = field(default_factory=dict)
    rows: dict[bytes, bytes | None] = field(default_factory=dict)
    pages_at_once: PagesAtOnce | None = field(default=None, compare=False)
    rows_at_once: list[RowsAtOnce] = field(default_factory=list, compare=False)


_place = itemgetter(0)
_Change = tuple[bytes, bytes, bytes | None]  # place, key and new value


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
        self._below: defaultdict[int, Children] = defaultdict(Children)  # by the rows' depth; -1 is above the root
        self._puts: list[tuple[bytes, bytes]] = []
        self._deletes: list[bytes] = []
        self._pages: dict[bytes, bytes | None] = {}
        self._rows: dict[bytes, bytes | None] = {}
        self._pages_at_once: PagesAtOnce | None = None
        self._rows_at_once: list[RowsAtOnce] = []

    def of(self, writes: Mapping[bytes, bytes | None]) -> TreeChange:
        root = self._tree.root
        if not writes:
            return TreeChange(root, root)
        changed = (self._change_many if len(writes) >= AT_ONCE else self._change_few)(writes)
        if not changed:
            return TreeChange(root, root)
        for place, key, value in changed:
            if value is None:
                self._deletes.append(STATE + place)
            else:
                self._puts.append((STATE + place, encode_record(key, value)))
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

    # --- pages ----------------------------------------------------------------------------------------------------

    def _change_few(self, writes: Mapping[bytes, bytes | None]) -> list[_Change]:
        """The changes that changed anything."""
        ordered = sorted([(place_of(key), key, value) for key, value in writes.items()], key=_place)
        changed: list[_Change] = []
        first = 0
        while first < len(ordered):
            place = ordered[first][0]
            number = self._number_on(place)
            last = last_beside(place, len(self._memory.path_of(number)))
            stop = bisect_right(ordered, last, first, key=_place)
            here = ordered[first:stop]
            changed += self._change_alone(number, here, [_field(value) for _, _, value in here])
            first = stop
        return changed

    def _change_many(self, writes: Mapping[bytes, bytes | None]) -> list[_Change]:
        places, order = places_in_order(list(writes))
        given = list(writes.items())
        ordered = [(place, *given[index]) for place, index in zip(pieces(places), order, strict=True)]
        fields = [_field(value) for _, _, value in ordered]
        numbers = self._memory.pages_on(places)
        for index in np.flatnonzero(numbers == 0).tolist():
            numbers[index] = self._number_on(ordered[index][0])
        firsts = groups(numbers)
        pages = PagesAtOnce(self._memory, numbers[firsts], places, firsts, fields)
        changed = [ordered[index] for index in pages.changed]
        if changed:
            self._change_at_once(pages)
        spans = [*firsts.tolist(), len(ordered)]
        for index in pages.alone:
            here = slice(spans[index], spans[index + 1])
            changed += self._change_alone(int(numbers[here.start]), ordered[here], fields[here])
        return changed

    def _change_at_once(self, pages: PagesAtOnce) -> None:
        self._pages_at_once = pages
        columns = self._memory.pages[pages.numbers]
        depths = self._memory.rows[columns[:, PARENT], DEPTH]
        hashes = pages.hashes()
        for depth in set(depths.tolist()):
            here = depths == depth
            above = self._below[depth]
            above.parents += columns[here, PARENT].tolist()
            above.slots += columns[here, SLOT].tolist()
            above.hashes += compress(hashes, here.tolist())
            above.grown += pages.grown[here].tolist()
            above.has_row += [False] * int(here.sum())

    def _change_alone(self, number: int, changes: Sequence[_Change], fields: Sequence[bytes | None]) -> list[_Change]:
        """The changes of one page that changed anything."""
        path, before = self._memory.path_of(number), self._memory.page(number)
        page, changed = with_fields(before, [place for place, _, _ in changes], fields)
        if changed:
            too_long = len(page) > PAGE_BYTES
            self._pages[path] = None if too_long else page
            parent, slot = self._memory.above(number)
            above = self._below[len(path) - 1]
            above.parents.append(parent)
            above.slots.append(slot)
            above.hashes.append(self._built(path, page) if too_long else page_hash(page))
            above.grown.append((len(page) - len(before)) // RECORD_BYTES)
            above.has_row.append(too_long)
        return [changes[index] for index in changed]

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
        above = self._below[depth - 1]
        above.parents += rows.columns[:, PARENT].tolist()
        above.slots += rows.columns[:, SLOT].tolist()
        above.hashes += hashes
        above.grown += grown.tolist()
        above.has_row += (keys > PAGE_RECORDS).tolist()

    def _folded(self, path: bytes, rows: RowsAtOnce, index: int) -> bytes:
        """Makes a page of a subtree that has become too small for a row; its hash. All below it are pages by now."""
        records = []
        for slot in range(FANOUT):
            child, hashed = path + SLOTS[slot], rows.child_hash(index, slot)
            if hashed != ZERO_HASH:
                records.append(self._page_now(child, hashed))
            self._pages[child] = None
        self._rows[path] = None
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


def _field(value: bytes | None) -> bytes | None:
    return None if value is None else value_field(value)
