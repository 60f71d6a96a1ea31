"""Arguments from outside: what is read the short way is what the long way reads."""

from __future__ import annotations

from typing import Any

import msgpack
from hypothesis import given
from hypothesis import strategies as st

from contracts.runtime.abi import Signature, checked
from contracts.runtime.codec import INT_MAX, INT_MIN, MAX_TEXT, decode, encode
from contracts.runtime.errors import ContractError

SOURCE = b"""
from contracts.host import export

@export
def flat(text: str, number: int, raw: bytes, flag: bool) -> None:
    pass

@export
def nested(items: list[int], text: str) -> None:
    pass

@export
def nothing() -> None:
    pass
"""
SIGNATURES = {name: Signature(function, {}) for name, function in checked(SOURCE).functions.items()}
texts = st.text(max_size=5) | st.just("t" * (MAX_TEXT + 1))
raws = st.binary(max_size=5) | st.just(b"b" * (MAX_TEXT + 1))
scalars = (
    st.none() | st.booleans() | st.integers(INT_MIN, INT_MAX) | texts | raws | st.lists(st.integers(0, 9), max_size=2)
)
arguments = (
    st.lists(scalars, max_size=5)
    | st.tuples(texts, st.integers(INT_MIN, INT_MAX), raws, st.booleans())
    | st.integers()
    | st.dictionaries(st.text(max_size=2), st.integers(0, 9), max_size=4)
)


def outcome(read: Any) -> Any:
    try:
        return read()
    except ContractError as refusal:
        return refusal.code


@given(st.sampled_from(sorted(SIGNATURES)), arguments)
def test_encoded_arguments_are_taken_or_refused_as_decoded_ones_are(name: str, values: Any) -> None:
    signature = SIGNATURES[name]
    try:
        data = encode(values)
    except ValueError:
        data = msgpack.packb(1.5)
        assert outcome(lambda: signature.decoded(data)) == "BAD_ARGUMENTS"
        return
    assert outcome(lambda: signature.decoded(data)) == outcome(lambda: signature.arguments(decode(data)))
