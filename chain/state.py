"""The authenticated state as the ledger sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Protocol

from chain.hashes import ZERO_HASH
from chain.kv import KV
from chain.stateproof import StateProof


@dataclass(frozen=True, slots=True)
class StateChange:
    """Moves the state from one root to another: make `puts` and `deletes` durable, then adopt."""

    before: bytes
    root: bytes
    puts: list[tuple[bytes, bytes]] = field(default_factory=list)
    deletes: list[bytes] = field(default_factory=list)


class State(Protocol):
    """The authenticated state at `root`, changed once for each block."""

    @property
    def root(self) -> bytes: ...

    def warm(self) -> None:
        """Reads what the next blocks are likely to need."""
        ...

    def get(self, key: bytes, /) -> bytes | None: ...

    def many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Their values, in their order."""
        ...

    def plan(self, writes: Mapping[bytes, bytes | None]) -> StateChange:
        """What setting these keys (None deletes) does to the state. Changes nothing."""
        ...

    def adopt(self, change: StateChange) -> None:
        """Moves to the planned version, once its puts and deletes are in the store."""
        ...

    def prove(self, key: bytes, planned: StateChange | None = None) -> StateProof:
        """A proof of what `root` says about `key`: present or absent. Given a planned change, of what its root will."""
        ...


def open_state(kv: KV, root: bytes = ZERO_HASH) -> State:
    """The state whose records `kv` holds. Raises StoreCorruptError where they are not those of `root`.

    A node has numpy. Where blocks are only computed again, on an interpreter for which it is not built, the plain state
    gives the same roots and proofs.
    """
    if find_spec("numpy") is None:
        from chain.plainstate import PlainState

        return PlainState(kv, root)
    from chain.statetree import StateTree

    return StateTree(kv, root)
