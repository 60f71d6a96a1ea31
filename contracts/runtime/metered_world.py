"""The in-memory world's calls, run by the metered runtime: the same tests, on the very machine that the chain uses."""

from __future__ import annotations

from typing import Any

from contracts.runtime.api import Call
from contracts.runtime.codec import decode, encode
from contracts.runtime.deploy import deploy_writes
from contracts.runtime.engine import MeteredRuntime
from contracts.runtime.errors import ContractError
from contracts.runtime.machine import Verifier
from contracts.runtime.world import Deployed, Emitted, Source, World, source_bytes


class MeteredWorld(World):
    """A World whose calls cost gas; `gas_used` is the last call's."""

    def __init__(self, verifier: Verifier | None = None, gas_limit: int = 1_000_000_000) -> None:
        super().__init__(verifier)
        self.runtime = MeteredRuntime(verifier)
        self.gas_limit = gas_limit
        self.gas_used = 0
        self.code: dict[bytes, bytes] = {}

    def deploy(self, name: str, source: Source) -> Deployed:
        self.code |= deploy_writes(name, source_bytes(source))
        return super().deploy(name, source)

    def get(self, key: bytes, /) -> bytes | None:
        """The view that the runtime reads: code and state."""
        return self.code.get(key) or self.state.get(key)

    def _run(self, contract: str, function: str, args: tuple[Any, ...], sender: str, read_only: bool) -> Any:
        call = Call(contract, function, encode(args), sender, self.height, self.time_ms, read_only)
        outcome = self.runtime.execute(call, self, self.gas_limit)
        self.gas_used = outcome.gas_used
        if not outcome.ok:
            raise ContractError(outcome.code)
        for key, raw in outcome.writes.items():
            if raw is None:
                self.state.pop(key, None)
            else:
                self.state[key] = raw
        self.events.extend(Emitted(event.contract, event.name, decode(event.fields)) for event in outcome.events)
        return self.contracts[contract].with_records(function, decode(outcome.result))
