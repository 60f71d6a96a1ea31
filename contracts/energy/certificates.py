"""Certificates of origin (guarantees of origin, RECs) with a unit of 1 Wh and an interval of one slot, and carbon units.

The rules are EnergyTag's granular ones, with EECS fields. A certificate is a range of unit numbers [unit_start, unit_end)
of one device; each device numbers its units from 0 without a gap, so a device's next number is what was issued to it.

- A licensed issuer issues, only for a production device, only from the export metered in a closed slot, and never more
  than that: a Wh of production is issued at most once, for ever. Metering refuses more than rating x hours x 1.1, and a
  slot is a quarter of an hour, so both bounds of the granular rules hold. What a storage device gives back is certified only
  as far as certificates were retired into it, and says so.
- Transferring, splitting or retiring a part takes the lower unit numbers: 1,000 units at 250 give [0, 250) and [250, 1000).
- An owner locks a certificate for sale at a price; who buys it pays and receives it in one step.
- A retirement claims the beneficiary's metered consumption of the same slot. A consumed Wh is claimed at most once, and a
  retired unit never moves again: it leaves its certificate for good.
- An issuer withdraws units: at will with its reason, and where a correction has left less export than was issued; what
  cannot be withdrawn because it is retired is flagged. Eighteen months after production (a parameter) the rest expires.
- Carbon units (1 kg CO2e) live in the same records: the device is the project, the technology its methodology, the slot
  its vintage (a year). They are issued up to what was verified, and claim no consumption.
"""

from contracts.host import Map, NamedTuple, Value, call, ctx, emit, export, fail, replace, require, view

PRODUCTION_KINDS = ("pv", "wind", "hydro", "biomass")  # a battery gives back what it took: that is no production
SLOT_SECONDS = 900
DAY_MS = 86_400_000
LIFETIME_DAYS = (
    548  # 18 months after production (Directive (EU) 2018/2001, article 19(3)), unless an operator says else
)
MAX_LIFETIME_DAYS = 36_500
WH = "Wh"
CARBON = "kgCO2e"
MAX_PRICE_MICROS_PER_KWH = 1_000_000_000
MAX_CARBON_KG = 10**12
MAX_ROWS = 5_000
MAX_PURPOSE_CHARACTERS = 128
MAX_NAME_CHARACTERS = 64
MAX_PAGE = 1_000

Certificate = NamedTuple(
    "Certificate",
    [
        ("device", str),  # the meter's code
        ("technology", str),  # the meter's kind
        ("location", str),  # the meter's bus
        ("slot", int),
        ("unit_start", int),
        ("unit_end", int),  # equal to unit_start once every unit is retired
        ("owner", str),
        ("issuer", str),
        ("issued_ms", int),
        ("parent", int),  # the certificate it was split from, or 0
        ("support", str),  # what public support the device received, "" for none
        ("storage", bool),  # given back by a storage device
        ("unit", str),  # Wh or kgCO2e
        ("commissioned_s", int),  # when the device began, Unix seconds, 0 where unknown
    ],
)
Device = NamedTuple("Device", [("support", str), ("commissioned_s", int), ("efficiency_ppm", int)])
Project = NamedTuple(
    "Project", [("owner", str), ("methodology", str), ("location", str), ("support", str), ("started_s", int)]
)
Sale = NamedTuple("Sale", [("price_micros_per_kwh", int), ("buyer", str)])
Ending = NamedTuple(
    "Ending",
    [
        ("certificate_id", int),
        ("device", str),
        ("slot", int),
        ("unit_start", int),
        ("unit_end", int),
        ("how", str),  # WITHDRAWN or EXPIRED
        ("reason", str),
        ("ended_ms", int),
    ],
)
Retirement = NamedTuple(
    "Retirement",
    [
        ("certificate_id", int),
        ("device", str),
        ("technology", str),
        ("slot", int),
        ("unit_start", int),
        ("unit_end", int),
        ("owner", str),
        ("beneficiary", str),
        ("purpose", str),
        ("consumption_slot", int),
        ("retired_ms", int),
    ],
)

