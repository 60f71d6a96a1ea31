"""What was metered, what it deviated from what was traded, and what that cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from gridbft.ground import Row
from gridbft.history import Happened

MAX_READINGS = 500_000
"""Readings that are kept: forty days of a feeder with 129 meters. Of older slots the sums stay."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """One account's slot by the last run. Positive imbalance is long, a positive amount is received."""

    account: str
    brp: str
    sold_wh: int
    bought_wh: int
    import_wh: int
    export_wh: int
    activated_wh: int
    imbalance_wh: int
    price_micros_per_kwh: int
    amount_micros: int


@dataclass(frozen=True, slots=True)
class SlotTotals:
    participants: int
    price_micros_per_kwh: int
    imbalance_wh: int
    received_micros: int
    paid_micros: int
    neutrality_micros: int
    run: int


@dataclass(slots=True)
class Energy:
    metered: dict[int, tuple[int, int]] = field(default_factory=dict)  # slot -> import, export Wh
    readings: dict[int, dict[str, Row]] = field(default_factory=dict)  # slot -> meter -> the reading that stands
    corrected: dict[int, dict[str, list[Row]]] = field(default_factory=dict)  # those that stood before it, oldest first
    settled: dict[int, dict[str, Settlement]] = field(default_factory=dict)  # slot -> account
    totals: dict[int, SlotTotals] = field(default_factory=dict)
    posted: dict[int, int] = field(default_factory=dict)  # slot -> reference price
    kept: int = 0  # how many readings there are, corrected ones too
    activations: dict[int, int] = field(default_factory=dict)  # slot -> ordered flexibility, upward positive

    def absorb(self, event: Happened) -> None:
        f = event.fields
        match event.kind:
            case ("imbalance", "PricePosted"):
                self.posted[f["slot"]] = f["price_micros_per_kwh"]
            case ("imbalance", "Settled"):
                names = Settlement.__slots__
                self.settled.setdefault(f["slot"], {})[f["account"]] = Settlement(*(f[name] for name in names))
            case ("imbalance", "Resettled"):
                rows = self.settled.setdefault(f["slot"], {})
                changed = ("import_wh", "export_wh", "imbalance_wh", "price_micros_per_kwh", "amount_micros", "brp")
                if f["account"] in rows:
                    rows[f["account"]] = replace(rows[f["account"]], **{name: f[name] for name in changed})
            case ("imbalance", "SlotSettled"):
                self.totals[f["slot"]] = SlotTotals(*(f[name] for name in SlotTotals.__slots__))
            case ("balancing", "Activated"):
                self.activations[f["slot"]] = self.activations.get(f["slot"], 0) + f["activated_wh"]
            case _:
                pass

    def forget(self, slots: range) -> None:
        """Drops all about the slots."""
        for slot in slots:
            for table in (self.metered, self.settled, self.totals, self.posted, self.activations):
                table.pop(slot, None)
            self._drop_rows(slot)

    def read(self, rows: Iterable[Row]) -> None:
        """Takes in the readings of a block. The last accepted one of a meter and slot stands."""
        for row in rows:
            of_slot = self.readings.setdefault(row.slot, {})
            before = of_slot.get(row.meter)
            if before == row:
                continue  # its block was read twice
            self.kept += 1
            if before is not None:
                older, newer = sorted((before, row), key=lambda one: one.place)  # blocks may be read out of order
                self._keep_corrected(older)
                if newer is before:
                    continue
            of_slot[row.meter] = row
            imported, exported = self.metered.get(row.slot, (0, 0))
            if before is not None:
                imported, exported = imported - before.import_wh, exported - before.export_wh
            self.metered[row.slot] = (imported + row.import_wh, exported + row.export_wh)
        while self.kept > MAX_READINGS and len(self.readings) > 1:
            self._drop_rows(min(self.readings))

    def rows_of(self, meter: str, slot: int) -> list[Row]:
        """All that was read, oldest first: until a slot is settled again its bill stands on what stood before."""
        standing = self.readings.get(slot, {}).get(meter)
        return [] if standing is None else [*self.corrected.get(slot, {}).get(meter, ()), standing]

    def _keep_corrected(self, row: Row) -> None:
        rows = self.corrected.setdefault(row.slot, {}).setdefault(row.meter, [])
        rows.append(row)
        rows.sort(key=lambda one: one.place)

    def _drop_rows(self, slot: int) -> None:
        self.kept -= len(self.readings.pop(slot, ())) + sum(map(len, self.corrected.pop(slot, {}).values()))
