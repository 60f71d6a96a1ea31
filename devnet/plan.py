"""What is to be done on the chain for a day, step by step: a pure function of the day's book and the meters' readings.

A slot passes through five waves, so that one wait for finality serves five slots at once:

    wave w:  orders of slot w | gate and metering of w - 1 | price and settlement of w - 2
             certificates of w - 3 | retirements of w - 4

Each step asks the book what is done already, so a day that was interrupted goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from contracts.energy.rosters import hash_of
from devnet.book import Certificate, DayBook
from devnet.feeder import DayData, Feeder, Site
from devnet.forecast import forecast_wh, imbalance_price, order_for
from gridbft.readings import columns

STAGES = 5
FUNDS_MICROS = 2_000_000_000  # what each participant deposits: 2,000 units of the currency
MAX_CALLS = 60  # in one transaction
MAX_READINGS = 1_000  # in one batch
PURPOSE = "own and neighbourly use, same quarter of an hour"

Signer = Literal["operator", "meter-operator", "issuer"] | str
"""A role's key name, or a participant's account."""


@dataclass(frozen=True, slots=True)
class Step:
    """One transaction to be: its calls are (contract, function, arguments)."""

    signer: Signer
    calls: tuple[tuple[str, str, tuple[Any, ...]], ...]
    gas_limit: int


@dataclass(frozen=True, slots=True)
class Day:
    """A feeder's day on a chain: `accounts` maps each site's bus to its participant's account."""

    feeder: Feeder
    data: DayData
    accounts: dict[str, str]
    zone: str
    first: int  # index of the first slot to play
    last: int  # and of the one after the last
    packed: bool = False  # readings come as columns

    @property
    def slots(self) -> range:
        return range(self.data.first_slot + self.first, self.data.first_slot + self.last)

    @property
    def waves(self) -> int:
        return len(self.slots) + STAGES - 1


def set_up(day: Day, book: DayBook) -> list[Step]:
    """Registers and funds whoever is not yet on the chain."""
    calls: list[tuple[str, str, tuple[Any, ...]]] = []
    for site in day.feeder.sites:
        account = day.accounts[site.bus]
        if account not in book.participants:
            calls.append(("registry", "register_participant", (account, site.name, "")))
        calls += [
            ("registry", "register_meter", (meter.code, account, meter.kind, meter.bus, meter.rated_w))
            for meter in site.meters
            if meter.code not in book.meters
        ]
        if account not in book.funded:
            calls.append(("payments", "mint", (account, FUNDS_MICROS, f"deposit of {site.name}")))
    return [
        Step("operator", tuple(calls[start : start + MAX_CALLS]), 20_000_000)
        for start in range(0, len(calls), MAX_CALLS)
    ]


def listing(day: Day, book: DayBook) -> list[Step]:
    """Puts the day's meters on a roster of their own, once all are registered; nothing where readings come singly.

    If somebody else opens one at the same moment the number is theirs, this is refused, and the day has to be begun again.
    """
    codes = [meter.code for meter in day.data.meters]
    if not day.packed or hash_of(codes) in book.rosters:
        return []
    calls = (("rosters", "open_roster", ()), ("rosters", "enlist", (book.roster_count + 1, codes)))
    return [Step("meter-operator", calls, 50_000_000)]


def wave(day: Day, book: DayBook, number: int) -> list[Step]:
    """The transactions of a wave, which depend on final ones only."""
    steps: list[Step] = []
    for lag, stage in enumerate((orders, gate_and_metering, settlement, issuing, retiring)):
        index = number - lag
        if 0 <= index < len(day.slots):
            steps += stage(day, book, day.slots[index])
    return steps


def orders(day: Day, book: DayBook, slot: int) -> Iterator[Step]:
    if slot in book.cleared:
        return
    placed = book.ordered.get(slot, set())
    for site in day.feeder.sites:
        account = day.accounts[site.bus]
        order = order_for(site.name, slot, forecast_wh(book.history.get(account, {}), slot))
        if order is not None and account not in placed:
            args = (day.zone, slot, order.side, order.quantity_wh, order.limit_micros_per_kwh)
            yield Step(account, (("market", "place_order", args),), 2_000_000)


