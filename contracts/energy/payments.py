"""Money: accounts, holds and credit lines in integer micros (1e-6) of the network's one settlement currency.

What must hold at every height: the sum of all balances and all holds is what was minted less what was burned, and no
balance is below its account's credit limit. Every function moves one integer from one place to another, so nothing is
made or lost by rounding.

An account is an address, a contract that an operator allowed here ("market", "imbalance") under its own name, or a fund
that no program owns ("neutrality"). Authority is the immediate caller's: a contract that someone calls cannot spend
that person's money unless an operator allowed the contract.
"""

from contracts.host import Map, NamedTuple, Value, call, ctx, emit, export, fail, require, view

MAX_AMOUNT_MICROS = 10**18  # a million million units of the currency: far beyond any market, far within 256 bits
MAX_REFERENCE_CHARACTERS = 128
MAX_CONTRACT_NAME_CHARACTERS = 32  # shorter than an address, so a contract's account is never a person's
MAX_PAGE = 1_000
FUNDS = ("neutrality", "grid")  # what settlements do not balance; what grid fees bring in

Statement = NamedTuple(
    "Statement",
    [
        ("balance_micros", int),
        ("held_micros", int),
        ("credit_limit_micros", int),
        ("spendable_micros", int),  # balance and unused credit
    ],
)
Hold = NamedTuple("Hold", [("account", str), ("contract", str), ("amount_micros", int)])

free: Map[str, int] = Map("free")  # what an account can spend; below zero when it draws on its credit line
on_hold: Map[str, int] = Map("on_hold")  # what an account has set aside in all its holds
holds: Map[int, Hold] = Map("holds")
next_hold: Value[int] = Value("next_hold", 1)
credit_limits: Map[str, int] = Map("credit_limits")
contracts: Map[str, bool] = Map("contracts")  # may hold, capture, move and charge
minted: Value[int] = Value("minted", 0)
burned: Value[int] = Value("burned", 0)


def require_operator() -> None:
    require(call("registry", "has_role", ctx.caller, "OPERATOR"), "NOT_OPERATOR")


def require_contract() -> None:
    require(ctx.caller in contracts, "NOT_AN_ALLOWED_CONTRACT")


def require_amount(amount_micros: int) -> None:
    require(amount_micros > 0, "AMOUNT_NOT_POSITIVE")
    require(amount_micros <= MAX_AMOUNT_MICROS, "AMOUNT_TOO_LARGE")


def require_account(account: str) -> None:
    require(len(account) == 40 or account in contracts or account in FUNDS, "NOT_AN_ACCOUNT")


def take(account: str, amount_micros: int) -> None:
    """Lowers a balance, down to the credit limit and no further."""
    left = free.get(account, 0) - amount_micros
    require(left >= 0 or left >= -credit_limits.get(account, 0), "INSUFFICIENT_BALANCE")
    free[account] = left


def give(account: str, amount_micros: int) -> None:
    free[account] = free.get(account, 0) + amount_micros


def lower_hold(hold_id: int, amount_micros: int) -> str:
    """Takes an amount out of the calling contract's hold; an empty hold is gone. Returns whose money it was."""
    require(hold_id in holds, "UNKNOWN_HOLD")
    held_here = holds[hold_id]
    require(held_here.contract == ctx.caller, "NOT_YOUR_HOLD")
    require(amount_micros <= held_here.amount_micros, "HOLD_TOO_SMALL")
    account = held_here.account
    left = held_here.amount_micros - amount_micros
    if left == 0:
        del holds[hold_id]
    else:
        holds[hold_id] = Hold(account, held_here.contract, left)
    on_hold[account] = on_hold[account] - amount_micros
    return account


@export
def allow_contract(name: str) -> None:
    """An operator lets a contract keep an account here, and hold, capture, move and charge by the rules below."""
    require_operator()
    require(0 < len(name) <= MAX_CONTRACT_NAME_CHARACTERS, "NOT_A_CONTRACT_NAME")
    require(name not in FUNDS, "NOT_A_CONTRACT_NAME")
    require(name not in contracts, "CONTRACT_ALLOWED")
    contracts[name] = True
    emit("ContractAllowed", contract=name, by=ctx.caller)


@export
def mint(to: str, amount_micros: int, reference: str) -> None:
    """An operator credits a deposit that it received; `reference` names the deposit."""
    require_operator()
    require_amount(amount_micros)
    require(len(reference) <= MAX_REFERENCE_CHARACTERS, "REFERENCE_TOO_LONG")
    require_account(to)
    give(to, amount_micros)
    minted.set(minted.get() + amount_micros)
    emit("Minted", to=to, amount_micros=amount_micros, reference=reference, by=ctx.caller)


