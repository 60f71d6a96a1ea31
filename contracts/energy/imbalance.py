"""Imbalance settlement: what each participant metered against what it traded, at one price per slot.

    position  = sold - bought                (market, Wh)
    metered   = export - import              (metering, Wh)
    imbalance = metered - position           positive is long
    amount    = price * imbalance // 1000    positive is received, rounded towards minus infinity

One price whatever the sign (single pricing): who is long receives it, who is short pays it. What the amounts do not
balance goes to or comes from the neutrality account, so every settlement sums to zero. Rounding down means that a
participant never receives a fraction and pays a begun micro in full; neutrality keeps the difference.

Settlement of a slot needs every product of the slot cleared. It closes the slot in the market and in metering, and
happens once. An account that cannot pay draws on its credit line; what lies beyond is recorded as arrears, which
neutrality carries, so one debtor never stops the others' settlement. What an account in arrears receives in a later
settlement pays its arrears first; it can also pay them itself.
"""

from contracts.host import Map, NamedTuple, call, ctx, emit, export, require, view

MAX_PRICE_MICROS_PER_KWH = 100_000_000_000  # either sign
MAX_SLOT = 100_000_000
NEUTRALITY = "neutrality"
PAGE = 1_000

Settlement = NamedTuple(
    "Settlement",
    [
        ("sold_wh", int),
        ("bought_wh", int),
        ("import_wh", int),
        ("export_wh", int),
        ("imbalance_wh", int),
        ("price_micros_per_kwh", int),
        ("amount_micros", int),
    ],
)
SlotTotals = NamedTuple(
    "SlotTotals",
    [
        ("participants", int),
        ("price_micros_per_kwh", int),
        ("imbalance_wh", int),  # of all participants together
        ("received_micros", int),  # by those who were long, or paid at a negative price
        ("paid_micros", int),  # by those who were short
        ("neutrality_micros", int),  # received by neutrality before arrears: paid - received
        ("arrears_micros", int),  # how much all arrears grew; negative when they shrank
    ],
)

prices: Map[int, int] = Map("prices")  # slot -> micros per kWh
settlements: Map[tuple[str, int], Settlement] = Map("settlements")  # (account, slot)
totals: Map[int, SlotTotals] = Map("totals")  # slot
debts: Map[str, int] = Map("debts")  # account -> arrears in micros, never 0


# --- The rule: plain functions, also used away from the chain ----------------------------------------------------------


def imbalance_of(sold_wh: int, bought_wh: int, import_wh: int, export_wh: int) -> int:
    """Metered less position, in Wh; positive is long."""
    return (export_wh - import_wh) - (sold_wh - bought_wh)


def settle_single(
    price_micros_per_kwh: int, rows: list[tuple[int, int, int, int]]
) -> tuple[list[tuple[int, int]], int]:
    """Single pricing. Rows are (sold_wh, bought_wh, import_wh, export_wh), one per participant.

    Returns ([(imbalance_wh, amount_micros)] in the order of the rows, neutrality_micros); all amounts sum to zero.
    """
    results: list[tuple[int, int]] = []
    neutrality_micros = 0
    for sold_wh, bought_wh, import_wh, export_wh in rows:
        imbalance_wh = imbalance_of(sold_wh, bought_wh, import_wh, export_wh)
        amount_micros = price_micros_per_kwh * imbalance_wh // 1000
        results.append((imbalance_wh, amount_micros))
        neutrality_micros -= amount_micros
    return (results, neutrality_micros)


# --- On the chain ------------------------------------------------------------------------------------------------------


@export
def post_price(slot: int, price_micros_per_kwh: int) -> None:
    """An operator posts the slot's imbalance price; until settlement it may post another one, and both stay on record."""
    require(call("registry", "has_role", ctx.caller, "OPERATOR"), "NOT_OPERATOR")
    require(0 <= slot <= MAX_SLOT, "SLOT_OUT_OF_RANGE")
    require(abs(price_micros_per_kwh) <= MAX_PRICE_MICROS_PER_KWH, "PRICE_OUT_OF_RANGE")
    require(slot not in totals, "SLOT_SETTLED")
    prices[slot] = price_micros_per_kwh
    emit("PricePosted", slot=slot, price_micros_per_kwh=price_micros_per_kwh, by=ctx.caller)


def slot_rows(accounts: list[str], slot: int) -> list[tuple[int, int, int, int]]:
    traded = call("market", "positions", accounts, slot)
    metered = call("metering", "metered_many", accounts, slot)
    return [(trade[1], trade[0], energy[0], energy[1]) for trade, energy in zip(traded, metered)]


