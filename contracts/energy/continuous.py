"""The continuous double auction: the same products as the market's, traded before the gate as orders meet.

An order that comes in trades at once with the best resting orders of the other side that its limit covers, each at the
resting order's own limit (pay as bid); equal limits by arrival. What is left rests until the product's gate closes, until
its owner takes it back, or until an operator lets it expire after the gate.

A buy order can ask for an attribute: "renewable" trades only with who produces renewably, "feeder" only with who is
connected to the buyer's feeder. Trades across zones need free transfer capacity. A resting buy order holds its worst-case
cost; grid fees and losses are those of the product (see market) and stand in the trade's event. An order that would meet
an own resting order is refused.
"""

from contracts.host import Map, NamedTuple, Value, call, ctx, emit, export, fail, replace, require, view

MAX_QUANTITY_WH = 1_000_000_000
MAX_LIMIT_MICROS_PER_KWH = 1_000_000_000
MAX_RESTING = 200  # of a product and side
MAX_RESTING_OF_ACCOUNT = 100  # of a product, both sides together: nobody can fill a book up for the others
MAX_EXPIRED_AT_ONCE = 100
PPM = 1_000_000

Resting = NamedTuple(
    "Resting",
    [
        ("account", str),
        ("side", str),
        ("quantity_wh", int),
        ("left_wh", int),
        ("limit_micros_per_kwh", int),
        ("attribute", str),
        ("hold_id", int),
        ("zone", str),
        ("slot", int),
        ("feeder", str),
        ("home", str),  # the account's zone if it is not the product's, else ""
        ("renewable", bool),
    ],
)

resting: Map[int, Resting] = Map("resting")
resting_counts: Map[tuple[str, int, str], int] = Map("resting_counts")  # (zone, slot, account)
last_order: Value[int] = Value("last_order", 0)
bids: Map[tuple[str, int], list[tuple[int, int]]] = Map("bids")  # (zone, slot) -> (-limit, order), best first
asks: Map[tuple[str, int], list[tuple[int, int]]] = Map("asks")  # (zone, slot) -> (limit, order), best first


# --- The rule: plain functions, also used away from the chain ----------------------------------------------------------


def inserted(book: list[tuple[int, int]], row: tuple[int, int]) -> list[tuple[int, int]]:
    """The book with one more row, after all that are as good: rows are (limit, or -limit for bids; order)."""
    place = len([one for one in book if one <= row])
    longer = list(book)
    longer.insert(place, row)
    return longer


def meets(buy_limit: int, sell_limit: int) -> bool:
    return buy_limit >= sell_limit


def fits(attribute: str, buyer_feeder: str, seller_feeder: str, seller_renewable: bool) -> bool:
    """Whether a seller delivers what a buy order's attribute asks for."""
    if attribute == "renewable":
        return seller_renewable
    if attribute == "feeder":
        return buyer_feeder != "" and buyer_feeder == seller_feeder
    return True


# --- On the chain ------------------------------------------------------------------------------------------------------


def worst_cost(tariff: list[int], quantity_wh: int, limit_micros_per_kwh: int) -> int:
    fee = max(tariff[0], tariff[2], tariff[4])
    loss_ppm = max(tariff[1], tariff[3], tariff[5])
    return (limit_micros_per_kwh * (PPM + loss_ppm) + fee * PPM) * quantity_wh // (1000 * PPM)


def path_of(one: Resting, other: Resting) -> int:
    """0 within a feeder, 1 within a zone, 2 across zones."""
    if one.home != other.home:
        return 2
    return 0 if one.feeder == other.feeder and one.feeder != "" else 1


def transferable(buy: Resting, sell: Resting, quantity_wh: int) -> int:
    """How much of the quantity the grid can carry from the seller's zone through the product's to the buyer's."""
    if sell.home == buy.home:
        return quantity_wh
    if sell.home != "":
        quantity_wh = min(quantity_wh, call("grid", "free_capacity", sell.home, sell.zone, sell.slot))
    if buy.home != "":
        quantity_wh = min(quantity_wh, call("grid", "free_capacity", buy.zone, buy.home, buy.slot))
    return quantity_wh


def take_capacity(buy: Resting, sell: Resting, quantity_wh: int) -> None:
    if sell.home == buy.home:
        return
    if sell.home != "":
        call("grid", "use_capacity", sell.home, sell.zone, sell.slot, quantity_wh)
    if buy.home != "":
        call("grid", "use_capacity", buy.zone, buy.home, buy.slot, quantity_wh)


