"""Whether this node's clock is right: the times in other proposers' blocks say so, and its own steady clock.

A proposal's time is its proposer's clock when it was built, so it arrives late by the way it travelled and never early. Of each
proposer the least late one of the last half a minute counts; the middle of these is where the others' clocks stand.
"""

from __future__ import annotations

from statistics import median_low

WINDOW_MS = 30_000
SAY_AGAIN_MS = 60_000
JUMP_MS = 1_000


class ClockWatch:
    """`offset_ms` is the others' clocks minus ours; None before anybody proposed."""

    def __init__(self) -> None:
        self._seen: dict[bytes, list[tuple[int, int]]] = {}  # by proposer: (when, block time - ours)
        self._said_ms: int | None = None
        self.offset_ms: int | None = None

    def proposed(self, proposer: bytes, block_time_ms: int, now_ms: int) -> None:
        """A fresh proposal of another validator: not one that is offered again with a proof of lock."""
        self._seen.setdefault(proposer, []).append((now_ms, block_time_ms - now_ms))
        recent = {p: [s for s in seen if abs(now_ms - s[0]) <= WINDOW_MS] for p, seen in self._seen.items()}
        self._seen = {p: seen for p, seen in recent.items() if seen}
        self.offset_ms = median_low([max(offset for _, offset in seen) for seen in self._seen.values()])

    def warning(self, precision_ms: int, now_ms: int) -> int | None:
        """The offset, if clocks are further apart than they may be and it was not said within the last minute."""
        if self.offset_ms is None or abs(self.offset_ms) <= precision_ms:
            return None
        if self._said_ms is not None and 0 <= now_ms - self._said_ms < SAY_AGAIN_MS:
            return None
        self._said_ms = now_ms
        return self.offset_ms


class Jumps:
    """Compares Unix time with the steady clock, which nobody sets."""

    def __init__(self, unix_ms: int, steady_ms: int) -> None:
        self._apart_ms = unix_ms - steady_ms

    def seen(self, unix_ms: int, steady_ms: int) -> int | None:
        """By how much Unix time was set since the last look, if by more than a second; ahead is positive."""
        apart_ms = unix_ms - steady_ms
        jump_ms, self._apart_ms = apart_ms - self._apart_ms, apart_ms
        return jump_ms if abs(jump_ms) > JUMP_MS else None
