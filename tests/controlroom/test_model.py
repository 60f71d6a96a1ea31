"""The read model says what the contracts' own views say, whatever was played."""

from __future__ import annotations

import asyncio
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlroom.clock import day_of, slots_of
from controlroom.energy import Energy
from controlroom.feed import Feed
from controlroom.lookups import Desk, Missing
from controlroom.model import Model
from controlroom.origin import Origin
from controlroom.room import BadRequest, Room
from controlroom.trading import Order
from controlroom.views import VIEWS
from controlroom.views.feeder import bus_energy
from controlroom.views.market import curve
from devnet.plan import Step
from gridbft.ground import Row
from gridbft.history import Happened, happened
from gridbft.trace import trace
from tests.controlroom.chains import Played, block


@pytest.fixture(scope="module")
def played() -> Played:
    return Played("2016-06-10", 44, 56)


def test_prices_volumes_and_orders_are_the_markets(played: Played) -> None:
    for slot in played.day.slots:
        product = played.model.trading.products["feeder", slot]
        record = played.town.world.view("market", "product", "feeder", slot)
        assert (product.price_micros_per_kwh if product.quantity_wh else -1) == record[5]
        assert (product.quantity_wh, product.trade_count, len(product.orders)) == (record[6], record[7], record[4])
        for order_id, order in product.orders.items():
            theirs = played.town.world.view("market", "order", order_id)
            assert (order.account, order.side, order.filled_wh, order.shown_state) == (
                theirs[0], theirs[1], theirs[4], theirs[6],
            )  # fmt: skip


def test_every_settlement_is_the_settlements_own(played: Played) -> None:
    for slot in played.day.slots:
        for account, row in played.model.energy.settled[slot].items():
            theirs = played.town.world.view("imbalance", "settlement", account, slot)
            ours = (
                row.sold_wh, row.bought_wh, row.import_wh, row.export_wh, row.imbalance_wh,
                row.price_micros_per_kwh, row.amount_micros, row.activated_wh, row.brp,
            )  # fmt: skip
            assert ours == tuple(theirs)
        totals, theirs = played.model.energy.totals[slot], played.town.world.view("imbalance", "slot_totals", slot)
        assert (totals.imbalance_wh, totals.neutrality_micros, totals.run) == (theirs[2], theirs[5], theirs[7])


@pytest.mark.parametrize("packed", [False, True])
def test_readings_add_up_to_what_was_metered_at_each_account(played: Played, packed: bool) -> None:
    played = Played("2016-06-10", 48, 50, packed) if packed else played
    buses = {m.bus: m.account for m in played.model.people.meters.values()}
    for slot in played.day.slots:
        for bus, energy in bus_energy(played.model, slot).items():
            assert energy == tuple(played.town.world.view("metering", "metered", buses[bus], slot))


def test_a_participants_devices_are_told_apart_and_add_up_to_what_was_metered(played: Played) -> None:
    room, world = Room(_feed(played.model)), played.town.world
    kinds: set[str] = set()
    for account in played.model.people.participants:
        shown = VIEWS["participant"](room, {"account": account})
        kinds |= {one["kind"] for one in shown["by_kind"]}
        for slot in played.day.slots:
            place = slot - shown["first"]
            sums = [sum(one[side][place] or 0 for one in shown["by_kind"]) for side in ("import_wh", "export_wh")]
            assert sums == list(world.view("metering", "metered", account, slot))
    assert {"household", "ev_charger", "battery", "pv"} <= kinds


def test_groups_of_a_day_are_the_sums_of_its_slots(played: Played) -> None:
    shown = VIEWS["market/day"](Room(_feed(played.model)), {})
    for group in shown["groups"]:
        rows = [
            row
            for slot in played.day.slots
            for row in played.model.energy.settled[slot].values()
            if row.brp == group["brp"]
        ]
        assert group["imbalance_wh"] == sum(row.imbalance_wh for row in rows)
        assert group["amount_micros"] == sum(row.amount_micros for row in rows)
        assert group["members"] == len({row.account for row in rows})
    sizes = [abs(group["imbalance_wh"]) for group in shown["groups"]]
    assert sizes == sorted(sizes, reverse=True)


