"""One encoding: what is written is read back, in one form only, and bytes from outside never do worse than ValueError."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.runtime.codec import INT_HEADS, INT_MAX, INT_MIN, MAX_DEPTH, Unencodable, decode, encode, is_canonical
from contracts.runtime.keys import key_bytes, state_key

scalars = st.none() | st.booleans() | st.integers(INT_MIN, INT_MAX) | st.text(max_size=40) | st.binary(max_size=40)
dict_keys = st.booleans() | st.integers(INT_MIN, INT_MAX) | st.text(max_size=8) | st.binary(max_size=8)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(dict_keys, inner, max_size=5),
    max_leaves=20,
)
map_keys = st.recursive(dict_keys, lambda inner: st.tuples(inner, inner), max_leaves=3)


@given(values)
def test_the_first_byte_tells_an_integer_of_64_bits_which_then_needs_no_checks(value: Any) -> None:
    raw = encode(value)
    is_small = type(value) is int and -(2**63) <= value < 2**64
    assert (raw[0] in INT_HEADS) == is_small
    if is_small:
        assert msgpack.unpackb(raw) == value


@given(values)
def test_what_is_encoded_decodes_to_itself_and_is_canonical(value: Any) -> None:
    data = encode(value)
    assert decode(data) == value
    assert is_canonical(data)


@given(st.dictionaries(st.text(max_size=4), st.integers(), max_size=6))
def test_the_order_of_a_dict_makes_no_difference(value: dict[str, int]) -> None:
    bounded = {key: item % 1000 for key, item in value.items()}
    assert encode(bounded) == encode(dict(reversed(bounded.items())))


@given(st.binary(max_size=60))
def test_any_bytes_decode_or_are_refused_with_value_error(data: bytes) -> None:
    try:
        value = decode(data)
    except ValueError:
        return
    assert decode(encode(value)) == value


@given(values, st.data())
def test_a_changed_byte_gives_another_value_or_is_refused(value: Any, data: st.DataObject) -> None:
    raw = bytearray(encode(value))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    if is_canonical(bytes(raw)):
        assert encode(decode(bytes(raw))) != encode(value)


@pytest.mark.parametrize("edge", [2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, INT_MAX, INT_MIN])
def test_integers_at_the_edges_of_a_form_survive(edge: int) -> None:
    assert decode(encode(edge)) == edge


@pytest.mark.parametrize("value", [INT_MAX + 1, INT_MIN - 1, 1 << 10_000])
def test_an_integer_beyond_256_bits_is_not_encoded(value: int) -> None:
    with pytest.raises(Unencodable, match="INT_OVERFLOW"):
        encode(value)


@pytest.mark.parametrize("value", [1.5, {1, 2}, object(), range(3), float("nan"), [1.0], {"a": {2.0: 1}}])
def test_what_is_no_value_is_not_encoded(value: Any) -> None:
    with pytest.raises(Unencodable):
        encode(value)


@pytest.mark.parametrize(
    "data",
    [
        msgpack.packb(1.5),
        msgpack.packb([float("nan")]),
        msgpack.packb(msgpack.ExtType(1, b"")),
        msgpack.packb(msgpack.ExtType(1, bytes(33))),
        msgpack.packb(msgpack.ExtType(1, b"\x05")),
        msgpack.packb(msgpack.ExtType(2, b"\x05")),
        msgpack.packb(msgpack.Timestamp(1)),
        msgpack.packb({(1, 2): 3}),
        b"\xc1",
        b"\xa2a",
        b"\x01\x02",
        b"\xa1\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\x91" * 2_000,
        b"",
    ],
)
def test_malformed_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a value"):
        decode(data)


@pytest.mark.parametrize("data", [b"\xcc\x05", b"\xd9\x01a", b"\xdc\x00\x00", msgpack.packb({"b": 1, "a": 2})])
def test_a_longer_form_of_a_value_is_read_but_is_not_canonical(data: bytes) -> None:
    decode(data)
    assert not is_canonical(data)


def test_nesting_is_bounded_in_both_directions() -> None:
    deep: Any = 1
    for _ in range(MAX_DEPTH):
        deep = [deep]
    assert decode(encode(deep)) == deep
    with pytest.raises(Unencodable, match="VALUE_TOO_DEEP"):
        encode([deep])
    with pytest.raises(ValueError, match="nested"):
        decode(b"\x91" * (MAX_DEPTH + 1) + b"\x01")


@given(map_keys, map_keys)
def test_different_keys_have_different_state_keys(first: Any, second: Any) -> None:
    same = key_bytes(first) == key_bytes(second)
    assert same == (repr(first) == repr(second))


def test_state_keys_are_readable_and_cannot_be_confused() -> None:
    assert state_key("payments", "free", "ab") == b"payments/free/\xa2ab"
    assert state_key("payments", "minted") == b"payments/minted"
    assert state_key("market", "products", ("z", 1)) == b"market/products/\x92\xa1z\x01"


@pytest.mark.parametrize("key", [None, 1.5, [1], {"a": 1}, ("a", None), ((((1,),),),)])
def test_a_key_that_no_contract_could_use_is_refused(key: Any) -> None:
    with pytest.raises(Unencodable):
        state_key("c", "m", key)
