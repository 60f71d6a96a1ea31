"""A low-voltage feeder and one metered day of it, read from CSV files and checked cell by cell.

Pure: text in, values out. What is wrong in a file is said with its row (counted as an editor does, the header is row 1)
and its column, and nothing of a wrong file is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

LOCAL_TIME = ZoneInfo("Europe/Berlin")
SLOT_SECONDS = 900
METER_COLUMNS = ("meter", "bus", "kind", "rated_w", "capacity_wh")
PRODUCTION_KINDS = frozenset({"pv", "wind", "hydro", "biomass"})
CONSUMPTION_KINDS = frozenset({"household", "commercial", "heat_pump", "ev_charger"})
STORAGE_KINDS = frozenset({"battery"})  # how a battery runs is its operator's decision: it has no series
KINDS = PRODUCTION_KINDS | CONSUMPTION_KINDS | STORAGE_KINDS
MAX_DIGITS = 9


class FeederError(ValueError):
    """The message names the file, the row and the column, and says what was expected."""

    def __init__(self, file: str, problem: str, row: int | None = None, column: str | None = None) -> None:
        place = ", ".join(
            part
            for part in (f"row {row}" if row is not None else "", f"column {column}" if column is not None else "")
            if part
        )
        super().__init__(f"{file}: {place}: {problem}" if place else f"{file}: {problem}")
        self.row = row
        self.column = column


@dataclass(frozen=True, slots=True)
class Meter:
    code: str
    bus: str
    kind: str
    rated_w: int
    capacity_wh: int | None  # of a battery

    @property
    def exports(self) -> bool:
        return self.kind in PRODUCTION_KINDS

    @property
    def export_limit_wh(self) -> int:
        """What it can feed in at most in a quarter of an hour: its rating and a tenth on top."""
        return self.rated_w * 11 // 40


@dataclass(frozen=True, slots=True)
class Site:
    """All meters on one bus: they belong to one participant."""

    bus: str
    meters: tuple[Meter, ...]

    @property
    def name(self) -> str:
        return f"bus-{self.bus}"


@dataclass(frozen=True)
class Feeder:
    meters: tuple[Meter, ...]

    @cached_property
    def by_code(self) -> dict[str, Meter]:
        return {meter.code: meter for meter in self.meters}

    @cached_property
    def sites(self) -> tuple[Site, ...]:
        """One for each bus with a meter, in the order of the bus numbers."""
        buses: dict[str, list[Meter]] = {}
        for meter in self.meters:
            buses.setdefault(meter.bus, []).append(meter)
        return tuple(Site(bus, tuple(buses[bus])) for bus in sorted(buses, key=int))


@dataclass(frozen=True)
class DayData:
    """`energy_wh[slot][column]`: Wh through each meter of `meters`, in their direction, in each quarter of an hour."""

    day: date
    meters: tuple[Meter, ...]
    energy_wh: tuple[tuple[int, ...], ...]

    @property
    def first_slot(self) -> int:
        """The chain's number (unix seconds // 900) of the slot that begins at local midnight."""
        return int(_midnight(self.day).timestamp()) // SLOT_SECONDS

    @cached_property
    def consumption_wh(self) -> tuple[int, ...]:
        """Of all meters together, by slot."""
        return self._sums(exports=False)

    @cached_property
    def generation_wh(self) -> tuple[int, ...]:
        return self._sums(exports=True)

    def _sums(self, *, exports: bool) -> tuple[int, ...]:
        wanted = [place for place, meter in enumerate(self.meters) if meter.exports == exports]
        return tuple(sum(row[place] for place in wanted) for row in self.energy_wh)


def slots_of_day(day: date) -> int:
    """92, 96 or 100: clocks change twice a year."""
    length = _midnight(day + timedelta(days=1)) - _midnight(day)
    return int(length.total_seconds()) // SLOT_SECONDS


def parse_feeder(text: str, file: str = "meters.csv") -> Feeder:
    """`meters.csv`: a row is a meter. Raises FeederError."""
    rows = _rows(text, file)
    _expect_header(rows[0], METER_COLUMNS, file)
    meters: dict[str, Meter] = {}
    for number, cells in enumerate(rows[1:], start=2):
        _expect_width(cells, rows[0], number, file)
        meter = _meter(cells, number, file)
        if meter.code in meters:
            raise FeederError(
                file, f"expected a meter that is not listed yet, found {meter.code} again", number, "meter"
            )
        meters[meter.code] = meter
    if not meters:
        raise FeederError(file, "expected at least one meter", 2, "meter")
    return Feeder(tuple(meters.values()))


