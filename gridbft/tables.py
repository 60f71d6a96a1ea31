"""The chain as tables for analysts: their columns, and the rows that events and readings become.

Energy is in Wh, money in micros of the network's currency, prices in micros per kWh, times in UTC. A slot is a quarter of
an hour and `slot_start` its beginning. Every row says at which height it became final; those of a transaction also in which.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gridbft.ground import Row
from gridbft.history import Happened
from gridbft.money import TRADES
from gridbft.records import BlockEvents

SCHEMA_VERSION = 2  # 2: activations; charges, flags and carbon units among certificates
SLOT_MS = 900_000

INT, TEXT, TIME = "int64", "string", "timestamp[ms, UTC]"


@dataclass(frozen=True, slots=True)
class Column:
    """`kind` is int64, string or a time in milliseconds; every column may be null where a row has no such thing."""

    name: str
    kind: str
    meaning: str


_HEIGHT = Column("height", INT, "height of the block that made it final")
_TIME = Column("time", TIME, "that block's time")
_TX = Column("tx_id", TEXT, "the transaction, hexadecimal")
_SLOT = (Column("slot", INT, "Unix seconds // 900"), Column("slot_start", TIME, "the slot's beginning"))

TABLES: dict[str, tuple[Column, ...]] = {
    "blocks": (
        _HEIGHT,
        _TIME,
        Column("block_id", TEXT, "digest of the header, hexadecimal"),
        Column("transactions", INT, "how many the block holds"),
    ),
    "trades": (
        _HEIGHT,
        _TIME,
        _TX,
        Column("contract", TEXT, "the market that made it; resort: the supplier of last resort"),
        Column("zone", TEXT, "zone of the product"),
        *_SLOT,
        Column("buyer", TEXT, "account"),
        Column("seller", TEXT, "account"),
        Column("quantity_wh", INT, "traded energy"),
        Column("price_micros_per_kwh", INT, "price of the trade"),
        Column("amount_micros", INT, "what the buyer paid and the seller received"),
        Column("path", TEXT, "feeder, zone or across: the way that grid fees are for"),
        Column("fee_micros", INT, "what the buyer paid for the grid on top"),
        Column("loss_wh", INT, "what is lost on the way"),
        Column("loss_micros", INT, "what the buyer paid for the losses on top"),
    ),
    "readings": (
        _HEIGHT,
        _TIME,
        _TX,
        *_SLOT,
        Column("meter", TEXT, "code of the meter"),
        Column("import_wh", INT, "taken from the grid"),
        Column("export_wh", INT, "fed into the grid"),
        Column("quality", TEXT, "DIRECT, ESTIMATED or CORRECTED; of several rows of a meter and slot the last stands"),
        Column("sender", TEXT, "account that sent the reading"),
    ),
    "imbalances": (
        _HEIGHT,
        _TIME,
        _TX,
        *_SLOT,
        Column("run", INT, "1: the settlement; higher: a re-settlement, which replaces the row of the run before"),
        Column("account", TEXT, "participant"),
        Column("brp", TEXT, "balance responsible party; the account itself where it answers for itself"),
        Column("sold_wh", INT, "null in a re-settlement: as before"),
        Column("bought_wh", INT, "null in a re-settlement: as before"),
        Column("import_wh", INT, "metered"),
        Column("export_wh", INT, "metered"),
        Column("activated_wh", INT, "flexibility ordered; null in a re-settlement: as before"),
        Column("imbalance_wh", INT, "positive is long"),
        Column("price_micros_per_kwh", INT, "imbalance price of the group's direction"),
        Column("amount_micros", INT, "received if positive; of the run as a whole"),
        Column("posted_micros", INT, "what this run moved: the difference to the run before"),
    ),
    "activations": (
        _HEIGHT,
        _TIME,
        _TX,
        *_SLOT,
        Column("account", TEXT, "participant whose flexibility was ordered"),
        Column("activated_wh", INT, "upward is positive"),
        Column("price_micros_per_kwh", INT, "what the operator pays"),
        Column("amount_micros", INT, "received by the account, paid if negative"),
        Column("reference", TEXT, "the operator's own"),
    ),
    "certificates": (
        _HEIGHT,
        _TIME,
        _TX,
        Column(
            "event",
            TEXT,
            "what happened: Issued, CarbonIssued, Transferred, LockedForSale, Sold, Retired, Ended, Flagged..",
        ),
        Column("certificate_id", INT, "the certificate after the event"),
        Column("parent", INT, "the certificate that it was split from"),
        Column("retirement_id", INT, "of a retirement"),
        Column("device", TEXT, "code of the production meter, carbon/PROJECT, or (Charged) the storage device"),
        Column("technology", TEXT, "kind of the device"),
        Column("interval_start", TIME, "begin of production"),
        Column("interval_end", TIME, "end of production"),
        Column("unit_start", INT, "first unit number of 1 Wh"),
        Column("unit_end", INT, "after the last unit number"),
        Column("quantity_wh", INT, "units that the event concerns"),
        Column("source", TEXT, "account that gave them"),
        Column("owner", TEXT, "account that owns, or owned, them"),
        Column("beneficiary", TEXT, "account whose consumption a retirement claims"),
        Column("purpose", TEXT, "of a retirement"),
        Column("how", TEXT, "of units that ended without a retirement: how"),
        Column("unit", TEXT, "Wh, or kgCO2e of carbon units, whose quantities are then in kg"),
        Column("price_micros_per_kwh", INT, "of a sale"),
        Column("amount_micros", INT, "of a sale"),
    ),
    "balances": (
        _HEIGHT,
        _TIME,
        Column("account", TEXT, "account, or name of a contract or fund"),
        Column("balance_micros", INT, "what it could spend without credit after this height"),
        Column("held_micros", INT, "what it had set aside in holds"),
    ),
}

Rows = dict[str, list[dict[str, Any]]]


def schema_record() -> dict[str, Any]:
    """The schema as it is written beside the files."""
    return {
        "version": SCHEMA_VERSION,
        "tables": {
            table: [{"name": c.name, "type": c.kind, "meaning": c.meaning} for c in columns]
            for table, columns in TABLES.items()
        },
    }


def empty_rows() -> Rows:
    return {table: [] for table in TABLES}


def add_block(rows: Rows, block: BlockEvents) -> None:
    head = {"height": block.height, "time": block.time_ms}
    rows["blocks"].append({**head, "block_id": block.block_id, "transactions": block.transactions})


def add_event(rows: Rows, event: Happened) -> None:
    """Events that no table has are passed over."""
    head = {"height": event.height, "time": event.time_ms, "tx_id": event.tx_id}
    f = event.fields
    if event.name in TRADES:
        rows["trades"].append(_picked("trades", {**head, "contract": event.contract, **_slot(f["slot"]), **f}))
    elif event.kind == ("imbalance", "Settled"):
        extra = {"run": 1, "posted_micros": f["amount_micros"]}
        rows["imbalances"].append(_picked("imbalances", {**head, **_slot(f["slot"]), **extra, **f}))
    elif event.kind == ("imbalance", "Resettled"):
        extra = {"posted_micros": f["difference_micros"]}
        rows["imbalances"].append(_picked("imbalances", {**head, **_slot(f["slot"]), **extra, **f}))
    elif event.contract == "certificates" and "certificate_id" in f:
        times = {
            f"interval_{end}": f[f"interval_{end}_s"] * 1000 for end in ("start", "end") if f"interval_{end}_s" in f
        }
        rows["certificates"].append(_picked("certificates", {**head, "event": event.name, **times, **_named(event)}))
    elif event.kind == ("certificates", "Charged") or event.kind == ("certificates", "Flagged"):
        rows["certificates"].append(_picked("certificates", {**head, "event": event.name, **_named(event)}))
    elif event.kind == ("balancing", "Activated"):
        rows["activations"].append(_picked("activations", {**head, **_slot(f["slot"]), **f}))


def _named(event: Happened) -> dict[str, Any]:
    """A certificate event's fields by the names of the table's columns."""
    f = dict(event.fields)
    match event.name:
        case "CarbonIssued":
            f |= {"quantity_wh": f["quantity_kg"], "technology": f["methodology"], "unit": "kgCO2e"}
        case "Sold":
            f |= {"source": f["seller"], "owner": f["buyer"]}
        case "Flagged":
            start = f["slot"] * SLOT_MS
            f |= {"quantity_wh": f["over_wh"], "interval_start": start, "interval_end": start + SLOT_MS}
    return f


def add_readings(rows: Rows, readings: Iterable[Row], time_ms: int) -> None:
    for r in readings:
        head = {"height": r.place[0], "time": time_ms, "tx_id": r.tx_id, **_slot(r.slot)}
        energy = {"meter": r.meter, "import_wh": r.import_wh, "export_wh": r.export_wh}
        rows["readings"].append({**head, **energy, "quality": r.quality, "sender": r.sender})


def add_balance(rows: Rows, height: int, time_ms: int, account: str, balance_micros: int, held_micros: int) -> None:
    money = {"balance_micros": balance_micros, "held_micros": held_micros}
    rows["balances"].append({"height": height, "time": time_ms, "account": account, **money})


def money_accounts(event: Happened) -> set[str]:
    """The accounts whose money the event moves, or that it admits."""
    names = ("to", "source", "account", "buyer", "seller")
    return {event.fields[n] for n in names if isinstance(event.fields.get(n), str) and event.contract != "certificates"}


def _slot(slot: int) -> dict[str, int]:
    return {"slot": slot, "slot_start": slot * SLOT_MS}


def _picked(table: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    return {column.name: fields.get(column.name) for column in TABLES[table]}
