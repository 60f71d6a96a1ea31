"""The state at height 0: the contracts of the genesis, and what its calls leave behind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chain.executor import GENESIS_SENDER
from chain.genesis import Genesis, GenesisError
from chain.kv import KV
from chain.overlay import Overlay, Writes
from chain.store import RESTORING
from chain.system import genesis_writes
from contracts.runtime.api import Call, Runtime
from contracts.runtime.codec import encode
from contracts.runtime.deploy import contracts_writes, deploy_writes

GENESIS_GAS = 2_000_000_000
BATCH_BYTES = 4 << 20

Pair = tuple[bytes, bytes]


class _Nothing:
    def get(self, key: bytes, /) -> bytes | None:
        return None


def genesis_state(runtime: Runtime, genesis: Genesis) -> Writes:
    """All writes of the genesis. Raises GenesisError where a contract or a call of it is refused."""
    assert genesis.calls or genesis.is_whole(), "a chain begins with the calls of its genesis"
    state = Overlay(_Nothing(), genesis_writes(genesis))
    for name, source in genesis.contracts:
        try:
            state.writes.update(deploy_writes(name, source.encode()))
        except ValueError as error:
            raise GenesisError(f"contracts[{name}]: {error}") from error
    state.writes.update(contracts_writes([name for name, _ in genesis.contracts]))
    for index, call in enumerate(genesis.calls):
        request = Call(call.contract, call.function, encode(list(call.args)), GENESIS_SENDER, 0, genesis.time_ms)
        outcome = runtime.execute(request, state, GENESIS_GAS)
        if not outcome.ok:
            raise GenesisError(f"calls[{index}]: {call.contract}.{call.function} was refused with {outcome.code}")
        state.writes.update(outcome.writes)
    return {key: value for key, value in state.writes.items() if value is not None}


def write_first_state(kv: KV, puts: Sequence[Pair], last: Sequence[Pair]) -> None:
    """Writes what a chain begins with, and with the last of it `last`.

    A large state goes in key order and in batches, each of which becomes a table of its own: the store then has nothing
    left to sort while the chain runs, and does not hold all of it in memory. Until the end a mark stands by which
    `chain.snapshot.discard_unfinished` knows what a crash has left.
    """
    batches = list(_batches(sorted(puts)))
    if len(batches) <= 1:
        kv.write([*puts, *last])
        return
    kv.write([(RESTORING, bytes(8))])
    for batch in batches:
        kv.write(batch)
        kv.compact(batch[0][0], batch[-1][0])
    kv.write(last, [RESTORING])


def _batches(pairs: Sequence[Pair]) -> Iterator[list[Pair]]:
    batch: list[Pair] = []
    size = 0
    for key, value in pairs:
        batch.append((key, value))
        size += len(key) + len(value)
        if size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
