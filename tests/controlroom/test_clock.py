"""Local days and their slots, also when clocks change."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlroom.clock import day_of, slot_label, slots_of

DAYS = st.dates(date(1981, 1, 1), date(2037, 12, 31))


@pytest.mark.parametrize(
    ("day", "count"),
    [(date(2016, 3, 27), 92), (date(2016, 6, 10), 96), (date(2016, 10, 30), 100), (date(2026, 3, 29), 92)],
)
def test_a_day_has_92_96_or_100_slots(day: date, count: int) -> None:
    assert len(slots_of(day)) == count


@given(DAYS)
def test_days_follow_each_other_without_gap_or_overlap(day: date) -> None:
    slots = slots_of(day)
    assert slots.stop == slots_of(day + timedelta(days=1)).start
    assert {day_of(slots[0]), day_of(slots[-1])} == {day}
    assert len(slots) in (92, 96, 100)


@given(DAYS)
def test_no_label_of_a_day_stands_for_two_slots(day: date) -> None:
    labels = [slot_label(slot) for slot in slots_of(day)]
    assert len(set(labels)) == len(labels)


def test_the_hour_that_comes_twice_says_which_time_it_is() -> None:
    labels = [slot_label(slot) for slot in slots_of(date(2016, 10, 30))]
    assert labels[7:10] == ["01:45", "02:00 CEST", "02:15 CEST"]
    assert labels[12:14] == ["02:00 CET", "02:15 CET"]
    assert "02:00" not in [slot_label(slot) for slot in slots_of(date(2016, 3, 27))]