def test_certificates_are_those_of_the_contract(played: Played) -> None:
    origin, world = played.model.origin, played.town.world
    assert [sum(origin.issued_wh.values()), sum(origin.retired_wh.values())] == list(
        world.view("certificates", "totals")
    )
    assert len(origin.certificates) == world.view("certificates", "certificate_count") > 0
    assert len(origin.retirements) == world.view("certificates", "retirement_count") > 0
    for number, one in origin.certificates.items():
        theirs = world.view("certificates", "certificate", number)
        assert (one.device, one.slot, one.unit_start, one.unit_end, one.owner) == (
            theirs[0], theirs[3], theirs[4], theirs[5], theirs[6],
        )  # fmt: skip
    for account in played.model.people.participants:
        held = sum(origin.certificates[number].left for number in origin.owned.get(account, ()))
        assert held == world.view("certificates", "holding", account)


def test_a_certificate_that_changes_hands_in_part_is_followed(played: Played) -> None:
    """Split, sold, withdrawn: the model stays with the contract."""
    played = Played("2016-06-10", 48, 49)
    world, origin = played.town.world, played.model.origin
    number, one = next((n, c) for n, c in origin.certificates.items() if c.left > 10)
    owner, other = one.owner, next(a for a in played.model.people.participants if a != one.owner)

    def act(who: str, function: str, *args: object) -> None:
        before = len(world.events)
        world.as_(who).call("certificates", function, *args)
        played.model.absorb(block(played.model.height + 1, [world.events[before:]]))

    act(owner, "transfer", number, 4, other)
    act(owner, "lock", number, 1_000, "")
    assert origin.certificates[number].price_micros_per_kwh == 1_000
    act(other, "buy", number, 1_000)
    for certificate, ours in origin.certificates.items():
        theirs = world.view("certificates", "certificate", certificate)
        assert (ours.unit_start, ours.unit_end, ours.owner) == (theirs[4], theirs[5], theirs[6])
    assert sum(origin.traded_wh.values()) > 0
    assert number in origin.owned[other]


def certificate_events(played: Played) -> list[Happened]:
    return [e for made in played.blocks for e in happened(made) if e.contract == "certificates"]


def test_a_certificates_way_is_the_one_that_all_events_tell(played: Played) -> None:
    origin, events = played.model.origin, certificate_events(played)
    assert origin.certificates
    for number in origin.certificates:
        assert origin.way_of(number) == trace(events, number)
    assert origin.way_of(10**9) is None


