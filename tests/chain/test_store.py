"""Records of the store in their own right."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chain.store import decode_undo, encode_undo

BEFORE = st.dictionaries(st.binary(max_size=8), st.none() | st.binary(max_size=8), max_size=8)


@given(BEFORE)
def test_what_undoes_a_block_is_read_as_written(before: dict[bytes, bytes | None]) -> None:
    assert decode_undo(encode_undo(before)) == before
    assert list(decode_undo(encode_undo(before))) == list(before)
