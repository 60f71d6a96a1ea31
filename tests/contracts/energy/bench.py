"""How long the contracts take under the metered runtime: `python -m tests.contracts.energy.bench`.

Clears a product of 10,000 orders of 2,000 participants, and settles a slot of 10,000 participants in 20 balance groups:
once where everybody can pay, and once where nobody can, the most that its last call can have to do.
"""

from __future__ import annotations

import argparse
import time
from random import Random

from contracts.energy import DEPLOYMENT_ORDER, SOURCES, genesis_calls
from contracts.runtime.metered_world import MeteredWorld
from tests.contracts.energy.network import ISSUER, METER_OPERATOR, OPERATOR, ZONE

SLOT = 7
GROUPS = 20


def new_world() -> MeteredWorld:
    world = MeteredWorld(gas_limit=10**10)
    for name in DEPLOYMENT_ORDER:
        world.deploy(name, SOURCES[name])
    for contract, function, args in genesis_calls(OPERATOR, METER_OPERATOR, ISSUER):
        world.as_("genesis").call(contract, function, *args)
    world.height = 1
    return world


def timed(world: MeteredWorld, contract: str, function: str, *args: object) -> tuple[object, float]:
    """The call's result and its seconds of processor time."""
    started = time.process_time()
    result = world.as_(OPERATOR).call(contract, function, *args)
    return result, time.process_time() - started


def clearing(orders: int, people: int) -> None:
    world, rng = new_world(), Random(1)
    accounts = [f"{number + 0x10000:040x}" for number in range(people)]
    for account in accounts:
        world.as_(OPERATOR).call("registry", "register_participant", account, "n", "")
        world.as_(OPERATOR).call("payments", "mint", account, 10**12, "deposit")
    for _ in range(orders):
        place = rng.randrange(people)
        side, lowest = ("buy", 80_000) if place % 2 else ("sell", 60_000)
        limit = rng.randint(lowest, lowest + 60_000)
        world.as_(accounts[place]).call("market", "place_order", ZONE, SLOT, side, rng.randint(1, 5_000), limit)
    _, seconds = timed(world, "market", "clear", ZONE, SLOT)
    gas = world.gas_used
    trades = world.view("market", "product", ZONE, SLOT).trade_count
    print(f"clear: {orders:,} orders, {trades:,} trades, {seconds:.3f} s, {gas:,} gas")


def settlement(people: int, deposit_micros: int) -> None:
    world = new_world()
    operator = world.as_(OPERATOR)
    groups = [f"{number:040x}" for number in range(0x1000, 0x1000 + GROUPS)]
    for account in groups:
        operator.call("registry", "grant", account, "BRP")
        operator.call("registry", "register_participant", account, "brp", "")
    others = people - GROUPS
    for number in range(others):
        account = f"{number + 0x10000:040x}"
        operator.call("registry", "register_participant", account, "n", groups[number % GROUPS] if number % 2 else "")
        operator.call("registry", "register_meter", f"L{number}", account, "household", "b", 10_000)
        if deposit_micros > 0:
            operator.call("payments", "mint", account, deposit_micros, "deposit")
    for start in range(0, others, 5_000):
        rows = [(f"L{one}", SLOT, one % 977, 0, "DIRECT") for one in range(start, min(start + 5_000, others))]
        world.as_(METER_OPERATOR).call("metering", "submit", rows)
    operator.call("imbalance", "post_price", SLOT, 100_003)
    calls, total, longest, gas, seconds, debtors = 0, 0.0, 0.0, 0, 0.0, 0
    done: object = False
    while not done:
        done, seconds = timed(world, "imbalance", "settle", SLOT)
        debtors = sum(event.name == "ArrearsChanged" for event in world.events)
        calls, total, longest, gas = calls + 1, total + seconds, max(longest, seconds), gas + world.gas_used
    print(f"settle: {people:,} participants, {calls} calls, {total:.3f} s, longest {longest:.3f} s, {gas:,} gas")
    print(f"  the last call, which moves all the money: {seconds:.3f} s, {world.gas_used:,} gas, {debtors:,} debtors")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=10_000)
    parser.add_argument("--people", type=int, default=10_000)
    options = parser.parse_args()
    clearing(options.orders, options.orders // 5)
    settlement(options.people, 10**12)
    settlement(options.people, 0)


if __name__ == "__main__":
    main()
