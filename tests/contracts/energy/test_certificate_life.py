"""Selling, withdrawing, expiring, storing, and carbon units."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.energy.certificates import match_hourly, split_range, year_start_s
from tests.contracts.energy.network import (
    ALICE,
    BOB,
    CAROL,
    DEPOSIT_MICROS,
    ISSUER,
    OPERATOR,
    SLOT,
    STRANGER,
    Network,
    load_of,
    pv_of,
    refused,
)
from tests.contracts.energy.walk import check_units


@pytest.fixture
def issued(network: Network) -> Network:
    """Alice fed in 1,000 Wh and has certificate 1 for them; she used 400, Bob 300; the slot is settled."""
    network.meter((pv_of(ALICE), 0, 1_000), (load_of(ALICE), 400, 0), (load_of(BOB), 300, 0))
    network.settle(0)
    network.act(ISSUER, "certificates", "issue", pv_of(ALICE), SLOT, 1_000)
    return network


def certificates(network: Network, sender: str, function: str, *args: object) -> int:
    result = network.act(sender, "certificates", function, *args)
    return result if isinstance(result, int) else 0


def units(network: Network, certificate_id: int) -> tuple[int, int, str]:
    record = network.see("certificates", "certificate", certificate_id)
    return record.unit_start, record.unit_end, record.owner


# --- Pure ---------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**9), st.integers(1, 10**9), st.data())
def test_a_range_splits_into_two_that_touch_and_cover_it(start: int, size: int, data: st.DataObject) -> None:
    quantity = data.draw(st.integers(1, size))
    first, rest = split_range(start, start + size, quantity)
    assert first == (start, start + quantity)
    assert rest == (start + quantity, start + size)
    for wrong in (0, -1, size + 1):
        with refused("MORE_THAN_CERTIFICATE"):
            split_range(start, start + size, wrong)


SIDE = st.lists(st.tuples(st.just("x"), st.integers(0, 3), st.integers(0, 9)), max_size=8)


@given(SIDE, SIDE)
def test_matching_uses_every_wh_once_and_leaves_nothing_that_fits(
    produced: list[tuple[str, int, int]], consumed: list[tuple[str, int, int]]
) -> None:
    matched = match_hourly(produced, consumed)
    assert all(produced[one][1] == consumed[other][1] and wh > 0 for one, other, wh in matched)
    for slot in range(4):
        made = sum(row[2] for row in produced if row[1] == slot)
        used = sum(row[2] for row in consumed if row[1] == slot)
        assert sum(wh for one, _, wh in matched if produced[one][1] == slot) == min(made, used)
    for place, row in enumerate(produced):
        assert sum(wh for one, _, wh in matched if one == place) <= row[2]
    for place, row in enumerate(consumed):
        assert sum(wh for _, other, wh in matched if other == place) <= row[2]


@given(st.integers(1970, 2200))
def test_a_vintage_begins_when_its_year_does(year: int) -> None:
    assert year_start_s(year) == int(datetime(year, 1, 1, tzinfo=UTC).timestamp())


# --- Splitting and selling ---------------------------------------------------------------------------------------------


def test_a_split_keeps_owner_and_units(issued: Network) -> None:
    part = certificates(issued, ALICE, "split", 1, 250)
    assert (units(issued, part), units(issued, 1)) == ((0, 250, ALICE), (250, 1_000, ALICE))
    assert issued.see("certificates", "holding", ALICE) == 1_000
    with refused("NOTHING_LEFT_TO_SPLIT"):
        certificates(issued, ALICE, "split", 1, 750)
    check_units(issued, [SLOT])


def test_a_sale_pays_and_delivers_in_one_step(issued: Network) -> None:
    certificates(issued, ALICE, "lock", 1, 5_000, "")
    assert issued.see("certificates", "sale", 1) == (5_000, "")
    for function, args in (("transfer", (1, 1, BOB)), ("split", (1, 1)), ("retire", (1, 1, ALICE, "", SLOT))):
        with refused("LOCKED_FOR_SALE"):
            certificates(issued, ALICE, function, *args)
    with refused("ANOTHER_PRICE"):
        certificates(issued, BOB, "buy", 1, 4_999)
    with refused("SELF_TRANSFER"):
        certificates(issued, ALICE, "buy", 1, 5_000)
    with refused("NOT_A_PARTICIPANT"):
        certificates(issued, STRANGER, "buy", 1, 5_000)
    certificates(issued, BOB, "buy", 1, 5_000)
    assert units(issued, 1) == (0, 1_000, BOB)
    assert issued.see("payments", "balances", [ALICE, BOB]) == [DEPOSIT_MICROS + 5_000, DEPOSIT_MICROS - 5_000]
    assert issued.see("certificates", "sale", 1) is None
    assert issued.events("Sold")[0]["amount_micros"] == 5_000
    with refused("NOT_FOR_SALE"):
        certificates(issued, CAROL, "buy", 1, 5_000)


def test_who_cannot_pay_receives_nothing(issued: Network) -> None:
    certificates(issued, ALICE, "lock", 1, 1_000_000_000, "")
    with refused("INSUFFICIENT_BALANCE"):
        certificates(issued, BOB, "buy", 1, 1_000_000_000)
    assert units(issued, 1)[2] == ALICE


def test_a_sale_to_one_buyer_is_for_that_buyer_and_can_be_undone(issued: Network) -> None:
    certificates(issued, ALICE, "lock", 1, 5_000, BOB)
    with refused("FOR_ANOTHER_BUYER"):
        certificates(issued, CAROL, "buy", 1, 5_000)
    certificates(issued, ALICE, "unlock", 1)
    with refused("NOT_FOR_SALE"):
        certificates(issued, ALICE, "unlock", 1)
    certificates(issued, ALICE, "transfer", 1, 1_000, BOB)
    with refused("PRICE_OUT_OF_RANGE"):
        certificates(issued, BOB, "lock", 1, -1, "")


# --- Withdrawing and expiring ------------------------------------------------------------------------------------------


def test_an_issuer_withdraws_what_is_not_retired(issued: Network) -> None:
    certificates(issued, ALICE, "retire", 1, 300, ALICE, "own use", SLOT)
    ending = certificates(issued, ISSUER, "withdraw", 1, 100, "meter fault")
    record = issued.see("certificates", "ending", ending)
    assert (record.unit_start, record.unit_end, record.how) == (300, 400, "WITHDRAWN")
    with refused("MORE_THAN_CERTIFICATE"):
        certificates(issued, ISSUER, "withdraw", 1, 601, "meter fault")
    with refused("REASON_LENGTH"):
        certificates(issued, ISSUER, "withdraw", 1, 1, "")
    with refused("UNKNOWN_CERTIFICATE"):
        certificates(issued, ISSUER, "withdraw", 9, 1, "x")
    check_units(issued, [SLOT])


def test_a_downward_correction_takes_back_unretired_units_and_flags_the_rest(issued: Network) -> None:
    certificates(issued, ALICE, "retire", 1, 400, ALICE, "own use", SLOT)
    part = certificates(issued, ALICE, "transfer", 1, 200, BOB)
    certificates(issued, BOB, "lock", part, 1, "")
    issued.meter((pv_of(ALICE), 0, 350), quality="CORRECTED")
    assert issued.see("certificates", "excess_wh", pv_of(ALICE), SLOT) == 650
    assert certificates(issued, ISSUER, "reconcile", pv_of(ALICE), SLOT, [part]) == 450
    assert issued.see("certificates", "sale", part) is None
    assert certificates(issued, ISSUER, "reconcile", pv_of(ALICE), SLOT, [part, 1]) == 50
    assert issued.events("Flagged")[-1] == {"device": pv_of(ALICE), "slot": SLOT, "over_wh": 50, "retired_wh": 400}
    assert issued.see("certificates", "excess_wh", pv_of(ALICE), SLOT) == 50
    check_units(issued, [SLOT])
    with refused("ANOTHER_DEVICE_OR_SLOT"):
        certificates(issued, ISSUER, "reconcile", pv_of(BOB), SLOT, [1])
    with refused("BATCH_SIZE"):
        certificates(issued, ISSUER, "reconcile", pv_of(ALICE), SLOT, [1] * 1_001)


def test_a_wh_is_issued_at_most_once_whatever_is_corrected_later(issued: Network) -> None:
    issued.meter((pv_of(ALICE), 0, 600), quality="CORRECTED")
    assert certificates(issued, ISSUER, "reconcile", pv_of(ALICE), SLOT, [1]) == 0
    issued.meter((pv_of(ALICE), 0, 1_000), quality="CORRECTED")
    with refused("MORE_THAN_METERED"):
        certificates(issued, ISSUER, "issue", pv_of(ALICE), SLOT, 1)


def test_claims_beyond_a_corrected_consumption_are_shown(issued: Network) -> None:
    certificates(issued, ALICE, "retire", 1, 400, ALICE, "own use", SLOT)
    issued.meter((load_of(ALICE), 350, 0), quality="CORRECTED")
    assert issued.see("certificates", "overclaimed_wh", ALICE, SLOT) == 50


def test_eighteen_months_after_production_a_certificate_can_only_end(issued: Network) -> None:
    end_ms = (SLOT + 1) * 900_000
    issued.world.time_ms = end_ms + 548 * 86_400_000
    with refused("NOT_EXPIRED"):
        certificates(issued, ISSUER, "expire", 1)
    certificates(issued, ALICE, "lock", 1, 1, "")
    issued.world.time_ms += 1
    with refused("CERTIFICATE_EXPIRED"):
        certificates(issued, BOB, "buy", 1, 1)
    certificates(issued, ISSUER, "expire", 1)
    assert issued.see("certificates", "holding", ALICE) == 0
    assert issued.see("certificates", "ending", 1).how == "EXPIRED"
    with refused("QUANTITY_NOT_POSITIVE"):
        certificates(issued, ISSUER, "expire", 1)
    check_units(issued, [SLOT])


# --- Devices and storage -----------------------------------------------------------------------------------------------


def test_a_certificate_says_what_support_its_device_received(network: Network) -> None:
    network.act(ISSUER, "certificates", "describe_device", pv_of(ALICE), "feed-in tariff", 1_500_000_000, 0)
    network.meter((pv_of(ALICE), 0, 10))
    network.settle(0)
    record = network.see("certificates", "certificate", certificates(network, ISSUER, "issue", pv_of(ALICE), SLOT, 10))
    assert (record.support, record.commissioned_s, record.storage, record.unit) == (
        "feed-in tariff",
        1_500_000_000,
        False,
        "Wh",
    )
    for args, code in (
        ((pv_of(ALICE), "s" * 65, 0, 0), "SUPPORT_LENGTH"),
        ((pv_of(ALICE), "", -1, 0), "TIME_OUT_OF_RANGE"),
        ((pv_of(ALICE), "", 0, 1_000_001), "EFFICIENCY_OUT_OF_RANGE"),
        (("nobody", "", 0, 0), "UNKNOWN_METER"),
    ):
        with refused(code):
            network.act(ISSUER, "certificates", "describe_device", *args)


def test_storage_gives_back_as_certified_what_was_retired_into_it_less_losses(issued: Network) -> None:
    issued.act(OPERATOR, "registry", "register_meter", "B", BOB, "battery", "1", 10_000)
    issued.act(ISSUER, "certificates", "describe_device", "B", "", 0, 900_000)
    issued.meter(("B", 0, 500), slot=SLOT + 1)
    issued.settle(0, slot=SLOT + 1)
    with refused("NOT_CHARGED_WITH_CERTIFICATES"):
        certificates(issued, ISSUER, "issue", "B", SLOT + 1, 1)
    with refused("NOT_A_STORAGE_DEVICE"):
        certificates(issued, ALICE, "charge", 1, 100, pv_of(BOB))
    with refused("MORE_THAN_CONSUMED"):
        certificates(issued, ALICE, "charge", 1, 301, "B")
    certificates(issued, ALICE, "charge", 1, 300, "B")
    assert issued.see("certificates", "storable_wh", "B") == 270
    again = certificates(issued, ISSUER, "issue", "B", SLOT + 1, 270)
    assert issued.see("certificates", "certificate", again).storage is True
    with refused("NOT_CHARGED_WITH_CERTIFICATES"):
        certificates(issued, ISSUER, "issue", "B", SLOT + 1, 1)


# --- Carbon ------------------------------------------------------------------------------------------------------------


def test_carbon_units_live_the_same_life(network: Network) -> None:
    network.act(ISSUER, "certificates", "register_project", "forest", ALICE, "VM0042", "here", "", 1_500_000_000)
    with refused("MORE_THAN_VERIFIED"):
        certificates(network, ISSUER, "issue_carbon", "forest", 2021, 1)
    network.act(ISSUER, "certificates", "verify_vintage", "forest", 2021, 1_000)
    whole = certificates(network, ISSUER, "issue_carbon", "forest", 2021, 900)
    with refused("MORE_THAN_VERIFIED"):
        certificates(network, ISSUER, "issue_carbon", "forest", 2021, 101)
    with refused("LESS_THAN_ISSUED"):
        network.act(ISSUER, "certificates", "verify_vintage", "forest", 2021, 899)
    part = certificates(network, ALICE, "transfer", whole, 250, BOB)
    assert (units(network, part), units(network, whole)) == ((0, 250, BOB), (250, 900, ALICE))
    with refused("NOT_THE_SAME_INTERVAL"):
        certificates(network, BOB, "retire", part, 250, BOB, "flights", 2020)
    with refused("NOT_ENERGY"):
        network.act(OPERATOR, "registry", "register_meter", "B", BOB, "battery", "1", 10_000)
        certificates(network, BOB, "charge", part, 1, "B")
    certificates(network, BOB, "retire", part, 250, BOB, "flights", 2021)
    retired = network.events("Retired")[0]
    assert (retired["unit"], retired["interval_start_s"]) == ("kgCO2e", 1_609_459_200)
    assert network.see("certificates", "carbon_holding", ALICE) == 650
    assert network.see("certificates", "totals") == (0, 0)
    assert network.see("certificates", "project", "forest").methodology == "VM0042"
    certificates(network, ISSUER, "withdraw", whole, 650, "reversal")
    check_units(network, [SLOT])


@pytest.mark.parametrize(
    ("function", "args", "code"),
    [
        ("register_project", ("forest", STRANGER, "m", "l", "", 0), "NOT_A_PARTICIPANT"),
        ("register_project", ("", ALICE, "m", "l", "", 0), "NAME_LENGTH"),
        ("register_project", ("known", ALICE, "m", "l", "", 0), "PROJECT_STANDS"),
        ("register_project", ("forest", ALICE, "m", "l", "s" * 65, 0), "SUPPORT_LENGTH"),
        ("verify_vintage", ("forest", 2021, 1), "UNKNOWN_PROJECT"),
        ("verify_vintage", ("known", 1989, 1), "VINTAGE_OUT_OF_RANGE"),
        ("verify_vintage", ("known", 2021, 0), "QUANTITY_OUT_OF_RANGE"),
        ("issue_carbon", ("forest", 2021, 1), "UNKNOWN_PROJECT"),
        ("issue_carbon", ("known", 2021, 0), "QUANTITY_NOT_POSITIVE"),
    ],
)
def test_carbon_refuses(network: Network, function: str, args: tuple[object, ...], code: str) -> None:
    network.act(ISSUER, "certificates", "register_project", "known", ALICE, "m", "l", "", 0)
    with refused(code):
        network.act(ISSUER, "certificates", function, *args)


def test_an_operator_sets_the_lifetime_within_bounds_and_a_longer_one_revives(issued: Network) -> None:
    issued.world.time_ms = (SLOT + 1) * 900_000 + 549 * 86_400_000
    with refused("CERTIFICATE_EXPIRED"):
        certificates(issued, ALICE, "transfer", 1, 1, BOB)
    for days in (0, 36_501):
        with refused("LIFETIME_OUT_OF_RANGE"):
            certificates(issued, OPERATOR, "set_lifetime", days)
    certificates(issued, OPERATOR, "set_lifetime", 550)
    certificates(issued, ALICE, "transfer", 1, 1, BOB)
