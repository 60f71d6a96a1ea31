"""Who may do what, who takes part, and which meter belongs to whom.

Every other contract asks here before it lets anybody act. At height 0 the sender "genesis" holds every role: it sets the
network up before the first block, and nobody can sign as it afterwards (a real sender is 40 hex characters).
Identity documents stay off the chain: `name` is what a market register would print, nothing more, and an identity is the
hash of what an operator has seen.

Who answers for a participant's imbalances (its BRP) and who supplies it can change, from a slot that has not begun: never
in the past. An aggregator acts in the market for whoever delegated to it.

Participants and meters can carry an EIC: 16 characters, of which the third says what is named (X a party, Z a metering
point, W a resource) and the last is a check character (ENTSO-E, The Energy Identification Coding Scheme, 3.2).
"""

from contracts.host import Map, NamedTuple, Value, ctx, emit, export, fail, require, view

ROLES = ("OPERATOR", "METER_OPERATOR", "BRP", "SUPPLIER", "PROSUMER", "AGGREGATOR", "ISSUER", "AUDITOR")
KINDS = ("household", "commercial", "heat_pump", "ev_charger", "battery", "pv", "wind", "hydro", "biomass", "chp")
RENEWABLE_KINDS = ("pv", "wind", "hydro", "biomass")
PRODUCING_KINDS = ("pv", "wind", "hydro", "biomass", "battery", "chp")
ADDRESS_CHARACTERS = "0123456789abcdef"
MAX_NAME_CHARACTERS = 64
MAX_RATING_W = 1_000_000_000
MAX_PAGE = 1_000
SLOT_MS = 900_000
MAX_SLOT = 100_000_000
MAX_SWITCHES = 200  # of one account and kind, so that looking up a slot is bounded
HASH_BYTES = 32
KEY_BYTES = 32
EIC_CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-"

Participant = NamedTuple("Participant", [("account", str), ("name", str), ("brp", str), ("number", int)])
Meter = NamedTuple("Meter", [("meter", str), ("account", str), ("kind", str), ("bus", str), ("rating_w", int)])

Switch = NamedTuple("Switch", [("from_slot", int), ("to", str)])

grants: Map[tuple[str, str], bool] = Map("grants")  # (account, role)
operator_count: Value[int] = Value("operator_count", 0)
participants_by_account: Map[str, Participant] = Map("participants_by_account")
accounts_by_number: Map[int, str] = Map("accounts_by_number")
participant_total: Value[int] = Value("participant_total", 0)
meters: Map[str, Meter] = Map("meters")
meter_counts: Map[str, int] = Map("meter_counts")  # account -> how many meters
meters_by_number: Map[tuple[str, int], str] = Map("meters_by_number")  # (account, n) -> meter
switches: Map[tuple[str, str, int], Switch] = Map("switches")  # (kind, account, n), by rising slot
switch_counts: Map[tuple[str, str], int] = Map("switch_counts")  # (kind, account); kinds are brp and supplier
delegates: Map[str, str] = Map("delegates")  # account -> aggregator
identities: Map[str, bytes] = Map("identities")  # account -> hash of its documents
keys: Map[str, bytes] = Map("keys")  # meter -> Ed25519 public key
eics: Map[str, str] = Map("eics")  # account or meter -> EIC
eic_subjects: Map[str, str] = Map("eic_subjects")  # EIC -> account or meter


# --- The EIC: a plain function, also used away from the chain ----------------------------------------------------------


def eic_check_character(code: str) -> str:
    """The 16th character of an EIC, from its first 15; "" where one of them cannot stand in an EIC or "-" would come out.

    Characters count 0-9, A-Z as 10-35, "-" as 36; weights fall from 16 to 2; the check is 36 - (sum - 1) mod 37.
    """
    total = 0
    for place, character in enumerate(code[:15]):
        values = [value for value, known in enumerate(EIC_CHARACTERS) if known == character]
        if len(values) == 0:
            return ""
        total += values[0] * (16 - place)
    value = 36 - (total - 1) % 37
    return "" if value == 36 else EIC_CHARACTERS[value]


# --- On the chain ------------------------------------------------------------------------------------------------------


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
    require(not meter.startswith("carbon/"), "METER_NAME_RESERVED")  # of projects, among the devices of certificates
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


@export
def set_eic(subject: str, eic: str) -> None:
    """An operator gives a participant or a meter its EIC, once and for ever."""
    require(holds_role(ctx.caller, "OPERATOR"), "NOT_OPERATOR")
    require(len(eic) == 16 and eic_check_character(eic) == eic[15], "NOT_AN_EIC")
    if subject in participants_by_account:
        require(eic[2] == "X", "EIC_OF_ANOTHER_KIND")
    else:
        require(subject in meters, "UNKNOWN_SUBJECT")
        require(eic[2] == "Z" or eic[2] == "W", "EIC_OF_ANOTHER_KIND")
    require(subject not in eics and eic not in eic_subjects, "EIC_STANDS")
    eics[subject] = eic
    eic_subjects[eic] = subject
    emit("EicSet", subject=subject, eic=eic, by=ctx.caller)


