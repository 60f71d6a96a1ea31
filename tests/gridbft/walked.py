"""A random walk over all energy contracts, told as a node would tell it: one transaction a block."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from contracts.energy.imbalance import Terms
from contracts.energy.metering import NO_READING
from contracts.energy.rosters import page_number
from contracts.host import column_values
from gridbft.ground import Ground, Row
from gridbft.history import Happened
from gridbft.money import TRADES
from tests.contracts.energy.network import Network
from tests.contracts.energy.walk import SLOTS, TRADERS, walk_over


class Walked(Network):
    """A network that remembers which call made which events, and the readings that were handed in."""

    def __init__(self) -> None:
        super().__init__(people=TRADERS, deposit_micros=300)
        self.told = [self._told(height, 0, event) for height, event in enumerate(self.world.events, 1)]
        self.rows: list[Row] = []

    def act(self, sender: str, contract: str, function: str, *args: Any) -> Any:
        before = len(self.world.events)
        result = super().act(sender, contract, function, *args)
        height = self.told[-1].height + 1 if self.told else 1
        made = self.world.events[before:]
        self.told += [self._told(height, number, event) for number, event in enumerate(made)]
        if (contract, function) == ("metering", "submit"):
            for meter, slot, import_wh, export_wh, quality in args[0]:
                reading = meter, slot, import_wh, export_wh, quality
                self.rows.append(Row(*reading, f"{height:064x}", sender, (height, 0)))
        if (contract, function) == ("metering", "submit_packed"):
            self.rows += [Row(*one, f"{height:064x}", sender, (height, 0)) for one in self._unpacked(*args)]
        return result

    def _unpacked(
        self, roster: int, slot: int, first_page: int, imports: list[bytes], exports: list[bytes]
    ) -> Iterator[tuple[str, int, int, int, str]]:
        for page, columns in enumerate(zip(imports, exports, strict=True), first_page):
            members = self.see("rosters", "meters_of", page_number(roster, page))
            for meter, import_wh, export_wh in zip(members, *map(column_values, columns), strict=True):
                if import_wh != NO_READING:
                    yield meter, slot, import_wh, export_wh, "DIRECT"

    def _told(self, height: int, number: int, event: Any) -> Happened:
        return Happened(
            height, self.world.time_ms, f"{height:064x}", 0, number, event.contract, event.name, event.fields
        )

    def ground(self, account: str, first_height: int = 1) -> Ground:
        """What `explain` would read of the account, the events before `first_height` pruned."""
        ground = Ground(account, [e for e in self.told if e.height >= first_height], first_height=first_height)
        meters = set(self.see("registry", "meters_of", account))
        for row in self.rows:
            if row.meter in meters and row.place[0] >= first_height:
                ground.readings.setdefault((row.meter, row.slot), []).append(row)
        for slot in SLOTS:
            terms = self.see("imbalance", "terms", slot)
            if terms is not None:
                ground.terms[slot] = Terms(*terms)
        for e in ground.events:
            if e.name in TRADES:
                key = e.fields["zone"], e.fields["slot"]
                ground.tariffs[key] = list(self.see("market", "product_fees_of", *key))
        return ground

    def money(self, account: str) -> int:
        return int(self.see("payments", "balance", account) + self.see("payments", "held", account))


@cache
def known_walk(seed: int) -> Walked:
    """The walk of a fixed seed, made once for all tests that only read it."""
    return walked(seed, 400)


def walked(seed: int, calls: int) -> Walked:
    network = Walked()
    walk_over(network, seed, calls)
    return network
