from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.energy.imbalance import imbalance_of, settle_rows
from tests.contracts.energy.network import (
    ALICE,
    BOB,
    CAROL,
    DEPOSIT_MICROS,
    OPERATOR,
    PEOPLE,
    SLOT,
    STRANGER,
    Network,
    load_of,
    pv_of,
    refused,
)

MWH = 1_000_000
ENERGY = st.integers(0, 10**9)


@pytest.mark.parametrize(
    ("sold", "bought", "imported", "exported", "imbalance"),
    [
        pytest.param(30 * MWH, 0, 40 * MWH, 60 * MWH, -10 * MWH, id="Fingrid: production 60, consumption 40, sale 30"),
        pytest.param(50 * MWH, 0, 0, 49_500_000, -500_000, id="Next Kraftwerke: sold 50, delivered 49.5"),
        pytest.param(0, 500, 500, 0, 0, id="bought what was used"),
        pytest.param(0, 500, 400, 0, 100, id="bought more than was used: long"),
    ],
)
def test_worked_imbalances(sold: int, bought: int, imported: int, exported: int, imbalance: int) -> None:
    assert imbalance_of(sold, bought, imported, exported) == imbalance


def test_an_amount_is_rounded_towards_minus_infinity() -> None:
    rows = [("a", "", 0, 0, 0, 1_999, 0), ("b", "", 0, 0, 1, 0, 0), ("c", "", 0, 0, 0, 0, 0)]
    assert settle_rows("single", 1, 1, rows) == (
        [("a", 1_999, 1), ("b", -1, -1), ("c", 0, 0)],
        [("a", 1_999, 1), ("b", -1, -1), ("c", 0, 0)],
        0,
    )
    rows = [("a", "", 0, 0, 0, 1, 0), ("b", "", 0, 0, 1_999, 0, 0)]
    assert [row[2] for row in settle_rows("single", -1, -1, rows)[0]] == [-1, 1]


@given(st.integers(-(10**9), 10**9), st.lists(st.tuples(ENERGY, ENERGY, ENERGY, ENERGY), max_size=20))
def test_every_settlement_sums_to_zero(price: int, rows: list[tuple[int, int, int, int]]) -> None:
    alone = [(str(place), "", *row, 0) for place, row in enumerate(rows)]
    results, groups, neutrality = settle_rows("single", price, price, alone)
    assert results == groups
    assert sum(amount for _, _, amount in results) + neutrality == 0
    for (_, imbalance, amount), row in zip(results, rows, strict=True):
        assert imbalance == row[3] - row[2] - row[0] + row[1]
        assert 0 <= price * imbalance - amount * 1000 < 1000


def trade_and_meter(network: Network) -> None:
    """Bob sells Alice 500 Wh at 100,000; Alice uses 700, Bob feeds in 450, Carol uses 100 that nobody bought."""
    network.order(ALICE, "buy", 500, 100_000)
    network.order(BOB, "sell", 500, 100_000)
    network.clear()
    network.meter((load_of(ALICE), 700, 0), (pv_of(BOB), 0, 450), (load_of(CAROL), 100, 0))


def test_a_slot_is_settled_at_one_price_and_neutrality_takes_the_rest(network: Network) -> None:
    trade_and_meter(network)
    network.settle(200_000)
    assert tuple(network.see("imbalance", "settlement", ALICE, SLOT)) == (
        0,
        500,
        700,
        0,
        -200,
        200_000,
        -40_000,
        0,
        ALICE,
    )
    assert tuple(network.see("imbalance", "settlement", BOB, SLOT)) == (500, 0, 0, 450, -50, 200_000, -10_000, 0, BOB)
    assert tuple(network.see("imbalance", "settlement", CAROL, SLOT)) == (
        0,
        0,
        100,
        0,
        -100,
        200_000,
        -20_000,
        0,
        CAROL,
    )
    assert network.balance("neutrality") == 70_000
    assert network.see("payments", "balances", [ALICE, BOB, CAROL]) == [
        DEPOSIT_MICROS - 50_000 - 40_000,
        DEPOSIT_MICROS + 50_000 - 10_000,
        DEPOSIT_MICROS - 20_000,
    ]
    assert tuple(network.see("imbalance", "slot_totals", SLOT)) == (len(PEOPLE), 200_000, -350, 0, 70_000, 70_000, 0, 1)
    assert network.money_residual() == 0
    assert network.events("Settled")[0] == {
        "slot": SLOT,
        "account": ALICE,
        "sold_wh": 0,
        "bought_wh": 500,
        "import_wh": 700,
        "export_wh": 0,
        "imbalance_wh": -200,
        "price_micros_per_kwh": 200_000,
        "amount_micros": -40_000,
        "activated_wh": 0,
        "brp": ALICE,
    }
    assert len(network.events("Settled")) == len(PEOPLE)


