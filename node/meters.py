"""What a node counts about its blocks as they are applied: a few additions for each block, none for a transaction."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

FINALITY_BUCKETS_S = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
APPLY_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0)


@dataclass(slots=True)
class Histogram:
    """Counts by upper bound (seconds, ascending); what is beyond the last bound counts too."""

    bounds: tuple[float, ...]
    counts: list[int] = field(init=False)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds

    def cumulative(self) -> list[tuple[str, float]]:
        """(upper bound, values up to it), as Prometheus has it; the last bound is "+Inf"."""
        running = 0
        pairs: list[tuple[str, float]] = []
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            running += count
            pairs.append((bound, float(running)))
        return pairs


@dataclass(slots=True)
class BlockMeter:
    """Since the process began. `late_rounds` counts rounds beyond the first that heights needed."""

    blocks: int = 0
    transactions: int = 0
    bytes: int = 0
    late_rounds: int = 0
    finality_ms: int = 0  # of the last fresh block
    finality: Histogram = field(default_factory=lambda: Histogram(FINALITY_BUCKETS_S))
    apply: Histogram = field(default_factory=lambda: Histogram(APPLY_BUCKETS_S))

    def applied(
        self, transactions: int, size_bytes: int, round_: int, took_s: float, age_s: float, fresh: bool
    ) -> None:
        """`age_s` is the time from the block's own to its durable end by this node's clock; it says something of finality
        only where the block was decided just now (`fresh`) and not fetched later."""
        self.blocks += 1
        self.transactions += transactions
        self.bytes += size_bytes
        self.late_rounds += round_
        self.apply.observe(took_s)
        if fresh:
            self.finality.observe(max(age_s, 0.0))
            self.finality_ms = max(1, round(age_s * 1_000))
