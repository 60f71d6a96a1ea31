"""The market: a slot's curves, book and trades; a day's prices, volumes and imbalances."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any

from controlroom.clock import local_time, slot_label, slots_of
from controlroom.energy import Settlement
from controlroom.room import BadRequest, Params, Room, Tariffs, View, chosen_day, chosen_slot, chosen_zone
from controlroom.trading import Order, Product, Trade

LISTED_TRADES = 200
LISTED_GROUPS = 12


def day(room: Room, params: Params) -> View:
    """Lists hold a value for each slot of the day, None where there is none."""
    model = room.model
    chosen, zone = chosen_day(model, params), chosen_zone(model, params)
    zones = sorted({z for z, _ in model.trading.products})
    if chosen is None:
        return {"day": None, "zones": zones, "zone": zone}
    slots = slots_of(chosen)
    products = [model.trading.products.get((zone, s)) for s in slots]
    totals = [model.energy.totals.get(s) for s in slots]
    return {
        "day": chosen.isoformat(),
        "zones": zones,
        "zone": zone,
        "first": slots.start,
        "slots": len(slots),
        "labels": [slot_label(s) for s in slots],
        "price": [p.price_micros_per_kwh if p else None for p in products],
        "volume_wh": [p.quantity_wh if p and p.cleared else None for p in products],
        "orders": [len(p.orders) if p else None for p in products],
        "traded_wh": [sum(t.quantity_wh for t in model.trading.trades.get(s, [])) for s in slots],
        "turnover_micros": sum(t.amount_micros for s in slots for t in model.trading.trades.get(s, [])),
        "trades": sum(len(model.trading.trades.get(s, [])) for s in slots),
        "imbalance_price": [t.price_micros_per_kwh if t else model.energy.posted.get(s) for s, t in zip(slots, totals, strict=True)],
        "imbalance_wh": [t.imbalance_wh if t else None for t in totals],
        "long_wh": [_sum(model.energy.settled.get(s), lambda wh: max(wh, 0)) for s in slots],
        "short_wh": [_sum(model.energy.settled.get(s), lambda wh: min(wh, 0)) for s in slots],
        "groups": groups(chain.from_iterable(model.energy.settled.get(s, {}).values() for s in slots), model.people.name),
        "group_count": len({one.brp for s in slots for one in model.energy.settled.get(s, {}).values()}),
        "neutrality_micros": sum(t.neutrality_micros for t in totals if t),
        "import_wh": [model.energy.metered[s][0] if s in model.energy.metered else None for s in slots],
        "export_wh": [model.energy.metered[s][1] if s in model.energy.metered else None for s in slots],
        "tariffs": shown_tariffs(room),
    }  # fmt: skip


def slot(room: Room, params: Params) -> View:
    """One product: its curves, its book, its trades, and who deviated."""
    model = room.model
    chosen, zone = chosen_slot(model, params), chosen_zone(model, params)
    if chosen is None:
        raise BadRequest("nothing was traded yet")
    product = model.trading.products.get((zone, chosen), Product(zone, chosen))
    orders = [o for o in product.orders.values() if o.state != "CANCELLED"]
    trades = [t for t in model.trading.trades.get(chosen, []) if t.zone == zone]
    totals = model.energy.totals.get(chosen)
    name = model.people.name
    return {
        "zone": zone,
        "slot": chosen,
        "label": slot_label(chosen),
        "day": local_time(chosen).date().isoformat(),
        "cleared": product.cleared,
        "price": product.price_micros_per_kwh,
        "quantity_wh": product.quantity_wh,
        "demand": curve(orders, "buy"),
        "supply": curve(orders, "sell"),
        "orders": [_order(o, name) for o in product.orders.values()],
        "trade_count": len(trades),
        "trades": [_trade(t, name) for t in trades[:LISTED_TRADES]],
        "imbalance_wh": totals.imbalance_wh if totals else None,
        "imbalance_price": totals.price_micros_per_kwh if totals else model.energy.posted.get(chosen),
        "direction": direction(totals.imbalance_wh) if totals else None,
        "groups": groups(model.energy.settled.get(chosen, {}).values(), name),
        "group_count": len({s.brp for s in model.energy.settled.get(chosen, {}).values()}),
        "tariffs": shown_tariffs(room),
    }


def curve(orders: Iterable[Order], side: str) -> list[list[int]]:
    """[Wh offered so far, limit] of each order: bids from the dearest, asks from the cheapest, ties by arrival."""
    sign = -1 if side == "buy" else 1
    listed = sorted((o for o in orders if o.side == side), key=lambda o: (sign * o.limit_micros_per_kwh, o.order_id))
    total_wh, points = 0, []
    for order in listed:
        total_wh += order.quantity_wh
        points.append([total_wh, order.limit_micros_per_kwh])
    return points


def direction(imbalance_wh: int) -> str:
    return "long" if imbalance_wh > 0 else "short" if imbalance_wh < 0 else "balanced"


def groups(settlements: Iterable[Settlement], name: Callable[[str], str]) -> list[dict[str, Any]]:
    """Balance groups, those that deviate most first; over several slots what was long and what was short net out."""
    sums: dict[str, list[int]] = {}
    members: dict[str, set[str]] = {}
    for one in settlements:
        row = sums.setdefault(one.brp, [0, 0])
        row[0] += one.imbalance_wh
        row[1] += one.amount_micros
        members.setdefault(one.brp, set()).add(one.account)
    ranked = sorted(sums.items(), key=lambda item: (-abs(item[1][0]), item[0]))
    return [
        {"brp": brp, "name": name(brp), "imbalance_wh": wh, "amount_micros": micros, "members": len(members[brp])}
        for brp, (wh, micros) in ranked[:LISTED_GROUPS]
    ]


def shown_tariffs(room: Room) -> dict[str, Any] | None:
    """Of the supplier on the chain (of several the cheapest), else what the server was told."""
    on_chain = sorted(room.model.people.tariffs.values())
    found = Tariffs(*on_chain[0]) if on_chain else room.tariffs
    if found is None:
        return None
    return {
        "retail": found.retail_micros_per_kwh,
        "feed_in": found.feed_in_micros_per_kwh,
        "on_chain": bool(on_chain),
    }


def _sum(settled: dict[str, Settlement] | None, part: Callable[[int], int]) -> int | None:
    """Over balance groups: members of one group net out."""
    if settled is None:
        return None
    by_brp: dict[str, int] = {}
    for one in settled.values():
        by_brp[one.brp] = by_brp.get(one.brp, 0) + one.imbalance_wh
    return sum(part(wh) for wh in by_brp.values())


def _order(order: Order, name: Callable[[str], str]) -> dict[str, Any]:
    return {
        "id": order.order_id,
        "account": order.account,
        "name": name(order.account),
        "side": order.side,
        "quantity_wh": order.quantity_wh,
        "limit": order.limit_micros_per_kwh,
        "filled_wh": order.filled_wh,
        "state": order.shown_state,
    }


def _trade(trade: Trade, name: Callable[[str], str]) -> dict[str, Any]:
    return {
        "market": trade.market,
        "buyer": name(trade.buyer),
        "seller": name(trade.seller),
        "quantity_wh": trade.quantity_wh,
        "price": trade.price_micros_per_kwh,
        "amount_micros": trade.amount_micros,
        "tx_id": trade.tx_id,
    }


def shown_orders(orders: Sequence[Order], name: Callable[[str], str]) -> list[dict[str, Any]]:
    return [
        {**_order(o, name), "zone": o.zone, "slot": o.slot, "label": slot_label(o.slot), "market": o.market}
        for o in orders
    ]
