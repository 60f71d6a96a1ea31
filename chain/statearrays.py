"""What a block changes of the state, as arrays: thousands of places, pages and rows in one operation of numpy each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any, Literal
from zlib import crc32

import numpy as np
import numpy.typing as npt

from chain.hashes import HASH_BYTES
from chain.statememory import (
    ELSEWHERE,
    KEYS,
    RECORDS,
    ROWS,
    START,
    UNIT_RECORDS,
    Bytes,
    Elsewhere,
    Numbers,
    TreeMemory,
    spans,
)
from chain.statepages import ROW_HASHES_BYTES, row_with
from chain.stateproof import (
    NEIGHBOURHOOD_BYTES,
    NEIGHBOURS_END_BYTES,
    PAGE_RECORDS,
    PLACE_BYTES,
    RECORD_BYTES,
    SHORT_VALUE_BYTES,
    value_field,
)

Ints = npt.NDArray[np.integer[Any]] | npt.NDArray[np.bool_]

FIELD_BYTES = RECORD_BYTES - PLACE_BYTES


def table(pieces: Iterable[bytes], width: int) -> Bytes:
    """Pieces of the same width as the rows of an array."""
    return np.frombuffer(bytearray().join(pieces), np.uint8).reshape(-1, width)


def pieces(rows: Bytes) -> list[bytes]:
    """The other way round."""
    cut: list[bytes] = rows.view((np.void, rows.shape[1])).ravel().tolist()
    return cut


def places_in_order(keys: Sequence[bytes]) -> tuple[Bytes, list[int]]:
    """The places of these keys (see `chain.stateproof.place_of`) in ascending order, n x 32 bytes, and which key's each is."""
    places = table([sha256(key).digest() for key in keys], PLACE_BYTES)
    near = np.array([crc32(key[-NEIGHBOURS_END_BYTES:]) for key in keys], ">u4").view(np.uint8).reshape(-1, 4)
    places[:, :NEIGHBOURHOOD_BYTES] = near[:, :NEIGHBOURHOOD_BYTES]
    heads = _heads(places)
    order = np.argsort(heads)
    in_order = heads[order]
    if (in_order[1:] == in_order[:-1]).any():  # eight bytes do not tell them apart
        order = np.argsort(places.view((np.bytes_, PLACE_BYTES)).ravel())
    return places[order], order.tolist()


def value_fields(values: Sequence[bytes | None]) -> Bytes:
    """What stands for each of these values in its record (see `chain.stateproof.value_field`), n x 33 bytes; zeros for
    None."""
    given = [value or b"" for value in values]
    long = [index for index, value in enumerate(given) if len(value) > SHORT_VALUE_BYTES]
    fields_of_long = [value_field(given[index]) for index in long]
    for index in long:
        given[index] = b""
    lengths = np.fromiter(map(len, given), np.int64, len(given))
    fields = np.zeros((len(given), FIELD_BYTES), np.uint8)
    fields[:, 0] = lengths
    fields.ravel()[spans(np.arange(1, fields.size, FIELD_BYTES), lengths)] = np.frombuffer(b"".join(given), np.uint8)
    fields[long] = table(fields_of_long, FIELD_BYTES)
    return fields


def groups(numbers: Numbers) -> npt.NDArray[np.int64]:
    """Where in a sequence another number begins than stands before it; the first place too."""
    return np.flatnonzero(np.concatenate(([True], numbers[1:] != numbers[:-1])))


