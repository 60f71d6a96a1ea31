"""Both worlds at once: every call runs under plain CPython and on the metered runtime, and must do the same in both."""

from __future__ import annotations

from typing import Any

from contracts.runtime.errors import ContractError
from contracts.runtime.metered_world import MeteredWorld
from contracts.runtime.world import Deployed, Source, World


class TwinWorld(World):
    """The plain world, followed step by step by a metered one."""

    def __init__(self) -> None:
        super().__init__(_verify)
        self.metered = MeteredWorld(_verify)

    def deploy(self, name: str, source: Source) -> Deployed:
        self.metered.deploy(name, source)
        return super().deploy(name, source)

    def _run(self, contract: str, function: str, args: tuple[Any, ...], sender: str, read_only: bool) -> Any:
        self.metered.height, self.metered.time_ms = self.height, self.time_ms
        other = attempt(self.metered._run, contract, function, args, sender, read_only)
        here = attempt(super()._run, contract, function, args, sender, read_only)
        assert here == other, f"{contract}.{function}: plain {here}, metered {other}"
        assert self.state == self.metered.state
        assert self.events == self.metered.events
        if isinstance(here, ContractError):
            raise here
        return here[0]


def attempt(run: Any, *args: Any) -> Any:
    """(result,) or the refusal, comparable."""
    try:
        return (run(*args),)
    except ContractError as refusal:
        return RefusedError(refusal.code)


class RefusedError(ContractError):
    def __eq__(self, other: object) -> bool:
        return isinstance(other, RefusedError) and other.code == self.code

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"refusal {self.code}"


def _verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """A stand-in for a signature scheme: enough to see that the question reaches the verifier."""
    return signature == (public_key + message)[:64].ljust(64, b"\0")
