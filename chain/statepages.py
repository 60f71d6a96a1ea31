"""Pages and rows of the state tree as bytes, and what a batch of changes makes of them. Nothing here reads a store.

A page is the records of its subtree, which is also what is hashed. A row is

    16 child hashes | u32 number of keys | u16 which children have rows

of which the hashes are what an inner node hashes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from struct import Struct

from chain.hashes import HASH_BYTES
from chain.stateproof import FANOUT, PAGE_RECORDS, PLACE_BYTES, RECORD_BYTES, page_hash

PAGE_BYTES = PAGE_RECORDS * RECORD_BYTES  # of the largest
ROW_HASHES_BYTES = FANOUT * HASH_BYTES
_NUMBERS = Struct(">IH")
ROW_BYTES = ROW_HASHES_BYTES + _NUMBERS.size
SLOTS = [bytes((slot,)) for slot in range(FANOUT)]


def row_hash(row: bytes) -> bytes:
    return sha256(row[:ROW_HASHES_BYTES]).digest()


def child_hash(row: bytes, slot: int) -> bytes:
    return row[slot * HASH_BYTES : slot * HASH_BYTES + HASH_BYTES]


def row_numbers(row: bytes) -> tuple[int, int]:
    """How many keys its subtree has, and which children have rows (a bit for each)."""
    count, rows = _NUMBERS.unpack_from(row, ROW_HASHES_BYTES)
    return count, rows


def row_with(hashes: bytes, keys: int, rows: int) -> bytes:
    """A row of these 16 hashes (512 bytes) and numbers."""
    return hashes + _NUMBERS.pack(keys, rows)


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


def with_fields(page: bytes, places: Sequence[bytes], fields: Sequence[bytes | None]) -> tuple[bytes, list[int]]:
    """A page after changes of its records, and which of the changes changed anything.

    `places` are in order, each with the field that its record is to have (None: no record). The page may come out longer
    than PAGE_BYTES.
    """
    return (_merged if len(places) > PAGE_RECORDS else _replaced)(page, places, fields)


def _replaced(stored: bytes, places: Sequence[bytes], fields: Sequence[bytes | None]) -> tuple[bytes, list[int]]:
    page = bytearray(stored)
    changed: list[int] = []
    for index, (place, held) in enumerate(zip(places, fields, strict=True)):
        at = _find(page, place)
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
    return bytes(page), changed


def _merged(stored: bytes, places: Sequence[bytes], fields: Sequence[bytes | None]) -> tuple[bytes, list[int]]:
    """The same for more changes than a page holds: one by one, each would move all that stands behind it."""
    records = [stored[at : at + RECORD_BYTES] for at in range(0, len(stored), RECORD_BYTES)]
    standing = {record[:PLACE_BYTES]: record[PLACE_BYTES:] for record in records}
    changed: list[int] = []
    for index, (place, held) in enumerate(zip(places, fields, strict=True)):
        if standing.get(place) == held:
            continue
        if held is None:
            del standing[place]
        else:
            standing[place] = held
        changed.append(index)
    return b"".join([place + standing[place] for place in sorted(standing)]), changed


def _find(page: bytearray, place: bytes) -> int:
    """Where the record of a place stands in a page; -1 where there is none."""
    at = page.find(place)
    while at % RECORD_BYTES and at > 0:  # a value that reads like this place
        at = page.find(place, at + 1)
    return at


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
