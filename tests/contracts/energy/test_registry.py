from __future__ import annotations

import pytest

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
