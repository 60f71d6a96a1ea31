"""The market: energy of one zone in one slot, sold by call auction at gate closure for one price.

A product is (zone, slot); a slot is 15 minutes, `slot = unix_seconds // 900`. Participants, or the aggregators that they
delegated to, place orders until an operator closes the gate, which clears the product once and for ever:

1. Bids are sorted by limit downwards, asks upwards; equal limits by arrival.
2. The quantity is the largest at which the marginal bid still covers the marginal ask.
3. The price lies between max(marginal accepted ask, best rejected bid) and min(marginal accepted bid, best rejected
   ask), where the unfilled part of a marginal order counts as rejected. It is the midpoint, rounded down.
4. Orders at the margin are filled by arrival. What is not filled ends at the gate, and its money goes back.
5. Orders from another zone are in the auction as far as the transfer capacity reaches, the best limits first.

A trade costs `price_micros_per_kwh * quantity_wh // 1000`, computed once; the seller receives the very integer that the
buyer pays. The buyer pays the grid's fee for the path and the energy that is lost on it in lines of their own. A buy order
holds its worst-case cost before it stands, the dearest path included, so every trade is paid. Fees are those of the
time when the product's first order came.

Nobody trades with themselves: an order opposite an own open order of the same product is refused. An order is refused too
if, with all that the account has bought and wants to buy in the slot (or sold and wants to sell), it would not fit into
the operating envelope of its connection; `headroom` says what would.
"""

from contracts.host import Map, NamedTuple, Value, call, ctx, emit, export, fail, replace, require, view

MAX_QUANTITY_WH = 1_000_000_000  # 1 GWh in one order
MAX_LIMIT_MICROS_PER_KWH = 1_000_000_000  # 1,000 units of the currency per kWh
MAX_SLOT = 100_000_000
MAX_ZONE_CHARACTERS = 32
MAX_ORDERS_OF_ACCOUNT = 200  # per product, cancelled ones included: nobody can fill a product up for the others
MAX_ORDERS_AT_ONCE = 192  # two days of slots, or so
MAX_ORDERS_OF_PRODUCT = 12_000  # so that the gate, with an event for each trade, always fits one transaction
MAX_PRODUCTS_OF_SLOT = 100
MAX_PAGE = 1_000
PPM = 1_000_000
TRADERS = ("continuous", "bilateral", "resort")  # contracts whose trades count as positions here

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
        ("filled_wh", int),  # 0 as stored: a view adds what the gate allotted
        ("hold_id", int),  # of a buy that costs anything, else 0
        ("state", str),  # OPEN or CANCELLED; a view adds what the gate made of it: FILLED, PART_FILLED, EXPIRED
        ("feeder", str),  # of the account's connection when it placed the order
        ("home", str),  # the account's zone if it is not the product's, else ""
    ],
)
Standing = NamedTuple(
    "Standing", [("open_buys", int), ("open_sells", int), ("placed", int), ("buy_wh", int), ("sell_wh", int)]
)
Position = NamedTuple("Position", [("bought_wh", int), ("sold_wh", int)])
Entry = NamedTuple(
    "Entry",
    [
        ("attribute", str),  # of the zone
        ("wanted_feeder", str),
        ("feeder", str),  # of the account
        ("home", str),
        ("import_wh", int),  # its envelope, -1 without
        ("export_wh", int),
    ],
)
Gate = NamedTuple("Gate", [("open_products", int), ("closed", bool), ("products", int)])

