"""Snapshots between simulated machines: what each one offers, what a liar makes of it, and a wiped machine that begins from one.

The production code judges and restores (`chain.snapshot`); asking is instant, for how chunks travel is `node.snapsync`'s affair.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from chain import snapshot
from chain.hashes import digest
from chain.kv import KV
from chain.ledger import Ledger
from chain.snapshot import Offer, SnapshotError, chunks_of, decode_offer, encode_offer, make_offer
from chain.store import BlockStore
from chain.system import VALIDATORS
from chain.wire import encode_commit
from contracts.runtime.codec import decode, encode

if TYPE_CHECKING:
    from devnet.simnet.byzantine import Byzantine
    from devnet.simnet.machine import Machine

Entries = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """The state after block `height`, before the next block changes it."""

    height: int
    validators: bytes
    entries: Entries


@dataclass(frozen=True, slots=True)
class Snapshot:
    offer: Offer
    chunks: tuple[bytes, ...]


def draft_of(ledger: Ledger) -> Draft:
    validators = ledger.view.get(VALIDATORS)
    assert validators is not None, "the state names its validators"
    return Draft(ledger.head.height, validators, tuple(ledger.store.state_entries()))


def proved(draft: Draft, store: BlockStore) -> Snapshot | None:
    """Once the next block stands."""
    offer = make_offer(store, draft.height, draft.validators, (), 0)
    return None if offer is None else _with_entries(offer, draft.entries)


def _with_entries(offer: Offer, entries: Sequence[tuple[bytes, bytes]]) -> Snapshot:
    chunks = tuple(chunks_of(entries))
    hashes, total = tuple(map(digest, chunks)), sum(map(len, chunks))
    return Snapshot(replace(offer, chunk_hashes=hashes, total_bytes=total), chunks)


# --- a wiped machine --------------------------------------------------------------------------------------------------


def begin_from_newest(machine: Machine, kv: KV) -> None:
    """The newest snapshot that is proved, of all that the others offer; of equal ones those of liars come first. Without any
    `kv` stays empty."""
    world = machine.world
    for other, offered in sorted(_offers(machine), key=lambda o: (-o[1].offer.height, o[0].honest, o[0].index)):
        fault = snapshot.offer_fault(offered.offer, world.genesis, world.verify)
        if fault is None:
            try:
                snapshot.restore(kv, offered.offer, offered.chunks)
            except SnapshotError as error:
                fault = str(error)
        if fault is None:
            world.note(machine, f"begins from the snapshot of {other.name} after {offered.offer.height}")
            return
        world.note(machine, f"refuses the snapshot of {other.name}: {fault}")


def _offers(machine: Machine) -> Iterator[tuple[Machine, Snapshot]]:
    world = machine.world
    for other in world.machines:
        links = {(machine.index, other.index), (other.index, machine.index)}
        offered = other.offered() if other is not machine and other.running and not links & world.cut else None
        if offered is None:
            continue
        try:
            offer = decode_offer(encode_offer(offered.offer))
        except ValueError as error:
            world.note(machine, f"refuses the offer of {other.name}: {error}")
        else:
            yield other, Snapshot(offer, offered.chunks)


# --- a liar -----------------------------------------------------------------------------------------------------------


def forged(liar: Byzantine, true: Snapshot) -> Snapshot:
    """Another state under a true proof, a true state under a false one, or chunks that are not those of the offer."""
    random = liar.world.random
    how = random.choice(("richer", "poorer", "later", "own proof", "flipped", "cut off"))
    liar.world.note(liar, f"offers a snapshot that is {how}")
    offer, entries = true.offer, list(snapshot.entries_in(true.chunks))
    match how:
        case "richer":  # somebody's money is another
            at = random.choice([i for i, (key, value) in enumerate(entries) if _is_number(value)])
            entries[at] = entries[at][0], encode(decode(entries[at][1]) + 1)
            return _with_entries(offer, entries)
        case "poorer":
            del entries[random.randrange(len(entries))]
            return _with_entries(offer, entries)
        case "later":
            return replace(true, offer=replace(offer, height=offer.height + 1))
        case "own proof":
            block = liar.world.town.decoded(liar.ledger.store.block_bytes(offer.height + 1) or b"")
            return replace(true, offer=replace(offer, next_commit=encode_commit(liar.false_commit(block))))
        case "flipped":
            chunk = bytearray(true.chunks[0])
            chunk[random.randrange(len(chunk))] ^= 1
            return replace(true, chunks=(bytes(chunk), *true.chunks[1:]))
        case _:
            return replace(true, chunks=true.chunks[:-1])


def _is_number(value: bytes) -> bool:
    try:
        return type(decode(value)) is int
    except ValueError:
        return False
