"""Where a node's processor time goes: a few coarse meters, read through Status by whoever wants to know.

Only time on a processor counts, not waiting. What no meter covers (gRPC's own threads, the event loop, the collector) is the
difference to what the operating system says of the whole process.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import thread_time_ns

STAGES = ("verify", "admission", "execute", "state", "store", "consensus", "rpc")


class Stages:
    """Nanoseconds by stage. Written by one thread only; other threads hand their figures to `add` through it."""

    __slots__ = ("_lap_from", "_spent_ns", "signatures")

    def __init__(self) -> None:
        self._spent_ns = dict.fromkeys(STAGES, 0)
        self._lap_from = 0
        self.signatures = 0  # checked since the start

    def add(self, stage: str, ns: int) -> None:
        self._spent_ns[stage] += ns

    @contextmanager
    def measured(self, stage: str) -> Iterator[None]:
        """Only around code that does not await: what other tasks spend meanwhile would count too."""
        begun = thread_time_ns()
        try:
            yield
        finally:
            self._spent_ns[stage] += thread_time_ns() - begun

    def lap(self, stage: str | None) -> None:
        """The time since the last lap goes to `stage`; None only begins a round of laps."""
        now = thread_time_ns()
        if stage is not None:
            self._spent_ns[stage] += now - self._lap_from
        self._lap_from = now

    def spent_us(self) -> dict[str, int]:
        return {stage: ns // 1_000 for stage, ns in self._spent_ns.items()}


PROCESS = Stages()
"""Of this process. Processor time belongs to a process, so there is one of these, like there is one `time.process_time`."""
