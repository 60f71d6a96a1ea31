from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.energy.registry import eic_check_character
from tests.contracts.energy.network import ALICE, BOB, OPERATOR, PEOPLE, STRANGER, Network, load_of, pv_of, refused


def test_a_granted_role_is_held_until_it_is_revoked(network: Network) -> None:
    assert not network.see("registry", "has_role", ALICE, "BRP")
    network.act(OPERATOR, "registry", "grant", ALICE, "BRP")
    assert network.see("registry", "has_role", ALICE, "BRP")
    with refused("ROLE_STANDS"):
        network.act(OPERATOR, "registry", "grant", ALICE, "BRP")
    network.act(OPERATOR, "registry", "revoke", ALICE, "BRP")
    assert not network.see("registry", "has_role", ALICE, "BRP")
    with refused("ROLE_NOT_GRANTED"):
        network.act(OPERATOR, "registry", "revoke", ALICE, "BRP")


def test_genesis_holds_every_role_at_height_0_and_none_afterwards(network: Network) -> None:
    with refused("NOT_OPERATOR"):
        network.act("genesis", "registry", "grant", ALICE, "OPERATOR")
    assert not network.see("registry", "has_role", "genesis", "OPERATOR")
    network.world.height = 0
    assert network.see("registry", "has_role", "genesis", "OPERATOR")
    network.act("genesis", "registry", "grant", ALICE, "OPERATOR")


def test_the_last_operator_cannot_be_revoked(network: Network) -> None:
    with refused("LAST_OPERATOR"):
        network.act(OPERATOR, "registry", "revoke", OPERATOR, "OPERATOR")
    network.act(OPERATOR, "registry", "grant", BOB, "OPERATOR")
    network.act(BOB, "registry", "revoke", OPERATOR, "OPERATOR")
    with refused("NOT_OPERATOR"):
        network.act(OPERATOR, "registry", "grant", ALICE, "BRP")


@pytest.mark.parametrize(
    ("account", "role", "code"),
    [
        (ALICE, "KING", "UNKNOWN_ROLE"),
        ("market", "OPERATOR", "NOT_AN_ADDRESS"),
        ("G" * 40, "OPERATOR", "NOT_AN_ADDRESS"),
        ("A" * 40, "OPERATOR", "NOT_AN_ADDRESS"),
    ],
)
def test_a_role_is_a_known_one_for_an_address(network: Network, account: str, role: str, code: str) -> None:
    with refused(code):
        network.act(OPERATOR, "registry", "grant", account, role)


def test_a_participant_has_a_brp_or_answers_for_itself(network: Network) -> None:
    network.act(OPERATOR, "registry", "grant", BOB, "BRP")
    network.act(OPERATOR, "registry", "register_participant", STRANGER, "new house", BOB)
    assert tuple(network.see("registry", "participant", STRANGER)) == (STRANGER, "new house", BOB, len(PEOPLE))
    assert network.see("registry", "participant", ALICE)[2] == ALICE
    with refused("PARTICIPANT_EXISTS"):
        network.act(OPERATOR, "registry", "register_participant", STRANGER, "again", BOB)
    with refused("NOT_A_BRP"):
        network.act(OPERATOR, "registry", "register_participant", "e" * 40, "house", ALICE)
    with refused("NAME_LENGTH"):
        network.act(OPERATOR, "registry", "register_participant", "e" * 40, "", "")


def test_participants_are_listed_in_pages_in_the_order_of_registration(network: Network) -> None:
    assert network.see("registry", "participant_count") == len(PEOPLE)
    assert network.see("registry", "participants", 0, 1000) == list(PEOPLE)
    assert network.see("registry", "participants", 2, 3) == list(PEOPLE[2:5])
    assert network.see("registry", "participants", 99, 3) == []
    with refused("PAGE_OUT_OF_RANGE"):
        network.see("registry", "participants", 0, 1001)
    with refused("PAGE_OUT_OF_RANGE"):
        network.see("registry", "participants", -1, 5)


