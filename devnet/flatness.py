"""Whether a series of measurements stays where it is: least squares over its later part, pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

WARM_UP_SHARE = 1 / 3
"""Caches, the allocator and LevelDB's buffers fill at first; what counts is what comes after."""


@dataclass(frozen=True, slots=True)
class Trend:
    """`growth` is what the fitted line gains from the first to the last measurement that counts."""

    first: float
    last: float
    most: float
    growth: float
    per_hour: float


def trend(times_s: Sequence[float], values: Sequence[float]) -> Trend:
    """Of at least three measurements."""
    begin = int(len(values) * WARM_UP_SHARE)
    times, kept = times_s[begin:], values[begin:]
    middle_t, middle_v = fmean(times), fmean(kept)
    spread = sum((t - middle_t) ** 2 for t in times)
    slope = sum((t - middle_t) * (v - middle_v) for t, v in zip(times, kept, strict=True)) / spread if spread else 0.0
    return Trend(values[0], values[-1], max(values), slope * (times[-1] - times[0]), slope * 3_600)


def is_flat(found: Trend, share: float, room: float) -> bool:
    """Whether it gained less than `share` of its greatest value, or than `room`."""
    return found.growth <= max(found.most * share, room)