class PagesAtOnce:
    """Pages, by their numbers in memory, after changes of their records, all at once.

    The records at these places (n x 32 bytes, in order) get these values or are put in; those from `firsts[i]` on lie in
    page i. `changed` are the places where that changed anything. `alone` are the pages that have to be changed alone
    instead, since they lose a record, become too long, or get a place that begins with the same eight bytes as another:
    of those no more is said here.
    """

    def __init__(
        self,
        memory: TreeMemory,
        numbers: Numbers,
        places: Bytes,
        firsts: npt.NDArray[np.int64],
        values: Sequence[bytes | None],
    ) -> None:
        columns = memory.pages[numbers]
        counts = columns[:, RECORDS]
        standing = spans(columns[:, START] * UNIT_RECORDS, counts)
        wanted = value_fields(values)
        page_of = np.repeat(np.arange(len(firsts)), np.diff(firsts, append=len(places)))

        at, alike, found = _sought(memory, columns[page_of], places)
        before = np.cumsum(counts) - counts  # where in `standing` each page begins
        at += (before - columns[:, START].astype(np.int64) * UNIT_RECORDS)[page_of]
        there = alike & (found[:, :PLACE_BYTES] == places).all(axis=1)
        grown = np.bincount(page_of[~alike], minlength=len(firsts)).astype(np.int32)
        alone = counts + grown > PAGE_RECORDS
        alone[page_of[alike & ~there]] = True
        if None in values:
            alone[page_of[[value is None for value in values]]] = True
        grown[alone] = 0
        together = ~alone[page_of]

        new = together & ~alike
        in_place = together & there & (found[:, PLACE_BYTES:] != wanted).any(axis=1)
        entire = memory.lend(len(standing) + int(np.count_nonzero(new)))
        np.take(memory.records, np.insert(standing, at[new], 0), out=entire, mode="clip")
        records = entire.view(np.uint8).reshape(-1, RECORD_BYTES)
        self._numbers_in_place = standing[at[in_place]]
        at += np.cumsum(new) - new  # behind what is put in before it
        records[at[in_place], PLACE_BYTES:] = wanted[in_place]
        records[at[new], :PLACE_BYTES], records[at[new], PLACE_BYTES:] = places[new], wanted[new]
        self.changed: list[int] = np.flatnonzero(in_place | new).tolist()
        self.alone: list[int] = np.flatnonzero(alone).tolist()
        self.numbers, self.grown = numbers[~alone], grown[~alone]
        self._records, self._in_place = entire, at[in_place]
        longer, after = grown > 0, counts + grown
        ends = np.cumsum(after)
        self._longer, self._lengths = numbers[longer], after[longer]
        self._longer_at = ends[longer] - self._lengths
        self._stops = ends[~alone] * RECORD_BYTES
        self._starts = self._stops - after[~alone] * RECORD_BYTES

    def hashes(self) -> list[bytes]:
        raw = self._records.view(np.uint8).data
        spans = zip(self._starts.tolist(), self._stops.tolist(), strict=True)
        return [sha256(raw[start:stop]).digest() for start, stop in spans]

    def page(self, number: int) -> bytes | None:
        """One of the pages by its number in memory."""
        for index in np.flatnonzero(self.numbers == number).tolist():
            return bytes(self._records.view(np.uint8)[self._starts[index] : self._stops[index]])
        return None

    def store(self, memory: TreeMemory) -> None:
        """Makes these the pages in memory. Nothing is to be asked of this afterwards."""
        memory.records[self._numbers_in_place] = self._records[self._in_place]
        memory.resize(self._longer, self._lengths)
        starts = memory.pages[self._longer, START] * UNIT_RECORDS
        memory.records[spans(starts, self._lengths)] = self._records[spans(self._longer_at, self._lengths)]
        memory.take_back(self._records)


def short_values(memory: TreeMemory, places: Bytes) -> list[bytes | Literal[Elsewhere.ELSEWHERE] | None]:
    """What `TreeMemory.value` says of each of these places (n x 32 bytes, in order), but ELSEWHERE too where another record
    begins with the same eight bytes."""
    numbers = memory.pages_on(places)
    is_here = numbers != 0
    _, alike, found = _sought(memory, memory.pages[numbers[is_here]], places[is_here])
    known = (
        alike & (found[:, :PLACE_BYTES] == places[is_here]).all(axis=1) & (found[:, PLACE_BYTES] <= SHORT_VALUE_BYTES)
    )
    values: list[bytes | Literal[Elsewhere.ELSEWHERE] | None] = [ELSEWHERE] * len(places)
    at = np.flatnonzero(is_here)
    for index, field in zip(at[known].tolist(), pieces(found[known, PLACE_BYTES:]), strict=True):
        values[index] = field[1 : 1 + field[0]]
    for index in at[~alike].tolist():
        values[index] = None
    return values


