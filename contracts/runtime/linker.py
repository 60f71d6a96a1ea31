"""Binds a contract's records and state to a machine: the functions that lowered code calls for each Map and Value."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgpack

from contracts.runtime import gas
from contracts.runtime.codec import INT_HEADS, INT_MAX, INT_MIN, MAX_TEXT, Unencodable, decode_trusted
from contracts.runtime.errors import ContractError
from contracts.runtime.keys import MAX_KEY_BYTES, key_bytes, map_prefix, value_key
from contracts.runtime.model import Contract, State
from contracts.runtime.types import INT, STR, Converter, Make, Mismatch, Scalar, TupleOf, converter

_pack = msgpack.Packer(autoreset=True).pack
_unpack = msgpack.unpackb
_SMALL = 1 << 63


class Storage(Protocol):
    """What a machine offers to a contract's state."""

    def read(self, key: bytes) -> bytes | None: ...
    def charge(self, units: int) -> None: ...
    def weigh(self, value: Any) -> None: ...
    def write(self, key: bytes, raw: bytes | None) -> None: ...
    def encoded(self, value: Any) -> bytes: ...


def bind_records(contract: Contract) -> dict[str, Make]:
    """A class for each record of the contract."""
    return {
        name: typing.NamedTuple(name, [(field, typing.Any) for field, _ in record.fields])  # type: ignore[misc]
        for name, record in contract.records.items()
    }


def bind_states(
    storage: Storage, owner: str, contract: Contract, classes: Mapping[str, Make]
) -> dict[str, Callable[..., Any]]:
    """`_name_at`, `_name_get`, `_name_set`, `_name_del` and `_name_has` for each Map, `_name_get` and `_name_set` for each Value."""
    bound: dict[str, Callable[..., Any]] = {}
    for name, state in contract.states.items():
        bind = _bind_value if state.key is None else _bind_map
        bound |= {f"_{name}_{part}": function for part, function in bind(storage, owner, state, classes).items()}
    return bound


def _encoder(storage: Storage, state: State, classes: Mapping[str, Make]) -> Callable[[Any], bytes]:
    """Checks a value against the declared type and encodes it. Raises ContractError."""
    check = converter(state.value, classes)

    def encode_any(value: Any) -> bytes:
        try:
            return storage.encoded(check(value))
        except Mismatch:
            raise ContractError(_mismatch_code(value)) from None

    def encode_int(value: Any) -> bytes:
        if type(value) is int and -_SMALL <= value < _SMALL:
            packed: bytes = _pack(value)
            return packed
        return encode_any(value)

    return encode_int if state.value == INT else encode_any


def _mismatch_code(value: Any) -> str:
    if type(value) is int and not INT_MIN <= value <= INT_MAX:
        return "INT_OVERFLOW"
    return "VALUE_TOO_LARGE" if type(value) in (str, bytes) and len(value) > MAX_TEXT else "TYPE_ERROR"


def _decoder(storage: Storage, state: State, classes: Mapping[str, Make]) -> Callable[[bytes], Any]:
    """Reads what an encoder of the same type wrote; after an upgrade that changed the type, refuses with STATE_TYPE."""
    convert: Converter = converter(state.value, classes)
    is_structure = not isinstance(state.value, Scalar)

    def decode(raw: bytes) -> Any:
        if is_structure:
            storage.charge(gas.STRUCTURE_BYTE * len(raw))
        value = decode_trusted(raw)
        if is_structure:
            storage.weigh(value)
        try:
            return convert(value)
        except Mismatch:
            raise ContractError("STATE_TYPE") from None

    def decode_int(raw: bytes) -> Any:
        return _unpack(raw) if raw[0] in INT_HEADS else decode(raw)

    return decode_int if state.value == INT else decode


def _key_maker(storage: Storage, owner: str, state: State) -> Callable[[Any], bytes]:
    prefix = map_prefix(owner, state.stored)
    assert state.key is not None
    check = converter(state.key, {})

    def make(key: Any) -> bytes:
        storage.charge(gas.KEY)
        return checked(key)

    def checked(key: Any) -> bytes:
        try:
            check(key)
            return prefix + key_bytes(key)
        except Mismatch:
            raise ContractError("KEY_TYPE") from None
        except Unencodable as error:
            raise ContractError(error.code) from None

    def make_text(key: Any) -> bytes:
        if type(key) is str and len(key) < 256 and key.isascii():
            packed: bytes = _pack(key)
            return prefix + packed
        return make(key)

    def make_int(key: Any) -> bytes:
        if type(key) is int and -_SMALL <= key < _SMALL:
            packed: bytes = _pack(key)
            return prefix + packed
        return make(key)

    def make_pair(key: Any) -> bytes:
        storage.charge(gas.KEY)
        if type(key) is tuple and tuple(map(type, key)) == kinds:
            try:
                packed: bytes = _pack(key)
            except (OverflowError, ValueError):
                return checked(key)
            if len(packed) <= MAX_KEY_BYTES:
                return prefix + packed
        return checked(key)

    if isinstance(state.key, Scalar) and state.key.name in ("str", "int"):
        return make_text if state.key.name == "str" else make_int
    kinds: tuple[type, ...] = ()
    if isinstance(state.key, TupleOf) and all(item in (STR, INT) for item in state.key.items):
        kinds = tuple([str if item == STR else int for item in state.key.items])
        return make_pair
    return make


def _bind_map(storage: Storage, owner: str, state: State, classes: Mapping[str, Make]) -> dict[str, Callable[..., Any]]:
    state_key = _key_maker(storage, owner, state)
    encode, decode = _encoder(storage, state, classes), _decoder(storage, state, classes)
    read, write = storage.read, storage.write

    def at(key: Any) -> Any:
        raw = read(state_key(key))
        if raw is None:
            raise ContractError("KEY_MISSING")
        return decode(raw)

    def get(key: Any, default: Any) -> Any:
        raw = read(state_key(key))
        return default if raw is None else decode(raw)

    def put(value: Any, key: Any) -> None:
        write(state_key(key), encode(value))

    def delete(key: Any) -> None:
        place = state_key(key)
        if read(place) is None:
            raise ContractError("KEY_MISSING")
        write(place, None)

    def has(key: Any) -> bool:
        return read(state_key(key)) is not None

    return {"at": at, "get": get, "set": put, "del": delete, "has": has}


def _bind_value(
    storage: Storage, owner: str, state: State, classes: Mapping[str, Make]
) -> dict[str, Callable[..., Any]]:
    place = value_key(owner, state.stored)
    encode, decode = _encoder(storage, state, classes), _decoder(storage, state, classes)
    initial = converter(state.value, classes)

    def get() -> Any:
        raw = storage.read(place)
        return initial(state.initial) if raw is None else decode(raw)

    def put(value: Any) -> None:
        storage.write(place, encode(value))

    return {"get": get, "set": put}
