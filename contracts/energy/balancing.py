"""Balancing: the flexibility that an operator ordered, and what it makes of the imbalance price.

An operator orders a participant to feed in more or take less (upward, positive Wh) or the opposite (downward, negative),
and pays `price * energy // 1000` for it out of the neutrality account at once; a downward order at a positive price is
paid by the participant. What was ordered is no imbalance: settlement takes it out of the metered deviation.

The slot's dominant direction is the sign of all ordered energy together. The balancing price then is, as the rule says,
- highest: the most expensive order in the dominant direction: the highest upward price, the lowest downward price;
- average: the average price of the orders in the dominant direction, weighted by energy, rounded down;
- reference: the price that an operator posted for the slot.
The incentive is added where upward energy dominates and taken off where downward energy does. Without a dominant
direction the posted reference holds, whatever the rule.

Single pricing settles everybody at the balancing price. Dual pricing gives the reference to those whose imbalance helped:
short pays the higher of both when upward energy dominates, long receives the lower of both when downward energy does.
"none" prices no energy at all; a dead band with a penalty rate can stand alone or come on top (see imbalance).
"""

from contracts.host import Map, NamedTuple, Value, call, ctx, emit, export, require, view

PRICINGS = ("single", "dual", "none")
RULES = ("highest", "average", "reference")
MAX_PRICE_MICROS_PER_KWH = 100_000_000_000  # either sign
MAX_ENERGY_WH = 1_000_000_000
MAX_SLOT = 100_000_000
MAX_ACTIVATIONS = 1_000  # in a slot, so that the price is always found in one transaction
MAX_REFERENCE_CHARACTERS = 128
PPM = 1_000_000
NEUTRALITY = "neutrality"

Activation = NamedTuple(
    "Activation",
    [
        ("account", str),
        ("activated_wh", int),  # upward is positive
        ("price_micros_per_kwh", int),
        ("amount_micros", int),  # received by the account
        ("reference", str),
    ],
)

pricing: Value[str] = Value("pricing", "single")
rule: Value[str] = Value("rule", "reference")
incentive_micros_per_kwh: Value[int] = Value("incentive_micros_per_kwh", 0)
dead_band_ppm: Value[int] = Value("dead_band_ppm", 0)
penalty_ppm: Value[int] = Value("penalty_ppm", 0)
activations_by_slot: Map[tuple[int, int], Activation] = Map("activations_by_slot")  # (slot, n)
activation_counts: Map[int, int] = Map("activation_counts")  # slot
activated_by: Map[tuple[str, int], int] = Map("activated_by")  # (account, slot) -> Wh
closed: Map[int, bool] = Map("closed")  # slot


# --- The rule: plain functions, also used away from the chain ----------------------------------------------------------


def balancing_price(
    price_rule: str, incentive: int, reference_micros_per_kwh: int, orders: list[tuple[int, int]]
) -> tuple[int, int]:
    """Orders are (activated_wh, price_micros_per_kwh). Returns (dominant direction: 1, 0 or -1, micros per kWh)."""
    net_wh = sum([order[0] for order in orders])
    if net_wh == 0:
        return (0, reference_micros_per_kwh)
    direction = 1 if net_wh > 0 else -1
    leading = [(abs(order[0]), order[1]) for order in orders if order[0] * direction > 0]
    price_micros_per_kwh = reference_micros_per_kwh
    if price_rule == "highest":
        prices = [order[1] for order in leading]
        price_micros_per_kwh = max(prices) if direction == 1 else min(prices)
    elif price_rule == "average":
        energy_wh = sum([order[0] for order in leading])
        price_micros_per_kwh = sum([order[0] * order[1] for order in leading]) // energy_wh
    return (direction, price_micros_per_kwh + direction * incentive)


def price_pair(
    price_mode: str, direction: int, price_micros_per_kwh: int, reference_micros_per_kwh: int
) -> tuple[int, int]:
    """(buy price, which short pays; sell price, which long receives) in micros per kWh."""
    if price_mode != "dual":
        return (price_micros_per_kwh, price_micros_per_kwh)
    buy = reference_micros_per_kwh
    sell = reference_micros_per_kwh
    if direction > 0:
        buy = max(buy, price_micros_per_kwh)
    elif direction < 0:
        sell = min(sell, price_micros_per_kwh)
    return (buy, sell)


# --- On the chain ------------------------------------------------------------------------------------------------------


def require_operator() -> None:
    require(call("registry", "has_role", ctx.caller, "OPERATOR"), "NOT_OPERATOR")


