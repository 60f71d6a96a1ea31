"""Fees by path, envelopes, capacities and zones, as they bear on the call auction."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.energy.market import fees_of, match_orders, path_of, within_capacity, worst_cost
from tests.contracts.energy.network import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    DEPOSIT_MICROS,
    OPERATOR,
    SLOT,
    STRANGER,
    ZONE,
    Network,
    refused,
)

TARIFFS = st.tuples(*[st.integers(0, 10**5), st.integers(0, 500_000)] * 3).map(list)


def grid(network: Network, function: str, *args: object) -> None:
    network.act(OPERATOR, "grid", function, *args)


@given(
    TARIFFS,
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.lists(st.tuples(st.integers(1, 10**6), st.integers(0, 2)), max_size=9),
)
def test_no_cut_of_an_order_into_trades_costs_more_than_it_holds(
    tariff: list[int], limit: int, better: int, parts: list[tuple[int, int]]
) -> None:
    price = max(0, limit - better)
    spent = 0
    for quantity, path in parts:
        fee, _, loss = fees_of(tariff, path, quantity, price)
        spent += price * quantity // 1000 + fee + loss
    assert spent <= worst_cost(tariff, sum(quantity for quantity, _ in parts), limit)


@pytest.mark.parametrize(
    ("buyer", "seller", "path"),
    [
        (("f1", ""), ("f1", ""), 0),
        (("f1", ""), ("f2", ""), 1),
        (("", ""), ("", ""), 1),
        (("f1", ""), ("f9", "south"), 2),
        (("f9", "south"), ("f9", "south"), 0),
    ],
)
def test_the_path_is_the_shortest_way(buyer: tuple[str, str], seller: tuple[str, str], path: int) -> None:
    assert path_of(*buyer, *seller) == path


def test_the_bill_shows_fee_and_losses_of_the_path_in_their_own_lines(network: Network) -> None:
    grid(network, "set_fee", "feeder", 10_000, 0)
    grid(network, "set_fee", "zone", 30_000, 50_000)
    grid(network, "set_connection", ALICE, "f1", ZONE)
    grid(network, "set_connection", BOB, "f1", ZONE)
    grid(network, "set_connection", CAROL, "f2", ZONE)
    network.order(ALICE, "buy", 2_000, 100_000)
    assert network.see("payments", "held", ALICE) == 200_000 + 60_000 + 10_000
    network.order(BOB, "sell", 1_000, 90_000)
    network.order(CAROL, "sell", 1_000, 100_000)
    network.clear()
    fields = ("seller", "path", "amount_micros", "fee_micros", "loss_wh", "loss_micros")
    assert [tuple(event[name] for name in fields) for event in network.events("Traded")] == [
        (BOB, "feeder", 100_000, 10_000, 0, 0),
        (CAROL, "zone", 100_000, 30_000, 50, 5_000),
    ]
    assert network.balance(ALICE) == DEPOSIT_MICROS - 245_000
    assert network.see("payments", "held", ALICE) == 0
    assert network.balance("grid") == 45_000
    assert network.money_residual() == 0


def test_fees_are_those_of_the_product_s_first_order(network: Network) -> None:
    network.order(ALICE, "buy", 1_000, 100_000)
    grid(network, "set_fee", "zone", 30_000, 0)
    assert network.see("market", "product_fees_of", ZONE, SLOT) == [0] * 6
    assert network.see("market", "product_fees_of", ZONE, SLOT + 1) == [0, 0, 30_000, 0, 0, 0]
    network.order(BOB, "sell", 1_000, 100_000)
    network.clear()
    assert network.balance("grid") == 0


# --- Envelopes ---------------------------------------------------------------------------------------------------------


def test_orders_beyond_an_envelope_are_refused_and_a_view_says_what_would_fit(network: Network) -> None:
    grid(network, "set_envelope", ALICE, SLOT, 1_000, 300)
    network.order(ALICE, "buy", 700, 1)
    assert network.see("market", "headroom", ALICE, SLOT) == (300, 300)
    with refused("BEYOND_IMPORT_LIMIT"):
        network.order(ALICE, "buy", 301, 1)
    with refused("BEYOND_IMPORT_LIMIT"):
        network.order(ALICE, "buy", 301, 1, zone="other")
    with refused("BEYOND_EXPORT_LIMIT"):
        network.order(ALICE, "sell", 301, 1, zone="other")
    network.order(ALICE, "buy", 300, 1, zone="other")
    assert network.see("market", "headroom", ALICE, SLOT) == (0, 300)
    assert network.see("market", "headroom", ALICE, SLOT + 1) == (-1, -1)


def test_what_was_cancelled_or_left_open_at_the_gate_fits_again_and_what_was_traded_does_not(network: Network) -> None:
    grid(network, "set_envelope", ALICE, SLOT, 1_000, 0)
    network.act(ALICE, "market", "cancel_order", network.order(ALICE, "buy", 400, 1_000))
    assert network.see("market", "headroom", ALICE, SLOT)[0] == 1_000
    network.order(ALICE, "buy", 600, 1_000)
    network.order(BOB, "sell", 250, 1_000)
    network.clear()
    assert network.see("market", "headroom", ALICE, SLOT)[0] == 750


def test_of_several_envelopes_the_tightest_holds(network: Network) -> None:
    grid(network, "set_envelope", ALICE, -1, 500, 500)
    grid(network, "set_envelope", ALICE, SLOT, 900, 200)
    assert network.see("grid", "envelope", ALICE, SLOT) == (500, 200)
    assert network.see("grid", "envelope", ALICE, SLOT + 1) == (500, 500)
    assert network.see("grid", "envelope", BOB, SLOT) == (-1, -1)


# --- Capacities --------------------------------------------------------------------------------------------------------


def test_clearing_never_exceeds_a_transfer_capacity_and_takes_the_best_orders(network: Network) -> None:
    for account in (BOB, CAROL):
        grid(network, "set_connection", account, "s", "south")
    grid(network, "set_capacity", "south", ZONE, SLOT, 500)
    network.order(ALICE, "buy", 2_000, 100)
    network.order(BOB, "sell", 400, 20)
    network.order(CAROL, "sell", 400, 10)
    network.order(DAVE, "sell", 400, 90)
    network.clear()
    sold = {one: network.see("market", "position", one, SLOT)[1] for one in (BOB, CAROL, DAVE)}
    assert sold == {BOB: 100, CAROL: 400, DAVE: 400}
    assert {event["path"] for event in network.events("Traded")} == {"across", "zone"}
    assert network.see("grid", "free_capacity", "south", ZONE, SLOT) == 0
    with refused("CAPACITY_IN_USE"):
        grid(network, "set_capacity", "south", ZONE, SLOT, 499)


def test_without_a_capacity_nothing_flows(network: Network) -> None:
    grid(network, "set_connection", ALICE, "s", "south")
    network.order(ALICE, "buy", 100, 100)
    network.order(BOB, "sell", 100, 10)
    network.clear()
    assert network.events("Traded") == []


LIMITED = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9), st.sampled_from(["", "n", "s"])), max_size=9)


@given(LIMITED, LIMITED, st.integers(0, 9), st.integers(0, 9))
def test_the_flow_of_any_book_stays_within_every_capacity(
    buys: list[tuple[int, int, str]], sells: list[tuple[int, int, str]], north: int, south: int
) -> None:
    capacities = {"n": north, "s": south}
    bids = [(place, "b", quantity, limit) for place, (quantity, limit, _) in enumerate(buys)]
    asks = [(place, "s", quantity, limit) for place, (quantity, limit, _) in enumerate(sells)]
    cut_bids = within_capacity(bids, [home for *_, home in buys], -1, capacities)
    cut_asks = within_capacity(asks, [home for *_, home in sells], 1, capacities)
    trades = match_orders(cut_bids, cut_asks)[1]
    for home, capacity in capacities.items():
        assert sum(wh for bid, _, wh in trades if buys[bid][2] == home) <= capacity
        assert sum(wh for _, ask, wh in trades if sells[ask][2] == home) <= capacity
    if all(not home for *_, home in buys + sells):
        assert (cut_bids, cut_asks) == (bids, asks)


# --- Zones -------------------------------------------------------------------------------------------------------------


def test_once_a_zone_is_known_no_other_is_traded_in(network: Network) -> None:
    grid(network, "set_zone", ZONE, "", "")
    network.order(ALICE, "buy", 1, 1)
    with refused("UNKNOWN_ZONE"):
        network.order(ALICE, "buy", 1, 1, zone="junk")


def test_in_a_zone_with_an_attribute_only_those_sell_who_deliver_it(network: Network) -> None:
    grid(network, "set_zone", "green", "renewable", "")
    grid(network, "set_zone", "street", "feeder", "f1")
    grid(network, "set_connection", ALICE, "f1", "north")
    network.act(OPERATOR, "registry", "register_meter", "chp", BOB, "chp", "1", 5_000)
    network.order(ALICE, "sell", 1, 1, zone="green")
    network.order(ALICE, "sell", 1, 1, zone="street")
    with refused("NOT_RENEWABLE"):
        network.order(BOB, "sell", 1, 1, zone="green")
    with refused("NOT_ON_THE_FEEDER"):
        network.order(CAROL, "sell", 1, 1, zone="street")
    network.order(BOB, "buy", 1, 1, zone="green")
    network.clear(zone="green")
    assert len(network.events("Traded")) == 1


def test_a_slot_has_at_most_a_hundred_products(network: Network) -> None:
    for number in range(100):
        network.order(ALICE, "buy", 1, 1, zone=f"zone {number}")
    with refused("TOO_MANY_PRODUCTS"):
        network.order(ALICE, "buy", 1, 1, zone="one more")


@pytest.mark.parametrize(
    ("function", "args", "code"),
    [
        ("set_zone", ("", "", ""), "ZONE_LENGTH"),
        ("set_zone", ("z", "cheap", ""), "UNKNOWN_ATTRIBUTE"),
        ("set_zone", ("z", "feeder", ""), "FEEDER_LENGTH"),
        ("set_zone", ("z", "renewable", "f"), "FEEDER_LENGTH"),
        ("set_connection", (STRANGER, "f", "z"), "NOT_A_PARTICIPANT"),
        ("set_connection", (ALICE, "", "z"), "FEEDER_LENGTH"),
        ("set_fee", ("moon", 1, 1), "UNKNOWN_PATH"),
        ("set_fee", ("zone", -1, 1), "FEE_OUT_OF_RANGE"),
        ("set_fee", ("zone", 1, 500_001), "LOSS_OUT_OF_RANGE"),
        ("set_envelope", (ALICE, -2, 1, 1), "SLOT_OUT_OF_RANGE"),
        ("set_envelope", (ALICE, 1, -1, 1), "ENERGY_OUT_OF_RANGE"),
        ("set_capacity", ("a", "a", 1, 1), "SAME_ZONE"),
        ("set_capacity", ("a", "b", -1, 1), "SLOT_OUT_OF_RANGE"),
    ],
)
def test_the_grid_refuses(network: Network, function: str, args: tuple[object, ...], code: str) -> None:
    with refused(code):
        grid(network, function, *args)


def test_a_zone_stands_once_set(network: Network) -> None:
    grid(network, "set_zone", "z", "", "")
    with refused("ZONE_STANDS"):
        grid(network, "set_zone", "z", "renewable", "")


# --- Order entry that came with them -----------------------------------------------------------------------------------


def test_an_amended_order_arrives_last(network: Network) -> None:
    first = network.order(ALICE, "buy", 500, 1_000)
    second = network.order(BOB, "buy", 500, 1_000)
    amended = network.act(ALICE, "market", "amend_order", first, 400, 1_000)
    assert amended > second
    network.order(CAROL, "sell", 600, 1_000)
    network.clear()
    assert network.see("market", "position", BOB, SLOT) == (500, 0)
    assert network.see("market", "position", ALICE, SLOT) == (100, 0)
    assert network.see("market", "order", first).state == "CANCELLED"
    with refused("GATE_CLOSED"):
        network.act(ALICE, "market", "amend_order", amended, 1, 1)


def test_an_aggregator_trades_on_the_participant_s_money_and_limits(network: Network) -> None:
    network.act(OPERATOR, "registry", "grant", BOB, "AGGREGATOR")
    with refused("NOT_YOUR_ACCOUNT"):
        network.act(BOB, "market", "place_order_for", ALICE, ZONE, SLOT, "buy", 1_000, 1_000)
    network.act(ALICE, "registry", "delegate", BOB)
    order = network.act(BOB, "market", "place_order_for", ALICE, ZONE, SLOT, "buy", 1_000, 1_000)
    assert network.see("market", "order", order).account == ALICE
    assert network.see("payments", "helds", [ALICE, BOB]) == [1_000, 0]
    order = network.act(BOB, "market", "amend_order", order, 500, 1_000)
    network.act(BOB, "market", "cancel_order", order)
    assert network.see("payments", "held", ALICE) == 0