products: Map[tuple[str, int], Product] = Map("products")  # (zone, slot)
product_keys: Map[int, tuple[str, int]] = Map("product_keys")  # number -> (zone, slot)
product_count: Value[int] = Value("product_count", 0)
product_fees: Map[int, list[int]] = Map("product_fees")  # number -> grid.tariff, where anything costs
slot_products: Map[tuple[int, int], int] = Map("slot_products")  # (slot, n) -> number
orders: Map[int, Order] = Map("orders")
allotted: Map[int, list[int]] = Map("allotted")  # number -> Wh filled at the gate, by arrival; where anything traded
standings: Map[tuple[int, str], Standing] = Map("standings")  # (product number, account)
traded: Map[tuple[str, int], Position] = Map("traded")  # (account, slot), over all zones
reserved: Map[tuple[str, int], Position] = Map("reserved")  # (account, slot): open elsewhere, by the contracts above
gates: Map[int, Gate] = Map("gates")  # slot

NO_FEES = (0, 0, 0, 0, 0, 0)
NOTHING_STANDS = (0, 0, 0, 0, 0)  # a Standing
PATH_NAMES = ("feeder", "zone", "across")


# --- The auction: plain functions of orders, also used away from the chain ---------------------------------------------


def match_orders(
    bids: list[tuple[int, str, int, int]], asks: list[tuple[int, str, int, int]]
) -> tuple[int, list[tuple[int, int, int]]]:
    """Rules 1 to 4. Orders are (id, account, quantity_wh, limit_micros_per_kwh) in the order of arrival.

    Returns (price, trades); a trade is (place of the bid in `bids`, place of the ask in `asks`, quantity_wh). The price
    is -1 when nothing trades.
    """
    best_bids = sorted([(-order[3], place) for place, order in enumerate(bids) if order[2] > 0])
    best_asks = sorted([(order[3], place) for place, order in enumerate(asks) if order[2] > 0])
    trades: list[tuple[int, int, int]] = []
    bid_rank = 0
    ask_rank = 0
    bid_left = 0 if len(best_bids) == 0 else bids[best_bids[0][1]][2]
    ask_left = 0 if len(best_asks) == 0 else asks[best_asks[0][1]][2]
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


# --- Fees: plain functions, also used away from the chain --------------------------------------------------------------


def path_of(buyer_feeder: str, buyer_home: str, seller_feeder: str, seller_home: str) -> int:
    """0 within a feeder, 1 within a zone, 2 across zones."""
    if buyer_home != seller_home:
        return 2
    return 0 if buyer_feeder == seller_feeder and buyer_feeder != "" else 1


def fees_of(tariff: list[int], path: int, quantity_wh: int, price_micros_per_kwh: int) -> tuple[int, int, int]:
    """(fee_micros, loss_wh, loss_micros) of a trade, each rounded down; lost energy costs the trade's price."""
    fee = tariff[2 * path]
    loss_ppm = tariff[2 * path + 1]
    return (
        fee * quantity_wh // 1000,
        loss_ppm * quantity_wh // PPM,
        price_micros_per_kwh * quantity_wh * loss_ppm // (1000 * PPM),
    )


def worst_cost(tariff: list[int], quantity_wh: int, limit_micros_per_kwh: int) -> int:
    """What a buy order can cost at most (micros), on the dearest path and however it is cut into trades."""
    fee = max(tariff[0], tariff[2], tariff[4])
    loss_ppm = max(tariff[1], tariff[3], tariff[5])
    return (limit_micros_per_kwh * (PPM + loss_ppm) + fee * PPM) * quantity_wh // (1000 * PPM)


def within_capacity(
    found: list[tuple[int, str, int, int]], homes: list[str], sign: int, capacities: dict[str, int]
) -> list[tuple[int, str, int, int]]:
    """Rule 5. `found` are orders, `homes` their zones or "" for local ones; `sign` is 1 for asks and -1 for bids.

    Orders keep their places; what exceeds the capacity of its zone is cut off, down to a quantity of 0.
    """
    left = dict(capacities)
    ranking = sorted([(sign * order[3], place) for place, order in enumerate(found) if homes[place] != ""])
    cut: dict[int, int] = {}
    for rank in ranking:
        place = rank[1]
        home = homes[place]
        cut[place] = min(found[place][2], left[home])
        left[home] -= cut[place]
    return [(order[0], order[1], cut.get(place, order[2]), order[3]) for place, order in enumerate(found)]


