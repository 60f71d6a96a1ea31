"""The day as the chain tells it: everything here comes from events of final transactions, nothing from the CSV.

The same book is what a run goes on from after an interruption: it says which steps of which slot are done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Event = tuple[str, str, Mapping[str, Any]]  # contract, name, fields


@dataclass(frozen=True, slots=True)
class Trade:
    slot: int
    buyer: str
    seller: str
    quantity_wh: int
    price_micros_per_kwh: int
    amount_micros: int
    market: str = "market"  # the contract that made it
    fee_micros: int = 0  # the buyer's, for the grid
    loss_micros: int = 0  # the buyer's, for what is lost on the way


@dataclass(frozen=True, slots=True)
class Posting:
    """What else an account receives (or pays, negative) for a slot: a re-settlement, flexibility, certificates."""

    slot: int
    account: str
    what: str
    quantity_wh: int
    price_micros_per_kwh: int
    amount_micros: int


@dataclass(frozen=True, slots=True)
class Settlement:
    slot: int
    account: str
    import_wh: int
    export_wh: int
    imbalance_wh: int
    price_micros_per_kwh: int
    amount_micros: int


@dataclass(frozen=True, slots=True)
class Arrears:
    """By how much an account's unpaid settlements grew while `slot` was settled; negative when it paid them back."""

    slot: int
    account: str
    change_micros: int


@dataclass(frozen=True, slots=True)
class Certificate:
    certificate_id: int
    device: str
    owner: str
    quantity_wh: int


@dataclass(frozen=True, slots=True)
class Cleared:
    price_micros_per_kwh: int | None  # None: nothing traded
    quantity_wh: int


@dataclass(frozen=True, slots=True)
class Metered:
    reading_count: int
    import_wh: int
    export_wh: int


