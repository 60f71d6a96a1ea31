"""The market: energy of one zone in one slot, sold by call auction at gate closure for one price.

A product is (zone, slot); a slot is 15 minutes, `slot = unix_seconds // 900`. Participants place orders until an operator
closes the gate, which clears the product once and for ever:

1. Bids are sorted by limit downwards, asks upwards; equal limits by arrival.
2. The quantity is the largest at which the marginal bid still covers the marginal ask.
3. The price lies between max(marginal accepted ask, best rejected bid) and min(marginal accepted bid, best rejected
   ask), where the unfilled part of a marginal order counts as rejected. It is the midpoint, rounded down.
4. Orders at the margin are filled by arrival. What is not filled ends at the gate, and its money goes back.

A buy order holds its worst-case cost before it stands, so every trade is paid. A trade costs
`price_micros_per_kwh * quantity_wh // 1000`, computed once; the seller receives the very integer that the buyer pays.
Nobody trades with themselves: an order opposite an own open order of the same product is refused.
"""

from contracts.host import Map, NamedTuple, Value, call, ctx, emit, export, replace, require, view

MAX_QUANTITY_WH = 1_000_000_000  # 1 GWh in one order
MAX_LIMIT_MICROS_PER_KWH = 1_000_000_000  # 1,000 units of the currency per kWh
MAX_SLOT = 100_000_000
MAX_ZONE_CHARACTERS = 32
MAX_ORDERS_OF_ACCOUNT = 200  # per product, cancelled ones included: nobody can fill a product up for the others
MAX_ORDERS_OF_PRODUCT = 4_000  # so that the gate, with an event for each trade, always fits one transaction
MAX_PAGE = 1_000

# An order's id is its product's number times this, plus its place in the product's arrival order.
ORDERS_PER_PRODUCT = 1_000_000

Product = NamedTuple(
    "Product",
    [
        ("zone", str),
        ("slot", int),
        ("number", int),
        ("state", str),  # OPEN until the gate, then CLEARED
        ("order_count", int),  # ever placed
        ("price_micros_per_kwh", int),  # -1: no trade, or not cleared yet
        ("quantity_wh", int),
        ("trade_count", int),
    ],
)
Order = NamedTuple(
    "Order",
    [
        ("account", str),
        ("side", str),  # buy or sell
        ("quantity_wh", int),
        ("limit_micros_per_kwh", int),
        ("filled_wh", int),
        ("hold_id", int),  # of a buy that costs anything, else 0
        ("state", str),  # OPEN or CANCELLED; a view adds what the gate made of it: FILLED, PART_FILLED, EXPIRED
    ],
)
Standing = NamedTuple("Standing", [("open_buys", int), ("open_sells", int), ("placed", int)])
Position = NamedTuple("Position", [("bought_wh", int), ("sold_wh", int)])
Gate = NamedTuple("Gate", [("open_products", int), ("closed", bool)])

products: Map[tuple[str, int], Product] = Map("products")  # (zone, slot)
product_keys: Map[int, tuple[str, int]] = Map("product_keys")  # number -> (zone, slot)
product_count: Value[int] = Value("product_count", 0)
orders: Map[int, Order] = Map("orders")
standings: Map[tuple[int, str], Standing] = Map("standings")  # (product number, account)
traded: Map[tuple[str, int], Position] = Map("traded")  # (account, slot), over all zones
gates: Map[int, Gate] = Map("gates")  # slot


# --- The auction: plain functions of orders, also used away from the chain ---------------------------------------------


