"""Clearing, settlement and certificates away from any chain, by the very functions that the contracts run.

Each function takes the text of a JSON file and gives a plain record; what is wrong with the file is an InputFault that
names the table, the row and the field. Nothing here computes a price or an amount: that is in contracts/energy.
"""

from __future__ import annotations

from typing import Any

from contracts.energy.certificates import match_hourly, split_range
from contracts.energy.imbalance import MAX_PRICE_MICROS_PER_KWH, PPM, Terms, settle_terms
from contracts.energy.market import MAX_LIMIT_MICROS_PER_KWH, MAX_QUANTITY_WH, MAX_SLOT, match_orders
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

MAX_UNITS = 10**18  # that a device ever gets
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
_UNITS = Integer(1, MAX_UNITS)
_SLOT = Integer(0, MAX_SLOT)
_WHOLE: dict[str, Field] = {"id": Text(), "quantity_wh": _UNITS, "unit_start": Integer(0, MAX_UNITS, default=0)}
_SPLIT: dict[str, Field] = {"id": Text(), "quantity_wh": _UNITS}
_CERTIFICATE: dict[str, Field] = {**_WHOLE, "slot": _SLOT}
_CONSUMPTION: dict[str, Field] = {"account": Text(), "slot": _SLOT, "import_wh": _ENERGY}
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


def split_certificates(text: str) -> dict[str, Any]:
    """{"certificates": [{"id", "quantity_wh", "unit_start"}], "splits": [{"id", "quantity_wh"}]}, splits in their order.

    A split gives the lower unit numbers to a new certificate, ID/1 for the first one of ID, which later splits may name; the
    rest keeps its id. `unit_start` may be left out (0). Gives {"certificates": [{"id", "parent", "unit_start",
    "unit_end", "quantity_wh"}]}, first those of the input, then the parts as they were made. Raises InputFault.
    """
    record = parse_object(text, ("certificates", "splits"))
    wholes = read_table(record, "certificates", _WHOLE)
    require_unique(wholes, "id")
    units = {row["id"]: (row["unit_start"], row["unit_start"] + row["quantity_wh"]) for row in wholes}
    parents: dict[str, str | None] = dict.fromkeys(units)
    part_counts: dict[str, int] = {}
    for row in read_table(record, "splits", _SPLIT):
        name = row["id"]
        if name not in units:
            row.refuse("id", f"there is no certificate {shown(name)}")
        part_counts[name] = part_counts.get(name, 0) + 1
        part = f"{name}/{part_counts[name]}"
        if part in units:
            row.refuse("id", f"the part would be called {shown(part)}, which stands already")
        quantity_wh = units[name][1] - units[name][0]
        if row["quantity_wh"] >= quantity_wh:
            row.refuse(
                "quantity_wh", f"expected less than the {quantity_wh} Wh of {shown(name)}, found {row['quantity_wh']}"
            )
        units[part], units[name] = split_range(*units[name], row["quantity_wh"])
        parents[part] = name
    return {
        "certificates": [
            {"id": name, "parent": parents[name], "unit_start": start, "unit_end": end, "quantity_wh": end - start}
            for name, (start, end) in units.items()
        ]
    }


def match_certificates(text: str) -> dict[str, Any]:
    """Which certificates cover which consumption of the same slot, each unit and each consumed Wh once, in their order.

    {"certificates": [{"id", "slot", "quantity_wh", "unit_start"}], "consumption": [{"account", "slot", "import_wh"}]};
    `unit_start` may be left out (0). Gives {"matches": [{"id", "account", "slot", "quantity_wh", "unit_start", "unit_end"}],
    "certificates": [{"id", "matched_wh", "left_wh"}], "consumption": [{"account", "slot", "matched_wh", "open_wh"}]}.
    Raises InputFault.
    """
    record = parse_object(text, ("certificates", "consumption"))
    produced = read_table(record, "certificates", _CERTIFICATE)
    consumed = read_table(record, "consumption", _CONSUMPTION)
    require_unique(produced, "id")
    seen: set[tuple[str, int]] = set()
    for row in consumed:
        if (row["account"], row["slot"]) in seen:
            row.refuse("account", f"{shown(row['account'])} has consumption of slot {row['slot']} already")
        seen.add((row["account"], row["slot"]))
    left = [(row["unit_start"], row["unit_start"] + row["quantity_wh"]) for row in produced]
    open_wh = [row["import_wh"] for row in consumed]
    matches: list[dict[str, Any]] = []
    for place, other, wh in match_hourly(
        [(row["id"], row["slot"], row["quantity_wh"]) for row in produced],
        [(row["account"], row["slot"], row["import_wh"]) for row in consumed],
    ):
        taken, left[place] = split_range(*left[place], wh)
        open_wh[other] -= wh
        claim = {"id": produced[place]["id"], "account": consumed[other]["account"], "slot": consumed[other]["slot"]}
        matches.append({**claim, "quantity_wh": wh, "unit_start": taken[0], "unit_end": taken[1]})
    return {
        "matches": matches,
        "certificates": [
            {"id": row["id"], "matched_wh": row["quantity_wh"] - (end - start), "left_wh": end - start}
            for row, (start, end) in zip(produced, left, strict=True)
        ],
        "consumption": [
            {"account": row["account"], "slot": row["slot"], "matched_wh": row["import_wh"] - wh, "open_wh": wh}
            for row, wh in zip(consumed, open_wh, strict=True)
        ],
    }
