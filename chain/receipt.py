"""Receipts: what each transaction did, in bytes that the next header vouches for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import msgpack
from google.protobuf.message import DecodeError

from chain.protowire import sized, text, varint
from contracts.runtime.api import Event
from gridbft.v1 import chain_pb2 as pb


@dataclass(frozen=True, slots=True)
class Receipt:
    """`code` is empty when ok; otherwise all calls were reverted and `failed_call` says which one was refused."""

    tx_id: bytes
    height: int
    index: int
    ok: bool
    code: str
    gas_used: int
    results: tuple[bytes, ...] = ()
    events: tuple[Event, ...] = ()
    failed_call: int = 0


def encode_receipt(receipt: Receipt) -> bytes:
    """Exactly what protobuf makes of `receipt_to_wire`."""
    return encoded_receipt(
        receipt.tx_id,
        receipt.height,
        receipt.index,
        receipt.ok,
        receipt.code,
        receipt.gas_used,
        receipt.results,
        receipt.events,
        receipt.failed_call,
    )


def encoded_receipt(
    tx_id: bytes,
    height: int,
    index: int,
    ok: bool,
    code: str,
    gas_used: int,
    results: tuple[bytes, ...],
    events: tuple[Event, ...],
    failed_call: int,
) -> bytes:
    """A Receipt of these fields, encoded without being made: fields by number, defaults left out."""
    parts = [b"\x0a", varint(len(tx_id)), tx_id] if tx_id else []
    if height:
        parts += (b"\x10", varint(height))
    if index:
        parts += (b"\x18", varint(index))
    if ok:
        parts.append(b"\x20\x01")
    if code:
        parts.append(text(b"\x2a", code))
    if gas_used:
        parts += (b"\x30", varint(gas_used))
    for result in results:
        parts += (b"\x3a", varint(len(result)), result)
    for contract, name, fields in events:
        event = _event_head(contract, name)
        if fields:
            size = varint(len(fields))
            parts += (b"\x42", varint(len(event) + 1 + len(size) + len(fields)), event, b"\x1a", size, fields)
        else:
            parts.append(sized(b"\x42", event))
    if failed_call:
        parts += (b"\x48", varint(failed_call))
    return b"".join(parts)


@lru_cache(maxsize=1_024)
def _event_head(contract: str, name: str) -> bytes:
    return text(b"\x0a", contract) + text(b"\x12", name)


def receipt_to_wire(receipt: Receipt) -> pb.Receipt:
    return pb.Receipt(
        tx_id=receipt.tx_id,
        height=receipt.height,
        index=receipt.index,
        ok=receipt.ok,
        code=receipt.code,
        gas_used=receipt.gas_used,
        results=receipt.results,
        events=[pb.Event(contract=e.contract, name=e.name, fields=e.fields) for e in receipt.events],
        failed_call=receipt.failed_call,
    )


def decode_receipt(raw: bytes) -> Receipt:
    """Raises ValueError on anything but an encoded receipt."""
    try:
        m = pb.Receipt.FromString(raw)
    except DecodeError as error:
        raise ValueError("these bytes are no encoded receipt") from error
    return Receipt(
        tx_id=m.tx_id,
        height=m.height,
        index=m.index,
        ok=m.ok,
        code=m.code,
        gas_used=m.gas_used,
        results=tuple(m.results),
        events=tuple(Event(e.contract, e.name, e.fields) for e in m.events),
        failed_call=m.failed_call,
    )


def pack_list(items: list[bytes]) -> bytes:
    packed: bytes = msgpack.packb(items)
    return packed


def unpack_list(raw: bytes) -> list[bytes]:
    items: list[bytes] = msgpack.unpackb(raw)
    return items
