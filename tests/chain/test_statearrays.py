"""Changing pages and rows as arrays, all at once, gives what a dict says."""

from __future__ import annotations

from hashlib import sha256
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chain import statearrays
from chain.statearrays import (
    FIELD_BYTES,
    Children,
    PagesAtOnce,
    RowsAtOnce,
    groups,
    pieces,
    places_in_order,
    short_values,
    table,
    value_fields,
)
from chain.statememory import ELSEWHERE, TreeMemory
from chain.statepages import row_numbers, row_of, row_with
from chain.stateproof import PAGE_RECORDS, page_hash, place_of, value_field
from tests.chain.states import KEYS, OWNED

Page = dict[bytes, bytes]

PAGES = 4  # below the root; the first nibble says to which one a place belongs
# Many places begin with the same eight bytes, by which arrays look for them.
PLACES = st.builds(
    lambda page, head, tail: bytes((page << 4, head)) + bytes(29) + bytes((tail,)),
    st.integers(0, PAGES - 1),
    st.sampled_from([0, 1, 254, 255]),
    st.sampled_from([0, 1, 255]),
)
ALIKE = [bytes((0, 1)) + bytes(29) + bytes((tail,)) for tail in (0, 1)]
# Few do.
APART = st.builds(
    lambda page, head: bytes((page << 4, head)) + bytes(30), st.integers(0, PAGES - 1), st.integers(0, 255)
)
VALUES = st.sampled_from([b"", b"\x00", b"one", bytes(32), bytes(33), bytes(34)])


def page_of(model: Page, slot: int) -> bytes:
    return b"".join([place + value_field(model[place]) for place in sorted(model) if place[0] >> 4 == slot])


def memory_of(model: Page) -> TreeMemory:
    memory = TreeMemory(0)
    memory.put_row(b"", row_with(bytes(512), len(model), 0))
    for slot in range(PAGES):
        memory.put_page(bytes((slot,)), page_of(model, slot))
    return memory


@given(st.lists(KEYS | st.sampled_from(OWNED), unique=True, min_size=1))
def test_places_come_in_order_with_their_keys(keys: list[bytes]) -> None:
    places, order = places_in_order(keys)
    assert pieces(places) == sorted(map(place_of, keys))
    assert [place_of(keys[index]) for index in order] == pieces(places)


@given(st.lists(st.none() | st.binary(max_size=40), min_size=1))
def test_what_stands_for_values(values: list[bytes | None]) -> None:
    expected = [bytes(FIELD_BYTES) if value is None else value_field(value) for value in values]
    assert pieces(value_fields(values)) == expected


