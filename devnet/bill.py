"""Bills: every line of a participant's day, from the trades and settlements on the chain. The lines add up to the money moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from devnet.book import DayBook


class BillError(ValueError):
    """The lines do not add up to what happened to the account's money."""


@dataclass(frozen=True, slots=True)
class Line:
    """`amount_micros` is what the participant receives; what it pays is negative."""

    slot: int
    what: str
    quantity_wh: int | None
    price_micros_per_kwh: int | None
    amount_micros: int


@dataclass(frozen=True, slots=True)
class Bill:
    account: str
    name: str
    lines: tuple[Line, ...]

    @property
    def total_micros(self) -> int:
        return sum(line.amount_micros for line in self.lines)


def bills(book: DayBook) -> list[Bill]:
    """One for each participant, those who pay most first."""
    lines: dict[str, list[Line]] = {account: [] for account in book.participants}
    for trade in book.trades:
        terms = trade.quantity_wh, trade.price_micros_per_kwh
        how = "" if trade.market == "market" else f", {trade.market}"
        bought = lines.setdefault(trade.buyer, [])
        bought.append(Line(trade.slot, f"bought{how}", *terms, -trade.amount_micros))
        for what, costs_micros in (("grid fee", trade.fee_micros), ("losses", trade.loss_micros)):
            if costs_micros:
                bought.append(Line(trade.slot, what, trade.quantity_wh, None, -costs_micros))
        lines.setdefault(trade.seller, []).append(Line(trade.slot, f"sold{how}", *terms, trade.amount_micros))
    for settlements in book.settled.values():
        for row in settlements.values():
            if row.imbalance_wh != 0:
                what = "imbalance, long" if row.imbalance_wh > 0 else "imbalance, short"
                line = Line(row.slot, what, row.imbalance_wh, row.price_micros_per_kwh, row.amount_micros)
                lines.setdefault(row.account, []).append(line)
    for one in book.postings:
        posted = Line(one.slot, one.what, one.quantity_wh, one.price_micros_per_kwh, one.amount_micros)
        lines.setdefault(one.account, []).append(posted)
    for owed in book.arrears:
        what = "left unpaid" if owed.change_micros > 0 else "paid of arrears"
        lines.setdefault(owed.account, []).append(Line(owed.slot, what, None, None, owed.change_micros))
    made = [
        Bill(
            account, book.participants.get(account, account[:8]), tuple(sorted(of_account, key=lambda line: line.slot))
        )
        for account, of_account in lines.items()
    ]
    return sorted(made, key=lambda bill: (bill.total_micros, bill.account))


def check_bills(made: list[Bill], money_micros: Mapping[str, int], carried_micros: Mapping[str, int]) -> None:
    """`money_micros`: each account's balance and holds now; `carried_micros`: what it had from anything but this day.

    Raises BillError unless every bill is exactly the difference.
    """
    for bill in made:
        change = money_micros[bill.account] - carried_micros.get(bill.account, 0)
        if bill.total_micros != change:
            raise BillError(
                f"the bill of {bill.name} adds up to {bill.total_micros} micros, its money changed by {change}"
            )
