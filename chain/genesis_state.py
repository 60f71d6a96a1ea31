"""The state at height 0: the contracts of the genesis, and what its calls leave behind."""

from __future__ import annotations

from chain.executor import GENESIS_SENDER
from chain.genesis import Genesis, GenesisError
from chain.overlay import Overlay, Writes
from chain.system import genesis_writes
from contracts.runtime.api import Call, Runtime
from contracts.runtime.codec import encode
from contracts.runtime.deploy import contracts_writes, deploy_writes

GENESIS_GAS = 2_000_000_000


class _Nothing:
    def get(self, key: bytes, /) -> bytes | None:
        return None


def genesis_state(runtime: Runtime, genesis: Genesis) -> Writes:
    """All writes of the genesis. Raises GenesisError where a contract or a call of it is refused."""
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
