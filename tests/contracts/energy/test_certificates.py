from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.host import ContractError
from tests.contracts.energy.network import (
    ALICE,
    BOB,
    CAROL,
    ISSUER,
    OPERATOR,
    PEOPLE,
    SLOT,
    STRANGER,
    Network,
    load_of,
    pv_of,
    refused,
)
from tests.contracts.energy.walk import check_units


@pytest.fixture
def produced(network: Network) -> Network:
    """Alice fed in 1,000 Wh and used 400; Bob used 300; the slot is settled."""
    network.meter((pv_of(ALICE), 0, 1_000), (load_of(ALICE), 400, 0), (load_of(BOB), 300, 0))
    network.settle(0)
    return network


def units(network: Network, certificate_id: int) -> tuple[int, int, str]:
    """(unit_start, unit_end, owner)"""
    record = network.see("certificates", "certificate", certificate_id)
    return record[4], record[5], record[6]


def test_an_issued_certificate_says_where_when_and_by_whom_it_was_produced(produced: Network) -> None:
    produced.world.time_ms = 1_465_000_000_000
    issued = produced.act(ISSUER, "certificates", "issue", pv_of(ALICE), SLOT, 600)
    assert produced.events("Issued") == [
        {
            "certificate_id": issued,
            "device": pv_of(ALICE),
            "technology": "pv",
            "location": "0",
            "interval_start_s": SLOT * 900,
            "interval_end_s": (SLOT + 1) * 900,
            "unit_start": 0,
            "unit_end": 600,
            "quantity_wh": 600,
            "owner": ALICE,
            "issuer": ISSUER,
            "issued_ms": 1_465_000_000_000,
            "support": "",
            "storage": False,
            "commissioned_s": 0,
        }
    ]
    assert produced.see("certificates", "totals") == (600, 0)
    assert produced.see("certificates", "holding", ALICE) == 600


def test_a_metered_wh_is_issued_at_most_once(produced: Network) -> None:
    first = produced.act(ISSUER, "certificates", "issue", pv_of(ALICE), SLOT, 600)
    with refused("MORE_THAN_METERED"):
        produced.act(ISSUER, "certificates", "issue", pv_of(ALICE), SLOT, 401)
    with refused("MORE_THAN_METERED"):
        produced.act(ISSUER, "certificates", "issue_many", [(pv_of(ALICE), SLOT, 200), (pv_of(ALICE), SLOT, 201)])
    second = produced.act(ISSUER, "certificates", "issue", pv_of(ALICE), SLOT, 400)
    assert (units(produced, first), units(produced, second)) == ((0, 600, ALICE), (600, 1_000, ALICE))
    assert produced.see("certificates", "issued_wh", pv_of(ALICE)) == 1_000
    assert produced.see("certificates", "issued_in_slot", pv_of(ALICE), SLOT) == 1_000
    with refused("MORE_THAN_METERED"):
        produced.act(ISSUER, "certificates", "issue", pv_of(ALICE), SLOT, 1)


@pytest.mark.parametrize(
    ("meter", "slot", "quantity", "code"),
    [
        ("G-00a0", SLOT, 0, "QUANTITY_NOT_POSITIVE"),
        ("G-00a0", SLOT, -5, "QUANTITY_NOT_POSITIVE"),
        ("G-00a1", SLOT, 1, "MORE_THAN_METERED"),
        ("L-00a0", SLOT, 1, "NOT_A_PRODUCTION_DEVICE"),
        ("nobody", SLOT, 1, "UNKNOWN_METER"),
        ("G-00a0", SLOT + 1, 1, "METERING_OPEN"),
    ],
)
def test_what_was_not_produced_is_not_issued(
    produced: Network, meter: str, slot: int, quantity: int, code: str
) -> None:
    with refused(code):
        produced.act(ISSUER, "certificates", "issue", meter, slot, quantity)


def test_a_thousand_at_250_gives_250_and_750(produced: Network) -> None:
    """domain.md, Certificates: split at a quantity. The ranges cover exactly the units of the whole."""
    whole = produced.act(ISSUER, "certificates", "issue", pv_of(ALICE), SLOT, 1_000)
    part = produced.act(ALICE, "certificates", "transfer", whole, 250, BOB)
    assert (units(produced, part), units(produced, whole)) == ((0, 250, BOB), (250, 1_000, ALICE))
    assert produced.see("certificates", "certificate", part)[9] == whole
    assert produced.see("certificates", "holding", BOB) == 250


def test_a_whole_certificate_keeps_its_id_when_it_changes_hands(produced: Network) -> None:
    whole = produced.act(ISSUER, "certificates", "issue", pv_of(ALICE), SLOT, 1_000)
    assert produced.act(ALICE, "certificates", "transfer", whole, 1_000, BOB) == whole
    assert units(produced, whole) == (0, 1_000, BOB)
    assert [row[0] for row in produced.see("certificates", "certificates", 1, 10)] == [whole]
    with refused("NOT_YOUR_CERTIFICATE"):
        produced.act(ALICE, "certificates", "transfer", whole, 1, CAROL)


