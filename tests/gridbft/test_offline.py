"""The offline tools: the contracts' own functions behind files, with faults that say where they are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.energy.market import clear_auction
from gridbft.offline import clear_market, settle_imbalance
from gridbft.rows import InputFault

Order = dict[str, Any]


def orders(side: str, *rows: tuple[int, int]) -> list[Order]:
    """Rows are (quantity, limit); each order has an account of its own."""
    return [
        {"id": f"{side}{n}", "account": f"{side} house {n}", "quantity_wh": quantity, "limit_micros_per_kwh": limit}
        for n, (quantity, limit) in enumerate(rows, 1)
    ]


def cleared(bids: list[Order], asks: list[Order]) -> dict[str, Any]:
    return clear_market(json.dumps({"bids": bids, "asks": asks}))


# -- domain.md's worked examples


def test_seven_bids_at_10_against_asks_1_to_4_trade_4_units_at_10() -> None:
    found = cleared(orders("b", *[(1, 10)] * 7), orders("a", (1, 1), (1, 2), (1, 3), (1, 4)))
    assert (found["quantity_wh"], found["price_micros_per_kwh"]) == (4, 10)
    assert [f["filled_wh"] for f in found["fills"]] == [1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 1]


def test_bids_1_at_30_2_at_40_5_at_10_against_asks_4_at_20_1_at_10_5_at_60_trade_3_units_at_20() -> None:
    found = cleared(orders("b", (1, 30), (2, 40), (5, 10)), orders("a", (4, 20), (1, 10), (5, 60)))
    assert (found["quantity_wh"], found["price_micros_per_kwh"]) == (3, 20)
    assert found["fills"][3:] == [
        {"id": "a1", "filled_wh": 2},
        {"id": "a2", "filled_wh": 1},
        {"id": "a3", "filled_wh": 0},
    ]


def test_no_trade_has_no_price_and_no_quantity() -> None:
    found = cleared(orders("b", (5, 9)), orders("a", (5, 10)))
    assert (found["quantity_wh"], found["price_micros_per_kwh"]) == (0, None)
    assert cleared([], [])["fills"] == []


terms = st.lists(st.tuples(st.integers(1, 20), st.integers(0, 30)), max_size=8)


@given(terms, terms)
def test_the_tool_says_what_the_contract_s_function_says(
    bids: list[tuple[int, int]], asks: list[tuple[int, int]]
) -> None:
    found = cleared(orders("b", *bids), orders("a", *asks))
    places = [(n, f"b{n}", q, limit) for n, (q, limit) in enumerate(bids)]
    price, quantity, fills = clear_auction(places, [(n, f"a{n}", q, limit) for n, (q, limit) in enumerate(asks)])
    assert found["price_micros_per_kwh"] == (None if price == -1 else price)
    assert found["quantity_wh"] == quantity
    assert [f["filled_wh"] for f in found["fills"]] == [wh for _, wh in fills]


# -- bad input


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("quantity_wh", 0),
        ("quantity_wh", -1),
        ("quantity_wh", 1e-14),
        ("quantity_wh", True),
        ("quantity_wh", "5"),
        ("quantity_wh", 10**30),
        ("limit_micros_per_kwh", -1),
        ("limit_micros_per_kwh", 1.5),
        ("limit_micros_per_kwh", None),
        ("account", ""),
        ("account", 7),
        ("id", None),
        ("id", []),
    ],
)
def test_a_bad_field_is_named_with_its_table_and_row(field: str, value: Any) -> None:
    asks = orders("a", (1, 1), (1, 1), (1, 1))
    asks[2][field] = value
    with pytest.raises(InputFault) as fault:
        cleared(orders("b", (1, 1)), asks)
    assert (fault.value.table, fault.value.row, fault.value.field) == ("asks", 3, field)
    assert str(fault.value).startswith(f"asks, row 3, {field}: expected ")


def test_a_missing_field_and_an_unknown_one_are_named() -> None:
    bids = orders("b", (1, 1))
    with pytest.raises(InputFault, match=r"^bids, row 1, quantity_kwh: is no field here; there are: id, account, "):
        cleared([{**bids[0], "quantity_kwh": 1}], [])
    del bids[0]["limit_micros_per_kwh"]
    with pytest.raises(InputFault, match=r"^bids, row 1, limit_micros_per_kwh: is missing$"):
        cleared(bids, [])


def test_an_id_stands_once_over_both_sides() -> None:
    asks = orders("a", (1, 1), (1, 2))
    asks[1]["id"] = "b1"
    with pytest.raises(InputFault, match=r'^asks, row 2, id: "b1" stands already in bids, row 1$'):
        cleared(orders("b", (1, 1)), asks)


def test_nobody_trades_with_themselves() -> None:
    bids, asks = orders("b", (1, 9)), orders("a", (1, 8))
    asks[0]["account"] = bids[0]["account"]
    with pytest.raises(InputFault, match=r"^asks, row 1, account: would trade with its own bid in row 1$"):
        cleared(bids, asks)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"bids": []}',
        '{"bids": [], "asks": {}}',
        '{"bids": [], "asks": [7]}',
        '{"bids": [], "asks": [], "note": 1}',
        '{"bids": [], "bids": [], "asks": []}',
        '{"bids": [], "asks": [NaN]}',
        '{"bids": [' + "9" * 5_000 + '], "asks": []}',
        "[" * 100_000,
    ],
)
def test_what_is_no_order_book_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(InputFault) as fault:
        clear_market(text)
    assert len(str(fault.value)) < 300


@given(st.text(max_size=40))
def test_any_text_is_an_answer_or_a_fault(text: str) -> None:
    with pytest.raises(InputFault):
        clear_market(text)


# -- imbalance


def participant(account: str, imbalance_wh: int, brp: str = "", **changed: Any) -> dict[str, Any]:
    """Sold nothing; metered exactly its imbalance."""
    row = {"sold_wh": 0, "bought_wh": 0, "import_wh": max(-imbalance_wh, 0), "export_wh": max(imbalance_wh, 0)}
    return {"account": account, "brp": brp, **row, "activated_wh": 0, **changed}


def settled(*participants: dict[str, Any], **terms: Any) -> dict[str, Any]:
    terms = terms or {"pricing": "single", "price_micros_per_kwh": 100_000}
    return settle_imbalance(json.dumps({**terms, "participants": participants}))


def test_production_60_consumption_40_sale_30_mwh_is_a_deficit_of_10_mwh() -> None:
    """Fingrid's example of a balance calculation."""
    row = participant("a", 0, sold_wh=30_000_000, export_wh=60_000_000, import_wh=40_000_000)
    assert settled(row)["participants"] == [{"account": "a", "imbalance_wh": -10_000_000, "amount_micros": -(10**9)}]


