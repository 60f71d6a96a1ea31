"""The offline commands' JSON, byte by byte: other programs read it, so nothing in it may move."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from node.cli import main

CLEAR = ("market", "clear", "--orders", "-", "--json")
SETTLE = ("imbalance", "settle", "--input", "-", "--json")

BOOK = """{"bids": [
  {"id": "b1", "account": "ann", "quantity_wh": 1, "limit_micros_per_kwh": 30},
  {"id": "b2", "account": "bob", "quantity_wh": 2, "limit_micros_per_kwh": 40},
  {"id": "b3", "account": "cem", "quantity_wh": 5, "limit_micros_per_kwh": 10}
], "asks": [
  {"id": "a1", "account": "dan", "quantity_wh": 4, "limit_micros_per_kwh": 20},
  {"id": "a2", "account": "eve", "quantity_wh": 1, "limit_micros_per_kwh": 10},
  {"id": "a3", "account": "fay", "quantity_wh": 5, "limit_micros_per_kwh": 60}
]}"""
CLEARED = (
    '{"price_micros_per_kwh": 20, "quantity_wh": 3, "fills": ['
    '{"id": "b1", "filled_wh": 1}, {"id": "b2", "filled_wh": 2}, {"id": "b3", "filled_wh": 0}, '
    '{"id": "a1", "filled_wh": 2}, {"id": "a2", "filled_wh": 1}, {"id": "a3", "filled_wh": 0}]}'
)
NO_TRADE = """{"bids": [{"id": "b", "account": "ann", "quantity_wh": 7, "limit_micros_per_kwh": 9}],
"asks": [{"id": "a", "account": "bob", "quantity_wh": 7, "limit_micros_per_kwh": 10}]}"""
NOT_CLEARED = (
    '{"price_micros_per_kwh": null, "quantity_wh": 0, '
    '"fills": [{"id": "b", "filled_wh": 0}, {"id": "a", "filled_wh": 0}]}'
)

MEMBERS = """"participants": [
  {"account": "ann", "brp": "north", "sold_wh": 500, "bought_wh": 0, "import_wh": 0, "export_wh": 900, "activated_wh": 100},
  {"account": "bob", "brp": "north", "sold_wh": 0, "bought_wh": 200, "import_wh": 300, "export_wh": 0, "activated_wh": 0},
  {"account": "cem", "brp": "cem", "sold_wh": 0, "bought_wh": 0, "import_wh": 50, "export_wh": 0, "activated_wh": 0}
]}"""
SINGLE = '{"pricing": "single", "price_micros_per_kwh": 1000, ' + MEMBERS
DUAL = '{"pricing": "dual", "buy_price_micros_per_kwh": 3000, "sell_price_micros_per_kwh": 1000, ' + MEMBERS
IMBALANCES = {"ann": 300, "bob": -100, "cem": -50}


def said(words: tuple[str, ...], text: str) -> str:
    result = CliRunner().invoke(main, list(words), input=text)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


@pytest.mark.parametrize(("text", "output"), [(BOOK, CLEARED), (NO_TRADE, NOT_CLEARED)])
def test_a_clearing_has_the_fields_of_the_format_and_no_others(text: str, output: str) -> None:
    found = json.loads(said(CLEAR, text))
    assert found == json.loads(output)
    assert list(found) == ["price_micros_per_kwh", "quantity_wh", "fills"]


@pytest.mark.parametrize(
    ("text", "amounts", "neutrality"),
    [
        (SINGLE, {"ann": 200, "bob": 0, "cem": -50}, -150),
        (DUAL, {"ann": 200, "bob": 0, "cem": -150}, -50),
    ],
)
def test_a_settlement_has_the_fields_of_the_format_and_no_others(
    text: str, amounts: dict[str, int], neutrality: int
) -> None:
    """Ann is 300 Wh long, Bob 100 short: their group receives for 200, and all of it goes to Ann, who made it long."""
    found = json.loads(said(SETTLE, text))
    assert found == {
        "participants": [
            {"account": one, "imbalance_wh": IMBALANCES[one], "amount_micros": amounts[one]} for one in IMBALANCES
        ],
        "brps": [
            {"brp": "north", "imbalance_wh": 200, "amount_micros": amounts["ann"]},
            {"brp": "cem", "imbalance_wh": -50, "amount_micros": amounts["cem"]},
        ],
        "neutrality_micros": neutrality,
    }


@pytest.mark.parametrize(
    ("words", "text", "table", "row", "field"),
    [
        (CLEAR, BOOK.replace('"quantity_wh": 2', '"quantity_wh": "2"'), "bids", 2, "quantity_wh"),
        (
            CLEAR,
            BOOK.replace('"limit_micros_per_kwh": 60', '"limit_micros_per_kwh": -1'),
            "asks",
            3,
            "limit_micros_per_kwh",
        ),
        (CLEAR, BOOK.replace('"id": "a2"', '"id": "b1"'), "asks", 2, "id"),
        (CLEAR, BOOK.replace('"asks"', '"offers"'), "", None, "offers"),
        (SETTLE, SINGLE.replace('"import_wh": 50', '"import_wh": 0.5'), "participants", 3, "import_wh"),
        (SETTLE, SINGLE.replace('"account": "bob"', '"account": "ann"'), "participants", 2, "account"),
        (SETTLE, DUAL.replace('"dual"', '"triple"'), "", None, "pricing"),
        (SETTLE, DUAL.replace('"sell_price_micros_per_kwh": 1000, ', ""), "", None, "sell_price_micros_per_kwh"),
    ],
)
def test_bad_input_ends_with_2_and_names_the_row_and_the_field(
    words: tuple[str, ...], text: str, table: str, row: int | None, field: str
) -> None:
    result = CliRunner().invoke(main, list(words), input=text)
    report = json.loads(result.stdout)
    assert result.exit_code == 2
    assert (report["ok"], report["error"]) == (False, "BAD_INPUT")
    assert (report["table"], report["row"], report["field"]) == (table, row, field)
    assert field in report["message"]
    assert row is None or f"row {row}" in report["message"]
    assert result.stderr == f"error: -: {report['message']}\n"
