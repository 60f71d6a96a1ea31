"""Metered energy: one reading per meter and slot, and the sums per account that settlement uses.

A meter operator submits batches of rows (meter, slot, import_wh, export_wh, quality). Import is energy taken from the
grid, export is energy fed into it. The first DIRECT or ESTIMATED reading of a meter and slot stands; another one is
refused with READING_STANDS, and `reading(meter, slot)` says what stands. A CORRECTED reading replaces the standing one,
and does so too after settlement has closed metering of the slot, within the correction window: the slot can then be
settled again. After the window the slot is final. A batch is taken as a whole or refused as a whole.

A device with a key of its own signs its readings, and anybody may hand them in.

Feeding in is bounded by the meter's rating: `export_wh <= rating_w / 4 * 1.1`, the bound that granular certificates use
(rating x hours x 1.1). Import is bounded by one limit for all: a rating says what a generator can do, but a connection
may for a while take more than the rated appliance behind it.
"""

from contracts.host import Map, NamedTuple, Value, call, ctx, ed25519_verify, emit, export, fail, require, view

QUALITIES = ("DIRECT", "ESTIMATED", "CORRECTED")
MAX_ROWS = 5_000
MAX_SIGNED_ROWS = 500
MAX_IMPORT_WH = 1_000_000_000  # 1 GWh in a quarter of an hour
MAX_SLOT = 100_000_000
DAY_MS = 86_400_000

Reading = NamedTuple("Reading", [("import_wh", int), ("export_wh", int), ("quality", str)])
Energy = NamedTuple("Energy", [("import_wh", int), ("export_wh", int)])

readings: Map[tuple[str, int], Reading] = Map("readings")  # (meter, slot)
sums: Map[tuple[str, int], Energy] = Map("sums")  # (account, slot)
closed: Map[int, int] = Map("closed")  # slot -> when, Unix milliseconds
frozen: Map[int, bool] = Map("frozen")  # slot, while a settlement of several steps reads it
correction_counts: Map[int, int] = Map("correction_counts")  # slot -> rows corrected after it was closed
correction_window_ms: Value[int] = Value("correction_window_ms", 30 * DAY_MS)


def export_limit_wh(rating_w: int) -> int:
    """What a device of this rating can feed in at most in a slot: a quarter of an hour, and a tenth on top."""
    return rating_w * 11 // 40


def apply(slot_readings: list[tuple[str, int, int, int, str]]) -> None:
    """Checks and writes rows, and adds them to the sums; all or none."""
    require(0 < len(slot_readings) <= MAX_ROWS, "BATCH_SIZE")
    facts = call("registry", "meter_facts", [row[0] for row in slot_readings])
    changes: dict[int, dict[str, tuple[int, int]]] = {}  # slot -> account -> (import, export) to add
    for row, fact in zip(slot_readings, facts):
        meter, slot, import_wh, export_wh, quality = row
        account = fact[0]
        require(quality in QUALITIES, "UNKNOWN_QUALITY")
        require(0 <= import_wh <= MAX_IMPORT_WH, "IMPORT_OUT_OF_RANGE")
        require(0 <= export_wh <= export_limit_wh(fact[3]), "EXPORT_ABOVE_RATING")
        if slot not in changes:
            require(0 <= slot <= MAX_SLOT, "SLOT_OUT_OF_RANGE")
            changes[slot] = {}
        standing = readings.get((meter, slot), None)
        import_change_wh = import_wh
        export_change_wh = export_wh
        if quality == "CORRECTED":
            require(slot not in frozen, "SETTLEMENT_RUNS")
            if standing is None:
                fail("NOTHING_TO_CORRECT")
            if slot in closed:
                require(ctx.time_ms <= closed[slot] + correction_window_ms.get(), "SLOT_FINAL")
                correction_counts[slot] = correction_counts.get(slot, 0) + 1
            import_change_wh -= standing.import_wh
            export_change_wh -= standing.export_wh
            emit(
                "Corrected",
                meter=meter,
                slot=slot,
                account=account,
                import_wh=import_wh,
                export_wh=export_wh,
                replaced_import_wh=standing.import_wh,
                replaced_export_wh=standing.export_wh,
                replaced_quality=standing.quality,
            )
        else:
            require(slot not in closed, "SLOT_SETTLED")
            require(standing is None, "READING_STANDS")
        readings[(meter, slot)] = Reading(import_wh, export_wh, quality)
        of_slot = changes[slot]
        change = of_slot.get(account, (0, 0))
        of_slot[account] = (change[0] + import_change_wh, change[1] + export_change_wh)
    for slot, of_slot in changes.items():
        for account, change in of_slot.items():
            before = sums.get((account, slot), Energy(0, 0))
            sums[(account, slot)] = Energy(before.import_wh + change[0], before.export_wh + change[1])
    slots = list(changes)
    emit(
        "Metered",
        meter_operator=ctx.caller,
        reading_count=len(slot_readings),
        first_slot=min(slots),
        last_slot=max(slots),
        import_wh=sum([row[2] for row in slot_readings]),
        export_wh=sum([row[3] for row in slot_readings]),
    )


