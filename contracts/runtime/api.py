"""What the ledger asks of a contract runtime, and what it gets back."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class StateView(Protocol):
    """A read-only view of the authenticated state at one point of the chain."""

    def get(self, key: bytes, /) -> bytes | None: ...


# Named tuples, because one of each is made for every transaction: a frozen dataclass takes three times as long.


class Call(NamedTuple):
    """One call of a contract's function in its context.

    `args` is a msgpack array; `sender` is the transaction's signer (40 hex characters, or "genesis");
    `read_only` is set for queries: only `@view` functions may be called, and nothing may be written or emitted.
    """

    contract: str
    function: str
    args: bytes
    sender: str
    height: int
    time_ms: int
    read_only: bool = False


class Event(NamedTuple):
    """`fields` is a msgpack map with sorted string keys."""

    contract: str
    name: str
    fields: bytes


NO_WRITES: dict[bytes, bytes | None] = {}
"""What a refused call writes: shared, so nobody may put anything into it."""


class Outcome(NamedTuple):
    """What a call did. When not ok: `code` says why, and there are no writes and no events.

    `result` is msgpack. `writes` maps state keys to their new values (None deletes).
    """

    ok: bool
    code: str
    gas_used: int
    result: bytes = b"\xc0"
    events: tuple[Event, ...] = ()
    writes: dict[bytes, bytes | None] = NO_WRITES


class Runtime(Protocol):
    def execute(self, call: Call, view: StateView, gas_limit: int) -> Outcome:
        """Runs one call. Never raises for what the call or its contract does; raises only for faults of our own."""
        ...
