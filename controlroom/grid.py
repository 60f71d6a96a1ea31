"""The feeder as a drawing: its buses in lanes from the transformer outwards, and what flows through each line.

The files are those of a feeder folder: `lines.csv` (line, from_bus, to_bus, length_m, ..., max_i_a), `transformer.csv`
(transformer, hv_bus, lv_bus, rated_va, ...) and `meters.csv` (meter, bus, kind, rated_w, capacity_wh). A feeder is radial;
a line that would close a ring is drawn and carries nothing, as an open switch does.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

VOLTAGE_V = 400.0
SLOTS_AN_HOUR = 4


class GridError(ValueError):
    """The folder holds no feeder; the message names the file and what is wrong."""


@dataclass(frozen=True, slots=True)
class Line:
    name: str
    near: str  # the bus on the transformer's side
    far: str
    length_m: float
    max_i_a: float
    is_open: bool = False

    @property
    def rated_w(self) -> float:
        """What it carries at its current limit, three phases, power factor one."""
        return 3**0.5 * VOLTAGE_V * self.max_i_a


@dataclass(frozen=True, slots=True)
class Bus:
    """`step` counts lines from the transformer, `lane` is the row it is drawn in."""

    name: str
    step: int
    lane: float
    length_m: float


@dataclass(frozen=True, slots=True)
class Grid:
    """`order` lists the buses outwards from the root: a bus stands behind the one that feeds it."""

    root: str
    rated_va: int
    buses: dict[str, Bus]
    lines: tuple[Line, ...]
    capacity_wh: dict[str, int]  # of batteries, by meter

    def flows_wh(self, net_wh: Mapping[str, int]) -> dict[str, int]:
        """Line -> Wh that flow outwards through it, negative towards the transformer; `net_wh`: import less export of buses.

        Losses are left out.
        """
        beyond = {name: net_wh.get(name, 0) for name in self.buses}
        flows: dict[str, int] = {}
        for line in sorted(self.lines, key=lambda one: -self.buses[one.far].step):
            if line.is_open:
                flows[line.name] = 0
                continue
            flows[line.name] = beyond[line.far]
            beyond[line.near] += beyond[line.far]
        return flows


def load_grid(folder: Path) -> Grid:
    """Raises GridError."""
    lines = _rows(folder / "lines.csv", ("line", "from_bus", "to_bus", "length_m", "max_i_a"))
    transformers = _rows(folder / "transformer.csv", ("lv_bus", "rated_va"))
    meters = _rows(folder / "meters.csv", ("meter", "capacity_wh"))
    try:
        raw = [(r["line"], r["from_bus"], r["to_bus"], float(r["length_m"]), float(r["max_i_a"])) for r in lines]
        root, rated_va = transformers[0]["lv_bus"], int(transformers[0]["rated_va"])
        capacity = {r["meter"]: int(r["capacity_wh"]) for r in meters if r["capacity_wh"]}
    except (ValueError, IndexError) as error:
        raise GridError(f"{folder}: a number is none, or the transformer is missing: {error}") from error
    return _laid_out(raw, root, rated_va, capacity)


def _rows(file: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    try:
        with file.open(encoding="utf-8", newline="") as text:
            rows = list(csv.DictReader(text))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise GridError(f"{file} cannot be read: {error}") from error
    missing = [c for c in columns if not rows or rows[0].get(c) is None]
    if missing:
        raise GridError(f"{file}: the column {missing[0]} is missing")
    return rows


def _laid_out(
    raw: list[tuple[str, str, str, float, float]], root: str, rated_va: int, capacity: dict[str, int]
) -> Grid:
    neighbours: dict[str, list[tuple[str, int]]] = {}
    for place, (_, one, other, _, _) in enumerate(raw):
        neighbours.setdefault(one, []).append((other, place))
        neighbours.setdefault(other, []).append((one, place))
    steps, lengths, children = {root: 0}, {root: 0.0}, {root: list[str]()}
    queue, used, lines = [root], set[int](), list[Line]()
    for bus in queue:
        for other, place in neighbours.get(bus, []):
            if place in used:
                continue
            used.add(place)
            name, _, _, length_m, max_i_a = raw[place]
            closes_a_ring = other in steps
            lines.append(Line(name, bus, other, length_m, max_i_a, closes_a_ring))
            if not closes_a_ring:
                steps[other], lengths[other] = steps[bus] + 1, lengths[bus] + length_m
                children[other] = []
                children[bus].append(other)
                queue.append(other)
    lanes = _lanes(queue, children)
    buses = {name: Bus(name, steps[name], lanes[name], lengths[name]) for name in queue}
    return Grid(root, rated_va, buses, tuple(lines), capacity)


def _lanes(order: list[str], children: dict[str, list[str]]) -> dict[str, float]:
    """A lane for each end; a bus stands in the lane of its longest branch, the root in the middle."""
    depth = dict.fromkeys(order, 0)
    for bus in reversed(order):
        depth[bus] = max((depth[c] + 1 for c in children[bus]), default=0)
    lanes: dict[str, float] = {}
    taken = 0
    stack = [order[0]]
    ends: list[str] = []
    while stack:
        bus = stack.pop()
        if not children[bus]:
            ends.append(bus)
        stack += sorted(children[bus], key=lambda c: depth[c])
    for bus in ends:
        lanes[bus] = float(taken)
        taken += 1
    for bus in reversed(order):
        if children[bus]:
            longest = max(children[bus], key=lambda c: depth[c])
            lanes[bus] = lanes[longest]
    if len(children[order[0]]) > 1:
        lanes[order[0]] = (taken - 1) / 2
    return lanes
