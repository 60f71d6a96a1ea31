"""Clearing, settlement and certificates away from any chain, by the very functions that the contracts run.

Each function takes the text of a JSON file and gives a plain record; what is wrong with the file is an InputFault that
names the table, the row and the field. Nothing here computes a price or an amount: that is in contracts/energy.
"""

from __future__ import annotations

from typing import Any

from contracts.energy.imbalance import MAX_PRICE_MICROS_PER_KWH, PPM, Terms, settle_terms
from contracts.energy.market import MAX_LIMIT_MICROS_PER_KWH, MAX_QUANTITY_WH, match_orders
from gridbft.rows import (
    Field,
    Id,
    InputFault,
    Integer,
    Row,
    Text,
    parse_object,
    read_field,
    read_table,
    require_unique,
    shown,
)

MAX_ENERGY_WH = 10**15  # of one participant in one slot: a thousand terawatt hours, far beyond any

_ORDER: dict[str, Field] = {
    "id": Id(),
    "account": Text(),
    "quantity_wh": Integer(1, MAX_QUANTITY_WH),
    "limit_micros_per_kwh": Integer(0, MAX_LIMIT_MICROS_PER_KWH),
}

_PRICE = Integer(-MAX_PRICE_MICROS_PER_KWH, MAX_PRICE_MICROS_PER_KWH)
_ENERGY = Integer(0, MAX_ENERGY_WH)
_PARTICIPANT: dict[str, Field] = {
    "account": Text(),
    "brp": Text(default=""),
    "sold_wh": _ENERGY,
    "bought_wh": _ENERGY,
    "import_wh": _ENERGY,
    "export_wh": _ENERGY,
    "activated_wh": Integer(-MAX_ENERGY_WH, MAX_ENERGY_WH, default=0),
}
_PRICES_OF = {
    "single": ("price_micros_per_kwh", "price_micros_per_kwh"),
    "dual": ("buy_price_micros_per_kwh", "sell_price_micros_per_kwh"),
    "none": ("price_micros_per_kwh", "price_micros_per_kwh"),
}
_RATE = Integer(0, 1_000 * PPM, default=0)


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


def settle_imbalance(text: str) -> dict[str, Any]:
    """One slot's imbalances: {"pricing", its price or prices, "participants": [...]}.

    A participant is {"account", "brp", "sold_wh", "bought_wh", "import_wh", "export_wh", "activated_wh"}; without "brp" it
    answers for itself, without "activated_wh" nothing was ordered from it. "single" pricing has "price_micros_per_kwh";
    "dual" has "buy_price_micros_per_kwh", which short pays, and "sell_price_micros_per_kwh", which long receives; "none"
    prices no energy, and its "price_micros_per_kwh" is what a penalty is measured by. "dead_band_ppm" of a group's
    position and "penalty_ppm" of the price beyond it may be given. Gives {"participants": [{"account", "imbalance_wh",
    "amount_micros"}], "brps": [{"brp", "imbalance_wh", "amount_micros"}], "neutrality_micros"}; a positive amount is
    received. Raises InputFault.
    """
    known = sorted({price for prices in _PRICES_OF.values() for price in prices})
    record = parse_object(text, ("pricing", *known, "dead_band_ppm", "penalty_ppm", "participants"))
    terms = _read_terms(record)
    rows = read_table(record, "participants", _PARTICIPANT)
    require_unique(rows, "account")
    accounts, groups, neutrality_micros = settle_terms(terms, [tuple(row[f] for f in _PARTICIPANT) for row in rows])
    return {
        "participants": [{"account": a, "imbalance_wh": wh, "amount_micros": micros} for a, wh, micros in accounts],
        "brps": [{"brp": brp, "imbalance_wh": wh, "amount_micros": micros} for brp, wh, micros in groups],
        "neutrality_micros": neutrality_micros,
    }


def _read_terms(record: dict[str, Any]) -> Terms:
    pricing = read_field(record, "pricing", Text())
    if pricing not in _PRICES_OF:
        raise InputFault(f"expected one of {', '.join(_PRICES_OF)}, found {shown(pricing)}", "pricing")
    wanted = _PRICES_OF[pricing]
    strange = next((f for f in record if f.endswith("price_micros_per_kwh") and f not in wanted), None)
    if strange is not None:
        raise InputFault(f"is no price of {pricing} pricing, which has {' and '.join(dict.fromkeys(wanted))}", strange)
    buy, sell = (read_field(record, name, _PRICE) for name in wanted)
    return Terms(
        pricing, buy, sell, read_field(record, "dead_band_ppm", _RATE), read_field(record, "penalty_ppm", _RATE)
    )
