"""How a chain begins: the same at once or in batches, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from chain import genesis_state
from chain.genesis import Genesis
from chain.kv import StoreError
from chain.ledger import Ledger
from chain.memory import MemoryKV
from chain.store import RESTORING
from contracts.runtime.engine import MeteredRuntime
from node.ed25519 import verify
from tests.chain.network import Chain, genesis, pay

SMALL_BYTES = 1_000


class Dying(MemoryKV):
    """Fails at the write after so many."""

    def __init__(self, writes: int) -> None:
        super().__init__()
        self.writes_left = writes

    def write(self, puts: Iterable[tuple[bytes, bytes]], deletes: Iterable[bytes] = (), *, sync: bool = True) -> None:
        if self.writes_left == 0:
            raise StoreError("The power is gone.")
        self.writes_left -= 1
        super().write(puts, deletes, sync=sync)


def begun(kv: MemoryKV, of: Genesis) -> Ledger:
    return Ledger(kv, MeteredRuntime(), of, verify)


def entries(kv: MemoryKV) -> list[tuple[bytes, bytes]]:
    return list(kv.scan(b"", b"\xff" * 8))


def test_a_state_written_in_batches_is_the_one_written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once, in_batches = MemoryKV(), MemoryKV()
    begun(at_once, genesis())
    monkeypatch.setattr(genesis_state, "BATCH_BYTES", SMALL_BYTES)
    begun(in_batches, genesis())
    assert entries(in_batches) == entries(at_once)


def test_wherever_the_power_goes_while_a_chain_begins_it_begins_again_from_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = MemoryKV()
    monkeypatch.setattr(genesis_state, "BATCH_BYTES", SMALL_BYTES)
    begun(whole, genesis())
    died = 0
    for writes in range(1_000):
        kv = Dying(writes)
        try:
            begun(kv, genesis())
        except StoreError:
            died += 1
            assert writes == 0 or kv.get(RESTORING) is not None
            # Something that a whole genesis would not have, as if another release had begun there.
            kv.writes_left = -1
            if writes:
                kv.write([(b"sleft over", b"1")])
            begun(kv, genesis())
            assert entries(kv) == entries(whole)
        else:
            break
    assert died > 3


def test_a_chain_does_not_begin_without_the_calls_of_its_genesis() -> None:
    with pytest.raises(AssertionError, match="with the calls of its genesis"):
        begun(MemoryKV(), genesis().without_calls())


def test_a_chain_that_stands_needs_no_calls() -> None:
    c = Chain(genesis())
    c.grow(c.tx("alice", pay("bob", 7)))
    assert begun(c.kv.copy(), c.genesis.without_calls()).head == c.ledger.head  # type: ignore[attr-defined]
