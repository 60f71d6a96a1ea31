"""Metered energy: one reading per meter and slot, and the sums per account that settlement uses.

A meter operator submits batches of rows (meter, slot, import_wh, export_wh, quality). Import is energy taken from the
grid, export is energy fed into it. The first DIRECT or ESTIMATED reading of a meter and slot stands; another one is
refused with READING_STANDS, and `reading(meter, slot)` says what stands. A CORRECTED reading replaces the standing one,
and does so too after settlement has closed metering of the slot, within the correction window: the slot can then be
settled again. After the window the slot is final. A batch is taken as a whole or refused as a whole.

A device with a key of its own signs its readings, and anybody may hand them in.

Who reads thousands of meters sends columns: for each page of a roster (`rosters`) the imports and the exports of its
meters in the order of the page, as DIRECT readings. A column is kept as it came, and adding up per account is left to who
asks. NO_READING in both columns says that there is no reading; it can be submitted singly later. All else is as for
single readings: the first one stands, whichever way it came, and a correction is a single CORRECTED one.

Feeding in is bounded by the meter's rating: `export_wh <= rating_w / 4 * 1.1`, the bound that granular certificates use
(rating x hours x 1.1). Import is bounded by one limit for all: a rating says what a generator can do, but a connection
may for a while take more than the rated appliance behind it.
"""

from contracts.host import (
    Map,
    NamedTuple,
    Value,
    call,
    column_above,
    column_sum,
    column_value,
    ctx,
    ed25519_verify,
    emit,
    export,
    fail,
    require,
    sha256,
    view,
)

QUALITIES = ("DIRECT", "ESTIMATED", "CORRECTED")
MAX_ROWS = 5_000
MAX_SIGNED_ROWS = 500
MAX_IMPORT_WH = 1_000_000_000  # 1 GWh in a quarter of an hour
MAX_IMPORT_COLUMN = b"\x00\xca\x9a\x3b"  # MAX_IMPORT_WH as a column's only number
NO_READING = 4_294_967_295
PAGE = 1_024  # as in rosters
MAX_PAGES = 64  # of one batch
MAX_SLOT = 100_000_000
SLOTS = 134_217_728  # a power of two beyond MAX_SLOT: page * SLOTS + slot stays a small integer
DAY_MS = 86_400_000

Reading = NamedTuple("Reading", [("import_wh", int), ("export_wh", int), ("quality", str)])
Energy = NamedTuple("Energy", [("import_wh", int), ("export_wh", int)])

readings: Map[tuple[str, int], Reading] = Map("readings")  # (meter, slot)
sums: Map[tuple[str, int], Energy] = Map("sums")  # (account, slot)
import_columns: Map[tuple[int, int], bytes] = Map("import_columns")  # (page, slot)
export_columns: Map[tuple[int, int], bytes] = Map("export_columns")  # (page, slot)
singly: Map[tuple[int, int], bool] = Map("singly")  # (page, slot) where a meter of the page was read by itself
first_heights: Map[int, int] = Map("first_heights")  # slot -> when the first reading of it came
closed: Map[int, int] = Map("closed")  # slot -> when, Unix milliseconds
frozen: Map[int, bool] = Map("frozen")  # slot, while a settlement of several steps reads it
correction_counts: Map[int, int] = Map("correction_counts")  # slot -> rows corrected after it was closed
correction_window_ms: Value[int] = Value("correction_window_ms", 30 * DAY_MS)


def export_limit_wh(rating_w: int) -> int:
    """What a device of this rating can feed in at most in a slot: a quarter of an hour, and a tenth on top."""
    return rating_w * 11 // 40


