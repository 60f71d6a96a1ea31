"""What final transactions did, in order, with what they were asked to do: the ground that bills and traces stand on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError

from chain.tx import tx_id
from contracts.energy.rosters import PAGE
from gridbft.client import Client
from gridbft.errors import VerificationError
from gridbft.records import BlockEvents
from gridbft.v1 import chain_pb2 as wire
from gridbft.values import decode


@dataclass(frozen=True, slots=True)
class Happened:
    """One event of a final transaction; `number` is its place among the transaction's events."""

    height: int
    time_ms: int
    tx_id: str
    index: int
    number: int
    contract: str
    name: str
    fields: Mapping[str, Any]

    @property
    def kind(self) -> tuple[str, str]:
        return self.contract, self.name

    @property
    def place(self) -> tuple[int, int, int]:
        """Its order among all events."""
        return self.height, self.index, self.number


@dataclass(frozen=True, slots=True)
class Asked:
    """One call of a transaction in a block, as its sender signed it."""

    tx_id: str
    sender: str
    contract: str
    function: str
    args: tuple[Any, ...]


def happened(block: BlockEvents) -> Iterator[Happened]:
    """All events of a block, in order."""
    for receipt in block.receipts:
        for number, e in enumerate(receipt.events):
            yield Happened(
                block.height, block.time_ms, receipt.tx_id, receipt.index, number, e.contract, e.name, e.fields
            )


def asked(raw_block: bytes) -> Iterator[Asked]:
    """All calls of an encoded Block's transactions. Raises VerificationError for what is no block."""
    try:
        for raw in wire.Block.FromString(raw_block).txs:
            body_bytes = wire.Tx.FromString(raw).body
            body = wire.TxBody.FromString(body_bytes)
            for call in body.calls:
                args = decode(call.args)
                listed = tuple(args) if isinstance(args, list) else (args,)
                yield Asked(tx_id(body_bytes).hex(), body.sender.hex(), call.contract, call.function, listed)
    except (DecodeError, ValueError) as error:
        raise VerificationError("BAD_BLOCK", "the node sent bytes that are no block") from error


async def blocks(
    client: Client, first: int, last: int, contracts: Iterable[str] = (), names: Iterable[str] = ()
) -> AsyncIterator[BlockEvents]:
    """The blocks from height `first` to `last`, which must be decided already, with the receipts that match."""
    if first > last:
        return
    stream = client.subscribe(first, tuple(contracts), tuple(names))
    try:
        async for block in stream:
            yield block
            if block.height >= last:
                return
    finally:
        await stream.aclose()  # type: ignore[attr-defined]


async def pages_with(client: Client, meters: Iterable[str]) -> dict[int, list[str]]:
    """The pages of rosters on which any of the meters has a place, each with all of its meters."""
    places = await client.query("rosters", "places_of", list(meters))
    numbers = sorted({place // PAGE for own in places for place in own})
    return {number: await client.query("rosters", "meters_of", number) for number in numbers}