def test_places_that_begin_alike_come_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has found two that share eight bytes: here by another hash."""
    keys = [b"%d" % n for n in range(50)]
    tails = {key: sha256(key).digest()[8:] for key in keys}
    monkeypatch.setattr(statearrays, "sha256", lambda key: SimpleNamespace(digest=lambda: bytes(8) + tails[key]))
    monkeypatch.setattr(statearrays, "crc32", lambda _: 0)
    places, order = places_in_order(keys)
    assert pieces(places) == sorted(bytes(8) + tail for tail in tails.values())
    assert [bytes(8) + tails[keys[index]] for index in order] == pieces(places)


@settings(max_examples=300)
@example({ALIKE[0]: b"one"}, {ALIKE[1]: b""})
@example({ALIKE[1]: b"one"}, {ALIKE[0]: b"one"})
@given(
    st.dictionaries(PLACES | APART, VALUES),
    st.dictionaries(PLACES | APART, st.none() | VALUES, min_size=1) | st.dictionaries(APART, VALUES, min_size=1),
)
def test_changing_pages_all_at_once(standing: Page, changes: dict[bytes, bytes | None]) -> None:
    memory = memory_of(standing)
    ordered = sorted(changes)
    places = table(ordered, 32)
    numbers = memory.pages_on(places)
    firsts = groups(numbers)
    pages = PagesAtOnce(memory, numbers[firsts], places, firsts, [changes[place] for place in ordered])

    slots = sorted({place[0] >> 4 for place in ordered})
    alone = [slots[index] for index in pages.alone]
    for slot in slots:
        loses = any(changes[place] is None for place in ordered if place[0] >> 4 == slot)
        alike = any(
            place != other and place[:8] == other[:8]
            for place in ordered
            if place[0] >> 4 == slot
            for other in standing
        )
        assert not loses or slot in alone
        assert slot not in alone or loses or alike

    together = [place for place in ordered if place[0] >> 4 not in alone]
    after = {**standing, **{place: held for place in together if (held := changes[place]) is not None}}
    assert [ordered[index] for index in pages.changed] == [p for p in together if standing.get(p) != changes[p]]
    changed_pages = [page_of(after, slot) for slot in slots if slot not in alone]
    assert pages.hashes() == list(map(page_hash, changed_pages))
    assert [pages.page(number) for number in pages.numbers.tolist()] == changed_pages
    assert pages.page(0) is None
    assert pages.grown.tolist() == [
        sum(place[0] >> 4 == slot for place in after) - sum(place[0] >> 4 == slot for place in standing)
        for slot in slots
        if slot not in alone
    ]

    assert [memory.page(-memory.link(bytes((slot,)))) for slot in range(PAGES)] == [
        page_of(standing, slot) for slot in range(PAGES)
    ]
    pages.store(memory)
    assert [memory.page(-memory.link(bytes((slot,)))) for slot in range(PAGES)] == [
        page_of(after, slot) for slot in range(PAGES)
    ]


def test_a_page_that_becomes_too_long_is_changed_alone() -> None:
    standing = {bytes((0, n)) + bytes(30): b"v" for n in range(PAGE_RECORDS - 1)}
    memory = memory_of(standing)
    more = [bytes((0, n)) + bytes(30) for n in (200, 201)] + [bytes((16, 0)) + bytes(30)]
    for count, alone in ((1, []), (2, [0])):
        places = table([*more[:count], more[2]], 32)
        numbers = memory.pages_on(places)
        firsts = groups(numbers)
        values = [b"w"] * (count + 1)
        assert PagesAtOnce(memory, numbers[firsts], places, firsts, values).alone == alone


@settings(max_examples=300)
@example({ALIKE[0]: b"one"}, {ALIKE[1]}, set())
@example({ALIKE[1]: b"one", ALIKE[0]: b"two"}, {ALIKE[1]}, {0})
@given(
    st.dictionaries(PLACES | APART, VALUES),
    st.sets(PLACES | APART, min_size=1),
    st.sets(st.integers(0, PAGES - 1)),
)
def test_values_read_at_once_are_those_read_one_by_one(standing: Page, wanted: set[bytes], absent: set[int]) -> None:
    memory = memory_of(standing)
    for slot in absent:
        memory.put_row(bytes((slot,)), row_with(bytes(512), 1, 0))  # no page is on the way of its places
    places = sorted(wanted)
    for place, value in zip(places, short_values(memory, table(places, 32)), strict=True):
        alike = any(place != other and place[:8] == other[:8] for other in standing)
        assert value == memory.value(place) or (alike and value is ELSEWHERE)


CHILDREN = st.dictionaries(
    st.tuples(st.integers(0, PAGES - 1), st.integers(0, 15)),
    st.tuples(st.binary(min_size=32, max_size=32), st.integers(-50, 2_000), st.booleans()),
    min_size=1,
)


@given(CHILDREN, st.integers(0, 0xFFFF))
def test_changing_rows_all_at_once(children: dict[tuple[int, int], tuple[bytes, int, bool]], bits: int) -> None:
    records = b"".join(bytes((n,)) + bytes(31) + value_field(b"v") for n in range(256))
    before = row_with(row_of(0, records)[0][:512], 256, bits)
    memory = TreeMemory(0)
    memory.put_row(b"", before)
    for slot in range(PAGES):
        memory.put_row(bytes((slot,)), before)
    numbers = [memory.link(bytes((slot,))) for slot in range(PAGES)]
    below = Children()
    for (parent, slot), (hashed, grown, has_row) in children.items():
        below.add(numbers[parent], slot, hashed, grown, has_row if grown else bool(bits >> slot & 1))
    rows = RowsAtOnce(memory, below)
    assert set(rows.numbers.tolist()) == {numbers[parent] for parent, _ in children}
    rows.store(memory)
    for parent, number in enumerate(numbers):
        mine = {slot: change for (above, slot), change in children.items() if above == parent}
        row = memory.row(number)
        assert rows.row_numbered(number) == (row if mine else None)
        keys, with_rows = row_numbers(row)
        assert keys == 256 + sum(grown for _, grown, _ in mine.values())
        for slot in range(16):
            hashed, grown, has_row = mine.get(slot, (before[32 * slot : 32 * slot + 32], 0, False))
            assert row[32 * slot : 32 * slot + 32] == hashed
            assert with_rows >> slot & 1 == (has_row if grown else bits >> slot & 1)
    assert np.array_equal(memory.rows[memory.link(b"")], memory_columns(before, memory))


def memory_columns(row: bytes, memory: TreeMemory) -> list[int]:
    """Of the root: nothing above it changed."""
    return [0, 0, *row_numbers(row), 0]