@dataclass(slots=True)
class DayBook:
    """One zone and a range of slots. `absorb` takes one transaction's events in their order."""

    zone: str
    slots: range
    meter_operator: str
    participants: dict[str, str] = field(default_factory=dict)  # account -> registered name
    meters: set[str] = field(default_factory=set)
    rosters: dict[bytes, int] = field(default_factory=dict)  # hash of the meters -> roster, of the day's meter operator
    roster_count: int = 0  # of everybody
    funded: set[str] = field(default_factory=set)
    carried: dict[str, int] = field(
        default_factory=dict
    )  # account -> what it had from anything but this day, in micros
    money_accounts: set[str] = field(default_factory=set)  # every account that ever held money, as far as events say
    ordered: dict[int, set[str]] = field(default_factory=dict)  # slot -> accounts
    cleared: dict[int, Cleared] = field(default_factory=dict)
    trades: list[Trade] = field(default_factory=list)
    postings: list[Posting] = field(default_factory=list)
    metered: dict[int, Metered] = field(default_factory=dict)
    settled: dict[int, dict[str, Settlement]] = field(default_factory=dict)  # slot -> account -> settlement
    arrears: list[Arrears] = field(default_factory=list)
    issued: dict[int, list[Certificate]] = field(default_factory=dict)
    retired: dict[int, dict[str, int]] = field(default_factory=dict)  # slot -> owner -> Wh
    transactions: int = 0  # with at least one event of the network's set-up or of this day
    history: dict[str, dict[int, int]] = field(default_factory=dict)  # account -> slot -> export less import, settled
    _own_rosters: set[int] = field(default_factory=set)

    def absorb(self, events: tuple[Event, ...]) -> None:
        """`events`: (contract, name, fields) of one final transaction."""
        ours = False
        for place, (contract, name, fields) in enumerate(events):
            if (contract, name) == ("imbalance", "ArrearsChanged"):
                ours = self._arrears(fields, events[:place], events[place:]) or ours
            elif (contract, name) == ("certificates", "Sold"):
                ours = self._sold(fields, events[:place]) or ours
            else:
                ours = self._event(contract, name, fields) or ours
        self.transactions += ours

    def _event(self, contract: str, name: str, f: Mapping[str, Any]) -> bool:
        """Whether the event belongs to the network's set-up or to this day."""
        match contract:
            case "registry":
                return self._registry(name, f)
            case "payments":
                return self._payments(name, f)
            case "market" | "continuous" | "bilateral" | "resort":
                return self._market(contract, name, f)
            case "rosters":
                return self._rosters(name, f)
            case "metering":
                return self._metering(name, f)
            case "balancing":
                return self._balancing(name, f)
            case "imbalance":
                return self._imbalance(name, f)
            case "certificates":
                return self._certificates(name, f)
            case _:
                return False

    def _registry(self, name: str, f: Mapping[str, Any]) -> bool:
        if name == "ParticipantRegistered":
            self.participants[f["account"]] = f["participant_name"]
            self.money_accounts.add(f["account"])
        elif name == "MeterRegistered":
            self.meters.add(f["meter"])
        return name in ("ParticipantRegistered", "MeterRegistered")

    def _rosters(self, name: str, f: Mapping[str, Any]) -> bool:
        if name == "RosterOpened":
            self.roster_count += 1
            if f["keeper"] == self.meter_operator:
                self._own_rosters.add(f["roster"])
        elif name == "Enlisted" and f["roster"] in self._own_rosters and f["first_place"] == 0:
            self.rosters[f["meters_hash"]] = f["roster"]
        return f["roster"] in self._own_rosters

    def _payments(self, name: str, f: Mapping[str, Any]) -> bool:
        self.money_accounts.update(f[key] for key in ("to", "source", "account") if key in f)
        match name:
            case "Minted":
                self.funded.add(f["to"])
                self._carry(f["to"], f["amount_micros"])
            case "Burned":
                self._carry(f["account"], -f["amount_micros"])
            case "Transferred" | "Moved":
                self._carry(f["source"], -f["amount_micros"])
                self._carry(f["to"], f["amount_micros"])
            case "Captured":
                self._carry(f["account"], -f["amount_micros"])
                self._carry(f["to"], f["amount_micros"])
        return name == "Minted" and f["to"] in self.participants

    def _carry(self, account: str, amount_micros: int) -> None:
        self.carried[account] = self.carried.get(account, 0) + amount_micros

    def _market(self, market: str, name: str, f: Mapping[str, Any]) -> bool:
        ours = f.get("zone") == self.zone and f.get("slot") in self.slots
        if name in ("Traded", "Served"):
            terms = f["quantity_wh"], f["price_micros_per_kwh"], f["amount_micros"]
            trade = Trade(
                f["slot"], f["buyer"], f["seller"], *terms, market, f.get("fee_micros", 0), f.get("loss_micros", 0)
            )
            if market == "market":  # its payment shows in no event of its own, that of the others does
                self._carry_trade(trade, 1)
            if ours:
                self.trades.append(trade)
                self._carry_trade(trade, -1)
        if ours and market == "market" and name == "OrderPlaced":
            self.ordered.setdefault(f["slot"], set()).add(f["account"])
        elif ours and name == "Cleared":
            price = f["price_micros_per_kwh"]
            self.cleared[f["slot"]] = Cleared(price if f["quantity_wh"] else None, f["quantity_wh"])
        return ours

    def _carry_trade(self, trade: Trade, sign: int) -> None:
        """What the trade moved; a bill has no line for the grid, so its share is carried whatever the slot."""
        costs = trade.fee_micros + trade.loss_micros
        self._carry(trade.buyer, -sign * (trade.amount_micros + costs))
        self._carry(trade.seller, sign * trade.amount_micros)
        if sign > 0 and costs:
            self.money_accounts.add("grid")
            self._carry("grid", costs)

    def _post(self, posting: Posting) -> None:
        """A line of this day's bills: what its payment was carried as is no more."""
        self.postings.append(posting)
        self._carry(posting.account, -posting.amount_micros)

    def _balancing(self, name: str, f: Mapping[str, Any]) -> bool:
        ours = f.get("slot") in self.slots
        if ours and name == "Activated":
            terms = f["activated_wh"], f["price_micros_per_kwh"], f["amount_micros"]
            self._post(Posting(f["slot"], f["account"], "flexibility", *terms))
        return ours

    def _metering(self, name: str, f: Mapping[str, Any]) -> bool:
        if name != "Metered" or f["meter_operator"] != self.meter_operator or f["first_slot"] not in self.slots:
            return False
        before = self.metered.get(f["first_slot"], Metered(0, 0, 0))
        self.metered[f["first_slot"]] = Metered(
            before.reading_count + f["reading_count"],
            before.import_wh + f["import_wh"],
            before.export_wh + f["export_wh"],
        )
        return True

    def _imbalance(self, name: str, f: Mapping[str, Any]) -> bool:
        ours = f.get("slot") in self.slots
        if name == "Settled":
            self.history.setdefault(f["account"], {})[f["slot"]] = f["export_wh"] - f["import_wh"]
            if ours:
                row = Settlement(
                    f["slot"],
                    f["account"],
                    f["import_wh"],
                    f["export_wh"],
                    f["imbalance_wh"],
                    f["price_micros_per_kwh"],
                    f["amount_micros"],
                )
                self.settled.setdefault(row.slot, {})[row.account] = row
            else:
                self._carry(f["account"], f["amount_micros"])
        elif name == "Resettled":
            self._carry(f["account"], f["difference_micros"])
            if ours:
                terms = f["imbalance_wh"], f["price_micros_per_kwh"], f["difference_micros"]
                self._post(Posting(f["slot"], f["account"], f"re-settlement {f['run'] - 1}", *terms))
        return ours

    def _arrears(self, f: Mapping[str, Any], before: Sequence[Event], after: Sequence[Event]) -> bool:
        """What a settlement left unpaid stays with the debtor; what is paid back by hand shows as a move just before."""
        if before:
            contract, name, move = before[-1]
            paid = (contract, name) == ("payments", "Moved") and move["source"] == f["account"]
            if paid and move["amount_micros"] == -f["change_micros"]:
                return False
        slot = next(
            (e["slot"] for contract, name, e in after if (contract, name) == ("imbalance", "SlotSettled")), None
        )
        if slot is None or slot not in self.slots:
            self._carry(f["account"], f["change_micros"])
            return False
        self.arrears.append(Arrears(slot, f["account"], f["change_micros"]))
        return True

    def _certificates(self, name: str, f: Mapping[str, Any]) -> bool:
        if name not in ("Issued", "Transferred", "Retired", "Ended") or f["interval_start_s"] // 900 not in self.slots:
            return False
        slot = f["interval_start_s"] // 900
        if name == "Issued":
            certificate = Certificate(f["certificate_id"], f["device"], f["owner"], f["quantity_wh"])
            self.issued.setdefault(slot, []).append(certificate)
        elif name == "Retired" and f.get("unit", "Wh") == "Wh":
            by_owner = self.retired.setdefault(slot, {})
            by_owner[f["owner"]] = by_owner.get(f["owner"], 0) + f["quantity_wh"]
        return True

    def _sold(self, f: Mapping[str, Any], before: Sequence[Event]) -> bool:
        """A sale belongs to the slot of production, which the transfer of the same step tells."""
        moved = [e for contract, name, e in before if (contract, name) == ("certificates", "Transferred")]
        slot = moved[-1]["interval_start_s"] // 900
        if slot not in self.slots or moved[-1].get("unit", "Wh") != "Wh":
            return False
        terms = f["quantity_wh"], f["price_micros_per_kwh"]
        self._post(Posting(slot, f["buyer"], "certificates bought", *terms, -f["amount_micros"]))
        self._post(Posting(slot, f["seller"], "certificates sold", *terms, f["amount_micros"]))
        return True