def test_what_is_used_up_makes_room_and_what_is_left_is_always_known(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that may keep few events has the same sums, holdings and counts, and every certificate with a unit left."""
    monkeypatch.setattr("controlroom.origin.MAX_EVENTS", 20)
    whole, small = played.model.origin, Origin()
    for event in certificate_events(played):
        small.absorb(event)
        assert small.kept == sum(len(lot.events) for lot in small.lots.values())
        assert small.kept <= 20 or not small.used_up
    alive = {key for key, lot in whole.lots.items() if lot.left}
    assert alive <= set(small.lots) < set(whole.lots)
    assert {n for n, c in whole.certificates.items() if c.left} <= set(small.certificates)
    for name in ("issued_wh", "traded_wh", "retired_wh", "ended_wh", "covered_wh", "retirement_count_of"):
        assert getattr(small, name) == getattr(whole, name)
    assert (small.certificate_count, small.retirement_count) == (len(whole.certificates), len(whole.retirements))
    assert {a: ids for a, ids in small.owned.items() if ids} == {a: ids for a, ids in whole.owned.items() if ids}
    for number, one in small.certificates.items():
        assert small.way_of(number) == whole.way_of(number)
        assert one == whole.certificates[number]
    assert sum(map(len, small.retirements_of.values())) < sum(map(len, whole.retirements_of.values()))


def test_who_registered_on_a_young_chain_has_a_page_and_who_has_a_role_is_found() -> None:
    model = Model()
    model.people.roles = {"aa" * 20: {"OPERATOR"}}
    bob = {"account": "bb" * 20, "participant_name": "bob", "number": 1}
    model.absorb(block(1, [[("registry", "ParticipantRegistered", bob)]]))
    room = Room(_feed(model))
    shown = VIEWS["participant"](room, {})
    assert (shown["name"], shown["day"]) == ("bob", day_of(model.time_ms // 900_000).isoformat())
    listed = VIEWS["participants"](room, {})["participants"]
    assert [(one["name"], one["account"]) for one in listed] == [("bob", "bb" * 20), ("operator", "aa" * 20)]
    assert VIEWS["participant"](room, {"account": "aa" * 20})["roles"] == ["OPERATOR"]
    assert [hit["page"] for hit in Desk(room)._known("operator")] == [f"participant/{'aa' * 20}"]


def test_what_was_forgotten_is_told_from_what_never_was(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controlroom.origin.MAX_EVENTS", 20)
    model = Model()
    for made in played.blocks:
        model.absorb(made)
    desk = Desk(Room(_feed(model)))
    gone = min(played.model.origin.certificates.keys() - model.origin.certificates.keys())
    for number, why in ((gone, f"gridbft trace certificate {gone}"), (10**9, "there is no certificate")):
        with pytest.raises(Missing, match=why):
            asyncio.run(desk.certificate({"id": str(number)}))


def test_bills_explained_slot_by_slot_add_up_to_what_moved_the_money(played: Played) -> None:
    from devnet.bill import bills
    from gridbft.inspection import settlement_terms

    desk = Desk(Room(_feed(played.model)))
    made = {bill.account: bill.total_micros for bill in bills(played.book)}
    for account, total in made.items():
        explained = 0
        for slot in played.day.slots:
            desk._terms[slot] = settlement_terms(played.town.world.view("imbalance", "terms", slot))
            explained += desk._explained(account, slot).amount_micros or 0
        assert explained == total


def test_a_bill_stands_on_what_was_read_before_its_settlement_whatever_was_corrected_since() -> None:
    from gridbft.inspection import settlement_terms

    played = Played("2016-06-10", 48, 50)
    slot = played.day.slots[0]
    desk = Desk(Room(_feed(played.model)))
    desk._terms[slot] = settlement_terms(played.town.world.view("imbalance", "terms", slot))
    row = next(iter(played.model.energy.readings[slot].values()))
    account = played.model.people.meters[row.meter].account
    before = desk._explained(account, slot)
    changed = (row.meter, slot, row.import_wh + 50, row.export_wh, "CORRECTED")
    played.play(Step("meter-operator", (("metering", "submit", ([changed],)),), 50_000_000))
    assert [r.import_wh for r in played.model.energy.rows_of(row.meter, slot)] == [row.import_wh, row.import_wh + 50]
    assert desk._explained(account, slot) == before


@given(st.permutations(range(4)))
def test_rows_read_in_any_order_and_twice_are_the_same_history(order: list[int]) -> None:
    rows = [Row("m", 7, 10 * n, n, "DIRECT" if n == 0 else "CORRECTED", "t", "s", (n, 0)) for n in range(4)]
    energy = Energy()
    for n in order:
        energy.read([rows[n]])
    energy.read(rows[3:])
    assert energy.rows_of("m", 7) == rows
    assert energy.metered[7] == (30, 3)
    assert energy.kept == 4
    energy.forget(range(7, 8))
    assert (energy.kept, energy.rows_of("m", 7)) == (0, [])


def test_every_view_of_a_played_and_of_an_empty_chain_is_plain_data(played: Played) -> None:
    import json

    for model in (played.model, Model()):
        room = Room(_feed(model))
        for name, view in VIEWS.items():
            try:
                json.dumps(view(room, {}))
            except BadRequest:
                assert name in ("market/slot", "feeder")


@pytest.mark.parametrize(
    "params", [{"day": "tomorrow"}, {"day": "9999-12-31"}, {"slot": "-1"}, {"slot": "1e3"}, {"account": "nobody"}]
)
def test_parameters_that_cannot_be_are_refused_in_a_sentence(played: Played, params: dict[str, str]) -> None:
    name = "market/slot" if "slot" in params else "participant"
    with pytest.raises(BadRequest):
        VIEWS[name](Room(_feed(played.model)), params)


def test_a_block_out_of_order_is_our_own_bug() -> None:
    model = Model()
    model.absorb(block(1, []))
    with pytest.raises(ValueError, match="does not follow"):
        model.absorb(block(3, []))


def test_events_about_what_a_pruned_node_no_longer_tells_change_nothing() -> None:
    whole = Played("2016-06-10", 48, 49)
    for first in range(1, len(whole.blocks) + 1, 9):
        late = Model(first_height=first)
        for made in whole.blocks[first - 1 :]:
            late.absorb(made)
        assert late.height == whole.model.height


@given(st.lists(st.tuples(st.sampled_from(["buy", "sell"]), st.integers(1, 10**6), st.integers(0, 10**6)), max_size=30))
def test_curves_are_sorted_and_hold_every_order(rows: list[tuple[str, int, int]]) -> None:
    orders = [Order(i, "market", "z", 1, "a", side, wh, limit) for i, (side, wh, limit) in enumerate(rows)]
    for side, sign in (("buy", -1), ("sell", 1)):
        points = curve(orders, side)
        limits = [sign * limit for _, limit in points]
        assert limits == sorted(limits)
        assert [wh for wh, _ in points] == sorted(wh for wh, _ in points)
        assert (points[-1][0] if points else 0) == sum(wh for s, wh, _ in rows if s == side)


def _feed(model: Model) -> Feed:
    feed = Feed(["127.0.0.1:1"])
    feed.model = model
    return feed


def test_events_of_an_upgraded_contract_are_counted_and_stop_nothing() -> None:
    model = Model()
    model.absorb(block(1, [[("market", "Cleared", {"area": "x"}), ("imbalance", "SlotSettled", {"slot": 5})]]))
    model.absorb(
        block(2, [[("registry", "ParticipantRegistered", {"account": "a", "participant_name": "b", "number": 1})]])
    )
    assert model.unread == 2
    assert "a" in model.people.participants


def test_old_readings_make_room_and_leave_their_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controlroom.energy.MAX_READINGS", 5)
    energy = Energy()
    for slot in range(4):
        energy.read(Row(f"m{n}", slot, n, 1, "DIRECT", "t", "s", (slot, 0)) for n in range(3))
    assert sorted(energy.readings) == [3]
    assert energy.kept == 3
    assert [energy.metered[slot] for slot in range(4)] == [(3, 3)] * 4


def test_of_many_days_the_oldest_are_forgotten_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controlroom.model.KEPT_DAYS", 2)
    model = Model()
    first = slots_of(date(2016, 6, 10)).start
    for number in range(4):
        slot = first + 96 * number + 5
        placed = {"order_id": number, "zone": "z", "slot": slot, "account": "a", "side": "buy"}
        posted = {"slot": slot, "price_micros_per_kwh": 1, "by": "o"}
        terms = {"quantity_wh": 1, "limit_micros_per_kwh": 1}
        model.absorb(
            block(number + 1, [[("market", "OrderPlaced", placed | terms), ("imbalance", "PricePosted", posted)]])
        )
    for number in range(9):
        far = {"order_id": 90 + number, "zone": "z", "slot": first + 96 * (20 + number), "account": "b", "side": "buy"}
        model.absorb(block(model.height + 1, [[("market", "OrderPlaced", far | terms)]]))
    assert sorted(day.day for day in model.begun) == [12, 13]
    assert sorted((day.month, day.day) for day in model.days)[:3] == [(6, 12), (6, 13), (6, 30)]
    assert len(model.days) == 2 + 7
    assert model.newest_day == date(2016, 6, 13)
    model.trading.forget(range(first + 96 * 20, first + 96 * 40))
    assert len(model.trading.products) == len(model.energy.posted) == len(model.trading.orders_of["a"]) == 2


def test_the_day_to_look_at_is_where_the_last_gate_closed() -> None:
    model = Model()
    june, january = slots_of(date(2016, 6, 10)).start, slots_of(date(2016, 1, 15)).start
    for height, slot in enumerate((june, january), 1):
        cleared = {"zone": "z", "slot": slot, "price_micros_per_kwh": 1, "quantity_wh": 0, "trade_count": 0}
        model.absorb(block(height, [[("market", "Cleared", cleared)]]))
        assert model.newest_day == day_of(slot)
    model.absorb(block(3, [[("imbalance", "PricePosted", {"slot": june, "price_micros_per_kwh": 1, "by": "o"})]]))
    assert model.newest_day == date(2016, 1, 15)
