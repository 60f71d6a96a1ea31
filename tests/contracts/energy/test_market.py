from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contracts.runtime.errors import ContractError
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


def test_a_buy_order_holds_its_worst_case_cost(network: Network) -> None:
    network.order(ALICE, "buy", 1_500, 200_001)
    assert network.see("payments", "held", ALICE) == 300_001  # 300,001.5 micros, rounded down
    assert network.balance(ALICE) == DEPOSIT_MICROS - 300_001


def test_an_order_that_its_money_does_not_cover_never_stands(network: Network) -> None:
    with refused("INSUFFICIENT_BALANCE"):
        network.order(ALICE, "buy", DEPOSIT_MICROS + 1, 1_000)
    assert network.see("market", "product", ZONE, SLOT) is None


def test_an_order_too_cheap_to_cost_a_micro_trades_for_nothing(network: Network) -> None:
    network.order(ALICE, "buy", 9, 100)
    network.order(BOB, "sell", 9, 100)
    network.clear()
    assert network.events("Traded")[0]["amount_micros"] == 0
    assert network.see("market", "position", ALICE, SLOT) == (9, 0)
    assert network.money_residual() == 0


def test_worked_example_of_four_units_at_ten_settles_with_money(network: Network) -> None:
    """domain.md: bids 10 x7, asks 1, 2, 3, 4, one unit each: 4 units at 10. Here a unit is 1 kWh."""
    for _ in range(7):
        network.order(ALICE, "buy", 1_000, 10)
    for limit in (1, 2, 3, 4):
        network.order(BOB, "sell", 1_000, limit)
    network.clear()
    assert network.events("Cleared") == [
        {
            "zone": ZONE,
            "slot": SLOT,
            "price_micros_per_kwh": 10,
            "quantity_wh": 4_000,
            "trade_count": 4,
            "order_count": 11,
        }
    ]
    assert network.see("payments", "balances", [ALICE, BOB]) == [DEPOSIT_MICROS - 40, DEPOSIT_MICROS + 40]
    assert network.see("payments", "held", ALICE) == 0
    assert network.see("market", "position", ALICE, SLOT) == (4_000, 0)
    assert network.see("market", "position", BOB, SLOT) == (0, 4_000)


def test_every_trade_is_an_event_with_what_a_bill_needs(network: Network) -> None:
    buy = network.order(ALICE, "buy", 700, 90_000)
    sell = network.order(BOB, "sell", 500, 70_000)
    network.clear()
    assert network.events("Traded") == [
        {
            "zone": ZONE,
            "slot": SLOT,
            "buyer": ALICE,
            "seller": BOB,
            "buy_order": buy,
            "sell_order": sell,
            "quantity_wh": 500,
            "price_micros_per_kwh": 90_000,
            "amount_micros": 45_000,
            "path": "zone",
            "fee_micros": 0,
            "loss_wh": 0,
            "loss_micros": 0,
        }
    ]


def test_a_view_says_what_the_gate_made_of_each_order(network: Network) -> None:
    full = network.order(ALICE, "buy", 300, 90_000)
    part = network.order(CAROL, "buy", 300, 80_000)
    none = network.order(DAVE, "buy", 300, 10_000)
    gone = network.order(DAVE, "buy", 300, 20_000)
    network.act(DAVE, "market", "cancel_order", gone)
    sell = network.order(BOB, "sell", 500, 70_000)
    assert network.see("market", "order", full)[6] == "OPEN"
    network.clear()
    states = [(row[0], row[1][4], row[1][6]) for row in network.see("market", "orders_of_product", ZONE, SLOT, 0, 10)]
    assert states == [
        (full, 300, "FILLED"),
        (part, 200, "PART_FILLED"),
        (none, 0, "EXPIRED"),
        (gone, 0, "CANCELLED"),
        (sell, 500, "FILLED"),
    ]
    assert network.see("market", "order", 1) is None
    assert network.see("payments", "helds", [ALICE, CAROL, DAVE]) == [0, 0, 0]
    assert [row[0] for row in network.see("market", "orders_of_product", ZONE, SLOT, 1, 2)] == [part, none]
    assert network.see("market", "orders_of_product", "elsewhere", SLOT, 0, 10) == []


