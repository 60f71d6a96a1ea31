"""What the state's memory holds, told by a dict of paths."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chain import statememory
from chain.statearrays import table
from chain.statememory import ELSEWHERE, RECORDS, UNIT_BYTES, TreeMemory
from chain.statepages import row_with
from chain.stateproof import PAGE_RECORDS, RECORD_BYTES, value_field

DEEPEST = 7  # deeper than pages that are found by two bytes
PATHS = st.lists(st.sampled_from([0, 1, 15]), max_size=DEEPEST).map(bytes)
COUNTS = st.sampled_from([0, 1, 7, 8, 9, PAGE_RECORDS])


def place_on(path: bytes, number: int) -> bytes:
    way = path.ljust(DEEPEST + 1, b"\x00")
    return bytes(a << 4 | b for a, b in zip(way[::2], way[1::2], strict=True)) + bytes(27) + bytes((number,))


def page_on(path: bytes, count: int) -> bytes:
    return b"".join(place_on(path, number) + value_field(bytes((number,))) for number in range(count))


class MemoryAgainstDict(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.memory = TreeMemory(3 * UNIT_BYTES)
        self.pages: dict[bytes, bytes] = {}
        self.rows: dict[bytes, bytes] = {}

    def forget(self, path: bytes) -> None:
        for kept in (self.pages, self.rows):
            for below in [known for known in kept if known.startswith(path)]:
                del kept[below]

    def nearest(self, path: bytes) -> bytes:
        """The path cut so that a row is above it."""
        while path and path[:-1] not in self.rows:
            path = path[:-1]
        return path

    @rule(path=PATHS, numbers=st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 2**16 - 1)))
    def puts_a_row(self, path: bytes, numbers: tuple[int, int]) -> None:
        path = self.nearest(path)
        self.forget(path)
        self.rows[path] = row_with(bytes((len(path),)) * 512, *numbers)
        self.memory.put_row(path, self.rows[path])

    @rule(path=PATHS, count=COUNTS)
    def puts_a_page(self, path: bytes, count: int) -> None:
        path = self.nearest(path)
        self.forget(path)
        self.pages[path] = page_on(path, count)
        self.memory.put_page(path, self.pages[path])

    @precondition(lambda self: self.pages)
    @rule(data=st.data())
    def gives_pages_more_room(self, data: st.DataObject) -> None:
        """They hold what they held, and something behind it."""
        chosen = data.draw(st.lists(st.sampled_from(sorted(self.pages)), unique=True, min_size=1))
        counts = [len(self.pages[path]) // RECORD_BYTES + data.draw(st.integers(0, 20)) for path in chosen]
        numbers = table([(-self.memory.link(path)).to_bytes(4, "little") for path in chosen], 4).view("<i4").ravel()
        before = {path: page for path, page in self.pages.items() if path not in chosen}
        self.memory.resize(numbers, table([count.to_bytes(4, "little") for count in counts], 4).view("<i4").ravel())
        assert self.memory.pages[numbers, RECORDS].tolist() == counts
        assert all(self.memory.page(-self.memory.link(path)) == page for path, page in before.items())
        for path in chosen:
            self.memory.put_page(path, self.pages[path])

    @rule(together=st.booleans())
    def shrinks(self, together: bool) -> None:
        with pytest.MonkeyPatch.context() as patched:
            if together:
                patched.setattr(statememory, "_SLACK_BYTES", 0)
            self.memory.shrink()
        gone = [path for path in {*self.pages, *self.rows} if self.memory.link(path) == 0]
        assert all(any(path.startswith(lost[:1]) for lost in gone) for path in gone)
        for path in gone:
            assert path != b""
            self.forget(path)
        assert b"" not in self.rows or self.memory.used_bytes <= self.memory.limit_bytes

    @invariant()
    def all_is_found_at_its_path(self) -> None:
        for path, row in self.rows.items():
            number = self.memory.link(path)
            assert number > 0
            assert (self.memory.row(number), self.memory.paths[number]) == (row, path)
        for path, page in self.pages.items():
            number = -self.memory.link(path)
            assert number > 0
            assert (self.memory.page(number), self.memory.path_of(number)) == (page, path)
        for path in (b"", b"\x00", b"\x01\x0f", bytes(DEEPEST)):
            assert (self.memory.link(path) == 0) == (path not in self.rows and path not in self.pages)

    @invariant()
    def each_place_leads_to_its_page(self) -> None:
        for path, page in self.pages.items():
            number, inside, beside = -self.memory.link(path), place_on(path, 0), place_on(path, 200)
            assert self.memory.page_on(inside) == self.memory.page_on(beside) == number
            assert self.memory.value(inside) == (b"\x00" if page else None)
            assert self.memory.value(beside) is None
            assert self.memory.pages_on(table([inside, beside], 32)).tolist() == [number, number]
        if not self.pages and not self.rows:
            assert self.memory.value(bytes(32)) is ELSEWHERE
            assert self.memory.pages_on(table([bytes(32)], 32)).tolist() == [0]

    @invariant()
    def no_room_is_lost(self) -> None:
        units = sum(-(-len(page) // UNIT_BYTES) for page in self.pages.values())
        assert self.memory.used_bytes == units * UNIT_BYTES


MemoryAgainstDict.TestCase.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
test_any_history_behaves_like_a_dict = MemoryAgainstDict.TestCase


@given(st.lists(st.integers(0, 255), unique=True, min_size=1))
def test_many_pages_at_many_places_of_the_arrays(slots: list[int]) -> None:
    """More than the arrays begin with, some gone in between: rows take their places, and pages theirs."""
    memory = TreeMemory(1 << 20)
    memory.put_row(b"", row_with(bytes(512), 0, 0))
    for slot in range(16):
        memory.put_row(bytes((slot,)), row_with(bytes(512), 0, 0))
    paths = [bytes((slot >> 4, slot & 15)) for slot in slots]
    for path in paths:
        memory.put_page(path, page_on(path, 20))
    for path in paths[::3]:
        memory.put_row(path, row_with(bytes(512), 0, 0))
    for path in paths[::3]:
        memory.put_page(path, page_on(path, 21))
    for index, path in enumerate(paths):
        assert memory.page(-memory.link(path)) == page_on(path, 20 if index % 3 else 21)


def test_pages_are_moved_together_when_others_left_room_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statememory, "_SLACK_BYTES", 0)
    draw = Random(7)
    memory = TreeMemory(1 << 20)
    memory.put_row(b"", row_with(bytes(512), 0, 0))
    pages: dict[bytes, bytes] = {}
    moved = 0
    for _ in range(400):
        slot = bytes((draw.randrange(16),))
        pages = {path: page for path, page in pages.items() if path[:1] != slot}
        if draw.random() < 0.3:
            pages[slot] = page_on(slot, draw.randrange(PAGE_RECORDS))
            memory.put_page(slot, pages[slot])
        else:
            memory.put_row(slot, row_with(bytes(512), 0, 0))
            for below in range(draw.randrange(4)):
                path = slot + bytes((below,))
                pages[path] = page_on(path, draw.randrange(PAGE_RECORDS))
                memory.put_page(path, pages[path])
        before = memory.records
        memory.shrink()
        if memory.records is not before:
            moved += 1
            assert len(memory.records) * RECORD_BYTES <= max(64 * UNIT_BYTES, memory.used_bytes * 5 // 4)
        assert {path: memory.page(-memory.link(path)) for path in pages} == pages
    assert moved > 20


def test_the_numbers_of_what_is_gone_are_given_again() -> None:
    memory = TreeMemory(1 << 20)
    for _ in range(100):
        memory.put_row(b"", row_with(bytes(512), 0, 0))
        for path in (b"\x00", b"\x01"):
            memory.put_page(path, page_on(path, 9))
    assert max(memory.link(b""), -memory.link(b"\x00"), -memory.link(b"\x01")) <= 4


def test_room_that_was_taken_back_is_lent_again_where_it_is_enough() -> None:
    memory = TreeMemory(0)
    first, beside = memory.lend(100), memory.lend(100)
    assert not np.shares_memory(first, beside)
    memory.take_back(first)
    again = memory.lend(90)
    assert len(again) == 90
    assert np.shares_memory(again, first)
    assert not np.shares_memory(memory.lend(90), again)
    memory.take_back(again)
    assert len(memory.lend(10_000)) == 10_000


def test_room_for_a_huge_block_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statememory, "_KEPT_BYTES", 200 * RECORD_BYTES)
    memory = TreeMemory(0)
    usual, huge = memory.lend(100), memory.lend(1_000)
    memory.take_back(usual)
    memory.take_back(huge)
    assert np.shares_memory(memory.lend(100), usual)