@export
def submit(slot_readings: list[tuple[str, int, int, int, str]]) -> None:
    """A meter operator's batch of rows (meter, slot, import_wh, export_wh, quality), at most 5,000."""
    require(call("registry", "has_role", ctx.caller, "METER_OPERATOR"), "NOT_METER_OPERATOR")
    apply(slot_readings)


def signed_text(meter: str, slot: int, import_wh: int, export_wh: int) -> bytes:
    """What a device signs: "gridbft reading|meter|slot|import_wh|export_wh" in ASCII."""
    text = "|".join(["gridbft reading", meter, str(slot), str(import_wh), str(export_wh)])
    return text.encode()


@export
def submit_signed(signed_readings: list[tuple[str, int, int, int, bytes]]) -> None:
    """Anybody hands in what devices signed: rows (meter, slot, import_wh, export_wh, signature), at most 500.

    The signature (Ed25519, by the key that the registry has for the meter) stands for a meter operator's authority. A
    device signs DIRECT readings only: a signed correction could be handed in again after a later one.
    """
    require(0 < len(signed_readings) <= MAX_SIGNED_ROWS, "BATCH_SIZE")
    keys = call("registry", "meter_keys", [row[0] for row in signed_readings])
    for row, key in zip(signed_readings, keys):
        meter, slot, import_wh, export_wh, signature = row
        require(len(key) > 0, "NO_METER_KEY")
        require(ed25519_verify(key, signed_text(meter, slot, import_wh, export_wh), signature), "BAD_SIGNATURE")
        emit(
            "DeviceSigned",
            meter=meter,
            slot=slot,
            import_wh=import_wh,
            export_wh=export_wh,
            public_key=key,
            signature=signature,
        )
    apply([(row[0], row[1], row[2], row[3], "DIRECT") for row in signed_readings])


@export
def close_slot(slot: int) -> None:
    """The settlement, or an operator, ends metering of a slot; what is missing counts as nothing metered."""
    require(
        ctx.caller == "imbalance" or call("registry", "has_role", ctx.caller, "OPERATOR"),
        "NOT_OPERATOR",
    )
    require(0 <= slot <= MAX_SLOT, "SLOT_OUT_OF_RANGE")
    if slot not in closed:
        closed[slot] = ctx.time_ms
        emit("SlotClosed", slot=slot)


@export
def freeze_slot(slot: int) -> None:
    """The settlement keeps corrections of a slot out while it takes several steps."""
    require(ctx.caller == "imbalance", "NOT_THE_SETTLEMENT")
    frozen[slot] = True


@export
def thaw_slot(slot: int) -> None:
    """The settlement lets corrections of a slot in again."""
    require(ctx.caller == "imbalance", "NOT_THE_SETTLEMENT")
    del frozen[slot]


@export
def set_correction_window(window_ms: int) -> None:
    """An operator sets for how long after closing a slot its readings can be corrected; it holds for all slots at once."""
    require(call("registry", "has_role", ctx.caller, "OPERATOR"), "NOT_OPERATOR")
    require(0 <= window_ms <= 3_650 * DAY_MS, "WINDOW_OUT_OF_RANGE")
    correction_window_ms.set(window_ms)
    emit("CorrectionWindowSet", window_ms=window_ms, by=ctx.caller)


@view
def reading(meter: str, slot: int) -> Reading | None:
    """The reading that stands for the meter and slot, or None."""
    return readings.get((meter, slot), None)


@view
def exports(rows: list[tuple[str, int]]) -> list[int]:
    """Metered export (Wh) of each (meter, slot), 0 where nothing was read; refuses a slot that is still open."""
    found: list[int] = []
    for meter, slot in rows:
        require(slot in closed, "METERING_OPEN")
        found.append(readings.get((meter, slot), Reading(0, 0, "")).export_wh)
    return found


@view
def imports(rows: list[tuple[str, int]]) -> list[int]:
    """Metered import (Wh) of each (account, slot), 0 where nothing was read; refuses a slot that is still open."""
    found: list[int] = []
    for account, slot in rows:
        require(slot in closed, "METERING_OPEN")
        found.append(sums.get((account, slot), Energy(0, 0)).import_wh)
    return found


@view
def metered(account: str, slot: int) -> tuple[int, int]:
    """(import_wh, export_wh) of the account's meters in the slot."""
    found = sums.get((account, slot), Energy(0, 0))
    return (found.import_wh, found.export_wh)


@view
def metered_many(accounts: list[str], slot: int) -> list[tuple[int, int]]:
    """`metered` of each account."""
    none = Energy(0, 0)
    found = [sums.get((account, slot), none) for account in accounts]
    return [(one.import_wh, one.export_wh) for one in found]


@view
def slot_closed(slot: int) -> bool:
    """Whether metering of the slot has ended."""
    return slot in closed


@view
def is_final(slot: int) -> bool:
    """Whether nothing metered in the slot can change any more."""
    return slot in closed and ctx.time_ms > closed[slot] + correction_window_ms.get()


@view
def corrections(slot: int) -> int:
    """How many rows were corrected since the slot was closed."""
    return correction_counts.get(slot, 0)
