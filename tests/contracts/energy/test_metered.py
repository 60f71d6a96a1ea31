"""The same calls under the metered runtime and in the in-memory world end in the same state, events and refusals."""

from __future__ import annotations

from collections import Counter

import pytest

from contracts.energy import SOURCES
from contracts.energy.market import MAX_ORDERS_OF_PRODUCT
from contracts.host import ContractError
from contracts.runtime.checker import check
from contracts.runtime.machine import MAX_EVENTS
from contracts.runtime.metered_world import MeteredWorld
from contracts.runtime.world import World
from tests.contracts.energy.network import (
    ALICE,
    BOB,
    ISSUER,
    PEOPLE,
    SLOT,
    Network,
    load_of,
    pv_of,
)
from tests.contracts.energy.walk import check_units, walk_over


@pytest.mark.parametrize("name", SOURCES)
def test_the_checker_accepts_the_contract(name: str) -> None:
    assert check(SOURCES[name])[1] == []


def test_no_book_is_so_long_that_its_gate_could_not_close() -> None:
    """Orders make at most one trade fewer than there are orders, and Cleared comes on top."""
    assert MAX_ORDERS_OF_PRODUCT <= MAX_EVENTS


def a_slot_s_life(network: Network) -> None:
    network.order(ALICE, "buy", 900, 120_000)
    gone = network.order(ALICE, "buy", 100, 110_000)
    network.order(BOB, "sell", 700, 80_000)
    network.act(ALICE, "market", "cancel_order", gone)
    network.clear()
    network.meter((load_of(ALICE), 1_000, 0), (pv_of(BOB), 0, 650))
    network.meter((pv_of(BOB), 0, 640), quality="CORRECTED")
    network.settle(150_000)
    (issued,) = network.act(ISSUER, "certificates", "issue_many", [(pv_of(BOB), SLOT, 640)])
    part = network.act(BOB, "certificates", "transfer", issued, 40, ALICE)
    network.act(ALICE, "certificates", "retire", part, 40, ALICE, "own use", SLOT)
    network.act(BOB, "certificates", "retire_many", [(issued, 600, ALICE, "neighbourly use", SLOT)])
    network.act(ALICE, "payments", "transfer", BOB, 5)


def test_a_slot_s_life_ends_in_the_same_bytes_on_both() -> None:
    plain, metered = Network(world=World()), Network(world=MeteredWorld())
    for network in (plain, metered):
        a_slot_s_life(network)
        assert network.money_residual() == 0
        check_units(network, [SLOT])
    assert metered.world.state == plain.world.state
    assert metered.world.events == plain.world.events
    assert {"Traded", "Corrected", "Settled", "Retired"} <= {event.name for event in plain.world.events}


@pytest.mark.parametrize("seed", range(4))
def test_a_random_walk_ends_in_the_same_bytes_on_both(seed: int) -> None:
    people = PEOPLE[:4]
    plain, metered = Network(people, 300, World()), Network(people, 300, MeteredWorld())
    reached: list[Counter[str]] = [walk_over(network, seed, calls=300) for network in (plain, metered)]
    assert reached[0] == reached[1]
    assert metered.world.state == plain.world.state
    assert metered.world.events == plain.world.events


def test_a_clear_that_runs_out_of_gas_changes_nothing() -> None:
    network = Network(world=MeteredWorld())
    network.order(ALICE, "buy", 900, 120_000)
    network.order(BOB, "sell", 700, 80_000)
    before = dict(network.world.state)
    assert isinstance(network.world, MeteredWorld)
    network.world.gas_limit = 5_000
    with pytest.raises(ContractError, match="OUT_OF_GAS"):
        network.clear()
    assert network.world.state == before
