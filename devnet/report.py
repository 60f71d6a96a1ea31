"""The day's figures, computed from the chain's own answers, and how they are shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from rich.console import Console
from rich.table import Table

from devnet.bill import Bill
from devnet.book import DayBook
from devnet.feeder import LOCAL_TIME, SLOT_SECONDS, DayData

BILLS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Money:
    """In micros, over every account that ever held money."""

    minted: int
    burned: int
    balances: int
    holds: int

    @property
    def residual(self) -> int:
        """0 unless money was lost or made."""
        return self.balances + self.holds - (self.minted - self.burned)


@dataclass(frozen=True, slots=True)
class Totals:
    """Energy in Wh, summed over the day's slots and participants."""

    consumption_wh: int
    generation_wh: int
    traded_wh: int
    imbalance_wh: int  # what settlements were for: the sum of all imbalances, long or short, without their sign
    imbalance_net_wh: int
    issued_wh: int
    retired_wh: int
    trade_count: int
    traded_micros: int
    settled_paid_micros: int
    settled_received_micros: int
    arrears_micros: int


@dataclass(frozen=True, slots=True)
class Report:
    day: str
    slots: int
    participants: int
    transactions: int
    totals: Totals
    money: Money
    state_roots: Mapping[str, str]  # of the nodes that answer, at one height
    silent: tuple[str, ...]
    agree: bool
    seconds: float
    sent: int  # by this run; more of the day may have been on the chain before

    def record(self) -> dict[str, object]:
        return {
            "day": self.day,
            "slots": self.slots,
            "participants": self.participants,
            "transactions": self.transactions,
            "consumption_wh": self.totals.consumption_wh,
            "generation_wh": self.totals.generation_wh,
            "traded_wh": self.totals.traded_wh,
            "imbalance_wh": self.totals.imbalance_wh,
            "money_residual_micros": self.money.residual,
            "certificates_issued_wh": self.totals.issued_wh,
            "certificates_retired_wh": self.totals.retired_wh,
            "state_roots": dict(self.state_roots),
            "agree": self.agree,
            "seconds": round(self.seconds, 2),
        }


def totals(book: DayBook) -> Totals:
    rows = [row for settlements in book.settled.values() for row in settlements.values()]
    return Totals(
        consumption_wh=sum(row.import_wh for row in rows),
        generation_wh=sum(row.export_wh for row in rows),
        traded_wh=sum(cleared.quantity_wh for cleared in book.cleared.values()),
        imbalance_wh=sum(abs(row.imbalance_wh) for row in rows),
        imbalance_net_wh=sum(row.imbalance_wh for row in rows),
        issued_wh=sum(c.quantity_wh for certificates in book.issued.values() for c in certificates),
        retired_wh=sum(sum(by_owner.values()) for by_owner in book.retired.values()),
        trade_count=len(book.trades),
        traded_micros=sum(trade.amount_micros for trade in book.trades),
        settled_paid_micros=-sum(min(row.amount_micros, 0) for row in rows),
        settled_received_micros=sum(max(row.amount_micros, 0) for row in rows),
        arrears_micros=sum(owed.change_micros for owed in book.arrears),
    )


def differences(found: Totals, data: DayData, first: int, last: int) -> list[str]:
    """What the chain says differently from the meters' file, for the slots that were played; empty when all is right."""
    consumption = sum(data.consumption_wh[first:last])
    generation = sum(data.generation_wh[first:last])
    matched = sum(
        min(pair) for pair in zip(data.consumption_wh[first:last], data.generation_wh[first:last], strict=True)
    )
    expected = (
        ("consumption", found.consumption_wh, consumption),
        ("generation", found.generation_wh, generation),
        ("net imbalance", found.imbalance_net_wh, generation - consumption),
        ("certificates issued", found.issued_wh, generation),
        ("certificates retired", found.retired_wh, matched),
    )
    return [
        f"{what}: the chain has {chain} Wh, the meters' file {file} Wh"
        for what, chain, file in expected
        if chain != file
    ]


def show(console: Console, report: Report, bills: list[Bill]) -> None:
    for bill in bills[:BILLS_SHOWN]:
        _show_bill(console, bill)
    found, money = report.totals, report.money
    _show_facts(
        console,
        f"Energy of {report.day}: {report.slots} slots, {report.participants} participants",
        (
            ("consumed", _kwh(found.consumption_wh)),
            ("generated", _kwh(found.generation_wh)),
            (f"traded in the market, {found.trade_count:,} trades", _kwh(found.traded_wh)),
            ("imbalances settled, long and short together", _kwh(found.imbalance_wh)),
            ("imbalances, long less short", _kwh(found.imbalance_net_wh)),
        ),
    )
    _show_facts(
        console,
        "Money",
        (
            ("paid in the market", _units(found.traded_micros)),
            ("paid for being short", _units(found.settled_paid_micros)),
            ("received for being long", _units(found.settled_received_micros)),
            ("left unpaid", _units(found.arrears_micros)),
            ("minted less burned", _units(money.minted - money.burned)),
            ("balances and holds of all accounts", _units(money.balances + money.holds)),
            ("lost or made (micros)", str(money.residual)),
        ),
    )
    _show_facts(
        console,
        "Certificates",
        (("issued", _kwh(found.issued_wh)), ("retired against consumption", _kwh(found.retired_wh))),
    )
    roots = [(name, root) for name, root in report.state_roots.items()] + [
        (name, "no answer") for name in report.silent
    ]
    _show_facts(console, "State roots: " + ("all the same" if report.agree else "THEY DIFFER"), roots)
    rate = report.sent / report.seconds if report.seconds else 0
    console.print(f"{report.sent:,} transactions in {report.seconds:.1f} s: {rate:,.0f} per second")


def _show_bill(console: Console, bill: Bill) -> None:
    table = Table(title=f"Bill of {bill.name} ({bill.account})", title_justify="left")
    for column in ("slot", "what", "Wh", "price per kWh", "amount"):
        table.add_column(column, justify="left" if column in ("slot", "what") else "right", no_wrap=True)
    for line in bill.lines:
        quantity = "" if line.quantity_wh is None else f"{line.quantity_wh:,}"
        price = "" if line.price_micros_per_kwh is None else _units(line.price_micros_per_kwh)
        table.add_row(_clock(line.slot), line.what, quantity, price, _units(line.amount_micros))
    table.add_section()
    table.add_row("", "total: the change of the balance", "", "", _units(bill.total_micros))
    console.print(table)


def _show_facts(console: Console, title: str, facts: tuple[tuple[str, str], ...] | list[tuple[str, str]]) -> None:
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    for fact in facts:
        table.add_row(*fact)
    console.print(table)


def _clock(slot: int) -> str:
    return datetime.fromtimestamp(slot * SLOT_SECONDS, LOCAL_TIME).strftime("%m-%d %H:%M")


def _kwh(energy_wh: int) -> str:
    """Exactly: 683129 -> 683.129 kWh."""
    sign = "-" if energy_wh < 0 else ""
    return f"{sign}{abs(energy_wh) // 1000:,}.{abs(energy_wh) % 1000:03d} kWh"


def _units(micros: int) -> str:
    """Units of the currency, exactly: -1500000 -> -1.500000."""
    sign = "-" if micros < 0 else ""
    return f"{sign}{abs(micros) // 1_000_000:,}.{abs(micros) % 1_000_000:06d}"