@pytest.mark.parametrize(
    ("certificate_id", "quantity", "to", "code"),
    [
        (1, 1_001, BOB, "MORE_THAN_CERTIFICATE"),
        (1, 0, BOB, "QUANTITY_NOT_POSITIVE"),
        (1, 10, ALICE, "SELF_TRANSFER"),
        (1, 10, STRANGER, "NOT_A_PARTICIPANT"),
        (2, 10, BOB, "UNKNOWN_CERTIFICATE"),
    ],
)
def test_a_transfer_that_does_not_fit_is_refused(
    produced: Network, certificate_id: int, quantity: int, to: str, code: str
) -> None:
    produced.act(ISSUER, "certificates", "issue", pv_of(ALICE), SLOT, 1_000)
    with refused(code):
        produced.act(ALICE, "certificates", "transfer", certificate_id, quantity, to)


def test_a_retirement_claims_consumption_and_its_units_never_move_again(produced: Network) -> None:
    whole = produced.act(ISSUER, "certificates", "issue", pv_of(ALICE), SLOT, 1_000)
    retired = produced.act(ALICE, "certificates", "retire", whole, 300, BOB, "disclosure 2016", SLOT)
    assert units(produced, whole) == (300, 1_000, ALICE)
    assert produced.see("certificates", "retirement", retired)[4:6] == (0, 300)
    assert produced.see("certificates", "claimed_wh", BOB, SLOT) == 300
    with refused("MORE_THAN_CONSUMED"):
        produced.act(ALICE, "certificates", "retire", whole, 1, BOB, "again", SLOT)
    with refused("MORE_THAN_CERTIFICATE"):
        produced.act(ALICE, "certificates", "transfer", whole, 701, BOB)
    produced.act(ALICE, "certificates", "retire", whole, 400, ALICE, "own use", SLOT)
    assert produced.see("certificates", "totals") == (1_000, 700)
    assert produced.see("certificates", "holding", ALICE) == 300
    event = produced.events("Retired")[0]
    assert (event["beneficiary"], event["purpose"], event["unit_start"], event["unit_end"]) == (
        BOB,
        "disclosure 2016",
        0,
        300,
    )


def test_rows_of_one_call_claim_one_consumption_together(produced: Network) -> None:
    whole = produced.act(ISSUER, "certificates", "issue", pv_of(ALICE), SLOT, 1_000)
    with refused("MORE_THAN_CONSUMED"):
        produced.act(ALICE, "certificates", "retire_many", [(whole, 200, BOB, "", SLOT), (whole, 101, BOB, "", SLOT)])
    assert produced.act(
        ALICE, "certificates", "retire_many", [(whole, 200, BOB, "", SLOT), (whole, 100, BOB, "", SLOT)]
    ) == [1, 2]


def test_a_retired_certificate_has_no_unit_left(produced: Network) -> None:
    whole = produced.act(ISSUER, "certificates", "issue", pv_of(ALICE), SLOT, 300)
    produced.act(ALICE, "certificates", "retire", whole, 300, BOB, "", SLOT)
    assert units(produced, whole) == (300, 300, ALICE)
    for function, args in (("transfer", (whole, 1, BOB)), ("retire", (whole, 1, ALICE, "", SLOT))):
        with refused("MORE_THAN_CERTIFICATE"):
            produced.act(ALICE, "certificates", function, *args)


def test_a_retirement_is_the_owner_s_and_in_the_interval_of_production(produced: Network) -> None:
    whole = produced.act(ISSUER, "certificates", "issue", pv_of(ALICE), SLOT, 1_000)
    with refused("NOT_YOUR_CERTIFICATE"):
        produced.act(BOB, "certificates", "retire", whole, 1, BOB, "", SLOT)
    produced.act(OPERATOR, "metering", "close_slot", SLOT + 1)
    with refused("NOT_THE_SAME_INTERVAL"):
        produced.act(ALICE, "certificates", "retire", whole, 1, BOB, "", SLOT + 1)
    with refused("METERING_OPEN"):
        produced.act(ALICE, "certificates", "retire", whole, 1, BOB, "", SLOT + 2)
    with refused("PURPOSE_TOO_LONG"):
        produced.act(ALICE, "certificates", "retire", whole, 1, BOB, "x" * 129, SLOT)


PERSON = st.sampled_from(PEOPLE[:3])
STEPS = st.one_of(
    st.tuples(st.just("issue"), PERSON, st.integers(0, 1), st.integers(-1, 60)),
    st.tuples(st.just("transfer"), PERSON, st.integers(1, 8), st.integers(-1, 60), PERSON),
    st.tuples(st.just("retire"), PERSON, st.integers(1, 8), st.integers(-1, 60), PERSON, st.integers(0, 1)),
)


@given(st.lists(STEPS, max_size=30))
@settings(max_examples=80, deadline=None)
def test_no_sequence_of_calls_issues_too_much_or_puts_a_unit_in_two_states(steps: list[tuple[Any, ...]]) -> None:
    network = Network(people=PEOPLE[:3], deposit_micros=0)
    for slot in (0, 1):
        network.meter(
            *((pv_of(one), 0, 100) for one in network.people),
            *((load_of(one), 50, 0) for one in network.people),
            slot=slot,
        )
        network.settle(0, slot=slot)
    for step in steps:
        try:
            match step:
                case ("issue", device, slot, quantity):
                    network.act(ISSUER, "certificates", "issue", pv_of(device), slot, quantity)
                case ("transfer", owner, certificate_id, quantity, to):
                    network.act(owner, "certificates", "transfer", certificate_id, quantity, to)
                case (_, owner, certificate_id, quantity, beneficiary, slot):
                    network.act(owner, "certificates", "retire", certificate_id, quantity, beneficiary, "", slot)
        except ContractError:
            continue
    check_units(network, (0, 1))
