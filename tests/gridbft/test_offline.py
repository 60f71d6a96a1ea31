"""The offline tools: the contracts' own functions behind files, with faults that say where they are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.energy.market import clear_auction
from gridbft.offline import clear_market
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
