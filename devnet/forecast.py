"""What a participant expects of a slot that is still to come, and the order that it places on it.

The history holds settled slots only, so a forecast cannot know its own slot's reading.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

FORECAST_SLOTS = 4
FEED_IN_MICROS_PER_KWH = 80_000
RETAIL_MICROS_PER_KWH = 300_000
# Sellers ask in the lower two thirds of the tariffs' range, buyers bid in the upper two: most of them can agree.
SPREAD_MICROS_PER_KWH = (RETAIL_MICROS_PER_KWH - FEED_IN_MICROS_PER_KWH) * 2 // 3


@dataclass(frozen=True, slots=True)
class Order:
    side: Literal["buy", "sell"]
    quantity_wh: int
    limit_micros_per_kwh: int


def forecast_wh(history: Mapping[int, int], slot: int) -> int:
    """Expected export less import (Wh) in `slot`: the mean of the last four known slots before it, rounded down.

    `history` maps slots to metered net energy; slots from `slot` on are not looked at. 0 without any history.
    """
    known = sorted(past for past in history if past < slot)[-FORECAST_SLOTS:]
    return sum(history[past] for past in known) // len(known) if known else 0


def order_for(name: str, slot: int, net_wh: int) -> Order | None:
    """Sells an expected surplus, buys an expected deficit; None where neither is expected.

    The limit is spread over the range by a digest of the name and the slot: the same in every run, different for each.
    """
    if net_wh == 0:
        return None
    share = int.from_bytes(sha256(f"{name}/{slot}".encode()).digest()[:8], "big")
    step = SPREAD_MICROS_PER_KWH * share >> 64
    if net_wh > 0:
        return Order("sell", net_wh, FEED_IN_MICROS_PER_KWH + step)
    return Order("buy", -net_wh, RETAIL_MICROS_PER_KWH - step)


def imbalance_price(clearing_micros_per_kwh: int | None, import_wh: int, export_wh: int) -> int:
    """The operator's reference price: the clearing price, a quarter dearer when the feeder was short, cheaper when long.

    Where nothing traded, the middle of the two tariffs stands in for the clearing price.
    """
    base = clearing_micros_per_kwh
    if base is None:
        base = (FEED_IN_MICROS_PER_KWH + RETAIL_MICROS_PER_KWH) // 2
    if export_wh == import_wh:
        return base
    return base * 5 // 4 if export_wh < import_wh else base * 3 // 4