def match_orders(
    bids: list[tuple[int, str, int, int]], asks: list[tuple[int, str, int, int]]
) -> tuple[int, list[tuple[int, int, int]]]:
    """Rules 1 to 4. Orders are (id, account, quantity_wh, limit_micros_per_kwh) in the order of arrival.

    Returns (price, trades); a trade is (place of the bid in `bids`, place of the ask in `asks`, quantity_wh). The price
    is -1 when nothing trades.
    """
    best_bids = sorted([(-order[3], place) for place, order in enumerate(bids)])
    best_asks = sorted([(order[3], place) for place, order in enumerate(asks)])
    trades: list[tuple[int, int, int]] = []
    bid_rank = 0
    ask_rank = 0
    bid_left = 0 if len(bids) == 0 else bids[best_bids[0][1]][2]
    ask_left = 0 if len(asks) == 0 else asks[best_asks[0][1]][2]
    marginal_bid = -1
    marginal_ask = -1
    while bid_rank < len(best_bids) and ask_rank < len(best_asks):
        bid_limit = -best_bids[bid_rank][0]
        ask_limit, ask_place = best_asks[ask_rank]
        if bid_limit < ask_limit:
            break
        quantity_wh = min(bid_left, ask_left)
        trades.append((best_bids[bid_rank][1], ask_place, quantity_wh))
        marginal_bid = bid_limit
        marginal_ask = ask_limit
        bid_left -= quantity_wh
        ask_left -= quantity_wh
        if bid_left == 0:
            bid_rank += 1
            if bid_rank < len(best_bids):
                bid_left = bids[best_bids[bid_rank][1]][2]
        if ask_left == 0:
            ask_rank += 1
            if ask_rank < len(best_asks):
                ask_left = asks[best_asks[ask_rank][1]][2]
    if len(trades) == 0:
        return (-1, trades)
    lowest = marginal_ask
    if bid_rank < len(best_bids):
        lowest = max(lowest, -best_bids[bid_rank][0])
    highest = marginal_bid
    if ask_rank < len(best_asks):
        highest = min(highest, best_asks[ask_rank][0])
    return ((lowest + highest) // 2, trades)


def clear_auction(
    bids: list[tuple[int, str, int, int]], asks: list[tuple[int, str, int, int]]
) -> tuple[int, int, list[tuple[int, int]]]:
    """The result of `match_orders` by order: (price, quantity_wh, [(id, filled_wh)] of all bids, then of all asks).

    The price is -1 and the quantity 0 when nothing trades.
    """
    price_micros_per_kwh, trades = match_orders(bids, asks)
    bid_fills = [0 for order in bids]
    ask_fills = [0 for order in asks]
    total_wh = 0
    for bid_place, ask_place, quantity_wh in trades:
        bid_fills[bid_place] += quantity_wh
        ask_fills[ask_place] += quantity_wh
        total_wh += quantity_wh
    fills = [(order[0], filled_wh) for order, filled_wh in zip(bids, bid_fills)]
    fills.extend([(order[0], filled_wh) for order, filled_wh in zip(asks, ask_fills)])
    return (price_micros_per_kwh, total_wh, fills)


# --- Order entry -------------------------------------------------------------------------------------------------------


def open_product(zone: str, slot: int) -> Product:
    """The product, made on its first use; refused once the slot is closed."""
    found = products.get((zone, slot), None)
    if found is not None:
        return found
    require(0 < len(zone) <= MAX_ZONE_CHARACTERS, "ZONE_LENGTH")
    require(0 <= slot <= MAX_SLOT, "SLOT_OUT_OF_RANGE")
    gate = gates.get(slot, Gate(0, False))
    require(not gate.closed, "SLOT_CLOSED")
    number = product_count.get() + 1
    product_count.set(number)
    product_keys[number] = (zone, slot)
    gates[slot] = Gate(gate.open_products + 1, False)
    return Product(zone, slot, number, "OPEN", 0, -1, 0, 0)


@export
def place_order(zone: str, slot: int, side: str, quantity_wh: int, limit_micros_per_kwh: int) -> int:
    """A participant's order: buy at most at, or sell at least at, the limit. Good until the gate. Returns its id.

    A buy holds `limit * quantity // 1000` micros of the caller's money.
    """
    account = ctx.caller
    require(side == "buy" or side == "sell", "UNKNOWN_SIDE")
    require(0 < quantity_wh <= MAX_QUANTITY_WH, "QUANTITY_OUT_OF_RANGE")
    require(0 <= limit_micros_per_kwh <= MAX_LIMIT_MICROS_PER_KWH, "LIMIT_OUT_OF_RANGE")
    require(call("registry", "is_participant", account), "NOT_A_PARTICIPANT")
    product = open_product(zone, slot)
    require(product.state == "OPEN", "GATE_CLOSED")
    require(product.order_count < MAX_ORDERS_OF_PRODUCT, "PRODUCT_FULL")
    standing = standings.get((product.number, account), Standing(0, 0, 0))
    require(standing.placed < MAX_ORDERS_OF_ACCOUNT, "TOO_MANY_ORDERS")
    hold_id = 0
    if side == "buy":
        require(standing.open_sells == 0, "SELF_TRADE")
        standing = Standing(standing.open_buys + 1, 0, standing.placed + 1)
        cost_micros = limit_micros_per_kwh * quantity_wh // 1000
        if cost_micros > 0:
            hold_id = call("payments", "hold", account, cost_micros)
    else:
        require(standing.open_buys == 0, "SELF_TRADE")
        standing = Standing(0, standing.open_sells + 1, standing.placed + 1)
    standings[(product.number, account)] = standing
    order_id = product.number * ORDERS_PER_PRODUCT + product.order_count
    orders[order_id] = Order(account, side, quantity_wh, limit_micros_per_kwh, 0, hold_id, "OPEN")
    products[(zone, slot)] = replace(product, order_count=product.order_count + 1)
    emit(
        "OrderPlaced",
        order_id=order_id,
        zone=zone,
        slot=slot,
        account=account,
        side=side,
        quantity_wh=quantity_wh,
        limit_micros_per_kwh=limit_micros_per_kwh,
    )
    return order_id


@export
def cancel_order(order_id: int) -> None:
    """The owner takes an open order back before the gate; a buy's money is free again."""
    require(order_id in orders, "UNKNOWN_ORDER")
    order = orders[order_id]
    require(order.account == ctx.caller, "NOT_YOUR_ORDER")
    require(order.state == "OPEN", "ORDER_NOT_OPEN")
    number = order_id // ORDERS_PER_PRODUCT
    zone, slot = product_keys[number]
    require(products[(zone, slot)].state == "OPEN", "GATE_CLOSED")
    standing = standings[(number, order.account)]
    if order.side == "buy":
        standings[(number, order.account)] = replace(standing, open_buys=standing.open_buys - 1)
    else:
        standings[(number, order.account)] = replace(standing, open_sells=standing.open_sells - 1)
    orders[order_id] = replace(order, hold_id=0, state="CANCELLED")
    if order.hold_id != 0:
        call("payments", "release_all", order.hold_id)
    emit("OrderCancelled", order_id=order_id, zone=zone, slot=slot, account=order.account)


# --- The gate ----------------------------------------------------------------------------------------------------------


def settle_trades(
    product: Product,
    price_micros_per_kwh: int,
    trades: list[tuple[int, int, int]],
    bids: list[tuple[int, str, int, int]],
    asks: list[tuple[int, str, int, int]],
) -> tuple[list[int], dict[str, int]]:
    """Fills orders, moves positions and emits every trade. Returns (micros spent by each bid, micros due to each seller)."""
    slot = product.slot
    bid_fills = [0 for order in bids]
    ask_fills = [0 for order in asks]
    spent_micros = [0 for order in bids]
    due_micros: dict[str, int] = {}
    bought_wh: dict[str, int] = {}
    sold_wh: dict[str, int] = {}
    for bid_place, ask_place, quantity_wh in trades:
        buyer = bids[bid_place][1]
        seller = asks[ask_place][1]
        require(buyer != seller, "SELF_TRADE")
        amount_micros = price_micros_per_kwh * quantity_wh // 1000
        bid_fills[bid_place] += quantity_wh
        ask_fills[ask_place] += quantity_wh
        spent_micros[bid_place] += amount_micros
        due_micros[seller] = due_micros.get(seller, 0) + amount_micros
        bought_wh[buyer] = bought_wh.get(buyer, 0) + quantity_wh
        sold_wh[seller] = sold_wh.get(seller, 0) + quantity_wh
        emit(
            "Traded",
            zone=product.zone,
            slot=slot,
            buyer=buyer,
            seller=seller,
            buy_order=bids[bid_place][0],
            sell_order=asks[ask_place][0],
            quantity_wh=quantity_wh,
            price_micros_per_kwh=price_micros_per_kwh,
            amount_micros=amount_micros,
        )
    for bid, filled_wh in zip(bids, bid_fills):
        if filled_wh > 0:
            orders[bid[0]] = replace(orders[bid[0]], filled_wh=filled_wh)
    for ask, filled_wh in zip(asks, ask_fills):
        if filled_wh > 0:
            orders[ask[0]] = replace(orders[ask[0]], filled_wh=filled_wh)
    for account, quantity_wh in bought_wh.items():
        before = traded.get((account, slot), Position(0, 0))
        traded[(account, slot)] = Position(before.bought_wh + quantity_wh, before.sold_wh)
    for account, quantity_wh in sold_wh.items():
        before = traded.get((account, slot), Position(0, 0))
        traded[(account, slot)] = Position(before.bought_wh, before.sold_wh + quantity_wh)
    return (spent_micros, due_micros)


@export
def clear(zone: str, slot: int) -> None:
    """An operator closes the gate of a product: auction, trades, payment, and every hold released. Once per product."""
    require(call("registry", "has_role", ctx.caller, "OPERATOR"), "NOT_OPERATOR")
    product = open_product(zone, slot)
    require(product.state == "OPEN", "ALREADY_CLEARED")
    bids: list[tuple[int, str, int, int]] = []
    asks: list[tuple[int, str, int, int]] = []
    hold_ids: list[int] = []
    first_id = product.number * ORDERS_PER_PRODUCT
    for order_id in range(first_id, first_id + product.order_count):
        order = orders[order_id]
        if order.state == "OPEN":
            if order.side == "buy":
                bids.append((order_id, order.account, order.quantity_wh, order.limit_micros_per_kwh))
                hold_ids.append(order.hold_id)
            else:
                asks.append((order_id, order.account, order.quantity_wh, order.limit_micros_per_kwh))
    price_micros_per_kwh, trades = match_orders(bids, asks)
    spent_micros, due_micros = settle_trades(product, price_micros_per_kwh, trades, bids, asks)
    debits = [(hold_id, spent) for hold_id, spent in zip(hold_ids, spent_micros) if hold_id != 0]
    if len(debits) > 0:
        call("payments", "settle_holds", debits, [(seller, due) for seller, due in due_micros.items() if due > 0])
    total_wh = sum([trade[2] for trade in trades])
    products[(zone, slot)] = replace(
        product,
        state="CLEARED",
        price_micros_per_kwh=price_micros_per_kwh,
        quantity_wh=total_wh,
        trade_count=len(trades),
    )
    gate = gates[slot]
    gates[slot] = Gate(gate.open_products - 1, gate.closed)
    emit(
        "Cleared",
        zone=zone,
        slot=slot,
        price_micros_per_kwh=price_micros_per_kwh,
        quantity_wh=total_wh,
        trade_count=len(trades),
        bid_count=len(bids),
        ask_count=len(asks),
    )


@export
def close_slot(slot: int) -> None:
    """The settlement, or an operator, ends trading of a slot in every zone; refused while a product of it is open."""
    require(
        ctx.caller == "imbalance" or call("registry", "has_role", ctx.caller, "OPERATOR"),
        "NOT_OPERATOR",
    )
    require(0 <= slot <= MAX_SLOT, "SLOT_OUT_OF_RANGE")
    gate = gates.get(slot, Gate(0, False))
    require(gate.open_products == 0, "MARKET_OPEN")
    if not gate.closed:
        gates[slot] = Gate(0, True)
        emit("SlotClosed", slot=slot)


# --- Views -------------------------------------------------------------------------------------------------------------


def seen(order: Order, product_state: str) -> Order:
    """The order as the gate left it. A gate writes the fills only; what did not trade is not written again."""
    if order.state != "OPEN" or product_state == "OPEN":
        return order
    if order.filled_wh == 0:
        return replace(order, state="EXPIRED")
    return replace(order, state="FILLED" if order.filled_wh == order.quantity_wh else "PART_FILLED")


@view
def order(order_id: int) -> Order | None:
    """The order's record, or None. Its state is OPEN, CANCELLED, FILLED, PART_FILLED or EXPIRED."""
    found = orders.get(order_id, None)
    if found is None:
        return None
    return seen(found, products[product_keys[order_id // ORDERS_PER_PRODUCT]].state)


@view
def product(zone: str, slot: int) -> Product | None:
    """The product's record, or None before its first order."""
    return products.get((zone, slot), None)


@view
def orders_of_product(zone: str, slot: int, start: int, count: int) -> list[tuple[int, Order]]:
    """(id, record) of the product's orders in the order of arrival, from `start`; at most 1,000 a page."""
    require(start >= 0 and 0 <= count <= MAX_PAGE, "PAGE_OUT_OF_RANGE")
    found = products.get((zone, slot), None)
    if found is None:
        return []
    first_id = found.number * ORDERS_PER_PRODUCT
    places = range(start, min(start + count, found.order_count))
    return [(first_id + place, seen(orders[first_id + place], found.state)) for place in places]


@view
def position(account: str, slot: int) -> tuple[int, int]:
    """(bought_wh, sold_wh) of the account in the slot, over all zones."""
    found = traded.get((account, slot), Position(0, 0))
    return (found.bought_wh, found.sold_wh)


@view
def positions(accounts: list[str], slot: int) -> list[tuple[int, int]]:
    """`position` of each account."""
    none = Position(0, 0)
    found = [traded.get((account, slot), none) for account in accounts]
    return [(one.bought_wh, one.sold_wh) for one in found]


@view
def slot_closed(slot: int) -> bool:
    """Whether trading of the slot has ended in every zone."""
    return gates.get(slot, Gate(0, False)).closed