lifetime_days: Value[int] = Value("lifetime_days", LIFETIME_DAYS)
certificates_by_id: Map[int, Certificate] = Map("certificates_by_id")
last_certificate: Value[int] = Value("last_certificate", 0)
retirements_by_id: Map[int, Retirement] = Map("retirements_by_id")
last_retirement: Value[int] = Value("last_retirement", 0)
device_units: Map[str, int] = Map("device_units")  # device -> its next unit number, that is, Wh issued so far
issued_in: Map[tuple[str, int], int] = Map("issued_in")  # (device, slot) -> Wh issued
claimed_in: Map[tuple[str, int], int] = Map("claimed_in")  # (account, slot) -> consumed Wh claimed
withdrawn_in: Map[tuple[str, int], int] = Map("withdrawn_in")  # (device, slot) -> Wh withdrawn or expired
retired_in: Map[tuple[str, int], int] = Map("retired_in")  # (device, slot) -> Wh retired
held_units: Map[tuple[str, str], int] = Map("held_units")  # (owner, unit) -> unretired units
devices: Map[str, Device] = Map("devices")  # what the issuer knows of a device beyond the registry
stored_wh: Map[str, int] = Map("stored_wh")  # storage device -> Wh that it may still give back as certified
projects: Map[str, Project] = Map("projects")
verified_kg: Map[tuple[str, int], int] = Map("verified_kg")  # (project, vintage) -> what may be issued in all
sales: Map[int, Sale] = Map("sales")  # certificate -> while it is locked for sale
endings: Map[int, Ending] = Map("endings")
last_ending: Value[int] = Value("last_ending", 0)
total_issued: Value[int] = Value("total_issued", 0)
total_retired: Value[int] = Value("total_retired", 0)


# --- The rule: plain functions, also used away from the chain ----------------------------------------------------------


