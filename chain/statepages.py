"""Pages and rows of the state tree as bytes, and what a batch of changes makes of them. Nothing here reads a store.

A page is the records of its subtree, which is also what is hashed. A row is

    16 child hashes | u32 number of keys | u16 which children have rows

of which the hashes are what an inner node hashes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from importlib.util import find_spec
from itertools import pairwise
from struct import Struct

from chain.hashes import HASH_BYTES
from chain.stateproof import FANOUT, PAGE_RECORDS, PLACE_BYTES, RECORD_BYTES, page_hash

PAGE_BYTES = PAGE_RECORDS * RECORD_BYTES  # of the largest
ROW_HASHES_BYTES = FANOUT * HASH_BYTES
ARRAYS = find_spec("numpy") is not None
"""Whether many changes are made at once. Where numpy is not built for an interpreter, all comes out the same, later."""
if ARRAYS:
    from chain import statearrays

_NUMBERS = Struct(">IH")
ROW_BYTES = ROW_HASHES_BYTES + _NUMBERS.size
PAGES_ONLY = bytes(2)
"""How a row ends that stands on nothing but pages."""
AT_ONCE = 128
"""So many changes are worth the fixed cost of array operations."""
SLOTS = [bytes((slot,)) for slot in range(FANOUT)]


def row_hash(row: bytes) -> bytes:
    return sha256(row[:ROW_HASHES_BYTES]).digest()


def child_hash(row: bytes, slot: int) -> bytes:
    return row[slot * HASH_BYTES : slot * HASH_BYTES + HASH_BYTES]


def row_numbers(row: bytes) -> tuple[int, int]:
    """How many keys its subtree has, and which children have rows (a bit for each)."""
    count, rows = _NUMBERS.unpack_from(row, ROW_HASHES_BYTES)
    return count, rows


def row_of(depth: int, records: bytes) -> tuple[bytes, dict[int, bytes], dict[int, bytes]]:
    """The row of a subtree's records; its pages by slot; and the records of each slot that has too many for a page, whose
    hash is still missing in the row."""
    row = bytearray(ROW_BYTES)
    pages: dict[int, bytes] = {}
    larger: dict[int, bytes] = {}
    for slot, below in _by_slot(records, depth):
        if len(below) > PAGE_BYTES:
            larger[slot] = below
            continue
        pages[slot] = below
        row[slot * HASH_BYTES : slot * HASH_BYTES + HASH_BYTES] = page_hash(below)
    _NUMBERS.pack_into(row, ROW_HASHES_BYTES, len(records) // RECORD_BYTES, sum(1 << slot for slot in larger))
    return bytes(row), pages, larger


def find(page: bytes | bytearray, place: bytes) -> int:
    """Where the record of a place stands in a page; -1 where there is none."""
    at = page.find(place)
    while at % RECORD_BYTES and at > 0:  # a value that reads like this place
        at = page.find(place, at + 1)
    return at


def with_fields(
    pages: Sequence[bytes], firsts: Sequence[int], places: Sequence[bytes], fields: Sequence[bytes | None]
) -> tuple[list[bytes], list[int]]:
    """Pages after their changes, and which of the changes changed anything.

    `places` are in order, each with the field that its record is to have (None: no record); those from `firsts[n]` up to the
    next of `firsts` belong to page n. A page may come out longer than PAGE_BYTES.
    """
    concerned = [range(first, stop) for first, stop in pairwise([*firsts, len(places)])]
    after, changed, alone = list(pages), list[int](), list(range(len(pages)))
    if ARRAYS and len(places) >= AT_ONCE:
        after, changed, alone = statearrays.with_fields(pages, [len(some) for some in concerned], places, fields)
    for number in alone:
        change = _merged if len(concerned[number]) > PAGE_RECORDS else _replaced
        after[number] = change(pages[number], places, fields, concerned[number], changed)
    return after, changed


def with_children(
    rows: Sequence[bytes], parents: Sequence[int], slots: Sequence[int], children: Sequence[tuple[bytes, int, bool]]
) -> list[bytes]:
    """Rows after changes below them: child `slots[n]` of row `parents[n]` has the hash `children[n][0]`, so many keys more
    than before, and a row or not."""
    if ARRAYS and len(children) >= AT_ONCE:
        after = statearrays.with_hashes(rows, parents, slots, [hashed for hashed, _, _ in children])
    else:
        changing = [bytearray(row) for row in rows]
        for parent, slot, (hashed, _, _) in zip(parents, slots, children, strict=True):
            changing[parent][slot * HASH_BYTES : slot * HASH_BYTES + HASH_BYTES] = hashed
        after = [bytes(row) for row in changing]
    for parent, slot, (_, grown, has_row) in zip(parents, slots, children, strict=True):
        if grown:
            after[parent] = _renumbered(after[parent], slot, grown, has_row)
    return after


def _renumbered(row: bytes, slot: int, grown: int, has_row: bool) -> bytes:
    count, rows = row_numbers(row)
    rows = rows | 1 << slot if has_row else rows & ~(1 << slot)
    return row[:ROW_HASHES_BYTES] + _NUMBERS.pack(count + grown, rows)


def _replaced(
    stored: bytes, places: Sequence[bytes], fields: Sequence[bytes | None], concerned: range, changed: list[int]
) -> bytes:
    page = bytearray(stored)
    for index in concerned:
        place, held = places[index], fields[index]
        at = find(page, place)
        if held is None:
            if at < 0:
                continue
            del page[at : at + RECORD_BYTES]
        elif at < 0:
            at = _place_for(page, place)
            page[at:at] = place + held
        elif page.startswith(held, at + PLACE_BYTES):
            continue
        else:
            page[at + PLACE_BYTES : at + RECORD_BYTES] = held
        changed.append(index)
    return bytes(page)


def _merged(
    stored: bytes, places: Sequence[bytes], fields: Sequence[bytes | None], concerned: range, changed: list[int]
) -> bytes:
    """The same for more changes than a page holds: one by one, each would move all that stands behind it."""
    records = [stored[at : at + RECORD_BYTES] for at in range(0, len(stored), RECORD_BYTES)]
    standing = {record[:PLACE_BYTES]: record[PLACE_BYTES:] for record in records}
    for index in concerned:
        place, held = places[index], fields[index]
        if standing.get(place) == held:
            continue
        if held is None:
            del standing[place]
        else:
            standing[place] = held
        changed.append(index)
    return b"".join([place + standing[place] for place in sorted(standing)])


def _by_slot(records: bytes, depth: int) -> Iterator[tuple[int, bytes]]:
    """Records in order by the nibble of their places at `depth`: (nibble, its records)."""
    byte, shift = depth >> 1, 0 if depth & 1 else 4
    start, size = 0, len(records)
    while start < size:
        slot = records[start + byte] >> shift & 15
        stop = start + RECORD_BYTES
        while stop < size and records[stop + byte] >> shift & 15 == slot:
            stop += RECORD_BYTES
        yield slot, records[start:stop]
        start = stop


def _place_for(page: bytearray, place: bytes) -> int:
    """Where the record of a place belongs that has none in this page."""
    low, high = 0, len(page) // RECORD_BYTES
    while low < high:
        middle = low + high >> 1
        at = middle * RECORD_BYTES
        if page[at : at + PLACE_BYTES] < place:
            low = middle + 1
        else:
            high = middle
    return low * RECORD_BYTES
