"""Bills, explained: every number down to the readings, trades and prices that made it, each computed again here.

A bill is a tree. The amounts of a node's parts add up to its own; a part without parts is one posting of the chain, with
the reasons for it beside it (`because`), which carry no money of their own. Amounts are micros that the account receives;
what it pays is negative. Nothing is taken on trust from an event's amount: it is computed again from what the event
says led to it, by the contracts' own functions, and a difference is an ExplainError.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from contracts.energy.imbalance import Terms, settle_terms
from contracts.energy.market import PATH_NAMES, fees_of
from gridbft.ground import ExplainError, Ground
from gridbft.history import Happened
from gridbft.money import (
    ACTIVATED,
    ARREARS,
    CERTIFICATE_SALE,
    GRID,
    NEUTRALITY,
    RESETTLED,
    SETTLED,
    SLOT_SETTLED,
    TRADES,
    arrears_micros,
    other_payments,
    payment_micros,
    posting_micros,
    postings_by_slot,
)

_GROUP_ROW = ("account", "brp", "sold_wh", "bought_wh", "import_wh", "export_wh", "activated_wh")
_OTHER = {
    "Minted": "deposit",
    "Burned": "withdrawal",
    "Transferred": "transfer",
    "Moved": "moved by a contract",
    "Captured": "captured by a contract",
}


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


def explain_bill(ground: Ground, slots: range | None) -> Item:
    """The account's bill over the slots (None: all there are). Raises ExplainError."""
    found = postings_by_slot(ground)
    parts = [_slot_item(ground, slot, found[slot]) for slot in sorted(found) if slots is None or slot in slots]
    bill = _sum(f"bill of {ground.account}", parts, {"account": ground.account, "slots": len(parts)})
    if ground.pruned:
        what = "whatever happened before this height: the node keeps no earlier block"
        bill = replace(bill, because=(_reason("missing", before_height=ground.first_height, what=what),))
    return bill


def explain_other_money(ground: Ground) -> Item:
    """What moved the account's money and is on no bill: deposits, withdrawals, transfers, arrears paid by hand.

    With the bill of all slots it is the whole change of balance and holds.
    """
    names = ("reference", "source", "to", "account", "by")
    parts = []
    for e in other_payments(ground):
        label = "arrears" if e.name == "Moved" and e.fields["by"] == "imbalance" else _OTHER[e.name]
        told = {name: e.fields[name] for name in names if e.fields.get(name) not in (None, "", ground.account)}
        parts.append(Item(label, payment_micros(e, ground.account), {**told, **_where(e)}))
    return _sum("besides", parts, {})


def _slot_item(ground: Ground, slot: int, mine: Sequence[Happened]) -> Item:
    trades = [item for e in mine if e.name in TRADES for item in _trade_items(ground, e)]
    parts = (
        [_sum("trades", trades, {"bought_wh": _wh(trades, "bought"), "sold_wh": _wh(trades, "sold")})] if trades else []
    )
    sales = [_sale_item(e, ground.account) for e in mine if e.kind == CERTIFICATE_SALE]
    parts += [_sum("certificates", sales, {})] if sales else []
    activated = [_activation_item(e, ground.account) for e in mine if e.kind == ACTIVATED]
    parts += [_sum("flexibility", activated, {})] if activated else []
    runs = [e for e in mine if e.kind in (SETTLED, RESETTLED)]
    if ground.account == NEUTRALITY:
        parts += _neutrality_items(ground, slot, runs)
    else:
        parts += [_imbalance_item(ground, slot, run, e, trades) for run, e in enumerate(runs, 1)]
    parts += [_arrears_item(e, ground.account) for e in mine if e.kind == ARREARS]
    return _sum(f"slot {slot}", parts, {"slot": slot})


def _arrears_item(event: Happened, account: str) -> Item:
    """What a settlement left unpaid, or took of what was received for what had been left unpaid before."""
    change, owed = event.fields["change_micros"], event.fields["arrears_micros"]
    facts = {"debtor": event.fields["account"], "arrears_micros": owed, **_where(event)}
    return Item("left unpaid" if change > 0 else "paid of arrears", arrears_micros(event, account), facts)


def _neutrality_items(ground: Ground, slot: int, mine: Sequence[Happened]) -> list[Item]:
    """The other side of everybody's settlement, one posting for each run; the run's own sum must say the same."""
    items: list[Item] = []
    total = 0
    for done in ground.of(*SLOT_SETTLED):
        if done.fields["slot"] != slot:
            continue
        run = done.fields["run"]
        of_run = [e for e in mine if e.fields.get("run", 1) == run]
        amount = sum(posting_micros(e, NEUTRALITY) for e in of_run)
        total += amount
        if total != done.fields["neutrality_micros"] and not ground.pruned:
            raise ExplainError(f"run {run} of slot {slot} does not sum to zero with what neutrality received")
        told = {"run": run, "participants": done.fields["participants"], **_where(done)}
        items.append(Item("settlement" if run == 1 else f"re-settlement {run - 1}", amount, told))
    return items