@export
def burn(account: str, amount_micros: int, reference: str) -> None:
    """An operator debits a withdrawal that it paid out. Credit cannot be withdrawn, only money."""
    require_operator()
    require_amount(amount_micros)
    require(len(reference) <= MAX_REFERENCE_CHARACTERS, "REFERENCE_TOO_LONG")
    require(free.get(account, 0) >= amount_micros, "INSUFFICIENT_BALANCE")
    take(account, amount_micros)
    burned.set(burned.get() + amount_micros)
    emit("Burned", account=account, amount_micros=amount_micros, reference=reference, by=ctx.caller)


@export
def transfer(to: str, amount_micros: int) -> None:
    """The caller pays another account."""
    require(amount_micros > 0, "AMOUNT_NOT_POSITIVE")
    require(len(to) == 40 or to in contracts or to in FUNDS, "NOT_AN_ACCOUNT")
    source = ctx.caller
    require(to != source, "SELF_TRANSFER")
    left = free.get(source, 0) - amount_micros
    require(left >= 0 or left >= -credit_limits.get(source, 0), "INSUFFICIENT_BALANCE")
    free[source] = left
    free[to] = free.get(to, 0) + amount_micros
    emit("Transferred", source=source, to=to, amount_micros=amount_micros)


@export
def set_credit_limit(account: str, limit_micros: int) -> None:
    """An operator says how far below zero an account may go; never less than what it draws now."""
    require_operator()
    require(0 <= limit_micros <= MAX_AMOUNT_MICROS, "LIMIT_OUT_OF_RANGE")
    require_account(account)
    require(free.get(account, 0) >= -limit_micros, "LIMIT_BELOW_DRAW")
    credit_limits[account] = limit_micros
    emit("CreditLimitSet", account=account, limit_micros=limit_micros, by=ctx.caller)


@export
def hold(account: str, amount_micros: int) -> int:
    """A contract sets an account's money aside for itself, on credit where the limit allows. Returns the hold's id."""
    require_contract()
    require_amount(amount_micros)
    take(account, amount_micros)
    on_hold[account] = on_hold.get(account, 0) + amount_micros
    hold_id = next_hold.get()
    next_hold.set(hold_id + 1)
    holds[hold_id] = Hold(account, ctx.caller, amount_micros)
    return hold_id


@export
def hold_each(account: str, amounts_micros: list[int]) -> list[int]:
    """`hold` for each amount, at the cost of hardly more than one. Returns the holds' ids in the same order."""
    require_contract()
    total_micros = 0
    for amount_micros in amounts_micros:
        require_amount(amount_micros)
        total_micros += amount_micros
    take(account, total_micros)
    on_hold[account] = on_hold.get(account, 0) + total_micros
    first_id = next_hold.get()
    next_hold.set(first_id + len(amounts_micros))
    for place, amount_micros in enumerate(amounts_micros):
        holds[first_id + place] = Hold(account, ctx.caller, amount_micros)
    return [first_id + place for place in range(len(amounts_micros))]


@export
def capture(hold_id: int, to: str, amount_micros: int) -> None:
    """A contract pays `to` out of its hold; what is left stays held."""
    require_contract()
    require_amount(amount_micros)
    require_account(to)
    account = lower_hold(hold_id, amount_micros)
    give(to, amount_micros)
    emit("Captured", hold_id=hold_id, account=account, to=to, amount_micros=amount_micros)


@export
def release(hold_id: int, amount_micros: int) -> None:
    """A contract gives a part of its hold back to the account."""
    require_contract()
    require_amount(amount_micros)
    give(lower_hold(hold_id, amount_micros), amount_micros)


@export
def release_all(hold_id: int) -> None:
    """A contract gives all that is left of its hold back to the account."""
    require_contract()
    require(hold_id in holds, "UNKNOWN_HOLD")
    left = holds[hold_id].amount_micros
    give(lower_hold(hold_id, left), left)


