"""A day of the feeder on a real ledger: signed transactions, blocks, certificates, and the market's rules changed on the way.

`python -m tests.contracts.runtime.town FILE [--slots 0:96]` writes the day's blocks for `python -m devnet.replay --blocks FILE`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from chain.genesis import ChainParams, Genesis, GenesisCall, build_genesis, dump_genesis
from chain.receipt import decode_receipt
from chain.tx import Tx
from contracts.energy import DEPLOYMENT_ORDER, SOURCES, genesis_calls
from contracts.runtime.codec import decode, encode
from devnet.book import DayBook
from devnet.day import DATA, read_files
from devnet.feeder import DayData, Feeder
from devnet.plan import Day, Step, set_up, wave
from devnet.replay import stored_blocks, write_blocks
from tests.chain.network import VALIDATORS, Chain, call, member
from tests.chain.txs import address_of

OPERATORS = ("operator", "meter-operator", "issuer")
NOON = 48
SLOT_MS = 900_000
TXS_IN_A_BLOCK = 100

# What the market becomes at noon: it counts its editions, and its price is that of the dearest ask that sells.
OLD_RULE, NEW_RULE = "return ((lowest + highest) // 2, trades)", "return (marginal_ask, trades)"
NEW_PARTS = '''
edition: Value[int] = Value("edition", 1)


@export
def migrate(old_version: int) -> None:
    """Runs once, in the upgrade."""
    edition.set(old_version + 1)
    emit("Migrated", old_version=old_version)


@view
def current_edition() -> int:
    return edition.get()
'''


def noon_market() -> str:
    """The market's source for the afternoon."""
    source = SOURCES["market"].decode()
    assert source.count(OLD_RULE) == 1
    return source.replace(OLD_RULE, NEW_RULE) + NEW_PARTS


def town_genesis(day: Day) -> Genesis:
    """It begins a day ahead of the first slot; one account has every role."""
    operator = address_of("operator")
    return build_genesis(
        "town",
        (day.slots.start - NOON * 2) * SLOT_MS,
        "EUR",
        tuple(member(name) for name in VALIDATORS),
        ChainParams(max_block_gas=10**11),
        tuple((name, SOURCES[name].decode()) for name in DEPLOYMENT_ORDER),
        tuple(GenesisCall(*call) for call in genesis_calls(operator, operator, operator)),
    )


def some_houses(feeder: Feeder, data: DayData, share: int) -> tuple[Feeder, DayData]:
    """One house of `share`, with its meters."""
    buses = {site.bus for site in feeder.sites[::share]}
    columns = [place for place, meter in enumerate(data.meters) if meter.bus in buses]
    return Feeder(tuple(meter for meter in feeder.meters if meter.bus in buses)), DayData(
        data.day,
        tuple(data.meters[place] for place in columns),
        tuple(tuple(row[place] for place in columns) for row in data.energy_wh),
    )


@dataclass
class ChainTown:
    """Executes steps of a plan as blocks of a ledger."""

    day: Day
    chain: Chain
    book: DayBook
    names: dict[str, str] = field(default_factory=dict)

    @classmethod
    def new(cls, first: int, last: int, share: int = 4) -> ChainTown:
        """The slots from `first` to before `last`, with one of `share` houses."""
        feeder, data = some_houses(*read_files(DATA, "2016-06-10"), share)
        accounts = {site.bus: address_of(f"house {site.bus}") for site in feeder.sites}
        names = {address_of(f"house {site.bus}"): f"house {site.bus}" for site in feeder.sites}
        day = Day(feeder, data, accounts, "feeder", first, last)
        chain = Chain(town_genesis(day))
        return cls(day, chain, DayBook("feeder", day.slots, address_of("operator")), names)

    def tx(self, step: Step) -> Tx:
        signer = "operator" if step.signer in OPERATORS else self.names[step.signer]
        return self.chain.tx(signer, *(call(contract, function, *args) for contract, function, args in step.calls))

    def play(self, steps: Iterable[Step]) -> None:
        """Every transaction works, or this says which did not."""
        waiting = iter([self.tx(step) for step in steps])
        while txs := list(islice(waiting, TXS_IN_A_BLOCK)):
            found = self.chain.grow(*txs)
            assert all(ok for ok, _ in found), found
            for raw in self.chain.ledger.store.receipts(self.chain.ledger.head.height) or []:
                events = decode_receipt(raw).events
                self.book.absorb(tuple((e.contract, e.name, decode(e.fields)) for e in events))

    def play_day(self, upgrade: bool = True) -> None:
        """All waves; the market is upgraded before the wave of noon."""
        self.play(set_up(self.day, self.book))
        for number in range(self.day.waves):
            if upgrade and self.day.first + number == NOON:
                self.upgrade_market()
            self.play(wave(self.day, self.book, number))

    def upgrade_market(self) -> None:
        """One validator proposes, two more agree; the code changes at the end of that block."""
        assert self.chain.grow(
            self.chain.tx("v0", call("governance", "propose_upgrade", "market", noon_market(), 0))
        ) == [(True, "")]
        votes = [self.chain.tx(name, call("governance", "vote", 1, True)) for name in ("v1", "v2")]
        assert self.chain.grow(*votes) == [(True, "")] * 2

    def view(self, contract: str, function: str, *args: Any) -> Any:
        outcome, _ = self.chain.ledger.query(contract, function, encode(args), "", 1_000_000_000)
        assert outcome.ok, outcome.code
        return decode(outcome.result)

    def write_blocks(self, file: Path) -> int:
        """The genesis and all blocks, for a replay elsewhere."""
        return write_blocks(file, dump_genesis(self.chain.genesis), stored_blocks(self.chain.kv))


def main() -> None:
    parser = argparse.ArgumentParser(description="Play a day on a ledger in memory and write its blocks.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--slots", default="0:96", metavar="FIRST:LAST")
    options = parser.parse_args()
    first, last = (int(word) for word in options.slots.split(":"))
    town = ChainTown.new(first, last, share=1)
    town.play_day()
    head = town.chain.ledger.head
    print(f"{town.write_blocks(options.file)} blocks, state root {head.state_root.hex()}")


if __name__ == "__main__":
    main()
