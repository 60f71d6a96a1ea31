"""Examples from public market rules, each with its source.

Figures are the source's unless a line says "own figures": then the source states the rule and the numbers are ours.
Units: MWh are a million Wh; a price of 1 per MWh is 1,000 micros per kWh.
"""

from __future__ import annotations

import pytest

from contracts.energy.balancing import balancing_price, price_pair
from contracts.energy.certificates import SLOT_SECONDS, split_range
from contracts.energy.imbalance import Terms, imbalance_of, settle_rows, settle_terms, share
from contracts.energy.market import clear_auction, fees_of, within_capacity
from contracts.energy.metering import export_limit_wh
from contracts.energy.registry import eic_check_character
from tests.contracts.energy.network import (
    ALICE,
    BOB,
    CAROL,
    DEPOSIT_MICROS,
    ISSUER,
    SLOT,
    ZONE,
    Network,
    load_of,
    pv_of,
    refused,
)

MWH = 1_000_000
PER_MWH = 1_000
UNIT = 1_000_000  # micros of one unit of the currency

# --- What an imbalance is ----------------------------------------------------------------------------------------------

IMBALANCES = {
    "Potomac Economics, What is a multi-settlement market: 500 MW bought day-ahead, 480 used, paid for 20": (
        (0, 500, 480, 0),
        20,
    ),
    "HROTE, First (monthly) imbalance settlement: realization (intake less offtake) less market position; own figures": (
        (70, 20, 30, 85),
        5,
    ),
    "Elia, Prices for imbalance 2004: offtake beyond injection and purchases is a negative imbalance; own figures": (
        (0, 100, 110, 0),
        -10,
    ),
    "Elexon, Imbalance charging: bought less than used is a deficit; own figures": ((0, 40, 55, 0), -15),
    "Elexon, Imbalance charging: sold less than generated is a surplus; own figures": ((90, 0, 0, 100), 10),
    "Borzen, Imbalance settlement: who only trades on has a plan and a realisation of 0; own figures": (
        (25, 25, 0, 0),
        0,
    ),
}


@pytest.mark.parametrize("source", IMBALANCES)
def test_imbalance(source: str) -> None:
    (sold, bought, imported, exported), expected = IMBALANCES[source]
    assert imbalance_of(sold * MWH, bought * MWH, imported * MWH, exported * MWH) == expected * MWH


# --- What it costs -----------------------------------------------------------------------------------------------------


def test_rebap_month_of_the_engrate_documentation() -> None:
    """docs.engrate.io, Imbalance: scheduled 3,720 MWh, actual 3,732.5, imbalance 12.5, cost EUR 1,875 (so 150 per MWh)."""
    row = ("supplier", "", 0, 3_720 * MWH, 3_732_500_000, 0, 0)
    price = 150 * PER_MWH
    assert settle_rows("single", price, price, [row])[0] == [("supplier", -12_500_000, -1_875 * UNIT)]


def test_balancing_settlement_of_pjm_prices_deviations_at_real_time() -> None:
    """PJM, Two Settlement (2009): the balancing market prices deviations from the day-ahead schedule at real-time LMP.

    Own figures: 100 MWh sold, 90 produced, LMP 40: the seller buys 10 MWh back for 400.
    """
    row = ("generator", "", 100 * MWH, 0, 0, 90 * MWH, 0)
    assert settle_rows("single", 40 * PER_MWH, 40 * PER_MWH, [row])[0][0][2] == -400 * UNIT


def test_a_textbook_utility_buys_what_it_lacks_at_the_dual_price() -> None:
    """letssolveques.com, day-ahead market for May 4th: 30,000 MW bought, 90 % of a demand of 34,900 MW served; real time
    clears at 34.28 per MWh, who buys there pays 1.1 times and who sells receives 0.9 times it. The result is our arithmetic.
    """
    buy, sell = 34_280 * 11 // 10, 34_280 * 9 // 10
    assert (buy, sell) == (37_708, 30_852)
    utility = ("utility", "", 0, 30_000 * MWH, 31_410 * MWH, 0, 0)
    wind = ("wind", "", 7_000 * MWH, 0, 0, 7_100 * MWH, 0)
    accounts, _, neutrality = settle_rows("dual", buy, sell, [utility, wind])
    assert accounts == [("utility", -1_410 * MWH, -53_168_280_000), ("wind", 100 * MWH, 3_085_200_000)]
    assert neutrality == 53_168_280_000 - 3_085_200_000


