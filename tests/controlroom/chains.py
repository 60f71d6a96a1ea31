"""Chains without a network: events of the contracts as a node would tell them, block by block."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from controlroom.model import Model
from devnet.plan import Day, listing, set_up, wave
from gridbft.ground import packed_pages, reading_rows
from gridbft.history import Asked
from gridbft.records import BlockEvents, EventRecord, Receipt
from tests.devnet.test_day_in_memory import OPERATORS, Town, day_of

Event = tuple[str, str, Mapping[str, Any]]
START_MS = 1_750_000_000_000


def block(height: int, transactions: Iterable[Iterable[Event]]) -> BlockEvents:
    """A block whose transactions did these events; their ids count on."""
    receipts = tuple(
        Receipt(
            f"{height * 1000 + place:064x}", height, place, True, "", 1,
            (), tuple(EventRecord(*event) for event in events), 0,
        )
        for place, events in enumerate(transactions)
    )  # fmt: skip
    events = tuple(event for receipt in receipts for event in receipt.events)
    return BlockEvents(height, START_MS + height * 1000, f"{height:064x}", receipts, events, len(receipts))


class Played:
    """A part of a day in the in-memory world, and the model that its events make. A step is a block."""

    def __init__(self, name: str, first: int, last: int, packed: bool = False) -> None:
        self.town = Town.new()
        self.day: Day
        self.day, self.book = day_of(name, first, last)
        self.day = replace(self.day, packed=packed)
        self.model = Model()
        self.blocks: list[BlockEvents] = []
        for step in set_up(self.day, self.book):
            self.play(step)
        for step in listing(self.day, self.book):
            self.play(step)
        for number in range(self.day.waves):
            for step in wave(self.day, self.book, number):
                self.play(step)

    def play(self, step: Any) -> None:
        events = self.town.play(step)
        self.book.absorb(events)
        made = block(self.model.height + 1, [events])
        self.blocks.append(made)
        self.model.absorb(made)
        self.read(step, made)

    def read(self, step: Any, made: BlockEvents) -> None:
        """As the feed does it where a block holds readings."""
        if made.height in self.model.pending_readings:
            tx_id, sender = made.receipts[0].tx_id, OPERATORS.get(step.signer, step.signer)
            calls = [Asked(tx_id, sender, contract, function, tuple(args)) for contract, function, args in step.calls]
            self.model.read(made.height, reading_rows(calls, {tx_id: (made.height, 0)}, self.pages(calls)))

    def pages(self, calls: list[Asked]) -> dict[int, list[str]]:
        return {number: self.town.world.view("rosters", "meters_of", number) for number in packed_pages(calls)}
