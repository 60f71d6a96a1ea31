"""The feeder's drawing and its flows."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlroom.grid import Grid, GridError, load_grid
from devnet.day import DATA

GRID = load_grid(DATA)


def test_every_bus_of_the_feeder_is_reached_and_none_twice() -> None:
    assert len(GRID.buses) == len(GRID.lines) + 1 == 96
    assert not any(line.is_open for line in GRID.lines)
    places = {(bus.step, bus.lane) for bus in GRID.buses.values()}
    assert len(places) == len(GRID.buses)
    assert len(GRID.capacity_wh) == 8


@given(st.data())
def test_what_leaves_the_transformer_is_what_all_buses_take(data: st.DataObject) -> None:
    buses = sorted(GRID.buses)
    net = {bus: data.draw(st.integers(-10_000, 10_000)) for bus in data.draw(st.sets(st.sampled_from(buses)))}
    flows = GRID.flows_wh(net)
    assert sum(flows[line.name] for line in GRID.lines if line.near == GRID.root) + net.get(GRID.root, 0) == sum(
        net.values()
    )
    for bus in buses:
        inward = sum(flows[line.name] for line in GRID.lines if line.far == bus)
        outward = sum(flows[line.name] for line in GRID.lines if line.near == bus)
        if bus != GRID.root:
            assert inward == outward + net.get(bus, 0)


def test_a_line_that_closes_a_ring_is_drawn_open(tmp_path: Path) -> None:
    ring = _folder(tmp_path, "l1,A,B,10,270\nl2,B,C,10,270\nl3,C,A,10,270\n")
    assert [line.name for line in ring.lines if line.is_open] != []
    assert sum(ring.flows_wh({"C": 7, "B": 3})[line.name] for line in ring.lines if line.near == "A") == 10


@pytest.mark.parametrize("lines", ["", "l1,A,B,ten,270\n", "l1,A\n"])
def test_files_that_hold_no_feeder_are_refused_in_a_sentence(tmp_path: Path, lines: str) -> None:
    with pytest.raises(GridError):
        _folder(tmp_path, lines)
    with pytest.raises(GridError):
        load_grid(tmp_path / "nowhere")


def _folder(folder: Path, lines: str) -> Grid:
    (folder / "lines.csv").write_text("line,from_bus,to_bus,length_m,max_i_a\n" + lines)
    (folder / "transformer.csv").write_text("lv_bus,rated_va\nA,250000\n")
    (folder / "meters.csv").write_text("meter,bus,kind,rated_w,capacity_wh\nB1,B,battery,1000,2000\n")
    return load_grid(folder)
