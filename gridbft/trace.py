"""A certificate's way: from the meter reading that it was issued for, through every owner, to its retirements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
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
    "seller",
    "buyer",
    "price_micros_per_kwh",
    "amount_micros",
    "storage",
    "stored_wh",
    "over_wh",
)
_OF_A_CERTIFICATE = ("LockedForSale", "Unlocked", "Sold")  # they name a certificate, and not its units


@dataclass(frozen=True, slots=True)
class Way:
    """`units` are those that the certificate had when it came to be; `events` all that happened to any of them, in order."""

    certificate_id: int
    device: str
    slots: range
    units: range
    events: tuple[Happened, ...]

    @property
    def is_carbon(self) -> bool:
        """Units of 1 kg CO2e of a project, which has no meter; `slots` are then those of its year."""
        return self.device.startswith("carbon/")

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
    told = _with_units(e for e in events if e.contract == "certificates")
    birth = next((e for e in told if e.fields.get("certificate_id") == certificate_id), None)
    if birth is None:
        return None
    device, units = birth.fields["device"], units_of(birth)
    flagged = {(device, slot) for slot in _slots(birth)}
    mine = tuple(
        e
        for e in told
        if (e.fields["device"] == device and len(overlap(units_of(e), units)) > 0)
        or (e.name == "Flagged" and (e.fields["device"], e.fields["slot"]) in flagged)
    )
    return Way(certificate_id, device, _slots(birth), units, mine)


def _with_units(events: Iterable[Happened]) -> list[Happened]:
    """Every event about units, with `device`, `unit_start` and `unit_end`: of a sale those that the certificate then had,
    of what was charged into a storage device those that were retired for it. A flag has no units."""
    told: list[Happened] = []
    has: dict[int, tuple[str, int, int]] = {}  # certificate -> device and units
    retired: dict[int, tuple[str, int, int]] = {}
    for e in events:
        f = e.fields
        if {"device", "unit_start", "unit_end"} <= set(f):
            units = f["device"], f["unit_start"], f["unit_end"]
            if e.name in ("Retired", "Ended"):
                _takes(has, f["certificate_id"], units)
                retired[f.get("retirement_id", 0)] = units
            else:
                if f.get("parent", f["certificate_id"]) != f["certificate_id"]:
                    _takes(has, f["parent"], units)
                has[f["certificate_id"]] = units
            told.append(e)
        elif e.name in _OF_A_CERTIFICATE and f["certificate_id"] in has:
            told.append(_completed(e, has[f["certificate_id"]], {}))
        elif e.name == "Charged" and f["retirement_id"] in retired:
            told.append(_completed(e, retired[f["retirement_id"]], {"storage": f["device"]}))
        elif e.name == "Flagged":
            told.append(_completed(e, (f["device"], 0, 0), {}))
    return told


def _takes(has: dict[int, tuple[str, int, int]], certificate_id: int, units: tuple[str, int, int]) -> None:
    """What is given, used or ended are always the first units."""
    if certificate_id in has:
        device, _, end = has[certificate_id]
        has[certificate_id] = (device, units[2], end)


def _completed(event: Happened, units: tuple[str, int, int], more: Mapping[str, Any]) -> Happened:
    told = {"device": units[0], "unit_start": units[1], "unit_end": units[2]}
    return replace(event, fields={**event.fields, **more, **told})


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
        "technology": issued.get("technology", issued.get("methodology", "")),
        "unit": issued.get("unit", "kgCO2e" if way.is_carbon else "Wh"),
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