@pytest.mark.parametrize(("first", "second"), [("buy", "sell"), ("sell", "buy")])
def test_an_order_opposite_an_own_open_order_is_refused(network: Network, first: str, second: str) -> None:
    standing = network.order(ALICE, first, 100, 50_000)
    with refused("SELF_TRADE"):
        network.order(ALICE, second, 100, 50_000)
    network.order(ALICE, second, 100, 50_000, slot=SLOT + 1)
    network.order(ALICE, second, 100, 50_000, zone="feeder-2")
    network.act(ALICE, "market", "cancel_order", standing)
    network.order(ALICE, second, 100, 50_000)


def test_a_cancelled_order_frees_its_money_and_trades_no_more(network: Network) -> None:
    order_id = network.order(ALICE, "buy", 1_000, 80_000)
    with refused("NOT_YOUR_ORDER"):
        network.act(BOB, "market", "cancel_order", order_id)
    network.act(ALICE, "market", "cancel_order", order_id)
    assert network.balance(ALICE) == DEPOSIT_MICROS
    with refused("ORDER_NOT_OPEN"):
        network.act(ALICE, "market", "cancel_order", order_id)
    with refused("UNKNOWN_ORDER"):
        network.act(ALICE, "market", "cancel_order", order_id + 1)
    network.order(BOB, "sell", 1_000, 1)
    network.clear()
    assert network.events("Traded") == []


def test_a_gate_closes_once_and_for_ever(network: Network) -> None:
    order_id = network.order(ALICE, "buy", 100, 50_000)
    network.clear()
    assert network.events("Cleared")[0]["price_micros_per_kwh"] == -1
    with refused("ALREADY_CLEARED"):
        network.clear()
    with refused("GATE_CLOSED"):
        network.order(BOB, "sell", 100, 50_000)
    with refused("GATE_CLOSED"):
        network.act(ALICE, "market", "cancel_order", order_id)


def test_a_product_without_orders_can_be_cleared(network: Network) -> None:
    network.clear()
    assert tuple(network.see("market", "product", ZONE, SLOT))[3:] == ("CLEARED", 0, -1, 0, 0)


def test_a_position_adds_up_over_zones(network: Network) -> None:
    for zone in ("a", "b"):
        network.order(ALICE, "buy", 100, 50_000, zone=zone)
        network.order(BOB, "sell", 100, 50_000, zone=zone)
        network.clear(zone=zone)
    assert network.see("market", "positions", [ALICE, BOB, CAROL], SLOT) == [(200, 0), (0, 200), (0, 0)]


def test_a_closed_slot_takes_no_new_product(network: Network) -> None:
    network.order(ALICE, "buy", 100, 50_000)
    with refused("MARKET_OPEN"):
        network.act(OPERATOR, "market", "close_slot", SLOT)
    network.clear()
    network.act(OPERATOR, "market", "close_slot", SLOT)
    network.act(OPERATOR, "market", "close_slot", SLOT)
    assert len(network.events("SlotClosed")) == 1
    assert network.see("market", "slot_closed", SLOT)
    with refused("SLOT_CLOSED"):
        network.order(ALICE, "buy", 100, 50_000, zone="elsewhere")
    with refused("SLOT_CLOSED"):
        network.clear(zone="elsewhere")


@pytest.mark.parametrize(
    ("zone", "slot", "side", "quantity", "limit", "code"),
    [
        (ZONE, SLOT, "hold", 1, 1, "UNKNOWN_SIDE"),
        (ZONE, SLOT, "sell", 0, 1, "QUANTITY_OUT_OF_RANGE"),
        (ZONE, SLOT, "sell", 1_000_000_001, 1, "QUANTITY_OUT_OF_RANGE"),
        (ZONE, SLOT, "sell", 1, -1, "LIMIT_OUT_OF_RANGE"),
        (ZONE, SLOT, "sell", 1, 1_000_000_001, "LIMIT_OUT_OF_RANGE"),
        (ZONE, -1, "sell", 1, 1, "SLOT_OUT_OF_RANGE"),
        ("", SLOT, "sell", 1, 1, "ZONE_LENGTH"),
    ],
)
def test_an_order_out_of_range_is_refused(
    network: Network, zone: str, slot: int, side: str, quantity: int, limit: int, code: str
) -> None:
    with refused(code):
        network.act(ALICE, "market", "place_order", zone, slot, side, quantity, limit)


