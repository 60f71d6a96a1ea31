"""Receipts: what each transaction did, in bytes that the next header vouches for."""

from __future__ import annotations

from dataclasses import dataclass

import msgpack

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
    return receipt_to_wire(receipt).SerializeToString(deterministic=True)


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


def pack_list(items: list[bytes]) -> bytes:
    packed: bytes = msgpack.packb(items)
    return packed


def unpack_list(raw: bytes) -> list[bytes]:
    items: list[bytes] = msgpack.unpackb(raw)
    return items
