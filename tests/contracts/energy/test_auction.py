"""The call auction against the rule as domain.md states it, worked out in another way on small books."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.energy.market import clear_auction, match_orders

Book = list[tuple[int, str, int, int]]

QUANTITIES = st.integers(1, 4)
LIMITS = st.integers(0, 9)


def book(first_id: int, account: str) -> st.SearchStrategy[Book]:
    rows = st.lists(st.tuples(QUANTITIES, LIMITS), max_size=6)
    return rows.map(lambda found: [(first_id + place, account, *row) for place, row in enumerate(found)])


BOOKS = st.tuples(book(100, "buyer"), book(200, "seller"))


def units(orders: Book, sign: int) -> list[int]:
    """One limit per Wh, best first; `sign` is 1 for asks and -1 for bids."""
    return sorted((order[3] for order in orders for _ in range(order[2])), key=lambda limit: sign * limit)


def largest_quantity(bids: Book, asks: Book) -> int:
    """The most that one price can trade: the greatest min(demand, supply) over all prices."""
    prices = {order[3] for order in bids + asks}
    demand = {price: sum(order[2] for order in bids if order[3] >= price) for price in prices}
    supply = {price: sum(order[2] for order in asks if order[3] <= price) for price in prices}
    return max((min(demand[price], supply[price]) for price in prices), default=0)


def midpoint_price(bids: Book, asks: Book, quantity: int) -> int:
    """The price rule unit by unit: the unit after the last accepted one is the best rejected, whoever offers it."""
    demanded, offered = units(bids, -1), units(asks, 1)
    lowest = max([offered[quantity - 1], *demanded[quantity : quantity + 1]])
    highest = min([demanded[quantity - 1], *offered[quantity : quantity + 1]])
    assert lowest <= highest
    return (lowest + highest) // 2


@given(BOOKS)
@settings(max_examples=600)
def test_quantity_is_the_largest_that_one_price_can_trade_and_price_is_the_midpoint(books: tuple[Book, Book]) -> None:
    bids, asks = books
    price, quantity, fills = clear_auction(bids, asks)
    assert quantity == largest_quantity(bids, asks)
    assert price == (midpoint_price(bids, asks, quantity) if quantity else -1)
    assert [order_id for order_id, _ in fills] == [order[0] for order in bids + asks]


@given(BOOKS)
@settings(max_examples=400)
def test_no_order_is_overfilled_or_filled_worse_than_its_limit(books: tuple[Book, Book]) -> None:
    bids, asks = books
    price, quantity, fills = clear_auction(bids, asks)
    filled = dict(fills)
    assert sum(filled[order[0]] for order in bids) == sum(filled[order[0]] for order in asks) == quantity
    for order in bids + asks:
        assert 0 <= filled[order[0]] <= order[2]
    assert all(order[3] >= price for order in bids if filled[order[0]])
    assert all(order[3] <= price for order in asks if filled[order[0]])


@given(BOOKS)
@settings(max_examples=400)
def test_a_better_or_earlier_order_is_full_before_the_next_gets_anything(books: tuple[Book, Book]) -> None:
    bids, asks = books
    filled = dict(clear_auction(bids, asks)[2])
    for orders, sign in ((bids, -1), (asks, 1)):
        ranked = sorted(orders, key=lambda order: (sign * order[3], order[0]))
        open_seen = False
        for order in ranked:
            assert not (open_seen and filled[order[0]])
            open_seen = open_seen or filled[order[0]] < order[2]


@given(BOOKS)
@settings(max_examples=300)
def test_trades_add_up_to_the_fills_and_each_pair_crosses(books: tuple[Book, Book]) -> None:
    bids, asks = books
    price, trades = match_orders(bids, asks)
    _, quantity, fills = clear_auction(bids, asks)
    assert sum(wh for _, _, wh in trades) == quantity
    for bid_place, ask_place, wh in trades:
        assert wh > 0
        assert bids[bid_place][3] >= price >= asks[ask_place][3]
    by_bid = [sum(wh for bid, _, wh in trades if bid == place) for place in range(len(bids))]
    by_ask = [sum(wh for _, ask, wh in trades if ask == place) for place in range(len(asks))]
    assert by_bid + by_ask == [wh for _, wh in fills]
    assert len(trades) <= max(0, len(bids) + len(asks) - 1)


def orders(first_id: int, account: str, *rows: tuple[int, int]) -> Book:
    return [(first_id + place, account, quantity, limit) for place, (quantity, limit) in enumerate(rows)]


@pytest.mark.parametrize(
    ("bids", "asks", "price", "quantity"),
    [
        pytest.param(
            [(1, 10)] * 7, [(1, 1), (1, 2), (1, 3), (1, 4)], 10, 4, id="domain: 7 bids at 10 against asks 1 to 4"
        ),
        pytest.param([(1, 30), (2, 40), (5, 10)], [(4, 20), (1, 10), (5, 60)], 20, 3, id="domain: 3 units at 20"),
        pytest.param([], [], -1, 0, id="empty book"),
        pytest.param([(5, 10)], [], -1, 0, id="no asks"),
        pytest.param([(5, 10)], [(5, 11)], -1, 0, id="apart by one"),
        pytest.param([(5, 11)], [(5, 10)], 10, 5, id="midpoint 10.5 rounds down"),
        pytest.param([(5, 0)], [(5, 0)], 0, 5, id="free energy trades at 0"),
        pytest.param([(3, 20)], [(5, 10)], 10, 3, id="the ask's rest is the best rejected ask"),
        pytest.param([(5, 20)], [(3, 10)], 20, 3, id="the bid's rest is the best rejected bid"),
        pytest.param(
            [(5, 20), (5, 16)], [(5, 10), (5, 18)], 17, 5, id="rejected orders narrow the interval on both sides"
        ),
    ],
)
def test_worked_books(bids: list[tuple[int, int]], asks: list[tuple[int, int]], price: int, quantity: int) -> None:
    assert clear_auction(orders(1, "b", *bids), orders(101, "a", *asks))[:2] == (price, quantity)


def test_ties_at_the_margin_go_to_the_earlier_order() -> None:
    _, _, fills = clear_auction(orders(1, "b", (2, 10), (2, 10), (2, 10)), orders(11, "a", (3, 5)))
    assert fills == [(1, 2), (2, 1), (3, 0), (11, 3)]
