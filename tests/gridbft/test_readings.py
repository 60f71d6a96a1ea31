"""Columns as a program makes them are what a roster's pages say of the same readings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.energy.rosters import PAGE, page_number
from contracts.host import ContractError
from gridbft.ground import packed_pages, reading_rows
from gridbft.history import Asked
from gridbft.readings import columns

WH = st.integers(0, 2**32 - 2)


@given(st.dictionaries(st.integers(0, PAGE + 9), st.tuples(WH, WH), max_size=30), st.integers(0, 3), st.integers(0, 9))
def test_rows_of_columns_are_the_readings_that_were_packed(
    by_place: dict[int, tuple[int, int]], first_page: int, grown_by: int
) -> None:
    meters = [f"M-{place}" for place in range(PAGE + 10)]
    readings = {meters[place]: pair for place, pair in by_place.items()}
    imports, exports = columns(meters, readings)
    call = Asked("t", "operator", "metering", "submit_packed", (7, 44, first_page, imports, exports))
    numbers = [page_number(7, first_page), page_number(7, first_page + 1)]
    assert packed_pages([call]) == {numbers[0]: PAGE, numbers[1]: 10}
    pages = {numbers[0]: meters[:PAGE], numbers[1]: [*meters[PAGE:], *(f"later-{n}" for n in range(grown_by))]}
    rows = reading_rows([call], {"t": (3, 0)}, pages)
    assert {row.meter: (row.import_wh, row.export_wh) for row in rows} == readings
    assert {(row.slot, row.quality, row.place) for row in rows} <= {(44, "DIRECT", (3, 0))}
    assert reading_rows([call], {"t": (3, 0)}, pages, {"M-5"}) == [row for row in rows if row.meter == "M-5"]
    assert reading_rows([call], {}, pages) == []


def test_a_reading_that_no_column_holds_is_refused() -> None:
    for wh in (-1, 2**32):
        with pytest.raises(ContractError, match="VALUE_ERROR"):
            columns(["M"], {"M": (wh, 0)})