@export
def settle_holds(debits: list[tuple[int, int]], credits: list[tuple[str, int]]) -> None:
    """A contract ends many holds at once: each pays its debit and gives the rest back; the credits are paid from the sum.

    `debits` are (hold id, micros spent, 0 or more), `credits` (account, micros). Refused unless both add up to the
    same amount. The contract emits what was bought for it; nothing is emitted here.
    """
    require_contract()
    caller = ctx.caller
    spent_micros = 0
    ended_micros: dict[str, int] = {}
    due_micros: dict[str, int] = {}
    for hold_id, amount_micros in debits:
        ending = holds.get(hold_id, None)
        if ending is None:
            fail("UNKNOWN_HOLD")
        account, contract, held_micros = ending
        require(contract == caller, "NOT_YOUR_HOLD")
        require(0 <= amount_micros <= held_micros, "HOLD_TOO_SMALL")
        ended_micros[account] = ended_micros.get(account, 0) + held_micros
        due_micros[account] = due_micros.get(account, 0) + held_micros - amount_micros
        del holds[hold_id]
        spent_micros += amount_micros
    for account, amount_micros in ended_micros.items():
        on_hold[account] = on_hold[account] - amount_micros
    paid_micros = 0
    for account, amount_micros in credits:
        require_amount(amount_micros)
        due_micros[account] = due_micros.get(account, 0) + amount_micros
        paid_micros += amount_micros
    require(spent_micros == paid_micros, "UNBALANCED")
    for account, amount_micros in due_micros.items():
        if amount_micros > 0:
            give(account, amount_micros)


@export
def move(source: str, to: str, amount_micros: int) -> None:
    """A contract moves money between two accounts."""
    require_contract()
    require_amount(amount_micros)
    require_account(to)
    require(to != source, "SELF_TRANSFER")
    take(source, amount_micros)
    give(to, amount_micros)
    emit("Moved", source=source, to=to, amount_micros=amount_micros, by=ctx.caller)


@export
def charge(rows: list[tuple[str, int]], counterparty: str) -> list[int]:
    """A contract settles many amounts against one counterparty. Returns what each account could not pay, in micros.

    A positive amount is received, a negative one paid. An account pays from its balance, then from its credit line; what
    lies beyond is not paid, and the counterparty goes without it. So one debtor never stops a settlement. The
    counterparty's own credit limit is the bound: a settlement beyond it is refused as a whole.
    """
    require_contract()
    require_account(counterparty)
    unpaid: list[int] = []
    counterparty_micros = 0
    for account, amount_micros in rows:
        require(account != counterparty, "SELF_TRANSFER")
        require(abs(amount_micros) <= MAX_AMOUNT_MICROS, "AMOUNT_TOO_LARGE")
        balance_micros = free.get(account, 0)
        able_micros = amount_micros
        if amount_micros < 0:
            able_micros = max(amount_micros, -(balance_micros + credit_limits.get(account, 0)))
        if able_micros != 0:
            free[account] = balance_micros + able_micros
        counterparty_micros -= able_micros
        unpaid.append(able_micros - amount_micros)
    if counterparty_micros < 0:
        take(counterparty, -counterparty_micros)
    elif counterparty_micros > 0:
        give(counterparty, counterparty_micros)
    return unpaid


@view
def balance(account: str) -> int:
    """What the account can spend without credit (micros); holds are not in it."""
    return free.get(account, 0)


@view
def balances(accounts: list[str]) -> list[int]:
    """`balance` of each account, at most 1,000 a call."""
    require(len(accounts) <= MAX_PAGE, "PAGE_OUT_OF_RANGE")
    return [free.get(account, 0) for account in accounts]


@view
def held(account: str) -> int:
    """What the account has set aside in holds (micros)."""
    return on_hold.get(account, 0)


@view
def helds(accounts: list[str]) -> list[int]:
    """`held` of each account, at most 1,000 a call."""
    require(len(accounts) <= MAX_PAGE, "PAGE_OUT_OF_RANGE")
    return [on_hold.get(account, 0) for account in accounts]


@view
def held_by(hold_id: int) -> Hold | None:
    """The hold's record, or None once it is empty."""
    return holds.get(hold_id, None)


@view
def credit_limit(account: str) -> int:
    """How far below zero the account may go (micros)."""
    return credit_limits.get(account, 0)


@view
def is_allowed(name: str) -> bool:
    """Whether a contract may keep an account here and move money."""
    return name in contracts


@view
def supply() -> tuple[int, int]:
    """(minted, burned) since genesis, in micros."""
    return (minted.get(), burned.get())


@view
def statement(account: str) -> Statement:
    """What the account has, has set aside, and can still spend (micros)."""
    balance_micros = free.get(account, 0)
    limit_micros = credit_limits.get(account, 0)
    return Statement(balance_micros, on_hold.get(account, 0), limit_micros, balance_micros + limit_micros)


@view
def spendables(accounts: list[str]) -> list[int]:
    """What each account can still spend, its unused credit included (micros)."""
    return [free.get(account, 0) + credit_limits.get(account, 0) for account in accounts]
