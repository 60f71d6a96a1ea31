"""Clearing, settlement and certificates away from any chain, by the very functions that the contracts run.

Each function takes the text of a JSON file and gives a plain record; what is wrong with the file is an InputFault that
names the table, the row and the field. Nothing here computes a price or an amount: that is in contracts/energy.
"""

from __future__ import annotations

from typing import Any

from contracts.energy.market import MAX_LIMIT_MICROS_PER_KWH, MAX_QUANTITY_WH, match_orders
from gridbft.rows import Field, Id, Integer, Row, Text, parse_object, read_table, require_unique

_ORDER: dict[str, Field] = {
    "id": Id(),
    "account": Text(),
    "quantity_wh": Integer(1, MAX_QUANTITY_WH),
    "limit_micros_per_kwh": Integer(0, MAX_LIMIT_MICROS_PER_KWH),
}


def clear_market(text: str) -> dict[str, Any]:
    """One product's call auction: {"bids": [order], "asks": [order]}, arrival in list order.

    An order is {"id", "account", "quantity_wh", "limit_micros_per_kwh"}; bids and asks share one space of ids. Gives
    {"price_micros_per_kwh", "quantity_wh", "fills": [{"id", "filled_wh"}]} with a fill for every order, bids first;
    without a trade the price is None and the quantity 0. Raises InputFault, also where an account would trade with
    itself, which no gate settles.
    """
    record = parse_object(text, ("bids", "asks"))
    bids, asks = read_table(record, "bids", _ORDER), read_table(record, "asks", _ORDER)
    require_unique([*bids, *asks], "id")
    price_micros_per_kwh, trades = match_orders(_as_orders(bids), _as_orders(asks))
    filled_wh = {"bids": [0] * len(bids), "asks": [0] * len(asks)}
    for bid_place, ask_place, quantity_wh in trades:
        if bids[bid_place]["account"] == asks[ask_place]["account"]:
            asks[ask_place].refuse("account", f"would trade with its own bid in row {bids[bid_place].number}")
        filled_wh["bids"][bid_place] += quantity_wh
        filled_wh["asks"][ask_place] += quantity_wh
    return {
        "price_micros_per_kwh": price_micros_per_kwh if trades else None,
        "quantity_wh": sum(quantity_wh for _, _, quantity_wh in trades),
        "fills": [
            {"id": row["id"], "filled_wh": wh}
            for rows, side in ((bids, "bids"), (asks, "asks"))
            for row, wh in zip(rows, filled_wh[side], strict=True)
        ],
    }


def _as_orders(rows: list[Row]) -> list[tuple[int, str, int, int]]:
    return [(r.number, r["account"], r["quantity_wh"], r["limit_micros_per_kwh"]) for r in rows]
