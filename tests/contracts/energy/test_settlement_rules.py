"""Dual pricing, balance groups, price rules, dead band, re-settlement, and runs of several steps."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.energy.balancing import balancing_price, price_pair
from contracts.energy.imbalance import Terms, settle_rows, settle_terms, share
from tests.contracts.energy.network import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    DEPOSIT_MICROS,
    ERIN,
    OPERATOR,
    PEOPLE,
    SLOT,
    STRANGER,
    Network,
    load_of,
    pv_of,
    refused,
)

ENERGY = st.integers(0, 10**7)
ROWS = st.lists(
    st.tuples(st.sampled_from(["", "x", "y", "z"]), ENERGY, ENERGY, ENERGY, ENERGY, st.integers(-(10**6), 10**6)),
    max_size=12,
).map(lambda rows: [(f"a{place:02}", *row) for place, row in enumerate(rows)])
TERMS = st.builds(
    Terms,
    st.sampled_from(["dual", "none"]),
    st.integers(-(10**8), 10**8),
    st.integers(-(10**8), 10**8),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
)


@given(TERMS, ROWS)
def test_accounts_groups_and_neutrality_balance_to_the_micro(
    terms: Terms, rows: list[tuple[str, str, int, int, int, int, int]]
) -> None:
    accounts, groups, neutrality = settle_terms(terms, rows)
    assert sum(one[2] for one in accounts) + neutrality == 0
    assert sum(one[2] for one in groups) + neutrality == 0
    energy: dict[str, int] = defaultdict(int)
    money: dict[str, int] = defaultdict(int)
    for row, (account, wh, micros) in zip(rows, accounts, strict=True):
        assert account == row[0]
        energy[row[1] or account] += wh
        money[row[1] or account] += micros
    assert [(brp, energy[brp], money[brp]) for brp in energy] == groups


@given(TERMS, ROWS)
def test_who_leans_against_the_group_pays_nothing(
    terms: Terms, rows: list[tuple[str, str, int, int, int, int, int]]
) -> None:
    accounts, groups, _ = settle_terms(terms, rows)
    group_wh = {brp: wh for brp, wh, _ in groups}
    for row, (account, wh, micros) in zip(rows, accounts, strict=True):
        if wh * group_wh[row[1] or account] <= 0:
            assert micros == 0


@given(
    st.integers(-(10**9), 10**9),
    st.lists(st.tuples(st.text(max_size=3), st.integers(1, 10**6)), min_size=1, max_size=9),
)
def test_shares_are_within_one_micro_of_proportional_and_add_up(amount: int, weights: list[tuple[str, int]]) -> None:
    parts = share(amount, weights)
    assert sum(parts) == amount
    total = sum(weight for _, weight in weights)
    for part, (_, weight) in zip(parts, weights, strict=True):
        assert abs(part * total - amount * weight) < total


@pytest.mark.parametrize(
    ("amount", "weights", "parts"),
    [
        pytest.param(10, [("c", 1), ("a", 1), ("b", 1)], [3, 4, 3], id="the tie's micro goes to the first account"),
        pytest.param(-10, [("c", 1), ("a", 1), ("b", 1)], [-3, -4, -3], id="and so does a charge"),
        pytest.param(10, [("a", 1), ("b", 2)], [3, 7], id="the largest remainder"),
        pytest.param(0, [("a", 1)], [0], id="nothing"),
    ],
)
def test_leftover_micros_go_by_largest_remainder(amount: int, weights: list[tuple[str, int]], parts: list[int]) -> None:
    assert share(amount, weights) == parts


def test_dual_pricing_charges_the_buy_price_and_pays_the_sell_price() -> None:
    rows = [("a", "", 0, 0, 0, 1_000, 0), ("b", "", 0, 0, 1_000, 0, 0)]
    assert settle_rows("dual", 90, 40, rows)[0] == [("a", 1_000, 40), ("b", -1_000, -90)]
    assert settle_rows("dual", 90, 40, rows)[2] == 50
    with refused("ONE_PRICE"):
        settle_rows("single", 90, 40, rows)


def test_ordered_flexibility_is_no_imbalance() -> None:
    assert settle_rows("single", 100, 100, [("a", "", 0, 0, 0, 700, 700)])[0] == [("a", 0, 0)]
    assert settle_rows("single", 100, 100, [("a", "", 0, 0, 0, 700, 1_000)])[0] == [("a", -300, -30)]


def test_deviation_assessment_of_domain_md_is_a_parameter_set() -> None:
    """Contract 1,000 MWh, used 950, band 3 %, 400 per MWh x 5 %: 20 MWh assessed, 400 charged."""
    per_mwh = 1_000  # a price of 1 unit of the currency per MWh, in micros per kWh
    terms = Terms("none", 400 * per_mwh, 400 * per_mwh, 30_000, 50_000)
    used_950 = ("a", "", 0, 1_000_000_000, 950_000_000, 0, 0)
    assert settle_terms(terms, [used_950])[0] == [("a", 50_000_000, -400_000_000)]
    within = ("a", "", 0, 1_000_000_000, 970_000_000, 0, 0)
    assert settle_terms(terms, [within])[0] == [("a", 30_000_000, 0)]


@pytest.mark.parametrize(
    ("rule", "incentive", "orders", "expected"),
    [
        pytest.param("highest", 0, [(10, 70), (5, 90), (-3, 20)], (1, 90), id="the dearest upward order"),
        pytest.param("highest", 0, [(-10, 30), (-5, 10), (3, 80)], (-1, 10), id="the least paid for downward energy"),
        pytest.param("average", 0, [(10, 70), (5, 90), (-3, 20)], (1, 76), id="1,150 / 15 rounded down"),
        pytest.param("reference", 0, [(10, 70)], (1, 50), id="the posted price"),
        pytest.param("highest", 7, [(10, 70)], (1, 77), id="incentive up"),
        pytest.param("highest", 7, [(-10, 30)], (-1, 23), id="incentive down"),
        pytest.param("highest", 7, [(10, 70), (-10, 30)], (0, 50), id="no dominant direction"),
        pytest.param("average", 7, [], (0, 50), id="nothing ordered"),
    ],
)
def test_price_rules(rule: str, incentive: int, orders: list[tuple[int, int]], expected: tuple[int, int]) -> None:
    assert balancing_price(rule, incentive, 50, orders) == expected


@pytest.mark.parametrize(
    ("mode", "direction", "price", "pair"),
    [
        ("single", 1, 90, (90, 90)),
        ("dual", 1, 90, (90, 50)),
        ("dual", 1, 40, (50, 50)),
        ("dual", -1, 20, (50, 20)),
        ("dual", -1, 60, (50, 50)),
        ("dual", 0, 50, (50, 50)),
    ],
)
def test_dual_pricing_gives_the_reference_to_who_helped(
    mode: str, direction: int, price: int, pair: tuple[int, int]
) -> None:
    assert price_pair(mode, direction, price, 50) == pair


def test_ordered_energy_is_paid_at_once_and_sets_the_slot_s_price(network: Network) -> None:
    network.act(OPERATOR, "balancing", "set_rules", "dual", "highest", 1_000, 0, 0)
    network.act(OPERATOR, "balancing", "activate", DAVE, SLOT, 500, 300_000, "mFRR 7")
    network.act(OPERATOR, "balancing", "activate", ERIN, SLOT, -100, 40_000, "")
    assert network.balance(DAVE) == DEPOSIT_MICROS + 150_000
    assert network.balance(ERIN) == DEPOSIT_MICROS - 4_000
    network.meter((pv_of(DAVE), 0, 500), (load_of(ALICE), 200, 0), (pv_of(BOB), 0, 200), (load_of(ERIN), 100, 0))
    network.settle(100_000)
    assert tuple(network.see("imbalance", "terms", SLOT)) == ("dual", 301_000, 100_000, 0, 0)
    assert network.see("imbalance", "settlement", ALICE, SLOT).amount_micros == -60_200
    assert network.see("imbalance", "settlement", BOB, SLOT).amount_micros == 20_000
    assert network.see("imbalance", "settlement", DAVE, SLOT)[4:8] == (0, 301_000, 0, 500)
    assert network.money_residual() == 0
    assert len(network.see("balancing", "activations", SLOT)) == 2
    with refused("SLOT_SETTLED"):
        network.act(OPERATOR, "balancing", "activate", DAVE, SLOT, 1, 1, "")


@pytest.mark.parametrize(
    ("function", "args", "code"),
    [
        ("set_rules", ("triple", "highest", 0, 0, 0), "UNKNOWN_PRICING"),
        ("set_rules", ("dual", "lowest", 0, 0, 0), "UNKNOWN_RULE"),
        ("set_rules", ("dual", "highest", -1, 0, 0), "INCENTIVE_OUT_OF_RANGE"),
        ("set_rules", ("dual", "highest", 0, 1_000_001, 0), "DEAD_BAND_OUT_OF_RANGE"),
        ("set_rules", ("dual", "highest", 0, 0, -1), "PENALTY_OUT_OF_RANGE"),
        ("activate", (STRANGER, SLOT, 1, 1, ""), "NOT_A_PARTICIPANT"),
        ("activate", (ALICE, -1, 1, 1, ""), "SLOT_OUT_OF_RANGE"),
        ("activate", (ALICE, SLOT, 0, 1, ""), "ENERGY_OUT_OF_RANGE"),
        ("activate", (ALICE, SLOT, 1, 10**12, ""), "PRICE_OUT_OF_RANGE"),
        ("activate", (ALICE, SLOT, 1, 1, "r" * 129), "REFERENCE_TOO_LONG"),
    ],
)
def test_balancing_refuses(network: Network, function: str, args: tuple[object, ...], code: str) -> None:
    with refused(code):
        network.act(OPERATOR, "balancing", function, *args)


def test_a_slot_takes_a_thousand_activations(network: Network) -> None:
    key = next(key for key in [b"balancing/activation_counts/"])
    network.act(OPERATOR, "balancing", "activate", ALICE, SLOT, 1, 1, "")
    (counter,) = [one for one in network.world.state if one.startswith(key)]
    network.world.state[counter] = b"\xcd\x03\xe8"  # 1,000
    with refused("TOO_MANY_ACTIVATIONS"):
        network.act(OPERATOR, "balancing", "activate", ALICE, SLOT, 1, 1, "")


# --- Re-settlement -----------------------------------------------------------------------------------------------------


def test_a_correction_is_settled_by_its_difference_at_the_old_price(network: Network) -> None:
    network.meter((load_of(ALICE), 700, 0), (pv_of(BOB), 0, 450))
    network.settle(200_000)
    network.act(OPERATOR, "balancing", "set_rules", "dual", "highest", 99_000, 0, 0)
    network.meter((load_of(ALICE), 650, 0), quality="CORRECTED")
    assert network.act(OPERATOR, "imbalance", "settle", SLOT) is True
    assert network.balance(ALICE) == DEPOSIT_MICROS - 130_000
    assert network.events("Resettled") == [
        {
            "slot": SLOT,
            "run": 2,
            "account": ALICE,
            "import_wh": 650,
            "export_wh": 0,
            "imbalance_wh": -650,
            "price_micros_per_kwh": 200_000,
            "amount_micros": -130_000,
            "difference_micros": 10_000,
            "brp": ALICE,
        }
    ]
    assert network.see("imbalance", "slot_totals", SLOT)[-1] == 2
    assert network.see("imbalance", "settlement_of_run", ALICE, SLOT, 1).amount_micros == -140_000
    assert network.see("imbalance", "settlement_of_run", ALICE, SLOT, 3) is None
    assert network.money_residual() == 0
    with refused("SLOT_SETTLED"):
        network.act(OPERATOR, "imbalance", "settle", SLOT)


def test_a_participant_that_came_after_the_first_run_is_not_in_a_later_one(network: Network) -> None:
    network.meter((load_of(ALICE), 700, 0))
    network.settle(200_000)
    network.act(OPERATOR, "registry", "register_participant", STRANGER, "late", "")
    network.meter((load_of(ALICE), 650, 0), quality="CORRECTED")
    network.act(OPERATOR, "imbalance", "settle", SLOT)
    assert network.see("imbalance", "settlement", STRANGER, SLOT) is None


# --- Balance groups on the chain ---------------------------------------------------------------------------------------


def test_a_group_is_settled_as_one_and_shared_among_those_who_caused_it() -> None:
    network = Network(people=(ALICE,))
    network.act(OPERATOR, "registry", "grant", ALICE, "BRP")
    for account in (BOB, CAROL, DAVE):
        network.act(OPERATOR, "registry", "register_participant", account, "member", ALICE)
        network.act(OPERATOR, "registry", "register_meter", load_of(account), account, "household", "1", 9_000)
        network.act(OPERATOR, "payments", "mint", account, 1_000, "deposit")
    network.meter((load_of(BOB), 200, 0), (load_of(CAROL), 100, 0), (pv_of(ALICE), 0, 100))
    network.settle(1_000)
    amounts = [network.see("imbalance", "settlement", one, SLOT).amount_micros for one in (ALICE, BOB, CAROL, DAVE)]
    assert amounts == [0, -133, -67, 0]
    assert network.see("imbalance", "group_settlement", ALICE, SLOT) == (-200, -200)
    assert network.see("imbalance", "group_settlement", BOB, SLOT) is None
    assert network.see("imbalance", "slot_totals", SLOT).neutrality_micros == 200


def test_who_answers_for_itself_is_a_group_of_its_own(network: Network) -> None:
    assert network.see("imbalance", "group_settlement", ALICE, SLOT) is None
    network.meter((load_of(ALICE), 100, 0))
    network.settle(1_000)
    assert network.see("imbalance", "group_settlement", ALICE, SLOT) == (-100, -100)


# --- Runs of several steps ---------------------------------------------------------------------------------------------


def in_steps_of(monkeypatch: pytest.MonkeyPatch, network: Network, size: int) -> None:
    for deployed in (network.world.contracts["imbalance"],):
        monkeypatch.setitem(deployed.names, "STEP", size)


def busy_slot(network: Network) -> None:
    network.meter((load_of(ALICE), 700, 0), (pv_of(BOB), 0, 450), (load_of(ERIN), 31, 0), (pv_of(CAROL), 0, 77))
    network.act(OPERATOR, "imbalance", "post_price", SLOT, 123_457)


def settled_part(network: Network) -> dict[bytes, bytes]:
    return {key: raw for key, raw in network.world.state.items() if not key.startswith(b"metering/frozen")}


@pytest.mark.parametrize("size", [1, 2, 4, 5])
def test_a_run_of_several_steps_ends_where_a_run_at_once_does(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    at_once, in_steps = Network(), Network()
    for network in (at_once, in_steps):
        busy_slot(network)
    at_once.act(OPERATOR, "imbalance", "settle", SLOT)
    at_once.meter((load_of(ALICE), 650, 0), quality="CORRECTED")
    at_once.act(OPERATOR, "imbalance", "settle", SLOT)
    in_steps_of(monkeypatch, in_steps, size)
    while not in_steps.act(OPERATOR, "imbalance", "settle", SLOT):
        assert in_steps.see("imbalance", "settlement", ALICE, SLOT) is None
        assert in_steps.see("imbalance", "slot_totals", SLOT) is None
        assert in_steps.see("imbalance", "group_settlement", ALICE, SLOT) is None
    in_steps.meter((load_of(ALICE), 650, 0), quality="CORRECTED")
    while not in_steps.act(OPERATOR, "imbalance", "settle", SLOT):
        assert in_steps.see("imbalance", "settlement", ALICE, SLOT).import_wh == 700
        with refused("SETTLEMENT_RUNS"):
            in_steps.meter((load_of(ALICE), 600, 0), quality="CORRECTED")
    assert in_steps.world.state == at_once.world.state
    assert in_steps.money_residual() == 0


def money_and_results(network: Network) -> list[object]:
    """All that a reader can ask about money and about the slot's settlement."""
    accounts = [*PEOPLE, "neutrality", "grid"]
    return [
        network.see("payments", "balances", accounts),
        network.see("payments", "helds", accounts),
        network.see("imbalance", "slot_totals", SLOT),
        [network.see("imbalance", "arrears", one) for one in PEOPLE],
        [network.see("imbalance", "settlement", one, SLOT) for one in PEOPLE],
        [network.see("imbalance", "group_settlement", one, SLOT) for one in PEOPLE],
    ]


