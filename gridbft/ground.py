"""What a bill stands on: the chain's events, the readings behind them, and the terms and rates that a node tells."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

from contracts.energy.imbalance import Terms
from gridbft.history import Asked, Happened

_SUBMISSIONS = ("submit", "submit_signed")  # functions of metering whose first argument is a list of rows


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


def reading_rows(
    calls: Iterable[Asked], place: Mapping[str, tuple[int, int]], meters: Container[str] | None = None
) -> list[Row]:
    """The rows of the given meters (None: all) in a block's calls; `place` has the place of the transactions that worked."""
    rows: list[Row] = []
    for call in calls:
        if call.contract != "metering" or call.function not in _SUBMISSIONS or call.tx_id not in place:
            continue
        for row in call.args[0]:
            if meters is None or row[0] in meters:
                quality = row[4] if call.function == "submit" else "DIRECT"
                rows.append(Row(row[0], row[1], row[2], row[3], quality, call.tx_id, call.sender, place[call.tx_id]))
    return rows
