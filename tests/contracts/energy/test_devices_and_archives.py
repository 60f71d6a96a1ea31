"""Readings that devices sign, and data whose root alone is on the chain."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from chain.merkle import prove, root
from contracts.energy.archive import leaf_belongs
from contracts.runtime.metered_world import MeteredWorld
from contracts.runtime.world import World
from node.ed25519 import verify
from tests.contracts.energy.network import (
    ALICE,
    BOB,
    ISSUER,
    METER_OPERATOR,
    OPERATOR,
    SLOT,
    STRANGER,
    Network,
    load_of,
    pv_of,
    refused,
)

KEY = SigningKey(b"m" * 32)


def signed(meter: str, import_wh: int, export_wh: int, slot: int = SLOT) -> tuple[str, int, int, int, bytes]:
    text = f"gridbft reading|{meter}|{slot}|{import_wh}|{export_wh}".encode()
    return (meter, slot, import_wh, export_wh, KEY.sign(text).signature)


@dataclass
class Device:
    network: Network

    def __post_init__(self) -> None:
        self.network.world.verifier = verify
        self.network.act(OPERATOR, "registry", "set_meter_key", pv_of(ALICE), KEY.verify_key.encode())


def with_device(world: World | None = None) -> Network:
    return Device(Network() if world is None else Network(world=world)).network


def test_anybody_may_hand_in_what_a_device_signed() -> None:
    network = with_device()
    network.act(STRANGER, "metering", "submit_signed", [signed(pv_of(ALICE), 3, 900)])
    assert network.see("metering", "metered", ALICE, SLOT) == (3, 900)
    (event,) = network.events("DeviceSigned")
    assert (event["meter"], event["public_key"]) == (pv_of(ALICE), KEY.verify_key.encode())
    with refused("READING_STANDS"):
        network.act(STRANGER, "metering", "submit_signed", [signed(pv_of(ALICE), 3, 900)])


def test_the_chain_s_runtime_checks_the_same_signature() -> None:
    network = with_device(MeteredWorld(verify))
    network.act(STRANGER, "metering", "submit_signed", [signed(pv_of(ALICE), 3, 900)])
    assert network.see("metering", "metered", ALICE, SLOT) == (3, 900)


def test_a_reading_with_anything_changed_is_refused() -> None:
    network = with_device()
    good = signed(pv_of(ALICE), 3, 900)
    changed = [
        (good[0], SLOT + 1, *good[2:]),
        (good[0], SLOT, 4, *good[3:]),
        (good[0], SLOT, 3, 901, good[4]),
        (*good[:4], bytes(64)),
        (*good[:4], b""),
    ]
    for row in changed:
        with refused("BAD_SIGNATURE"):
            network.act(METER_OPERATOR, "metering", "submit_signed", [row])
    with refused("NO_METER_KEY"):
        network.act(METER_OPERATOR, "metering", "submit_signed", [signed(load_of(ALICE), 3, 0)])
    for rows in ([], [good] * 501):
        with refused("BATCH_SIZE"):
            network.act(METER_OPERATOR, "metering", "submit_signed", rows)


def test_a_signed_reading_keeps_the_device_s_bounds() -> None:
    network = with_device()
    with refused("EXPORT_ABOVE_RATING"):
        network.act(STRANGER, "metering", "submit_signed", [signed(pv_of(ALICE), 0, 5_501)])


def test_a_meter_s_last_key_holds() -> None:
    network = with_device()
    other = SigningKey(b"n" * 32).verify_key.encode()
    network.act(OPERATOR, "registry", "set_meter_key", pv_of(ALICE), other)
    with refused("BAD_SIGNATURE"):
        network.act(STRANGER, "metering", "submit_signed", [signed(pv_of(ALICE), 3, 900)])
    with refused("NOT_A_KEY"):
        network.act(OPERATOR, "registry", "set_meter_key", pv_of(ALICE), b"short")
    with refused("UNKNOWN_METER"):
        network.act(OPERATOR, "registry", "set_meter_key", "nobody", other)


# --- Archives ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=5), min_size=1, max_size=20), st.data())
@settings(max_examples=150)
def test_exactly_the_leaf_at_its_place_belongs_to_the_root(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    path = list(prove(leaves, index).path)
    size = len(leaves)
    assert leaf_belongs(root(leaves), size, index, leaves[index], path)
    assert not leaf_belongs(root(leaves), size, index, leaves[index] + b"x", path)
    assert not leaf_belongs(root(leaves), size, size, leaves[index], path)
    assert not leaf_belongs(root(leaves), size, index, leaves[index], [*path, bytes(32)])
    if path:
        assert not leaf_belongs(root(leaves), size, index, leaves[index], path[:-1])


@pytest.fixture
def archived(network: Network) -> Network:
    leaves = [b"one", b"two", b"three"]
    assert network.act(METER_OPERATOR, "archive", "post", "profiles", SLOT, SLOT + 9, root(leaves), 3, [BOB]) == 1
    return network


def test_an_archive_says_who_may_read_and_proves_its_leaves(archived: Network) -> None:
    path = list(prove([b"one", b"two", b"three"], 1).path)
    assert archived.see("archive", "includes", 1, 1, b"two", path)
    assert not archived.see("archive", "includes", 1, 0, b"two", path)
    assert not archived.see("archive", "includes", 2, 1, b"two", path)
    assert [archived.see("archive", "may_read", 1, one) for one in (METER_OPERATOR, BOB, ALICE)] == [True, True, False]
    archived.act(METER_OPERATOR, "archive", "allow", 1, ALICE)
    archived.act(METER_OPERATOR, "archive", "withdraw", 1, BOB)
    assert [archived.see("archive", "may_read", 1, one) for one in (BOB, ALICE)] == [False, True]
    assert archived.see("archive", "archive", 1).reader_count == 1
    assert archived.see("archive", "archive", 2) is None
    with refused("PATH_TOO_LONG"):
        archived.see("archive", "includes", 1, 1, b"two", [bytes(32)] * 49)


@pytest.mark.parametrize(
    ("sender", "function", "args", "code"),
    [
        (METER_OPERATOR, "post", ("", 1, 2, bytes(32), 1, []), "SUBJECT_LENGTH"),
        (METER_OPERATOR, "post", ("x", 2, 1, bytes(32), 1, []), "SLOT_OUT_OF_RANGE"),
        (METER_OPERATOR, "post", ("x", 1, 2, bytes(31), 1, []), "NOT_A_HASH"),
        (METER_OPERATOR, "post", ("x", 1, 2, bytes(32), 0, []), "LEAVES_OUT_OF_RANGE"),
        (METER_OPERATOR, "post", ("x", 1, 2, bytes(32), 1, [BOB, BOB]), "ACCESS_STANDS"),
        (METER_OPERATOR, "post", ("x", 1, 2, bytes(32), 1, [BOB] * 1_001), "TOO_MANY_READERS"),
        (METER_OPERATOR, "allow", (1, BOB), "ACCESS_STANDS"),
        (METER_OPERATOR, "allow", (2, BOB), "UNKNOWN_ARCHIVE"),
        (METER_OPERATOR, "withdraw", (1, ALICE), "NO_ACCESS"),
        (ISSUER, "withdraw", (1, BOB), "NOT_YOUR_ARCHIVE"),
    ],
)
def test_an_archive_refuses(archived: Network, sender: str, function: str, args: tuple[object, ...], code: str) -> None:
    with refused(code):
        archived.act(sender, "archive", function, *args)
