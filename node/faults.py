"""Faults of validators that were noticed but are not yet in a block."""

from __future__ import annotations

from collections.abc import Callable

from chain.evidence import decode_evidence, fault_id

MOST = 1_024  # distinct faults that wait; beyond that they are noticed again from the next ones


class FaultPool:
    """`fault_in` says why a piece of evidence may not stand in the next block, or None."""

    def __init__(self, fault_in: Callable[[bytes], str | None]) -> None:
        self._fault_in = fault_in
        self._pending: dict[bytes, bytes] = {}  # encoded evidence by the fault it proves

    def __bool__(self) -> bool:
        return bool(self._pending)

    def add(self, raw: bytes) -> str | None:
        """Takes evidence of a fault that is not yet known; None means that it is new and stands."""
        reason = self._fault_in(raw)
        if reason is not None:
            return reason
        fault = fault_id(decode_evidence(raw))
        if fault in self._pending:
            return KNOWN
        if len(self._pending) >= MOST:
            return "too much evidence waits"
        self._pending[fault] = raw
        return None

    def first(self, count: int) -> list[bytes]:
        return list(self._pending.values())[:count]

    def refresh(self) -> None:
        """After a block: what is on the chain now, or has grown too old, no longer waits."""
        self._pending = {f: raw for f, raw in self._pending.items() if self._fault_in(raw) is None}


KNOWN = "known already"
