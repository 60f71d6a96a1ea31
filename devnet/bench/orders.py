"""The load of orders: participants order for many slots of a zone, a day ahead say, and the operator closes each gate
once all of its orders are in. An order counts when another node's receipt tells that it was placed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count
from random import Random

from chain.tx import TxCall
from gridbft.records import Receipt
from gridbft.requests import make_call

ORDERS_PER_PRODUCT = 500
FIRST_SLOT = 2_000_000
MOST_UNDER_WAY = 4_000  # orders; what a gate waits for, so that none of its own comes too late
LEAST_UNDER_WAY = 512  # transactions

Load = Iterator[tuple[tuple[str, int], TxCall]]


def window(orders_per_tx: int) -> int:
    """Transactions under way at once."""
    return max(LEAST_UNDER_WAY, MOST_UNDER_WAY // orders_per_tx)


def calls(accounts: int, orders_per_tx: int, draw: Random) -> Load:
    """(sender, call): even accounts buy and odd ones sell, in as many products at once as a transaction has orders."""
    waiting: list[tuple[int, str, int]] = []  # (from which transaction on, zone, slot) of the gates
    sent = 0
    for day in count():
        zone = f"zone-{day}"
        for place in range(ORDERS_PER_PRODUCT):
            number = (day * ORDERS_PER_PRODUCT + place) % accounts
            yield ("account", number), _order(zone, number, orders_per_tx, draw)
            sent += 1
            while waiting and waiting[0][0] <= sent:
                _, closing, slot = waiting.pop(0)
                yield ("operator", 0), make_call("market", "clear", closing, slot)
        first = sent + window(orders_per_tx) * 5 // 4
        waiting += [(first + place, zone, FIRST_SLOT + place) for place in range(orders_per_tx)]


def _order(zone: str, number: int, orders_per_tx: int, draw: Random) -> TxCall:
    side = "buy" if number % 2 == 0 else "sell"
    rows = [
        [zone, FIRST_SLOT + place, side, draw.randrange(1, 2_000), draw.randrange(50_000, 150_000)]
        for place in range(orders_per_tx)
    ]
    return (
        make_call("market", "place_order", *rows[0])
        if orders_per_tx == 1
        else make_call("market", "place_orders", rows)
    )


def counted(receipts: Iterable[Receipt]) -> tuple[int, int]:
    """(orders that were placed, those whose gate has closed) as the receipts' events tell."""
    placed = cleared = 0
    for receipt in receipts:
        for event in receipt.events:
            if event.contract == "market":
                placed += event.name == "OrderPlaced"
                cleared += event.fields["order_count"] if event.name == "Cleared" else 0
    return placed, cleared
