"""Random calls by random senders, and what must hold after every one of them.

A walk is replayed by its seed. `python -m tests.contracts.energy.walk --calls 200000` runs many and prints what it reached.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable
from random import Random
from typing import Any

from contracts.energy.metering import NO_READING
from contracts.energy.rosters import page_number
from contracts.host import ContractError, pack_column
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
SLOT_MS = 900_000
BRP, SUPPLIER, AGGREGATOR = TRADERS[0], TRADERS[3], TRADERS[2]
BATTERY = "B-0001"
METERS = (*map(load_of, TRADERS), BATTERY, *map(pv_of, TRADERS))

OPERATORS_FUNCTIONS = (
    *("mint", "burn", "set_credit_limit", "clear", "post_price", "settle", "close_slot", "switch_brp", "set_rules"),
    *("activate", "set_zone", "set_connection", "set_fee", "set_envelope", "set_capacity", "expire_orders", "serve"),
    *("set_correction_window", "switch_supplier"),
)
ISSUERS_FUNCTIONS = ("issue", "withdraw_units", "reconcile", "verify_vintage", "issue_carbon", "expire_units")

# The account that may call a function; now and then somebody else tries.
RIGHTFUL = {
    **dict.fromkeys(OPERATORS_FUNCTIONS, OPERATOR),
    **dict.fromkeys(["submit"], METER_OPERATOR),
    **dict.fromkeys(ISSUERS_FUNCTIONS, ISSUER),
}
# Names of this module for functions that share one with another contract.
NAMES = {
    "expire_orders": "expire",
    "withdraw_units": "withdraw",
    "expire_units": "expire",
    "withdraw_offer": "withdraw",
}
# How often each function is called, out of the sum: orders are common, settlements rare, or no book would ever cross.
WEIGHTS = {
    ("registry", "switch_brp"): 2,
    ("registry", "switch_supplier"): 8,
    ("registry", "delegate"): 1,
    ("registry", "end_delegation"): 1,
    ("grid", "set_connection"): 2,
    ("grid", "set_fee"): 1,
    ("grid", "set_envelope"): 1,
    ("grid", "set_capacity"): 3,
    ("market", "place_order"): 34,
    ("market", "place_order_for"): 3,
    ("market", "cancel_order"): 5,
    ("market", "amend_order"): 4,
    ("market", "clear"): 18,
    ("market", "reserve"): 1,
    ("continuous", "place"): 20,
    ("continuous", "cancel"): 4,
    ("continuous", "expire_orders"): 3,
    ("bilateral", "offer"): 6,
    ("bilateral", "accept"): 6,
    ("bilateral", "withdraw_offer"): 2,
    ("resort", "set_tariff"): 2,
    ("resort", "serve"): 10,
    ("payments", "transfer"): 6,
    ("payments", "mint"): 5,
    ("payments", "burn"): 3,
    ("payments", "set_credit_limit"): 2,
    ("payments", "charge"): 1,
    ("payments", "hold"): 1,
    ("balancing", "set_rules"): 1,
    ("balancing", "activate"): 4,
    ("metering", "submit"): 18,
    ("metering", "close_slot"): 6,
    ("metering", "set_correction_window"): 1,
    ("imbalance", "post_price"): 12,
    ("imbalance", "settle"): 12,
    ("imbalance", "pay_arrears"): 4,
    ("certificates", "issue"): 18,
    ("certificates", "transfer"): 14,
    ("certificates", "split"): 5,
    ("certificates", "lock"): 5,
    ("certificates", "unlock"): 1,
    ("certificates", "buy"): 7,
    ("certificates", "retire"): 12,
    ("certificates", "retire_many"): 4,
    ("certificates", "charge"): 4,
    ("certificates", "withdraw_units"): 2,
    ("certificates", "expire_units"): 1,
    ("certificates", "reconcile"): 3,
    ("certificates", "verify_vintage"): 2,
    ("certificates", "issue_carbon"): 3,
}
CALLS, CALL_WEIGHTS = list(WEIGHTS), list(WEIGHTS.values())


def slot_for(rng: Random, function: str, now: int) -> int:
    """A slot in the stage of its life where the function has something to do, mostly."""
    if rng.random() < 0.1:
        return rng.choice(SLOTS)
    if function in ("clear", "post_price", "serve"):
        return rng.randint(max(0, now - 2), now)
    if function == "issue":
        return max(0, now - rng.randint(1, 3))
    if function == "settle":
        return rng.randint(0, max(0, now - 1))
    if function in ("place_order", "place_order_for", "place", "offer", "activate", "submit", "submit_packed"):
        return now
    return max(0, now - 1)


def arguments(rng: Random, function: str, now: int) -> tuple[Any, ...]:
    """Arguments that often fit and often do not: amounts around what accounts have, ids around those that exist."""
    slot, zone, account = slot_for(rng, function, now), rng.choice(ZONES), rng.choice(ACCOUNTS)
    amount_micros = rng.randint(-1, 300)
    match function:
        case "place_order":
            return zone, slot, rng.choice(["buy", "sell"]), rng.randint(0, 3_000), rng.randint(0, 120)
        case "place_order_for":
            return account, zone, slot, rng.choice(["buy", "sell"]), rng.randint(0, 3_000), rng.randint(0, 120)
        case "amend_order":
            return (
                rng.randint(1, 2 * now + 2) * 1_000_000 + rng.randint(0, 5),
                rng.randint(0, 3_000),
                rng.randint(0, 120),
            )
        case "place":
            side, attribute = rng.choice(
                [("buy", ""), ("buy", "renewable"), ("buy", "feeder"), ("sell", ""), ("sell", "")]
            )
            return zone, slot, side, rng.randint(0, 3_000), rng.randint(0, 120), attribute
        case "cancel":
            return (rng.randint(1, 30),)
        case "expire_orders" | "serve":
            return zone, slot
        case "offer":
            return (
                zone,
                slot,
                rng.choice(TRADERS),
                rng.randint(0, 3_000),
                rng.randint(0, 120),
                now * SLOT_MS + 1_000_000,
            )
        case "set_tariff":
            return rng.randint(50, 150), rng.randint(0, 60)
        case "reserve":
            return account, slot, amount_micros, amount_micros
        case _ if function in SETTINGS:
            return setting(rng, function, now)
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
        case "submit" if now > 0 and rng.random() < 0.2:
            meter, _, imported, exported, _ = reading(rng, slot)
            return ([(meter, rng.randrange(now), imported, exported, "CORRECTED")],)
        case "submit":
            return ([reading(rng, slot) for _ in range(rng.randint(1, 3))],)
        case "post_price":
            return slot, rng.randint(-200, 200)
        case "issue":
            return rng.choice(METERS[4:]), slot, rng.randint(0, 250)
        case "pay_arrears":
            return (amount_micros,)
        case _:
            return (slot,)


SETTINGS = (
    *("switch_brp", "switch_supplier", "delegate", "end_delegation", "set_connection", "set_fee", "set_envelope"),
    *("set_capacity", "set_rules", "activate", "set_correction_window", "verify_vintage", "issue_carbon"),
)


def setting(rng: Random, function: str, now: int) -> tuple[Any, ...]:
    """Arguments of what an operator, an issuer or a participant sets up."""
    account, zone, slot = rng.choice(TRADERS), rng.choice(ZONES), rng.choice([now, now + 1])
    match function:
        case "switch_brp":
            return account, rng.choice([BRP, ""]), slot
        case "switch_supplier":
            return account, SUPPLIER, slot
        case "delegate":
            return (AGGREGATOR,)
        case "set_connection":
            return account, rng.choice(["f1", "f2"]), zone
        case "set_fee":
            return rng.choice(["feeder", "zone", "across"]), rng.randint(0, 30), rng.choice([0, 50_000])
        case "set_envelope":
            return account, slot, rng.randint(0, 20_000), rng.randint(0, 20_000)
        case "set_capacity":
            return *rng.choice([("a", "b"), ("b", "a")]), slot, rng.randint(0, 5_000)
        case "set_rules":
            rules = rng.choice(["single", "dual", "none"]), rng.choice(["highest", "average", "reference"])
            return *rules, rng.randint(0, 20), rng.choice([0, 30_000]), rng.choice([0, 50_000])
        case "activate":
            return account, slot, rng.randint(-500, 500), rng.randint(-50, 150), ""
        case "set_correction_window":
            return (rng.choice([0, 2_000_000, 10**9]),)
        case "verify_vintage":
            return rng.choice(PROJECTS), 2020, rng.randint(0, 500)
        case "issue_carbon":
            return rng.choice(PROJECTS), 2020, rng.randint(0, 100)
        case _:
            return ()


def reading(rng: Random, slot: int) -> tuple[str, int, int, int, str]:
    return reading_of(rng, rng.choice(METERS), slot)


def reading_of(rng: Random, meter: str, slot: int) -> tuple[str, int, int, int, str]:
    energy_wh = rng.randint(0, 5_000)
    quality = rng.choice(["DIRECT", "DIRECT", "ESTIMATED", "CORRECTED"])
    if meter == BATTERY:
        return (meter, slot, energy_wh // 2, energy_wh // 4, quality)
    return (meter, slot, energy_wh, 0, quality) if meter[0] == "L" else (meter, slot, 0, energy_wh, quality)


COLUMN_CALL_EACH = 16  # calls
Call = tuple[str, str, str, tuple[Any, ...]]  # sender, contract, function, arguments


def column_call(rng: Random, network: Network, now: int) -> Call:
    """Now and then in between: a meter operator sends columns, or changes who is on a roster."""
    sender = METER_OPERATOR if rng.random() < 0.9 else rng.choice(EVERYBODY)
    function = rng.choices(["submit_packed", "enlist", "strike"], [4, 1, 1])[0]
    if function == "submit_packed":
        return sender, "metering", function, packed(rng, network, slot_for(rng, function, now))
    return sender, "rosters", function, (rng.randint(1, 2), [rng.choice(METERS)])


def packed(rng: Random, network: Network, slot: int) -> tuple[Any, ...]:
    """Columns for the one page of a roster, as long as it is, with gaps mostly where something stands."""
    roster = rng.randint(1, 2)
    pairs: list[tuple[int, int]] = []
    for meter in network.see("rosters", "meters_of", page_number(roster, 0)) or [METERS[0]]:
        _, _, import_wh, export_wh, _ = reading_of(rng, meter, slot)
        gap = rng.random() < (0.9 if network.see("metering", "reading", meter, slot) else 0.2)
        pairs.append((NO_READING, NO_READING) if gap else (import_wh, export_wh))
    imports, exports = ([pack_column([pair[side] for pair in pairs])] for side in (0, 1))
    return roster, slot, 0, imports, exports


def random_call(rng: Random, network: Network, now: int) -> Call:
    contract, function = rng.choices(CALLS, CALL_WEIGHTS)[0]
    sender = rng.choice(TRADERS)
    if function in RIGHTFUL:
        sender = RIGHTFUL[function]
    if rng.random() < 0.1:
        sender = rng.choice(EVERYBODY)
    if contract == "resort" and function == "set_tariff":
        sender = SUPPLIER
    if function == "place_order_for":
        sender = AGGREGATOR
    if function in ("accept", "withdraw_offer"):
        return offer_call(rng, network, sender, function)
    if contract == "certificates" and function not in ("issue", *SETTINGS):
        return certificate_call(rng, network, sender, function)
    return sender, contract, function, arguments(rng, function, now)


def offer_call(rng: Random, network: Network, sender: str, function: str) -> Call:
    """Accepts or withdraws one of the last offers, mostly by the one who may."""
    offer_id = rng.randint(0, 2) + max(0, network.see("bilateral", "offer_count") - 1)
    offer = network.see("bilateral", "offer_of", offer_id)
    if offer is not None and rng.random() < 0.9:
        sender = offer.buyer if function == "accept" else offer.seller
    return sender, "bilateral", function, (offer_id,)


def certificate_call(rng: Random, network: Network, sender: str, function: str) -> Call:
    """Moves or ends a certificate, mostly one that there is, mostly by its owner."""
    certificate_id, slot = rng.randint(1, network.see("certificates", "certificate_count") + 1), rng.choice(SLOTS)
    record = network.see("certificates", "certificate", certificate_id)
    device = pv_of(rng.choice(TRADERS))
    if record is not None and rng.random() < 0.8:
        slot, device = record.slot, record.device
        if function not in ISSUERS_FUNCTIONS and function != "buy":
            sender = record.owner
    quantity_wh = rng.randint(0, 250)
    row = (certificate_id, quantity_wh, rng.choice(TRADERS), "purpose", slot)
    sale = network.see("certificates", "sale", certificate_id)
    args: tuple[Any, ...] = {
        "transfer": (certificate_id, quantity_wh, rng.choice(ACCOUNTS)),
        "split": (certificate_id, quantity_wh),
        "lock": (certificate_id, rng.randint(0, 100), rng.choice(["", "", rng.choice(TRADERS)])),
        "unlock": (certificate_id,),
        "buy": (certificate_id, sale[0] if sale is not None else 1),
        "retire": row,
        "retire_many": ([row, row],),
        "charge": (certificate_id, quantity_wh, BATTERY),
        "withdraw_units": (certificate_id, rng.randint(0, 60), "reason"),
        "expire_units": (certificate_id,),
        "reconcile": (device, slot, [certificate_id]),
    }[function]
    return sender, "certificates", function, args


def walk(seed: int, calls: int) -> Counter[str]:
    """`walk_over` a new network in the in-memory world."""
    return walk_over(Network(people=TRADERS, deposit_micros=300), seed, calls)


def furnish(network: Network) -> None:
    """Roles, a battery, two carbon projects: what the walks use beyond a plain network. The supplier is a participant."""
    network.act(OPERATOR, "payments", "set_credit_limit", "neutrality", 5_000)
    for account, role in ((BRP, "BRP"), (SUPPLIER, "SUPPLIER"), (AGGREGATOR, "AGGREGATOR")):
        network.act(OPERATOR, "registry", "grant", account, role)
    network.act(SUPPLIER, "resort", "set_tariff", 100, 30)
    network.act(OPERATOR, "registry", "register_meter", BATTERY, TRADERS[0], "battery", "0", 20_000)
    network.act(ISSUER, "certificates", "describe_device", BATTERY, "", 0, 900_000)
    for roster, meters in ((1, METERS[:2]), (2, METERS[-2:])):
        network.act(METER_OPERATOR, "rosters", "open_roster")
        network.act(METER_OPERATOR, "rosters", "enlist", roster, list(meters))
    for project in PROJECTS:
        network.act(ISSUER, "certificates", "register_project", project, TRADERS[1], "method", "there", "", 0)


def walk_over(network: Network, seed: int, calls: int) -> Counter[str]:
    """Makes the calls of a seed and checks after each; returns how often each event and each refusal happened."""
    rng, other_rng = Random(seed), Random(seed + 2**32)
    furnish(network)
    reached: Counter[str] = Counter()
    for number in range(calls):
        now = number * len(SLOTS) // calls
        if (
            number % COLUMN_CALL_EACH == 0
        ):  # by numbers of its own, so that the other calls of a seed stay what they are
            sender, contract, function, args = column_call(other_rng, network, now)
        else:
            sender, contract, function, args = random_call(rng, network, now)
        before = len(network.world.events)
        network.world.time_ms = number * len(SLOTS) * SLOT_MS // calls
        network.world.height = 1 + number // 8
        try:
            network.act(sender, contract, NAMES.get(function, function), *args)
        except ContractError as refusal:
            reached[f"{function} refused: {refusal.code}"] += 1
            assert len(network.world.events) == before
            continue
        reached.update(f"{event.contract}.{event.name}" for event in network.world.events[before:])
        check_money(network)
    check_holds(network)
    for slot in SLOTS:
        check_slot(network, slot)
    check_units(network, SLOTS)
    return reached


def check_money(network: Network) -> None:
    assert network.money_residual() == 0
    for account in (*TRADERS, STRANGER, "neutrality", "grid"):
        assert network.balance(account) >= -network.see("payments", "credit_limit", account)
        assert network.see("payments", "held", account) >= 0
    owed = sum(event["arrears_micros"] for event in last_by_account(network))
    assert owed == sum(network.see("imbalance", "arrears", account) for account in TRADERS)


def last_by_account(network: Network) -> list[dict[str, Any]]:
    return list({event["account"]: event for event in network.events("ArrearsChanged")}.values())


def check_slot(network: Network, slot: int) -> None:
    positions = network.see("market", "positions", list(TRADERS), slot)
    assert sum(bought for bought, _ in positions) == sum(sold for _, sold in positions)
    trades = [event for event in (*network.events("Traded"), *network.events("Served")) if event["slot"] == slot]
    for account, (bought, sold) in zip(TRADERS, positions, strict=True):
        assert bought == sum(event["quantity_wh"] for event in trades if event["buyer"] == account)
        assert sold == sum(event["quantity_wh"] for event in trades if event["seller"] == account)
    for zone in ZONES:
        check_orders(network, zone, slot)
    check_flows(network, slot)
    check_readings(network, slot)
    totals = network.see("imbalance", "slot_totals", slot)
    if totals is not None:
        amounts = [network.see("imbalance", "settlement", account, slot).amount_micros for account in TRADERS]
        assert sum(amounts) + totals.neutrality_micros == 0
        posted = [event["amount_micros"] for event in network.events("Settled") if event["slot"] == slot]
        later = [event["difference_micros"] for event in network.events("Resettled") if event["slot"] == slot]
        assert sum(posted) + sum(later) == sum(amounts)


def check_readings(network: Network, slot: int) -> None:
    """An account's energy is what stands for its meters, singly or in columns."""
    for account in TRADERS:
        codes = network.see("registry", "meters_of", account)
        standing = [found for code in codes if (found := network.see("metering", "reading", code, slot)) is not None]
        total = sum(found.import_wh for found in standing), sum(found.export_wh for found in standing)
        assert tuple(network.see("metering", "metered", account, slot)) == total