def test_a_meter_belongs_to_a_participant_and_is_found_by_it(network: Network) -> None:
    assert network.see("registry", "meters_of", ALICE) == [load_of(ALICE), pv_of(ALICE)]
    assert tuple(network.see("registry", "meter", pv_of(ALICE))) == (pv_of(ALICE), ALICE, "pv", "0", 20_000)
    assert network.see("registry", "meter", "none") is None
    assert network.see("registry", "meters_of", STRANGER) == []


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("L-00a0", ALICE, "pv", "1", 5), "METER_EXISTS"),
        (("new", STRANGER, "pv", "1", 5), "NOT_A_PARTICIPANT"),
        (("new", ALICE, "fusion", "1", 5), "UNKNOWN_KIND"),
        (("new", ALICE, "pv", "1", 0), "RATING_OUT_OF_RANGE"),
        (("", ALICE, "pv", "1", 5), "METER_LENGTH"),
        (("new", ALICE, "pv", "", 5), "BUS_LENGTH"),
    ],
)
def test_a_meter_that_does_not_fit_is_refused(network: Network, args: tuple[object, ...], code: str) -> None:
    with refused(code):
        network.act(OPERATOR, "registry", "register_meter", *args)


# --- EIC, identity, switching, delegation ------------------------------------------------------------------------------

PARTY_EIC, METER_EIC = "10XAT-APG------Z", "11ZTEST-METER--" + eic_check_character("11ZTEST-METER--")


@pytest.mark.parametrize(
    "eic",
    ["10YDE-VE-------2", "10YFR-RTE------C", "10YNL----------L", "10YBE----------2", "10YAT-APG------L"],
)
def test_codes_of_transmission_areas_carry_their_check_character(eic: str) -> None:
    assert eic_check_character(eic) == eic[15]


