"""Bills over random walks through all contracts: for every account the leaves are the change of its balance."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.energy import MONEY_MOVERS
from gridbft.explain import explain_bill, explain_other_money
from gridbft.ground import ExplainError, Ground
from gridbft.money import GRID, NEUTRALITY, money_moved
from tests.contracts.energy.network import STRANGER
from tests.contracts.energy.walk import TRADERS
from tests.gridbft.walked import known_walk, walked

ACCOUNTS = (*TRADERS, STRANGER, NEUTRALITY, GRID, *MONEY_MOVERS)


def change_told(ground: Ground) -> int:
    leaves = [*explain_bill(ground, None).leaves(), *explain_other_money(ground).leaves()]
    return sum(leaf.amount_micros or 0 for leaf in leaves)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=8, deadline=None)
def test_for_every_account_the_leaves_are_the_change_of_its_balance_to_the_last_micro(seed: int) -> None:
    network = walked(seed, calls=400)
    for account in ACCOUNTS:
        ground = network.ground(account)
        assert change_told(ground) == money_moved(ground, 0) == network.money(account), account


def test_the_walks_have_bills_with_every_kind_of_line() -> None:
    reached: Counter[str] = Counter()
    for seed in range(16):
        network = known_walk(seed)
        for account in ACCOUNTS:
            ground = network.ground(account)
            leaves = [*explain_bill(ground, None).leaves(), *explain_other_money(ground).leaves()]
            reached.update(f"{leaf.label} {leaf.facts.get('market', '')}".strip() for leaf in leaves)
    wanted = {"bought", "bought continuous", "bought bilateral", "bought resort", "sold resort", "grid fee", "losses"}
    wanted |= {"certificate bought", "certificate sold", "activated", "imbalance", "re-settlement 1", "settlement"}
    wanted |= {"left unpaid", "paid of arrears", "arrears", "deposit", "withdrawal", "transfer"}
    assert wanted <= set(reached)


@given(st.integers(0, 2**32 - 1), st.integers(2, 300))
@settings(max_examples=8, deadline=None)
def test_what_is_left_after_pruning_is_explained_and_says_from_where(seed: int, first_height: int) -> None:
    network = walked(seed, calls=300)
    for account in (*TRADERS, NEUTRALITY, GRID):
        whole, left = network.ground(account), network.ground(account, first_height)
        found = explain_bill(left, None)
        assert found.because[0].facts["before_height"] == first_height
        kept = [
            leaf.amount_micros
            for leaf in explain_bill(whole, None).leaves()
            if leaf.facts.get("height", 0) >= first_height
        ]
        assert sum(micros or 0 for micros in kept) == found.amount_micros


def test_a_fee_that_is_not_by_the_grid_s_rates_is_seen() -> None:
    for seed in range(16):
        network = known_walk(seed)
        for place, event in enumerate(network.told):
            if event.name == "Traded" and event.fields["fee_micros"] > 0:
                ground = network.ground(event.fields["buyer"])
                ground.events[place] = replace(
                    event, fields={**event.fields, "fee_micros": event.fields["fee_micros"] + 1}
                )
                with pytest.raises(ExplainError, match="not by the grid's rates"):
                    explain_bill(ground, None)
                return
    pytest.fail("no walk had a grid fee")
