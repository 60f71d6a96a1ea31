"""Continuous trading before the gate, bilateral offers, and the supplier of last resort after it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.energy.continuous import fits, inserted
from contracts.host import ContractError
from tests.contracts.energy.network import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    DEPOSIT_MICROS,
    ERIN,
    FRANK,
    OPERATOR,
    PEOPLE,
    SLOT,
    STRANGER,
    ZONE,
    Network,
    load_of,
    refused,
)

HOUR_MS = 3_600_000


def place(network: Network, account: str, side: str, quantity: int, limit: int, attribute: str = "") -> int:
    order = network.act(account, "continuous", "place", ZONE, SLOT, side, quantity, limit, attribute)
    assert isinstance(order, int)
    return order


def trades(network: Network) -> list[tuple[str, str, int, int]]:
    fields = ("buyer", "seller", "quantity_wh", "price_micros_per_kwh")
    rows: list[tuple[str, str, int, int]] = []
    for event in network.events("Traded"):
        buyer, seller, quantity_wh, price = (event[name] for name in fields)
        rows.append((buyer, seller, quantity_wh, price))
    return rows


# --- Continuous --------------------------------------------------------------------------------------------------------


def test_a_resting_order_trades_at_its_own_limit_best_first_then_by_arrival(network: Network) -> None:
    place(network, BOB, "sell", 100, 30_000)
    place(network, CAROL, "sell", 100, 20_000)
    place(network, DAVE, "sell", 100, 20_000)
    place(network, ALICE, "buy", 250, 40_000)
    assert trades(network) == [
        (ALICE, CAROL, 100, 20_000),
        (ALICE, DAVE, 100, 20_000),
        (ALICE, BOB, 50, 30_000),
    ]
    assert network.balance(ALICE) == DEPOSIT_MICROS - 2_000 - 2_000 - 1_500
    assert network.see("continuous", "book", ZONE, SLOT) == ([], [(1, 30_000, 50)])
    assert network.see("market", "position", ALICE, SLOT) == (250, 0)
    assert network.money_residual() == 0


def test_a_resting_buy_pays_its_own_limit_out_of_its_hold(network: Network) -> None:
    order = place(network, ALICE, "buy", 300, 40_000)
    assert network.see("payments", "held", ALICE) == 12_000
    place(network, BOB, "sell", 100, 10_000)
    assert network.see("payments", "helds", [ALICE]) == [8_000]
    assert network.see("continuous", "order", order).left_wh == 200
    place(network, BOB, "sell", 200, 10_000)
    assert network.see("payments", "helds", [ALICE]) == [0]
    assert network.balance(BOB) == DEPOSIT_MICROS + 12_000
    assert network.see("continuous", "order", order) is None


def test_orders_that_do_not_cross_rest(network: Network) -> None:
    place(network, ALICE, "buy", 10, 10)
    place(network, BOB, "buy", 10, 12)
    place(network, CAROL, "sell", 10, 13)
    assert network.see("continuous", "book", ZONE, SLOT) == ([(2, 12, 10), (1, 10, 10)], [(3, 13, 10)])
    assert trades(network) == []


def test_nobody_meets_an_own_resting_order(network: Network) -> None:
    place(network, ALICE, "sell", 10, 10)
    with refused("SELF_TRADE"):
        place(network, ALICE, "buy", 10, 10)
    place(network, ALICE, "buy", 10, 9)


def test_an_attribute_skips_who_does_not_deliver_it(network: Network) -> None:
    network.act(OPERATOR, "registry", "register_meter", "chp", BOB, "chp", "1", 5_000)
    for account, feeder in ((ALICE, "f1"), (DAVE, "f1"), (CAROL, "f2")):
        network.act(OPERATOR, "grid", "set_connection", account, feeder, ZONE)
    place(network, BOB, "sell", 100, 10_000)
    place(network, CAROL, "sell", 100, 20_000)
    place(network, DAVE, "sell", 100, 30_000)
    place(network, ALICE, "buy", 50, 50_000, "feeder")
    place(network, ALICE, "buy", 50, 50_000, "renewable")
    assert trades(network) == [(ALICE, DAVE, 50, 30_000), (ALICE, CAROL, 50, 20_000)]
    with refused("ATTRIBUTE_OF_A_SELL"):
        place(network, ALICE, "sell", 1, 1, "feeder")
    with refused("UNKNOWN_ATTRIBUTE"):
        place(network, ALICE, "buy", 1, 1, "cheap")


@pytest.mark.parametrize(
    ("attribute", "buyer", "seller", "renewable", "expected"),
    [
        ("", "a", "b", False, True),
        ("renewable", "a", "b", True, True),
        ("renewable", "a", "a", False, False),
        ("feeder", "a", "a", False, True),
        ("feeder", "a", "b", True, False),
        ("feeder", "", "", True, False),
    ],
)
def test_what_fits_an_attribute(attribute: str, buyer: str, seller: str, renewable: bool, expected: bool) -> None:
    assert fits(attribute, buyer, seller, renewable) is expected


def test_trades_across_zones_stop_at_the_capacity(network: Network) -> None:
    network.act(OPERATOR, "grid", "set_connection", BOB, "s", "south")
    network.act(OPERATOR, "grid", "set_connection", DAVE, "s", "south")
    network.act(OPERATOR, "grid", "set_capacity", "south", ZONE, SLOT, 60)
    network.act(OPERATOR, "grid", "set_fee", "across", 10_000, 100_000)
    place(network, BOB, "sell", 100, 10_000)
    place(network, CAROL, "sell", 100, 20_000)
    place(network, ALICE, "buy", 100, 50_000)
    assert trades(network) == [(ALICE, BOB, 60, 10_000), (ALICE, CAROL, 40, 20_000)]
    first = network.events("Traded")[0]
    assert (first["path"], first["fee_micros"], first["loss_wh"], first["loss_micros"]) == ("across", 600, 6, 60)
    assert network.balance("grid") == 660
    place(network, DAVE, "buy", 40, 10_000)  # both are in the south: nothing flows
    assert trades(network)[2] == (DAVE, BOB, 40, 10_000)
    assert network.money_residual() == 0


def test_a_seller_s_hold_of_a_buyer_from_away_covers_the_dearest_path(network: Network) -> None:
    network.act(OPERATOR, "grid", "set_connection", ALICE, "s", "south")
    network.act(OPERATOR, "grid", "set_capacity", ZONE, "south", SLOT, 100)
    network.act(OPERATOR, "grid", "set_fee", "across", 10_000, 100_000)
    place(network, ALICE, "buy", 100, 50_000)
    assert network.see("payments", "held", ALICE) == 5_000 + 1_000 + 500
    place(network, BOB, "sell", 100, 10_000)
    assert network.balance(ALICE) == DEPOSIT_MICROS - 6_500
    assert network.see("grid", "free_capacity", ZONE, "south", SLOT) == 0


def test_an_envelope_counts_what_rests_and_what_was_traded(network: Network) -> None:
    network.act(OPERATOR, "grid", "set_envelope", ALICE, SLOT, 100, 0)
    order = place(network, ALICE, "buy", 60, 10_000)
    with refused("BEYOND_IMPORT_LIMIT"):
        place(network, ALICE, "buy", 41, 10_000)
    with refused("BEYOND_IMPORT_LIMIT"):
        network.order(ALICE, "buy", 41, 10_000)
    place(network, BOB, "sell", 20, 10_000)
    assert network.see("market", "headroom", ALICE, SLOT) == (40, 0)
    network.act(ALICE, "continuous", "cancel", order)
    assert network.see("market", "headroom", ALICE, SLOT) == (80, 0)
    assert network.see("payments", "held", ALICE) == 0


def test_the_gate_ends_continuous_trading_and_what_rests_goes_back(network: Network) -> None:
    order = place(network, ALICE, "buy", 60, 10_000)
    place(network, BOB, "sell", 60, 20_000)
    with refused("GATE_OPEN"):
        network.act(OPERATOR, "continuous", "expire", ZONE, SLOT)
    with refused("MARKET_OPEN"):
        network.settle(1)
    network.clear()
    with refused("GATE_CLOSED"):
        place(network, CAROL, "sell", 60, 10_000)
    with refused("NOT_YOUR_ORDER"):
        network.act(BOB, "continuous", "cancel", order)
    assert network.act(OPERATOR, "continuous", "expire", ZONE, SLOT) == 0
    assert network.see("payments", "held", ALICE) == 0
    assert network.see("continuous", "book", ZONE, SLOT) == ([], [])
    with refused("UNKNOWN_ORDER"):
        network.act(ALICE, "continuous", "cancel", order)


def test_a_side_of_the_book_rests_two_hundred_and_a_quarter_of_both_for_each(network: Network) -> None:
    for account in PEOPLE[:4]:
        for limit in range(50):
            place(network, account, "buy", 1, limit)
            place(network, account, "sell", 1, 1_000 + limit)
        with refused("TOO_MANY_ORDERS"):
            place(network, account, "buy", 1, 1)
    with refused("BOOK_FULL"):
        place(network, ERIN, "buy", 1, 1)
    with refused("BOOK_FULL"):
        place(network, ERIN, "sell", 1, 1_001)
    network.act(ALICE, "continuous", "cancel", 1)
    place(network, ALICE, "buy", 1, 1)
    network.clear()
    assert network.act(OPERATOR, "continuous", "expire", ZONE, SLOT) == 300


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("up", 1, 1, ""), "UNKNOWN_SIDE"),
        (("buy", 0, 1, ""), "QUANTITY_OUT_OF_RANGE"),
        (("buy", 1, -1, ""), "LIMIT_OUT_OF_RANGE"),
    ],
)
def test_continuous_entry_refuses(network: Network, args: tuple[object, ...], code: str) -> None:
    with refused(code):
        network.act(ALICE, "continuous", "place", ZONE, SLOT, *args)
    with refused("NOT_A_PARTICIPANT"):
        network.act(STRANGER, "continuous", "place", ZONE, SLOT, "buy", 1, 1, "")


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 99)), unique_by=lambda row: row[1], max_size=12))
def test_a_book_is_kept_in_order(rows: Sequence[tuple[int, int]]) -> None:
    book: list[tuple[int, int]] = []
    for row in rows:
        book = inserted(book, row)
    assert book == sorted(rows)


ORDERS = st.tuples(
    st.sampled_from(PEOPLE[:4]),
    st.booleans(),
    st.integers(1, 50),
    st.integers(0, 8),
    st.sampled_from(["", "", "feeder"]),
)


@given(st.lists(ORDERS, max_size=25))
@settings(max_examples=40, deadline=None)
def test_no_two_resting_orders_of_different_people_could_trade_and_every_wh_is_accounted_for(
    rows: list[tuple[str, bool, int, int, str]],
) -> None:
    network = Network()
    network.act(OPERATOR, "grid", "set_fee", "zone", 1_000, 10_000)
    wanted = 0
    for account, buying, quantity, limit, attribute in rows:
        side = "buy" if buying else "sell"
        with suppress(ContractError):  # of those who meet themselves
            place(network, account, side, quantity, limit * 10_000, attribute if buying else "")
            wanted += quantity
    bids, asks = network.see("continuous", "book", ZONE, SLOT)
    records = {row[0]: network.see("continuous", "order", row[0]) for row in bids + asks}
    for bid, bid_limit, _ in bids:
        for ask, ask_limit, _ in asks:
            if records[bid].attribute == "" and records[bid].account != records[ask].account:
                assert bid_limit < ask_limit
    assert sum(row[2] for row in bids + asks) + 2 * sum(row[2] for row in trades(network)) == wanted
    held = sum(network.see("payments", "helds", list(PEOPLE)))
    assert held >= sum(limit * left // 1000 for _, limit, left in bids)
    assert network.money_residual() == 0


# --- Bilateral ---------------------------------------------------------------------------------------------------------


def offer(network: Network, quantity: int = 500, price: int = 60_000) -> int:
    offer_id = network.act(BOB, "bilateral", "offer", ZONE, SLOT, ALICE, quantity, price, HOUR_MS)
    assert isinstance(offer_id, int)
    return offer_id


def test_an_accepted_offer_is_paid_and_counts_for_both(network: Network) -> None:
    network.act(OPERATOR, "grid", "set_fee", "zone", 2_000, 10_000)
    network.act(ALICE, "bilateral", "accept", offer(network))
    assert network.see("payments", "balances", [ALICE, BOB, "grid"]) == [
        DEPOSIT_MICROS - 30_000 - 1_000 - 300,
        DEPOSIT_MICROS + 30_000,
        1_300,
    ]
    assert network.see("market", "positions", [ALICE, BOB], SLOT) == [(500, 0), (0, 500)]
    (event,) = network.events("Traded")
    assert (event["offer_id"], event["path"], event["fee_micros"], event["loss_micros"]) == (1, "zone", 1_000, 300)
    assert network.see("bilateral", "offer_of", 1).state == "ACCEPTED"
    assert network.see("bilateral", "offer_count") == 1
    with refused("OFFER_NOT_OPEN"):
        network.act(ALICE, "bilateral", "accept", 1)
    with refused("OFFER_NOT_OPEN"):
        network.act(BOB, "bilateral", "withdraw", 1)


def test_an_offer_is_for_its_buyer_its_time_and_the_time_before_the_gate(network: Network) -> None:
    offer_id = offer(network)
    with refused("NOT_YOUR_OFFER"):
        network.act(CAROL, "bilateral", "accept", offer_id)
    with refused("NOT_YOUR_OFFER"):
        network.act(ALICE, "bilateral", "withdraw", offer_id)
    network.world.time_ms = HOUR_MS + 1
    with refused("EXPIRED"):
        network.act(ALICE, "bilateral", "accept", offer_id)
    network.world.time_ms = HOUR_MS
    network.clear()
    with refused("GATE_CLOSED"):
        network.act(ALICE, "bilateral", "accept", offer_id)
    network.act(BOB, "bilateral", "withdraw", offer_id)
    with refused("UNKNOWN_OFFER"):
        network.act(BOB, "bilateral", "withdraw", 9)


def test_an_offer_takes_up_its_seller_s_envelope_and_needs_room_in_its_buyer_s(network: Network) -> None:
    network.act(OPERATOR, "grid", "set_envelope", BOB, SLOT, 0, 500)
    network.act(OPERATOR, "grid", "set_envelope", ALICE, SLOT, 499, 0)
    offer_id = offer(network)
    with refused("BEYOND_EXPORT_LIMIT"):
        offer(network, quantity=1)
    with refused("BEYOND_IMPORT_LIMIT"):
        network.act(ALICE, "bilateral", "accept", offer_id)
    network.act(BOB, "bilateral", "withdraw", offer_id)
    network.act(ALICE, "bilateral", "accept", offer(network, quantity=499))
    assert network.see("market", "headroom", ALICE, SLOT) == (0, 0)
    assert network.see("market", "headroom", BOB, SLOT) == (0, 1)


def test_an_offer_across_zones_needs_capacity(network: Network) -> None:
    network.act(OPERATOR, "grid", "set_connection", BOB, "s", "south")
    network.act(OPERATOR, "grid", "set_connection", ALICE, "n", "north")
    offer_id = offer(network)
    with refused("BEYOND_CAPACITY"):
        network.act(ALICE, "bilateral", "accept", offer_id)
    network.act(OPERATOR, "grid", "set_capacity", "south", "north", SLOT, 500)
    network.act(ALICE, "bilateral", "accept", offer_id)
    assert network.events("Traded")[0]["path"] == "across"


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ((ALICE, 0, 1, HOUR_MS), "QUANTITY_OUT_OF_RANGE"),
        ((ALICE, 1, -1, HOUR_MS), "PRICE_OUT_OF_RANGE"),
        ((ALICE, 1, 1, 0), "EXPIRED"),
        ((BOB, 1, 1, HOUR_MS), "SELF_TRADE"),
        ((STRANGER, 1, 1, HOUR_MS), "BUYER_NOT_A_PARTICIPANT"),
    ],
)
def test_an_offer_is_refused(network: Network, args: tuple[object, ...], code: str) -> None:
    with refused(code):
        network.act(BOB, "bilateral", "offer", ZONE, SLOT, *args)


# --- Supplier of last resort -------------------------------------------------------------------------------------------


@pytest.fixture
def supplied(network: Network) -> Network:
    """Everybody but Frank has Erin as the supplier of last resort."""
    network.act(OPERATOR, "registry", "grant", ERIN, "SUPPLIER")
    network.act(ERIN, "resort", "set_tariff", 300_000, 50_000)
    for account in PEOPLE[:4]:
        network.act(OPERATOR, "registry", "switch_supplier", account, ERIN, SLOT)
    return network


def test_what_the_market_leaves_open_is_served_at_the_tariff(supplied: Network) -> None:
    supplied.order(ALICE, "buy", 1_000, 90_000)
    supplied.order(BOB, "sell", 400, 80_000)
    supplied.order(CAROL, "sell", 200, 95_000)
    supplied.order(FRANK, "buy", 100, 1)
    with refused("GATE_OPEN"):
        supplied.act(OPERATOR, "resort", "serve", ZONE, SLOT)
    supplied.clear()
    assert supplied.act(OPERATOR, "resort", "serve", ZONE, SLOT) is True
    assert [
        (event["account"], event["quantity_wh"], event["amount_micros"]) for event in supplied.events("Served")
    ] == [
        (ALICE, 600, 180_000),
        (CAROL, 200, 10_000),
    ]
    assert supplied.see("market", "positions", [ALICE, CAROL, ERIN, FRANK], SLOT) == [
        (1_000, 0),
        (0, 200),
        (200, 600),
        (0, 0),
    ]
    assert supplied.money_residual() == 0
    with refused("ALL_SERVED"):
        supplied.act(OPERATOR, "resort", "serve", ZONE, SLOT)


def test_who_cannot_pay_the_tariff_is_left_to_settlement(supplied: Network) -> None:
    supplied.act(ALICE, "payments", "transfer", BOB, DEPOSIT_MICROS - 100)
    supplied.order(ALICE, "buy", 1_000, 100)
    supplied.clear()
    supplied.act(OPERATOR, "resort", "serve", ZONE, SLOT)
    assert supplied.events("Served") == []
    assert supplied.events("NotServed")[0]["left_wh"] == 1_000
    supplied.meter((load_of(ALICE), 10, 0))
    supplied.settle(1_000)


def test_a_tariff_never_gives_more_than_it_takes(supplied: Network) -> None:
    assert supplied.see("resort", "tariff", ERIN) == (300_000, 50_000)
    assert supplied.see("resort", "tariff", DAVE) is None
    with refused("PRICE_OUT_OF_RANGE"):
        supplied.act(ERIN, "resort", "set_tariff", 10, 11)


def test_serving_comes_before_the_slot_is_closed(supplied: Network) -> None:
    supplied.order(ALICE, "buy", 1_000, 100)
    supplied.clear()
    supplied.settle(1)
    with refused("SLOT_CLOSED"):
        supplied.act(OPERATOR, "resort", "serve", ZONE, SLOT)
