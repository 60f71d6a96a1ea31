"""A small network of the six contracts in the in-memory world, as the energy tests use it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest

from contracts.energy import DEPLOYMENT_ORDER, MONEY_MOVERS, SOURCES, genesis_calls
from contracts.host import ContractError
from contracts.runtime.world import World

OPERATOR = "0" * 39 + "1"
METER_OPERATOR = "0" * 39 + "2"
ISSUER = "0" * 39 + "3"
STRANGER = "f" * 40
PEOPLE = tuple(f"{number:040x}" for number in range(0xA0, 0xA6))
ALICE, BOB, CAROL, DAVE, ERIN, FRANK = PEOPLE

ZONE = "feeder-1"
SLOT = 1_627_000
DEPOSIT_MICROS = 50_000_000


@contextmanager
def refused(code: str) -> Iterator[None]:
    """The call inside is refused with exactly this code."""
    with pytest.raises(ContractError) as refusal:
        yield
    assert refusal.value.code == code


class Network:
    """The contracts deployed and set up; `people` are participants with one load, one PV meter and a deposit each."""

    def __init__(
        self, people: tuple[str, ...] = PEOPLE, deposit_micros: int = DEPOSIT_MICROS, world: World | None = None
    ) -> None:
        self.people = people
        if world is None:
            self.world = copy_of(prepared(people, deposit_micros))
        else:
            set_up(world, people, deposit_micros)
            self.world = world

    def act(self, sender: str, contract: str, function: str, *args: Any) -> Any:
        return self.world.as_(sender).call(contract, function, *args)

    def see(self, contract: str, function: str, *args: Any) -> Any:
        return self.world.view(contract, function, *args)

    def events(self, name: str) -> list[dict[str, Any]]:
        """The fields of all events of this name, in order."""
        return [event.fields for event in self.world.events if event.name == name]

    def order(self, account: str, side: str, quantity_wh: int, limit: int, slot: int = SLOT, zone: str = ZONE) -> int:
        order_id = self.act(account, "market", "place_order", zone, slot, side, quantity_wh, limit)
        assert isinstance(order_id, int)
        return order_id

    def clear(self, slot: int = SLOT, zone: str = ZONE) -> None:
        self.act(OPERATOR, "market", "clear", zone, slot)

    def meter(self, *rows: tuple[str, int, int], slot: int = SLOT, quality: str = "DIRECT") -> None:
        """Submits (meter, import_wh, export_wh) for one slot."""
        batch = [(meter, slot, import_wh, export_wh, quality) for meter, import_wh, export_wh in rows]
        self.act(METER_OPERATOR, "metering", "submit", batch)

    def settle(self, price: int, slot: int = SLOT) -> None:
        self.act(OPERATOR, "imbalance", "post_price", slot, price)
        self.act(OPERATOR, "imbalance", "settle", slot)

    def balance(self, account: str) -> int:
        found = self.see("payments", "balance", account)
        assert isinstance(found, int)
        return found

    def money_residual(self) -> int:
        """All balances and holds less what was minted and not burned; 0 when money is conserved."""
        officials = [OPERATOR, METER_OPERATOR, ISSUER, STRANGER]
        accounts = [*self.people, *officials, *MONEY_MOVERS, "neutrality", "grid"]
        minted, burned = self.see("payments", "supply")
        there = sum(self.see("payments", "balances", accounts)) + sum(self.see("payments", "helds", accounts))
        return int(there - minted + burned)


def set_up(world: World, people: tuple[str, ...], deposit_micros: int) -> None:
    for name in DEPLOYMENT_ORDER:
        world.deploy(name, SOURCES[name])
    for contract, function, args in genesis_calls(OPERATOR, METER_OPERATOR, ISSUER):
        world.as_("genesis").call(contract, function, *args)
    world.height = 1
    operator = world.as_(OPERATOR)
    for number, account in enumerate(people):
        operator.call("registry", "register_participant", account, f"house {number}", "")
        operator.call("registry", "register_meter", load_of(account), account, "household", str(number), 11_000)
        operator.call("registry", "register_meter", pv_of(account), account, "pv", str(number), 20_000)
        if deposit_micros > 0:
            operator.call("payments", "mint", account, deposit_micros, "deposit")


@cache
def prepared(people: tuple[str, ...], deposit_micros: int) -> World:
    """Set up once: hundreds of examples start from it."""
    world = World()
    set_up(world, people, deposit_micros)
    return world


def copy_of(world: World) -> World:
    twin = World()
    twin.contracts = dict(world.contracts)
    twin.state = dict(world.state)
    twin.events = list(world.events)
    twin.height, twin.time_ms = world.height, world.time_ms
    return twin


def load_of(account: str) -> str:
    return "L-" + account[-4:]


def pv_of(account: str) -> str:
    return "G-" + account[-4:]
