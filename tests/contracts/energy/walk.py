"""Random calls by random senders, and what must hold after every one of them.

A walk is replayed by its seed. `python -m tests.contracts.energy.walk --calls 200000` runs many and prints what it reached.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable
from random import Random
from typing import Any

from contracts.host import ContractError
from tests.contracts.energy.network import (
    ISSUER,
    METER_OPERATOR,
    OPERATOR,
    PEOPLE,
    STRANGER,
    Network,
    load_of,
    pv_of,
)

TRADERS = PEOPLE[:4]
SLOTS = range(4)
ZONES = ("a", "b")
EVERYBODY = (*TRADERS, OPERATOR, METER_OPERATOR, ISSUER, STRANGER)
ACCOUNTS = (*TRADERS, STRANGER, "neutrality")
PROJECTS = ("forest", "stove")
METERS = (*map(load_of, TRADERS), *map(pv_of, TRADERS))

# The account that may call a function; now and then somebody else tries.
RIGHTFUL = {
    **dict.fromkeys(["mint", "burn", "set_credit_limit", "clear", "post_price", "settle", "close_slot"], OPERATOR),
    **dict.fromkeys(["submit"], METER_OPERATOR),
    **dict.fromkeys(["issue"], ISSUER),
}
# How often each function is called, out of the sum: orders are common, settlements rare, or no book would ever cross.
WEIGHTS = {
    ("market", "place_order"): 40,
    ("market", "cancel_order"): 5,
    ("market", "clear"): 8,
    ("payments", "transfer"): 6,
    ("payments", "mint"): 5,
    ("payments", "burn"): 3,
    ("payments", "set_credit_limit"): 2,
    ("payments", "charge"): 1,
    ("payments", "hold"): 1,
    ("metering", "submit"): 12,
    ("metering", "close_slot"): 2,
    ("imbalance", "post_price"): 6,
    ("imbalance", "settle"): 8,
    ("imbalance", "pay_arrears"): 4,
    ("certificates", "issue"): 14,
    ("certificates", "transfer"): 14,
    ("certificates", "retire"): 12,
    ("certificates", "retire_many"): 4,
}


def slot_for(rng: Random, function: str, now: int) -> int:
    """A slot in the stage of its life where the function has something to do, mostly."""
    if rng.random() < 0.1:
        return rng.choice(SLOTS)
    if function == "issue":
        return max(0, now - rng.randint(1, 3))
    if function in ("place_order", "submit"):
        return now
    return max(0, now - 1)


def arguments(rng: Random, function: str, now: int) -> tuple[Any, ...]:
    """Arguments that often fit and often do not: amounts around what accounts have, ids around those that exist."""
    slot, zone, account = slot_for(rng, function, now), rng.choice(ZONES), rng.choice(ACCOUNTS)
    amount_micros = rng.randint(-1, 300)
    match function:
        case "place_order":
            return zone, slot, rng.choice(["buy", "sell"]), rng.randint(0, 3_000), rng.randint(0, 120)
        case "cancel_order":
            return (rng.randint(1, 2 * now + 2) * 1_000_000 + rng.randint(0, 5),)
        case "clear":
            return zone, slot
        case "transfer":
            return account, amount_micros
        case "mint" | "burn":
            return account, amount_micros, "reference"
        case "set_credit_limit":
            return account, rng.randint(0, 200)
        case "charge":
            return [(account, amount_micros)], "neutrality"
        case "hold":
            return account, amount_micros
        case "submit":
            return ([reading(rng, slot) for _ in range(rng.randint(1, 3))],)
        case "post_price":
            return slot, rng.randint(-200, 200)
        case "issue":
            return rng.choice(METERS[3:]), slot, rng.randint(0, 250)
        case "pay_arrears":
            return (amount_micros,)
        case _:
            return (slot,)


def reading(rng: Random, slot: int) -> tuple[str, int, int, int, str]:
    meter = rng.choice(METERS)
    energy_wh = rng.randint(0, 5_000)
    quality = rng.choice(["DIRECT", "DIRECT", "ESTIMATED", "CORRECTED"])
    return (meter, slot, energy_wh, 0, quality) if meter[0] == "L" else (meter, slot, 0, energy_wh, quality)


Call = tuple[str, str, str, tuple[Any, ...]]  # sender, contract, function, arguments


def random_call(rng: Random, network: Network, now: int) -> Call:
    contract, function = rng.choices(list(WEIGHTS), weights=list(WEIGHTS.values()))[0]
    sender = rng.choice(TRADERS)
    if function in RIGHTFUL:
        sender = RIGHTFUL[function]
    if rng.random() < 0.1:
        sender = rng.choice(EVERYBODY)
    if contract == "certificates" and function != "issue":
        return certificate_call(rng, network, sender, function)
    return sender, contract, function, arguments(rng, function, now)


def certificate_call(rng: Random, network: Network, sender: str, function: str) -> Call:
    """Moves or retires a certificate, mostly one that there is, mostly by its owner."""
    certificate_id, slot = rng.randint(1, network.see("certificates", "certificate_count") + 1), rng.choice(SLOTS)
    record = network.see("certificates", "certificate", certificate_id)
    if record is not None and rng.random() < 0.8:
        slot, sender = record[3], record[6]
    quantity_wh = rng.randint(0, 250)
    if function == "transfer":
        return sender, "certificates", function, (certificate_id, quantity_wh, rng.choice(ACCOUNTS))
    row = (certificate_id, quantity_wh, rng.choice(TRADERS), "purpose", slot)
    return sender, "certificates", function, row if function == "retire" else ([row, row],)


def walk(seed: int, calls: int) -> Counter[str]:
    """`walk_over` a new network in the in-memory world."""
    return walk_over(Network(people=TRADERS, deposit_micros=300), seed, calls)


def walk_over(network: Network, seed: int, calls: int) -> Counter[str]:
    """Makes the calls of a seed and checks after each; returns how often each event and each refusal happened."""
    rng = Random(seed)
    network.act(OPERATOR, "payments", "set_credit_limit", "neutrality", 5_000)
    reached: Counter[str] = Counter()
    for number in range(calls):
        sender, contract, function, args = random_call(rng, network, number * len(SLOTS) // calls)
        before = len(network.world.events)
        try:
            network.act(sender, contract, function, *args)
        except ContractError as refusal:
            reached[f"{function} refused: {refusal.code}"] += 1
            assert len(network.world.events) == before
            continue
        reached.update(f"{event.contract}.{event.name}" for event in network.world.events[before:])
        check_money(network)
    for slot in SLOTS:
        check_slot(network, slot)
    check_units(network, SLOTS)
    return reached


def check_money(network: Network) -> None:
    assert network.money_residual() == 0
    for account in (*TRADERS, STRANGER, "neutrality"):
        assert network.balance(account) >= -network.see("payments", "credit_limit", account)
        assert network.see("payments", "held", account) >= 0
    owed = sum(event["arrears_micros"] for event in last_by_account(network))
    assert owed == sum(network.see("imbalance", "arrears", account) for account in TRADERS)


def last_by_account(network: Network) -> list[dict[str, Any]]:
    return list({event["account"]: event for event in network.events("ArrearsChanged")}.values())


def check_slot(network: Network, slot: int) -> None:
    positions = network.see("market", "positions", list(TRADERS), slot)
    assert sum(bought for bought, _ in positions) == sum(sold for _, sold in positions)
    cleared = [event["quantity_wh"] for event in network.events("Cleared") if event["slot"] == slot]
    assert sum(cleared) == sum(bought for bought, _ in positions)
    for zone in ZONES:
        check_orders(network, zone, slot)
    held = sum(network.see("payments", "helds", list(TRADERS)))
    standing = [
        row[1]
        for one in SLOTS
        for zone in ZONES
        for row in network.see("market", "orders_of_product", zone, one, 0, 99)
    ]
    assert held == sum(row[2] * row[3] // 1000 for row in standing if row[6] == "OPEN" and row[1] == "buy")
    totals = network.see("imbalance", "slot_totals", slot)
    if totals is not None:
        amounts = [network.see("imbalance", "settlement", account, slot)[6] for account in TRADERS]
        assert sum(amounts) + totals[5] == 0


def check_orders(network: Network, zone: str, slot: int) -> None:
    trades = [event for event in network.events("Traded") if (event["zone"], event["slot"]) == (zone, slot)]
    for order_id, row in network.see("market", "orders_of_product", zone, slot, 0, 99):
        account, side, quantity, limit, filled = row[:5]
        mine = [one for one in trades if order_id in (one["buy_order"], one["sell_order"])]
        assert sum(one["quantity_wh"] for one in mine) == filled <= quantity
        for one in mine:
            assert one["buyer" if side == "buy" else "seller"] == account
            assert one["buyer"] != one["seller"]
            price = one["price_micros_per_kwh"]
            assert price <= limit if side == "buy" else price >= limit
            assert one["amount_micros"] == price * one["quantity_wh"] // 1000


def check_units(network: Network, slots: Iterable[int]) -> None:
    """Every issued unit of every device is in exactly one live certificate, retirement or ending, and nothing else is."""
    live = [record for _, record in network.see("certificates", "certificates", 1, 1_000)]
    retired = records(network, "retirement")
    ended = records(network, "ending")
    for device in (*map(pv_of, network.people), *(f"carbon/{one}" for one in PROJECTS)):
        ranges = [range(record[4], record[5]) for record in live if record[0] == device]
        ranges += [range(record[4], record[5]) for record in retired if record[1] == device]
        ranges += [range(record[3], record[4]) for record in ended if record[1] == device]
        found = sorted(unit for one in ranges for unit in one)
        assert found == list(range(network.see("certificates", "issued_wh", device)))
        for slot in slots if device.startswith("G") else ():
            check_device(network, device, slot, ended)
    for account in network.people:
        for unit, view in (("Wh", "holding"), ("kgCO2e", "carbon_holding")):
            assert network.see("certificates", view, account) == sum(
                one[5] - one[4] for one in live if one[6] == account and one[12] == unit
            )
        for slot in slots:
            claimed = sum(one[5] - one[4] for one in retired if one[7] == account and one[9] == slot)
            assert network.see("certificates", "claimed_wh", account, slot) == claimed
            consumed_wh = network.see("metering", "metered", account, slot)[0]
            if claimed > 0:
                over_wh = network.see("certificates", "overclaimed_wh", account, slot)
                assert over_wh == max(0, claimed - consumed_wh)
                assert over_wh == 0 or network.see("metering", "corrections", slot) > 0
    issued, used = network.see("certificates", "totals")
    assert issued == sum(network.see("certificates", "issued_wh", pv_of(one)) for one in network.people)
    assert used == sum(one[5] - one[4] for one in retired if not one[1].startswith("carbon/"))


def records(network: Network, kind: str) -> list[Any]:
    count = network.see("certificates", f"{kind}_count")
    return [network.see("certificates", kind, number) for number in range(1, count + 1)]


def check_device(network: Network, device: str, slot: int, ended: list[Any]) -> None:
    """No more stands certified than is metered, unless a later correction took it away; then a view says how much."""
    reading_there = network.see("metering", "reading", device, slot)
    exported_wh = reading_there[1] if reading_there else 0
    issued_wh = network.see("certificates", "issued_in_slot", device, slot)
    standing_wh = issued_wh - sum(one[4] - one[3] for one in ended if (one[1], one[2]) == (device, slot))
    if standing_wh > exported_wh:
        assert network.see("metering", "corrections", slot) > 0
        assert network.see("certificates", "excess_wh", device, slot) == standing_wh - exported_wh


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first walk")
    options = parser.parse_args()
    reached: Counter[str] = Counter()
    length = 400
    for seed in range(options.seed, options.seed + options.calls // length):
        try:
            reached += walk(seed, length)
        except AssertionError:
            print(f"seed {seed}, {length} calls")
            raise
    for what, count in sorted(reached.items()):
        print(f"{count:8} {what}")


if __name__ == "__main__":
    main()
