"""The state tree in memory: its pages and rows in a few large arrays, so that a block reads and changes thousands at once.

A page or a row has a number as long as it is here. Row 0 stands above the root, which is its child 0. What is here has
everything above it here too. A link says what a child is: 0 nothing that is here, n > 0 row n, -n < 0 page n.

Pages lie in one buffer, each in units of UNIT_RECORDS records.
"""

from __future__ import annotations

import mmap
from collections import defaultdict
from enum import Enum
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from chain.hashes import HASH_BYTES
from chain.statepages import ROW_HASHES_BYTES, SLOTS, row_numbers, row_with
from chain.stateproof import FANOUT, MAX_DEPTH, PLACE_BYTES, RECORD_BYTES, SHORT_VALUE_BYTES, nibbles

Numbers = npt.NDArray[np.int32]
Bytes = npt.NDArray[np.uint8]

RECORD = np.dtype((np.void, RECORD_BYTES))
UNIT_RECORDS = 8
UNIT_BYTES = UNIT_RECORDS * RECORD_BYTES
ABOVE_ROOT = 0

_NEAR_DEPTH = 4  # pages down to here are found by the first two bytes of a place, deeper ones row by row
_FIRST_UNITS, _FIRST_PAGES, _FIRST_ROWS = 64, 32, 8
_SLACK_BYTES = 4 << 20
_KEPT_BYTES = 32 << 20  # for the next block; one of 4,000 transfers takes some 10 MB

# Columns of `TreeMemory.pages` and `TreeMemory.rows`.
PARENT, SLOT = 0, 1  # the row above, and which of its children this is
START, UNITS, RECORDS = 2, 3, 4  # of a page: where it lies (in units), how much room it has, how many records
KEYS, ROWS, DEPTH = 2, 3, 4  # of a row: how many keys are below it, a bit for each child that has a row, how deep it is
_COLUMNS = 5


class Elsewhere(Enum):
    """Says of a value that it is not in memory, whether there is one or not."""

    ELSEWHERE = "elsewhere"


ELSEWHERE = Elsewhere.ELSEWHERE


