"""Ways of certificates over random walks: every unit is accounted for, and every sale, flag and charge is on its way."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from gridbft.tables import add_event, empty_rows
from gridbft.trace import Way, overlap, trace, way_record
from tests.contracts.energy.network import ISSUER, METER_OPERATOR, pv_of
from tests.contracts.energy.walk import BATTERY, TRADERS, furnish
from tests.gridbft.walked import Walked, known_walk, walked


def ways(network: Walked) -> list[Way]:
    count = network.see("certificates", "certificate_count")
    found = [trace(network.told, number) for number in range(1, count + 1)]
    assert None not in found
    return [way for way in found if way is not None]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=8, deadline=None)
def test_what_is_neither_retired_nor_ended_is_in_live_certificates(seed: int) -> None:
    network = walked(seed, calls=400)
    live = [row for _, row in network.see("certificates", "certificates", 1, 1_000)]
    for way in ways(network):
        units = [overlap(range(row.unit_start, row.unit_end), way.units) for row in live if row.device == way.device]
        record = way_record(way, ())
        assert record["unretired_wh"] == sum(map(len, units))
        assert record["unit"] == ("kgCO2e" if way.is_carbon else "Wh")


def test_a_flag_and_a_charge_are_on_the_way_of_the_units_that_they_are_about() -> None:
    network = Walked()
    furnish(network)
    owner = TRADERS[0]
    network.act(
        METER_OPERATOR, "metering", "submit", [(pv_of(owner), 1, 0, 900, "DIRECT"), (BATTERY, 1, 500, 0, "DIRECT")]
    )
    network.settle(10, slot=1)
    network.act(ISSUER, "certificates", "issue", pv_of(owner), 1, 900)
    network.act(owner, "certificates", "charge", 1, 300, BATTERY)
    network.act(METER_OPERATOR, "metering", "submit", [(pv_of(owner), 1, 0, 200, "CORRECTED")])
    network.act(ISSUER, "certificates", "reconcile", pv_of(owner), 1, [1])
    (way,) = ways(network)
    record = way_record(way, ())
    assert [e["event"] for e in record["history"]] == ["Issued", "Retired", "Charged", "Ended", "Flagged"]
    charged, flagged = record["history"][2], record["history"][4]
    assert (charged["storage"], charged["unit_start"], charged["unit_end"]) == (BATTERY, 0, 300)
    assert flagged["over_wh"] == 100
    assert (record["retired_wh"], record["ended_wh"], record["unretired_wh"]) == (300, 600, 0)


def test_sales_are_on_the_way_of_the_units_that_they_are_about() -> None:
    reached: Counter[str] = Counter()
    for seed in range(16):
        network = known_walk(seed)
        found = ways(network)
        for event in network.told:
            if event.contract != "certificates" or event.name not in ("Sold", "LockedForSale"):
                continue
            told = [way for way in found for one in way.events if one.place == event.place]
            assert told, event
            assert event.fields["certificate_id"] in {way.certificate_id for way in told}
            reached[event.name] += 1
    assert set(reached) == {"Sold", "LockedForSale"}


def test_an_export_has_a_row_for_every_event_about_units_and_every_activation() -> None:
    events = [event for seed in range(6) for event in known_walk(seed).told]
    rows = empty_rows()
    for event in events:
        add_event(rows, event)
    names = ("Issued", "CarbonIssued", "Transferred", "LockedForSale", "Unlocked", "Sold", "Retired", "Ended")
    told = [e for e in events if e.contract == "certificates" and e.name in (*names, "Charged", "Flagged")]
    assert [row["event"] for row in rows["certificates"]] == [e.name for e in told]
    assert all(row["quantity_wh"] for row in rows["certificates"] if row["event"] not in ("LockedForSale", "Unlocked"))
    assert len(rows["activations"]) == sum(e.kind == ("balancing", "Activated") for e in events) > 0
    assert len(rows["trades"]) == sum(e.name in ("Traded", "Served") for e in events) > 0
