"""One call while it runs: the overlay of writes, the events, the stack of contracts, and the gas that is left."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from types import CellType
from typing import Any, NamedTuple

import msgpack

from contracts.runtime import gas
from contracts.runtime.abi import Signature, checked
from contracts.runtime.api import Event, StateView
from contracts.runtime.codec import Unencodable, decode_trusted, encode
from contracts.runtime.compiler import Compiled, compile_contract
from contracts.runtime.errors import ContractError, RuntimeFault
from contracts.runtime.keys import code_key, source_key
from contracts.runtime.linker import bind_records, bind_states
from contracts.runtime.ops import Operations, OutOfGas

Verifier = Callable[[bytes, bytes, bytes], bool]  # public key (32 bytes), message, signature (64 bytes)
MAX_CONTRACTS_ON_STACK = 8
MAX_EVENTS = 16_384  # the gate of a book of 10,000 orders closes in one call

_compiled: dict[bytes, Compiled] = {}  # by code hash; checked and compiled once in a process
_pack = msgpack.Packer(autoreset=True).pack
_code_key = lru_cache(maxsize=256)(code_key)
_NIL = encode(None)
_tuple = tuple.__new__  # a named tuple made so takes half the time
_PLAIN = frozenset({int, str, bool, bytes, type(None)})


def compiled_source(source: bytes) -> Compiled:
    code_hash = sha256(source).digest()
    if code_hash not in _compiled:
        _compiled[code_hash] = compile_contract(checked(source))
    return _compiled[code_hash]


class CodeRecord(NamedTuple):
    """What stands under `$code/name`."""

    version: int
    code_hash: bytes
    paused_until_height: int


class Context:
    """`ctx` of one contract while it runs. A contract is on the stack at most once, so one object each is enough."""

    __slots__ = ("caller", "contract", "height", "sender", "time_ms")

    def __init__(self, contract: str) -> None:
        self.contract = contract
        self.sender = self.caller = ""
        self.height = self.time_ms = 0


class Instance:
    """A contract linked to a machine: its functions, bound to the machine's state and gas."""

    def __init__(self, machine: Machine, name: str, compiled: Compiled) -> None:
        self.name = name
        self.context = Context(name)
        contract = compiled.contract
        classes = bind_records(contract)
        names = {
            **machine.operations,
            **classes,
            **bind_states(machine, name, contract, classes),
            "_ctx": self.context,
            "_emit": machine.emitter(name),
            "_call": machine.caller(name),
        }
        self.functions = compiled.link(machine.cell, names)
        self.signatures = {
            function.name: Signature(function, classes)
            for function in contract.functions.values()
            if function.kind != "private"
        }


MIGRATE = "migrate"  # what an upgrade runs in the new code, with the version before; nobody else may
GOVERNANCE = "governance"  # its sender: no account has this name