# --- Order entry -------------------------------------------------------------------------------------------------------


def open_product(zone: str, slot: int) -> Product:
    """The product, made on its first use; refused once the slot is closed."""
    found = products.get((zone, slot), None)
    if found is not None:
        return found
    require(0 < len(zone) <= MAX_ZONE_CHARACTERS, "ZONE_LENGTH")
    require(0 <= slot <= MAX_SLOT, "SLOT_OUT_OF_RANGE")
    gate = gates.get(slot, Gate(0, False, 0))
    require(not gate.closed, "SLOT_CLOSED")
    require(gate.products < MAX_PRODUCTS_OF_SLOT, "TOO_MANY_PRODUCTS")
    number = product_count.get() + 1
    product_count.set(number)
    product_keys[number] = (zone, slot)
    tariff = call("grid", "tariff")
    if max(tariff) > 0:
        product_fees[number] = tariff
    slot_products[(slot, gate.products)] = number
    gates[slot] = Gate(gate.open_products + 1, False, gate.products + 1)
    return Product(zone, slot, number, "OPEN", 0, -1, 0, 0)


def fees_of_product(number: int) -> list[int]:
    return product_fees.get(number, list(NO_FEES))


def committed(account: str, slot: int) -> Position:
    """What the account would have bought and sold in the slot if every open order of it were filled."""
    done = traded.get((account, slot), Position(0, 0))
    elsewhere = reserved.get((account, slot), Position(0, 0))
    bought_wh = done.bought_wh + elsewhere.bought_wh
    sold_wh = done.sold_wh + elsewhere.sold_wh
    for place in range(gates.get(slot, Gate(0, False, 0)).products):
        number = slot_products[(slot, place)]
        standing = standings.get((number, account), None)
        if standing is not None and products[product_keys[number]].state == "OPEN":
            bought_wh += standing.buy_wh
            sold_wh += standing.sell_wh
    return Position(bought_wh, sold_wh)


def require_headroom(account: str, slot: int, buy_wh: int, sell_wh: int, import_wh: int, export_wh: int) -> None:
    """Refuses what would not fit into an envelope; a limit of -1 is none."""
    if import_wh == -1 and export_wh == -1:
        return
    so_far = committed(account, slot)
    require(import_wh == -1 or buy_wh == 0 or so_far.bought_wh + buy_wh <= import_wh, "BEYOND_IMPORT_LIMIT")
    require(export_wh == -1 or sell_wh == 0 or so_far.sold_wh + sell_wh <= export_wh, "BEYOND_EXPORT_LIMIT")


def grid_entry(account: str, zone: str, slot: int) -> Entry:
    """What the grid says of an account that enters the product."""
    zone_known, attribute, wanted, feeder, home, import_wh, export_wh = call("grid", "entry", account, zone, slot)
    require(zone_known, "UNKNOWN_ZONE")
    return Entry(attribute, wanted, feeder, home, import_wh, export_wh)


def grid_entries(account: str, rows: list[tuple[str, int, str, int, int]]) -> list[Entry]:
    """`grid_entry` for each row's product."""
    if len(rows) == 1:
        return [grid_entry(account, rows[0][0], rows[0][1])]
    found: list[Entry] = []
    for one in call("grid", "entries", account, [(row[0], row[1]) for row in rows]):
        require(one[0], "UNKNOWN_ZONE")
        found.append(Entry(one[1], one[2], one[3], one[4], one[5], one[6]))
    return found


def hold_each(account: str, costs_micros: list[int]) -> list[int]:
    """Sets an account's money aside, a hold for each cost; returns the holds' ids."""
    if len(costs_micros) == 0:
        return []
    if len(costs_micros) == 1:
        return [call("payments", "hold", account, costs_micros[0])]
    ids: list[int] = call("payments", "hold_each", account, costs_micros)
    return ids


