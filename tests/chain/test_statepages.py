"""Pages and rows after a batch of changes: all at once as arrays gives what one by one gives, and both what a dict says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain import statepages
from chain.statepages import ROW_BYTES, find, row_numbers, row_of, with_children, with_fields
from chain.stateproof import PAGE_RECORDS, RECORD_BYTES, value_field

Page = dict[bytes, bytes]

# Many that begin with the same eight bytes, by which arrays look for them; the first byte says to which page a place belongs.
PLACES = st.builds(
    lambda page, head, tail: bytes((page, head, 0, 0, 0, 0, 0, 0)) + bytes(23) + bytes((tail,)),
    st.integers(0, 3),
    st.sampled_from([0, 1, 254, 255]),
    st.sampled_from([0, 1, 255]),
)
FIELDS = st.sampled_from([value_field(bytes((n,))) for n in range(3)])


def page_of(model: Page) -> bytes:
    return b"".join([place + model[place] for place in sorted(model)])


def outcome(
    standing: Page, changes: dict[bytes, bytes | None], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[bytes], list[int]]:
    monkeypatch.setattr(statepages, "AT_ONCE", at_once)
    places = sorted(changes)
    numbers = sorted({place[0] for place in places})
    pages = [page_of({place: held for place, held in standing.items() if place[0] == number}) for number in numbers]
    firsts = [next(i for i, place in enumerate(places) if place[0] == number) for number in numbers]
    return with_fields(pages, firsts, places, [changes[place] for place in places])


@given(st.dictionaries(PLACES, FIELDS), st.dictionaries(PLACES, st.none() | FIELDS, min_size=1))
def test_changing_all_pages_at_once_is_changing_one_after_the_other(
    standing: Page, changes: dict[bytes, bytes | None]
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        alone = outcome(standing, changes, len(changes) + 1, monkeypatch)
        at_once = outcome(standing, changes, 1, monkeypatch)
    left = {place: held for place, held in {**standing, **changes}.items() if held is not None}
    numbers = sorted({place[0] for place in changes})
    expected = [page_of({p: h for p, h in left.items() if p[0] == number}) for number in numbers]
    changed = [n for n, place in enumerate(sorted(changes)) if standing.get(place) != changes[place]]
    assert alone == (expected, changed)
    assert (at_once[0], sorted(at_once[1])) == (expected, changed)


@pytest.mark.parametrize("at_once", [1, 10_000])
@pytest.mark.parametrize("before", [0, 1, PAGE_RECORDS])
def test_more_changes_than_a_page_holds(at_once: int, before: int, monkeypatch: pytest.MonkeyPatch) -> None:
    standing = {bytes((0, n)) + bytes(30): value_field(b"old") for n in range(before)}
    changes: dict[bytes, bytes | None] = {bytes((0, n)) + bytes(30): value_field(b"new") for n in range(0, 254, 2)}
    after, changed = outcome(standing, changes, at_once, monkeypatch)
    assert after == [page_of({**standing, **{place: held for place, held in changes.items() if held}})]
    assert changed == list(range(len(changes)))


def test_a_place_of_zeros_is_put_into_an_empty_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind the last page arrays have one record more, all zeros: it is none."""
    place = bytes(32)
    for field in (value_field(b""), value_field(b"v")):
        assert outcome({}, {place: field}, 1, monkeypatch) == ([place + field], [0])
    assert outcome({}, {place: None}, 1, monkeypatch) == ([b""], [])


CHILDREN = st.dictionaries(
    st.tuples(st.integers(0, 3), st.integers(0, 15)),
    st.tuples(st.binary(min_size=32, max_size=32), st.integers(-50, 2_000), st.booleans()),
    min_size=1,
)


@given(CHILDREN)
def test_changing_all_rows_at_once_is_changing_one_after_the_other(
    children: dict[tuple[int, int], tuple[bytes, int, bool]],
) -> None:
    model = {bytes((n,)) + bytes(31): value_field(b"v") for n in range(256)}
    rows = [row_of(0, page_of(model))[0]] * 4
    parents, slots = [parent for parent, _ in children], [slot for _, slot in children]
    outcomes = []
    with pytest.MonkeyPatch.context() as monkeypatch:
        for at_once in (1, len(children) + 1):
            monkeypatch.setattr(statepages, "AT_ONCE", at_once)
            outcomes.append(with_children(rows, parents, slots, list(children.values())))
    assert outcomes[0] == outcomes[1]
    for number, row in enumerate(outcomes[0]):
        mine = {slot: change for (parent, slot), change in children.items() if parent == number}
        count, with_rows = row_numbers(row)
        assert len(row) == ROW_BYTES
        assert count == 256 + sum(grown for _, grown, _ in mine.values())
        for slot in range(16):
            hashed, grown, has_row = mine.get(slot, (rows[0][32 * slot : 32 * slot + 32], 0, False))
            assert row[32 * slot : 32 * slot + 32] == hashed
            assert with_rows >> slot & 1 == (grown != 0 and has_row)


def test_a_record_is_found_at_its_place_only() -> None:
    """Its bytes may stand in a value too, before or behind it."""
    first, second = bytes(31) + b"\x01", bytes(31) + b"\x02"
    page = page_of({first: value_field(second), second: value_field(first)})
    assert (find(page, first), find(page, second)) == (0, RECORD_BYTES)
    assert find(page_of({first: value_field(second)}), second) == -1
    assert find(b"", first) == -1