class Machine:
    """Runs one call at a time."""

    def __init__(self, verifier: Verifier | None) -> None:
        self.cell = CellType(0)
        self.verifier = verifier
        self.operations: dict[str, Any] = {
            **Operations(self.cell).table(),
            "_fail": _fail,
            "_ed25519_verify": self.verify,
        }
        self.instances: dict[tuple[str, bytes], Instance] = {}
        self.records: dict[bytes, CodeRecord] = {}
        self.recent: dict[
            str, tuple[bytes, Instance]
        ] = {}  # by contract: the very record that led to it last, unpaused
        self.begin(_Nothing(), 0, False)

    def begin(self, view: StateView, gas_limit: int, read_only: bool) -> None:
        self.view = view
        self.view_get = view.get
        self.overlay: dict[bytes, bytes | None] = {}
        self.events: list[Event] = []
        self.stack: list[Instance] = []
        self.read_only = read_only
        self.cell.cell_contents = gas_limit

    def charge(self, units: int) -> None:
        left = self.cell.cell_contents - units
        self.cell.cell_contents = left
        if left < 0:
            raise OutOfGas

    # --- finding code

    def instance(self, name: str, height: int) -> Instance:
        """Raises ContractError UNKNOWN_CONTRACT or PAUSED. The code's record is read through the view, so it is among the reads."""
        try:
            raw = self.view_get(_code_key(name))
        except UnicodeEncodeError:
            raw = None
        if raw is None:
            raise ContractError("UNKNOWN_CONTRACT")
        recent = self.recent.get(name)
        if recent is not None and recent[0] is raw:
            return recent[1]
        record = self.records.get(raw)
        if record is None:
            record = self.records[raw] = CodeRecord(*decode_trusted(raw))
        if record.paused_until_height > height:
            raise ContractError("PAUSED")
        found = self.instances.get((name, record.code_hash)) or self.link(name, record.code_hash)
        if not record.paused_until_height:
            self.recent[name] = raw, found
        return found

    def link(self, name: str, code_hash: bytes) -> Instance:
        compiled = _compiled.get(code_hash)
        if compiled is None:
            source = self.view_get(source_key(code_hash))
            if source is None or sha256(source).digest() != code_hash:
                raise RuntimeFault(f"the source of contract {name} is not in the state under its hash")
            compiled = compiled_source(source)
        instance = self.instances[name, code_hash] = Instance(self, name, compiled)
        return instance

    # --- calling

    def enter(
        self, name: str, function: str, values: Any, encoded: bool, sender: str, caller: str, height: int, time_ms: int
    ) -> Any:
        """Runs a function and returns its result with records as tuples. `values`: msgpack if `encoded`, else a tuple."""
        instance = self.instance(name, height)
        signature = instance.signatures.get(function)
        if signature is None:
            raise ContractError("UNKNOWN_FUNCTION")
        if self.read_only and not signature.is_view:
            raise ContractError("READ_ONLY")
        if function == MIGRATE and (self.stack or sender != GOVERNANCE):
            raise ContractError("NOT_GOVERNANCE")
        if instance in self.stack:
            raise ContractError("REENTRANT")
        if len(self.stack) >= MAX_CONTRACTS_ON_STACK:
            raise ContractError("CALL_DEPTH")
        args = signature.decoded(values) if encoded else signature.arguments(values)
        context = instance.context
        context.sender, context.caller, context.height, context.time_ms = sender, caller, height, time_ms
        was_read_only = self.read_only
        self.read_only = was_read_only or signature.is_view
        self.stack.append(instance)
        result = instance.functions[function](*args)
        if result is not None or not signature.is_void:
            result = signature.result(result)
        self.stack.pop()
        self.read_only = was_read_only
        return result

    def caller(self, name: str) -> Callable[..., Any]:
        """`call(contract, function, *args)` as the contract `name` sees it."""

        def call(contract: Any, function: Any, *args: Any) -> Any:
            if type(contract) is not str or type(function) is not str:
                raise ContractError("TYPE_ERROR")
            self.charge(gas.VALUE_BYTE * len(self.encoded(args)))
            here = self.stack[-1].context
            result = self.enter(contract, function, args, False, here.sender, name, here.height, here.time_ms)
            self.charge(gas.VALUE_BYTE * len(self.encoded(result)))
            return result

        return call

    # --- state and events

    def read(self, key: bytes) -> bytes | None:
        overlay = self.overlay
        raw = overlay[key] if key in overlay else self.view_get(key)
        if raw is not None:  # `charge`, written out here and in `write`: both run several times in every transaction
            cell = self.cell
            left = cell.cell_contents = cell.cell_contents - gas.VALUE_BYTE * len(raw)
            if left < 0:
                raise OutOfGas
        return raw

    def write(self, key: bytes, raw: bytes | None) -> None:
        if self.read_only:
            raise ContractError("READ_ONLY")
        if raw is not None:
            cell = self.cell
            left = cell.cell_contents = cell.cell_contents - gas.VALUE_BYTE * (len(raw) + len(key))
            if left < 0:
                raise OutOfGas
        self.overlay[key] = raw

    def encoded(self, value: Any) -> bytes:
        """Canonical bytes; weighs first, so that shared parts cannot make few bytes of source into many of output."""
        if value is None:
            return _NIL
        is_structure = type(value) not in _PLAIN
        if is_structure:
            self.weigh(value)
        try:
            raw = encode(value)
        except Unencodable as error:
            raise ContractError(error.code) from None
        if is_structure:
            self.charge(gas.STRUCTURE_BYTE * len(raw))
        return raw

    def weigh(self, value: Any) -> None:
        self.operations["_weigh"](value)

    def emitter(self, name: str) -> Callable[[str, dict[str, Any]], None]:
        """`emit` of the contract `name`. The compiler sorts the fields."""

        def emit(event: str, fields: dict[str, Any]) -> None:
            if self.read_only:
                raise ContractError("READ_ONLY")
            if _PLAIN.issuperset(map(type, fields.values())):
                try:
                    packed = _pack(fields)
                except (OverflowError, ValueError):
                    packed = self.encoded(fields)
            else:
                packed = self.encoded(fields)
            self.charge(gas.VALUE_BYTE * len(packed))
            if len(self.events) >= MAX_EVENTS:
                raise ContractError("TOO_MANY_EVENTS")
            self.events.append(_tuple(Event, (name, event, packed)))

        return emit

    def verify(self, public_key: Any, message: Any, signature: Any) -> bool:
        if type(public_key) is not bytes or type(message) is not bytes or type(signature) is not bytes:
            raise ContractError("TYPE_ERROR")
        if self.verifier is None:
            raise RuntimeFault("a contract checks a signature, and this runtime was made without a verifier")
        if len(public_key) != 32 or len(signature) != 64:
            return False
        return self.verifier(public_key, message, signature)


class _Nothing:
    def get(self, key: bytes, /) -> bytes | None:
        return None


def _fail(code: str) -> None:
    raise ContractError(code)
