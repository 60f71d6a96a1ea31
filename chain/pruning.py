"""What a node may forget, and taking back its last block. Both work on the store alone, whole batch by whole batch.

Of a pruned height the header and the commit stay: they are small (about 400 bytes and 100 for each validator) and every proof
about that height stands on them. Receipts stay where one of them holds an event that has to be provable for ever (a retired
certificate); all others go, with the bodies and the places of their transactions.
"""

from __future__ import annotations

from dataclasses import dataclass

from chain import merkle
from chain.genesis import Genesis
from chain.hashes import ZERO_HASH
from chain.kv import KV
from chain.receipt import decode_receipt
from chain.statetree import StateTree
from chain.store import (
    BLOCK,
    COMMIT,
    EARLIEST,
    HEAD,
    HEADER,
    RECEIPTS,
    TX,
    UNDO,
    BlockStore,
    CorruptStoreError,
    Head,
    at_height,
    encode_head,
)
from consensus.types import BlockId

LEAST_KEPT = 4  # the last blocks: what undoes them, and what peers one or two heights behind ask for
HEIGHTS_PER_BATCH = 100
LASTING_EVENTS = frozenset({"Retired"})


@dataclass(frozen=True, slots=True)
class Pruned:
    """`blocks` bodies are gone; `receipts_kept` of these heights kept their receipts for the proofs they carry."""

    blocks: int
    receipts_kept: int
    earliest: int


def prune(kv: KV, keep: int, most: int | None = None) -> Pruned:
    """Forgets all blocks but the last `keep` (at least LEAST_KEPT), of them at most `most` in this call, oldest first.

    After a crash in between some are gone and the store says so. The space is given back by `compact`.
    """
    store = BlockStore(kv)
    head, first = store.head(), store.earliest()
    last = 0 if head is None else head.height - max(keep, LEAST_KEPT)
    if most is not None:
        last = min(last, first + most - 1)
    kept = 0
    for start in range(first, last + 1, HEIGHTS_PER_BATCH):
        stop = min(start + HEIGHTS_PER_BATCH, last + 1)
        kept += _forget(kv, store, start, stop)
    return Pruned(max(last + 1 - first, 0), kept, max(last + 1, first))


def compact(kv: KV) -> None:
    """Gives the space of what was pruned back to the disk."""
    for kind in (BLOCK, RECEIPTS, TX):
        kv.compact(kind, bytes([kind[0] + 1]))


def _forget(kv: KV, store: BlockStore, start: int, stop: int) -> int:
    """One batch: the heights start <= h < stop. How many kept their receipts."""
    puts = [(EARLIEST, stop.to_bytes(8, "big"))]
    deletes: list[bytes] = []
    kept = 0
    for height in range(start, stop):
        header = store.header(height)
        if header is not None:
            puts.append((at_height(HEADER, height), header[1]))
        deletes.append(at_height(BLOCK, height))
        receipts = [decode_receipt(raw) for raw in store.receipts(height) or ()]
        if any(event.name in LASTING_EVENTS for receipt in receipts for event in receipt.events):
            kept += 1
            continue
        deletes.append(at_height(RECEIPTS, height))
        deletes += [TX + receipt.tx_id for receipt in receipts]
    kv.write(puts, deletes)
    return kept


def roll_back(kv: KV, genesis: Genesis) -> Head:
    """Takes the last block back: the state, receipts and head are those before it. The new head.

    The block stays decided: the node fetches it again, or decides it anew from its log. The signer's guard is not touched,
    so nothing is signed twice. Raises CorruptStoreError where the block or what undoes it is not there.
    """
    store = BlockStore(kv)
    head = store.head()
    if head is None or head.height == 0:
        raise CorruptStoreError("there is no block to take back: the chain stands at its genesis")
    height = head.height
    undo, found = store.undo(height), store.header(height)
    if undo is None or found is None:
        raise CorruptStoreError(
            f"block {height} cannot be taken back: what undoes it is not kept any more; sync this node from an empty store"
        )
    header = found[0]
    change = StateTree(kv, head.state_root).plan(undo)
    if change.root != header.state_root:
        raise CorruptStoreError(f"what undoes block {height} is damaged: sync this node from an empty store")
    receipts = [decode_receipt(raw) for raw in store.receipts(height) or ()]
    new = _head_before(store, genesis, height, header.parent, header.state_root, header.receipt_root)
    deletes = [at_height(kind, height) for kind in (BLOCK, HEADER, COMMIT, RECEIPTS, UNDO)]
    deletes += [TX + receipt.tx_id for receipt in receipts]
    kv.write([(HEAD, encode_head(new)), *change.puts], [*deletes, *change.deletes])
    return new


def _head_before(
    store: BlockStore, genesis: Genesis, height: int, parent: BlockId, state_root: bytes, receipt_root: bytes
) -> Head:
    if height == 1:
        return Head(0, BlockId(ZERO_HASH), genesis.time_ms, state_root, merkle.root([]))
    found = store.header(height - 1)
    if found is None:
        raise CorruptStoreError(f"the header of height {height - 1} is missing: sync this node from an empty store")
    return Head(height - 1, parent, found[0].time_ms, state_root, receipt_root)
