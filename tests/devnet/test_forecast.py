"""Forecasts and orders: what they may know, and what they offer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from devnet.forecast import (
    FEED_IN_MICROS_PER_KWH,
    RETAIL_MICROS_PER_KWH,
    forecast_wh,
    imbalance_price,
    order_for,
)

HISTORIES = st.dictionaries(st.integers(0, 60), st.integers(-50_000, 50_000), max_size=30)


@given(HISTORIES, st.integers(0, 60), HISTORIES)
def test_a_forecast_knows_neither_its_own_slot_nor_later_ones(
    history: dict[int, int], slot: int, other: dict[int, int]
) -> None:
    past = {known: net_wh for known, net_wh in history.items() if known < slot}
    future = {known: net_wh for known, net_wh in other.items() if known >= slot}
    assert forecast_wh(past | future, slot) == forecast_wh(past, slot)


def test_a_forecast_is_the_mean_of_the_last_four_known_slots() -> None:
    assert forecast_wh({1: 1_000_000, 2: 10, 3: 20, 5: 30, 6: 40}, 9) == 25
    assert forecast_wh({7: -5}, 9) == -5
    assert forecast_wh({}, 9) == 0


@given(st.text(max_size=8), st.integers(0, 10**7), st.integers(-(10**6), 10**6))
def test_an_order_offers_the_forecast_between_the_two_tariffs(name: str, slot: int, net_wh: int) -> None:
    order = order_for(name, slot, net_wh)
    if net_wh == 0:
        assert order is None
        return
    assert order is not None
    assert (order.side, order.quantity_wh) == (("sell" if net_wh > 0 else "buy"), abs(net_wh))
    assert FEED_IN_MICROS_PER_KWH <= order.limit_micros_per_kwh <= RETAIL_MICROS_PER_KWH
    assert order == order_for(name, slot, net_wh)


def test_limits_are_spread() -> None:
    limits = {o.limit_micros_per_kwh for n in range(90) if (o := order_for(f"bus-{n}", 7, 100)) is not None}
    assert len(limits) == 90
    assert max(limits) - min(limits) > 100_000


def test_the_imbalance_price_leans_against_the_feeders_direction() -> None:
    assert imbalance_price(200_000, import_wh=10, export_wh=5) == 250_000
    assert imbalance_price(200_000, import_wh=5, export_wh=10) == 150_000
    assert imbalance_price(200_000, import_wh=5, export_wh=5) == 200_000
    assert imbalance_price(None, import_wh=5, export_wh=5) == 190_000