@pytest.mark.parametrize(
    ("orders", "state", "price"),
    [
        pytest.param([(10, 90), (5, 140)], 1, 140, id="regulation state +1: the highest activated upward price"),
        pytest.param([(-10, 30), (-5, -20)], -1, -20, id="regulation state -1: the lowest activated downward price"),
        pytest.param([], 0, 60, id="regulation state 0: nothing activated, the reference"),
    ],
)
def test_tennet_takes_the_extreme_activated_price(orders: list[tuple[int, int]], state: int, price: int) -> None:
    """TenneT, Balance delta plus prices: highest price up, lowest price down of the activated bids. Own figures."""
    assert balancing_price("highest", 0, 60, orders) == (state, price)


def test_tennet_incentive_component_raises_what_a_shortage_pays() -> None:
    """TenneT, Incentive component 2015: a part of the imbalance price that is to make parties keep their balance.

    Own figures: 90 up and an incentive of 2 give 92.
    """
    assert balancing_price("highest", 2, 60, [(10, 90)]) == (1, 92)


def test_greek_average_price_is_weighted_by_absolute_energy() -> None:
    """ADMIE, Balancing Market Rulebook, Article 19.6(2): sum of |energy| x price over the sum of |energy|. Own figures."""
    assert balancing_price("average", 0, 0, [(30, 100), (10, 140)]) == (1, 110)
    assert balancing_price("average", 0, 0, [(-30, 40), (-10, 20)]) == (-1, 35)


def test_a_shortage_never_pays_less_than_the_average_of_upward_energy() -> None:
    """Regulation (EU) 2017/2195, Article 55(4): not less than the weighted average price of positive activated energy."""
    orders = [(30, 100), (10, 140), (-5, 20)]
    average = balancing_price("average", 0, 0, orders)[1]
    for rule in ("highest", "average"):
        for incentive in (0, 7):
            assert balancing_price(rule, incentive, 0, orders)[1] >= average


def test_one_price_for_both_directions_is_the_european_main_rule() -> None:
    """ACER Decision 18/2020, Annex I, Article 7: single imbalance pricing. Own figures; the two cancel to the micro."""
    rows = [("long", "", 0, 0, 0, 10 * MWH, 0), ("short", "", 0, 0, 10 * MWH, 0, 0)]
    accounts, _, neutrality = settle_rows("single", 70 * PER_MWH, 70 * PER_MWH, rows)
    assert [row[2] for row in accounts] == [700 * UNIT, -700 * UNIT]
    assert neutrality == 0


def test_dual_pricing_sells_deficits_no_cheaper_than_it_buys_surpluses() -> None:
    """eSett on the two-price model of production imbalance: deficits are sold at or above what surpluses are bought at."""
    for direction, price in ((1, 90), (1, 40), (-1, 20), (-1, 80), (0, 60)):
        buy, sell = price_pair("dual", direction, price, 60)
        assert buy >= sell


def test_fingrid_deficit_is_charged_with_its_price() -> None:
    """Fingrid, Example of balance calculation: -10 MWh is covered by balance energy sold to the BRP. Own price of 50."""
    row = ("brp", "", 30 * MWH, 0, 40 * MWH, 60 * MWH, 0)
    assert settle_rows("single", 50 * PER_MWH, 50 * PER_MWH, [row])[0] == [("brp", -10 * MWH, -500 * UNIT)]


def test_what_settlement_leaves_over_goes_to_one_pot() -> None:
    """Elexon, Imbalance charging, where does the money go: what is paid in and out differs; the rest is redistributed and
    the settlement body keeps nothing. Own figures.
    """
    rows = [("a", "", 0, 0, 30 * MWH, 0, 0), ("b", "", 0, 0, 0, 20 * MWH, 0)]
    accounts, _, residual = settle_rows("single", 80 * PER_MWH, 80 * PER_MWH, rows)
    assert (sum(row[2] for row in accounts), residual) == (-800 * UNIT, 800 * UNIT)


