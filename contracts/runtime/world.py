"""Contracts under plain CPython, with state in memory: for unit tests, for trying out, and as the metered runtime's reference.

    world = World()
    world.deploy("payments", "contracts/energy/payments.py")        # a path, a module, source text or bytes
    world.as_("genesis").call("payments", "mint", alice, 100, "opening")
    world.view("payments", "balance", alice)

Differences from the chain: there is no gas, integers are bounded only where they are stored, passed or returned, and collections
are bounded only where they are stored. State, arguments, results, events, refusals and their codes are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from contracts import host
from contracts.runtime.abi import Signature, checked
from contracts.runtime.codec import Unencodable, decode, encode
from contracts.runtime.codes import code_of
from contracts.runtime.errors import ContractError
from contracts.runtime.linker import bind_states
from contracts.runtime.machine import GOVERNANCE, MAX_CONTRACTS_ON_STACK, MIGRATE
from contracts.runtime.model import Contract
from contracts.runtime.types import converter

Source = str | bytes | Path | ModuleType


class Emitted(NamedTuple):
    """An event; `fields` holds plain data, as a client decodes it (records and tuples as lists)."""

    contract: str
    name: str
    fields: dict[str, Any]


def source_bytes(source: Source) -> bytes:
    """Text with a line break is source; a shorter one is a path."""
    if isinstance(source, bytes):
        return source
    if isinstance(source, ModuleType):
        assert source.__file__ is not None, "a module without a file has no source"
        return Path(source.__file__).read_bytes()
    if isinstance(source, str) and "\n" in source:
        return source.encode()
    return Path(source).read_bytes()


class World:
    """Contracts, their state, and a clock. `state` holds the very bytes that a chain would."""

    def __init__(self, verifier: Callable[[bytes, bytes, bytes], bool] | None = None) -> None:
        self.state: dict[bytes, bytes] = {}
        self.events: list[Emitted] = []
        self.height = 0
        self.time_ms = 0
        self.verifier = verifier
        self.contracts: dict[str, Deployed] = {}

    def deploy(self, name: str, source: Source) -> Deployed:
        """Checks and loads a contract. Raises abi.NotAContract where the chain would refuse it."""
        deployed = Deployed(self, name, source_bytes(source))
        self.contracts[name] = deployed
        return deployed

    def as_(self, sender: str) -> Caller:
        return Caller(self, sender)

    def call(self, contract: str, function: str, *args: Any, sender: str = "genesis") -> Any:
        """All or nothing: on a refusal (ContractError) state and events are as before."""
        return self._run(contract, function, args, sender, read_only=False)

    def view(self, contract: str, function: str, *args: Any, sender: str = "genesis") -> Any:
        return self._run(contract, function, args, sender, read_only=True)

    def _run(self, contract: str, function: str, args: tuple[Any, ...], sender: str, read_only: bool) -> Any:
        run = _Run(self, sender, read_only)
        before = host._Binding.frame
        try:
            result = run.enter(contract, function, args, sender)
        except ContractError:
            raise
        except Exception as error:
            code = code_of(error)
            if code is None:
                raise
            raise ContractError(code) from error
        finally:
            host._Binding.frame = before
        run.commit()
        return self.contracts[contract].with_records(function, result)

    def raw(self, key: bytes) -> bytes | None:
        return self.state.get(key)


class Caller(NamedTuple):
    """Somebody who sends transactions to the world."""

    world: World
    sender: str

    def call(self, contract: str, function: str, *args: Any) -> Any:
        return self.world.call(contract, function, *args, sender=self.sender)

    def view(self, contract: str, function: str, *args: Any) -> Any:
        return self.world.view(contract, function, *args, sender=self.sender)


class Deployed:
    """A contract loaded from its source, like a module of its own; `names` are its globals."""

    def __init__(self, world: World, name: str, source: bytes) -> None:
        self.name = name
        self.contract: Contract = checked(source)
        self.names: dict[str, Any] = {"__name__": f"contract_{name}"}
        exec(compile(source, f"<{name}>", "exec", dont_inherit=True), self.names)
        self.classes = {record: self.names[record] for record in self.contract.records}
        self.signatures = {
            function.name: Signature(function, self.classes)
            for function in self.contract.functions.values()
            if function.kind != "private"
        }
        self.stored = {state.stored: variable for variable, state in self.contract.states.items()}

    def with_records(self, function: str, result: Any) -> Any:
        return converter(self.contract.functions[function].returns, self.classes)(result)


class _Run:
    """One transaction: what it wrote and emitted so far."""

    def __init__(self, world: World, sender: str, read_only: bool) -> None:
        self.world = world
        self.sender = sender
        self.read_only = read_only
        self.overlay: dict[bytes, bytes | None] = {}
        self.events: list[Emitted] = []
        self.stack: list[str] = []

    def enter(self, contract: str, function: str, args: tuple[Any, ...], caller: str) -> Any:
        deployed = self.world.contracts.get(contract)
        if deployed is None:
            raise ContractError("UNKNOWN_CONTRACT")
        signature = deployed.signatures.get(function)
        if signature is None:
            raise ContractError("UNKNOWN_FUNCTION")
        if self.read_only and not signature.is_view:
            raise ContractError("READ_ONLY")
        if function == MIGRATE and (self.stack or self.sender != GOVERNANCE):
            raise ContractError("NOT_GOVERNANCE")
        if contract in self.stack:
            raise ContractError("REENTRANT")
        if len(self.stack) >= MAX_CONTRACTS_ON_STACK:
            raise ContractError("CALL_DEPTH")
        values = signature.arguments(args)
        before, was_read_only = host._Binding.frame, self.read_only
        self.read_only = was_read_only or signature.is_view
        self.stack.append(contract)
        host._Binding.frame = _WorldFrame(self, deployed, caller)
        result = signature.result(deployed.names[function](*values))
        host._Binding.frame = before
        self.stack.pop()
        self.read_only = was_read_only
        return result

    def commit(self) -> None:
        for key, raw in self.overlay.items():
            if raw is None:
                self.world.state.pop(key, None)
            else:
                self.world.state[key] = raw
        self.world.events.extend(self.events)

    # --- the storage that a contract's state is bound to

    def read(self, key: bytes) -> bytes | None:
        return self.overlay[key] if key in self.overlay else self.world.state.get(key)

    def charge(self, units: int) -> None:
        """There is no gas here."""

    def weigh(self, value: Any) -> None:
        """Nor here."""

    def write(self, key: bytes, raw: bytes | None) -> None:
        if self.read_only:
            raise ContractError("READ_ONLY")
        self.overlay[key] = raw

    def encoded(self, value: Any) -> bytes:
        try:
            return encode(value)
        except Unencodable as error:
            raise ContractError(error.code) from None


class _WorldFrame:
    """What `contracts.host` leads to while a contract runs."""

    def __init__(self, run: _Run, deployed: Deployed, caller: str) -> None:
        self.run = run
        self.deployed = deployed
        self.sender = run.sender
        self.caller = caller
        self.contract = deployed.name
        self.height = run.world.height
        self.time_ms = run.world.time_ms
        self.bound = bind_states(run, deployed.name, deployed.contract, deployed.classes)

    def _part(self, stored: str, part: str) -> Callable[..., Any]:
        return self.bound[f"_{self.deployed.stored[stored]}_{part}"]

    def read(self, name: str, key: Any) -> Any:
        if key is host.MISSING:
            return self._part(name, "get")()
        return self._part(name, "get")(key, host.MISSING)

    def write(self, name: str, key: Any, value: Any) -> None:
        if key is host.MISSING:
            self._part(name, "set")(value)
        else:
            self._part(name, "set")(value, key)

    def delete(self, name: str, key: Any) -> None:
        self._part(name, "del")(key)

    def emit(self, name: str, fields: dict[str, Any]) -> None:
        if self.run.read_only:
            raise ContractError("READ_ONLY")
        self.run.events.append(Emitted(self.contract, name, decode(self.run.encoded(fields))))

    def call(self, contract: str, function: str, args: tuple[Any, ...]) -> Any:
        self.run.encoded(args)
        return self.run.enter(contract, function, args, self.contract)

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        assert self.run.world.verifier is not None, "this world was made without a verifier"
        right_size = len(public_key) == 32 and len(signature) == 64
        return right_size and self.run.world.verifier(public_key, message, signature)
