"""A certificate's way: from the meter reading that it was issued for, through every owner, to its retirements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gridbft.ground import Row
from gridbft.history import Happened

SLOT_SECONDS = 900
_SHOWN = (
    "certificate_id",
    "parent",
    "source",
    "owner",
    "beneficiary",
    "purpose",
    "retirement_id",
    "quantity_wh",
    "how",
    "reason",
)


@dataclass(frozen=True, slots=True)
class Way:
    """`units` are those that the certificate had when it came to be; `events` all that happened to any of them, in order."""

    certificate_id: int
    device: str
    slots: range
    units: range
    events: tuple[Happened, ...]

    @property
    def retired_wh(self) -> int:
        return self._used("Retired")

    @property
    def ended_wh(self) -> int:
        """Withdrawn, or expired."""
        return self._used("Ended")

    def _used(self, name: str) -> int:
        return sum(len(overlap(units_of(e), self.units)) for e in self.events if e.name == name)


def trace(events: Iterable[Happened], certificate_id: int) -> Way | None:
    """None where no event tells of such a certificate. `events` are those of the certificates contract, oldest first."""
    told = [e for e in events if e.contract == "certificates" and {"device", "unit_start", "unit_end"} <= set(e.fields)]
    birth = next((e for e in told if e.fields.get("certificate_id") == certificate_id), None)
    if birth is None:
        return None
    device, units = birth.fields["device"], units_of(birth)
    mine = tuple(e for e in told if e.fields["device"] == device and len(overlap(units_of(e), units)) > 0)
    return Way(certificate_id, device, _slots(mine[0]), units, mine)


def units_of(event: Happened) -> range:
    return range(event.fields["unit_start"], event.fields["unit_end"])


def overlap(one: range, other: range) -> range:
    return range(max(one.start, other.start), min(one.stop, other.stop))


def standing_readings(way: Way, rows: Sequence[Row]) -> tuple[Row, ...]:
    """The device's last reading of each slot before the certificate's units were issued."""
    issued = way.events[0]
    found = {r.slot: r for r in rows if r.meter == way.device and r.place <= (issued.height, issued.index)}
    return tuple(found[slot] for slot in way.slots if slot in found)


def way_record(way: Way, readings: Sequence[Row]) -> dict[str, Any]:
    """The way as plain data, oldest first."""
    issued = way.events[0].fields
    return {
        "certificate_id": way.certificate_id,
        "device": way.device,
        "technology": issued.get("technology", ""),
        "location": issued.get("location", ""),
        "interval_start_s": issued["interval_start_s"],
        "interval_end_s": issued["interval_end_s"],
        "unit_start": way.units.start,
        "unit_end": way.units.stop,
        "readings": [_reading_record(r) for r in readings],
        "history": [event_record(e) for e in way.events],
        "retired_wh": way.retired_wh,
        "ended_wh": way.ended_wh,
        "unretired_wh": len(way.units) - way.retired_wh - way.ended_wh,
    }


def event_record(event: Happened) -> Mapping[str, Any]:
    fields = {name: event.fields[name] for name in _SHOWN if name in event.fields}
    units = {"unit_start": event.fields["unit_start"], "unit_end": event.fields["unit_end"]}
    where = {"height": event.height, "time_ms": event.time_ms, "tx_id": event.tx_id}
    return {"event": event.name, **fields, **units, **where}


def _reading_record(row: Row) -> dict[str, Any]:
    energy = {"import_wh": row.import_wh, "export_wh": row.export_wh, "quality": row.quality}
    return {"slot": row.slot, **energy, "signed_by": row.sender, "tx_id": row.tx_id, "height": row.place[0]}


def _slots(issued: Happened) -> range:
    return range(issued.fields["interval_start_s"] // SLOT_SECONDS, -(-issued.fields["interval_end_s"] // SLOT_SECONDS))
