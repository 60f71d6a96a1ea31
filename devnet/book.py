"""The day as the chain tells it: everything here comes from events of final transactions, nothing from the CSV.

The same book is what a run goes on from after an interruption: it says which steps of which slot are done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Trade:
    slot: int
    buyer: str
    seller: str
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
    funded: set[str] = field(default_factory=set)
    carried: dict[str, int] = field(
        default_factory=dict
    )  # account -> what it had from anything but this day, in micros
    money_accounts: set[str] = field(default_factory=set)  # every account that ever held money, as far as events say
    ordered: dict[int, set[str]] = field(default_factory=dict)  # slot -> accounts
    cleared: dict[int, Cleared] = field(default_factory=dict)
    trades: list[Trade] = field(default_factory=list)
    metered: dict[int, Metered] = field(default_factory=dict)
    settled: dict[int, dict[str, Settlement]] = field(default_factory=dict)  # slot -> account -> settlement
    arrears: list[Arrears] = field(default_factory=list)
    issued: dict[int, list[Certificate]] = field(default_factory=dict)
    retired: dict[int, dict[str, int]] = field(default_factory=dict)  # slot -> owner -> Wh
    transactions: int = 0  # with at least one event of the network's set-up or of this day
    history: dict[str, dict[int, int]] = field(default_factory=dict)  # account -> slot -> export less import, settled

    def absorb(self, events: tuple[tuple[str, str, Mapping[str, Any]], ...]) -> None:
        """`events`: (contract, name, fields) of one final transaction."""
        settling = next((f["slot"] for c, n, f in events if (c, n) == ("imbalance", "SlotSettled")), None)
        ours = False
        for contract, name, fields in events:
            ours = self._event(contract, name, fields, settling) or ours
        self.transactions += ours

    def _event(self, contract: str, name: str, f: Mapping[str, Any], settling: int | None) -> bool:
        """Whether the event belongs to the network's set-up or to this day."""
        match contract:
            case "registry":
                return self._registry(name, f)
            case "payments":
                return self._payments(name, f)
            case "market":
                return self._market(name, f)
            case "metering":
                return self._metering(name, f)
            case "imbalance":
                return self._imbalance(name, f, settling)
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
        return name == "Minted" and f["to"] in self.participants

    def _carry(self, account: str, amount_micros: int) -> None:
        self.carried[account] = self.carried.get(account, 0) + amount_micros

    def _market(self, name: str, f: Mapping[str, Any]) -> bool:
        slot = f["slot"]
        if f.get("zone") != self.zone or slot not in self.slots:
            if name == "Traded":
                self._carry(f["buyer"], -f["amount_micros"])
                self._carry(f["seller"], f["amount_micros"])
            return False
        if name == "OrderPlaced":
            self.ordered.setdefault(slot, set()).add(f["account"])
        elif name == "Cleared":
            price = f["price_micros_per_kwh"]
            self.cleared[slot] = Cleared(price if f["quantity_wh"] else None, f["quantity_wh"])
        elif name == "Traded":
            amounts = f["quantity_wh"], f["price_micros_per_kwh"], f["amount_micros"]
            self.trades.append(Trade(slot, f["buyer"], f["seller"], *amounts))
        return True

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

    def _imbalance(self, name: str, f: Mapping[str, Any], settling: int | None) -> bool:
        if name == "Settled":
            self.history.setdefault(f["account"], {})[f["slot"]] = f["export_wh"] - f["import_wh"]
            if f["slot"] in self.slots:
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
        elif name == "ArrearsChanged" and settling is not None:
            # What was left unpaid stays with the debtor; what is paid back by `pay_arrears` shows as a move instead.
            if settling in self.slots:
                self.arrears.append(Arrears(settling, f["account"], f["change_micros"]))
            else:
                self._carry(f["account"], f["change_micros"])
        return f.get("slot") in self.slots

    def _certificates(self, name: str, f: Mapping[str, Any]) -> bool:
        slot = f["interval_start_s"] // 900
        if slot not in self.slots:
            return False
        if name == "Issued":
            certificate = Certificate(f["certificate_id"], f["device"], f["owner"], f["quantity_wh"])
            self.issued.setdefault(slot, []).append(certificate)
        elif name == "Retired":
            by_owner = self.retired.setdefault(slot, {})
            by_owner[f["owner"]] = by_owner.get(f["owner"], 0) + f["quantity_wh"]
        return True
