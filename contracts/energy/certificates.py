"""Certificates of origin (guarantees of origin, RECs) with a unit of 1 Wh and an interval of one slot.

The rules are EnergyTag's granular ones, with EECS fields. A certificate is a range of unit numbers [unit_start, unit_end)
of one device; each device numbers its units from 0 without a gap, so a device's next number is what was issued to it.

- A licensed issuer issues, only for a production device, only from the export metered in a closed slot, and never more
  than that: a Wh of production is issued at most once, for ever.
- Transferring or retiring a part takes the lower unit numbers: 1,000 units at 250 give [0, 250) and [250, 1000).
- A retirement claims the beneficiary's metered consumption of the same slot. A consumed Wh is claimed at most once, and a
  retired unit never moves again: it leaves its certificate for good.
"""

from contracts.host import Map, NamedTuple, Value, call, ctx, emit, export, fail, replace, require, view

PRODUCTION_KINDS = ("pv", "wind", "hydro", "biomass")  # a battery gives back what it took: that is no production
SLOT_SECONDS = 900
MAX_ROWS = 5_000
MAX_PURPOSE_CHARACTERS = 128
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

certificates_by_id: Map[int, Certificate] = Map("certificates_by_id")
last_certificate: Value[int] = Value("last_certificate", 0)
retirements_by_id: Map[int, Retirement] = Map("retirements_by_id")
last_retirement: Value[int] = Value("last_retirement", 0)
device_units: Map[str, int] = Map("device_units")  # device -> its next unit number, that is, Wh issued so far
issued_in: Map[tuple[str, int], int] = Map("issued_in")  # (device, slot) -> Wh issued
claimed_in: Map[tuple[str, int], int] = Map("claimed_in")  # (account, slot) -> consumed Wh claimed
held_units: Map[str, int] = Map("held_units")  # owner -> unretired Wh
total_issued: Value[int] = Value("total_issued", 0)
total_retired: Value[int] = Value("total_retired", 0)


def change_holding(owner: str, change_wh: int) -> None:
    held_units[owner] = held_units.get(owner, 0) + change_wh


def owned(certificate_id: int, quantity_wh: int) -> Certificate:
    """The caller's certificate with at least this many units left."""
    found = certificates_by_id.get(certificate_id, None)
    if found is None:
        fail("UNKNOWN_CERTIFICATE")
    require(found.owner == ctx.caller, "NOT_YOUR_CERTIFICATE")
    require(quantity_wh > 0, "QUANTITY_NOT_POSITIVE")
    require(quantity_wh <= found.unit_end - found.unit_start, "MORE_THAN_CERTIFICATE")
    return found


# --- Issuing -----------------------------------------------------------------------------------------------------------


def issue_one(row: tuple[str, int, int], fact: tuple[str, str, str, int], export_wh: int) -> int:
    """One certificate for the device's account; `export_wh` is what the device metered in the slot."""
    device, slot, quantity_wh = row
    owner = fact[0]
    technology = fact[1]
    location = fact[2]
    require(technology in PRODUCTION_KINDS, "NOT_A_PRODUCTION_DEVICE")
    require(quantity_wh > 0, "QUANTITY_NOT_POSITIVE")
    issued_wh = issued_in.get((device, slot), 0) + quantity_wh
    require(issued_wh <= export_wh, "MORE_THAN_METERED")
    issued_in[(device, slot)] = issued_wh
    unit_start = device_units.get(device, 0)
    unit_end = unit_start + quantity_wh
    device_units[device] = unit_end
    certificate_id = last_certificate.get() + 1
    last_certificate.set(certificate_id)
    certificates_by_id[certificate_id] = Certificate(
        device, technology, location, slot, unit_start, unit_end, owner, ctx.caller, ctx.time_ms, 0
    )
    change_holding(owner, quantity_wh)
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


# --- Transferring ------------------------------------------------------------------------------------------------------


