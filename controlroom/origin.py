"""Certificates: who owns which units of which production, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from gridbft.history import Happened

SLOT_SECONDS = 900
MAKES = frozenset({"Issued", "CarbonIssued"})


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
class Origin:
    """Sums by slot are in Wh of energy; carbon units stay out of them."""

    events: list[Happened] = field(default_factory=list)  # of the contract, oldest first
    certificates: dict[int, Certificate] = field(default_factory=dict)
    retirements: dict[int, Retirement] = field(default_factory=dict)
    retirements_of: dict[str, list[Retirement]] = field(default_factory=dict)  # owner or beneficiary
    owned: dict[str, set[int]] = field(default_factory=dict)
    issued_wh: dict[int, int] = field(default_factory=dict)  # slot of production
    traded_wh: dict[int, int] = field(default_factory=dict)
    retired_wh: dict[int, int] = field(default_factory=dict)
    ended_wh: int = 0

    def absorb(self, event: Happened) -> None:
        """An event about a certificate that a pruned node does not tell of any more is kept, and changes nothing."""
        if event.contract != "certificates":
            return
        self.events.append(event)
        f = event.fields
        if f.get("parent", f.get("certificate_id")) not in self.certificates and event.name not in MAKES:
            return
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

    def _add(self, event: Happened, quantity: int, unit: str, technology: str, location: str) -> None:
        f, slot = event.fields, event.fields["interval_start_s"] // SLOT_SECONDS
        units = f["unit_start"], f["unit_end"]
        one = Certificate(
            f["certificate_id"], f["device"], technology, location, slot, *units, quantity, f["owner"], unit
        )
        self._keep(one)
        if unit == "Wh":
            _count(self.issued_wh, slot, quantity)

    def _keep(self, one: Certificate) -> None:
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
        for account in {one.owner, one.beneficiary}:
            self.retirements_of.setdefault(account, []).append(one)
        if one.unit == "Wh":
            _count(self.retired_wh, slot, one.quantity)

    def _take(self, certificate_id: int, unit_end: int) -> None:
        """Retired and ended units are always a certificate's first ones."""
        self.certificates[certificate_id].unit_start = unit_end


def _count(by_slot: dict[int, int], slot: int, quantity_wh: int) -> None:
    by_slot[slot] = by_slot.get(slot, 0) + quantity_wh