def columns_of(page: int, slot: int, seen: dict[int, tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
    """(imports, exports) of a page in a slot, empty where there are none; `seen` holds those that were read before."""
    place = page * SLOTS + slot
    if place not in seen:
        seen[place] = (import_columns.get((page, slot), b""), export_columns.get((page, slot), b""))
    return seen[place]


def packed_at(place: int, slot: int, seen: dict[int, tuple[bytes, bytes]]) -> tuple[int, int] | None:
    """(import_wh, export_wh) that columns have at a place of a roster, or None."""
    imported, exported = columns_of(place // PAGE, slot, seen)
    index = place % PAGE
    if 4 * index >= len(imported):
        return None
    import_wh = column_value(imported, index)
    return None if import_wh == NO_READING else (import_wh, column_value(exported, index))


def standing_at(meter: str, slot: int, places: list[int], seen: dict[int, tuple[bytes, bytes]]) -> Reading | None:
    """The reading that stands for a meter with these places on rosters."""
    found = readings.get((meter, slot), None)
    if found is not None:
        return found
    for place in places:
        packed = packed_at(place, slot, seen)
        if packed is not None:
            return Reading(packed[0], packed[1], "DIRECT")
    return None


def standing_of(rows: list[tuple[str, int]]) -> list[Reading | None]:
    """The reading that stands for each (meter, slot)."""
    seen: dict[int, tuple[bytes, bytes]] = {}
    places = call("rosters", "places_of", [row[0] for row in rows])
    return [standing_at(row[0], row[1], own, seen) for row, own in zip(rows, places)]


def energies(rows: list[tuple[str, int]]) -> list[tuple[int, int]]:
    """(import_wh, export_wh) of the meters of each (account, slot): single readings and what corrections changed are in
    the sums, the rest stands in columns."""
    seen: dict[int, tuple[bytes, bytes]] = {}
    places = call("rosters", "places_of_accounts", [row[0] for row in rows])
    found: list[tuple[int, int]] = []
    for row, own in zip(rows, places):
        single = sums.get((row[0], row[1]), Energy(0, 0))
        import_wh = single.import_wh
        export_wh = single.export_wh
        for place in own:
            imported, exported = columns_of(place // PAGE, row[1], seen)
            index = place % PAGE
            if 4 * index < len(imported):
                wh = column_value(imported, index)
                if wh != NO_READING:
                    import_wh += wh
                    export_wh += column_value(exported, index)
        found.append((import_wh, export_wh))
    return found


def begin_slot(slot: int) -> int:
    """The height of the slot's first reading, or -1 and this height is it."""
    require(0 <= slot <= MAX_SLOT, "SLOT_OUT_OF_RANGE")
    height = first_heights.get(slot, -1)
    if height < 0:
        first_heights[slot] = ctx.height
    return height


def apply(slot_readings: list[tuple[str, int, int, int, str]]) -> None:
    """Checks and writes rows, and adds them to the sums; all or none."""
    require(0 < len(slot_readings) <= MAX_ROWS, "BATCH_SIZE")
    codes = [row[0] for row in slot_readings]
    facts = call("registry", "meter_facts", codes)
    places = call("rosters", "places_of", codes)
    seen: dict[int, tuple[bytes, bytes]] = {}
    changes: dict[int, dict[str, tuple[int, int]]] = {}  # slot -> account -> (import, export) to add
    for row, fact, own in zip(slot_readings, facts, places):
        meter, slot, import_wh, export_wh, quality = row
        account = fact[0]
        require(quality in QUALITIES, "UNKNOWN_QUALITY")
        require(0 <= import_wh <= MAX_IMPORT_WH, "IMPORT_OUT_OF_RANGE")
        require(0 <= export_wh <= export_limit_wh(fact[3]), "EXPORT_ABOVE_RATING")
        if slot not in changes:
            begin_slot(slot)
            changes[slot] = {}
        standing = standing_at(meter, slot, own, seen)
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
            if len(own) > 0:
                singly[(own[len(own) - 1] // PAGE, slot)] = True
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


def refuse_standing(page: int, slot: int, missing: dict[int, bool]) -> None:
    """Looks at the meters of a page one by one, but for those without a reading in the columns."""
    seen: dict[int, tuple[bytes, bytes]] = {}
    codes = call("rosters", "meters_of", page)
    places = call("rosters", "places_of", codes)
    for index, code in enumerate(codes):
        if index not in missing:
            require(standing_at(code, slot, places[index], seen) is None, "READING_STANDS")


def missing_in(imported: bytes, exported: bytes, export_limits_wh: bytes, struck: list[int]) -> dict[int, bool]:
    """The places of a page without a reading, once its columns are found to be in order."""
    require(len(imported) == len(export_limits_wh) and len(exported) == len(imported), "COLUMN_LENGTH")
    missing: dict[int, bool] = {}
    beyond = column_above(imported, MAX_IMPORT_COLUMN)
    for index in beyond:
        require(column_value(imported, index) == NO_READING, "IMPORT_OUT_OF_RANGE")
        missing[index] = True
    above = column_above(exported, export_limits_wh)
    for index in above:
        require(column_value(exported, index) == NO_READING, "EXPORT_ABOVE_RATING")
    require(beyond == above, "HALF_A_READING")
    for index in struck:
        require(index in missing, "METER_STRUCK")
    return missing


@export
def submit_packed(roster: int, slot: int, first_page: int, imports: list[bytes], exports: list[bytes]) -> None:
    """A meter operator's DIRECT readings (Wh) of whole pages of a roster, from its page `first_page` on, at most 64.

    For each page a column of imports and one of exports with a number for every meter, 4,294,967,295 where none was read.
    """
    require(call("registry", "has_role", ctx.caller, "METER_OPERATOR"), "NOT_METER_OPERATOR")
    require(0 < len(imports) <= MAX_PAGES and len(exports) == len(imports), "BATCH_SIZE")
    first_height = begin_slot(slot)
    require(slot not in closed, "SLOT_SETTLED")
    reading_count = 0
    missing_count = 0
    import_wh = 0
    export_wh = 0
    hashes = b""
    pages = call("rosters", "roster_pages", roster, first_page, len(imports))
    for page, imported, exported in zip(pages, imports, exports):
        number, export_limits_wh, struck, changed_height = page
        missing = missing_in(imported, exported, export_limits_wh, struck)
        require((number, slot) not in import_columns, "READING_STANDS")
        if (number, slot) in singly or 0 <= first_height <= changed_height:
            refuse_standing(number, slot, missing)
        import_columns[(number, slot)] = imported
        export_columns[(number, slot)] = exported
        missing_count += len(missing)
        reading_count += len(imported) // 4 - len(missing)
        import_wh += column_sum(imported) - len(missing) * NO_READING
        export_wh += column_sum(exported) - len(missing) * NO_READING
        hashes += sha256(imported) + sha256(exported)
    emit(
        "Metered",
        meter_operator=ctx.caller,
        reading_count=reading_count,
        first_slot=slot,
        last_slot=slot,
        import_wh=import_wh,
        export_wh=export_wh,
    )
    emit(
        "Packed",
        roster=roster,
        slot=slot,
        first_page=first_page,
        page_count=len(imports),
        reading_count=reading_count,
        missing_count=missing_count,
        columns_hash=sha256(hashes),
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
    return standing_of([(meter, slot)])[0]


@view
def exports(rows: list[tuple[str, int]]) -> list[int]:
    """Metered export (Wh) of each (meter, slot), 0 where nothing was read; refuses a slot that is still open."""
    for row in rows:
        require(row[1] in closed, "METERING_OPEN")
    return [0 if found is None else found.export_wh for found in standing_of(rows)]


@view
def imports(rows: list[tuple[str, int]]) -> list[int]:
    """Metered import (Wh) of each (account, slot), 0 where nothing was read; refuses a slot that is still open."""
    for row in rows:
        require(row[1] in closed, "METERING_OPEN")
    return [found[0] for found in energies(rows)]


@view
def metered(account: str, slot: int) -> tuple[int, int]:
    """(import_wh, export_wh) of the account's meters in the slot."""
    return energies([(account, slot)])[0]


@view
def metered_many(accounts: list[str], slot: int) -> list[tuple[int, int]]:
    """`metered` of each account."""
    return energies([(account, slot) for account in accounts])


@view
def packed_columns(page: int, slot: int) -> tuple[bytes, bytes]:
    """(imports, exports) as they were sent for a page, by its number among all pages; empty where there are none."""
    return (import_columns.get((page, slot), b""), export_columns.get((page, slot), b""))


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