def test_sold_50_delivered_49_and_a_half_mwh_is_half_a_mwh_short() -> None:
    """Next Kraftwerke on balancing energy."""
    row = participant("a", 0, sold_wh=50_000_000, export_wh=49_500_000)
    assert settled(row)["participants"][0]["imbalance_wh"] == -500_000


def test_used_950_of_1000_mwh_with_a_band_of_3_percent_is_charged_for_20_mwh_at_a_twentieth() -> None:
    """Chinese deviation assessment: 20 MWh at 400 per MWh x 5 % are 400."""
    terms = {"pricing": "none", "price_micros_per_kwh": 400_000, "dead_band_ppm": 30_000, "penalty_ppm": 50_000}
    row = participant("a", 0, bought_wh=1_000_000_000, import_wh=950_000_000)
    assert settled(row, **terms)["participants"][0]["amount_micros"] == -400_000_000


def test_dual_pricing_short_pays_the_buy_price_and_long_receives_the_sell_price() -> None:
    terms = {"pricing": "dual", "buy_price_micros_per_kwh": 300_000, "sell_price_micros_per_kwh": 50_000}
    found = settled(participant("long", 2_000), participant("short", -1_000), **terms)
    assert [r["amount_micros"] for r in found["participants"]] == [100_000, -300_000]
    assert found["neutrality_micros"] == 200_000
    assert [r["brp"] for r in found["brps"]] == ["long", "short"]


def test_members_are_netted_and_those_who_caused_the_deviation_share_its_charge() -> None:
    rows = (participant("a", -1_000, "group"), participant("b", 400, "group"), participant("c", -2_000, "group"))
    found = settled(*rows)
    assert found["brps"] == [{"brp": "group", "imbalance_wh": -2_600, "amount_micros": -260_000}]
    assert [r["amount_micros"] for r in found["participants"]] == [-86_667, 0, -173_333]


amounts = st.lists(st.tuples(st.integers(-5_000, 5_000), st.sampled_from(["", "x", "y"])), min_size=1, max_size=10)


@given(amounts, st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6))
def test_every_settlement_sums_to_zero(rows: list[tuple[int, str]], buy: int, sell: int) -> None:
    terms = {"pricing": "dual", "buy_price_micros_per_kwh": buy, "sell_price_micros_per_kwh": sell}
    found = settled(*[participant(f"a{n}", wh, brp) for n, (wh, brp) in enumerate(rows)], **terms)
    for table in ("participants", "brps"):
        assert sum(r["amount_micros"] for r in found[table]) + found["neutrality_micros"] == 0
        assert sum(r["imbalance_wh"] for r in found[table]) == sum(wh for wh, _ in rows)


@pytest.mark.parametrize(
    ("terms", "where"),
    [
        ({"pricing": "triple"}, "pricing: expected one of single, dual, none"),
        ({"pricing": "single"}, "price_micros_per_kwh: is missing"),
        ({"pricing": "dual", "buy_price_micros_per_kwh": 1}, "sell_price_micros_per_kwh: is missing"),
        ({"pricing": "single", "price_micros_per_kwh": 0.5}, "price_micros_per_kwh: expected a whole number"),
        (
            {"pricing": "single", "price_micros_per_kwh": 1, "sell_price_micros_per_kwh": 1},
            "sell_price_micros_per_kwh: is no price of single pricing",
        ),
        ({"price_micros_per_kwh": 1}, "pricing: is missing"),
        ({"pricing": "single", "price_micros_per_kwh": 1, "dead_band_ppm": -1}, "dead_band_ppm: expected"),
    ],
)
def test_bad_terms_are_named(terms: dict[str, Any], where: str) -> None:
    with pytest.raises(InputFault) as fault:
        settled(participant("a", 1), **terms)
    assert str(fault.value).startswith(where)


@pytest.mark.parametrize("field", ["sold_wh", "bought_wh", "import_wh", "export_wh"])
def test_an_energy_is_a_whole_number_of_wh_and_must_be_there(field: str) -> None:
    rows = [participant("a", 1), {**participant("b", 1), field: -1}]
    with pytest.raises(InputFault, match=rf"^participants, row 2, {field}: expected a whole number from 0"):
        settled(*rows)
    del rows[1][field]
    with pytest.raises(InputFault, match=rf"^participants, row 2, {field}: is missing"):
        settled(*rows)


def test_an_account_is_settled_once() -> None:
    with pytest.raises(InputFault, match=r'^participants, row 2, account: "a" stands already in participants, row 1$'):
        settled(participant("a", 1), participant("a", 2))