def test_members_of_a_balancing_group_net_before_anybody_pays() -> None:
    """Green World Group, Balancing groups: quantities are netted among the members. Own figures: 10 short, 8 long."""
    rows = [("a", "group", 0, 0, 10 * MWH, 0, 0), ("b", "group", 0, 0, 0, 8 * MWH, 0)]
    accounts, groups, _ = settle_rows("single", 50 * PER_MWH, 50 * PER_MWH, rows)
    assert groups == [("group", -2 * MWH, -100 * UNIT)]
    assert [row[2] for row in accounts] == [-100 * UNIT, 0]


def test_largest_remainder_of_seven_seats() -> None:
    """infinitelexicon.com, Largest remainder: groups of 50, 30, 20 and 7 seats have quotas 3.5, 2.1, 1.4: 4, 2 and 1."""
    assert share(7, [("a", 50), ("b", 30), ("c", 20)]) == [4, 2, 1]


# --- Deviation assessment with a dead band ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("band_ppm", "penalty_ppm", "contract", "used", "charged"),
    [
        pytest.param(30_000, 50_000, 1_000, 1_050, 400, id="Fujian 2021 (draft): beyond 3 % at 5 % of the price"),
        pytest.param(50_000, 100_000, 1_000, 900, 2_000, id="Ningxia 2018, users: beyond 5 % at 10 % of the price"),
        pytest.param(200_000, 100_000, 1_000, 700, 4_000, id="Ningxia 2018, new energy: beyond 20 % at 10 %"),
        pytest.param(20_000, 50_000, 1_000, 980, 0, id="Guangdong 2017: 2 % are free"),
    ],
)
def test_chinese_deviation_assessment(band_ppm: int, penalty_ppm: int, contract: int, used: int, charged: int) -> None:
    """Provincial medium- and long-term trading rules as reported; bands and rates are theirs, own quantities, price 400."""
    terms = Terms("none", 400 * PER_MWH, 400 * PER_MWH, band_ppm, penalty_ppm)
    accounts, _, _ = settle_terms(terms, [("user", "", 0, contract * MWH, used * MWH, 0, 0)])
    assert accounts[0][2] == -charged * UNIT


# --- Auctions ----------------------------------------------------------------------------------------------------------

Book = list[tuple[int, str, int, int]]


def test_merit_order_of_four_generators_is_marginal_at_the_fourth() -> None:
    """questionai.ph, Understanding market clearing price: demand 525 MW; 150 at 5.00, 50 at 3.50, 200 at 2.75, 220 at
    2.25. The page stops at 470 MW and says 3.50; 525 MW need 55 MW of the dearest, so the price that clears is 5.00.
    """
    bids: Book = [(1, "demand", 525, 99_00)]
    asks: Book = [(2, "g1", 150, 5_00), (3, "g2", 50, 3_50), (4, "g3", 200, 2_75), (5, "g4", 220, 2_25)]
    price, quantity, fills = clear_auction(bids, asks)
    assert (price, quantity) == (5_00, 525)
    assert dict(fills) == {1: 525, 2: 55, 3: 50, 4: 200, 5: 220}


def test_flexibility_stack_of_electron_is_taken_as_a_whole() -> None:
    """help.electron.net, Merit order stack: totals 27.00, 31.67, 37.01 for 0.525, 0.050, 0.094 MW against a wanted 1 MW
    with ceilings of 25 and 25: all three are awarded, 0.669 MW together.
    """
    asks: Book = [(1, "123", 525, 27_00), (2, "234", 50, 31_67), (3, "345", 94, 37_01)]
    _, quantity, fills = clear_auction([(9, "operator", 1_000, 50_00)], asks)
    assert quantity == 669
    assert dict(fills) == {9: 669, 1: 525, 2: 50, 3: 94}