def require_deliverer(account: str, entry: Entry) -> None:
    """Refuses who does not deliver what the zone is for."""
    require(entry.attribute != "renewable" or call("registry", "produces_renewably", account), "NOT_RENEWABLE")
    require(entry.attribute != "feeder" or entry.feeder == entry.wanted_feeder, "NOT_ON_THE_FEEDER")


def seat(entry: Entry, zone: str) -> tuple[str, str]:
    """(feeder, home zone if it is another than the product's). A zone with an attribute is a label, not a place."""
    away = entry.home != "" and entry.attribute == "" and entry.home != zone
    return (entry.feeder, entry.home if away else "")


def enter(account: str, rows: list[tuple[str, int, str, int, int]]) -> list[int]:
    """Places orders (zone, slot, side, quantity_wh, limit_micros_per_kwh) of one account in their order, all or none."""
    for row in rows:
        require(row[2] == "buy" or row[2] == "sell", "UNKNOWN_SIDE")
        require(0 < row[3] <= MAX_QUANTITY_WH, "QUANTITY_OUT_OF_RANGE")
        require(0 <= row[4] <= MAX_LIMIT_MICROS_PER_KWH, "LIMIT_OUT_OF_RANGE")
    require(call("registry", "is_participant", account), "NOT_A_PARTICIPANT")
    entries = grid_entries(account, rows)
    placed: list[tuple[int, int, int]] = []
    costs_micros: list[int] = []
    for row, entry in zip(rows, entries):
        number, place, cost_micros = stand(account, row, entry)
        placed.append((number, place, cost_micros))
        if cost_micros > 0:
            costs_micros.append(cost_micros)
    hold_ids = hold_each(account, costs_micros)
    held = 0
    ids: list[int] = []
    for row, entry, where in zip(rows, entries, placed):
        zone, slot, side, quantity_wh, limit_micros_per_kwh = row
        number, place, cost_micros = where
        hold_id = 0
        if cost_micros > 0:
            hold_id = hold_ids[held]
            held += 1
        feeder, away = seat(entry, zone)
        order_id = number * ORDERS_PER_PRODUCT + place
        orders[order_id] = Order(account, side, quantity_wh, limit_micros_per_kwh, 0, hold_id, "OPEN", feeder, away)
        ids.append(order_id)
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
    return ids


def stand(account: str, row: tuple[str, int, str, int, int], entry: Entry) -> tuple[int, int, int]:
    """Takes an order's place in its product. Returns the product's number, the place, and what a buy may cost (micros)."""
    zone, slot, side, quantity_wh, limit_micros_per_kwh = row
    buying = side == "buy"
    if not buying:
        require_deliverer(account, entry)
    product = open_product(zone, slot)
    require(product.state == "OPEN", "GATE_CLOSED")
    require(product.order_count < MAX_ORDERS_OF_PRODUCT, "PRODUCT_FULL")
    require_headroom(
        account, slot, quantity_wh if buying else 0, 0 if buying else quantity_wh, entry.import_wh, entry.export_wh
    )
    number = product.number
    open_buys, open_sells, count, buy_wh, sell_wh = standings.get((number, account), NOTHING_STANDS)
    require(count < MAX_ORDERS_OF_ACCOUNT, "TOO_MANY_ORDERS")
    cost_micros = 0
    if buying:
        require(open_sells == 0, "SELF_TRADE")
        cost_micros = worst_cost(fees_of_product(number), quantity_wh, limit_micros_per_kwh)
        standings[(number, account)] = Standing(open_buys + 1, 0, count + 1, buy_wh + quantity_wh, sell_wh)
    else:
        require(open_buys == 0, "SELF_TRADE")
        standings[(number, account)] = Standing(0, open_sells + 1, count + 1, buy_wh, sell_wh + quantity_wh)
    products[(zone, slot)] = replace(product, order_count=product.order_count + 1)
    return (number, product.order_count, cost_micros)