def _wh(trades: Sequence[Item], side: str) -> int:
    return sum(t.facts["quantity_wh"] for t in trades if t.label == side)


def _trade_items(ground: Ground, event: Happened) -> list[Item]:
    """The trade, and for a buyer what the grid takes for it, each in a line of its own."""
    f, account = event.fields, ground.account
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
    if account == GRID:
        return _grid_items(ground, event, 1)
    items = [Item(side, f["amount_micros"] * (1 if side == "sold" else -1), facts)]
    return items + (_grid_items(ground, event, -1) if side == "bought" else [])


def _grid_items(ground: Ground, event: Happened, sign: int) -> list[Item]:
    """Fee and losses of a trade, computed again by the product's rates where the node tells them."""
    f = event.fields
    costs = tuple(f.get(name, 0) for name in ("fee_micros", "loss_wh", "loss_micros"))
    tariff = ground.tariffs.get((f.get("zone", ""), f.get("slot", -1)))
    fee_rate: dict[str, Any] = {"rate": "not told by the node"}
    loss_rate = fee_rate
    if tariff is not None and "path" in f:
        path = PATH_NAMES.index(f["path"])
        if fees_of(tariff, path, f["quantity_wh"], f["price_micros_per_kwh"]) != costs:
            raise ExplainError(
                f"grid fee or losses of the trade in transaction {event.tx_id} are not by the grid's rates"
            )
        fee_rate, loss_rate = {"fee_micros_per_kwh": tariff[2 * path]}, {"loss_ppm": tariff[2 * path + 1]}
    way = {"path": f.get("path", ""), "of_wh": f["quantity_wh"], **_where(event)}
    items = []
    if costs[0]:
        items.append(Item("grid fee", sign * costs[0], {**fee_rate, **way}))
    if costs[2]:
        items.append(Item("losses", sign * costs[2], {"loss_wh": costs[1], **loss_rate, **way}))
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


def _activation_item(event: Happened, account: str) -> Item:
    f = event.fields
    if f["price_micros_per_kwh"] * f["activated_wh"] // 1000 != f["amount_micros"]:
        raise ExplainError(f"the activation in transaction {event.tx_id} is not its price times its energy")
    return Item("activated", posting_micros(event, account), {**_activation_facts(event), **_where(event)})


def _imbalance_item(ground: Ground, slot: int, run: int, event: Happened, trades: Sequence[Item]) -> Item:
    """A settlement or re-settlement, computed again over its balance group's members."""
    label = "imbalance" if run == 1 and event.kind == SETTLED else f"re-settlement {event.fields['run'] - 1}"
    if ground.pruned and not _all_settled(ground, slot):
        missing = _reason(
            "missing", before_height=ground.first_height, what="earlier postings of this slot's settlement"
        )
        told = {name: event.fields[name] for name in ("imbalance_wh", "price_micros_per_kwh")}
        return Item(label, posting_micros(event, ground.account), {**told, **_where(event)}, because=(missing,))
    event, rows, before = _run_of(ground, slot, run)
    mine = rows[ground.account]
    because = _missing_trades(ground, slot, mine, trades)
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
    because += [_metered_reason(ground, slot, mine, event), *_price_reasons(ground, slot, event)]
    if len(group) > 1:
        members = tuple(_reason(r["account"], imbalance_wh=r["imbalance_wh"]) for r in group)
        told = {"brp": mine["brp"], "imbalance_wh": group_wh, "amount_micros": group_micros}
        because.append(Item("balance group", None, told, because=members))
    if posting_micros(event, ground.account) != amount_micros - before:
        raise ExplainError(f"a re-settlement of slot {slot} does not post the difference to the run before")
    return Item(label, amount_micros - before, facts, because=tuple(because))


def _all_settled(ground: Ground, slot: int) -> bool:
    """Whether the first run of the slot is there with everybody's posting."""
    done = next((e for e in ground.of(*SLOT_SETTLED) if e.fields["slot"] == slot and e.fields["run"] == 1), None)
    count = sum(e.fields["slot"] == slot for e in ground.of(*SETTLED))
    return done is not None and count == done.fields["participants"]


def _missing_trades(ground: Ground, slot: int, mine: Mapping[str, Any], trades: Sequence[Item]) -> list[Item]:
    """Nothing where the trades are those that were settled. What pruned blocks held may be missing, and only that."""
    missing = {side: mine[f"{side}_wh"] - _wh(trades, side) for side in ("bought", "sold")}
    if not any(missing.values()):
        return []
    if not ground.pruned or min(missing.values()) < 0:
        raise ExplainError(f"slot {slot} was settled for other trades than the chain's events tell of")
    told = {f"{side}_wh": wh for side, wh in missing.items()}
    return [_reason("missing", before_height=ground.first_height, what="trades of this slot", **told)]


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
    if standing and sums != (mine["import_wh"], mine["export_wh"]) and not ground.pruned:
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
