"""No function can be called by a role that should not call it."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.energy import DEPLOYMENT_ORDER, SOURCES
from contracts.host import pack_column
from tests.contracts.energy.network import (
    ALICE,
    BOB,
    ISSUER,
    METER_OPERATOR,
    OPERATOR,
    SLOT,
    STRANGER,
    ZONE,
    Network,
    load_of,
    pv_of,
    refused,
)
from tests.contracts.energy.reference import functions

SUPPLIER, AGGREGATOR = "5" * 40, "6" * 40
COLUMN = pack_column([0])

# Every exported function: who may call it, arguments that only the caller's role keeps from working, the refusal.
# "owner" and "participant" mean that the function acts on what the caller owns; "contract" an allowed contract.
GUARDS: dict[tuple[str, str], tuple[str, tuple[Any, ...], str]] = {
    ("registry", "grant"): ("operator", (STRANGER, "OPERATOR"), "NOT_OPERATOR"),
    ("registry", "revoke"): ("operator", (METER_OPERATOR, "METER_OPERATOR"), "NOT_OPERATOR"),
    ("registry", "register_participant"): ("operator", (STRANGER, "me", ""), "NOT_OPERATOR"),
    ("registry", "register_meter"): ("operator", ("new", ALICE, "pv", "9", 1_000), "NOT_OPERATOR"),
    ("registry", "set_eic"): ("operator", (ALICE, "10XAT-APG------Z"), "NOT_OPERATOR"),
    ("registry", "set_identity"): ("operator", (ALICE, b"h" * 32), "NOT_OPERATOR"),
    ("registry", "set_meter_key"): ("operator", (pv_of(ALICE), b"k" * 32), "NOT_OPERATOR"),
    ("registry", "switch_brp"): ("operator", (ALICE, "", SLOT), "NOT_OPERATOR"),
    ("registry", "switch_supplier"): ("owner", (ALICE, SUPPLIER, SLOT), "NOT_YOUR_ACCOUNT"),
    ("registry", "delegate"): ("participant", (AGGREGATOR,), "NOT_A_PARTICIPANT"),
    ("registry", "end_delegation"): ("owner", (), "NOTHING_DELEGATED"),
    ("payments", "allow_contract"): ("operator", ("thief",), "NOT_OPERATOR"),
    ("payments", "mint"): ("operator", (STRANGER, 1_000, "gift"), "NOT_OPERATOR"),
    ("payments", "burn"): ("operator", (ALICE, 1_000, "spite"), "NOT_OPERATOR"),
    ("payments", "transfer"): ("funded", (STRANGER, 1_000), "INSUFFICIENT_BALANCE"),
    ("payments", "set_credit_limit"): ("operator", (STRANGER, 1_000), "NOT_OPERATOR"),
    ("payments", "hold"): ("contract", (ALICE, 1_000), "NOT_AN_ALLOWED_CONTRACT"),
    ("payments", "hold_each"): ("contract", (ALICE, [1_000]), "NOT_AN_ALLOWED_CONTRACT"),
    ("payments", "capture"): ("contract", (1, STRANGER, 1), "NOT_AN_ALLOWED_CONTRACT"),
    ("payments", "release"): ("contract", (1, 1), "NOT_AN_ALLOWED_CONTRACT"),
    ("payments", "release_all"): ("contract", (1,), "NOT_AN_ALLOWED_CONTRACT"),
    ("payments", "settle_holds"): ("contract", ([(1, 1)], [(STRANGER, 1)]), "NOT_AN_ALLOWED_CONTRACT"),
    ("payments", "move"): ("contract", (ALICE, STRANGER, 1_000), "NOT_AN_ALLOWED_CONTRACT"),
    ("payments", "charge"): ("contract", ([(STRANGER, 5)], "neutrality"), "NOT_AN_ALLOWED_CONTRACT"),
    ("market", "place_order"): ("participant", (ZONE, SLOT, "sell", 1, 1), "NOT_A_PARTICIPANT"),
    ("market", "place_orders"): ("participant", ([(ZONE, SLOT + 9, "sell", 1, 1)],), "NOT_A_PARTICIPANT"),
    ("market", "cancel_order"): ("trader", (1_000_000,), "NOT_YOUR_ORDER"),
    ("market", "place_order_for"): ("aggregator", (ALICE, ZONE, SLOT, "buy", 1, 1), "NOT_YOUR_ACCOUNT"),
    ("market", "amend_order"): ("trader", (1_000_000, 1, 1), "NOT_YOUR_ORDER"),
    ("market", "join"): ("contract", (ZONE, SLOT), "NOT_A_MARKET"),
    ("market", "reserve"): ("contract", (ALICE, SLOT, 1, 1), "NOT_A_MARKET"),
    ("market", "record"): ("contract", (SLOT, [(ALICE, BOB, 1)]), "NOT_A_MARKET"),
    ("grid", "set_zone"): ("operator", (ZONE, "", ""), "NOT_OPERATOR"),
    ("grid", "set_connection"): ("operator", (ALICE, "f", ZONE), "NOT_OPERATOR"),
    ("grid", "set_fee"): ("operator", ("zone", 1, 1), "NOT_OPERATOR"),
    ("grid", "set_envelope"): ("operator", (ALICE, SLOT, 1, 1), "NOT_OPERATOR"),
    ("grid", "set_capacity"): ("operator", ("a", "b", SLOT, 1), "NOT_OPERATOR"),
    ("grid", "use_capacity"): ("contract", ("a", "b", SLOT, 1), "NOT_A_MARKET"),
    ("continuous", "place"): ("participant", (ZONE, SLOT, "sell", 1, 9, ""), "NOT_A_PARTICIPANT"),
    ("continuous", "cancel"): ("owner", (1,), "NOT_YOUR_ORDER"),
    ("continuous", "expire"): ("operator", (ZONE, SLOT - 1), "NOT_OPERATOR"),
    ("bilateral", "offer"): ("participant", (ZONE, SLOT, BOB, 1, 1, 1), "NOT_A_PARTICIPANT"),
    ("bilateral", "withdraw"): ("owner", (1,), "NOT_YOUR_OFFER"),
    ("bilateral", "accept"): ("buyer", (1,), "NOT_YOUR_OFFER"),
    ("resort", "set_tariff"): ("supplier", (2, 1), "NOT_A_SUPPLIER"),
    ("resort", "serve"): ("operator", (ZONE, SLOT - 1), "NOT_OPERATOR"),
    ("market", "clear"): ("operator", (ZONE, SLOT), "NOT_OPERATOR"),
    ("market", "close_slot"): ("operator", (SLOT + 9,), "NOT_OPERATOR"),
    ("metering", "submit"): ("meter operator", ([(load_of(ALICE), SLOT + 9, 1, 0, "DIRECT")],), "NOT_METER_OPERATOR"),
    ("metering", "submit_packed"): ("meter operator", (1, SLOT + 9, 0, [COLUMN], [COLUMN]), "NOT_METER_OPERATOR"),
    ("rosters", "open_roster"): ("meter operator", (), "NOT_METER_OPERATOR"),
    ("rosters", "enlist"): ("keeper", (1, [load_of(BOB)]), "NOT_YOUR_ROSTER"),
    ("rosters", "strike"): ("striker", (1, [pv_of(BOB)]), "NOT_YOUR_ROSTER"),
    ("metering", "submit_signed"): ("device", ([(pv_of(ALICE), SLOT, 0, 1, bytes(64))],), "BAD_SIGNATURE"),
    ("archive", "post"): ("meter operator", ("new", 1, 2, bytes(32), 1, []), "NOT_METER_OPERATOR"),
    ("archive", "allow"): ("keeper", (1, BOB), "NOT_YOUR_ARCHIVE"),
    ("archive", "withdraw"): ("keeper", (1, ALICE), "NOT_YOUR_ARCHIVE"),
    ("metering", "close_slot"): ("operator", (SLOT + 9,), "NOT_OPERATOR"),
    ("metering", "freeze_slot"): ("contract", (SLOT + 9,), "NOT_THE_SETTLEMENT"),
    ("metering", "thaw_slot"): ("contract", (SLOT + 9,), "NOT_THE_SETTLEMENT"),
    ("metering", "set_correction_window"): ("operator", (1,), "NOT_OPERATOR"),
    ("balancing", "set_rules"): ("operator", ("dual", "highest", 0, 0, 0), "NOT_OPERATOR"),
    ("balancing", "activate"): ("operator", (ALICE, SLOT + 9, 1, 0, ""), "NOT_OPERATOR"),
    ("balancing", "close_slot"): ("operator", (SLOT + 9,), "NOT_OPERATOR"),
    ("imbalance", "post_price"): ("operator", (SLOT, 1), "NOT_OPERATOR"),
    ("imbalance", "settle"): ("operator", (SLOT,), "NOT_OPERATOR"),
    ("imbalance", "pay_arrears"): ("owner", (1,), "MORE_THAN_ARREARS"),
    ("certificates", "issue"): ("issuer", (pv_of(BOB), SLOT - 1, 1), "NOT_ISSUER"),
    ("certificates", "issue_many"): ("issuer", ([(pv_of(BOB), SLOT - 1, 1)],), "NOT_ISSUER"),
    ("certificates", "transfer"): ("owner", (1, 1, ALICE), "NOT_YOUR_CERTIFICATE"),
    ("certificates", "split"): ("owner", (1, 1), "NOT_YOUR_CERTIFICATE"),
    ("certificates", "lock"): ("owner", (1, 1, ""), "NOT_YOUR_CERTIFICATE"),
    ("certificates", "unlock"): ("seller", (2,), "NOT_YOUR_CERTIFICATE"),
    ("certificates", "buy"): ("buyer", (2, 7), "FOR_ANOTHER_BUYER"),
    ("certificates", "charge"): ("owner", (1, 1, "battery"), "NOT_YOUR_CERTIFICATE"),
    ("certificates", "describe_device"): ("issuer", (pv_of(BOB), "", 0, 0), "NOT_ISSUER"),
    ("certificates", "withdraw"): ("issuer", (1, 1, "because"), "NOT_ISSUER"),
    ("certificates", "set_lifetime"): ("operator", (1_000,), "NOT_OPERATOR"),
    ("certificates", "expire"): ("issuer", (1,), "NOT_ISSUER"),
    ("certificates", "reconcile"): ("issuer", (pv_of(BOB), SLOT - 1, [1]), "NOT_ISSUER"),
    ("certificates", "register_project"): ("issuer", ("new", BOB, "m", "here", "", 0), "NOT_ISSUER"),
    ("certificates", "verify_vintage"): ("issuer", ("forest", 2020, 10), "NOT_ISSUER"),
    ("certificates", "issue_carbon"): ("issuer", ("forest", 2019, 1), "NOT_ISSUER"),
    ("certificates", "retire"): ("owner", (1, 1, ALICE, "", SLOT - 1), "NOT_YOUR_CERTIFICATE"),
    ("certificates", "retire_many"): ("owner", ([(1, 1, ALICE, "", SLOT - 1)],), "NOT_YOUR_CERTIFICATE"),
}

# Everybody who signs, and what each may call.
CALLERS = {
    STRANGER: set[str](),
    ALICE: {"owner", "seller", "participant", "trader", "funded"},
    OPERATOR: {"operator", "striker"},
    METER_OPERATOR: {"meter operator", "keeper", "striker"},
    ISSUER: {"issuer"},
    SUPPLIER: {"supplier"},
    AGGREGATOR: {"aggregator", "trader"},
    BOB: {"buyer", "participant", "funded"},
}


@pytest.fixture
def busy() -> Network:
    """Alice has a buy order with its hold and a certificate of the slot before, of which Bob still has production."""
    network = Network()
    network.world.verifier = lambda public_key, message, signature: False
    network.act(OPERATOR, "registry", "grant", SUPPLIER, "SUPPLIER")
    network.act(OPERATOR, "registry", "grant", AGGREGATOR, "AGGREGATOR")
    network.act(OPERATOR, "registry", "set_meter_key", pv_of(ALICE), b"k" * 32)
    network.act(ALICE, "registry", "delegate", AGGREGATOR)
    network.act(METER_OPERATOR, "archive", "post", "old", 1, 2, bytes(32), 1, [ALICE])
    network.act(METER_OPERATOR, "rosters", "open_roster")
    network.act(METER_OPERATOR, "rosters", "enlist", 1, [pv_of(BOB)])
    network.order(ALICE, "buy", 1_000, 1_000)
    earlier = SLOT - 1
    network.meter((pv_of(ALICE), 0, 500), (pv_of(BOB), 0, 500), (load_of(ALICE), 500, 0), slot=earlier)
    network.settle(0, slot=earlier)
    network.act(ISSUER, "certificates", "issue", pv_of(ALICE), earlier, 400)
    network.act(ISSUER, "certificates", "issue", pv_of(ALICE), earlier, 100)
    network.act(ALICE, "certificates", "lock", 2, 7, BOB)
    network.act(OPERATOR, "registry", "register_meter", "battery", ALICE, "battery", "9", 1_000)
    network.act(ISSUER, "certificates", "register_project", "forest", BOB, "m", "here", "", 0)
    network.act(ISSUER, "certificates", "verify_vintage", "forest", 2019, 10)
    network.act(ALICE, "continuous", "place", ZONE, SLOT, "sell", 1, 9, "")
    network.act(ALICE, "bilateral", "offer", ZONE, SLOT, BOB, 1, 1, 1)
    return network


def test_every_exported_function_has_a_guard_in_this_test() -> None:
    exported = {
        (name, one.name) for name in DEPLOYMENT_ORDER for one in functions(SOURCES[name]) if one.kind == "export"
    }
    assert exported == set(GUARDS)


@pytest.mark.parametrize(("contract", "function"), GUARDS)
def test_a_caller_without_the_right_is_refused(busy: Network, contract: str, function: str) -> None:
    right, args, code = GUARDS[(contract, function)]
    for caller, rights in CALLERS.items():
        if right not in rights and not (function == "switch_supplier" and caller == OPERATOR):
            expected = code
            if (contract, function) == ("payments", "transfer") and caller == STRANGER:
                expected = "SELF_TRANSFER"
            with refused(expected):
                busy.act(caller, contract, function, *args)


@pytest.mark.parametrize(
    ("contract", "function"), [key for key, guard in GUARDS.items() if guard[0] not in ("contract", "device")]
)
def test_the_arguments_above_work_for_the_right_caller_or_fail_later(
    busy: Network, contract: str, function: str
) -> None:
    """So that the refusals above come from the guard and not from arguments that nobody could use."""
    right, args, _ = GUARDS[(contract, function)]
    caller = next(one for one, rights in CALLERS.items() if right in rights)
    if (contract, function) in {("imbalance", "pay_arrears"), ("imbalance", "settle"), ("market", "place_order")}:
        later = {"pay_arrears": "MORE_THAN_ARREARS", "settle": "PRICE_MISSING", "place_order": "SELF_TRADE"}[function]
        with refused(later):
            busy.act(caller, contract, function, *args)
    elif (contract, function) == ("certificates", "expire"):
        with refused("NOT_EXPIRED"):
            busy.act(caller, contract, function, *args)
    elif (contract, function) == ("certificates", "reconcile"):
        with refused("ANOTHER_DEVICE_OR_SLOT"):
            busy.act(caller, contract, function, *args)
    elif (contract, function) == ("certificates", "transfer"):
        with refused("SELF_TRANSFER"):
            busy.act(caller, contract, function, *args)
    else:
        busy.act(caller, contract, function, *args)
