"""Two machines with one key: no partition and no order of leaders lets them fork the chain."""

from __future__ import annotations

from consensus import proposer
from consensus.types import Height, Round
from devnet.simnet.town import town_of
from devnet.simnet.twins import ROUNDS, dividing, led_by, partitions, run_twins, scenario
from devnet.simnet.world import Options

FOUR, SEVEN = Options(validators=4, transactions=4), Options(validators=7, transactions=4)


def test_no_uniform_scenario_of_four_with_one_twin_forks() -> None:
    for number in range(0, 4 * len(dividing(5, 4)), 3):
        outcome = run_twins(number, FOUR)
        assert not outcome.violations, (number, outcome.violations)


def test_no_sampled_scenario_of_four_with_one_twin_forks() -> None:
    for number in range(1_000, 1_040):
        outcome = run_twins(number, FOUR)
        assert not outcome.violations, (number, outcome.violations)


def test_no_sampled_scenario_of_seven_with_two_twins_forks() -> None:
    for number in range(5_000, 5_012):
        outcome = run_twins(number, SEVEN)
        assert not outcome.violations, (number, outcome.violations)


def test_a_scenario_has_at_least_seven_rounds_and_comes_again() -> None:
    for number in (0, 17, 12_345):
        found = scenario(number, 4, 1)
        assert len(found.parts) == len(found.leaders) == ROUNDS >= 7
        assert found == scenario(number, 4, 1)


def test_partitions_come_once_each() -> None:
    assert len(partitions(3)) == 5  # Bell's number
    assert len(partitions(4)) == 14  # Bell's 15 without the one of four parts
    assert all(partition[0] == 0 for partition in partitions(5))


def test_uniform_scenarios_let_everybody_lead_in_every_partition() -> None:
    ways = dividing(5, 4)
    first = [scenario(n, 4, 1) for n in range(4 * len(ways))]
    assert len(set(first)) == 4 * len(ways)
    assert {s.leaders[0] for s in first} == {0, 1, 2, 3}


def test_chosen_leaders_lead_and_the_honest_order_comes_back() -> None:
    ids, validators = town_of(4).ids, town_of(4).genesis.validators
    honest = proposer.order(validators, Height(5))
    with led_by(ids, (2, 2, 0)):
        order = proposer.order(validators, Height(5))
        assert [order.proposer(Round(r)) for r in range(3)] == [ids[2], ids[2], ids[0]]
    assert proposer.order(validators, Height(5)) == honest