def parse_day(text: str, file: str, feeder: Feeder) -> DayData:
    """A day's series: `slot` and a column for each meter of the feeder except batteries; `file` is YYYY-MM-DD.csv.

    Raises FeederError.
    """
    day = _day_of(file)
    rows = _rows(text, file)
    meters = _day_header(rows[0], feeder, file)
    expected = slots_of_day(day)
    energy: list[tuple[int, ...]] = []
    for number, cells in enumerate(rows[1:], start=2):
        _expect_width(cells, rows[0], number, file)
        slot = number - 2
        if slot >= expected:
            raise FeederError(file, f"expected {expected} slots on {day}, found more", number, "slot")
        if cells[0] != str(slot):
            raise FeederError(file, f"expected slot {slot}, found {_shown(cells[0])}", number, "slot")
        energy.append(tuple(_energy(cell, meter, number, file) for cell, meter in zip(cells[1:], meters, strict=True)))
    if len(energy) < expected:
        raise FeederError(file, f"expected {expected} slots on {day}, found {len(energy)}", len(energy) + 2, "slot")
    return DayData(day, meters, tuple(energy))


def _midnight(day: date) -> datetime:
    """In UTC, so that differences count real seconds."""
    return datetime.combine(day, time(), LOCAL_TIME).astimezone(UTC)


def _day_of(file: str) -> date:
    try:
        if not file.endswith(".csv"):
            raise ValueError
        return date.fromisoformat(file.removesuffix(".csv"))
    except ValueError:
        raise FeederError(file, "expected a file name YYYY-MM-DD.csv that says which day it is") from None


def _rows(text: str, file: str) -> list[list[str]]:
    lines = text.removeprefix("\ufeff").splitlines()
    if not lines:
        raise FeederError(file, "expected a header, found an empty file", 1)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            raise FeederError(file, "expected values, found an empty line", number, lines[0].split(",")[0])
    return [line.split(",") for line in lines]


def _expect_header(header: list[str], columns: tuple[str, ...], file: str) -> None:
    for place, column in enumerate(columns):
        if place >= len(header) or header[place] != column:
            found = _shown(header[place]) if place < len(header) else "nothing"
            raise FeederError(file, f"expected the column {column}, found {found}", 1, column)
    if len(header) > len(columns):
        raise FeederError(file, f"expected {len(columns)} columns, found another", 1, _shown(header[len(columns)]))


def _day_header(header: list[str], feeder: Feeder, file: str) -> tuple[Meter, ...]:
    if header[0] != "slot":
        raise FeederError(file, f"expected the column slot first, found {_shown(header[0])}", 1, "slot")
    meters: dict[str, Meter] = {}
    for code in header[1:]:
        meter = feeder.by_code.get(code)
        if meter is None or meter.kind in STORAGE_KINDS:
            raise FeederError(file, "expected a meter of meters.csv that is no battery", 1, _shown(code))
        if code in meters:
            raise FeederError(file, "expected each meter once, found it again", 1, code)
        meters[code] = meter
    for meter in feeder.meters:
        if meter.kind not in STORAGE_KINDS and meter.code not in meters:
            raise FeederError(
                file, "expected a column for every meter of meters.csv, this one is missing", 1, meter.code
            )
    return tuple(meters.values())


def _expect_width(cells: list[str], header: list[str], number: int, file: str) -> None:
    if len(cells) < len(header):
        column = header[len(cells)]
        raise FeederError(file, f"expected {len(header)} values, found {len(cells)}", number, column)
    if len(cells) > len(header):
        column = str(len(header) + 1)
        raise FeederError(file, f"expected {len(header)} values, found {len(cells)}", number, column)


def _meter(cells: list[str], number: int, file: str) -> Meter:
    code, bus, kind, rated, capacity = cells
    if not code.isascii() or not code.isalnum() or len(code) > 16:
        raise FeederError(file, f"expected a code of letters and digits, found {_shown(code)}", number, "meter")
    if kind not in KINDS:
        raise FeederError(file, f"expected one of {', '.join(sorted(KINDS))}, found {_shown(kind)}", number, "kind")
    if kind in STORAGE_KINDS:
        capacity_wh = _whole(capacity, 1, number, "capacity_wh", "Wh", file)
    elif capacity:
        raise FeederError(
            file, f"expected nothing, a {kind} has no capacity, found {_shown(capacity)}", number, "capacity_wh"
        )
    else:
        capacity_wh = None
    return Meter(
        code,
        str(_whole(bus, 0, number, "bus", "", file)),
        kind,
        _whole(rated, 1, number, "rated_w", "W", file),
        capacity_wh,
    )


def _energy(cell: str, meter: Meter, number: int, file: str) -> int:
    energy_wh = _whole(cell, 0, number, meter.code, "Wh", file)
    if meter.exports and energy_wh > meter.export_limit_wh:
        limit = f"expected at most {meter.export_limit_wh} Wh from a rating of {meter.rated_w} W, found {energy_wh}"
        raise FeederError(file, limit, number, meter.code)
    return energy_wh


def _whole(cell: str, least: int, number: int, column: str, unit: str, file: str) -> int:
    if not (cell.isascii() and cell.isdigit() and len(cell) <= MAX_DIGITS) or int(cell) < least:
        what = f"a whole number of {unit}" if unit else "a whole number"
        raise FeederError(file, f"expected {what}, {least} or more, found {_shown(cell)}", number, column)
    return int(cell)


def _shown(cell: str) -> str:
    return repr(cell if len(cell) <= 24 else cell[:21] + "...")
