"""What a bill stands on: the chain's events, the readings behind them, and the terms and rates that a node tells."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from contracts.energy.imbalance import Terms
from contracts.energy.metering import NO_READING
from contracts.energy.rosters import page_number
from contracts.host import column_values
from gridbft.history import Asked, Happened

_SUBMISSIONS = ("submit", "submit_signed")  # functions of metering whose first argument is a list of rows
_PACKED = "submit_packed"


class ExplainError(Exception):
    """What the node tells contradicts itself; the message says where."""


@dataclass(frozen=True, slots=True)
class Row:
    """A reading as its meter operator, or its device, sent it."""

    meter: str
    slot: int
    import_wh: int
    export_wh: int
    quality: str
    tx_id: str
    sender: str
    place: tuple[int, int]  # height, and the transaction's place in its block


@dataclass(slots=True)
class Ground:
    """All that explains one account's bill. Where `first_height` is not 1, the node has pruned the blocks before it."""

    account: str
    events: list[Happened] = field(default_factory=list)
    readings: dict[tuple[str, int], list[Row]] = field(default_factory=dict)  # (meter, slot), oldest first
    terms: dict[int, Terms] = field(default_factory=dict)  # slot
    tariffs: dict[tuple[str, int], list[int]] = field(default_factory=dict)  # (zone, slot): as grid.tariff
    first_height: int = 1

    @property
    def pruned(self) -> bool:
        return self.first_height > 1

    def of(self, contract: str, name: str) -> list[Happened]:
        return [e for e in self.events if e.kind == (contract, name)]


Pages = Mapping[int, Sequence[str]]
"""The meters of rosters' pages, place by place, by the page's number among all pages."""


def reading_rows(
    calls: Iterable[Asked],
    place: Mapping[str, tuple[int, int]],
    pages: Pages,
    meters: Container[str] | None = None,
) -> list[Row]:
    """The rows of the given meters (None: all) in a block's calls; `place` has the place of the transactions that worked.

    Of packed readings those on the given pages: for all, `pages` must have those of `packed_pages`.
    """
    rows: list[Row] = []
    for call in calls:
        if call.contract != "metering" or call.tx_id not in place:
            continue
        at = call.tx_id, call.sender, place[call.tx_id]
        if call.function in _SUBMISSIONS:
            for row in call.args[0]:
                if meters is None or row[0] in meters:
                    rows.append(
                        Row(row[0], row[1], row[2], row[3], row[4] if call.function == "submit" else "DIRECT", *at)
                    )
        elif call.function == _PACKED:
            for number, imported, exported in _columns(call):
                for meter, import_wh, export_wh in _page_rows(pages.get(number, ()), imported, exported):
                    if meters is None or meter in meters:
                        rows.append(Row(meter, call.args[1], import_wh, export_wh, "DIRECT", *at))
    return rows


def packed_pages(calls: Iterable[Asked]) -> dict[int, int]:
    """The number of each page that packed readings are about, and how many meters it had then."""
    packed = [call for call in calls if (call.contract, call.function) == ("metering", _PACKED)]
    return {number: len(imported) // 4 for call in packed for number, imported, _ in _columns(call)}


def _columns(call: Asked) -> Iterator[tuple[int, bytes, bytes]]:
    """(page, imports, exports) of a call that packs readings."""
    roster, _, first_page, imports, exports = call.args
    for page, (imported, exported) in enumerate(zip(imports, exports, strict=True), first_page):
        yield page_number(roster, page), imported, exported


def _page_rows(members: Sequence[str], imported: bytes, exported: bytes) -> Iterator[tuple[str, int, int]]:
    """(meter, import_wh, export_wh) where there is a reading. The page may have grown since."""
    for meter, import_wh, export_wh in zip(members, column_values(imported), column_values(exported), strict=False):
        if import_wh != NO_READING:
            yield meter, import_wh, export_wh