@export
def set_rules(price_mode: str, price_rule: str, incentive: int, dead_band: int, penalty: int) -> None:
    """An operator sets pricing (single, dual, none), price rule, incentive (micros per kWh), dead band and penalty (ppm).

    They hold for every slot whose settlement begins afterwards; a re-settlement keeps those of its first run.
    """
    require_operator()
    require(price_mode in PRICINGS, "UNKNOWN_PRICING")
    require(price_rule in RULES, "UNKNOWN_RULE")
    require(0 <= incentive <= MAX_PRICE_MICROS_PER_KWH, "INCENTIVE_OUT_OF_RANGE")
    require(0 <= dead_band <= PPM, "DEAD_BAND_OUT_OF_RANGE")
    require(0 <= penalty <= 10 * PPM, "PENALTY_OUT_OF_RANGE")
    pricing.set(price_mode)
    rule.set(price_rule)
    incentive_micros_per_kwh.set(incentive)
    dead_band_ppm.set(dead_band)
    penalty_ppm.set(penalty)
    emit(
        "RulesSet",
        pricing=price_mode,
        rule=price_rule,
        incentive_micros_per_kwh=incentive,
        dead_band_ppm=dead_band,
        penalty_ppm=penalty,
        by=ctx.caller,
    )


@export
def activate(account: str, slot: int, activated_wh: int, price_micros_per_kwh: int, reference: str) -> int:
    """An operator records flexibility that it ordered and pays it; upward is positive. Returns its number in the slot."""
    require_operator()
    require(call("registry", "is_participant", account), "NOT_A_PARTICIPANT")
    require(0 <= slot <= MAX_SLOT, "SLOT_OUT_OF_RANGE")
    require(slot not in closed, "SLOT_SETTLED")
    require(0 < abs(activated_wh) <= MAX_ENERGY_WH, "ENERGY_OUT_OF_RANGE")
    require(abs(price_micros_per_kwh) <= MAX_PRICE_MICROS_PER_KWH, "PRICE_OUT_OF_RANGE")
    require(len(reference) <= MAX_REFERENCE_CHARACTERS, "REFERENCE_TOO_LONG")
    number = activation_counts.get(slot, 0)
    require(number < MAX_ACTIVATIONS, "TOO_MANY_ACTIVATIONS")
    amount_micros = price_micros_per_kwh * activated_wh // 1000
    if amount_micros > 0:
        call("payments", "move", NEUTRALITY, account, amount_micros)
    elif amount_micros < 0:
        call("payments", "move", account, NEUTRALITY, -amount_micros)
    activation_counts[slot] = number + 1
    activations_by_slot[(slot, number)] = Activation(
        account, activated_wh, price_micros_per_kwh, amount_micros, reference
    )
    activated_by[(account, slot)] = activated_by.get((account, slot), 0) + activated_wh
    emit(
        "Activated",
        slot=slot,
        number=number,
        account=account,
        activated_wh=activated_wh,
        price_micros_per_kwh=price_micros_per_kwh,
        amount_micros=amount_micros,
        reference=reference,
    )
    return number


@export
def close_slot(slot: int) -> None:
    """The settlement, or an operator, ends balancing of a slot."""
    require(
        ctx.caller == "imbalance" or call("registry", "has_role", ctx.caller, "OPERATOR"),
        "NOT_OPERATOR",
    )
    require(0 <= slot <= MAX_SLOT, "SLOT_OUT_OF_RANGE")
    if slot not in closed:
        closed[slot] = True
        emit("SlotClosed", slot=slot)


@view
def terms(slot: int, reference_micros_per_kwh: int) -> tuple[str, int, int, int, int]:
    """(pricing, buy price, sell price, dead band in ppm, penalty in ppm) that a settlement beginning now would use."""
    orders = [activations_by_slot[(slot, number)] for number in range(activation_counts.get(slot, 0))]
    direction, price_micros_per_kwh = balancing_price(
        rule.get(),
        incentive_micros_per_kwh.get(),
        reference_micros_per_kwh,
        [(order.activated_wh, order.price_micros_per_kwh) for order in orders],
    )
    buy, sell = price_pair(pricing.get(), direction, price_micros_per_kwh, reference_micros_per_kwh)
    return (pricing.get(), buy, sell, dead_band_ppm.get(), penalty_ppm.get())


@view
def activated(accounts: list[str], slot: int) -> list[int]:
    """Ordered flexibility (Wh, upward positive) of each account in the slot."""
    return [activated_by.get((account, slot), 0) for account in accounts]


@view
def activations(slot: int) -> list[Activation]:
    """All orders of the slot, in the order of recording."""
    return [activations_by_slot[(slot, number)] for number in range(activation_counts.get(slot, 0))]