@export
def place_order(zone: str, slot: int, side: str, quantity_wh: int, limit_micros_per_kwh: int) -> int:
    """A participant's order: buy at most at, or sell at least at, the limit. Good until the gate. Returns its id.

    A buy holds `limit * quantity // 1000` micros of the caller's money, and what the dearest path would cost.
    """
    return enter(ctx.caller, [(zone, slot, side, quantity_wh, limit_micros_per_kwh)])[0]


@export
def place_orders(rows: list[tuple[str, int, str, int, int]]) -> list[int]:
    """A participant's orders in one call, for many slots say: each row as `place_order` takes it, all of them or none.
    They arrive in the order of the rows. Returns their ids."""
    require(0 < len(rows) <= MAX_ORDERS_AT_ONCE, "TOO_MANY_ORDERS")
    return enter(ctx.caller, rows)


@export
def place_order_for(account: str, zone: str, slot: int, side: str, quantity_wh: int, limit_micros_per_kwh: int) -> int:
    """An aggregator's order for a participant that delegated to it, on the participant's money. Returns its id."""
    require(call("registry", "may_act_for", ctx.caller, account), "NOT_YOUR_ACCOUNT")
    return enter(account, [(zone, slot, side, quantity_wh, limit_micros_per_kwh)])[0]


