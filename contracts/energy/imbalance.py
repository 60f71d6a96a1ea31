"""Imbalance settlement: what each participant metered against what it traded, netted within its balance group.

    position  = sold - bought                            (market, Wh)
    metered   = export - import                          (metering, Wh)
    imbalance = metered - position - activated           positive is long; `activated` is flexibility ordered (balancing)

A BRP's imbalance is the sum over its members. Its amount is

    price * imbalance // 1000, less the penalty          positive is received, rounded towards minus infinity

where long receives the sell price and short pays the buy price (the same price in single pricing). The penalty is a
rate on the price of what lies outside of a dead band around the BRP's position; both are 0 unless an operator sets them.
The amount is shared among the members whose imbalance has the BRP's direction, in proportion to it, by largest
remainder, ties by account: who leans against the group's deviation pays nothing. What the amounts do not balance goes to or
comes from the neutrality account, so every settlement sums to zero.

Settlement of a slot needs every product of the slot cleared. It closes the slot in the market, in metering and in
balancing. Corrected readings within the correction window allow another run with the terms of the first; it posts the
difference against the last run only. With more than 2,000 participants a run takes several calls of `settle`: all but the
last one only work out what is due. The last one moves all the money and emits SlotSettled, so whoever reads balances and
settlements sees those of before the run or those of after it. A Settled or Resettled event holds once SlotSettled of
its run has come.

An account that cannot pay draws on its credit line; what lies beyond is recorded as arrears, which neutrality carries, so
one debtor never stops the others' settlement. What an account in arrears receives in a later settlement pays its arrears
first; it can also pay them itself.
"""

from contracts.host import Map, NamedTuple, call, ctx, emit, export, replace, require, view

MAX_PRICE_MICROS_PER_KWH = 100_000_000_000  # either sign
MAX_SLOT = 100_000_000
NEUTRALITY = "neutrality"
PAGE = 1_000  # accounts of one question to another contract
STEP = 2_000  # accounts of one call of `settle`: two events for each stay within a transaction's bound
PPM = 1_000_000

Terms = NamedTuple(
    "Terms",
    [
        ("pricing", str),  # single, dual, or none: no energy is priced
        ("buy_price_micros_per_kwh", int),  # a short group pays it
        ("sell_price_micros_per_kwh", int),  # a long group receives it
        ("dead_band_ppm", int),  # of the group's position
        ("penalty_ppm", int),  # of the price, for each kWh outside of the dead band
    ],
)
Settlement = NamedTuple(
    "Settlement",
    [
        ("sold_wh", int),
        ("bought_wh", int),
        ("import_wh", int),
        ("export_wh", int),
        ("imbalance_wh", int),
        ("price_micros_per_kwh", int),  # of the group's direction
        ("amount_micros", int),
        ("activated_wh", int),
        ("brp", str),
    ],
)
SlotTotals = NamedTuple(
    "SlotTotals",
    [
        ("participants", int),
        ("price_micros_per_kwh", int),  # what short pays
        ("imbalance_wh", int),  # of all participants together
        ("received_micros", int),  # by those who were long, or paid at a negative price
        ("paid_micros", int),  # by those who were short
        ("neutrality_micros", int),  # received by neutrality before arrears: paid - received
        ("arrears_micros", int),  # how much all arrears grew in this run; negative when they shrank
        ("run", int),  # 1, and one more for each re-settlement
    ],
)
Run = NamedTuple(
    "Run",
    [
        ("number", int),
        ("phase", str),  # COLLECT, SHARE, PUBLISH, PAY
        ("next", int),  # the account that the phase goes on with
        ("participants", int),
        ("corrections", int),  # that the run takes in
    ],
)