@export
def transfer(certificate_id: int, quantity_wh: int, to: str) -> int:
    """The owner gives units to another participant. Returns the id of what was given.

    A part becomes a certificate of its own, with the lower unit numbers; the whole keeps its id.
    """
    source = owned(certificate_id, quantity_wh)
    require(to != source.owner, "SELF_TRANSFER")
    require(call("registry", "is_participant", to), "NOT_A_PARTICIPANT")
    given_id = certificate_id
    given_end = source.unit_start + quantity_wh
    if given_end == source.unit_end:
        certificates_by_id[certificate_id] = replace(source, owner=to)
    else:
        given_id = last_certificate.get() + 1
        last_certificate.set(given_id)
        certificates_by_id[given_id] = replace(source, unit_end=given_end, owner=to, parent=certificate_id)
        certificates_by_id[certificate_id] = replace(source, unit_start=given_end)
    change_holding(source.owner, -quantity_wh)
    change_holding(to, quantity_wh)
    emit(
        "Transferred",
        certificate_id=given_id,
        parent=certificate_id,
        device=source.device,
        technology=source.technology,
        interval_start_s=source.slot * SLOT_SECONDS,
        interval_end_s=(source.slot + 1) * SLOT_SECONDS,
        unit_start=source.unit_start,
        unit_end=given_end,
        quantity_wh=quantity_wh,
        source=source.owner,
        owner=to,
    )
    return given_id


# --- Retiring ----------------------------------------------------------------------------------------------------------


def retire_one(row: tuple[int, int, str, str, int], consumed_wh: int) -> int:
    """One retirement; `consumed_wh` is what the beneficiary metered in the consumption slot."""
    certificate_id, quantity_wh, beneficiary, purpose, consumption_slot = row
    source = owned(certificate_id, quantity_wh)
    require(len(purpose) <= MAX_PURPOSE_CHARACTERS, "PURPOSE_TOO_LONG")
    require(consumption_slot == source.slot, "NOT_THE_SAME_INTERVAL")
    claimed_wh = claimed_in.get((beneficiary, consumption_slot), 0) + quantity_wh
    require(claimed_wh <= consumed_wh, "MORE_THAN_CONSUMED")
    claimed_in[(beneficiary, consumption_slot)] = claimed_wh
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
    change_holding(source.owner, -quantity_wh)
    emit(
        "Retired",
        retirement_id=retirement_id,
        certificate_id=certificate_id,
        device=source.device,
        technology=source.technology,
        location=source.location,
        interval_start_s=source.slot * SLOT_SECONDS,
        interval_end_s=(source.slot + 1) * SLOT_SECONDS,
        unit_start=source.unit_start,
        unit_end=unit_end,
        quantity_wh=quantity_wh,
        owner=source.owner,
        issuer=source.issuer,
        beneficiary=beneficiary,
        purpose=purpose,
        consumption_slot=consumption_slot,
        retired_ms=ctx.time_ms,
    )
    return retirement_id


def retire_rows(rows: list[tuple[int, int, str, str, int]]) -> list[int]:
    require(0 < len(rows) <= MAX_ROWS, "BATCH_SIZE")
    consumed_wh = call("metering", "imports", [(row[2], row[4]) for row in rows])
    ids = [retire_one(row, consumed) for row, consumed in zip(rows, consumed_wh)]
    total_retired.set(total_retired.get() + sum([row[1] for row in rows]))
    return ids


@export
def retire(certificate_id: int, quantity_wh: int, beneficiary: str, purpose: str, consumption_slot: int) -> int:
    """The owner uses units up for what the beneficiary consumed in the slot. Returns the retirement's id."""
    return retire_rows([(certificate_id, quantity_wh, beneficiary, purpose, consumption_slot)])[0]


@export
def retire_many(rows: list[tuple[int, int, str, str, int]]) -> list[int]:
    """`retire` for rows of its arguments, at most 5,000, all or none. Returns the retirements' ids."""
    return retire_rows(rows)


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
    return held_units.get(owner, 0)


@view
def totals() -> tuple[int, int]:
    """(issued, retired) Wh since genesis."""
    return (total_issued.get(), total_retired.get())
