"""Whole days through the contracts in the in-memory world: the plan is right wherever its transactions are executed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from contracts.energy import DEPLOYMENT_ORDER, SOURCES, genesis_calls
from contracts.host import ContractError
from contracts.runtime.world import World
from devnet.bill import bills, check_bills
from devnet.book import DayBook
from devnet.day import DATA, read_files
from devnet.plan import Day, Step, listing, set_up, wave
from devnet.report import differences, totals

OPERATORS = {"operator": "1" * 40, "meter-operator": "2" * 40, "issuer": "3" * 40}


@dataclass
class Town:
    """A world with the energy contracts, and what its chain of events says."""

    world: World

    @classmethod
    def new(cls) -> Town:
        world = World()
        for name in DEPLOYMENT_ORDER:
            world.deploy(name, SOURCES[name])
        for contract, function, args in genesis_calls(*OPERATORS.values()):
            world.as_("genesis").call(contract, function, *args)
        world.height = 1
        return cls(world)

    def play(self, step: Step) -> tuple[tuple[str, str, dict[str, Any]], ...]:
        """Executes a step's calls; returns their events."""
        before = len(self.world.events)
        for contract, function, args in step.calls:
            self.world.as_(OPERATORS.get(step.signer, step.signer)).call(contract, function, *args)
        return tuple(self.world.events[before:])

    def money(self, book: DayBook) -> dict[str, int]:
        accounts = sorted({*book.money_accounts, *book.participants, "neutrality"})
        balances = self.world.view("payments", "balances", accounts)
        holds = self.world.view("payments", "helds", accounts)
        return {account: free + held for account, free, held in zip(accounts, balances, holds, strict=True)}


def day_of(name: str, first: int, last: int, packed: bool = False) -> tuple[Day, DayBook]:
    feeder, data = read_files(DATA, name)
    accounts = {site.bus: f"{int(site.bus) + 0xA000:040x}" for site in feeder.sites}
    day = Day(feeder, data, accounts, "feeder", first, last, packed)
    return day, DayBook("feeder", day.slots, OPERATORS["meter-operator"])


def steps_of(day: Day, book: DayBook) -> list[list[Step]]:
    """What is left to do, wave by wave, if nothing more happened meanwhile."""
    return [set_up(day, book), listing(day, book), *(wave(day, book, number) for number in range(day.waves))]


def play_day(town: Town, day: Day, book: DayBook) -> None:
    for step in set_up(day, book):
        book.absorb(town.play(step))
    for step in listing(day, book):
        book.absorb(town.play(step))
    for number in range(day.waves):
        for step in wave(day, book, number):
            book.absorb(town.play(step))


@pytest.mark.parametrize(("name", "first", "last"), [("2016-06-10", 0, 96), ("2016-01-15", 30, 60)])
def test_a_day_ends_with_the_meters_sums_every_certificate_and_all_its_money(name: str, first: int, last: int) -> None:
    town = Town.new()
    day, book = day_of(name, first, last)
    play_day(town, day, book)
    found = totals(book)
    assert differences(found, day.data, first, last) == []
    assert found.traded_wh == sum(trade.quantity_wh for trade in book.trades) > 0
    assert list(town.world.view("certificates", "totals")) == [found.issued_wh, found.retired_wh]
    money = town.money(book)
    minted, burned = town.world.view("payments", "supply")
    assert sum(money.values()) == minted - burned
    check_bills(bills(book), money, book.carried)


@pytest.mark.parametrize("packed", [False, True])
def test_a_finished_day_leaves_nothing_to_do(packed: bool) -> None:
    town = Town.new()
    day, book = day_of("2016-06-10", 44, 48, packed)
    play_day(town, day, book)
    assert steps_of(day, book) == [[]] * (day.waves + 2)


def test_a_day_of_packed_readings_ends_in_the_bills_and_certificates_of_a_day_of_single_ones() -> None:
    ends = []
    for packed in (False, True):
        town = Town.new()
        day, book = day_of("2016-06-10", 40, 56, packed)
        play_day(town, day, book)
        assert differences(totals(book), day.data, 40, 56) == []
        kept = {key: raw for key, raw in town.world.state.items() if not key.startswith((b"metering/", b"rosters/"))}
        ends.append((bills(book), town.money(book), totals(book), kept))
    assert ends[0] == ends[1]


def test_a_packed_day_goes_on_after_one_of_single_readings_and_uses_one_roster() -> None:
    town = Town.new()
    for first, packed in ((44, False), (46, True), (48, True)):
        day, book = day_of("2016-06-10", first, first + 2, packed)
        if town.world.events:
            replay(town, book)
        play_day(town, day, book)
        check_bills(bills(book), town.money(book), book.carried)
    assert sum(event.name == "RosterOpened" for event in town.world.events) == 1


def test_an_interrupted_day_goes_on_where_it_stopped() -> None:
    town = Town.new()
    day, book = day_of("2016-06-10", 44, 50)
    for step in set_up(day, book):
        book.absorb(town.play(step))
    for number in range(4):
        for place, step in enumerate(wave(day, book, number)):
            if number == 3 and place % 2:
                continue  # the player died after every second transaction of this wave was sent
            book.absorb(town.play(step))
    play_day(town, day, book)
    found = totals(book)
    assert differences(found, day.data, 44, 50) == []
    check_bills(bills(book), town.money(book), book.carried)


def test_bills_of_a_second_day_hold_nothing_of_the_first() -> None:
    town = Town.new()
    first_day, first_book = day_of("2016-06-10", 44, 48)
    second_day, second_book = day_of("2016-06-10", 48, 52)
    play_day(town, first_day, first_book)
    replay(town, second_book)
    play_day(town, second_day, second_book)
    made = bills(second_book)
    assert {line.slot for bill in made for line in bill.lines} <= set(second_day.slots)
    check_bills(made, town.money(second_book), second_book.carried)


def replay(town: Town, book: DayBook) -> None:
    """What a player does first: it reads the chain from its beginning. One transaction for each settlement is enough."""
    start = 0
    events = town.world.events
    for place, event in enumerate(events):
        if event.name in ("SlotSettled", "Cleared") or place == len(events) - 1:
            book.absorb(tuple(events[start : place + 1]))
            start = place + 1


def test_an_order_is_forecast_from_settled_slots_only() -> None:
    """The readings of slots that are not settled yet may be anything: the orders are the same."""
    town = Town.new()
    day, book = day_of("2016-06-10", 44, 50)
    for step in set_up(day, book):
        book.absorb(town.play(step))
    for number in range(5):
        for step in wave(day, book, number):
            book.absorb(town.play(step))
    settled = max(book.settled) - day.data.first_slot
    energy = day.data.energy_wh
    blank = tuple(row if slot <= settled else (0,) * len(row) for slot, row in enumerate(energy))
    other = Day(day.feeder, type(day.data)(day.data.day, day.data.meters, blank), day.accounts, day.zone, 44, 50)
    orders = [step for step in wave(day, book, 5) if step.calls[0][1] == "place_order"]
    assert orders == [step for step in wave(other, book, 5) if step.calls[0][1] == "place_order"]
    assert len(orders) > 50


def test_a_plan_cannot_settle_a_slot_twice() -> None:
    town = Town.new()
    day, book = day_of("2016-06-10", 44, 46)
    play_day(town, day, book)
    stale = DayBook("feeder", day.slots, OPERATORS["meter-operator"])
    stale.participants, stale.meters, stale.funded = book.participants, book.meters, book.funded
    with pytest.raises(ContractError):
        play_day(town, day, stale)