prices: Map[int, int] = Map("prices")  # slot -> reference, micros per kWh
settlements: Map[tuple[str, int, int], Settlement] = Map("settlements")  # (account, slot, run)
group_amounts: Map[tuple[str, int, int], tuple[int, int]] = Map(
    "group_amounts"
)  # (brp, slot, run), if it has several members
totals: Map[int, SlotTotals] = Map("totals")  # slot, of the last complete run
terms_used: Map[int, Terms] = Map("terms_used")  # slot, of all its runs
corrections_used: Map[int, int] = Map("corrections_used")  # slot -> corrected rows that its last run has seen
runs: Map[int, Run] = Map("runs")  # slot, while a run is not complete
drafts: Map[int, SlotTotals] = Map("drafts")  # slot, of the run that is not complete
rows_kept: Map[tuple[int, int], list[tuple[str, str, int, int, int, int, int]]] = Map("rows_kept")  # (slot, page)
results_kept: Map[tuple[int, int], list[tuple[str, int, int, int]]] = Map("results_kept")  # (slot, page)
dues_kept: Map[tuple[int, int], list[tuple[str, int]]] = Map("dues_kept")  # (slot, page), until the run is paid
debts: Map[str, int] = Map("debts")  # account -> arrears in micros, never 0


# --- The rule: plain functions, also used away from the chain ----------------------------------------------------------


def imbalance_of(sold_wh: int, bought_wh: int, import_wh: int, export_wh: int) -> int:
    """Metered less position, in Wh; positive is long."""
    return (export_wh - import_wh) - (sold_wh - bought_wh)


def price_of(terms: Terms, imbalance_wh: int) -> int:
    """The price of the direction (micros per kWh)."""
    if terms.pricing == "none":
        return 0
    return terms.sell_price_micros_per_kwh if imbalance_wh > 0 else terms.buy_price_micros_per_kwh


def amount_of(terms: Terms, imbalance_wh: int, position_wh: int) -> int:
    """What a balance group receives (micros), rounded down; a penalty is rounded up."""
    amount_micros = price_of(terms, imbalance_wh) * imbalance_wh // 1000
    if terms.penalty_ppm > 0:
        assessed_wh = abs(imbalance_wh) - abs(position_wh) * terms.dead_band_ppm // PPM
        if assessed_wh > 0:
            price = terms.sell_price_micros_per_kwh if imbalance_wh > 0 else terms.buy_price_micros_per_kwh
            amount_micros += -abs(price) * assessed_wh * terms.penalty_ppm // (1000 * PPM)
    return amount_micros