@given(st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-", min_size=15, max_size=15), st.integers(0, 14), st.data())
def test_any_single_wrong_character_of_an_eic_is_noticed(code: str, place: int, data: st.DataObject) -> None:
    wrong = data.draw(st.sampled_from("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-").filter(lambda one: one != code[place]))
    assert eic_check_character(code) != eic_check_character(code[:place] + wrong + code[place + 1 :])


def test_a_participant_and_a_meter_carry_one_eic_of_their_kind_for_ever(network: Network) -> None:
    network.act(OPERATOR, "registry", "set_eic", ALICE, PARTY_EIC)
    network.act(OPERATOR, "registry", "set_eic", load_of(ALICE), METER_EIC)
    assert network.see("registry", "eic_of", ALICE) == PARTY_EIC
    assert network.see("registry", "subject_of", METER_EIC) == load_of(ALICE)
    for subject, eic, code in (
        (BOB, PARTY_EIC, "EIC_STANDS"),
        (ALICE, "10XAT-APG------Y", "NOT_AN_EIC"),
        (BOB, PARTY_EIC[:15] + "A", "NOT_AN_EIC"),
        (BOB, PARTY_EIC[:15], "NOT_AN_EIC"),
        (BOB, "10x" + "-" * 13, "NOT_AN_EIC"),
        (BOB, METER_EIC, "EIC_OF_ANOTHER_KIND"),
        (load_of(BOB), PARTY_EIC, "EIC_OF_ANOTHER_KIND"),
        ("nobody", METER_EIC, "UNKNOWN_SUBJECT"),
    ):
        with refused(code):
            network.act(OPERATOR, "registry", "set_eic", subject, eic)


def test_an_identity_is_a_hash_of_what_an_operator_saw(network: Network) -> None:
    assert network.see("registry", "identity", ALICE) is None
    network.act(OPERATOR, "registry", "set_identity", ALICE, b"h" * 32)
    assert network.see("registry", "identity", ALICE) == b"h" * 32
    with refused("NOT_A_HASH"):
        network.act(OPERATOR, "registry", "set_identity", ALICE, b"h")
    with refused("NOT_A_PARTICIPANT"):
        network.act(OPERATOR, "registry", "set_identity", STRANGER, b"h" * 32)


def test_a_switch_holds_from_its_slot_and_never_in_the_past(network: Network) -> None:
    network.act(OPERATOR, "registry", "grant", BOB, "SUPPLIER")
    network.act(OPERATOR, "registry", "grant", BOB, "BRP")
    network.world.time_ms = 10 * 900_000
    for slot in (-1, 10):
        with refused("SLOT_HAS_BEGUN"):
            network.act(ALICE, "registry", "switch_supplier", ALICE, BOB, slot)
    network.act(ALICE, "registry", "switch_supplier", ALICE, BOB, 11)
    network.act(OPERATOR, "registry", "switch_brp", ALICE, BOB, 12)
    network.act(OPERATOR, "registry", "switch_brp", ALICE, "", 15)
    assert [network.see("registry", "suppliers_of", [ALICE], slot)[0] for slot in (10, 11, 99)] == ["", BOB, BOB]
    assert [network.see("registry", "brps_of", [ALICE], slot)[0] for slot in (11, 12, 14, 15)] == [
        ALICE,
        BOB,
        BOB,
        ALICE,
    ]
    with refused("LATER_SWITCH_STANDS"):
        network.act(OPERATOR, "registry", "switch_brp", ALICE, BOB, 14)
    network.act(OPERATOR, "registry", "switch_brp", ALICE, BOB, 15)
    assert network.see("registry", "brps_of", [ALICE], 15) == [BOB]


def test_a_switch_goes_to_who_holds_the_role_and_is_asked_for_by_the_right_one(network: Network) -> None:
    network.act(OPERATOR, "registry", "grant", BOB, "SUPPLIER")
    for sender, function, args, code in (
        (ALICE, "switch_supplier", (ALICE, "e" * 40, 5), "NOT_A_SUPPLIER"),
        (BOB, "switch_supplier", (BOB, BOB, 5), "NOT_A_SUPPLIER"),
        (STRANGER, "switch_supplier", (STRANGER, BOB, 5), "NOT_A_PARTICIPANT"),
        (OPERATOR, "switch_brp", (ALICE, BOB, 5), "NOT_A_BRP"),
        (OPERATOR, "switch_supplier", (ALICE, BOB, 100_000_001), "SLOT_OUT_OF_RANGE"),
    ):
        with refused(code):
            network.act(sender, "registry", function, *args)
    for slot in range(1, 201):
        network.act(OPERATOR, "registry", "switch_supplier", ALICE, BOB, slot)
    with refused("TOO_MANY_SWITCHES"):
        network.act(OPERATOR, "registry", "switch_supplier", ALICE, BOB, 201)


def test_an_aggregator_acts_until_the_delegation_or_its_role_ends(network: Network) -> None:
    with refused("NOT_AN_AGGREGATOR"):
        network.act(ALICE, "registry", "delegate", BOB)
    network.act(OPERATOR, "registry", "grant", BOB, "AGGREGATOR")
    network.act(ALICE, "registry", "delegate", BOB)
    assert network.see("registry", "may_act_for", BOB, ALICE)
    assert not network.see("registry", "may_act_for", ALICE, BOB)
    network.act(OPERATOR, "registry", "revoke", BOB, "AGGREGATOR")
    assert not network.see("registry", "may_act_for", BOB, ALICE)
    network.act(OPERATOR, "registry", "grant", BOB, "AGGREGATOR")
    network.act(ALICE, "registry", "end_delegation")
    assert not network.see("registry", "may_act_for", BOB, ALICE)
    with refused("NOTHING_DELEGATED"):
        network.act(ALICE, "registry", "end_delegation")


def test_no_meter_is_named_like_a_carbon_project(network: Network) -> None:
    with refused("METER_NAME_RESERVED"):
        network.act(OPERATOR, "registry", "register_meter", "carbon/1", ALICE, "pv", "1", 1)


def test_renewable_is_who_produces_from_nothing_else(network: Network) -> None:
    assert network.see("registry", "produces_renewably", ALICE)
    network.act(OPERATOR, "registry", "register_meter", "chp", ALICE, "chp", "0", 5_000)
    assert not network.see("registry", "produces_renewably", ALICE)
    assert not network.see("registry", "produces_renewably", STRANGER)
