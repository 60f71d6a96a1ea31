"""Bills, explained: every number down to the readings, trades and prices that made it, each computed again here.

A bill is a tree. The amounts of a node's parts add up to its own; a part without parts is one posting of the chain, with
the reasons for it beside it (`because`), which carry no money of their own. Amounts are micros that the account receives;
what it pays is negative. Nothing is taken on trust from an event's amount: it is computed again from what the event
says led to it, by the contracts' own functions, and a difference is an ExplainError.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from contracts.energy.imbalance import Terms, settle_terms
from gridbft.history import Asked, Happened

_SUBMISSIONS = ("submit", "submit_signed")  # functions of metering whose first argument is a list of rows
SLOT_MS = 900_000
TRADES = ("Traded", "Served")
"""Events of a trade, whichever market made it: Served is one with the supplier of last resort."""
CERTIFICATE_SALE = ("certificates", "Sold")
_POSTINGS_OF_ACCOUNT = {("imbalance", "Settled"), ("imbalance", "Resettled"), ("balancing", "Activated")}
_GROUP_ROW = ("account", "brp", "sold_wh", "bought_wh", "import_wh", "export_wh", "activated_wh")


class ExplainError(Exception):
    """What the node tells contradicts itself; the message says where."""


@dataclass(frozen=True, slots=True)
class Item:
    """`amount_micros` is None for a reason, which explains and adds nothing."""

    label: str
    amount_micros: int | None
    facts: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[Item, ...] = ()
    because: tuple[Item, ...] = ()

    def leaves(self) -> Iterable[Item]:
        """The postings that the amount is made of."""
        if not self.parts:
            yield self
        for part in self.parts:
            yield from part.leaves()


@dataclass(frozen=True, slots=True)
class Row:
    """A reading as its meter operator, or its device, sent it."""

    meter: str
    slot: int
    import_wh: int
    export_wh: int
    quality: str
    tx_id: str
    sender: str
    place: tuple[int, int]  # height, and the transaction's place in its block


@dataclass(slots=True)
class Ground:
    """All that explains one account's bill."""

    account: str
    events: list[Happened] = field(default_factory=list)
    readings: dict[tuple[str, int], list[Row]] = field(default_factory=dict)  # (meter, slot), oldest first
    terms: dict[int, Terms] = field(default_factory=dict)  # slot

    def of(self, contract: str, name: str) -> list[Happened]:
        return [e for e in self.events if e.kind == (contract, name)]


def reading_rows(
    calls: Iterable[Asked], place: Mapping[str, tuple[int, int]], meters: Container[str] | None = None
) -> list[Row]:
    """The rows of the given meters (None: all) in a block's calls; `place` has the place of the transactions that worked."""
    rows: list[Row] = []
    for call in calls:
        if call.contract != "metering" or call.function not in _SUBMISSIONS or call.tx_id not in place:
            continue
        for row in call.args[0]:
            if meters is None or row[0] in meters:
                quality = row[4] if call.function == "submit" else "DIRECT"
                rows.append(Row(row[0], row[1], row[2], row[3], quality, call.tx_id, call.sender, place[call.tx_id]))
    return rows


def explain_bill(ground: Ground, slots: range | None) -> Item:
    """The account's bill over the slots (None: all there are). Raises ExplainError."""
    touched = sorted({slot_of(e) for e in ground.events if _is_posting(e, ground.account)})
    parts = [_slot_item(ground, slot) for slot in touched if slots is None or slot in slots]
    return _sum(f"bill of {ground.account}", parts, {"account": ground.account, "slots": len(parts)})


def money_moved(ground: Ground, opening_micros: int) -> int:
    """What the account's balance and holds should be: what it had at genesis, and all that happened to it since."""
    moved = opening_micros
    for event in ground.events:
        moved += _moved_by(event, ground)
    return moved