class Children:
    """What changed below some rows: which child of which row (by number) has what hash now, how many keys more than before,
    and whether it has a row."""

    def __init__(self) -> None:
        self._single: list[tuple[int, int, int, bool]] = []
        self._single_hashes: list[bytes] = []
        self._columns: list[tuple[Ints, Ints, Ints, Ints]] = []
        self._hashes: list[bytes] = []

    def add(self, parent: int, slot: int, hashed: bytes, grown: int, has_row: bool) -> None:
        self._single.append((parent, slot, grown, has_row))
        self._single_hashes.append(hashed)

    def add_many(self, parents: Ints, slots: Ints, hashes: Iterable[bytes], grown: Ints, has_row: Ints) -> None:
        self._columns.append((parents, slots, grown, has_row))
        self._hashes += hashes

    @property
    def hashes(self) -> list[bytes]:
        return self._single_hashes + self._hashes

    def columns(self) -> list[Ints]:
        """Parents, slots, how much they grew, whether they have a row; in the order of `hashes`."""
        single = np.array(self._single, np.int32).reshape(-1, 4).T
        return [np.concatenate(some) for some in zip(single, *self._columns, strict=True)]


class RowsAtOnce:
    """Copies of the rows above these children, after what changed of them."""

    def __init__(self, memory: TreeMemory, children: Children) -> None:
        parents, slots, grown, has_row = children.columns()
        self.numbers, index = np.unique(parents, return_inverse=True)
        self.before = memory.rows[self.numbers]
        self.columns = self.before
        self._hashes = memory.hashes[self.numbers]
        self._hashes[index, slots] = table(children.hashes, HASH_BYTES)
        if grown.any():
            bit = 1 << slots
            self.columns = self.before.copy()
            np.add.at(self.columns[:, KEYS], index, grown)
            np.bitwise_and.at(self.columns[:, ROWS], index, ~bit)
            np.bitwise_or.at(self.columns[:, ROWS], index, np.where(has_row, bit, 0))

    def child_hash(self, index: int, slot: int) -> bytes:
        return bytes(self._hashes[index, slot])

    def row(self, index: int) -> bytes:
        return row_with(self._hashes[index].tobytes(), *self.columns[index, KEYS : ROWS + 1].tolist())

    def row_numbered(self, number: int) -> bytes | None:
        """One of the rows by its number in memory."""
        for index in np.flatnonzero(self.numbers == number).tolist():
            return self.row(index)
        return None

    def hashes(self) -> list[bytes]:
        raw = self._hashes.reshape(-1).data
        return [sha256(raw[at : at + ROW_HASHES_BYTES]).digest() for at in range(0, len(raw), ROW_HASHES_BYTES)]

    def store(self, memory: TreeMemory) -> None:
        """Makes the copies the rows."""
        memory.hashes[self.numbers] = self._hashes
        memory.rows[self.numbers] = self.columns


def _sought(
    memory: TreeMemory, columns: Numbers, places: Bytes
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_], Bytes]:
    """Looks for places in pages, whose columns stand beside them: the number of the record in memory that is the page's first not
    to stand before the place (or the one behind its last), whether it begins with the same eight bytes, and the record itself
    (anything where there is none).

    A search by halves of all at once: it reads a few records of each page where a look at the whole page would read all.
    """
    sought = _heads(places)
    heads, last = memory.heads, len(memory.heads) - 1
    first = columns[:, START].astype(np.int64) * UNIT_RECORDS
    left = columns[:, RECORDS].astype(np.int64)
    stop = first + left
    for _ in range(int(left.max(initial=0)).bit_length()):
        half = left >> 1
        middle = first + half
        before = (heads[np.minimum(middle, last)].astype(np.uint64) < sought) & (left > 0)
        first = np.where(before, middle + 1, first)
        left = np.where(before, left - half - 1, half)
    nearest = np.minimum(first, last)
    alike = (heads[nearest].astype(np.uint64) == sought) & (first < stop)
    return first, alike, memory.records[nearest].view(np.uint8).reshape(-1, RECORD_BYTES)


def _heads(places: Bytes) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """The first eight bytes of places or records, as numbers in the same order."""
    return np.ascontiguousarray(places[:, :8]).view(">u8").ravel().astype(np.uint64)