def trade(
    buy: Resting, buy_order: int, sell: Resting, sell_order: int, quantity_wh: int, price: int, tariff: list[int]
) -> None:
    """Pays a trade out of the buyer's hold or, for one that came in, its balance, and records it."""
    path = path_of(buy, sell)
    amount_micros = price * quantity_wh // 1000
    fee_micros = tariff[2 * path] * quantity_wh // 1000
    loss_ppm = tariff[2 * path + 1]
    loss_micros = price * quantity_wh * loss_ppm // (1000 * PPM)
    for to, part_micros in ((sell.account, amount_micros), ("grid", fee_micros + loss_micros)):
        if part_micros > 0 and buy.hold_id != 0:
            call("payments", "capture", buy.hold_id, to, part_micros)
        elif part_micros > 0:
            call("payments", "move", buy.account, to, part_micros)
    take_capacity(buy, sell, quantity_wh)
    call("market", "reserve", buy.account, buy.slot, -quantity_wh, 0)
    call("market", "reserve", sell.account, sell.slot, 0, -quantity_wh)
    call("market", "record", buy.slot, [(buy.account, sell.account, quantity_wh)])
    emit(
        "Traded",
        zone=buy.zone,
        slot=buy.slot,
        buyer=buy.account,
        seller=sell.account,
        buy_order=buy_order,
        sell_order=sell_order,
        quantity_wh=quantity_wh,
        price_micros_per_kwh=price,
        amount_micros=amount_micros,
        path=("feeder", "zone", "across")[path],
        fee_micros=fee_micros,
        loss_wh=loss_ppm * quantity_wh // PPM,
        loss_micros=loss_micros,
    )


def match(order_id: int, incoming: Resting, tariff: list[int]) -> Resting:
    """Trades with the other side, best first. Returns the incoming order with what is left of it."""
    key = (incoming.zone, incoming.slot)
    buying = incoming.side == "buy"
    book = asks.get(key, []) if buying else bids.get(key, [])
    gone: list[int] = []
    for row in book:
        other_id = row[1]
        other = resting[other_id]
        price = other.limit_micros_per_kwh
        crossing = (
            meets(incoming.limit_micros_per_kwh, price) if buying else meets(price, incoming.limit_micros_per_kwh)
        )
        if incoming.left_wh == 0 or not crossing:
            break
        require(other.account != incoming.account, "SELF_TRADE")
        buy = incoming if buying else other
        sell = other if buying else incoming
        if not fits(buy.attribute, buy.feeder, sell.feeder, sell.renewable):
            continue
        quantity_wh = transferable(buy, sell, min(incoming.left_wh, other.left_wh))
        if quantity_wh > 0:
            buy_order = order_id if buying else other_id
            sell_order = other_id if buying else order_id
            trade(buy, buy_order, sell, sell_order, quantity_wh, price, tariff)
            incoming = replace(incoming, left_wh=incoming.left_wh - quantity_wh)
            if other.left_wh == quantity_wh:
                gone.append(other_id)
                end(other_id, other)
            else:
                resting[other_id] = replace(other, left_wh=other.left_wh - quantity_wh)
    if len(gone) > 0:
        kept = [one for one in book if one[1] not in gone]
        if buying:
            asks[key] = kept
        else:
            bids[key] = kept
    return incoming


def end(order_id: int, found: Resting) -> None:
    """An order is out of the book: what its hold still has goes back."""
    if found.hold_id != 0 and call("payments", "held_by", found.hold_id) is not None:
        call("payments", "release_all", found.hold_id)
    key = (found.zone, found.slot, found.account)
    resting_counts[key] = resting_counts[key] - 1
    del resting[order_id]