def _moved_by(event: Happened, ground: Ground) -> int:
    account, f = ground.account, event.fields
    amount = int(f.get("amount_micros", 0))
    match event.kind:
        case ("payments", "Minted"):
            return amount if f["to"] == account else 0
        case ("payments", "Burned"):
            return -amount if f["account"] == account else 0
        case ("payments", "Transferred" | "Moved"):
            return int(amount * ((f["to"] == account) - (f["source"] == account)))
        case ("payments", "Captured"):
            return int(amount * ((f["to"] == account) - (f["account"] == account)))
        case ("imbalance", "ArrearsChanged"):
            return int(f["change_micros"]) if f["account"] == account and not _pays_arrears(event, ground) else 0
        case ("market", "Traded") | ("imbalance", "Settled" | "Resettled"):
            return posting_micros(event, account)
        case _:
            return 0  # what else is posted was paid by moves and captures, which are events of their own


def _pays_arrears(event: Happened, ground: Ground) -> bool:
    """Arrears paid by hand show as a move of the same transaction, just before; others only change what was charged."""
    return any(
        e.kind == ("payments", "Moved")
        and (e.height, e.index, e.number + 1) == event.place
        and e.fields["source"] == ground.account
        and e.fields["amount_micros"] == -event.fields["change_micros"]
        for e in ground.events
    )


def posting_micros(event: Happened, account: str) -> int:
    """What an energy contract's event adds to the account's bill."""
    f = event.fields
    if event.name in TRADES:
        costs = f.get("fee_micros", 0) + f.get("loss_micros", 0)  # the buyer's
        paid = (f["amount_micros"] + costs) * (f["buyer"] == account)
        return int(f["amount_micros"] * (f["seller"] == account) - paid)
    if event.kind == CERTIFICATE_SALE:
        return int(f["amount_micros"] * ((f["seller"] == account) - (f["buyer"] == account)))
    if event.kind == ("imbalance", "Settled") and f["account"] == account:
        return int(f["amount_micros"])
    if event.kind == ("imbalance", "Resettled") and f["account"] == account:
        return int(f["difference_micros"])
    if event.kind == ("balancing", "Activated") and f["account"] == account:
        return int(f["amount_micros"])
    return 0


def _is_posting(event: Happened, account: str) -> bool:
    f = event.fields
    if event.name in TRADES or event.kind == CERTIFICATE_SALE:
        return account in (f["buyer"], f["seller"])
    return event.kind in _POSTINGS_OF_ACCOUNT and bool(f["account"] == account)


def _slot_item(ground: Ground, slot: int) -> Item:
    mine = [e for e in ground.events if _is_posting(e, ground.account) and slot_of(e) == slot]
    trades = [item for e in mine if e.name in TRADES for item in _trade_items(e, ground.account)]
    parts = (
        [_sum("trades", trades, {"bought_wh": _wh(trades, "bought"), "sold_wh": _wh(trades, "sold")})] if trades else []
    )
    sales = [_sale_item(e, ground.account) for e in mine if e.kind == CERTIFICATE_SALE]
    parts += [_sum("certificates", sales, {})] if sales else []
    activated = [_activation_item(e, ground.account) for e in mine if e.contract == "balancing"]
    parts += [_sum("flexibility", activated, {})] if activated else []
    runs = [e for e in mine if e.contract == "imbalance"]
    parts += [_imbalance_item(ground, slot, run, trades) for run in range(1, len(runs) + 1)]
    return _sum(f"slot {slot}", parts, {"slot": slot})


def _wh(trades: Sequence[Item], side: str) -> int:
    return sum(t.facts["quantity_wh"] for t in trades if t.label == side)


def _trade_items(event: Happened, account: str) -> list[Item]:
    """The trade, and for a buyer what the grid takes for it, each in a line of its own."""
    f = event.fields
    side = "bought" if f["buyer"] == account else "sold"
    if f["price_micros_per_kwh"] * f["quantity_wh"] // 1000 != f["amount_micros"]:
        raise ExplainError(f"the trade in transaction {event.tx_id} is not its price times its quantity")
    facts = {
        "quantity_wh": f["quantity_wh"],
        "price_micros_per_kwh": f["price_micros_per_kwh"],
        "zone": f.get("zone", ""),
        "with": f["seller"] if side == "bought" else f["buyer"],
        **({"market": event.contract} if event.contract != "market" else {}),
        **({"order": f["buy_order" if side == "bought" else "sell_order"]} if "buy_order" in f else {}),
        **_where(event),
    }
    items = [Item(side, f["amount_micros"] * (1 if side == "sold" else -1), facts)]
    if side == "bought":
        way = {"path": f.get("path", ""), "of_wh": f["quantity_wh"], **_where(event)}
        if f.get("fee_micros", 0):
            items.append(Item("grid fee", -f["fee_micros"], way))
        if f.get("loss_micros", 0):
            items.append(Item("losses", -f["loss_micros"], {"loss_wh": f.get("loss_wh", 0), **way}))
    return items


