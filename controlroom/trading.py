"""Orders, trades and clearings, by product and by account."""

from __future__ import annotations

from dataclasses import dataclass, field

from gridbft.history import Happened

TRADES = ("Traded", "Served")
ProductKey = tuple[str, int]
"""(zone, slot)"""


@dataclass(slots=True)
class Order:
    """`state` OPEN, CANCELLED, or after the gate CLEARED."""

    order_id: int
    market: str
    zone: str
    slot: int
    account: str
    side: str
    quantity_wh: int
    limit_micros_per_kwh: int
    filled_wh: int = 0
    state: str = "OPEN"

    @property
    def shown_state(self) -> str:
        """As the contract's own view says it."""
        if self.state != "CLEARED":
            return "FILLED" if self.market == "continuous" and self.filled_wh == self.quantity_wh else self.state
        if self.filled_wh == 0:
            return "EXPIRED"
        return "FILLED" if self.filled_wh == self.quantity_wh else "PART_FILLED"


@dataclass(frozen=True, slots=True)
class Trade:
    market: str
    zone: str
    slot: int
    buyer: str
    seller: str
    quantity_wh: int
    price_micros_per_kwh: int
    amount_micros: int
    costs_micros: int
    tx_id: str


@dataclass(slots=True)
class Product:
    """`price_micros_per_kwh` is None until the gate, and where nothing traded."""

    zone: str
    slot: int
    orders: dict[int, Order] = field(default_factory=dict)  # of the call auction
    cleared: bool = False
    price_micros_per_kwh: int | None = None
    quantity_wh: int = 0
    trade_count: int = 0


@dataclass(slots=True)
class Trading:
    products: dict[ProductKey, Product] = field(default_factory=dict)
    orders_of: dict[str, list[Order]] = field(default_factory=dict)
    trades: dict[int, list[Trade]] = field(default_factory=dict)  # slot
    trades_of: dict[str, list[Trade]] = field(default_factory=dict)
    _continuous: dict[int, Order] = field(default_factory=dict)

    def absorb(self, event: Happened) -> None:
        f = event.fields
        if event.name in TRADES and event.contract in ("market", "continuous", "bilateral", "resort"):
            self._traded(event)
        elif event.contract == "market":
            if event.name == "OrderPlaced":
                self._placed(event, self._product(f["zone"], f["slot"]).orders)
            elif event.name == "OrderCancelled":
                self._ended(self._product(f["zone"], f["slot"]).orders, f["order_id"])
            elif event.name == "Cleared":
                self._cleared(event)
        elif event.contract == "continuous" and event.name == "OrderPlaced":
            self._placed(event, self._continuous)
        elif event.contract == "continuous" and event.name == "OrderEnded":
            self._ended(self._continuous, f["order_id"])

    @staticmethod
    def _ended(orders: dict[int, Order], order_id: int) -> None:
        if order_id in orders:  # a pruned node does not tell of old ones
            orders[order_id].state = "CANCELLED"

    def forget(self, slots: range) -> None:
        """Drops all about the slots."""
        for key in [key for key in self.products if key[1] in slots]:
            del self.products[key]
        for slot in slots:
            self.trades.pop(slot, None)
        self.orders_of = {
            a: kept for a, rows in self.orders_of.items() if (kept := [o for o in rows if o.slot not in slots])
        }
        self.trades_of = {
            a: left for a, rows in self.trades_of.items() if (left := [t for t in rows if t.slot not in slots])
        }
        self._continuous = {number: o for number, o in self._continuous.items() if o.slot not in slots}

    def _product(self, zone: str, slot: int) -> Product:
        return self.products.setdefault((zone, slot), Product(zone, slot))

    def _placed(self, event: Happened, orders: dict[int, Order]) -> None:
        f = event.fields
        terms = f["side"], f["quantity_wh"], f["limit_micros_per_kwh"]
        order = Order(f["order_id"], event.contract, f["zone"], f["slot"], f["account"], *terms)
        orders[order.order_id] = order
        self.orders_of.setdefault(order.account, []).append(order)

    def _cleared(self, event: Happened) -> None:
        f = event.fields
        product = self._product(f["zone"], f["slot"])
        product.cleared = True
        product.price_micros_per_kwh = f["price_micros_per_kwh"] if f["quantity_wh"] else None
        product.quantity_wh, product.trade_count = f["quantity_wh"], f["trade_count"]
        for order in product.orders.values():
            if order.state == "OPEN":
                order.state = "CLEARED"

    def _traded(self, event: Happened) -> None:
        f = event.fields
        terms = f["quantity_wh"], f["price_micros_per_kwh"], f["amount_micros"]
        costs = f.get("fee_micros", 0) + f.get("loss_micros", 0)
        trade = Trade(event.contract, f["zone"], f["slot"], f["buyer"], f["seller"], *terms, costs, event.tx_id)
        self.trades.setdefault(trade.slot, []).append(trade)
        for account in {trade.buyer, trade.seller}:
            self.trades_of.setdefault(account, []).append(trade)
        known = self._product(trade.zone, trade.slot).orders if event.contract == "market" else self._continuous
        for order_id in (f.get("buy_order"), f.get("sell_order")):
            if event.contract in ("market", "continuous") and order_id in known:
                known[order_id].filled_wh += trade.quantity_wh