class TreeMemory:
    """Holds any number of pages; `shrink` brings them back to `limit_bytes`."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self.paths = [b""]  # of rows, by number
        self._free_pages: list[int] = []
        self._free_rows: list[int] = []
        self._lent_before = np.empty(0, RECORD)
        self._free_units: defaultdict[int, list[int]] = defaultdict(list)
        self._next_unit, self._next_page, self._next_row, self._next_victim = 0, 1, 1, 0
        self._buffer = _private(_FIRST_UNITS * UNIT_BYTES)
        self.pages: Numbers = np.zeros((_FIRST_PAGES, _COLUMNS), np.int32)
        self.rows: Numbers = np.zeros((_FIRST_ROWS, _COLUMNS), np.int32)
        self.rows[ABOVE_ROOT, DEPTH] = -1
        self.hashes: Bytes = np.zeros((_FIRST_ROWS, FANOUT, HASH_BYTES), np.uint8)
        self._links: Numbers = np.zeros((_FIRST_ROWS, FANOUT), np.int32)
        self._near: Numbers = np.zeros(1 << 4 * _NEAR_DEPTH, np.int32)
        self._near_at = self._near.data  # one number of an array is read faster so
        self._view()

    def _view(self) -> None:
        """After one of the arrays was replaced by a larger one."""
        self.records: npt.NDArray[np.void] = np.frombuffer(self._buffer, RECORD)
        # The first eight bytes of each record as a number.
        self.heads: npt.NDArray[np.uint64] = np.ndarray(len(self.records), ">u8", self._buffer, 0, (RECORD_BYTES,))
        self._page_at = self.pages.data
        self._link_at = self._links.data

    # --- one by one -----------------------------------------------------------------------------------------------

    def value(self, place: bytes) -> bytes | Literal[Elsewhere.ELSEWHERE] | None:
        """The short value at a place; None where there is none; ELSEWHERE if it is long, or its page not here."""
        number = self._near_at[place[0] << 8 | place[1]] or self.page_on(place)
        if not number:
            return ELSEWHERE
        page = self.page(number)
        at = page.find(place)
        while at % RECORD_BYTES and at >= 0:  # a value that reads like this place
            at = page.find(place, at + 1)
        if at < 0:
            return None
        length = page[at + PLACE_BYTES]
        if length > SHORT_VALUE_BYTES:
            return ELSEWHERE
        at += PLACE_BYTES + 1
        return page[at : at + length]

    def page_on(self, place: bytes) -> int:
        """The page on the way of a place; 0 where it is not here."""
        near = self._near_at[place[0] << 8 | place[1]]
        if near:
            return near
        link = self._link_at[ABOVE_ROOT, 0]
        for slot in nibbles(place):
            if link <= 0:
                break
            link = self._link_at[link, slot]
        return max(-link, 0)

    def above(self, page: int) -> tuple[int, int]:
        """The row above a page, and the page's slot there."""
        return self._page_at[page, PARENT], self._page_at[page, SLOT]

    def link(self, path: bytes) -> int:
        """What stands at a path."""
        link_at = self._link_at
        link = link_at[ABOVE_ROOT, 0]
        for slot in path:
            if link <= 0:
                return 0
            link = link_at[link, slot]
        return link

    def page(self, number: int) -> bytes:
        start = self._page_at[number, START] * UNIT_BYTES
        return self._buffer[start : start + self._page_at[number, RECORDS] * RECORD_BYTES]

    def row(self, number: int) -> bytes:
        keys, rows = self.rows[number, KEYS : ROWS + 1].tolist()
        return row_with(self.hashes[number].tobytes(), keys, rows)

    def path_of(self, page: int) -> bytes:
        parent, slot = self.above(page)
        return self.paths[parent] + SLOTS[slot] if parent != ABOVE_ROOT else b""

    def put_page(self, path: bytes, page: bytes) -> None:
        """In the place of whatever stands at the path. The row above it must be here."""
        parent, slot = self._above(path)
        number = -self._link_at[parent, slot]
        if number > 0:
            self._free_room(number)
        else:
            self._drop(parent, slot)
            number = self._new_page()
            self._link_at[parent, slot] = -number
            self._set_near(path, number)
        units = -(-len(page) // UNIT_BYTES)
        start = self._room(units)
        self._buffer[start * UNIT_BYTES : start * UNIT_BYTES + len(page)] = page
        for column, value in enumerate((parent, slot, start, units, len(page) // RECORD_BYTES)):
            self._page_at[number, column] = value

    def put_row(self, path: bytes, row: bytes) -> None:
        """In the place of whatever stands at the path, with nothing below it. The row above it must be here."""
        parent, slot = self._above(path)
        self._drop(parent, slot)
        number = self._new_row()
        keys, rows = row_numbers(row)
        self.rows[number] = parent, slot, keys, rows, len(path)
        self.hashes[number] = np.frombuffer(row, np.uint8, ROW_HASHES_BYTES).reshape(FANOUT, HASH_BYTES)
        self.paths[number] = path
        self._link_at[parent, slot] = number

    def shrink(self) -> None:
        """Forgets children of the root, one after the other, until no more than the limit is used; and moves the pages
        together when too much room between them is free, since they grew."""
        root = self._link_at[ABOVE_ROOT, 0]
        for _ in range(FANOUT if root > 0 else 0):
            if self.used_bytes <= self.limit_bytes:
                break
            self._drop(root, self._next_victim)
            self._next_victim = (self._next_victim + 1) % FANOUT
        if self._next_unit * UNIT_BYTES > self.used_bytes * 5 // 4 + _SLACK_BYTES:
            self._move_together()

    def _above(self, path: bytes) -> tuple[int, int]:
        """Row and slot of a path."""
        if not path:
            return ABOVE_ROOT, 0
        above = self.link(path[:-1])
        assert above > 0, "what is in memory has everything above it in memory"
        return above, path[-1]

    def _drop(self, parent: int, slot: int) -> None:
        link = self._link_at[parent, slot]
        self._link_at[parent, slot] = 0
        if link > 0:
            for below in range(FANOUT):
                self._drop(link, below)
            self._free_rows.append(link)
        elif link < 0:
            self._set_near(self.path_of(-link), 0)
            self._free_room(-link)
            self._free_pages.append(-link)

    def _set_near(self, path: bytes, number: int) -> None:
        deeper = _NEAR_DEPTH - len(path)
        if deeper >= 0:
            first = 0
            for slot in path:
                first = first << 4 | slot
            self._near[first << 4 * deeper : first + 1 << 4 * deeper] = number

    # --- room -----------------------------------------------------------------------------------------------------

    def _free_room(self, page: int) -> None:
        start, units = self._page_at[page, START], self._page_at[page, UNITS]
        self._free_units[units].append(start)
        self.used_bytes -= units * UNIT_BYTES

    def _room(self, units: int) -> int:
        self.used_bytes += units * UNIT_BYTES
        free = self._free_units[units]
        if free:
            return free.pop()
        start = self._next_unit
        self._next_unit += units
        if self._next_unit * UNIT_RECORDS > len(self.records):
            larger = _private(2 * len(self._buffer))
            np.frombuffer(larger, RECORD)[: len(self.records)] = self.records
            self._buffer = larger
            self._view()
        return start

    def _move_together(self) -> None:
        here = np.ones(self._next_page, bool)
        here[[0, *self._free_pages]] = False
        numbers = np.flatnonzero(here)
        starts, units = self.pages[numbers, START], self.pages[numbers, UNITS]
        ends = np.cumsum(units)
        self._next_unit = int(units.sum())
        moved = _private(max(_FIRST_UNITS, self._next_unit * 5 // 4) * UNIT_BYTES)
        standing = spans(starts * UNIT_RECORDS, units * UNIT_RECORDS)
        np.frombuffer(moved, RECORD)[: len(standing)] = self.records[standing]
        self.pages[numbers, START] = ends - units
        self._free_units.clear()
        self._buffer = moved
        self._view()

    def _new_page(self) -> int:
        if self._free_pages:
            return self._free_pages.pop()
        self._next_page += 1
        if self._next_page > len(self.pages):
            self.pages = _doubled(self.pages)
            self._view()
        return self._next_page - 1

    def _new_row(self) -> int:
        if self._free_rows:
            return self._free_rows.pop()
        self._next_row += 1
        self.paths.append(b"")
        if self._next_row > len(self.rows):
            self.rows, self._links = _doubled(self.rows), _doubled(self._links)
            self.hashes = _doubled(self.hashes)
            self._view()
        return self._next_row - 1

    # --- many at once ---------------------------------------------------------------------------------------------

    def pages_on(self, places: Bytes) -> Numbers:
        """The page on the way of each of these places (n x 32 bytes); 0 where it is not here."""
        found: Numbers = self._near[places[:, 0].astype(np.int32) << 8 | places[:, 1]]
        others = np.flatnonzero(found == 0)
        if len(others):
            links = np.full(len(others), self._links[ABOVE_ROOT, 0])
            for depth in range(MAX_DEPTH):
                deeper = np.flatnonzero(links > 0)
                if not len(deeper):
                    break
                byte = places[others[deeper], depth >> 1]
                links[deeper] = self._links[links[deeper], byte & 15 if depth & 1 else byte >> 4]
            found[others] = np.maximum(-links, 0)
        return found

    def lend(self, count: int) -> npt.NDArray[np.void]:
        """Room for so many records outside of the pages. A block needs megabytes for a moment, and to be given memory that
        is new to the process takes as long as to fill it: so what was taken back is lent again."""
        room, self._lent_before = self._lent_before, np.empty(0, RECORD)
        return (room if len(room) >= count else np.empty(count * 5 // 4, RECORD))[:count]

    def take_back(self, lent: npt.NDArray[np.void]) -> None:
        """Nobody reads it any more. What a block needs that is larger than any usual one is not kept."""
        assert isinstance(lent.base, np.ndarray)
        if lent.base.nbytes <= _KEPT_BYTES:
            self._lent_before = lent.base

    def resize(self, pages: Numbers, counts: Numbers) -> None:
        """Gives pages room for so many records, at least as many as before; which ones they are is for the caller to set."""
        units = -(-counts // UNIT_RECORDS)
        for index in np.flatnonzero(units > self.pages[pages, UNITS]).tolist():
            number, needed = int(pages[index]), int(units[index])
            self._free_room(number)
            self.pages[number, START : UNITS + 1] = self._room(needed), needed
        self.pages[pages, RECORDS] = counts


def spans(
    starts: npt.NDArray[np.signedinteger[Any]], counts: npt.NDArray[np.signedinteger[Any]]
) -> npt.NDArray[np.int64]:
    """The numbers from each start on, so many as its count, one span behind the other."""
    ends = np.cumsum(counts, dtype=np.int64)
    return np.repeat(starts - (ends - counts), counts) + np.arange(counts.sum())


def _private(size: int) -> mmap.mmap:
    """Zeros that take memory only where something was written."""
    return mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def _doubled(table: npt.NDArray[Any]) -> npt.NDArray[Any]:
    larger = np.zeros((2 * len(table), *table.shape[1:]), table.dtype)
    larger[: len(table)] = table
    return larger