def _sale_item(event: Happened, account: str) -> Item:
    f = event.fields
    side = "bought" if f["buyer"] == account else "sold"
    if f["price_micros_per_kwh"] * f["quantity_wh"] // 1000 != f["amount_micros"]:
        raise ExplainError(f"the sale in transaction {event.tx_id} is not its price times its quantity")
    wanted = ("certificate_id", "quantity_wh", "price_micros_per_kwh")
    told = {name: f[name] for name in wanted}
    partner = {"with": f["seller"] if side == "bought" else f["buyer"]}
    return Item(f"certificate {side}", posting_micros(event, account), {**told, **partner, **_where(event)})


def slot_of(event: Happened) -> int:
    """The slot that a posting is for; a sale of certificates belongs to the slot in which it happened."""
    return int(event.fields.get("slot", event.time_ms // SLOT_MS))


def _activation_item(event: Happened, account: str) -> Item:
    f = event.fields
    if f["price_micros_per_kwh"] * f["activated_wh"] // 1000 != f["amount_micros"]:
        raise ExplainError(f"the activation in transaction {event.tx_id} is not its price times its energy")
    return Item("activated", posting_micros(event, account), {**_activation_facts(event), **_where(event)})


def _imbalance_item(ground: Ground, slot: int, run: int, trades: Sequence[Item]) -> Item:
    """A settlement or re-settlement, computed again over its balance group's members."""
    event, rows, before = _run_of(ground, slot, run)
    mine = rows[ground.account]
    if (mine["bought_wh"], mine["sold_wh"]) != (_wh(trades, "bought"), _wh(trades, "sold")):
        raise ExplainError(f"slot {slot} was settled for other trades than the chain's events tell of")
    group = [r for r in rows.values() if r["brp"] == mine["brp"]]
    imbalance_wh, amount_micros, group_wh, group_micros = _computed(ground, slot, group)
    if (imbalance_wh, amount_micros) != (mine["imbalance_wh"], mine["amount_micros"]):
        raise ExplainError(
            f"the settlement of slot {slot} says {mine['imbalance_wh']} Wh and {mine['amount_micros']} micros, "
            f"its own data give {imbalance_wh} Wh and {amount_micros} micros"
        )
    facts = {
        "imbalance_wh": imbalance_wh,
        "price_micros_per_kwh": mine["price_micros_per_kwh"],
        "position_wh": mine["sold_wh"] - mine["bought_wh"],
        "metered_wh": mine["export_wh"] - mine["import_wh"],
        "activated_wh": mine["activated_wh"],
        **({"run": event.fields["run"], "amount_of_run_micros": amount_micros} if run > 1 else {}),
        **_where(event),
    }
    because = [_metered_reason(ground, slot, mine, event), *_price_reasons(ground, slot, event)]
    if len(group) > 1:
        members = tuple(_reason(r["account"], imbalance_wh=r["imbalance_wh"]) for r in group)
        told = {"brp": mine["brp"], "imbalance_wh": group_wh, "amount_micros": group_micros}
        because.append(Item("balance group", None, told, because=members))
    if posting_micros(event, ground.account) != amount_micros - before:
        raise ExplainError(f"a re-settlement of slot {slot} does not post the difference to the run before")
    label = "imbalance" if run == 1 else f"re-settlement {event.fields['run'] - 1}"
    return Item(label, amount_micros - before, facts, because=tuple(because))


def _run_of(ground: Ground, slot: int, run: int) -> tuple[Happened, dict[str, dict[str, Any]], int]:
    """The account's event of its `run`-th posting, everybody's rows as they then stood, and the amount before it."""
    settled = [e for e in ground.of("imbalance", "Settled") if e.fields["slot"] == slot]
    rows = {e.fields["account"]: {"activated_wh": 0, "brp": e.fields["account"], **e.fields} for e in settled}
    mine = [e for e in settled if e.fields["account"] == ground.account]
    again = [e for e in ground.of("imbalance", "Resettled") if e.fields["slot"] == slot]
    mine += [e for e in again if e.fields["account"] == ground.account]
    event, before = mine[run - 1], 0
    last = event.fields.get("run", 1)
    for one in again:
        if one.fields["run"] <= last:
            row = rows[one.fields["account"]]
            if one is event:
                before = row["amount_micros"]
            rows[one.fields["account"]] = {**row, **one.fields}
    return event, rows, before


def _computed(ground: Ground, slot: int, group: Sequence[Mapping[str, Any]]) -> tuple[int, int, int, int]:
    """(imbalance, amount) of the account and of its group, by the contract's own function."""
    terms = ground.terms.get(slot)
    if terms is None:
        raise ExplainError(f"the node does not tell the terms that slot {slot} was settled by")
    accounts, groups, _ = settle_terms(terms, [tuple(row[name] for name in _GROUP_ROW) for row in group])
    imbalance_wh, amount_micros = next((wh, micros) for account, wh, micros in accounts if account == ground.account)
    return imbalance_wh, amount_micros, groups[0][1], groups[0][2]


def _metered_reason(ground: Ground, slot: int, mine: Mapping[str, Any], event: Happened) -> Item:
    """The readings that stood when the settlement ran."""
    standing = []
    for (_, of_slot), rows in sorted(ground.readings.items()):
        until = [r for r in rows if r.place <= (event.height, event.index)]  # one transaction may bring and settle
        if of_slot == slot and until:
            standing.append(until[-1])
    sums = (sum(r.import_wh for r in standing), sum(r.export_wh for r in standing))
    if standing and sums != (mine["import_wh"], mine["export_wh"]):
        raise ExplainError(f"the readings of slot {slot} add up to {sums}, not to what was settled")
    readings = tuple(
        _reason(
            f"reading of {r.meter}",
            import_wh=r.import_wh,
            export_wh=r.export_wh,
            quality=r.quality,
            signed_by=r.sender,
            tx_id=r.tx_id,
            height=r.place[0],
        )
        for r in standing
    )
    return Item("metered", None, {"import_wh": mine["import_wh"], "export_wh": mine["export_wh"]}, because=readings)


def _price_reasons(ground: Ground, slot: int, event: Happened) -> list[Item]:
    terms = ground.terms[slot]
    posted = [e for e in ground.of("imbalance", "PricePosted") if e.fields["slot"] == slot and e.place < event.place]
    activated = [e for e in ground.of("balancing", "Activated") if e.fields["slot"] == slot and e.place < event.place]
    told = {
        name: getattr(terms, name)
        for name in Terms._fields
        if name not in ("dead_band_ppm", "penalty_ppm") or terms.penalty_ppm > 0
    }
    sources = [_reason("reference price", **_price_facts(e), **_where(e)) for e in posted[-1:]]
    sources += [_reason("activation", **_activation_facts(e), **_where(e)) for e in activated]
    return [Item("price", None, told, because=tuple(sources))]


def _price_facts(event: Happened) -> dict[str, Any]:
    return {"price_micros_per_kwh": event.fields["price_micros_per_kwh"], "by": event.fields["by"]}


def _activation_facts(event: Happened) -> dict[str, Any]:
    wanted = ("account", "activated_wh", "price_micros_per_kwh", "reference")
    return {name: event.fields[name] for name in wanted if name in event.fields}


def _where(event: Happened) -> dict[str, Any]:
    return {"tx_id": event.tx_id, "height": event.height}


def _reason(label: str, **facts: Any) -> Item:
    return Item(label, None, facts)


def _sum(label: str, parts: Sequence[Item], facts: Mapping[str, Any]) -> Item:
    amounts = [part.amount_micros for part in parts]
    assert None not in amounts, "every part of a sum has an amount"
    return Item(label, sum(a for a in amounts if a is not None), facts, tuple(parts))