def test_every_dispatched_unit_receives_one_price_set_at_the_margin() -> None:
    """supagrid.com.au, Dispatch and pricing (NEM): the marginal generator sets the price that all receive. Own figures.

    The last unit is dispatched in part, so its rest is the best rejected ask and pins the price.
    """
    price, quantity, _ = clear_auction([(1, "d", 120, 300)], [(2, "a", 100, 20), (3, "b", 100, 70)])
    assert (price, quantity) == (70, 120)


def test_overdemand_goes_to_the_highest_bids_first() -> None:
    """PRISMA, Uniform price algorithm: when more is wanted than offered, the highest surcharges are served first. Own figures."""
    bids: Book = [(1, "a", 50, 5), (2, "b", 40, 9), (3, "c", 30, 7)]
    _, quantity, fills = clear_auction(bids, [(4, "tso", 80, 0)])
    assert quantity == 80
    assert dict(fills) == {1: 10, 2: 40, 3: 30, 4: 80}


def test_flow_between_zones_stops_at_the_capacity() -> None:
    """RAP, European electricity target model: the lowest-priced bids are accepted up to the point where congestion
    prohibits further trade. Own figures: of 80 cheap units in the south, 30 get through.
    """
    asks: Book = [(1, "south", 80, 10), (2, "north", 100, 50)]
    cut = within_capacity(asks, ["south", ""], 1, {"south": 30})
    price, quantity, fills = clear_auction([(3, "d", 100, 90)], cut)
    assert (price, quantity) == (50, 100)
    assert dict(fills) == {1: 30, 2: 70, 3: 100}


# --- Continuous matching of EPIAS, Intra-day market, Matching: the price is the waiting order's (own figures) ---------


@pytest.mark.parametrize(
    ("wanted", "left_of_sell", "left_of_buy"),
    [
        pytest.param(100, 0, 0, id="equal quantities: both fully matched"),
        pytest.param(150, 0, 50, id="the purchase is larger: its rest is written to the book"),
        pytest.param(60, 40, 0, id="the purchase is smaller: the sale stays with the rest"),
    ],
)
def test_epias_matching(network: Network, wanted: int, left_of_sell: int, left_of_buy: int) -> None:
    network.act(BOB, "continuous", "place", ZONE, SLOT, "sell", 100, 30_000, "")
    network.act(ALICE, "continuous", "place", ZONE, SLOT, "buy", wanted, 50_000, "")
    (trade,) = network.events("Traded")
    assert (trade["price_micros_per_kwh"], trade["quantity_wh"]) == (30_000, min(100, wanted))
    bids, asks = network.see("continuous", "book", ZONE, SLOT)
    assert [sum(row[2] for row in side) for side in (bids, asks)] == [left_of_buy, left_of_sell]


def test_two_trades_of_one_period_have_prices_of_their_own(network: Network) -> None:
    """Modo Energy, EPEX intraday continuous: each trade executes at the price of that specific order, pay as bid."""
    network.act(BOB, "continuous", "place", ZONE, SLOT, "sell", 100, 30_000, "")
    network.act(CAROL, "continuous", "place", ZONE, SLOT, "sell", 100, 45_000, "")
    network.act(ALICE, "continuous", "place", ZONE, SLOT, "buy", 200, 50_000, "")
    assert [event["price_micros_per_kwh"] for event in network.events("Traded")] == [30_000, 45_000]


# --- Losses, periods, identification -----------------------------------------------------------------------------------


def test_a_loss_factor_of_096_loses_4_of_100() -> None:
    """NEM-Review, Generator output at the RRN: sent out x marginal loss factor. calculator.city: 100 MWh at the terminals,
    96 at the reference node.
    """
    tariff = [0, 0, 0, 40_000, 0, 0]
    assert fees_of(tariff, 1, 100 * MWH, 50 * PER_MWH) == (0, 4 * MWH, 200 * UNIT)


@pytest.mark.parametrize(("hours", "slots"), [(23, 92), (24, 96), (25, 100)])
def test_an_imbalance_settlement_period_is_fifteen_minutes(hours: int, slots: int) -> None:
    """Regulation (EU) 2017/2195, Article 53(1): 15 minutes; so days of 23, 24 and 25 hours have 92, 96 and 100."""
    assert hours * 3_600 // SLOT_SECONDS == slots