def gate_and_metering(day: Day, book: DayBook, slot: int) -> Iterator[Step]:
    if slot not in book.cleared:
        yield Step("operator", (("market", "clear", (day.zone, slot)),), 50_000_000)
    rows = readings(day, slot)
    done = book.metered[slot].reading_count if slot in book.metered else 0
    if day.packed and done == 0:
        yield Step("meter-operator", (("metering", "submit_packed", packed_readings(day, book, slot)),), 100_000_000)
        return
    for start in range(done, len(rows), MAX_READINGS):
        batch = rows[start : start + MAX_READINGS]
        yield Step("meter-operator", (("metering", "submit", (batch,)),), 100_000_000)


def readings(day: Day, slot: int) -> list[tuple[str, int, int, int, str]]:
    """(meter, slot, import_wh, export_wh, quality) of every meter with a series."""
    energy = day.data.energy_wh[slot - day.data.first_slot]
    return [
        (meter.code, slot, 0 if meter.exports else wh, wh if meter.exports else 0, "DIRECT")
        for meter, wh in zip(day.data.meters, energy, strict=True)
    ]


def packed_readings(day: Day, book: DayBook, slot: int) -> tuple[Any, ...]:
    """The arguments of `submit_packed` for all meters of the day."""
    codes = [meter.code for meter in day.data.meters]
    pairs = {code: (import_wh, export_wh) for code, _, import_wh, export_wh, _ in readings(day, slot)}
    return book.rosters[hash_of(codes)], slot, 0, *columns(codes, pairs)


def settlement(day: Day, book: DayBook, slot: int) -> Iterator[Step]:
    if slot in book.settled:
        return
    metered = book.metered[slot]
    price = imbalance_price(book.cleared[slot].price_micros_per_kwh, metered.import_wh, metered.export_wh)
    calls = (("imbalance", "post_price", (slot, price)), ("imbalance", "settle", (slot,)))
    yield Step("operator", calls, 100_000_000)


def issuing(day: Day, book: DayBook, slot: int) -> Iterator[Step]:
    """A certificate for every Wh that a production device fed in."""
    done = {certificate.device for certificate in book.issued.get(slot, [])}
    rows = [(row[0], slot, row[3]) for row in readings(day, slot) if row[3] > 0 and row[0] not in done]
    if rows:
        yield Step("issuer", (("certificates", "issue_many", (rows,)),), 50_000_000)


def retiring(day: Day, book: DayBook, slot: int) -> Iterator[Step]:
    """Each owner retires its certificates for its own consumption, and what is left for its neighbours'."""
    consumption = {account: row.import_wh for account, row in book.settled[slot].items() if row.import_wh > 0}
    done = book.retired.get(slot, {})
    for owner, rows in allot(book.issued.get(slot, []), consumption).items():
        if owner not in done:
            calls = [(number, wh, beneficiary, PURPOSE, slot) for number, wh, beneficiary in rows]
            yield Step(owner, (("certificates", "retire_many", (calls,)),), 50_000_000)


def allot(certificates: list[Certificate], consumption_wh: dict[str, int]) -> dict[str, list[tuple[int, int, str]]]:
    """Who retires what for whom: owner -> [(certificate id, Wh, beneficiary)]; in all, the smaller of both sums.

    Owners serve themselves first; what is left serves the others in the order of their accounts.
    """
    open_wh = dict(sorted(consumption_wh.items()))
    left_wh = {certificate.certificate_id: certificate.quantity_wh for certificate in certificates}
    rows: dict[str, list[tuple[int, int, str]]] = {}

    def use(certificate: Certificate, beneficiary: str) -> None:
        wh = min(left_wh[certificate.certificate_id], open_wh.get(beneficiary, 0))
        if wh > 0:
            left_wh[certificate.certificate_id] -= wh
            open_wh[beneficiary] -= wh
            rows.setdefault(certificate.owner, []).append((certificate.certificate_id, wh, beneficiary))

    for certificate in certificates:
        use(certificate, certificate.owner)
    for certificate in certificates:
        for beneficiary in list(open_wh):
            if left_wh[certificate.certificate_id] == 0:
                break
            use(certificate, beneficiary)
    return rows


def site_of(day: Day, account: str) -> Site | None:
    return next((site for site in day.feeder.sites if day.accounts[site.bus] == account), None)
