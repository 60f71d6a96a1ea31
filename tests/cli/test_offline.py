"""The commands that need no network: what they print, and how they refuse a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from node.cli import main


def run(file: Path, record: Any, *words: str) -> Result:
    file.write_text(record if isinstance(record, str) else json.dumps(record))
    result = CliRunner().invoke(main, [*words, str(file)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def order(number: str, quantity: Any, limit: int) -> dict[str, Any]:
    return {"id": number, "account": number, "quantity_wh": quantity, "limit_micros_per_kwh": limit}


def test_a_clearing_is_one_line_of_json(tmp_path: Path) -> None:
    book = {"bids": [order("b1", 3, 9)], "asks": [order("a1", 2, 7)]}
    result = run(tmp_path / "orders.json", book, "market", "clear", "--json", "--orders")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "price_micros_per_kwh": 9,
        "quantity_wh": 2,
        "fills": [{"id": "b1", "filled_wh": 2}, {"id": "a1", "filled_wh": 2}],
    }
    assert "2 Wh at 9 micros per kWh" in run(tmp_path / "orders.json", book, "market", "clear", "--orders").stdout


def test_orders_may_come_from_the_standard_input() -> None:
    result = CliRunner().invoke(main, ["market", "clear", "--orders", "-", "--json"], input='{"bids":[],"asks":[]}')
    assert json.loads(result.stdout) == {"price_micros_per_kwh": None, "quantity_wh": 0, "fills": []}


def test_bad_input_says_the_row_the_field_and_what_is_wrong_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "orders.json"
    book = {"bids": [order("b1", 3, 9), order("b2", 1e-14, 9)], "asks": []}
    result = run(file, book, "market", "clear", "--orders")
    assert (result.exit_code, result.stdout) == (2, "")
    what = "bids, row 2, quantity_wh: expected a whole number from 1 to 1000000000, found 1e-14"
    assert result.stderr == f"error: {file}: {what}\n"
    report = json.loads(run(file, book, "market", "clear", "--json", "--orders").stdout)
    assert report == {
        "ok": False,
        "error": "BAD_INPUT",
        "message": what,
        "table": "bids",
        "row": 2,
        "field": "quantity_wh",
    }


def test_a_file_that_is_not_there_is_bad_input(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["market", "clear", "--orders", str(tmp_path / "none.json")])
    assert result.exit_code == 2
    assert "cannot be read: No such file" in result.stderr


def test_a_settlement_is_one_line_of_json(tmp_path: Path) -> None:
    row = {
        "account": "a",
        "brp": "g",
        "sold_wh": 5,
        "bought_wh": 0,
        "import_wh": 0,
        "export_wh": 1005,
        "activated_wh": 0,
    }
    record = {"pricing": "single", "price_micros_per_kwh": 70, "participants": [row]}
    result = run(tmp_path / "slot.json", record, "imbalance", "settle", "--json", "--input")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "participants": [{"account": "a", "imbalance_wh": 1000, "amount_micros": 70}],
        "brps": [{"brp": "g", "imbalance_wh": 1000, "amount_micros": 70}],
        "neutrality_micros": -70,
    }
    readable = run(tmp_path / "slot.json", record, "imbalance", "settle", "--input")
    assert "neutrality receives -70 micros" in readable.stdout
    bad = run(tmp_path / "slot.json", {**record, "participants": [7]}, "imbalance", "settle", "--input")
    assert (bad.exit_code, bad.stdout) == (2, "")
    assert "participants, row 1: expected an object with account, brp, " in bad.stderr


def test_certificates_are_split_and_matched_from_files(tmp_path: Path) -> None:
    book = {"certificates": [{"id": "c", "quantity_wh": 1000}], "splits": [{"id": "c", "quantity_wh": 250}]}
    result = run(tmp_path / "split.json", book, "certificates", "split", "--json", "--input")
    assert [c["quantity_wh"] for c in json.loads(result.stdout)["certificates"]] == [750, 250]
    assert "c/1" in run(tmp_path / "split.json", book, "certificates", "split", "--input").stdout
    made = {"certificates": [{"id": "c", "slot": 9, "quantity_wh": 10}], "consumption": []}
    result = run(tmp_path / "match.json", made, "certificates", "match", "--json", "--input")
    assert json.loads(result.stdout)["certificates"] == [{"id": "c", "matched_wh": 0, "left_wh": 10}]
    bad = run(tmp_path / "match.json", {"certificates": [], "consumption": [{}]}, "certificates", "match", "--input")
    assert (bad.exit_code, bad.stdout) == (2, "")
    assert "consumption, row 1, account: is missing" in bad.stderr