READINGS = st.lists(st.integers(0, 2_500), min_size=6, max_size=6)


@given(
    size=st.integers(1, 5),
    deposit_micros=st.sampled_from([0, 300, DEPOSIT_MICROS]),
    price=st.integers(-400_000, 400_000),
    metered=READINGS,
    corrected=READINGS,
)
@settings(max_examples=40, deadline=None)
def test_between_the_calls_of_a_run_readers_see_what_was_before_it(
    size: int, deposit_micros: int, price: int, metered: list[int], corrected: list[int]
) -> None:
    network = Network(deposit_micros=deposit_micros)
    meters = [load_of(one) if place % 2 else pv_of(one) for place, one in enumerate(PEOPLE)]
    network.act(OPERATOR, "imbalance", "post_price", SLOT, price)
    with pytest.MonkeyPatch.context() as patch:
        in_steps_of(patch, network, size)
        for readings, quality in ((metered, "DIRECT"), (corrected, "CORRECTED")):
            rows = zip(meters, readings, strict=True)
            network.meter(*[(m, wh, 0) if m[0] == "L" else (m, 0, wh) for m, wh in rows], quality=quality)
            before = money_and_results(network)
            while True:
                emitted = len(network.world.events)
                done = network.act(OPERATOR, "imbalance", "settle", SLOT)
                names = {event.name for event in network.world.events[emitted:]}
                assert done == ("SlotSettled" in names)
                if done:
                    break
                assert "ArrearsChanged" not in names
                assert money_and_results(network) == before
            assert money_and_results(network) != before
    assert network.money_residual() == 0