def test_who_is_long_receives_from_neutrality_which_may_run_ahead_within_its_credit(network: Network) -> None:
    network.meter((pv_of(BOB), 0, 1_000))
    network.settle(100_000)
    assert network.balance(BOB) == DEPOSIT_MICROS + 100_000
    assert network.balance("neutrality") == -100_000
    network.act(OPERATOR, "payments", "set_credit_limit", "neutrality", 100_000)
    network.meter((pv_of(BOB), 0, 1_000), slot=SLOT + 1)
    with refused("INSUFFICIENT_BALANCE"):
        network.settle(1, slot=SLOT + 1)


def test_a_slot_is_settled_once_and_closes_market_and_metering(network: Network) -> None:
    trade_and_meter(network)
    network.settle(200_000)
    with refused("SLOT_SETTLED"):
        network.act(OPERATOR, "imbalance", "settle", SLOT)
    with refused("SLOT_SETTLED"):
        network.act(OPERATOR, "imbalance", "post_price", SLOT, 1)
    with refused("SLOT_SETTLED"):
        network.meter((pv_of(ALICE), 0, 1))
    with refused("SLOT_CLOSED"):
        network.order(CAROL, "buy", 1, 1, zone="elsewhere")


def test_a_settlement_needs_a_price_and_every_product_cleared(network: Network) -> None:
    network.order(ALICE, "buy", 500, 100_000, zone="a")
    network.order(ALICE, "buy", 500, 100_000, zone="b")
    network.clear(zone="a")
    with refused("PRICE_MISSING"):
        network.act(OPERATOR, "imbalance", "settle", SLOT)
    with refused("MARKET_OPEN"):
        network.settle(1)
    network.clear(zone="b")
    network.settle(1)


def test_a_posted_price_can_be_replaced_until_settlement(network: Network) -> None:
    network.act(OPERATOR, "imbalance", "post_price", SLOT, 5)
    network.act(OPERATOR, "imbalance", "post_price", SLOT, -7)
    assert network.see("imbalance", "price", SLOT) == -7
    assert [event["price_micros_per_kwh"] for event in network.events("PricePosted")] == [5, -7]
    assert network.see("imbalance", "price", SLOT + 1) is None
    with refused("PRICE_OUT_OF_RANGE"):
        network.act(OPERATOR, "imbalance", "post_price", SLOT, 100_000_000_001)
    with refused("SLOT_OUT_OF_RANGE"):
        network.act(OPERATOR, "imbalance", "post_price", -1, 1)


def test_one_debtor_never_stops_a_settlement_and_its_arrears_are_recorded(network: Network) -> None:
    network.act(ALICE, "payments", "transfer", BOB, DEPOSIT_MICROS - 10)
    network.act(OPERATOR, "payments", "set_credit_limit", ALICE, 5)
    network.meter((load_of(ALICE), 1_000, 0), (pv_of(CAROL), 0, 1_000))
    network.settle(100)
    assert network.see("imbalance", "arrears", ALICE) == 85
    assert network.balance(ALICE) == -5
    assert network.balance(CAROL) == DEPOSIT_MICROS + 100
    assert network.balance("neutrality") == 15 - 100
    assert network.events("ArrearsChanged") == [{"account": ALICE, "change_micros": 85, "arrears_micros": 85}]
    assert tuple(network.see("imbalance", "slot_totals", SLOT))[3:] == (100, 100, 0, 85, 1)
    assert network.money_residual() == 0


def test_later_receipts_pay_arrears_first(network: Network) -> None:
    network.act(ALICE, "payments", "transfer", BOB, DEPOSIT_MICROS)
    network.meter((load_of(ALICE), 1_000, 0))
    network.settle(100)
    network.meter((pv_of(ALICE), 0, 300), slot=SLOT + 1)
    network.settle(100, slot=SLOT + 1)
    assert network.see("imbalance", "arrears", ALICE) == 70
    assert network.balance(ALICE) == 0
    network.meter((pv_of(ALICE), 0, 1_000), slot=SLOT + 2)
    network.settle(100, slot=SLOT + 2)
    assert network.see("imbalance", "arrears", ALICE) == 0
    assert network.balance(ALICE) == 30
    assert network.money_residual() == 0


def test_arrears_can_be_paid_and_no_more_than_they_are(network: Network) -> None:
    network.act(ALICE, "payments", "transfer", BOB, DEPOSIT_MICROS)
    network.meter((load_of(ALICE), 1_000, 0))
    network.settle(100)
    network.act(BOB, "payments", "transfer", ALICE, 200)
    with refused("MORE_THAN_ARREARS"):
        network.act(ALICE, "imbalance", "pay_arrears", 101)
    with refused("AMOUNT_NOT_POSITIVE"):
        network.act(ALICE, "imbalance", "pay_arrears", 0)
    network.act(ALICE, "imbalance", "pay_arrears", 60)
    network.act(ALICE, "imbalance", "pay_arrears", 40)
    assert network.see("imbalance", "arrears", ALICE) == 0
    assert network.see("payments", "balances", [ALICE, "neutrality"]) == [100, 100]
    with refused("MORE_THAN_ARREARS"):
        network.act(STRANGER, "imbalance", "pay_arrears", 1)