def test_only_participants_trade(network: Network) -> None:
    with refused("NOT_A_PARTICIPANT"):
        network.order(STRANGER, "sell", 1, 1)


def test_one_account_cannot_fill_a_product_up(network: Network) -> None:
    for _ in range(200):
        order_id = network.order(ALICE, "sell", 1, 1)
        network.act(ALICE, "market", "cancel_order", order_id)
    with refused("TOO_MANY_ORDERS"):
        network.order(ALICE, "sell", 1, 1)
    network.order(BOB, "sell", 1, 1)


ROW = st.tuples(
    st.sampled_from([ZONE, "feeder-2"]),
    st.integers(SLOT, SLOT + 1),
    st.sampled_from(["buy", "sell"]),
    st.integers(1, 1_000),
    st.integers(0, 100_000),
)


@given(st.lists(ROW, min_size=1, max_size=6))
@example([(ZONE, SLOT, "buy", 9, 100)])  # too cheap to cost a micro: no hold
@example([(ZONE, SLOT, "buy", 500_000, 40_000), (ZONE, SLOT + 1, "buy", 500_000, 70_000)])  # more than she has
@settings(max_examples=40, deadline=None)
def test_orders_placed_in_one_call_are_those_placed_one_after_the_other_or_none(
    rows: list[tuple[str, int, str, int, int]],
) -> None:
    together, apart = Network(), Network()
    before = dict(together.world.state)
    try:
        ids = [apart.act(ALICE, "market", "place_order", *row) for row in rows]
    except ContractError as refusal:
        with refused(refusal.code):
            together.act(ALICE, "market", "place_orders", rows)
        assert together.world.state == before
    else:
        assert together.act(ALICE, "market", "place_orders", rows) == ids
        assert together.world.state == apart.world.state
        assert together.events("OrderPlaced") == apart.events("OrderPlaced")


def test_one_call_places_at_least_one_order_and_at_most_192(network: Network) -> None:
    for rows in ([], [(ZONE, SLOT + place, "sell", 1, 1) for place in range(193)]):
        with refused("TOO_MANY_ORDERS"):
            network.act(ALICE, "market", "place_orders", rows)
    assert (
        len(network.act(ALICE, "market", "place_orders", [(ZONE, SLOT + n, "sell", 1, 1) for n in range(192)])) == 192
    )


def test_each_order_of_a_call_must_fit_into_what_the_ones_before_it_left_of_the_envelope(network: Network) -> None:
    network.act(OPERATOR, "grid", "set_envelope", ALICE, -1, 1_000, 1_000)
    fits = [
        (ZONE, SLOT, "buy", 600, 1_000),
        ("feeder-2", SLOT, "buy", 400, 1_000),
        (ZONE, SLOT + 1, "buy", 1_000, 1_000),
    ]
    with refused("BEYOND_IMPORT_LIMIT"):
        network.act(ALICE, "market", "place_orders", [*fits, ("feeder-2", SLOT, "buy", 1, 1_000)])
    network.act(ALICE, "market", "place_orders", fits)
    assert network.see("market", "headroom", ALICE, SLOT) == (0, 1_000)


def test_what_the_gate_allotted_shows_in_the_orders_and_cancelled_ones_stay_cancelled(network: Network) -> None:
    cancelled = network.order(ALICE, "buy", 100, 90_000)
    whole, part = network.order(ALICE, "buy", 300, 90_000), network.order(CAROL, "buy", 300, 80_000)
    network.act(ALICE, "market", "cancel_order", cancelled)
    sold = network.order(BOB, "sell", 400, 10_000)
    network.clear()
    seen = [network.see("market", "order", one) for one in (cancelled, whole, part, sold)]
    assert [(one[4], one[6]) for one in seen] == [
        (0, "CANCELLED"),
        (300, "FILLED"),
        (100, "PART_FILLED"),
        (400, "FILLED"),
    ]
    assert [row for _, row in network.see("market", "orders_of_product", ZONE, SLOT, 0, 9)] == seen
    assert [row for _, row in network.see("market", "orders_of_product", ZONE, SLOT, 2, 1)] == seen[2:3]
