"""Records of the state in the store."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.kv import StoreCorruptError
from chain.stateproof import place_of
from chain.staterecord import LONGEST_KEY, decode_record, encode_record, record_key, value_in

KEYS = st.binary(max_size=600)
VALUES = st.binary(max_size=40)


@given(KEYS, VALUES)
def test_a_pair_is_read_as_written(key: bytes, value: bytes) -> None:
    record = encode_record(key, value)
    assert decode_record(record) == (key, value)
    assert value_in(record, key) == value
    assert record_key(key) == b"s" + place_of(key)


@given(KEYS, VALUES, KEYS)
def test_no_other_key_reads_the_value(key: bytes, value: bytes, other: bytes) -> None:
    for wrong in {other, key + value[:1], key[:-1]} - {key}:
        with pytest.raises(StoreCorruptError, match="Sync this node anew"):
            value_in(encode_record(key, value), wrong)


@pytest.mark.parametrize("raw", [b"", b"\x00", b"\x00\x02a", b"\xff\xff"])
def test_what_is_no_record_is_refused(raw: bytes) -> None:
    with pytest.raises(StoreCorruptError, match="Sync this node anew"):
        decode_record(raw)


def test_a_key_may_be_as_long_as_its_length_can_be_written() -> None:
    assert decode_record(encode_record(bytes(LONGEST_KEY), b"v")) == (bytes(LONGEST_KEY), b"v")
    with pytest.raises(OverflowError):
        encode_record(bytes(LONGEST_KEY + 1), b"v")
