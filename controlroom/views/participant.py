"""A participant: what was metered, ordered, traded and settled, and its certificates."""

from __future__ import annotations

from itertools import islice
from typing import Any

from controlroom.clock import day_of, slot_label, slots_of
from controlroom.energy import Settlement
from controlroom.grid import Grid
from controlroom.model import SLOT_MS, Model
from controlroom.people import Meter
from controlroom.room import Params, Room, View, account_of, chosen_day
from controlroom.trading import Trade
from controlroom.views.certificates import shown_certificate, shown_retirement
from controlroom.views.market import shown_orders

LISTED = 120
LISTED_CERTIFICATES = 40


def participants(room: Room, params: Params) -> View:
    """Everybody with a line for the day, in the order of registration, then who only has a role."""
    model = room.model
    chosen = chosen_day(model, params)
    slots = slots_of(chosen) if chosen is not None else range(0)
    sums: dict[str, list[int]] = {}
    for slot in slots:
        for one in model.energy.settled.get(slot, {}).values():
            row = sums.setdefault(one.account, [0, 0, 0, 0])
            row[0] += one.import_wh
            row[1] += one.export_wh
            row[2] += one.bought_wh
            row[3] += one.sold_wh
    listed = sorted(model.people.participants.values(), key=lambda p: p.number)
    return {
        "day": chosen.isoformat() if chosen is not None else None,
        "participants": [
            {
                "account": p.account,
                "name": p.name,
                "kinds": sorted({m.kind for m in model.people.meters_of.get(p.account, [])}),
                **dict(
                    zip(
                        ("import_wh", "export_wh", "bought_wh", "sold_wh"),
                        sums.get(p.account, [0, 0, 0, 0]),
                        strict=True,
                    )
                ),
            }
            for p in listed
        ]
        + [
            {"account": account, "name": model.people.name(account), "kinds": []}
            for account, roles in sorted(model.people.roles.items())
            if roles and account not in model.people.participants
        ],
    }


def participant(room: Room, params: Params) -> View:
    """One participant's day; without `account` the one that fed in most."""
    model = room.model
    account = account_of(model, params) or _most_export(model)
    if not account:
        return {"account": None}
    # Who registered on a young chain has a page before anybody traded: that of the day that the chain has now.
    chosen = chosen_day(model, params) or day_of(model.time_ms // SLOT_MS)
    slots = slots_of(chosen)
    settled = [model.energy.settled.get(s, {}).get(account) for s in slots]
    orders = [o for o in model.trading.orders_of.get(account, []) if o.slot in slots]
    trades = [t for t in model.trading.trades_of.get(account, []) if t.slot in slots]
    origin = model.origin
    owned = sorted(origin.owned.get(account, set()), reverse=True)
    held = [origin.certificates[number] for number in owned if origin.certificates[number].left > 0]
    retired = islice(reversed(origin.retirements_of.get(account, {}).values()), LISTED_CERTIFICATES)
    meters = model.people.meters_of.get(account, [])
    return {
        "account": account,
        "name": model.people.name(account),
        "roles": sorted(model.people.roles.get(account, set())),
        "day": chosen.isoformat(),
        "first": slots.start,
        "labels": [slot_label(s) for s in slots],
        "meters": [_meter(model, room.grid, m, slots) for m in meters],
        "by_kind": _by_kind(model, meters, slots),
        "bought_wh": [s.bought_wh if s else None for s in settled],
        "sold_wh": [s.sold_wh if s else None for s in settled],
        "imbalance_wh": [s.imbalance_wh if s else None for s in settled],
        "activated_wh": [s.activated_wh if s else None for s in settled],
        "envelope_wh": [list(model.people.envelope(account, s)) for s in slots],
        "totals": _totals([s for s in settled if s is not None]),
        "order_count": len(orders),
        "orders": shown_orders(orders[-LISTED:], model.people.name),
        "trade_count": len(trades),
        "trades": [_trade(model, t, account) for t in trades[-LISTED:]],
        "held_wh": sum(c.left for c in held if c.unit == "Wh"),
        "held": [shown_certificate(model, c) for c in held[:LISTED_CERTIFICATES]],
        "held_count": len(held),
        "retired_wh": origin.covered_wh.get(account, 0),
        "retirements": [shown_retirement(model, r) for r in retired],
        "retirement_count": origin.retirement_count_of.get(account, 0),
    }


def _most_export(model: Model) -> str:
    """Somebody worth looking at first: with a roof where there is one."""
    roofs = sorted((m for m in model.people.meters.values() if m.kind == "pv"), key=lambda m: (-m.rating_w, m.code))
    return roofs[0].account if roofs else min(model.people.participants, default="")


def _totals(rows: list[Settlement]) -> dict[str, int]:
    names = ("import_wh", "export_wh", "bought_wh", "sold_wh", "imbalance_wh", "activated_wh")
    return {name: sum(getattr(r, name) for r in rows) for name in names} | {
        "settled_micros": sum(r.amount_micros for r in rows)
    }


def _meter(model: Model, grid: Grid | None, meter: Meter, slots: range) -> dict[str, Any]:
    rows = [model.energy.readings[s][meter.code] for s in slots if meter.code in model.energy.readings.get(s, {})]
    return {
        "code": meter.code,
        "kind": meter.kind,
        "bus": meter.bus,
        "rating_w": meter.rating_w,
        "capacity_wh": grid.capacity_wh.get(meter.code) if grid else None,
        "readings": len(rows),
        "import_wh": sum(r.import_wh for r in rows),
        "export_wh": sum(r.export_wh for r in rows),
        "corrected": sum(r.quality == "CORRECTED" for r in rows),
    }


def _by_kind(model: Model, meters: list[Meter], slots: range) -> list[dict[str, Any]]:
    """What the meters of each kind read, slot by slot: a car's charger apart from the household, a battery from the roof."""
    found = []
    for kind in sorted({m.kind for m in meters}):
        codes = [m.code for m in meters if m.kind == kind]
        read = [[r for code in codes if (r := model.energy.readings.get(s, {}).get(code))] for s in slots]
        found.append(
            {
                "kind": kind,
                "import_wh": [sum(r.import_wh for r in rows) if rows else None for rows in read],
                "export_wh": [sum(r.export_wh for r in rows) if rows else None for rows in read],
            }
        )
    return found


def _trade(model: Model, trade: Trade, account: str) -> dict[str, Any]:
    bought = trade.buyer == account
    return {
        "slot": trade.slot,
        "label": slot_label(trade.slot),
        "side": "buy" if bought else "sell",
        "with": model.people.name(trade.seller if bought else trade.buyer),
        "quantity_wh": trade.quantity_wh,
        "price": trade.price_micros_per_kwh,
        "amount_micros": -trade.amount_micros - trade.costs_micros if bought else trade.amount_micros,
        "market": trade.market,
        "tx_id": trade.tx_id,
    }
