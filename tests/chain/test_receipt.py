"""Receipts: their bytes are protobuf's own, and read back as what was written."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from chain.protowire import varint
from chain.receipt import Receipt, decode_receipt, encode_receipt, receipt_to_wire
from contracts.runtime.api import Event
from gridbft.v1 import chain_pb2 as pb

UINT64, UINT32 = st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1)
BLOB = st.binary(max_size=40) | st.binary(min_size=120, max_size=300)
NAMES = st.text(st.characters(codec="utf-8"), max_size=20)
EVENTS = st.lists(st.builds(Event, NAMES, NAMES, BLOB), max_size=3).map(tuple)
RECEIPTS = st.builds(
    Receipt,
    tx_id=BLOB,
    height=UINT64,
    index=UINT32,
    ok=st.booleans(),
    code=NAMES,
    gas_used=UINT64,
    results=st.lists(BLOB, max_size=3).map(tuple),
    events=EVENTS,
    failed_call=UINT32,
)


@given(receipt=RECEIPTS)
@example(receipt=Receipt(b"", 0, 0, False, "", 0, (b"",), (Event("", "", b""),), 0))
def test_a_receipt_is_encoded_as_protobuf_encodes_it(receipt: Receipt) -> None:
    assert encode_receipt(receipt) == receipt_to_wire(receipt).SerializeToString(deterministic=True)


@given(receipt=RECEIPTS)
def test_an_encoded_receipt_reads_back_as_it_was(receipt: Receipt) -> None:
    assert decode_receipt(encode_receipt(receipt)) == receipt


@given(number=UINT64 | st.sampled_from([0, 127, 128, 16_383, 16_384]))
def test_a_varint_is_protobufs(number: int) -> None:
    assert pb.Receipt(gas_used=number).SerializeToString() == (b"\x30" + varint(number) if number else b"")