@export
def place(zone: str, slot: int, side: str, quantity_wh: int, limit_micros_per_kwh: int, attribute: str) -> int:
    """A participant's order; attribute "" or, of a buy, "renewable" or "feeder". Trades at once; what is left rests.

    Returns the order's id.
    """
    account = ctx.caller
    require(side == "buy" or side == "sell", "UNKNOWN_SIDE")
    require(0 < quantity_wh <= MAX_QUANTITY_WH, "QUANTITY_OUT_OF_RANGE")
    require(0 <= limit_micros_per_kwh <= MAX_LIMIT_MICROS_PER_KWH, "LIMIT_OUT_OF_RANGE")
    require(attribute in ("", "renewable", "feeder"), "UNKNOWN_ATTRIBUTE")
    buying = side == "buy"
    require(buying or attribute == "", "ATTRIBUTE_OF_A_SELL")
    require(call("registry", "is_participant", account), "NOT_A_PARTICIPANT")
    if not buying:
        call("market", "require_seller", account, zone, slot)
    renewable = not buying and call("registry", "produces_renewably", account)
    feeder, away = call("market", "place_of", account, zone, slot)
    tariff = call("market", "join", zone, slot)
    call("market", "reserve", account, slot, quantity_wh if buying else 0, 0 if buying else quantity_wh)
    order_id = last_order.get() + 1
    last_order.set(order_id)
    emit(
        "OrderPlaced",
        order_id=order_id,
        zone=zone,
        slot=slot,
        account=account,
        side=side,
        quantity_wh=quantity_wh,
        limit_micros_per_kwh=limit_micros_per_kwh,
        attribute=attribute,
    )
    incoming = Resting(
        account,
        side,
        quantity_wh,
        quantity_wh,
        limit_micros_per_kwh,
        attribute,
        0,
        zone,
        slot,
        feeder,
        away,
        renewable,
    )
    incoming = match(order_id, incoming, tariff)
    if incoming.left_wh > 0:
        rest(order_id, incoming, tariff)
    return order_id


def rest(order_id: int, incoming: Resting, tariff: list[int]) -> None:
    key = (incoming.zone, incoming.slot)
    counted = (incoming.zone, incoming.slot, incoming.account)
    count = resting_counts.get(counted, 0)
    require(count < MAX_RESTING_OF_ACCOUNT, "TOO_MANY_ORDERS")
    resting_counts[counted] = count + 1
    if incoming.side == "buy":
        book = bids.get(key, [])
        require(len(book) < MAX_RESTING, "BOOK_FULL")
        cost_micros = worst_cost(tariff, incoming.left_wh, incoming.limit_micros_per_kwh)
        if cost_micros > 0:
            incoming = replace(incoming, hold_id=call("payments", "hold", incoming.account, cost_micros))
        bids[key] = inserted(book, (-incoming.limit_micros_per_kwh, order_id))
    else:
        book = asks.get(key, [])
        require(len(book) < MAX_RESTING, "BOOK_FULL")
        asks[key] = inserted(book, (incoming.limit_micros_per_kwh, order_id))
    resting[order_id] = incoming


def take_out(order_id: int, found: Resting) -> None:
    key = (found.zone, found.slot)
    if found.side == "buy":
        bids[key] = [row for row in bids[key] if row[1] != order_id]
        call("market", "reserve", found.account, found.slot, -found.left_wh, 0)
    else:
        asks[key] = [row for row in asks[key] if row[1] != order_id]
        call("market", "reserve", found.account, found.slot, 0, -found.left_wh)
    end(order_id, found)
    emit(
        "OrderEnded",
        order_id=order_id,
        zone=found.zone,
        slot=found.slot,
        account=found.account,
        left_wh=found.left_wh,
    )


@export
def cancel(order_id: int) -> None:
    """The owner takes what is left of a resting order back, before the gate or after it."""
    found = resting.get(order_id, None)
    if found is None:
        fail("UNKNOWN_ORDER")
    require(found.account == ctx.caller, "NOT_YOUR_ORDER")
    take_out(order_id, found)


@export
def expire(zone: str, slot: int) -> int:
    """An operator ends the resting orders of a product whose gate is closed, 100 a call. Returns how many are left."""
    require(call("registry", "has_role", ctx.caller, "OPERATOR"), "NOT_OPERATOR")
    require(not call("market", "is_open", zone, slot), "GATE_OPEN")
    standing = bids.get((zone, slot), []) + asks.get((zone, slot), [])
    for row in standing[:MAX_EXPIRED_AT_ONCE]:
        take_out(row[1], resting[row[1]])
    return max(0, len(standing) - MAX_EXPIRED_AT_ONCE)


@view
def order(order_id: int) -> Resting | None:
    """A resting order, or None once it is filled or ended."""
    return resting.get(order_id, None)


@view
def book(zone: str, slot: int) -> tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]:
    """(bids, asks) of a product as (order, limit in micros per kWh, Wh left), best first."""
    return (
        [(row[1], -row[0], resting[row[1]].left_wh) for row in bids.get((zone, slot), [])],
        [(row[1], row[0], resting[row[1]].left_wh) for row in asks.get((zone, slot), [])],
    )
