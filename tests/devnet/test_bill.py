"""Bills add up to the money that moved, to the last micro, or are refused."""

from __future__ import annotations

from collections import Counter
from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devnet.bill import BillError, bills, check_bills
from devnet.book import DayBook
from tests.contracts.energy.network import METER_OPERATOR, STRANGER
from tests.contracts.energy.walk import TRADERS
from tests.gridbft.walked import Walked, known_walk, walked

SLOT = 1_000
NAMES = ("ann", "bob", "cem")
AMOUNTS = st.integers(0, 10**9)


def book_of(trades: list[tuple[int, int, int]], settlements: dict[tuple[int, int], int]) -> DayBook:
    """Trades are (buyer, seller, amount), settlements {(slot after SLOT, account): amount}; people by place in NAMES."""
    book = DayBook("zone", range(SLOT, SLOT + 4), "meters")
    for name in NAMES:
        registered = {"account": name, "participant_name": name, "brp": name, "number": 0}
        book.absorb((("registry", "ParticipantRegistered", registered),))
        book.absorb((("payments", "Minted", {"to": name, "amount_micros": 10**12, "reference": "", "by": "op"}),))
    for buyer, seller, amount in trades:
        fields = {
            "zone": "zone",
            "slot": SLOT,
            "buyer": NAMES[buyer],
            "seller": NAMES[seller],
            "quantity_wh": 1,
            "price_micros_per_kwh": 1,
            "amount_micros": amount,
        }
        book.absorb((("market", "Traded", fields),))
    for (place, account), amount in settlements.items():
        fields = {
            "slot": SLOT + place,  # some of them beyond the day
            "account": NAMES[account],
            "import_wh": 0,
            "export_wh": 1,
            "imbalance_wh": 1,
            "price_micros_per_kwh": 1,
            "amount_micros": amount,
        }
        book.absorb((("imbalance", "Settled", fields), ("imbalance", "SlotSettled", {"slot": SLOT + place})))
    return book


PLACES = st.integers(0, 2)


@given(
    st.lists(st.tuples(PLACES, PLACES, AMOUNTS).filter(lambda trade: trade[0] != trade[1]), max_size=8),
    st.dictionaries(st.tuples(st.integers(0, 7), PLACES), st.integers(-(10**9), 10**9), max_size=12),
)
def test_bills_are_the_change_of_the_balance(
    trades: list[tuple[int, int, int]], settlements: dict[tuple[int, int], int]
) -> None:
    book = book_of(trades, settlements)
    money = dict.fromkeys(NAMES, 10**12)
    for buyer, seller, amount in trades:
        money[NAMES[buyer]] -= amount
        money[NAMES[seller]] += amount
    for (_, account), amount in settlements.items():
        money[NAMES[account]] += amount
    made = bills(book)
    check_bills(made, money, book.carried)
    assert [bill.total_micros for bill in made] == sorted(bill.total_micros for bill in made)
    with pytest.raises(BillError, match="adds up to"):
        check_bills(made, money | {"ann": money["ann"] + 1}, book.carried)


def test_what_a_debtor_left_unpaid_is_a_line_of_its_bill() -> None:
    book = book_of([], {(0, 0): -500})
    owed = {"account": "ann", "change_micros": 200, "arrears_micros": 200}
    book.absorb((("imbalance", "ArrearsChanged", owed), ("imbalance", "SlotSettled", {"slot": SLOT})))
    bill = next(bill for bill in bills(book) if bill.account == "ann")
    assert [line.amount_micros for line in bill.lines] == [-500, 200]
    check_bills([bill], {"ann": 10**12 - 300}, book.carried)


def book_of_walk(network: Walked, slots: range) -> DayBook:
    book = DayBook("a", slots, METER_OPERATOR)
    for _, made in groupby(network.told, key=lambda event: event.height):
        book.absorb(tuple((event.contract, event.name, event.fields) for event in made))
    return book


@given(st.integers(0, 2**32 - 1), st.sampled_from([range(4), range(1, 3), range(3, 9)]))
@settings(max_examples=10, deadline=None)
def test_bills_of_any_day_of_a_walk_over_all_contracts_are_the_change_of_the_balance(seed: int, slots: range) -> None:
    network = walked(seed, calls=400)
    book = book_of_walk(network, slots)
    made = bills(book)
    check_bills(made, {account: network.money(account) for account in (*TRADERS, STRANGER)}, book.carried)
    assert {bill.account for bill in made} == set(TRADERS)
    assert {line.slot for bill in made for line in bill.lines} <= set(slots)


def test_bills_of_walks_have_lines_of_every_contract() -> None:
    lines: Counter[str] = Counter()
    for seed in range(16):
        lines.update(line.what for bill in bills(book_of_walk(known_walk(seed), range(4))) for line in bill.lines)
    wanted = {
        "bought",
        "bought, continuous",
        "bought, bilateral",
        "bought, resort",
        "sold, resort",
        "grid fee",
        "losses",
    }
    wanted |= {"flexibility", "certificates bought", "certificates sold", "imbalance, long", "imbalance, short"}
    assert wanted | {"re-settlement 1", "left unpaid"} <= set(lines)