@pytest.mark.parametrize("code", ["10YDE-VE-------2", "10YFI-1--------U", "10YPL-AREA-----S", "10YCZ-CEPS-----N"])
def test_eic_of_an_area(code: str) -> None:
    """ENTSO-E, EIC area codes."""
    assert eic_check_character(code) == code[15]


def test_an_eic_with_a_wrong_check_character_names_the_right_one() -> None:
    """entsoeapi, Working with EIC codes: for ABCDEF1234567890 the expected check character is G, not 0."""
    assert eic_check_character("ABCDEF123456789") == "G"


# --- Certificates ------------------------------------------------------------------------------------------------------


def test_a_guarantee_of_origin_of_one_mwh_is_a_million_units() -> None:
    """Directive 2012/27/EU, Annex X: the standard size is 1 MWh. EnergyTag: the base unit is Wh, not kWh or MWh."""
    first, rest = split_range(0, 1_000 * 1_000, 250 * 1_000)
    assert (first[1] - first[0], rest[1] - rest[0]) == (250_000, 750_000)


def test_an_interval_of_production_is_at_most_an_hour(network: Network) -> None:
    """EnergyTag, crucial attributes: the production interval is at most one hour; ours is a quarter of one."""
    network.meter((pv_of(ALICE), 0, 100))
    network.settle(0)
    network.act(ISSUER, "certificates", "issue", pv_of(ALICE), SLOT, 100)
    (event,) = network.events("Issued")
    assert 0 < event["interval_end_s"] - event["interval_start_s"] <= 3_600


def test_the_same_unit_of_energy_is_taken_into_account_only_once(network: Network) -> None:
    """Directive 2012/27/EU, Annex X(a): the same unit of energy is taken into account only once."""
    network.meter((pv_of(ALICE), 0, 100), (load_of(ALICE), 100, 0))
    network.settle(0)
    certificate = network.act(ISSUER, "certificates", "issue", pv_of(ALICE), SLOT, 100)
    with refused("MORE_THAN_METERED"):
        network.act(ISSUER, "certificates", "issue", pv_of(ALICE), SLOT, 1)
    network.act(ALICE, "certificates", "retire", certificate, 100, ALICE, "own use", SLOT)
    with refused("MORE_THAN_CERTIFICATE"):
        network.act(ALICE, "certificates", "retire", certificate, 1, ALICE, "again", SLOT)


def test_a_guarantee_expires_eighteen_months_after_production(network: Network) -> None:
    """Directive (EU) 2018/2001, Article 19(3): guarantees that were not cancelled expire at the latest after 18 months."""
    network.meter((pv_of(ALICE), 0, 100))
    network.settle(0)
    network.act(ISSUER, "certificates", "issue", pv_of(ALICE), SLOT, 100)
    network.world.time_ms = (SLOT + 1) * 900_000 + 549 * 86_400_000
    with refused("CERTIFICATE_EXPIRED"):
        network.act(ALICE, "certificates", "transfer", 1, 100, BOB)


def test_a_rating_bounds_what_a_quarter_of_an_hour_can_yield() -> None:
    """Rating x hours x 1.1 (the bound in domain terms of granular certificates). Own figures: 10 kW in a quarter."""
    assert export_limit_wh(10_000) == 2_750


def test_the_example_of_demand_met_by_the_sum_of_the_book_conserves_money(network: Network) -> None:
    """Cramton and Stoft, Why we need to stick with uniform-price auctions: buyers above the clearing price pay it, sellers
    below it receive the same. Own figures.
    """
    network.order(ALICE, "buy", 1_000, 90_000)
    network.order(BOB, "sell", 600, 20_000)
    network.order(CAROL, "sell", 600, 50_000)
    network.clear()
    assert {event["price_micros_per_kwh"] for event in network.events("Traded")} == {50_000}
    assert network.see("payments", "balances", [ALICE, BOB, CAROL]) == [
        DEPOSIT_MICROS - 50_000,
        DEPOSIT_MICROS + 30_000,
        DEPOSIT_MICROS + 20_000,
    ]