@export
def set_identity(account: str, identity_hash: bytes) -> None:
    """An operator records the SHA-256 of the documents that it has seen for a participant; the last one holds."""
    require(holds_role(ctx.caller, "OPERATOR"), "NOT_OPERATOR")
    require(account in participants_by_account, "NOT_A_PARTICIPANT")
    require(len(identity_hash) == HASH_BYTES, "NOT_A_HASH")
    identities[account] = identity_hash
    emit("IdentitySet", account=account, identity_hash=identity_hash, by=ctx.caller)


@export
def set_meter_key(meter: str, public_key: bytes) -> None:
    """An operator registers the Ed25519 key with which a meter signs its readings; the last one holds."""
    require(holds_role(ctx.caller, "OPERATOR"), "NOT_OPERATOR")
    require(meter in meters, "UNKNOWN_METER")
    require(len(public_key) == KEY_BYTES, "NOT_A_KEY")
    keys[meter] = public_key
    emit("MeterKeySet", meter=meter, public_key=public_key, by=ctx.caller)


def switch(kind: str, account: str, to: str, from_slot: int) -> None:
    """Adds a change of the account's BRP or supplier. One that has not begun is replaced by another for its slot."""
    require(account in participants_by_account, "NOT_A_PARTICIPANT")
    require(from_slot <= MAX_SLOT, "SLOT_OUT_OF_RANGE")
    require(from_slot * SLOT_MS > ctx.time_ms, "SLOT_HAS_BEGUN")
    count = switch_counts.get((kind, account), 0)
    if count > 0:
        last_slot = switches[(kind, account, count - 1)].from_slot
        require(from_slot >= last_slot, "LATER_SWITCH_STANDS")
        if from_slot == last_slot:
            count -= 1
    require(count < MAX_SWITCHES, "TOO_MANY_SWITCHES")
    switches[(kind, account, count)] = Switch(from_slot, to)
    switch_counts[(kind, account)] = count + 1


def switched(kind: str, account: str, slot: int, before: str) -> str:
    """Who stands for the account in the slot; `before` the first switch."""
    place = switch_counts.get((kind, account), 0) - 1
    while place >= 0:
        found = switches[(kind, account, place)]
        if found.from_slot <= slot:
            return found.to
        place -= 1
    return before


@export
def switch_brp(account: str, brp: str, from_slot: int) -> None:
    """An operator gives a participant another BRP from a slot that has not begun; "" is the participant itself."""
    require(holds_role(ctx.caller, "OPERATOR"), "NOT_OPERATOR")
    responsible = account if brp == "" else brp
    require(responsible == account or holds_role(brp, "BRP"), "NOT_A_BRP")
    switch("brp", account, responsible, from_slot)
    emit("BrpSwitched", account=account, brp=responsible, from_slot=from_slot, by=ctx.caller)


@export
def switch_supplier(account: str, supplier: str, from_slot: int) -> None:
    """A participant, or an operator for it, changes its supplier of last resort from a slot that has not begun."""
    require(ctx.caller == account or holds_role(ctx.caller, "OPERATOR"), "NOT_YOUR_ACCOUNT")
    require(supplier != account and holds_role(supplier, "SUPPLIER"), "NOT_A_SUPPLIER")
    switch("supplier", account, supplier, from_slot)
    emit("SupplierSwitched", account=account, supplier=supplier, from_slot=from_slot, by=ctx.caller)


@export
def delegate(aggregator: str) -> None:
    """A participant lets an aggregator trade for it; one at a time, and the last one holds."""
    require(ctx.caller in participants_by_account, "NOT_A_PARTICIPANT")
    require(aggregator != ctx.caller and holds_role(aggregator, "AGGREGATOR"), "NOT_AN_AGGREGATOR")
    delegates[ctx.caller] = aggregator
    emit("Delegated", account=ctx.caller, aggregator=aggregator)


@export
def end_delegation() -> None:
    """A participant takes its delegation back."""
    require(ctx.caller in delegates, "NOTHING_DELEGATED")
    del delegates[ctx.caller]
    emit("DelegationEnded", account=ctx.caller)


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
    return [switched("brp", account, slot, participants_by_account[account].brp) for account in accounts]


@view
def suppliers_of(accounts: list[str], slot: int) -> list[str]:
    """The supplier of last resort of each account in the slot, "" where there is none."""
    return [switched("supplier", account, slot, "") for account in accounts]


@view
def may_act_for(agent: str, account: str) -> bool:
    """Whether the agent is the account's aggregator now."""
    return delegates.get(account, "") == agent and holds_role(agent, "AGGREGATOR")


@view
def produces_renewably(account: str) -> bool:
    """Whether every meter of the account that can produce is renewable, and there is one."""
    codes = [meters_by_number[(account, number)] for number in range(meter_counts.get(account, 0))]
    producing = [meters[code].kind for code in codes if meters[code].kind in PRODUCING_KINDS]
    return len(producing) > 0 and all([kind in RENEWABLE_KINDS for kind in producing])


@view
def identity(account: str) -> bytes | None:
    """The hash of the account's documents, or None."""
    return identities.get(account, None)


@view
def meter_keys(codes: list[str]) -> list[bytes]:
    """The public key of each meter, empty where there is none."""
    return [keys.get(code, b"") for code in codes]


@view
def eic_of(subject: str) -> str:
    """The EIC of a participant or meter, or ""."""
    return eics.get(subject, "")


@view
def subject_of(eic: str) -> str:
    """The account or meter that carries the EIC, or ""."""
    return eic_subjects.get(eic, "")
