"""What a contract may use: `from contracts.host import Map, NamedTuple, Value, call, ctx, emit, export, require, view`.

A contract is one file in the subset of Python that LANGUAGE.md describes. The same file
- runs under plain CPython, in unit tests, inside a `contracts.runtime.world.World` (this module is then what it imports);
- runs on the chain under `contracts.runtime.engine.MeteredRuntime`, which never imports this module into a contract: the
  checker accepts the import line and the compiler lowers each of these names to the machine's own operations.

    world = World()
    world.deploy("payments", "contracts/energy/payments.py")       # a path, a module, or the source's text
    world.as_(alice).call("payments", "transfer", bob, 5)          # ContractError(code) on refusal; nothing is kept then
    world.view("payments", "balance", bob)
    world.events, world.height, world.time_ms
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256 as _sha256
from typing import Any, Generic, NamedTuple, NoReturn, Protocol, TypeVar

from contracts.runtime import columns as _columns
from contracts.runtime.errors import ContractError

__all__ = [
    "Any",
    "ContractError",
    "Map",
    "NamedTuple",
    "Value",
    "address_of",
    "call",
    "column_above",
    "column_sum",
    "column_value",
    "column_values",
    "ctx",
    "ed25519_verify",
    "emit",
    "export",
    "fail",
    "pack_column",
    "replace",
    "require",
    "sha256",
    "view",
]

K = TypeVar("K")
V = TypeVar("V")
D = TypeVar("D")
R = TypeVar("R", bound=tuple[Any, ...])
F = TypeVar("F", bound=Callable[..., Any])

MISSING: Any = object()


class Frame(Protocol):
    """Where the names below lead while a contract runs: the in-memory world installs one for each call."""

    sender: str
    caller: str
    contract: str
    height: int
    time_ms: int

    def read(self, name: str, key: Any) -> Any: ...
    def write(self, name: str, key: Any, value: Any) -> None: ...
    def delete(self, name: str, key: Any) -> None: ...
    def emit(self, name: str, fields: dict[str, Any]) -> None: ...
    def call(self, contract: str, function: str, args: tuple[Any, ...]) -> Any: ...
    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool: ...


class _Binding:
    """Holds the frame of the call that runs now."""

    frame: Frame | None = None


def _frame() -> Frame:
    frame = _Binding.frame
    if frame is None:
        raise LookupError("a contract's state exists only inside a call: deploy it in a World and call it there")
    return frame


class Map(Generic[K, V]):
    """State by key: keys are str, int, bytes, bool or tuples of them. A missing key is KEY_MISSING.

    Declared at module level with its types, which are checked at every write: `balances: Map[str, int] = Map("balances")`.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __getitem__(self, key: K) -> V:
        value = _frame().read(self.name, key)
        if value is MISSING:
            raise ContractError("KEY_MISSING")
        found: V = value
        return found

    def get(self, key: K, default: V | D) -> V | D:
        value = _frame().read(self.name, key)
        found: V | D = default if value is MISSING else value
        return found

    def __setitem__(self, key: K, value: V) -> None:
        _frame().write(self.name, key, value)

    def __delitem__(self, key: K) -> None:
        """Deleting what is not there is KEY_MISSING."""
        if _frame().read(self.name, key) is MISSING:
            raise ContractError("KEY_MISSING")
        _frame().delete(self.name, key)

    def __contains__(self, key: K) -> bool:
        return _frame().read(self.name, key) is not MISSING


class Value(Generic[V]):
    """One value of state with its initial value: `total: Value[int] = Value("total", 0)`."""

    __slots__ = ("initial", "name")

    def __init__(self, name: str, initial: V) -> None:
        self.name = name
        self.initial = initial

    def get(self) -> V:
        value = _frame().read(self.name, MISSING)
        found: V = self.initial if value is MISSING else value
        return found

    def set(self, value: V) -> None:
        _frame().write(self.name, MISSING, value)


class Context:
    """Who calls, where and when. All of it is committed data: the same on every validator."""

    __slots__ = ()

    @property
    def sender(self) -> str:
        """The transaction's signer: 40 hex characters, or "genesis"."""
        return _frame().sender

    @property
    def caller(self) -> str:
        """Who called this function: the sender, or the name of the contract that did."""
        return _frame().caller

    @property
    def contract(self) -> str:
        """This contract's own name."""
        return _frame().contract

    @property
    def height(self) -> int:
        """The height of the block that runs; 0 in the genesis."""
        return _frame().height

    @property
    def time_ms(self) -> int:
        """The block's time: Unix milliseconds."""
        return _frame().time_ms


ctx = Context()


def export(function: F) -> F:
    """Marks a function that transactions and other contracts may call; it may write."""
    return function


def view(function: F) -> F:
    """Marks a function that anybody may call and that writes nothing (the checker proves it)."""
    return function


def require(condition: object, code: str) -> None:
    """Refuses the whole transaction with `code` (a constant, UPPER_SNAKE) unless the condition is true."""
    if not condition:
        raise ContractError(code)


def fail(code: str) -> NoReturn:
    """Refuses the whole transaction with `code`."""
    raise ContractError(code)


def emit(name: str, /, **fields: Any) -> None:
    """Records an event in the receipt; `name` is a constant, fields are values that can be stored."""
    _frame().emit(name, fields)


def call(contract: str, function: str, *args: Any) -> Any:
    """Calls another contract in the same transaction. Its refusal is this call's refusal; nothing can be caught.

    Values are copied on the way; records come back as plain tuples. A contract that is already on the call stack refuses with REENTRANT.
    """
    return _frame().call(contract, function, args)


def replace(record: R, /, **fields: Any) -> R:
    """A copy of the record with some fields changed; a field that it does not have is TYPE_ERROR."""
    if not set(fields) <= set(getattr(record, "_fields", ())):
        raise ContractError("TYPE_ERROR")
    changed: R = record._replace(**fields)  # type: ignore[attr-defined]
    return changed


def sha256(data: bytes) -> bytes:
    return _sha256(data).digest()


def address_of(public_key: bytes) -> str:
    """The account of an Ed25519 public key: 40 lower-case hex characters."""
    return _sha256(public_key).digest()[:20].hex()


def ed25519_verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the signature holds; keys and signatures of a wrong length do not. The verifier comes from the runtime's owner."""
    return _frame().verify(public_key, message, signature)


def pack_column(values: list[int]) -> bytes:
    """A column: each number in 4 bytes, unsigned, little-endian; at most 1,024 of them, each from 0 to 4,294,967,295."""
    return _columns.packed(list(values))


def column_values(column: bytes) -> list[int]:
    """The numbers of a column. Bytes that are no whole number of numbers are VALUE_ERROR, here and below."""
    return list(_columns.values_of(_columns.require_column(column)))


def column_value(column: bytes, place: int) -> int:
    """The number at a place, which counts from 0; beyond the end is INDEX_ERROR."""
    return _columns.value_at(_columns.require_column(column), place)


def column_sum(column: bytes) -> int:
    return sum(_columns.values_of(_columns.require_column(column)))


def column_above(column: bytes, limits: bytes) -> list[int]:
    """The places where a number exceeds its limit. `limits` is a column of the same length, or of one number for all."""
    return _columns.above(_columns.require_column(column), _columns.require_column(limits))