def open_order(order_id: int) -> Order:
    """An order that the caller may change, while its gate is open."""
    found = orders.get(order_id, None)
    if found is None:
        fail("UNKNOWN_ORDER")
    allowed = found.account == ctx.caller or call("registry", "may_act_for", ctx.caller, found.account)
    require(allowed, "NOT_YOUR_ORDER")
    require(found.state == "OPEN", "ORDER_NOT_OPEN")
    require(products[product_keys[order_id // ORDERS_PER_PRODUCT]].state == "OPEN", "GATE_CLOSED")
    return found


def take_back(order_id: int, found: Order) -> None:
    number = order_id // ORDERS_PER_PRODUCT
    zone, slot = product_keys[number]
    standing = standings[(number, found.account)]
    if found.side == "buy":
        standing = replace(standing, open_buys=standing.open_buys - 1, buy_wh=standing.buy_wh - found.quantity_wh)
    else:
        standing = replace(standing, open_sells=standing.open_sells - 1, sell_wh=standing.sell_wh - found.quantity_wh)
    standings[(number, found.account)] = standing
    orders[order_id] = replace(found, hold_id=0, state="CANCELLED")
    if found.hold_id != 0:
        call("payments", "release_all", found.hold_id)
    emit("OrderCancelled", order_id=order_id, zone=zone, slot=slot, account=found.account)


@export
def cancel_order(order_id: int) -> None:
    """The owner, or its aggregator, takes an open order back before the gate; a buy's money is free again."""
    take_back(order_id, open_order(order_id))


@export
def amend_order(order_id: int, quantity_wh: int, limit_micros_per_kwh: int) -> int:
    """The owner, or its aggregator, replaces an open order by another of the same side, which arrives last. Returns its id."""
    found = open_order(order_id)
    take_back(order_id, found)
    zone, slot = product_keys[order_id // ORDERS_PER_PRODUCT]
    return enter(found.account, [(zone, slot, found.side, quantity_wh, limit_micros_per_kwh)])[0]


# --- The gate ----------------------------------------------------------------------------------------------------------


def add_positions(slot: int, bought_wh: dict[str, int], sold_wh: dict[str, int]) -> None:
    for account, quantity_wh in bought_wh.items():
        before = traded.get((account, slot), Position(0, 0))
        traded[(account, slot)] = Position(before.bought_wh + quantity_wh, before.sold_wh)
    for account, quantity_wh in sold_wh.items():
        before = traded.get((account, slot), Position(0, 0))
        traded[(account, slot)] = Position(before.bought_wh, before.sold_wh + quantity_wh)


def trade(
    product: Product,
    trades: list[tuple[int, int, int]],
    bids: list[tuple[int, str, int, int]],
    asks: list[tuple[int, str, int, int]],
    buys: list[Order],
    sells: list[Order],
) -> None:
    """Fills orders, moves positions and money, emits every trade. An order's record stands where its row does."""
    price_micros_per_kwh = product.price_micros_per_kwh
    tariff = fees_of_product(product.number)
    costs = max(tariff) > 0
    bid_fills = [0 for bid in bids]
    ask_fills = [0 for ask in asks]
    spent_micros = [0 for bid in bids]
    due_micros: dict[str, int] = {}
    bought_wh: dict[str, int] = {}
    sold_wh: dict[str, int] = {}
    grid_micros = 0
    fee_micros = 0
    loss_wh = 0
    loss_micros = 0
    for bid_place, ask_place, quantity_wh in trades:
        buyer = bids[bid_place][1]
        seller = asks[ask_place][1]
        require(buyer != seller, "SELF_TRADE")
        amount_micros = price_micros_per_kwh * quantity_wh // 1000
        path = path_of(buys[bid_place].feeder, buys[bid_place].home, sells[ask_place].feeder, sells[ask_place].home)
        if costs:
            fee_micros, loss_wh, loss_micros = fees_of(tariff, path, quantity_wh, price_micros_per_kwh)
            grid_micros += fee_micros + loss_micros
        bid_fills[bid_place] += quantity_wh
        ask_fills[ask_place] += quantity_wh
        spent_micros[bid_place] += amount_micros + fee_micros + loss_micros
        due_micros[seller] = due_micros.get(seller, 0) + amount_micros
        bought_wh[buyer] = bought_wh.get(buyer, 0) + quantity_wh
        sold_wh[seller] = sold_wh.get(seller, 0) + quantity_wh
        emit(
            "Traded",
            zone=product.zone,
            slot=product.slot,
            buyer=buyer,
            seller=seller,
            buy_order=bids[bid_place][0],
            sell_order=asks[ask_place][0],
            quantity_wh=quantity_wh,
            price_micros_per_kwh=price_micros_per_kwh,
            amount_micros=amount_micros,
            path=PATH_NAMES[path],
            fee_micros=fee_micros,
            loss_wh=loss_wh,
            loss_micros=loss_micros,
        )
    if len(trades) > 0:
        first_id = product.number * ORDERS_PER_PRODUCT
        filled = [0 for place in range(product.order_count)]
        for bid, filled_wh in zip(bids, bid_fills):
            filled[bid[0] - first_id] = filled_wh
        for ask, filled_wh in zip(asks, ask_fills):
            filled[ask[0] - first_id] = filled_wh
        allotted[product.number] = filled
    add_positions(product.slot, bought_wh, sold_wh)
    debits = [(one.hold_id, spent) for one, spent in zip(buys, spent_micros) if one.hold_id != 0]
    if len(debits) > 0:
        due_micros["grid"] = grid_micros
        call("payments", "settle_holds", debits, [(one, due) for one, due in due_micros.items() if due > 0])


def cut_to_capacity(
    product: Product,
    bids: list[tuple[int, str, int, int]],
    asks: list[tuple[int, str, int, int]],
    buys: list[Order],
    sells: list[Order],
) -> tuple[list[tuple[int, str, int, int]], list[tuple[int, str, int, int]]]:
    """Rule 5 with the capacities that are free now."""
    inward: dict[str, int] = {}
    outward: dict[str, int] = {}
    for one in sells:
        if one.home != "" and one.home not in inward:
            inward[one.home] = call("grid", "free_capacity", one.home, product.zone, product.slot)
    for one in buys:
        if one.home != "" and one.home not in outward:
            outward[one.home] = call("grid", "free_capacity", product.zone, one.home, product.slot)
    return (
        within_capacity(bids, [one.home for one in buys], -1, outward),
        within_capacity(asks, [one.home for one in sells], 1, inward),
    )


def take_capacity(product: Product, trades: list[tuple[int, int, int]], buys: list[Order], sells: list[Order]) -> None:
    """Tells the grid what flows in and out of the zone."""
    inflow_wh: dict[str, int] = {}
    outflow_wh: dict[str, int] = {}
    for bid_place, ask_place, quantity_wh in trades:
        source = sells[ask_place].home
        sink = buys[bid_place].home
        if source == sink:
            continue
        if source != "":
            inflow_wh[source] = inflow_wh.get(source, 0) + quantity_wh
        if sink != "":
            outflow_wh[sink] = outflow_wh.get(sink, 0) + quantity_wh
    for source, quantity_wh in inflow_wh.items():
        call("grid", "use_capacity", source, product.zone, product.slot, quantity_wh)
    for sink, quantity_wh in outflow_wh.items():
        call("grid", "use_capacity", product.zone, sink, product.slot, quantity_wh)


def auction(product: Product) -> Product:
    """Matches the product's orders and lets them trade."""
    bids: list[tuple[int, str, int, int]] = []
    asks: list[tuple[int, str, int, int]] = []
    buys: list[Order] = []
    sells: list[Order] = []
    from_away = False
    first_id = product.number * ORDERS_PER_PRODUCT
    for order_id in range(first_id, first_id + product.order_count):
        one = orders[order_id]
        if one.state == "OPEN":
            if one.home != "":
                from_away = True
            if one.side == "buy":
                bids.append((order_id, one.account, one.quantity_wh, one.limit_micros_per_kwh))
                buys.append(one)
            else:
                asks.append((order_id, one.account, one.quantity_wh, one.limit_micros_per_kwh))
                sells.append(one)
    if from_away:
        bids, asks = cut_to_capacity(product, bids, asks, buys, sells)
    price_micros_per_kwh, trades = match_orders(bids, asks)
    if from_away:
        take_capacity(product, trades, buys, sells)
    product = replace(
        product,
        state="CLEARED",
        price_micros_per_kwh=price_micros_per_kwh,
        quantity_wh=sum([one[2] for one in trades]),
        trade_count=len(trades),
    )
    trade(product, trades, bids, asks, buys, sells)
    return product


@export
def clear(zone: str, slot: int) -> None:
    """An operator closes the gate of a product: auction, trades, payment, and every hold released. Once per product."""
    require(call("registry", "has_role", ctx.caller, "OPERATOR"), "NOT_OPERATOR")
    product = open_product(zone, slot)
    require(product.state == "OPEN", "ALREADY_CLEARED")
    product = auction(product)
    products[(zone, slot)] = product
    gates[slot] = replace(gates[slot], open_products=gates[slot].open_products - 1)
    emit(
        "Cleared",
        zone=zone,
        slot=slot,
        price_micros_per_kwh=product.price_micros_per_kwh,
        quantity_wh=product.quantity_wh,
        trade_count=product.trade_count,
        order_count=product.order_count,
    )


@export
def close_slot(slot: int) -> None:
    """The settlement, or an operator, ends trading of a slot in every zone; refused while a product of it is open."""
    require(
        ctx.caller == "imbalance" or call("registry", "has_role", ctx.caller, "OPERATOR"),
        "NOT_OPERATOR",
    )
    require(0 <= slot <= MAX_SLOT, "SLOT_OUT_OF_RANGE")
    gate = gates.get(slot, Gate(0, False, 0))
    require(gate.open_products == 0, "MARKET_OPEN")
    if not gate.closed:
        gates[slot] = replace(gate, closed=True)
        emit("SlotClosed", slot=slot)


# --- For the other ways of trading -------------------------------------------------------------------------------------


@export
def join(zone: str, slot: int) -> list[int]:
    """Another way of trading enters a product before its gate. Returns the product's fees, as `grid.tariff`."""
    require(ctx.caller in TRADERS, "NOT_A_MARKET")
    product = open_product(zone, slot)
    require(product.state == "OPEN", "GATE_CLOSED")
    products[(zone, slot)] = product
    return fees_of_product(product.number)


@export
def reserve(account: str, slot: int, buy_wh: int, sell_wh: int) -> None:
    """Another way of trading sets energy of an account aside, within its envelope, or (negative) gives it back."""
    require(ctx.caller in TRADERS, "NOT_A_MARKET")
    if buy_wh > 0 or sell_wh > 0:
        import_wh, export_wh = call("grid", "envelope", account, slot)
        require_headroom(account, slot, max(buy_wh, 0), max(sell_wh, 0), import_wh, export_wh)
    before = reserved.get((account, slot), Position(0, 0))
    reserved[(account, slot)] = Position(before.bought_wh + buy_wh, before.sold_wh + sell_wh)


@export
def record(slot: int, rows: list[tuple[str, str, int]]) -> None:
    """Another way of trading adds its trades (buyer, seller, quantity_wh) to the positions of a slot not yet closed."""
    require(ctx.caller in TRADERS, "NOT_A_MARKET")
    require(not gates.get(slot, Gate(0, False, 0)).closed, "SLOT_CLOSED")
    for buyer, seller, quantity_wh in rows:
        add_positions(slot, {buyer: quantity_wh}, {seller: quantity_wh})


# --- Views -------------------------------------------------------------------------------------------------------------


def seen(order: Order, product_state: str, filled_wh: int) -> Order:
    """The order as the gate left it. A gate writes what it allotted, in one list, and no order again."""
    if order.state != "OPEN" or product_state == "OPEN":
        return order
    if filled_wh == 0:
        return replace(order, state="EXPIRED")
    return replace(order, filled_wh=filled_wh, state="FILLED" if filled_wh == order.quantity_wh else "PART_FILLED")


@view
def order(order_id: int) -> Order | None:
    """The order's record, or None. Its state is OPEN, CANCELLED, FILLED, PART_FILLED or EXPIRED."""
    found = orders.get(order_id, None)
    if found is None:
        return None
    number = order_id // ORDERS_PER_PRODUCT
    fills = allotted.get(number, [])
    filled_wh = fills[order_id % ORDERS_PER_PRODUCT] if len(fills) > 0 else 0
    return seen(found, products[product_keys[number]].state, filled_wh)


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
    fills = allotted.get(found.number, [])
    if len(fills) == 0:
        fills = [0 for place in range(found.order_count)]
    return [(first_id + place, seen(orders[first_id + place], found.state, fills[place])) for place in places]


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
    return gates.get(slot, Gate(0, False, 0)).closed


@view
def product_fees_of(zone: str, slot: int) -> list[int]:
    """The fees of the product's trades, as `grid.tariff`; those of today before its first order."""
    found = products.get((zone, slot), None)
    return call("grid", "tariff") if found is None else fees_of_product(found.number)


@view
def headroom(account: str, slot: int) -> tuple[int, int]:
    """(Wh that the account can still buy, Wh that it can still sell) in the slot; -1 where no envelope limits it."""
    import_wh, export_wh = call("grid", "envelope", account, slot)
    so_far = committed(account, slot)
    return (
        -1 if import_wh == -1 else max(0, import_wh - so_far.bought_wh),
        -1 if export_wh == -1 else max(0, export_wh - so_far.sold_wh),
    )


@view
def is_open(zone: str, slot: int) -> bool:
    """Whether the product takes orders: its gate and the slot are not closed."""
    found = products.get((zone, slot), None)
    return found.state == "OPEN" if found is not None else not slot_closed(slot)


@view
def require_seller(account: str, zone: str, slot: int) -> None:
    """Refuses a zone that is not known, and who does not deliver what the zone is for."""
    require_deliverer(account, grid_entry(account, zone, slot))


@view
def place_of(account: str, zone: str, slot: int) -> tuple[str, str]:
    """(feeder, zone if it is another than the product's, else "") of an account that enters the product."""
    return seat(grid_entry(account, zone, slot), zone)
