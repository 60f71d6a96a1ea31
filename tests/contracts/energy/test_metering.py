from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.energy.metering import export_limit_wh
from tests.contracts.energy.network import (
    ALICE,
    BOB,
    METER_OPERATOR,
    OPERATOR,
    PEOPLE,
    SLOT,
    Network,
    load_of,
    pv_of,
    refused,
)


def test_a_batch_sums_up_per_account_and_slot(network: Network) -> None:
    network.meter((load_of(ALICE), 120, 0), (pv_of(ALICE), 3, 900), (load_of(BOB), 50, 0))
    assert network.see("metering", "metered_many", [ALICE, BOB], SLOT) == [(123, 900), (50, 0)]
    assert network.see("metering", "metered", ALICE, SLOT + 1) == (0, 0)
    assert tuple(network.see("metering", "reading", pv_of(ALICE), SLOT)) == (3, 900, "DIRECT")
    assert network.events("Metered") == [
        {
            "meter_operator": METER_OPERATOR,
            "reading_count": 3,
            "first_slot": SLOT,
            "last_slot": SLOT,
            "import_wh": 173,
            "export_wh": 900,
        }
    ]


@pytest.mark.parametrize("first", ["DIRECT", "ESTIMATED"])
@pytest.mark.parametrize("second", ["DIRECT", "ESTIMATED"])
def test_the_first_reading_stands_and_the_view_says_what_stands(network: Network, first: str, second: str) -> None:
    network.meter((load_of(ALICE), 120, 0), quality=first)
    seen = len(network.world.events)
    with refused("READING_STANDS"):
        network.meter((load_of(BOB), 1, 0), (load_of(ALICE), 120, 0), quality=second)
    assert len(network.world.events) == seen
    assert tuple(network.see("metering", "reading", load_of(ALICE), SLOT)) == (120, 0, first)
    assert network.see("metering", "reading", load_of(BOB), SLOT) is None
    assert network.see("metering", "metered", BOB, SLOT) == (0, 0)


def test_a_meter_twice_in_one_batch_is_refused(network: Network) -> None:
    with refused("READING_STANDS"):
        network.meter((load_of(ALICE), 1, 0), (load_of(ALICE), 1, 0))


def test_a_correction_replaces_what_stands_until_metering_closes(network: Network) -> None:
    with refused("NOTHING_TO_CORRECT"):
        network.meter((load_of(ALICE), 90, 0), quality="CORRECTED")
    network.meter((load_of(ALICE), 120, 0), (pv_of(ALICE), 0, 10))
    network.meter((load_of(ALICE), 90, 0), quality="CORRECTED")
    network.meter((load_of(ALICE), 95, 0), quality="CORRECTED")
    assert network.see("metering", "metered", ALICE, SLOT) == (95, 10)
    assert network.events("Corrected")[1]["replaced_import_wh"] == 90


def test_a_closed_slot_takes_corrections_only_and_only_within_the_window(network: Network) -> None:
    network.meter((load_of(ALICE), 120, 0))
    network.world.time_ms = 5_000
    network.act(OPERATOR, "metering", "set_correction_window", 1_000)
    network.act(OPERATOR, "metering", "close_slot", SLOT)
    for meter in (load_of(ALICE), load_of(BOB)):
        with refused("SLOT_SETTLED"):
            network.meter((meter, 96, 0))
    network.world.time_ms = 6_000
    network.meter((load_of(ALICE), 96, 0), quality="CORRECTED")
    assert network.see("metering", "corrections", SLOT) == 1
    assert not network.see("metering", "is_final", SLOT)
    network.world.time_ms = 6_001
    with refused("SLOT_FINAL"):
        network.meter((load_of(ALICE), 97, 0), quality="CORRECTED")
    assert network.see("metering", "is_final", SLOT)
    with refused("WINDOW_OUT_OF_RANGE"):
        network.act(OPERATOR, "metering", "set_correction_window", -1)


@pytest.mark.parametrize(
    ("row", "code"),
    [
        (("nobody", SLOT, 1, 0, "DIRECT"), "UNKNOWN_METER"),
        (("L-00a0", SLOT, 1, 0, "GUESSED"), "UNKNOWN_QUALITY"),
        (("L-00a0", SLOT, -1, 0, "DIRECT"), "IMPORT_OUT_OF_RANGE"),
        (("L-00a0", SLOT, 1_000_000_001, 0, "DIRECT"), "IMPORT_OUT_OF_RANGE"),
        (("G-00a0", SLOT, 0, -1, "DIRECT"), "EXPORT_ABOVE_RATING"),
        (("G-00a0", SLOT, 0, 5_501, "DIRECT"), "EXPORT_ABOVE_RATING"),
        (("L-00a0", -1, 1, 0, "DIRECT"), "SLOT_OUT_OF_RANGE"),
    ],
)
def test_a_reading_that_cannot_be_is_refused(network: Network, row: tuple[object, ...], code: str) -> None:
    with refused(code):
        network.act(METER_OPERATOR, "metering", "submit", [row])


def test_a_batch_has_between_1_and_5000_rows(network: Network) -> None:
    for rows in ([], [("L-00a0", SLOT, 1, 0, "DIRECT")] * 5_001):
        with refused("BATCH_SIZE"):
            network.act(METER_OPERATOR, "metering", "submit", rows)


def test_an_export_of_the_rating_and_a_tenth_is_the_most(network: Network) -> None:
    assert export_limit_wh(20_000) == 5_500
    network.meter((pv_of(ALICE), 0, 5_500))


READINGS = st.tuples(
    st.sampled_from(PEOPLE[:3]),
    st.booleans(),
    st.integers(0, 2),
    st.integers(0, 99),
    st.sampled_from(["DIRECT", "CORRECTED"]),
)


@given(st.lists(READINGS, max_size=25))
@settings(max_examples=60, deadline=None)
def test_sums_are_the_sums_of_the_readings_that_stand(
    rows: list[tuple[str, bool, int, int, str]],
) -> None:
    network = Network(people=PEOPLE[:3], deposit_micros=0)
    standing: dict[tuple[str, bool, int], int] = {}
    for account, produces, slot, energy_wh, quality in rows:
        meter = pv_of(account) if produces else load_of(account)
        row = (meter, slot, 0 if produces else energy_wh, energy_wh if produces else 0, quality)
        key = (account, produces, slot)
        if (key in standing) == (quality == "CORRECTED"):
            network.act(METER_OPERATOR, "metering", "submit", [row])
            standing[key] = energy_wh
        else:
            with refused("READING_STANDS" if key in standing else "NOTHING_TO_CORRECT"):
                network.act(METER_OPERATOR, "metering", "submit", [row])
    for account in network.people:
        for slot in range(3):
            expected = (standing.get((account, False, slot), 0), standing.get((account, True, slot), 0))
            assert network.see("metering", "metered", account, slot) == expected