def check_flows(network: Network, slot: int) -> None:
    for source, sink in (ZONES, ZONES[::-1]):
        assert network.see("grid", "free_capacity", source, sink, slot) >= 0


def check_holds(network: Network) -> None:
    """What is held is what open orders can cost at most, less what continuous ones have paid."""
    called = [
        row[1].hold_id
        for one in SLOTS
        for zone in ZONES
        if network.see("market", "is_open", zone, one)
        for row in network.see("market", "orders_of_product", zone, one, 0, 999)
        if row[1].state == "OPEN"
    ]
    resting = [
        network.see("continuous", "order", row[0])
        for one in SLOTS
        for zone in ZONES
        for side in network.see("continuous", "book", zone, one)
        for row in side
    ]
    hold_ids = [hold_id for hold_id in (*called, *(one.hold_id for one in resting)) if hold_id != 0]
    found = [network.see("payments", "held_by", hold_id) for hold_id in hold_ids]
    assert sum(network.see("payments", "helds", list(TRADERS))) == sum(one.amount_micros for one in found)
    for one in resting:
        assert 0 < one.left_wh <= one.quantity_wh
        if one.hold_id != 0:
            amount_micros = network.see("payments", "held_by", one.hold_id).amount_micros
            assert amount_micros >= one.left_wh * one.limit_micros_per_kwh // 1000


def check_orders(network: Network, zone: str, slot: int) -> None:
    everything = [event for event in network.world.events if event.contract == "market" and event.name == "Traded"]
    trades = [one.fields for one in everything if (one.fields["zone"], one.fields["slot"]) == (zone, slot)]
    for order_id, row in network.see("market", "orders_of_product", zone, slot, 0, 999):
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
    producers = [*map(pv_of, network.people), BATTERY]
    for device in (*producers, *(f"carbon/{one}" for one in PROJECTS)):
        ranges = [range(record[4], record[5]) for record in live if record[0] == device]
        ranges += [range(record[4], record[5]) for record in retired if record[1] == device]
        ranges += [range(record[3], record[4]) for record in ended if record[1] == device]
        found = sorted(unit for one in ranges for unit in one)
        assert found == list(range(network.see("certificates", "issued_wh", device)))
        for slot in slots if device in producers else ():
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
    assert issued == sum(network.see("certificates", "issued_wh", one) for one in producers)
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
