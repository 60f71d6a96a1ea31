"""Certificates: who owns which units of which production, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from sys import intern
from typing import Any, TypeVar

from gridbft.history import Happened
from gridbft.trace import Way, trace

_Key = TypeVar("_Key")

SLOT_SECONDS = 900
MAKES = frozenset({"Issued", "CarbonIssued"})
MAX_EVENTS = 200_000
"""Events about certificates that are kept: three weeks of a feeder with 93 participants, some 240 MB. Beyond it lots that are used
up to the last unit are forgotten, those that were used up first before others; what is left to anybody is always known."""
LotKey = tuple[str, int]
"""(device, slot of production)"""


@dataclass(slots=True)
class Certificate:
    """`unit_start` to `unit_end` are the units that are left; `quantity` is how many it had when it came to be."""

    certificate_id: int
    device: str
    technology: str
    location: str
    slot: int
    unit_start: int
    unit_end: int
    quantity: int
    owner: str
    unit: str
    parent: int = 0
    price_micros_per_kwh: int | None = None  # for sale

    @property
    def left(self) -> int:
        return self.unit_end - self.unit_start


@dataclass(frozen=True, slots=True)
class Retirement:
    retirement_id: int
    certificate_id: int
    device: str
    slot: int
    quantity: int
    unit: str
    owner: str
    beneficiary: str
    purpose: str
    consumption_slot: int
    retired_ms: int
    tx_id: str
    event: int
    height: int


@dataclass(slots=True)
class Lot:
    """What a device produced in one interval: all certificates of it, and what happened to any of them, oldest first."""

    events: list[Happened] = field(default_factory=list)
    certificates: list[int] = field(default_factory=list)
    retirements: list[int] = field(default_factory=list)
    left: int = 0


@dataclass(slots=True)
class Origin:
    """Sums and counts are of all that ever was, the rest of what is kept. Sums are in Wh of energy; carbon units stay out."""

    lots: dict[LotKey, Lot] = field(default_factory=dict)
    used_up: dict[LotKey, None] = field(
        default_factory=dict
    )  # lots with nothing left, in the order in which they ended
    kept: int = 0  # events in all lots
    certificates: dict[int, Certificate] = field(default_factory=dict)
    retirements: dict[int, Retirement] = field(default_factory=dict)
    retirements_of: dict[str, dict[int, Retirement]] = field(default_factory=dict)  # owner or beneficiary
    owned: dict[str, set[int]] = field(default_factory=dict)  # those with units left
    certificate_count: int = 0
    newest_certificate: int = 0
    retirement_count: int = 0
    newest_retirement: int = 0
    retirement_count_of: dict[str, int] = field(default_factory=dict)  # owner or beneficiary
    covered_wh: dict[str, int] = field(default_factory=dict)  # beneficiary
    issued_wh: dict[int, int] = field(default_factory=dict)  # slot of production
    traded_wh: dict[int, int] = field(default_factory=dict)
    retired_wh: dict[int, int] = field(default_factory=dict)
    ended_wh: int = 0

    def absorb(self, event: Happened) -> None:
        """An event about a certificate that a pruned node does not tell of any more, or that was forgotten, changes nothing."""
        if event.contract != "certificates":
            return
        lot = self._lot(event)
        if lot is None:
            return
        f: dict[str, Any] = {intern(name): intern(v) if type(v) is str else v for name, v in event.fields.items()}
        event = replace(event, fields=f)  # names, devices and accounts come again and again: a third of the memory
        lot.events.append(event)
        self.kept += 1
        match event.name:
            case "Issued":
                self._add(event, f["quantity_wh"], "Wh", f["technology"], f["location"])
            case "CarbonIssued":
                self._add(event, f["quantity_kg"], "kgCO2e", f["methodology"], f["location"])
            case "Transferred":
                self._transferred(event)
            case "LockedForSale":
                self.certificates[f["certificate_id"]].price_micros_per_kwh = f["price_micros_per_kwh"]
            case "Unlocked" | "Sold":
                self.certificates[f["certificate_id"]].price_micros_per_kwh = None
            case "Retired":
                self._retired(event)
            case "Ended":
                self._take(f["certificate_id"], f["unit_end"])
                self.ended_wh += f["quantity_wh"] if f["unit"] == "Wh" else 0
            case _:
                pass
        while self.kept > MAX_EVENTS and self.used_up:
            self._forget(next(iter(self.used_up)))

    def way_of(self, certificate_id: int) -> Way | None:
        """None where the certificate is not known, or not any more."""
        one = self.certificates.get(certificate_id)
        return trace(self.lots[device_and_slot(one)].events, certificate_id) if one is not None else None

    def _lot(self, event: Happened) -> Lot | None:
        f = event.fields
        if event.name in MAKES:
            return self.lots.setdefault((f["device"], f["interval_start_s"] // SLOT_SECONDS), Lot())
        if event.name == "Flagged":
            return self.lots.get((f["device"], f["slot"]))
        charged = self.retirements.get(f["retirement_id"]) if event.name == "Charged" else None
        number = charged.certificate_id if charged is not None else f.get("parent", f.get("certificate_id"))
        one = self.certificates.get(number)
        return self.lots[device_and_slot(one)] if one is not None else None

    def _forget(self, key: LotKey) -> None:
        """Drops all about a lot but its sums."""
        del self.used_up[key]
        lot = self.lots.pop(key)
        self.kept -= len(lot.events)
        for number in lot.retirements:
            gone = self.retirements.pop(number)
            for account in {gone.owner, gone.beneficiary}:
                del self.retirements_of[account][number]
        for number in lot.certificates:
            del self.certificates[number]

    def _add(self, event: Happened, quantity: int, unit: str, technology: str, location: str) -> None:
        f, slot = event.fields, event.fields["interval_start_s"] // SLOT_SECONDS
        units = f["unit_start"], f["unit_end"]
        one = Certificate(
            f["certificate_id"], f["device"], technology, location, slot, *units, quantity, f["owner"], unit
        )
        self.lots[device_and_slot(one)].left += one.left
        self.used_up.pop(device_and_slot(one), None)
        self._keep(one)
        if unit == "Wh":
            _count(self.issued_wh, slot, quantity)

    def _keep(self, one: Certificate) -> None:
        if one.certificate_id not in self.certificates:
            self.certificate_count += 1
            self.newest_certificate = max(self.newest_certificate, one.certificate_id)
            self.lots[device_and_slot(one)].certificates.append(one.certificate_id)
        self.certificates[one.certificate_id] = one
        self.owned.setdefault(one.owner, set()).add(one.certificate_id)

    def _transferred(self, event: Happened) -> None:
        """The whole changes hands, or its first units become a certificate of their own."""
        f = event.fields
        parent = self.certificates[f["parent"]]
        if f["source"] != f["owner"] and f["unit"] == "Wh":
            _count(self.traded_wh, parent.slot, f["quantity_wh"])
        if parent.certificate_id == f["certificate_id"]:
            self.owned[parent.owner].discard(parent.certificate_id)
            parent.owner, parent.price_micros_per_kwh = f["owner"], None
            self._keep(parent)
            return
        parent.unit_start = f["unit_end"]
        origin = parent.device, parent.technology, parent.location, parent.slot
        units = f["unit_start"], f["unit_end"], f["quantity_wh"]
        self._keep(Certificate(f["certificate_id"], *origin, *units, f["owner"], parent.unit, parent.certificate_id))

    def _retired(self, event: Happened) -> None:
        f, slot = event.fields, event.fields["interval_start_s"] // SLOT_SECONDS
        self._take(f["certificate_id"], f["unit_end"])
        one = Retirement(
            f["retirement_id"], f["certificate_id"], f["device"], slot, f["quantity_wh"], f["unit"], f["owner"],
            f["beneficiary"], f["purpose"], f["consumption_slot"], f["retired_ms"],
            event.tx_id, event.number, event.height,
        )  # fmt: skip
        self.retirements[one.retirement_id] = one
        self.retirement_count += 1
        self.newest_retirement = max(self.newest_retirement, one.retirement_id)
        self.lots[one.device, one.slot].retirements.append(one.retirement_id)
        for account in {one.owner, one.beneficiary}:
            self.retirements_of.setdefault(account, {})[one.retirement_id] = one
            _count(self.retirement_count_of, account, 1)
        if one.unit == "Wh":
            _count(self.retired_wh, slot, one.quantity)
            _count(self.covered_wh, one.beneficiary, one.quantity)

    def _take(self, certificate_id: int, unit_end: int) -> None:
        """Retired and ended units are always a certificate's first ones."""
        one = self.certificates[certificate_id]
        lot = self.lots[device_and_slot(one)]
        lot.left -= unit_end - one.unit_start
        one.unit_start = unit_end
        if one.left == 0:
            self.owned[one.owner].discard(certificate_id)
        if lot.left == 0:
            self.used_up[device_and_slot(one)] = None


def device_and_slot(one: Certificate) -> LotKey:
    return one.device, one.slot


def _count(sums: dict[_Key, int], key: _Key, more: int) -> None:
    sums[key] = sums.get(key, 0) + more
