"""The load of meter readings: columns of whole pages of one roster, slot after slot, and what the chain must tell of them.

A reading counts when its transaction is final, and another node's receipt has the hash of the very columns that were
signed. Some readings are asked for one by one as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from random import Random
from typing import Any

from chain.refusal import Refusal
from chain.tx import TxCall, decode_tx
from contracts.energy.rosters import PAGE
from contracts.host import column_value
from contracts.runtime.codec import decode
from devnet.bench.town import ROSTER, meter
from gridbft import Client
from gridbft.readings import PAGES_AT_ONCE
from gridbft.records import EventRecord
from gridbft.requests import make_call

READINGS_PER_BATCH = PAGES_AT_ONCE * PAGE
FIRST_SLOT = 1_000
MASK = 0x7FF  # a reading has up to 2,047 Wh, less than what the meters here can feed in
ASKED_ONE_BY_ONE = 200


@dataclass(frozen=True, slots=True)
class Batch:
    """What one transaction says: columns of a slot from a page on."""

    slot: int
    first_page: int
    imports: Sequence[bytes]
    exports: Sequence[bytes]

    @property
    def reading_count(self) -> int:
        return sum(map(len, self.imports)) // 4

    @property
    def columns_hash(self) -> bytes:
        """As the event Packed has it."""
        pairs = zip(self.imports, self.exports, strict=True)
        return sha256(b"".join(sha256(column).digest() for pair in pairs for column in pair)).digest()


def calls(meters: int, draw: Random) -> Iterator[TxCall]:
    """One for each transaction: all meters for one slot, at most 15 pages at once, then the next slot."""
    pages = [min(PAGE, meters - first) for first in range(0, meters, PAGE)]
    slot = FIRST_SLOT
    while True:
        for first in range(0, len(pages), PAGES_AT_ONCE):
            lengths = pages[first : first + PAGES_AT_ONCE]
            imports, exports = ([_column(length, draw) for length in lengths] for _ in range(2))
            yield make_call("metering", "submit_packed", ROSTER, slot, first, imports, exports)
        slot += 1


def _column(length: int, draw: Random) -> bytes:
    mask = int.from_bytes(MASK.to_bytes(4, "little") * length, "little")
    return (int.from_bytes(draw.randbytes(4 * length), "little") & mask).to_bytes(4 * length, "little")


def batch_of(raw: bytes, chain_id: str) -> Batch:
    """What an encoded transaction of this load says."""
    decoded = decode_tx(raw, chain_id)
    assert not isinstance(decoded, Refusal)
    _, slot, first_page, imports, exports = decode(decoded[0].calls[0].args)
    return Batch(slot, first_page, imports, exports)


def counted(batch: Batch, events: Sequence[EventRecord]) -> int:
    """The readings that a receipt's events stand for; 0 unless they are about exactly these columns."""
    told = {event.name: event.fields for event in events if event.contract == "metering"}
    expected = {
        "slot": batch.slot,
        "first_page": batch.first_page,
        "reading_count": batch.reading_count,
        "columns_hash": batch.columns_hash,
    }
    packed: Mapping[str, Any] = told.get("Packed", {})
    return batch.reading_count if expected.items() <= packed.items() else 0


async def ask_for_some(client: Client, batches: Sequence[Batch]) -> tuple[int, int]:
    """(readings that the chain gave back as they were sent, readings asked for): some meters of some batches."""
    draw = Random(1)
    right = 0
    asked = min(ASKED_ONE_BY_ONE, sum(batch.reading_count for batch in batches))
    for _ in range(asked):
        batch = draw.choice(batches)
        page = draw.randrange(len(batch.imports))
        place = draw.randrange(len(batch.imports[page]) // 4)
        code = meter((batch.first_page + page) * PAGE + place)
        found = await client.query("metering", "reading", code, batch.slot)
        sent = (column_value(batch.imports[page], place), column_value(batch.exports[page], place), "DIRECT")
        right += found is not None and tuple(found) == sent
    return right, asked
