"""What must hold at every height, for every sequence of transactions."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contracts.energy.walk import walk


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=12, deadline=None)
def test_every_line_of_what_must_hold_holds_after_every_random_call(seed: int) -> None:
    walk(seed, calls=400)


def test_the_walks_reach_what_they_are_meant_to_check() -> None:
    reached: Counter[str] = Counter()
    for seed in range(12):
        reached += walk(seed, calls=400)
    for event in (
        "market.Traded",
        "market.OrderCancelled",
        "metering.Corrected",
        "metering.Packed",
        "rosters.Struck",
        "submit_packed refused: READING_STANDS",
        "submit_packed refused: METER_STRUCK",
        "imbalance.Settled",
        "imbalance.ArrearsChanged",
        "payments.Burned",
        "certificates.Issued",
        "certificates.Transferred",
        "certificates.Retired",
        "certificates.Sold",
        "certificates.Ended",
        "certificates.CarbonIssued",
        "continuous.Traded",
        "continuous.OrderEnded",
        "bilateral.Traded",
        "bilateral.OfferWithdrawn",
        "resort.Served",
        "balancing.Activated",
        "imbalance.Resettled",
        "registry.BrpSwitched",
        "place_order refused: SELF_TRADE",
        "place_order refused: INSUFFICIENT_BALANCE",
        "retire refused: MORE_THAN_CONSUMED",
        "issue refused: MORE_THAN_METERED",
    ):
        assert reached[event] > 0, f"no walk reached {event}"
