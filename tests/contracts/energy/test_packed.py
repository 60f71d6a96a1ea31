"""Readings in columns: the same rules, bills and certificates as readings one by one, whichever way they come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contracts.energy.metering import NO_READING
from contracts.energy.rosters import MAX_OF_ACCOUNT, PAGE, PAGES
from contracts.host import ContractError, pack_column
from contracts.runtime.metered_world import MeteredWorld
from contracts.runtime.world import World
from tests.contracts.energy.network import (
    ALICE,
    BOB,
    CAROL,
    ISSUER,
    METER_OPERATOR,
    OPERATOR,
    PEOPLE,
    SLOT,
    STRANGER,
    Network,
    load_of,
    pv_of,
    refused,
)

METERS = tuple(meter for account in PEOPLE for meter in (load_of(account), pv_of(account)))
Pair = tuple[int, int] | None  # import and export in Wh, or no reading


def on_a_roster(network: Network, meters: Sequence[str] = METERS, height: int = 2) -> int:
    """Puts meters on a roster of their own, and goes on to the next height."""
    roster = int(network.act(METER_OPERATOR, "rosters", "open_roster"))
    network.act(METER_OPERATOR, "rosters", "enlist", roster, list(meters))
    network.world.height = height
    return roster


def columns(pairs: Sequence[Pair]) -> tuple[list[bytes], list[bytes]]:
    """(imports, exports) page by page."""
    filled = [(NO_READING, NO_READING) if pair is None else pair for pair in pairs]
    pages = [filled[start : start + PAGE] for start in range(0, len(filled), PAGE)]
    imports, exports = ([pack_column([pair[side] for pair in page]) for page in pages] for side in (0, 1))
    return imports, exports


def send(network: Network, pairs: Sequence[Pair], roster: int = 1, slot: int = SLOT, first_page: int = 0) -> None:
    network.act(METER_OPERATOR, "metering", "submit_packed", roster, slot, first_page, *columns(pairs))


def energy(meter: str) -> st.SearchStrategy[tuple[int, int]]:
    return (
        st.tuples(st.just(0), st.integers(0, 5_500))
        if meter[0] == "G"
        else st.tuples(st.integers(0, 9_000), st.just(0))
    )


ALL_PAIRS = st.tuples(*(st.none() | energy(meter) for meter in METERS))


# --- Both ways ---------------------------------------------------------------------------------------------------------


def live_through(network: Network, corrected: Sequence[tuple[str, tuple[int, int]]], issued_percent: int) -> None:
    """All that reads readings: settlement in a balance group, certificates, retirements, corrections, a second run."""
    network.settle(150_000)
    producing = [pv for pv in map(pv_of, PEOPLE) if network.see("metering", "exports", [(pv, SLOT)])[0] > 0]
    for pv in producing:
        (export_wh,) = network.see("metering", "exports", [(pv, SLOT)])
        with refused("MORE_THAN_METERED"):
            network.act(ISSUER, "certificates", "issue", pv, SLOT, export_wh + 1)
        if issued_percent * export_wh >= 100:
            network.act(ISSUER, "certificates", "issue", pv, SLOT, export_wh * issued_percent // 100)
    for number in range(1, network.see("certificates", "certificate_count") + 1):
        found = network.see("certificates", "certificate", number)
        (consumed_wh,) = network.see("metering", "imports", [(ALICE, SLOT)])
        claimed_wh = network.see("certificates", "claimed_wh", ALICE, SLOT)
        units = min(found.unit_end - found.unit_start, consumed_wh - claimed_wh)
        if units > 0:
            network.act(found.owner, "certificates", "retire", number, units, ALICE, "use", SLOT)
        with refused("MORE_THAN_CERTIFICATE" if units == found.unit_end - found.unit_start else "MORE_THAN_CONSUMED"):
            left = 1 if units == found.unit_end - found.unit_start else consumed_wh - claimed_wh - max(units, 0) + 1
            network.act(found.owner, "certificates", "retire", number, left, ALICE, "too much", SLOT)
    for meter, (import_wh, export_wh) in corrected:
        network.meter((meter, import_wh, export_wh), quality="CORRECTED")
    if corrected:
        network.act(OPERATOR, "imbalance", "settle", SLOT)
    for pv in producing:
        network.act(ISSUER, "certificates", "reconcile", pv, SLOT, [])


def what_counts(network: Network) -> dict[str, object]:
    """State and events but for how readings are kept, and everything that can be asked about readings."""
    names = ("import_columns", "export_columns", "readings", "sums", "singly", "first_heights")
    kept = (b"rosters/", *(f"metering/{name}".encode() for name in names))
    others = {key: raw for key, raw in network.world.state.items() if not key.startswith(kept)}
    told = [e for e in network.world.events if e.contract != "rosters" and e.name != "Packed"]
    asked = {meter: network.see("metering", "reading", meter, SLOT) for meter in METERS}
    return {
        "state": others,
        "events": [e for e in told if e.name != "Metered"],
        "readings": {meter: None if found is None else tuple(found) for meter, found in asked.items()},
        "metered": network.see("metering", "metered_many", list(PEOPLE), SLOT),
        "settlements": [tuple(network.see("imbalance", "settlement", account, SLOT)) for account in PEOPLE],
        "balances": [network.balance(account) for account in PEOPLE],
        "corrections": network.see("metering", "corrections", SLOT),
        "excess": [network.see("certificates", "excess_wh", pv_of(account), SLOT) for account in PEOPLE],
        "residual": network.money_residual(),
    }


def prepared(world: World | None = None) -> Network:
    network = Network() if world is None else Network(world=world)
    network.act(OPERATOR, "registry", "grant", CAROL, "BRP")
    for account in (ALICE, BOB):
        network.act(OPERATOR, "registry", "switch_brp", account, CAROL, SLOT)
    network.order(ALICE, "buy", 900, 120_000)
    network.order(BOB, "sell", 700, 80_000)
    network.clear()
    return network


@given(ALL_PAIRS, st.lists(st.sampled_from(METERS), unique=True, max_size=4), st.integers(0, 100), st.data())
@settings(max_examples=40, deadline=None)
def test_a_slot_played_both_ways_ends_in_the_same_bills_and_certificates(
    pairs: tuple[Pair, ...], chosen: list[str], issued_percent: int, data: st.DataObject
) -> None:
    read = dict(zip(METERS, pairs, strict=True))
    corrected = [(meter, data.draw(energy(meter))) for meter in chosen if read[meter] is not None]
    ends = []
    for packed in (False, True):
        network = prepared()
        on_a_roster(network)
        if packed:
            send(network, pairs)
        elif any(pair is not None for pair in pairs):
            network.meter(*[(meter, *pair) for meter, pair in read.items() if pair is not None])
        live_through(network, corrected, issued_percent)
        ends.append(what_counts(network))
    assert ends[0] == ends[1]
    assert ends[0]["residual"] == 0


def test_a_packed_slot_ends_in_the_same_bytes_on_the_chain_s_machine() -> None:
    pairs = [(120, 0), (0, 3_000), None, (0, 17), (9_000, 0), (0, 0), (1, 0), None, (2, 0), (0, 5_500), (3, 0), (0, 1)]
    plain, metered = prepared(World()), prepared(MeteredWorld())
    for network in (plain, metered):
        on_a_roster(network)
        send(network, pairs)
        network.meter((METERS[2], 77, 0), quality="ESTIMATED")
        live_through(network, [(METERS[1], (0, 2_000)), (METERS[2], (70, 0))], 90)
    assert metered.world.state == plain.world.state
    assert metered.world.events == plain.world.events


# --- Once for each meter and slot ------------------------------------------------------------------------------------


@dataclass
class Standing:
    """What must stand, kept beside a network: rosters of several pages are not needed to move meters between them."""

    network: Network
    rosters: dict[int, list[str]] = field(default_factory=dict)  # in the order of joining, struck ones too
    struck: dict[int, set[int]] = field(default_factory=dict)
    live: dict[str, int] = field(default_factory=dict)
    readings: dict[tuple[str, int], tuple[int, int, str]] = field(default_factory=dict)
    packed: set[tuple[int, int]] = field(default_factory=set)

    def attempt(self, code: str | None, sender: str, contract: str, function: str, *args: object) -> bool:
        if code is None:
            self.network.act(sender, contract, function, *args)
            return True
        with refused(code):
            self.network.act(sender, contract, function, *args)
        return False

    def open(self) -> None:
        number = len(self.rosters) + 1
        self.network.act(METER_OPERATOR, "rosters", "open_roster")
        self.rosters[number], self.struck[number] = [], set()

    def enlist(self, roster: int, meter: str) -> None:
        code = "METER_ON_A_ROSTER" if meter in self.live else None
        if self.attempt(code, METER_OPERATOR, "rosters", "enlist", roster, [meter]):
            self.rosters[roster].append(meter)
            self.live[meter] = roster

    def strike(self, roster: int, meter: str) -> None:
        code = None if self.live.get(meter) == roster else "NOT_ON_THE_ROSTER"
        if self.attempt(code, METER_OPERATOR, "rosters", "strike", roster, [meter]):
            members = self.rosters[roster]
            self.struck[roster].add(max(place for place, other in enumerate(members) if other == meter))
            del self.live[meter]

    def single(self, meter: str, slot: int, quality: str, wh: int) -> None:
        stands = (meter, slot) in self.readings
        code = None
        if quality == "CORRECTED" and not stands:
            code = "NOTHING_TO_CORRECT"
        elif quality != "CORRECTED" and stands:
            code = "READING_STANDS"
        row = (meter, slot, wh, 0, quality)
        if self.attempt(code, METER_OPERATOR, "metering", "submit", [row]):
            self.readings[meter, slot] = (wh, 0, quality)

    def column(self, roster: int, slot: int, given: Sequence[Pair]) -> None:
        members = self.rosters[roster]
        if not members:
            self.attempt(
                "PAGE_OUT_OF_RANGE", METER_OPERATOR, "metering", "submit_packed", roster, slot, 0, [b""], [b""]
            )
            return
        pairs = [given[place % len(given)] for place in range(len(members))]
        there = {place: pair for place, pair in enumerate(pairs) if pair is not None}
        code = None
        if there.keys() & self.struck[roster]:
            code = "METER_STRUCK"
        elif (roster, slot) in self.packed or any((members[place], slot) in self.readings for place in there):
            code = "READING_STANDS"
        if self.attempt(code, METER_OPERATOR, "metering", "submit_packed", roster, slot, 0, *columns(pairs)):
            self.packed.add((roster, slot))
            self.readings |= {(members[place], slot): (*pair, "DIRECT") for place, pair in there.items()}

    def check(self) -> None:
        for account in PEOPLE[:3]:
            for slot in (0, 1):
                mine = [self.readings.get((meter, slot)) for meter in (load_of(account), pv_of(account))]
                found = [self.network.see("metering", "reading", m, slot) for m in (load_of(account), pv_of(account))]
                assert [None if one is None else tuple(one) for one in found] == mine
                total = sum(one[0] for one in mine if one), sum(one[1] for one in mine if one)
                assert tuple(self.network.see("metering", "metered", account, slot)) == total


SOME = METERS[:6]
STEPS = st.one_of(
    st.tuples(st.just("enlist"), st.integers(1, 2), st.sampled_from(SOME)),
    st.tuples(st.just("strike"), st.integers(1, 2), st.sampled_from(SOME)),
    st.tuples(
        st.just("single"),
        st.sampled_from(SOME),
        st.integers(0, 1),
        st.sampled_from(["DIRECT", "CORRECTED"]),
        st.integers(0, 99),
    ),
    st.tuples(
        st.just("column"),
        st.integers(1, 2),
        st.integers(0, 1),
        st.lists(st.none() | st.tuples(st.integers(0, 99), st.integers(0, 99)), min_size=1, max_size=6),
    ),
    st.just(("height",)),
)
NOW = [(1, 1)]


@given(st.lists(STEPS, max_size=30))
@example([("enlist", 1, METERS[0]), ("height",), ("column", 1, 0, NOW), ("strike", 1, METERS[0]), ("height",),
          ("enlist", 2, METERS[0]), ("height",), ("column", 2, 0, NOW)])  # fmt: skip
@example(
    [("single", METERS[0], 0, "DIRECT", 5), ("height",), ("enlist", 1, METERS[0]), ("height",), ("column", 1, 0, NOW)]
)
@example([("enlist", 1, METERS[0]), ("enlist", 1, METERS[1]), ("height",), ("single", METERS[1], 0, "DIRECT", 5),
          ("height",), ("column", 1, 0, [(1, 1), None]), ("column", 1, 0, NOW), ("single", METERS[0], 0, "DIRECT", 5)])  # fmt: skip
@example(
    [("enlist", 1, METERS[0]), ("height",), ("single", METERS[0], 0, "DIRECT", 5), ("height",), ("column", 1, 0, NOW)]
)
@example(
    [("enlist", 1, METERS[0]), ("strike", 1, METERS[0]), ("enlist", 2, METERS[0]), ("height",), ("column", 2, 0, NOW)]
)
@settings(max_examples=250, deadline=None)
def test_a_meter_has_one_reading_in_a_slot_however_rosters_change(steps: list[tuple[object, ...]]) -> None:
    standing = Standing(Network())
    standing.open()
    standing.open()
    for name, *args in steps:
        if name == "height":
            standing.network.world.height += 1
        else:
            getattr(standing, str(name))(*args)
    standing.check()


# --- What is refused -------------------------------------------------------------------------------------------------


@pytest.fixture
def listed(network: Network) -> Network:
    on_a_roster(network)
    return network


GOOD: list[Pair] = [(10, 0)] * len(METERS)
FULL = columns(GOOD)


def with_one(place: int, import_wh: int, export_wh: int) -> tuple[list[bytes], list[bytes]]:
    return columns([*GOOD[:place], (import_wh, export_wh), *GOOD[place + 1 :]])


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ((2, SLOT, 0, *FULL), "UNKNOWN_ROSTER"),
        ((1, -1, 0, *FULL), "SLOT_OUT_OF_RANGE"),
        ((1, 10**9, 0, *FULL), "SLOT_OUT_OF_RANGE"),
        ((1, SLOT, 1, *FULL), "PAGE_OUT_OF_RANGE"),
        ((1, SLOT, -1, *FULL), "PAGE_OUT_OF_RANGE"),
        ((1, SLOT, 0, [], []), "BATCH_SIZE"),
        ((1, SLOT, 0, FULL[0] * 65, FULL[1] * 65), "BATCH_SIZE"),
        ((1, SLOT, 0, FULL[0], FULL[1] * 2), "BATCH_SIZE"),
        ((1, SLOT, 0, FULL[0] * 2, FULL[1] * 2), "PAGE_OUT_OF_RANGE"),
        ((1, SLOT, 0, *columns(GOOD[1:])), "COLUMN_LENGTH"),
        ((1, SLOT, 0, *columns([*GOOD, (1, 0)])), "COLUMN_LENGTH"),
        ((1, SLOT, 0, FULL[0], [FULL[1][0][:-4]]), "COLUMN_LENGTH"),
        ((1, SLOT, 0, *with_one(3, 1_000_000_001, 0)), "IMPORT_OUT_OF_RANGE"),
        ((1, SLOT, 0, *with_one(3, NO_READING - 1, NO_READING)), "IMPORT_OUT_OF_RANGE"),
        ((1, SLOT, 0, *with_one(3, 0, 5_501)), "EXPORT_ABOVE_RATING"),
        ((1, SLOT, 0, *with_one(3, NO_READING, 0)), "HALF_A_READING"),
        ((1, SLOT, 0, *with_one(3, 0, NO_READING)), "HALF_A_READING"),
    ],
)
def test_columns_that_cannot_be_are_refused_as_a_whole(listed: Network, args: tuple[object, ...], code: str) -> None:
    before = dict(listed.world.state)
    with refused(code):
        listed.act(METER_OPERATOR, "metering", "submit_packed", *args)
    assert listed.world.state == before
    listed.act(METER_OPERATOR, "metering", "submit_packed", 1, SLOT, 0, *with_one(3, 1_000_000_000, 5_500))


def test_the_first_columns_of_a_slot_stand(listed: Network) -> None:
    send(listed, GOOD)
    with refused("READING_STANDS"):
        send(listed, [None] * len(METERS))
    with refused("READING_STANDS"):
        listed.meter((METERS[0], 10, 0))
    assert listed.see("metering", "reading", METERS[0], SLOT) == (10, 0, "DIRECT")
    assert listed.see("metering", "reading", METERS[0], SLOT + 1) is None


def test_a_closed_slot_takes_no_columns(listed: Network) -> None:
    listed.act(OPERATOR, "metering", "close_slot", SLOT)
    with refused("SLOT_SETTLED"):
        send(listed, GOOD)


def test_what_was_not_read_can_be_sent_later_one_by_one(listed: Network) -> None:
    send(listed, [None, *GOOD[1:]])
    assert listed.see("metering", "reading", METERS[0], SLOT) is None
    with refused("NOTHING_TO_CORRECT"):
        listed.meter((METERS[0], 5, 0), quality="CORRECTED")
    listed.meter((METERS[0], 5, 0), quality="ESTIMATED")
    assert listed.see("metering", "metered", ALICE, SLOT) == (15, 0)


def test_the_events_say_how_much_came_and_the_hash_of_the_columns(listed: Network) -> None:
    pairs: list[Pair] = [(10, 0), (0, 20), None, *GOOD[3:]]
    send(listed, pairs)
    (metered,), (packed,) = listed.events("Metered"), listed.events("Packed")
    assert (metered["reading_count"], metered["import_wh"], metered["export_wh"]) == (11, 100, 20)
    assert (metered["first_slot"], metered["last_slot"], metered["meter_operator"]) == (SLOT, SLOT, METER_OPERATOR)
    assert (packed["reading_count"], packed["missing_count"], packed["page_count"]) == (11, 1, 1)
    (imported,), (exported,) = columns(pairs)
    parts = sha256(imported).digest() + sha256(exported).digest()
    assert packed["columns_hash"] == sha256(parts).digest()
    first, count = listed.see("rosters", "page_numbers", 1)
    assert (first, count) == (PAGES, 1)
    assert listed.see("metering", "packed_columns", first, SLOT) == (imported, exported)
    assert listed.see("rosters", "meters_of", first) == list(METERS)


# --- Rosters -----------------------------------------------------------------------------------------------------------


def test_a_roster_of_several_pages_is_read_page_by_page() -> None:
    network = Network(people=PEOPLE[:3], deposit_micros=0)
    count = 2 * PAGE + 5
    owners = [PEOPLE[n % 3] if n < 300 else f"{n:040x}" for n in range(count)]
    for n, owner in enumerate(owners):
        if n >= 300:
            network.act(OPERATOR, "registry", "register_participant", owner, "n", "")
        network.act(OPERATOR, "registry", "register_meter", f"M-{n}", owner, "household", "b", 1_000)
    roster = on_a_roster(network, [f"M-{n}" for n in range(700)])
    network.act(METER_OPERATOR, "rosters", "enlist", roster, [f"M-{n}" for n in range(700, count)])
    network.world.height = 3
    assert network.see("rosters", "roster", roster) == (METER_OPERATOR, count, 2)
    pairs: list[Pair] = [(n, 0) for n in range(count)]
    send(network, pairs[PAGE : 2 * PAGE], first_page=1)
    assert network.see("metering", "reading", f"M-{PAGE}", SLOT) == (PAGE, 0, "DIRECT")
    assert network.see("metering", "reading", "M-3", SLOT) is None
    with refused("READING_STANDS"):
        send(network, pairs)
    imports, exports = columns(pairs)
    for page in (0, 2):
        args = (roster, SLOT, page, [imports[page]], [exports[page]])
        network.act(METER_OPERATOR, "metering", "submit_packed", *args)
    for n in (0, PAGE - 1, PAGE, 2 * PAGE - 1, 2 * PAGE, count - 1):
        assert network.see("metering", "reading", f"M-{n}", SLOT) == (n, 0, "DIRECT")
    total = sum(n for n in range(300) if n % 3 == 1)
    assert network.see("metering", "metered_many", [PEOPLE[1], owners[PAGE]], SLOT) == [(total, 0), (PAGE, 0)]


def test_a_grown_roster_leaves_what_was_read_before_as_it_was(network: Network) -> None:
    roster = on_a_roster(network, METERS[:4])
    send(network, GOOD[:4])
    network.act(METER_OPERATOR, "rosters", "enlist", roster, list(METERS[4:6]))
    assert network.see("metering", "reading", METERS[5], SLOT) is None
    network.meter((METERS[5], 0, 7))
    assert network.see("metering", "reading", METERS[5], SLOT) == (0, 7, "DIRECT")
    with refused("COLUMN_LENGTH"):
        send(network, GOOD[:4], slot=SLOT + 1)
    send(network, GOOD[:6], slot=SLOT + 1)


@pytest.mark.parametrize(
    ("sender", "function", "args", "code"),
    [
        (STRANGER, "open_roster", (), "NOT_METER_OPERATOR"),
        (METER_OPERATOR, "enlist", (9, [METERS[0]]), "UNKNOWN_ROSTER"),
        (METER_OPERATOR, "enlist", (1, []), "BATCH_SIZE"),
        (METER_OPERATOR, "enlist", (1, [METERS[0]] * 4_097), "BATCH_SIZE"),
        (METER_OPERATOR, "enlist", (1, ["nobody"]), "UNKNOWN_METER"),
        (METER_OPERATOR, "enlist", (1, [METERS[0]]), "METER_ON_A_ROSTER"),
        (OPERATOR, "enlist", (1, [METERS[0]]), "NOT_YOUR_ROSTER"),
        (METER_OPERATOR, "strike", (9, [METERS[0]]), "UNKNOWN_ROSTER"),
        (METER_OPERATOR, "strike", (1, []), "BATCH_SIZE"),
        (METER_OPERATOR, "strike", (1, ["nobody"]), "NOT_ON_THE_ROSTER"),
        (METER_OPERATOR, "strike", (1, [METERS[0]] * 2), "NOT_ON_THE_ROSTER"),
        (STRANGER, "strike", (1, [METERS[0]]), "NOT_YOUR_ROSTER"),
    ],
)
def test_a_roster_refuses(listed: Network, sender: str, function: str, args: tuple[object, ...], code: str) -> None:
    with refused(code):
        listed.act(sender, "rosters", function, *args)


def test_a_meter_twice_in_one_list_is_refused(network: Network) -> None:
    network.act(METER_OPERATOR, "rosters", "open_roster")
    with refused("METER_ON_A_ROSTER"):
        network.act(METER_OPERATOR, "rosters", "enlist", 1, [METERS[0], METERS[0]])


def test_an_account_has_no_more_places_than_a_settlement_can_add_up(network: Network) -> None:
    codes = [f"M-{n}" for n in range(MAX_OF_ACCOUNT + 1)]
    for code in codes:
        network.act(OPERATOR, "registry", "register_meter", code, ALICE, "household", "b", 1_000)
    network.act(METER_OPERATOR, "rosters", "open_roster")
    with refused("TOO_MANY_PLACES"):
        network.act(METER_OPERATOR, "rosters", "enlist", 1, codes)
    network.act(METER_OPERATOR, "rosters", "enlist", 1, codes[1:])


def test_numbers_of_rosters_and_pages_stay_small(network: Network) -> None:
    """So that a page and a slot make one small integer, and a place is one."""
    network.act(METER_OPERATOR, "rosters", "open_roster")
    network.world.state[b"rosters/last_roster"] = b"\xcd\x3f\xff"  # 16,383, msgpack
    with refused("TOO_MANY_ROSTERS"):
        network.act(METER_OPERATOR, "rosters", "open_roster")
    full = [METER_OPERATOR, PAGE * PAGES, 1]
    network.world.state[b"rosters/rosters/\x01"] = encode_record(full)
    with refused("ROSTER_FULL"):
        network.act(METER_OPERATOR, "rosters", "enlist", 1, [METERS[0]])


def encode_record(fields: list[object]) -> bytes:
    from contracts.runtime.codec import encode

    return encode(fields)


# --- What it costs -----------------------------------------------------------------------------------------------------


def furnished(meters: int) -> MeteredWorld:
    """A metered world with an account for each meter, all on roster 1."""
    world = MeteredWorld(gas_limit=10**9)
    network = Network(people=(), world=world)
    codes = []
    for n in range(meters):
        network.act(OPERATOR, "registry", "register_participant", f"{n + 4096:040x}", "n", "")
        network.act(OPERATOR, "registry", "register_meter", f"M-{n}", f"{n + 4096:040x}", "household", "b", 1_000)
        codes.append(f"M-{n}")
    on_a_roster(network, codes)
    return world


def test_a_packed_reading_costs_a_small_part_of_a_single_one() -> None:
    world = furnished(PAGE)
    operator = world.as_(METER_OPERATOR)
    operator.call("metering", "submit_packed", 1, SLOT, 0, *columns([(1, 1)] * PAGE))
    packed_gas = world.gas_used
    operator.call("metering", "submit", [(f"M-{n}", SLOT + 1, 1, 1, "DIRECT") for n in range(PAGE)])
    assert packed_gas * 20 < world.gas_used
    assert packed_gas < 150 * PAGE


def test_meters_are_looked_at_one_by_one_only_where_a_roster_changed_since_the_slot_began() -> None:
    world = furnished(8)
    send = world.as_(METER_OPERATOR)
    gas = []
    for slot, height in ((SLOT, 9), (SLOT + 1, 1)):  # the roster's last change was at height 1
        world.height = height
        send.call("metering", "submit", [("M-0", slot, 1, 0, "DIRECT")])
        world.state.pop(next(key for key in world.state if key.startswith(b"metering/singly/")))
        world.height = 10
        send.call("metering", "submit_packed", 1, slot, 0, *columns([None, *[(1, 1)] * 7]))
        gas.append(world.gas_used)
    assert gas[1] > gas[0] + 8 * 500


def test_a_settlement_step_over_accounts_with_all_the_places_they_may_have_stays_payable() -> None:
    """A step asks for 2,000 accounts; a transaction has 200,000,000 gas unless the network changes that."""
    network = Network(people=(ALICE, BOB), deposit_micros=0, world=MeteredWorld())
    assert isinstance(network.world, MeteredWorld)
    codes = [f"M-{n}" for n in range(MAX_OF_ACCOUNT)]
    for code in codes:
        network.act(OPERATOR, "registry", "register_meter", code, ALICE, "household", "b", 1_000)
    on_a_roster(network, [load_of(BOB), *codes])
    send(network, [(1, 1)] * (1 + MAX_OF_ACCOUNT))
    gas = []
    for accounts in ([BOB], [BOB, ALICE]):
        network.see("metering", "metered_many", accounts, SLOT)
        gas.append(network.world.gas_used)
    assert 2_000 * (gas[1] - gas[0]) < 150_000_000


def test_gas_that_runs_out_keeps_nothing() -> None:
    world = furnished(4)
    world.gas_limit, before = 8_000, dict(world.state)
    with pytest.raises(ContractError, match="OUT_OF_GAS"):
        world.as_(METER_OPERATOR).call("metering", "submit_packed", 1, SLOT, 0, *columns([(1, 1)] * 4))
    assert world.state == before
