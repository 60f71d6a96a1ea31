"""Faults of validators that were noticed but are not yet in a block."""

from __future__ import annotations

from collections.abc import Callable

from chain.evidence import decode_evidence
from consensus.evidence import offender
from consensus.types import ValidatorId


class FaultPool:
    """One fault of each validator, for a block takes no more; so there are never more than validators.

    `fault_in` says why a piece of evidence may not stand in the next block, or None.
    """

    def __init__(self, fault_in: Callable[[bytes], str | None]) -> None:
        self._fault_in = fault_in
        self._pending: dict[ValidatorId, bytes] = {}  # encoded evidence by whom it convicts

    def __bool__(self) -> bool:
        return bool(self._pending)

    def add(self, raw: bytes) -> str | None:
        """Takes evidence of a validator against whom none waits; None means that it is new and stands."""
        reason = self._fault_in(raw)
        if reason is not None:
            return reason
        caught = offender(decode_evidence(raw))
        if caught in self._pending:
            return KNOWN
        self._pending[caught] = raw
        return None

    def first(self, count: int) -> list[bytes]:
        return list(self._pending.values())[:count]

    def refresh(self) -> None:
        """After a block: what is on the chain now, or has grown too old, no longer waits."""
        self._pending = {v: raw for v, raw in self._pending.items() if self._fault_in(raw) is None}


KNOWN = "known already"