def pay(accounts: list[str], results: list[tuple[int, int]]) -> int:
    """Moves the money, arrears first, and records new arrears. Returns by how much all arrears grew (micros)."""
    charges: list[tuple[str, int]] = []
    repaid: list[int] = []
    for account, result in zip(accounts, results):
        amount_micros = result[1]
        repaid_micros = 0
        if amount_micros > 0:
            repaid_micros = min(amount_micros, debts.get(account, 0))
        repaid.append(repaid_micros)
        charges.append((account, amount_micros - repaid_micros))
    unpaid = call("payments", "charge", charges, NEUTRALITY)
    growth_micros = 0
    for account, repaid_micros, unpaid_micros in zip(accounts, repaid, unpaid):
        change_micros = unpaid_micros - repaid_micros
        if change_micros != 0:
            growth_micros += change_micros
            change_debt(account, change_micros)
    return growth_micros


def change_debt(account: str, change_micros: int) -> None:
    owed_micros = debts.get(account, 0) + change_micros
    if owed_micros == 0:
        del debts[account]
    else:
        debts[account] = owed_micros
    emit("ArrearsChanged", account=account, change_micros=change_micros, arrears_micros=owed_micros)


@export
def settle(slot: int) -> None:
    """An operator settles a slot for every participant, once, and closes it in the market and in metering."""
    require(call("registry", "has_role", ctx.caller, "OPERATOR"), "NOT_OPERATOR")
    require(slot not in totals, "SLOT_SETTLED")
    require(slot in prices, "PRICE_MISSING")
    call("market", "close_slot", slot)
    call("metering", "close_slot", slot)
    price_micros_per_kwh = prices[slot]
    participant_count = call("registry", "participant_count")
    system_wh = 0
    received_micros = 0
    paid_micros = 0
    arrears_micros = 0
    for start in range(0, participant_count, PAGE):
        accounts = call("registry", "participants", start, PAGE)
        rows = slot_rows(accounts, slot)
        results = settle_single(price_micros_per_kwh, rows)[0]
        arrears_micros += pay(accounts, results)
        for account, row, result in zip(accounts, rows, results):
            sold_wh, bought_wh, import_wh, export_wh = row
            imbalance_wh, amount_micros = result
            system_wh += imbalance_wh
            received_micros += max(amount_micros, 0)
            paid_micros += max(-amount_micros, 0)
            settlements[(account, slot)] = Settlement(
                sold_wh, bought_wh, import_wh, export_wh, imbalance_wh, price_micros_per_kwh, amount_micros
            )
            emit(
                "Settled",
                slot=slot,
                account=account,
                sold_wh=sold_wh,
                bought_wh=bought_wh,
                import_wh=import_wh,
                export_wh=export_wh,
                imbalance_wh=imbalance_wh,
                price_micros_per_kwh=price_micros_per_kwh,
                amount_micros=amount_micros,
            )
    totals[slot] = SlotTotals(
        participant_count,
        price_micros_per_kwh,
        system_wh,
        received_micros,
        paid_micros,
        paid_micros - received_micros,
        arrears_micros,
    )
    emit(
        "SlotSettled",
        slot=slot,
        participants=participant_count,
        price_micros_per_kwh=price_micros_per_kwh,
        imbalance_wh=system_wh,
        received_micros=received_micros,
        paid_micros=paid_micros,
        neutrality_micros=paid_micros - received_micros,
        arrears_micros=arrears_micros,
    )


@export
def pay_arrears(amount_micros: int) -> None:
    """The caller pays a part or all of its arrears to neutrality."""
    require(amount_micros > 0, "AMOUNT_NOT_POSITIVE")
    require(amount_micros <= debts.get(ctx.caller, 0), "MORE_THAN_ARREARS")
    call("payments", "move", ctx.caller, NEUTRALITY, amount_micros)
    change_debt(ctx.caller, -amount_micros)


@view
def price(slot: int) -> int | None:
    """The posted price (micros per kWh), or None."""
    return prices.get(slot, None)


@view
def settlement(account: str, slot: int) -> Settlement | None:
    """The account's settlement of the slot, or None before it is settled."""
    return settlements.get((account, slot), None)


@view
def slot_totals(slot: int) -> SlotTotals | None:
    """The sums of a settled slot, or None."""
    return totals.get(slot, None)


@view
def arrears(account: str) -> int:
    """What the account still owes from settlements (micros)."""
    return debts.get(account, 0)