def split_range(unit_start: int, unit_end: int, quantity: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """A range of units cut in two: the first `quantity` of them, and the rest. Quantity is positive, at most all."""
    require(0 < quantity <= unit_end - unit_start, "MORE_THAN_CERTIFICATE")
    return ((unit_start, unit_start + quantity), (unit_start + quantity, unit_end))


def match_hourly(
    produced: list[tuple[str, int, int]], consumed: list[tuple[str, int, int]]
) -> list[tuple[int, int, int]]:
    """Which production covers which consumption of the same slot: rows (owner or device, slot, Wh) on both sides.

    Returns (place in `produced`, place in `consumed`, Wh), by slot, each side in its order; a Wh is used once.
    """
    waiting: dict[int, list[int]] = {}
    for place, row in enumerate(consumed):
        if row[1] not in waiting:
            waiting[row[1]] = []
        waiting[row[1]].append(place)
    left = [row[2] for row in consumed]
    matched: list[tuple[int, int, int]] = []
    for place, row in enumerate(produced):
        rest_wh = row[2]
        for other in waiting.get(row[1], []):
            wh = min(rest_wh, left[other])
            if wh > 0:
                matched.append((place, other, wh))
                rest_wh -= wh
                left[other] -= wh
    return matched


def year_start_s(year: int) -> int:
    """Unix seconds of the first of January, UTC (Gregorian)."""
    return 86_400 * (365 * (year - 1970) + (year - 1969) // 4 - (year - 1901) // 100 + (year - 1601) // 400)


def interval_s(found: Certificate) -> tuple[int, int]:
    """When it was produced: [start, end) in Unix seconds."""
    if found.unit == CARBON:
        return (year_start_s(found.slot), year_start_s(found.slot + 1))
    return (found.slot * SLOT_SECONDS, (found.slot + 1) * SLOT_SECONDS)


# --- On the chain ------------------------------------------------------------------------------------------------------


def change_holding(owner: str, unit: str, change: int) -> None:
    held_units[(owner, unit)] = held_units.get((owner, unit), 0) + change


def known(certificate_id: int) -> Certificate:
    found = certificates_by_id.get(certificate_id, None)
    if found is None:
        fail("UNKNOWN_CERTIFICATE")
    return found


def owned(certificate_id: int, quantity: int) -> Certificate:
    """The caller's certificate with at least this many units left, free to move."""
    found = known(certificate_id)
    require(found.owner == ctx.caller, "NOT_YOUR_CERTIFICATE")
    require(certificate_id not in sales, "LOCKED_FOR_SALE")
    require(not is_expired(found), "CERTIFICATE_EXPIRED")
    require(quantity > 0, "QUANTITY_NOT_POSITIVE")
    require(quantity <= found.unit_end - found.unit_start, "MORE_THAN_CERTIFICATE")
    return found


def is_expired(found: Certificate) -> bool:
    return found.unit == WH and ctx.time_ms > interval_s(found)[1] * 1000 + lifetime_days.get() * DAY_MS


# --- Issuing -----------------------------------------------------------------------------------------------------------


def issue_one(row: tuple[str, int, int], fact: tuple[str, str, str, int], export_wh: int) -> int:
    """One certificate for the device's account; `export_wh` is what the device metered in the slot."""
    device, slot, quantity_wh = row
    owner = fact[0]
    technology = fact[1]
    location = fact[2]
    storage = technology == "battery"
    require(storage or technology in PRODUCTION_KINDS, "NOT_A_PRODUCTION_DEVICE")
    require(quantity_wh > 0, "QUANTITY_NOT_POSITIVE")
    if storage:
        left_wh = stored_wh.get(device, 0) - quantity_wh
        require(left_wh >= 0, "NOT_CHARGED_WITH_CERTIFICATES")
        stored_wh[device] = left_wh
    issued_wh = issued_in.get((device, slot), 0) + quantity_wh
    require(issued_wh <= export_wh, "MORE_THAN_METERED")
    issued_in[(device, slot)] = issued_wh
    unit_start = device_units.get(device, 0)
    unit_end = unit_start + quantity_wh
    device_units[device] = unit_end
    certificate_id = last_certificate.get() + 1
    last_certificate.set(certificate_id)
    about = devices.get(device, Device("", 0, 0))
    certificates_by_id[certificate_id] = Certificate(
        device,
        technology,
        location,
        slot,
        unit_start,
        unit_end,
        owner,
        ctx.caller,
        ctx.time_ms,
        0,
        about.support,
        storage,
        WH,
        about.commissioned_s,
    )
    change_holding(owner, WH, quantity_wh)
    emit(
        "Issued",
        certificate_id=certificate_id,
        device=device,
        technology=technology,
        location=location,
        interval_start_s=slot * SLOT_SECONDS,
        interval_end_s=(slot + 1) * SLOT_SECONDS,
        unit_start=unit_start,
        unit_end=unit_end,
        quantity_wh=quantity_wh,
        owner=owner,
        issuer=ctx.caller,
        issued_ms=ctx.time_ms,
        support=about.support,
        storage=storage,
        commissioned_s=about.commissioned_s,
    )
    return certificate_id


def issue_rows(rows: list[tuple[str, int, int]]) -> list[int]:
    require(call("registry", "has_role", ctx.caller, "ISSUER"), "NOT_ISSUER")
    require(0 < len(rows) <= MAX_ROWS, "BATCH_SIZE")
    facts = call("registry", "meter_facts", [row[0] for row in rows])
    exports_wh = call("metering", "exports", [(row[0], row[1]) for row in rows])
    ids = [issue_one(row, fact, export_wh) for row, fact, export_wh in zip(rows, facts, exports_wh)]
    total_issued.set(total_issued.get() + sum([row[2] for row in rows]))
    return ids


@export
def issue(meter: str, slot: int, quantity_wh: int) -> int:
    """An issuer certifies a part of what the meter fed in; the meter's account owns it. Returns the certificate's id."""
    return issue_rows([(meter, slot, quantity_wh)])[0]


@export
def issue_many(rows: list[tuple[str, int, int]]) -> list[int]:
    """`issue` for rows (meter, slot, quantity_wh), at most 5,000, all or none. Returns the certificates' ids."""
    return issue_rows(rows)


@export
def describe_device(meter: str, support: str, commissioned_s: int, efficiency_ppm: int) -> None:
    """An issuer records what certificates say of a device: support, beginning, and a storage device's efficiency (ppm)."""
    require(call("registry", "has_role", ctx.caller, "ISSUER"), "NOT_ISSUER")
    require(len(support) <= MAX_NAME_CHARACTERS, "SUPPORT_LENGTH")
    require(commissioned_s >= 0, "TIME_OUT_OF_RANGE")
    require(0 <= efficiency_ppm <= 1_000_000, "EFFICIENCY_OUT_OF_RANGE")
    call("registry", "meter_facts", [meter])
    devices[meter] = Device(support, commissioned_s, efficiency_ppm)
    emit(
        "DeviceDescribed",
        device=meter,
        support=support,
        commissioned_s=commissioned_s,
        efficiency_ppm=efficiency_ppm,
        by=ctx.caller,
    )


# --- Transferring ------------------------------------------------------------------------------------------------------


def cut(certificate_id: int, source: Certificate, quantity: int, to: str) -> int:
    """Gives the first units of a certificate to an owner. Returns the id of what was given."""
    first, rest = split_range(source.unit_start, source.unit_end, quantity)
    given_id = certificate_id
    if rest[0] == rest[1]:
        certificates_by_id[certificate_id] = replace(source, owner=to)
    else:
        given_id = last_certificate.get() + 1
        last_certificate.set(given_id)
        certificates_by_id[given_id] = replace(source, unit_end=first[1], owner=to, parent=certificate_id)
        certificates_by_id[certificate_id] = replace(source, unit_start=rest[0])
    if to != source.owner:
        change_holding(source.owner, source.unit, -quantity)
        change_holding(to, source.unit, quantity)
    start_s, end_s = interval_s(source)
    emit(
        "Transferred",
        certificate_id=given_id,
        parent=certificate_id,
        device=source.device,
        technology=source.technology,
        interval_start_s=start_s,
        interval_end_s=end_s,
        unit_start=first[0],
        unit_end=first[1],
        quantity_wh=quantity,
        source=source.owner,
        owner=to,
        unit=source.unit,
    )
    return given_id


@export
def transfer(certificate_id: int, quantity_wh: int, to: str) -> int:
    """The owner gives units to another participant. Returns the id of what was given.

    A part becomes a certificate of its own, with the lower unit numbers; the whole keeps its id.
    """
    source = owned(certificate_id, quantity_wh)
    require(to != source.owner, "SELF_TRANSFER")
    require(call("registry", "is_participant", to), "NOT_A_PARTICIPANT")
    return cut(certificate_id, source, quantity_wh, to)


@export
def split(certificate_id: int, quantity_wh: int) -> int:
    """The owner cuts the first units off as a certificate of their own. Returns its id; a cut of all is refused."""
    source = owned(certificate_id, quantity_wh)
    require(quantity_wh < source.unit_end - source.unit_start, "NOTHING_LEFT_TO_SPLIT")
    return cut(certificate_id, source, quantity_wh, source.owner)


@export
def lock(certificate_id: int, price_micros_per_kwh: int, buyer: str) -> None:
    """The owner locks a whole certificate for sale (price for 1,000 units), to one buyer or, with "", to anybody."""
    source = owned(certificate_id, 1)
    require(0 <= price_micros_per_kwh <= MAX_PRICE_MICROS_PER_KWH, "PRICE_OUT_OF_RANGE")
    require(buyer != source.owner, "SELF_TRANSFER")
    sales[certificate_id] = Sale(price_micros_per_kwh, buyer)
    emit(
        "LockedForSale",
        certificate_id=certificate_id,
        owner=source.owner,
        price_micros_per_kwh=price_micros_per_kwh,
        buyer=buyer,
    )


@export
def unlock(certificate_id: int) -> None:
    """The owner takes a certificate out of sale."""
    require(known(certificate_id).owner == ctx.caller, "NOT_YOUR_CERTIFICATE")
    require(certificate_id in sales, "NOT_FOR_SALE")
    del sales[certificate_id]
    emit("Unlocked", certificate_id=certificate_id, owner=ctx.caller)


@export
def buy(certificate_id: int, price_micros_per_kwh: int) -> None:
    """A participant pays for a certificate that is for sale at this very price, and receives it, in one step."""
    source = known(certificate_id)
    require(certificate_id in sales, "NOT_FOR_SALE")
    sale = sales[certificate_id]
    buyer = ctx.caller
    require(sale.buyer == "" or sale.buyer == buyer, "FOR_ANOTHER_BUYER")
    require(sale.price_micros_per_kwh == price_micros_per_kwh, "ANOTHER_PRICE")
    require(not is_expired(source), "CERTIFICATE_EXPIRED")
    require(buyer != source.owner, "SELF_TRANSFER")
    require(call("registry", "is_participant", buyer), "NOT_A_PARTICIPANT")
    quantity = source.unit_end - source.unit_start
    amount_micros = price_micros_per_kwh * quantity // 1000
    del sales[certificate_id]
    if amount_micros > 0:
        call("payments", "move", buyer, source.owner, amount_micros)
    cut(certificate_id, source, quantity, buyer)
    emit(
        "Sold",
        certificate_id=certificate_id,
        seller=source.owner,
        buyer=buyer,
        quantity_wh=quantity,
        price_micros_per_kwh=price_micros_per_kwh,
        amount_micros=amount_micros,
    )


# --- Retiring ----------------------------------------------------------------------------------------------------------


def retire_one(row: tuple[int, int, str, str, int], consumed_wh: int) -> int:
    """One retirement; `consumed_wh` is what the beneficiary metered in the consumption slot."""
    certificate_id, quantity_wh, beneficiary, purpose, consumption_slot = row
    source = owned(certificate_id, quantity_wh)
    require(len(purpose) <= MAX_PURPOSE_CHARACTERS, "PURPOSE_TOO_LONG")
    require(consumption_slot == source.slot, "NOT_THE_SAME_INTERVAL")
    if source.unit == WH:
        claimed_wh = claimed_in.get((beneficiary, consumption_slot), 0) + quantity_wh
        require(claimed_wh <= consumed_wh, "MORE_THAN_CONSUMED")
        claimed_in[(beneficiary, consumption_slot)] = claimed_wh
        total_retired.set(total_retired.get() + quantity_wh)
    retired_in[(source.device, source.slot)] = retired_in.get((source.device, source.slot), 0) + quantity_wh
    start_s, end_s = interval_s(source)
    unit_end = source.unit_start + quantity_wh
    certificates_by_id[certificate_id] = replace(source, unit_start=unit_end)
    retirement_id = last_retirement.get() + 1
    last_retirement.set(retirement_id)
    retirements_by_id[retirement_id] = Retirement(
        certificate_id,
        source.device,
        source.technology,
        source.slot,
        source.unit_start,
        unit_end,
        source.owner,
        beneficiary,
        purpose,
        consumption_slot,
        ctx.time_ms,
    )
    change_holding(source.owner, source.unit, -quantity_wh)
    emit(
        "Retired",
        retirement_id=retirement_id,
        certificate_id=certificate_id,
        device=source.device,
        technology=source.technology,
        location=source.location,
        interval_start_s=start_s,
        interval_end_s=end_s,
        unit_start=source.unit_start,
        unit_end=unit_end,
        quantity_wh=quantity_wh,
        owner=source.owner,
        issuer=source.issuer,
        beneficiary=beneficiary,
        purpose=purpose,
        consumption_slot=consumption_slot,
        retired_ms=ctx.time_ms,
        unit=source.unit,
    )
    return retirement_id


def retire_rows(rows: list[tuple[int, int, str, str, int]]) -> list[int]:
    require(0 < len(rows) <= MAX_ROWS, "BATCH_SIZE")
    energy = [row for row in rows if known(row[0]).unit == WH]
    consumed_wh = call("metering", "imports", [(row[2], row[4]) for row in energy])
    consumed = {(row[2] + "/" + str(row[4])): wh for row, wh in zip(energy, consumed_wh)}
    return [retire_one(row, consumed.get(row[2] + "/" + str(row[4]), 0)) for row in rows]


@export
def retire(certificate_id: int, quantity_wh: int, beneficiary: str, purpose: str, consumption_slot: int) -> int:
    """The owner uses units up for what the beneficiary consumed in the slot. Returns the retirement's id."""
    return retire_rows([(certificate_id, quantity_wh, beneficiary, purpose, consumption_slot)])[0]


@export
def retire_many(rows: list[tuple[int, int, str, str, int]]) -> list[int]:
    """`retire` for rows of its arguments, at most 5,000, all or none. Returns the retirements' ids."""
    return retire_rows(rows)


@export
def charge(certificate_id: int, quantity_wh: int, storage_meter: str) -> int:
    """The owner retires units into a storage device that took the energy in the same slot. Returns the retirement's id.

    Less its losses (the efficiency that an issuer recorded), the device may give them back as certified later.
    """
    fact = call("registry", "meter_facts", [storage_meter])[0]
    require(fact[1] == "battery", "NOT_A_STORAGE_DEVICE")
    source = owned(certificate_id, quantity_wh)
    require(source.unit == WH, "NOT_ENERGY")
    about = devices.get(storage_meter, Device("", 0, 0))
    retirement_id = retire_rows([(certificate_id, quantity_wh, fact[0], "storage " + storage_meter, source.slot)])[0]
    stored = quantity_wh * about.efficiency_ppm // 1_000_000
    stored_wh[storage_meter] = stored_wh.get(storage_meter, 0) + stored
    emit("Charged", retirement_id=retirement_id, device=storage_meter, quantity_wh=quantity_wh, stored_wh=stored)
    return retirement_id


# --- Withdrawing and expiring ------------------------------------------------------------------------------------------


def finish(certificate_id: int, found: Certificate, quantity: int, how: str, reason: str) -> int:
    """Takes the first units of a certificate out of the world for another reason than use. Returns the ending's id."""
    first, rest = split_range(found.unit_start, found.unit_end, quantity)
    certificates_by_id[certificate_id] = replace(found, unit_start=rest[0])
    change_holding(found.owner, found.unit, -quantity)
    key = (found.device, found.slot)
    withdrawn_in[key] = withdrawn_in.get(key, 0) + quantity
    if certificate_id in sales:
        del sales[certificate_id]
    ending_id = last_ending.get() + 1
    last_ending.set(ending_id)
    endings[ending_id] = Ending(certificate_id, found.device, found.slot, first[0], first[1], how, reason, ctx.time_ms)
    start_s, end_s = interval_s(found)
    emit(
        "Ended",
        ending_id=ending_id,
        certificate_id=certificate_id,
        device=found.device,
        interval_start_s=start_s,
        interval_end_s=end_s,
        unit_start=first[0],
        unit_end=first[1],
        quantity_wh=quantity,
        owner=found.owner,
        how=how,
        reason=reason,
        by=ctx.caller,
        unit=found.unit,
    )
    return ending_id


def unretired(certificate_id: int, quantity: int) -> Certificate:
    found = known(certificate_id)
    require(quantity > 0, "QUANTITY_NOT_POSITIVE")
    require(quantity <= found.unit_end - found.unit_start, "MORE_THAN_CERTIFICATE")
    return found


@export
def withdraw(certificate_id: int, quantity_wh: int, reason: str) -> int:
    """An issuer withdraws unretired units, whoever owns them, and says why. Returns the ending's id."""
    require(call("registry", "has_role", ctx.caller, "ISSUER"), "NOT_ISSUER")
    require(0 < len(reason) <= MAX_PURPOSE_CHARACTERS, "REASON_LENGTH")
    return finish(certificate_id, unretired(certificate_id, quantity_wh), quantity_wh, "WITHDRAWN", reason)


@export
def set_lifetime(days: int) -> None:
    """An operator sets how long after production a certificate can move and be retired."""
    require(call("registry", "has_role", ctx.caller, "OPERATOR"), "NOT_OPERATOR")
    require(0 < days <= MAX_LIFETIME_DAYS, "LIFETIME_OUT_OF_RANGE")
    lifetime_days.set(days)
    emit("LifetimeSet", days=days)


@export
def expire(certificate_id: int) -> int:
    """An issuer ends what is left of a certificate once its lifetime has passed. Returns the ending's id."""
    require(call("registry", "has_role", ctx.caller, "ISSUER"), "NOT_ISSUER")
    found = known(certificate_id)
    require(is_expired(found), "NOT_EXPIRED")
    left = found.unit_end - found.unit_start
    return finish(certificate_id, unretired(certificate_id, left), left, "EXPIRED", "its lifetime has passed")


@export
def reconcile(device: str, slot: int, certificate_ids: list[int]) -> int:
    """An issuer takes back what a correction has left without production. Returns the Wh for which no unit was left.

    The given certificates of the device and slot are withdrawn in their order until no more stands than was metered.
    """
    require(call("registry", "has_role", ctx.caller, "ISSUER"), "NOT_ISSUER")
    require(len(certificate_ids) <= MAX_PAGE, "BATCH_SIZE")
    over_wh = overissued_wh(device, slot, call("metering", "exports", [(device, slot)])[0])
    for certificate_id in certificate_ids:
        found = known(certificate_id)
        require(found.device == device and found.slot == slot and found.unit == WH, "ANOTHER_DEVICE_OR_SLOT")
        quantity_wh = min(over_wh, found.unit_end - found.unit_start)
        if quantity_wh > 0:
            finish(certificate_id, found, quantity_wh, "WITHDRAWN", "corrected reading")
            over_wh -= quantity_wh
    if over_wh > 0:
        emit("Flagged", device=device, slot=slot, over_wh=over_wh, retired_wh=retired_in.get((device, slot), 0))
    return over_wh


def overissued_wh(device: str, slot: int, export_wh: int) -> int:
    standing_wh = issued_in.get((device, slot), 0) - withdrawn_in.get((device, slot), 0)
    return max(0, standing_wh - export_wh)


# --- Carbon ------------------------------------------------------------------------------------------------------------


@export
def register_project(project: str, owner: str, methodology: str, location: str, support: str, started_s: int) -> None:
    """An issuer admits a project that avoids or removes emissions, by a methodology, for a participant."""
    require(call("registry", "has_role", ctx.caller, "ISSUER"), "NOT_ISSUER")
    require(call("registry", "is_participant", owner), "NOT_A_PARTICIPANT")
    for text in (project, methodology, location):
        require(0 < len(text) <= MAX_NAME_CHARACTERS, "NAME_LENGTH")
    require(len(support) <= MAX_NAME_CHARACTERS, "SUPPORT_LENGTH")
    require(project not in projects, "PROJECT_STANDS")
    projects[project] = Project(owner, methodology, location, support, started_s)
    emit(
        "ProjectRegistered",
        project=project,
        owner=owner,
        methodology=methodology,
        location=location,
        support=support,
        started_s=started_s,
        by=ctx.caller,
    )


@export
def verify_vintage(project: str, vintage: int, quantity_kg: int) -> None:
    """An issuer records how much a project has avoided in a year, all together; it never shrinks below what is issued."""
    require(call("registry", "has_role", ctx.caller, "ISSUER"), "NOT_ISSUER")
    require(project in projects, "UNKNOWN_PROJECT")
    require(1990 <= vintage <= 2200, "VINTAGE_OUT_OF_RANGE")
    require(0 < quantity_kg <= MAX_CARBON_KG, "QUANTITY_OUT_OF_RANGE")
    require(quantity_kg >= issued_in.get((carbon_device(project), vintage), 0), "LESS_THAN_ISSUED")
    verified_kg[(project, vintage)] = quantity_kg
    emit("VintageVerified", project=project, vintage=vintage, quantity_kg=quantity_kg, by=ctx.caller)


def carbon_device(project: str) -> str:
    """The project's name among devices; the registry gives no meter such a name."""
    return "carbon/" + project


@export
def issue_carbon(project: str, vintage: int, quantity_kg: int) -> int:
    """An issuer issues units of 1 kg CO2e to the project's owner, up to what was verified. Returns the certificate's id."""
    require(call("registry", "has_role", ctx.caller, "ISSUER"), "NOT_ISSUER")
    require(project in projects, "UNKNOWN_PROJECT")
    require(quantity_kg > 0, "QUANTITY_NOT_POSITIVE")
    about = projects[project]
    device = carbon_device(project)
    issued_kg = issued_in.get((device, vintage), 0) + quantity_kg
    require(issued_kg <= verified_kg.get((project, vintage), 0), "MORE_THAN_VERIFIED")
    issued_in[(device, vintage)] = issued_kg
    unit_start = device_units.get(device, 0)
    device_units[device] = unit_start + quantity_kg
    certificate_id = last_certificate.get() + 1
    last_certificate.set(certificate_id)
    certificates_by_id[certificate_id] = Certificate(
        device,
        about.methodology,
        about.location,
        vintage,
        unit_start,
        unit_start + quantity_kg,
        about.owner,
        ctx.caller,
        ctx.time_ms,
        0,
        about.support,
        False,
        CARBON,
        about.started_s,
    )
    change_holding(about.owner, CARBON, quantity_kg)
    emit(
        "CarbonIssued",
        certificate_id=certificate_id,
        project=project,
        device=device,
        methodology=about.methodology,
        location=about.location,
        vintage=vintage,
        interval_start_s=year_start_s(vintage),
        interval_end_s=year_start_s(vintage + 1),
        unit_start=unit_start,
        unit_end=unit_start + quantity_kg,
        quantity_kg=quantity_kg,
        owner=about.owner,
        issuer=ctx.caller,
    )
    return certificate_id


# --- Views -------------------------------------------------------------------------------------------------------------


@view
def certificate(certificate_id: int) -> Certificate | None:
    """The certificate's record, or None. Its units are those not retired yet."""
    return certificates_by_id.get(certificate_id, None)


@view
def certificates(start: int, count: int) -> list[tuple[int, Certificate]]:
    """(id, record) from id `start` on, ids begin at 1; at most 1,000 a page."""
    require(start >= 1 and 0 <= count <= MAX_PAGE, "PAGE_OUT_OF_RANGE")
    return [
        (number, certificates_by_id[number]) for number in range(start, min(start + count, last_certificate.get() + 1))
    ]


@view
def certificate_count() -> int:
    """How many certificates there are, split ones included; the last id."""
    return last_certificate.get()


@view
def retirement(retirement_id: int) -> Retirement | None:
    """The retirement's record, or None."""
    return retirements_by_id.get(retirement_id, None)


@view
def retirement_count() -> int:
    """How many retirements there are; the last id."""
    return last_retirement.get()


@view
def issued_wh(meter: str) -> int:
    """Wh ever issued to the meter; also its next unit number."""
    return device_units.get(meter, 0)


@view
def issued_in_slot(meter: str, slot: int) -> int:
    """Wh issued to the meter for one slot."""
    return issued_in.get((meter, slot), 0)


@view
def claimed_wh(account: str, slot: int) -> int:
    """Wh of the account's consumption in the slot that retirements have claimed."""
    return claimed_in.get((account, slot), 0)


@view
def holding(owner: str) -> int:
    """Unretired Wh that the account owns."""
    return held_units.get((owner, WH), 0)


@view
def carbon_holding(owner: str) -> int:
    """Unretired kg CO2e that the account owns."""
    return held_units.get((owner, CARBON), 0)


@view
def sale(certificate_id: int) -> tuple[int, str] | None:
    """(price for 1,000 units in micros, buyer or "") of a certificate that is for sale, or None."""
    found = sales.get(certificate_id, None)
    return None if found is None else (found.price_micros_per_kwh, found.buyer)


@view
def ending(ending_id: int) -> Ending | None:
    """The record of withdrawn or expired units, or None."""
    return endings.get(ending_id, None)


@view
def ending_count() -> int:
    """How many endings there are; the last id."""
    return last_ending.get()


@view
def excess_wh(device: str, slot: int) -> int:
    """Wh that stand certified beyond what is metered now, after a correction that was not reconciled or could not be."""
    return overissued_wh(device, slot, call("metering", "exports", [(device, slot)])[0])


@view
def overclaimed_wh(account: str, slot: int) -> int:
    """Wh that retirements have claimed beyond the account's consumption as it is metered now, after a correction."""
    consumed_wh: int = call("metering", "imports", [(account, slot)])[0]
    return max(0, claimed_in.get((account, slot), 0) - consumed_wh)


@view
def storable_wh(meter: str) -> int:
    """Wh that a storage device may still give back as certified."""
    return stored_wh.get(meter, 0)


@view
def project(project: str) -> Project | None:
    """The carbon project's record, or None."""
    return projects.get(project, None)


@view
def totals() -> tuple[int, int]:
    """(issued, retired) Wh since genesis."""
    return (total_issued.get(), total_retired.get())
