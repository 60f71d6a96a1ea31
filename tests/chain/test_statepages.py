"""One page after changes, told by a dict."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.statepages import with_fields
from chain.stateproof import PAGE_RECORDS, value_field

Page = dict[bytes, bytes]

PLACES = st.builds(lambda head, tail: bytes((head,)) + bytes(30) + bytes((tail,)), st.integers(0, 3), st.integers(0, 3))
FIELDS = st.sampled_from([value_field(bytes((n,))) for n in range(3)])


def page_of(model: Page) -> bytes:
    return b"".join([place + model[place] for place in sorted(model)])


def changed_page(standing: Page, changes: dict[bytes, bytes | None]) -> tuple[bytes, list[int]]:
    places = sorted(changes)
    return with_fields(page_of(standing), places, [changes[place] for place in places])


@given(st.dictionaries(PLACES, FIELDS), st.dictionaries(PLACES, st.none() | FIELDS))
def test_a_page_after_changes(standing: Page, changes: dict[bytes, bytes | None]) -> None:
    left = {place: held for place, held in {**standing, **changes}.items() if held is not None}
    changed = [index for index, place in enumerate(sorted(changes)) if standing.get(place) != changes[place]]
    assert changed_page(standing, changes) == (page_of(left), changed)


@pytest.mark.parametrize("before", [0, 1, PAGE_RECORDS])
def test_more_changes_than_a_page_holds(before: int) -> None:
    standing = {bytes((0, n)) + bytes(30): value_field(b"old") for n in range(before)}
    put: Page = {bytes((0, n)) + bytes(30): value_field(b"new") for n in range(1, 254, 2)}
    changes: dict[bytes, bytes | None] = {**put, **{bytes((0, n)) + bytes(30): None for n in range(0, 254, 2)}}
    page, changed = changed_page(standing, changes)
    assert page == page_of({place: held for place, held in {**standing, **put}.items() if changes.get(place)})
    assert changed == [n for n, place in enumerate(sorted(changes)) if changes[place] or place in standing]


def test_a_record_is_found_at_its_place_only() -> None:
    """Its bytes may stand in a value too, before or behind it."""
    first, second = bytes(31) + b"\x01", bytes(31) + b"\x02"
    crossed = {first: value_field(second), second: value_field(first)}
    for place in (first, second):
        assert changed_page(crossed, {place: value_field(b"")})[0] == page_of({**crossed, place: value_field(b"")})
    assert changed_page({first: value_field(second)}, {second: None}) == (page_of({first: value_field(second)}), [])
