"""Who may do what, who takes part, and which meter belongs to whom.

Every other contract asks here before it lets anybody act. At height 0 the sender "genesis" holds every role: it sets the
network up before the first block, and nobody can sign as it afterwards (a real sender is 40 hex characters).
Identity documents stay off the chain: `name` is what a market register would print, nothing more.
"""

from contracts.host import Map, NamedTuple, Value, ctx, emit, export, fail, require, view

ROLES = ("OPERATOR", "METER_OPERATOR", "BRP", "SUPPLIER", "PROSUMER", "AGGREGATOR", "ISSUER", "AUDITOR")
KINDS = ("household", "commercial", "heat_pump", "ev_charger", "battery", "pv", "wind", "hydro", "biomass")
ADDRESS_CHARACTERS = "0123456789abcdef"
MAX_NAME_CHARACTERS = 64
MAX_RATING_W = 1_000_000_000
MAX_PAGE = 1_000

Participant = NamedTuple("Participant", [("account", str), ("name", str), ("brp", str), ("number", int)])
Meter = NamedTuple("Meter", [("meter", str), ("account", str), ("kind", str), ("bus", str), ("rating_w", int)])

grants: Map[tuple[str, str], bool] = Map("grants")  # (account, role)
operator_count: Value[int] = Value("operator_count", 0)
participants_by_account: Map[str, Participant] = Map("participants_by_account")
accounts_by_number: Map[int, str] = Map("accounts_by_number")
participant_total: Value[int] = Value("participant_total", 0)
meters: Map[str, Meter] = Map("meters")
meter_counts: Map[str, int] = Map("meter_counts")  # account -> how many meters
meters_by_number: Map[tuple[str, int], str] = Map("meters_by_number")  # (account, n) -> meter


def holds_role(account: str, role: str) -> bool:
    return (account, role) in grants or (account == "genesis" and ctx.height == 0)


def is_address(account: str) -> bool:
    return len(account) == 40 and all([character in ADDRESS_CHARACTERS for character in account])


@export
def grant(account: str, role: str) -> None:
    """An operator gives an account a role; a role that stands already is refused."""
    require(holds_role(ctx.caller, "OPERATOR"), "NOT_OPERATOR")
    require(role in ROLES, "UNKNOWN_ROLE")
    require(is_address(account), "NOT_AN_ADDRESS")
    require((account, role) not in grants, "ROLE_STANDS")
    grants[(account, role)] = True
    if role == "OPERATOR":
        operator_count.set(operator_count.get() + 1)
    emit("RoleGranted", account=account, role=role, by=ctx.caller)


@export
def revoke(account: str, role: str) -> None:
    """An operator takes a role back. The last operator stays: without one nobody could ever be granted a role again."""
    require(holds_role(ctx.caller, "OPERATOR"), "NOT_OPERATOR")
    require((account, role) in grants, "ROLE_NOT_GRANTED")
    if role == "OPERATOR":
        require(operator_count.get() > 1, "LAST_OPERATOR")
        operator_count.set(operator_count.get() - 1)
    del grants[(account, role)]
    emit("RoleRevoked", account=account, role=role, by=ctx.caller)


@export
def register_participant(account: str, name: str, brp: str) -> None:
    """An operator admits a participant. `brp` answers for its imbalances; "" says that it answers for itself."""
    require(holds_role(ctx.caller, "OPERATOR"), "NOT_OPERATOR")
    require(is_address(account), "NOT_AN_ADDRESS")
    require(0 < len(name) <= MAX_NAME_CHARACTERS, "NAME_LENGTH")
    require(account not in participants_by_account, "PARTICIPANT_EXISTS")
    responsible = account if brp == "" else brp
    require(responsible == account or holds_role(brp, "BRP"), "NOT_A_BRP")
    number = participant_total.get()
    participants_by_account[account] = Participant(account, name, responsible, number)
    accounts_by_number[number] = account
    participant_total.set(number + 1)
    emit("ParticipantRegistered", account=account, participant_name=name, brp=responsible, number=number)


@export
def register_meter(meter: str, account: str, kind: str, bus: str, rating_w: int) -> None:
    """An operator puts a meter of `rating_w` (W) at a bus under a participant's account."""
    require(holds_role(ctx.caller, "OPERATOR"), "NOT_OPERATOR")
    require(0 < len(meter) <= MAX_NAME_CHARACTERS, "METER_LENGTH")
    require(0 < len(bus) <= MAX_NAME_CHARACTERS, "BUS_LENGTH")
    require(kind in KINDS, "UNKNOWN_KIND")
    require(0 < rating_w <= MAX_RATING_W, "RATING_OUT_OF_RANGE")
    require(account in participants_by_account, "NOT_A_PARTICIPANT")
    require(meter not in meters, "METER_EXISTS")
    number = meter_counts.get(account, 0)
    meters[meter] = Meter(meter, account, kind, bus, rating_w)
    meters_by_number[(account, number)] = meter
    meter_counts[account] = number + 1
    emit("MeterRegistered", meter=meter, account=account, kind=kind, bus=bus, rating_w=rating_w)


@view
def has_role(account: str, role: str) -> bool:
    """Whether the account holds the role now."""
    return holds_role(account, role)


@view
def is_participant(account: str) -> bool:
    """Whether the account was registered as a participant."""
    return account in participants_by_account


@view
def participant(account: str) -> Participant | None:
    """The participant's record, or None."""
    return participants_by_account.get(account, None)


@view
def participant_count() -> int:
    """How many participants there are."""
    return participant_total.get()


@view
def participants(start: int, count: int) -> list[str]:
    """Accounts in the order of registration, from `start`; at most 1,000 a page."""
    require(start >= 0 and 0 <= count <= MAX_PAGE, "PAGE_OUT_OF_RANGE")
    return [accounts_by_number[number] for number in range(start, min(start + count, participant_total.get()))]


@view
def meter(meter: str) -> Meter | None:
    """The meter's record, or None."""
    return meters.get(meter, None)


@view
def meters_of(account: str) -> list[str]:
    """The account's meters in the order of registration; the first 1,000."""
    return [meters_by_number[(account, number)] for number in range(min(meter_counts.get(account, 0), MAX_PAGE))]


@view
def meter_facts(codes: list[str]) -> list[tuple[str, str, str, int]]:
    """(account, kind, bus, rating_w) of each meter, for the contracts that check a batch; refuses an unknown one."""
    facts: list[tuple[str, str, str, int]] = []
    for code in codes:
        found = meters.get(code, None)
        if found is None:
            fail("UNKNOWN_METER")
        facts.append((found.account, found.kind, found.bus, found.rating_w))
    return facts


@view
def brps_of(accounts: list[str], slot: int) -> list[str]:
    """The BRP that answers for each account in the slot."""
    return [participants_by_account[account].brp for account in accounts]
