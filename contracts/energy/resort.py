"""The supplier of last resort: what the market leaves open is bought from or sold to it at its tariff.

A supplier posts a tariff: what it takes for a kWh, and what it gives for one. After the gate an operator lets every order of
the product that was not filled be served: the rest of a buy order is bought from the supplier that the account has in the
slot, the rest of a sell order is sold to it. An account without a supplier, a supplier without a tariff, and who cannot
pay are left to imbalance settlement.
"""

from contracts.host import Map, NamedTuple, call, ctx, emit, export, require, view

MAX_PRICE_MICROS_PER_KWH = 1_000_000_000
MAX_AT_ONCE = 1_000

Tariff = NamedTuple("Tariff", [("takes_micros_per_kwh", int), ("gives_micros_per_kwh", int)])

tariffs: Map[str, Tariff] = Map("tariffs")  # supplier
served: Map[tuple[str, int], int] = Map("served")  # (zone, slot) -> how many orders have been looked at


@export
def set_tariff(takes_micros_per_kwh: int, gives_micros_per_kwh: int) -> None:
    """A supplier posts what it takes and what it gives for a kWh; it never gives more than it takes."""
    require(call("registry", "has_role", ctx.caller, "SUPPLIER"), "NOT_A_SUPPLIER")
    require(0 <= gives_micros_per_kwh <= takes_micros_per_kwh <= MAX_PRICE_MICROS_PER_KWH, "PRICE_OUT_OF_RANGE")
    tariffs[ctx.caller] = Tariff(takes_micros_per_kwh, gives_micros_per_kwh)
    emit(
        "TariffSet",
        supplier=ctx.caller,
        takes_micros_per_kwh=takes_micros_per_kwh,
        gives_micros_per_kwh=gives_micros_per_kwh,
    )


def serve_one(zone: str, slot: int, order_id: int, account: str, side: str, left_wh: int) -> None:
    supplier = call("registry", "suppliers_of", [account], slot)[0]
    tariff = tariffs.get(supplier, None)
    if tariff is None or supplier == account:
        return
    buying = side == "buy"
    price = tariff.takes_micros_per_kwh if buying else tariff.gives_micros_per_kwh
    buyer = account if buying else supplier
    seller = supplier if buying else account
    amount_micros = price * left_wh // 1000
    if amount_micros > call("payments", "spendables", [buyer])[0]:
        emit("NotServed", zone=zone, slot=slot, order_id=order_id, account=account, supplier=supplier, left_wh=left_wh)
        return
    if amount_micros > 0:
        call("payments", "move", buyer, seller, amount_micros)
    call("market", "record", slot, [(buyer, seller, left_wh)])
    emit(
        "Served",
        zone=zone,
        slot=slot,
        order_id=order_id,
        account=account,
        supplier=supplier,
        buyer=buyer,
        seller=seller,
        quantity_wh=left_wh,
        price_micros_per_kwh=price,
        amount_micros=amount_micros,
    )


@export
def serve(zone: str, slot: int) -> bool:
    """An operator serves what a cleared product left open, 1,000 orders a call, each once. Returns whether all are done."""
    require(call("registry", "has_role", ctx.caller, "OPERATOR"), "NOT_OPERATOR")
    require(not call("market", "is_open", zone, slot), "GATE_OPEN")
    start = served.get((zone, slot), 0)
    rows = call("market", "orders_of_product", zone, slot, start, MAX_AT_ONCE)
    require(start == 0 or len(rows) > 0, "ALL_SERVED")
    for order_id, order in rows:
        account, side, quantity_wh = order[0], order[1], order[2]
        if order[6] == "EXPIRED" or order[6] == "PART_FILLED":
            serve_one(zone, slot, order_id, account, side, quantity_wh - order[4])
    served[(zone, slot)] = start + len(rows)
    return len(rows) < MAX_AT_ONCE


@view
def tariff(supplier: str) -> tuple[int, int] | None:
    """(takes, gives) of a supplier in micros per kWh, or None."""
    found = tariffs.get(supplier, None)
    return None if found is None else (found.takes_micros_per_kwh, found.gives_micros_per_kwh)