def share(amount_micros: int, weights: list[tuple[str, int]]) -> list[int]:
    """Parts of the amount in proportion to the weights of (account, weight), by largest remainder, ties by account."""
    total = sum([one[1] for one in weights])
    size = abs(amount_micros)
    parts = [size * one[1] // total for one in weights]
    left = size - sum(parts)
    if left > 0:
        remainders = sorted([(-(size * one[1] % total), one[0], place) for place, one in enumerate(weights)])
        for rank in range(left):
            parts[remainders[rank][2]] += 1
    return parts if amount_micros >= 0 else [-part for part in parts]


def settle_terms(
    terms: Terms, rows: list[tuple[str, str, int, int, int, int, int]]
) -> tuple[list[tuple[str, int, int]], list[tuple[str, int, int]], int]:
    """Rows are (account, brp, sold_wh, bought_wh, import_wh, export_wh, activated_wh); brp "" is the account itself.

    Returns ([(account, imbalance_wh, amount_micros)] in the order of the rows, [(brp, imbalance_wh, amount_micros)] in the
    order of their first rows, neutrality_micros); amounts of accounts and neutrality sum to zero, as do those of BRPs.
    """
    imbalances: list[int] = []
    members: dict[str, list[int]] = {}
    group_wh: dict[str, int] = {}
    position_wh: dict[str, int] = {}
    for place, row in enumerate(rows):
        account, brp, sold_wh, bought_wh, import_wh, export_wh, activated_wh = row
        imbalance_wh = imbalance_of(sold_wh, bought_wh, import_wh, export_wh) - activated_wh
        imbalances.append(imbalance_wh)
        group = account if brp == "" else brp
        if group not in members:
            members[group] = []
        members[group].append(place)
        group_wh[group] = group_wh.get(group, 0) + imbalance_wh
        position_wh[group] = position_wh.get(group, 0) + sold_wh - bought_wh
    amounts = [0 for row in rows]
    groups: list[tuple[str, int, int]] = []
    neutrality_micros = 0
    for group, places in members.items():
        imbalance_wh = group_wh[group]
        amount_micros = amount_of(terms, imbalance_wh, position_wh[group])
        groups.append((group, imbalance_wh, amount_micros))
        neutrality_micros -= amount_micros
        if len(places) == 1:
            amounts[places[0]] = amount_micros
        elif amount_micros != 0:
            leading = [place for place in places if imbalances[place] * imbalance_wh > 0]
            parts = share(amount_micros, [(rows[place][0], abs(imbalances[place])) for place in leading])
            for place, part in zip(leading, parts):
                amounts[place] = part
    accounts = [(row[0], imbalance_wh, amount) for row, imbalance_wh, amount in zip(rows, imbalances, amounts)]
    return (accounts, groups, neutrality_micros)


def settle_rows(
    pricing: str,
    buy_price_micros_per_kwh: int,
    sell_price_micros_per_kwh: int,
    rows: list[tuple[str, str, int, int, int, int, int]],
) -> tuple[list[tuple[str, int, int]], list[tuple[str, int, int]], int]:
    """`settle_terms` without a dead band. In single pricing both prices are the one price."""
    require(pricing == "dual" or buy_price_micros_per_kwh == sell_price_micros_per_kwh, "ONE_PRICE")
    return settle_terms(Terms(pricing, buy_price_micros_per_kwh, sell_price_micros_per_kwh, 0, 0), rows)


# --- On the chain ------------------------------------------------------------------------------------------------------


@export
def post_price(slot: int, price_micros_per_kwh: int) -> None:
    """An operator posts the slot's reference price; until settlement it may post another one, and both stay on record."""
    require(call("registry", "has_role", ctx.caller, "OPERATOR"), "NOT_OPERATOR")
    require(0 <= slot <= MAX_SLOT, "SLOT_OUT_OF_RANGE")
    require(abs(price_micros_per_kwh) <= MAX_PRICE_MICROS_PER_KWH, "PRICE_OUT_OF_RANGE")
    require(slot not in terms_used, "SLOT_SETTLED")
    prices[slot] = price_micros_per_kwh
    emit("PricePosted", slot=slot, price_micros_per_kwh=price_micros_per_kwh, by=ctx.caller)


def collect(slot: int, start: int, end: int) -> list[tuple[str, str, int, int, int, int, int]]:
    """The rows of `settle_terms` of the participants `start` to `end`, by number."""
    rows: list[tuple[str, str, int, int, int, int, int]] = []
    for first in range(start, end, PAGE):
        accounts = call("registry", "participants", first, min(PAGE, end - first))
        groups = call("registry", "brps_of", accounts, slot)
        traded = call("market", "positions", accounts, slot)
        metered = call("metering", "metered_many", accounts, slot)
        activated = call("balancing", "activated", accounts, slot)
        rows.extend(
            [
                (account, group, trade[1], trade[0], energy[0], energy[1], activated_wh)
                for account, group, trade, energy, activated_wh in zip(accounts, groups, traded, metered, activated)
            ]
        )
    return rows


def publish(
    slot: int,
    run: int,
    rows: list[tuple[str, str, int, int, int, int, int]],
    results: list[tuple[str, int, int, int]],
) -> list[tuple[str, int]]:
    """Writes every participant's settlement and emits it: whole in the first run, what changes in a later one.

    Returns what the run has to move: (account, micros that it receives), nobody with 0.
    """
    dues: list[tuple[str, int]] = []
    for row, result in zip(rows, results):
        account, brp, sold_wh, bought_wh, import_wh, export_wh, activated_wh = row
        account, imbalance_wh, amount_micros, price = result
        made = Settlement(
            sold_wh, bought_wh, import_wh, export_wh, imbalance_wh, price, amount_micros, activated_wh, brp
        )
        settlements[(account, slot, run)] = made
        due_micros = amount_micros
        if run == 1:
            emit(
                "Settled",
                slot=slot,
                account=account,
                sold_wh=sold_wh,
                bought_wh=bought_wh,
                import_wh=import_wh,
                export_wh=export_wh,
                imbalance_wh=imbalance_wh,
                price_micros_per_kwh=price,
                amount_micros=amount_micros,
                activated_wh=activated_wh,
                brp=brp,
            )
        else:
            before = settlements[(account, slot, run - 1)]
            due_micros -= before.amount_micros
            if before != made:
                emit(
                    "Resettled",
                    slot=slot,
                    run=run,
                    account=account,
                    import_wh=import_wh,
                    export_wh=export_wh,
                    imbalance_wh=imbalance_wh,
                    price_micros_per_kwh=price,
                    amount_micros=amount_micros,
                    difference_micros=due_micros,
                    brp=brp,
                )
        if due_micros != 0:
            dues.append((account, due_micros))
    return dues


def pay(dues: list[tuple[str, int]]) -> int:
    """Moves the money, arrears first, and records new arrears. Returns by how much all arrears grew (micros)."""
    charges: list[tuple[str, int]] = []
    repaid: list[int] = []
    for account, amount_micros in dues:
        repaid_micros = 0
        if amount_micros > 0:
            repaid_micros = min(amount_micros, debts.get(account, 0))
        repaid.append(repaid_micros)
        charges.append((account, amount_micros - repaid_micros))
    unpaid = call("payments", "charge", charges, NEUTRALITY)
    growth_micros = 0
    for due, repaid_micros, unpaid_micros in zip(dues, repaid, unpaid):
        change_micros = unpaid_micros - repaid_micros
        if change_micros != 0:
            growth_micros += change_micros
            change_debt(due[0], change_micros)
    return growth_micros


def change_debt(account: str, change_micros: int) -> None:
    owed_micros = debts.get(account, 0) + change_micros
    if owed_micros == 0:
        del debts[account]
    else:
        debts[account] = owed_micros
    emit("ArrearsChanged", account=account, change_micros=change_micros, arrears_micros=owed_micros)


def shared(
    slot: int, run: int, rows: list[tuple[str, str, int, int, int, int, int]]
) -> list[tuple[str, int, int, int]]:
    """Results (account, imbalance_wh, amount_micros, price) of all rows of the slot; drafts the slot's sums."""
    terms = terms_used[slot]
    accounts, groups, neutrality_micros = settle_terms(terms, rows)
    group_prices = {group: price_of(terms, imbalance_wh) for group, imbalance_wh, amount_micros in groups}
    member_counts: dict[str, int] = {}
    for row in rows:
        member_counts[row[1]] = member_counts.get(row[1], 0) + 1
    for group, imbalance_wh, amount_micros in groups:
        if member_counts[group] > 1:
            group_amounts[(group, slot, run)] = (imbalance_wh, amount_micros)
    drafts[slot] = SlotTotals(
        len(rows),
        price_of(terms, -1),
        sum([result[1] for result in accounts]),
        sum([max(result[2], 0) for result in accounts]),
        sum([max(-result[2], 0) for result in accounts]),
        neutrality_micros,
        0,
        run,
    )
    return [(result[0], result[1], result[2], group_prices[row[1]]) for result, row in zip(accounts, rows)]


def begin(slot: int) -> Run:
    """The first run closes the slot and freezes its terms; a later one needs readings corrected since the last."""
    corrections = call("metering", "corrections", slot)
    if slot in totals:
        require(corrections > corrections_used[slot], "SLOT_SETTLED")
        return Run(totals[slot].run + 1, "COLLECT", 0, totals[slot].participants, corrections)
    require(slot in prices, "PRICE_MISSING")
    call("market", "close_slot", slot)
    call("metering", "close_slot", slot)
    call("balancing", "close_slot", slot)
    pricing, buy, sell, dead_band_ppm, penalty_ppm = call("balancing", "terms", slot, prices[slot])
    terms_used[slot] = Terms(pricing, buy, sell, dead_band_ppm, penalty_ppm)
    return Run(1, "COLLECT", 0, call("registry", "participant_count"), corrections)


def complete(slot: int, run: Run) -> None:
    totals[slot] = drafts[slot]
    del drafts[slot]
    corrections_used[slot] = run.corrections
    found = totals[slot]
    emit(
        "SlotSettled",
        slot=slot,
        participants=found.participants,
        price_micros_per_kwh=found.price_micros_per_kwh,
        imbalance_wh=found.imbalance_wh,
        received_micros=found.received_micros,
        paid_micros=found.paid_micros,
        neutrality_micros=found.neutrality_micros,
        arrears_micros=found.arrears_micros,
        run=found.run,
    )


def settle_at_once(slot: int, run: Run) -> None:
    rows = collect(slot, 0, run.participants)
    results = shared(slot, run.number, rows)
    growth_micros = pay(publish(slot, run.number, rows, results))
    drafts[slot] = replace(drafts[slot], arrears_micros=growth_micros)
    complete(slot, run)


def settle_step(slot: int, run: Run) -> None:
    """One step of a run over many participants; everything that it keeps meanwhile is gone when the run is complete."""
    pages = range(0, run.participants, STEP)
    end = min(run.next + STEP, run.participants)
    phase = run.phase
    if phase == "COLLECT":
        rows_kept[(slot, run.next)] = collect(slot, run.next, end)
    elif phase == "SHARE":
        rows: list[tuple[str, str, int, int, int, int, int]] = []
        for first in pages:
            rows.extend(rows_kept[(slot, first)])
        results = shared(slot, run.number, rows)
        for first in pages:
            results_kept[(slot, first)] = results[first : first + STEP]
        end = run.participants
    elif phase == "PUBLISH":
        page = (slot, run.next)
        dues_kept[page] = publish(slot, run.number, rows_kept[page], results_kept[page])
        del rows_kept[page]
        del results_kept[page]
    else:
        dues: list[tuple[str, int]] = []
        for first in pages:
            dues.extend(dues_kept[(slot, first)])
            del dues_kept[(slot, first)]
        drafts[slot] = replace(drafts[slot], arrears_micros=pay(dues))
        end = run.participants
    if end < run.participants:
        runs[slot] = replace(run, next=end)
    elif phase == "PAY":
        complete(slot, run)
        del runs[slot]
        call("metering", "thaw_slot", slot)
    else:
        following = {"COLLECT": "SHARE", "SHARE": "PUBLISH", "PUBLISH": "PAY"}
        runs[slot] = replace(run, phase=following[phase], next=0)


@export
def settle(slot: int) -> bool:
    """An operator settles a slot, and again once readings were corrected. Returns whether the run is complete.

    With more than 2,000 participants it is called until it returns True; each call does one step, and nothing of the run
    is seen before the last one.
    """
    require(call("registry", "has_role", ctx.caller, "OPERATOR"), "NOT_OPERATOR")
    if slot in runs:
        settle_step(slot, runs[slot])
    else:
        run = begin(slot)
        if run.participants <= STEP:
            settle_at_once(slot, run)
        else:
            call("metering", "freeze_slot", slot)
            settle_step(slot, run)
    return slot not in runs


@export
def pay_arrears(amount_micros: int) -> None:
    """The caller pays a part or all of its arrears to neutrality."""
    require(amount_micros > 0, "AMOUNT_NOT_POSITIVE")
    require(amount_micros <= debts.get(ctx.caller, 0), "MORE_THAN_ARREARS")
    call("payments", "move", ctx.caller, NEUTRALITY, amount_micros)
    change_debt(ctx.caller, -amount_micros)


@view
def price(slot: int) -> int | None:
    """The posted reference price (micros per kWh), or None."""
    return prices.get(slot, None)


@view
def terms(slot: int) -> Terms | None:
    """Pricing and prices that the slot was settled with, or None before its first run."""
    return terms_used.get(slot, None)


@view
def settlement(account: str, slot: int) -> Settlement | None:
    """The account's settlement of the slot by the last complete run, or None before it."""
    if slot not in totals:
        return None
    return settlements.get((account, slot, totals[slot].run), None)


@view
def settlement_of_run(account: str, slot: int, run: int) -> Settlement | None:
    """The account's settlement by an earlier complete run, or None."""
    if slot not in totals or run > totals[slot].run:
        return None
    return settlements.get((account, slot, run), None)


@view
def group_settlement(brp: str, slot: int) -> tuple[int, int] | None:
    """(imbalance_wh, amount_micros) of a balance group by the last complete run, or None."""
    if slot not in totals:
        return None
    run = totals[slot].run
    found = group_amounts.get((brp, slot, run), None)
    alone = settlements.get((brp, slot, run), None)
    if found is None and alone is not None and alone.brp == brp:
        return (alone.imbalance_wh, alone.amount_micros)
    return found


@view
def slot_totals(slot: int) -> SlotTotals | None:
    """The sums of a settled slot by the last complete run, or None."""
    return totals.get(slot, None)


@view
def arrears(account: str) -> int:
    """What the account still owes from settlements (micros)."""
    return debts.get(account, 0)
