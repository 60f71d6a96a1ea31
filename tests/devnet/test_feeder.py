"""The feeder's files: what stands in them is read exactly, and whatever is wrong is named by row and column."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import devnet
from devnet.feeder import FeederError, parse_day, parse_feeder, slots_of_day

DATA = Path(devnet.__file__).parent / "data"
METERS = (DATA / "meters.csv").read_text(encoding="utf-8")
FEEDER = parse_feeder(METERS)
SUMMER = (DATA / "2016-06-10.csv").read_text(encoding="utf-8")
LINES = SUMMER.splitlines()
HEADER = LINES[0].split(",")

SMALL = parse_feeder("meter,bus,kind,rated_w,capacity_wh\nL0,1,household,1000,\nG0,1,pv,4000,\nS0,2,battery,500,1000\n")


def small_day(slots: int) -> str:
    return "slot,L0,G0\n" + "".join(f"{slot},{slot},1\n" for slot in range(slots))


def with_cell(row: int, column: int, cell: str) -> str:
    """The summer day with another text in one cell; rows as an editor counts them."""
    cells = LINES[row - 1].split(",")
    cells[column] = cell
    return "\n".join([*LINES[: row - 1], ",".join(cells), *LINES[row:]]) + "\n"


@pytest.mark.parametrize(
    ("day", "consumption_wh", "generation_wh"), [("2016-06-10", 683_129, 921_380), ("2016-01-15", 939_661, 149_767)]
)
def test_the_days_have_the_sums_of_their_notice(day: str, consumption_wh: int, generation_wh: int) -> None:
    data = parse_day((DATA / f"{day}.csv").read_text(encoding="utf-8"), f"{day}.csv", FEEDER)
    assert (sum(data.consumption_wh), sum(data.generation_wh)) == (consumption_wh, generation_wh)


def test_there_is_one_site_for_each_bus_with_a_meter() -> None:
    assert len(FEEDER.sites) == 93
    assert sum(any(meter.exports for meter in site.meters) for site in FEEDER.sites) == 11
    assert sorted(meter.code for site in FEEDER.sites for meter in site.meters) == sorted(FEEDER.by_code)


@given(
    row=st.integers(2, len(LINES)),
    column=st.integers(1, len(HEADER) - 1),
    cell=st.one_of(
        st.sampled_from(["", "-1", "1.5", "1e3", " 7", "7 ", "+7", "0x1", "nan", "1_000", "٣", "12345678901", "1;2"]),
        st.text(st.characters(exclude_characters=",\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"), min_size=1).filter(
            lambda text: not (text.isascii() and text.isdigit())
        ),
    ),
)
def test_a_cell_that_is_no_number_is_named_by_row_and_column(row: int, column: int, cell: str) -> None:
    with pytest.raises(FeederError, match="expected a whole number of Wh") as caught:
        parse_day(with_cell(row, column, cell), "2016-06-10.csv", FEEDER)
    assert (caught.value.row, caught.value.column) == (row, HEADER[column])
    assert str(caught.value).startswith(f"2016-06-10.csv: row {row}, column {HEADER[column]}: ")


@given(row=st.integers(2, len(LINES)), width=st.integers(1, len(HEADER) - 1))
def test_a_short_row_names_the_first_missing_column(row: int, width: int) -> None:
    lines = [*LINES[: row - 1], ",".join(LINES[row - 1].split(",")[:width]), *LINES[row:]]
    with pytest.raises(FeederError) as caught:
        parse_day("\n".join(lines), "2016-06-10.csv", FEEDER)
    assert (caught.value.row, caught.value.column) == (row, HEADER[width])


@given(row=st.integers(2, len(LINES)))
def test_a_missing_row_is_named_by_the_slot_that_should_stand_there(row: int) -> None:
    with pytest.raises(FeederError) as caught:
        parse_day("\n".join(LINES[: row - 1] + LINES[row:]), "2016-06-10.csv", FEEDER)
    assert (caught.value.row, caught.value.column) == (row, "slot")


@given(st.text(max_size=300))
def test_any_text_is_a_day_or_a_feeder_error(text: str) -> None:
    for parse in (lambda: parse_feeder(text), lambda: parse_day(text, "2016-06-10.csv", SMALL)):
        with pytest.raises(FeederError):
            parse()


@pytest.mark.parametrize("column", [1, 60, len(HEADER) - 1])
def test_a_column_that_meters_csv_does_not_know_is_named(column: int) -> None:
    header = [*HEADER]
    header[column] = "L999"
    with pytest.raises(FeederError) as caught:
        parse_day("\n".join([",".join(header), *LINES[1:]]), "2016-06-10.csv", FEEDER)
    assert (caught.value.row, caught.value.column) == (1, "'L999'")


def test_a_meter_without_a_column_is_named() -> None:
    text = "\n".join(line.rpartition(",")[0] for line in LINES)
    with pytest.raises(FeederError) as caught:
        parse_day(text, "2016-06-10.csv", FEEDER)
    assert (caught.value.row, caught.value.column) == (1, HEADER[-1])


def test_feeding_in_beyond_the_rating_is_named() -> None:
    place = HEADER.index("G010")
    limit = FEEDER.by_code["G010"].export_limit_wh
    parse_day(with_cell(50, place, str(limit)), "2016-06-10.csv", FEEDER)
    with pytest.raises(FeederError, match=f"row 50, column G010: expected at most {limit} Wh"):
        parse_day(with_cell(50, place, str(limit + 1)), "2016-06-10.csv", FEEDER)


@pytest.mark.parametrize(("day", "slots"), [("2016-03-27", 92), ("2016-06-10", 96), ("2016-10-30", 100)])
def test_a_day_has_as_many_slots_as_its_clocks_say(day: str, slots: int) -> None:
    assert slots_of_day(date.fromisoformat(day)) == slots
    assert len(parse_day(small_day(slots), f"{day}.csv", SMALL).energy_wh) == slots
    for wrong in (slots - 4, slots + 4):
        with pytest.raises(FeederError, match=f"expected {slots} slots"):
            parse_day(small_day(wrong), f"{day}.csv", SMALL)


def test_slot_0_begins_at_local_midnight_and_days_follow_each_other() -> None:
    summer = parse_day(small_day(96), "2016-06-10.csv", SMALL)
    assert summer.first_slot * 900 == 1_465_509_600  # 2016-06-09T22:00:00Z
    spring = parse_day(small_day(92), "2016-03-27.csv", SMALL)
    after = parse_day(small_day(96), "2016-03-28.csv", SMALL)
    assert spring.first_slot + 92 == after.first_slot


@pytest.mark.parametrize(
    ("row", "place", "cell", "column"),
    [
        (2, 0, "L-1", "meter"),
        (3, 1, "x", "bus"),
        (4, 2, "nuclear", "kind"),
        (5, 3, "0", "rated_w"),
        (6, 4, "9", "capacity_wh"),
    ],
)
def test_a_wrong_meter_is_named_by_row_and_column(row: int, place: int, cell: str, column: str) -> None:
    lines = METERS.splitlines()
    cells = lines[row - 1].split(",")
    cells[place] = cell
    lines[row - 1] = ",".join(cells)
    with pytest.raises(FeederError) as caught:
        parse_feeder("\n".join(lines))
    assert (caught.value.row, caught.value.column) == (row, column)


def test_a_meter_listed_twice_is_named() -> None:
    lines = METERS.splitlines()
    with pytest.raises(FeederError) as caught:
        parse_feeder("\n".join([*lines, lines[1]]))
    assert (caught.value.row, caught.value.column) == (len(lines) + 1, "meter")


@pytest.mark.parametrize("name", ["day.csv", "2016-13-01.csv", "2016-06-10.txt", ""])
def test_a_file_name_that_is_no_day_is_refused(name: str) -> None:
    with pytest.raises(FeederError, match="YYYY-MM-DD"):
        parse_day(SUMMER, name, FEEDER)
