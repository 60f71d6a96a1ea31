"""Certificates: how much was issued, traded and retired, and the newest retirements."""

from __future__ import annotations

from itertools import islice
from typing import Any

from controlroom.clock import slot_label, slots_of
from controlroom.model import Model
from controlroom.origin import Certificate, Retirement
from controlroom.room import Params, Room, View, chosen_day, shown_day

LISTED = 60


def certificates(room: Room, params: Params) -> View:
    model, origin = room.model, room.model.origin
    chosen = chosen_day(model, params)
    slots = slots_of(chosen) if chosen is not None else range(0)
    newest = islice(reversed(origin.retirements.values()), LISTED)
    until = model.days.get(chosen, slots.start) if chosen is not None else 0  # nothing is said of what is to come
    of_day = sorted((c for c in origin.certificates.values() if c.slot in slots), key=lambda c: -c.certificate_id)
    return {
        "day": chosen.isoformat() if chosen is not None else None,
        "first": slots.start,
        "labels": [slot_label(s) for s in slots],
        "issued_wh": [origin.issued_wh.get(s, 0) if s <= until else None for s in slots],
        "traded_wh": [origin.traded_wh.get(s, 0) if s <= until else None for s in slots],
        "retired_wh": [origin.retired_wh.get(s, 0) if s <= until else None for s in slots],
        "total_issued_wh": sum(origin.issued_wh.values()),
        "total_traded_wh": sum(origin.traded_wh.values()),
        "total_retired_wh": sum(origin.retired_wh.values()),
        "total_ended_wh": origin.ended_wh,
        "count": origin.certificate_count,
        "retirement_count": origin.retirement_count,
        "certificates": [shown_certificate(model, c) for c in of_day[:LISTED]],
        "retirements": [shown_retirement(model, r) for r in newest],
    }


def shown_certificate(model: Model, one: Certificate) -> dict[str, Any]:
    return {
        "id": one.certificate_id,
        "device": one.device,
        "technology": one.technology,
        "location": one.location,
        "slot": one.slot,
        "day": shown_day(one.slot),
        "label": slot_label(one.slot),
        "quantity": one.quantity,
        "left": one.left,
        "unit": one.unit,
        "owner": one.owner,
        "owner_name": model.people.name(one.owner),
        "sale_price": one.price_micros_per_kwh,
    }


def shown_retirement(model: Model, one: Retirement) -> dict[str, Any]:
    return {
        "id": one.retirement_id,
        "certificate": one.certificate_id,
        "device": one.device,
        "slot": one.slot,
        "day": shown_day(one.slot),
        "label": slot_label(one.slot),
        "quantity": one.quantity,
        "unit": one.unit,
        "owner_name": model.people.name(one.owner),
        "beneficiary_name": model.people.name(one.beneficiary),
        "purpose": one.purpose,
        "retired_ms": one.retired_ms,
        "tx_id": one.tx_id,
        "height": one.height,
    }
