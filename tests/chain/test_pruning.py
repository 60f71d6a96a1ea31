"""Pruning forgets bodies and never what proofs need; a block that is taken back leaves the node as it was before it."""

from dataclasses import replace
from pathlib import Path

import pytest

from chain import merkle
from chain.block import decode_block, decode_header
from chain.ledger import Ledger
from chain.leveldb import LevelKV
from chain.memory import MemoryKV
from chain.pruning import LEAST_KEPT, compact, prune, roll_back
from chain.receipt import decode_receipt, encode_receipt, pack_list
from chain.store import RECEIPTS, CorruptStoreError, at_height
from contracts.runtime.api import Event
from contracts.runtime.engine import MeteredRuntime
from node.ed25519 import verify
from tests.chain.network import Chain, genesis, pay

GENESIS = genesis()


def grown(blocks: int) -> Chain:
    c = Chain(GENESIS)
    for n in range(blocks):
        c.grow(c.tx("alice", pay("bob", 10 + n)))
    return c


def reopened(c: Chain) -> Ledger:
    return Ledger(c.kv, MeteredRuntime(), GENESIS, verify)


def test_pruned_heights_keep_header_and_commit_and_nothing_else() -> None:
    c = grown(9)
    ids = [c.ledger.store.header(h) for h in range(1, 10)]
    tx_ids = [block_tx(c, h) for h in range(1, 10)]
    done = prune(c.kv, keep=4)
    assert (done.blocks, done.receipts_kept, done.earliest) == (5, 0, 6)
    store = reopened(c).store
    assert store.earliest() == 6
    for height in range(1, 10):
        gone = height < 6
        assert (store.block_bytes(height) is None) is gone
        assert (store.receipts(height) is None) is gone
        assert (store.find_tx(tx_ids[height - 1]) is None) is gone
        assert store.header(height) == ids[height - 1]
        assert store.commit(height) is not None
    assert prune(c.kv, keep=4).blocks == 0


def block_tx(c: Chain, height: int) -> bytes:
    receipts = c.ledger.store.receipts(height)
    assert receipts
    return decode_receipt(receipts[0]).tx_id


def test_the_chain_goes_on_after_pruning() -> None:
    c = grown(9)
    prune(c.kv, keep=0)
    assert c.ledger.store.earliest() == 9 - LEAST_KEPT + 1
    assert c.grow(c.tx("bob", pay("alice", 3))) == [(True, "")]
    assert reopened(c).head == c.ledger.head


def test_receipts_with_a_retirement_stay_provable_after_their_block_is_pruned() -> None:
    c = grown(8)
    receipts = [decode_receipt(raw) for raw in c.ledger.store.receipts(2) or ()]
    # The chain of this test has no certificates; what pruning looks at is the name of an event in a receipt.
    retired = encode_receipt(replace(receipts[0], events=(Event("certificates", "Retired", b"\x80"),)))
    c.kv.write([(at_height(RECEIPTS, 2), pack_list([retired]))])
    done = prune(c.kv, keep=4)
    assert done.receipts_kept == 1
    store = c.ledger.store
    assert store.block_bytes(2) is None
    assert store.find_tx(receipts[0].tx_id) == (2, 0)
    found = c.ledger.prove_receipt(2, 0)
    assert found is not None
    proof, header_bytes, commit_bytes = found
    assert decode_header(header_bytes).height == 3
    assert commit_bytes == store.commit_bytes(3)
    assert merkle.verify(merkle.root([retired]), retired, proof)


def test_a_bounded_call_prunes_the_oldest_first() -> None:
    c = grown(9)
    assert prune(c.kv, keep=4, most=2).earliest == 3
    assert prune(c.kv, keep=4, most=2).earliest == 5
    assert prune(c.kv, keep=4, most=2).earliest == 6
    assert prune(c.kv, keep=4, most=2).blocks == 0


def test_a_damaged_header_stops_the_pruning_and_is_named() -> None:
    c = grown(9)
    commit = c.ledger.store.commit_bytes(3)
    assert commit is not None
    c.kv.write([(at_height(b"c", 2), commit)])
    with pytest.raises(CorruptStoreError, match="height 2"):
        prune(c.kv, keep=4)
    assert c.ledger.store.earliest() == 1


def test_pruning_an_empty_store_does_nothing() -> None:
    assert prune(MemoryKV(), keep=10).blocks == 0


def test_a_pruned_store_on_disk_shrinks_after_compaction(tmp_path: Path) -> None:
    kv = LevelKV(tmp_path / "db")
    c = Chain(GENESIS, kv)
    for _ in range(40):
        c.grow(*[c.tx("alice", pay("bob", 1)) for _ in range(40)])
    kv.close()  # what is in the log moves into tables when the store is opened again
    kv = LevelKV(tmp_path / "db")
    before = sum(f.stat().st_size for f in (tmp_path / "db").iterdir())
    prune(kv, keep=4)
    compact(kv)
    kv.close()
    LevelKV(tmp_path / "db").close()
    after = sum(f.stat().st_size for f in (tmp_path / "db").iterdir())
    assert after < before / 2


def test_a_block_that_is_taken_back_leaves_everything_as_before_it() -> None:
    c = grown(4)
    before_head, before_state = c.ledger.head, dict(c.ledger.store.state_entries())
    raw_tx = c.tx("alice", pay("carol", 77))
    c.grow(raw_tx)
    raw, commit = c.ledger.store.block_bytes(5), c.ledger.store.commit(5)
    after_head = c.ledger.head
    assert roll_back(c.kv, GENESIS) == before_head
    ledger = reopened(c)
    assert ledger.head == before_head
    assert dict(ledger.store.state_entries()) == before_state
    assert ledger.store.block_bytes(5) is None
    assert ledger.store.find_tx(raw_tx.id) is None
    assert raw is not None
    assert commit is not None
    block, _ = decode_block(raw, GENESIS.chain_id)
    assert ledger.decided_fault(block, commit) is None
    assert ledger.apply(block, commit) == after_head


def test_the_first_block_can_be_taken_back_to_the_genesis() -> None:
    c = Chain(GENESIS)
    at_genesis = c.ledger.head
    c.grow(c.tx("alice", pay("bob", 1)))
    assert roll_back(c.kv, GENESIS) == at_genesis
    assert reopened(c).head == at_genesis
    with pytest.raises(CorruptStoreError, match="genesis"):
        roll_back(c.kv, GENESIS)


def test_only_as_many_blocks_are_taken_back_as_can_be_undone() -> None:
    c = grown(5)
    roll_back(c.kv, GENESIS)
    roll_back(c.kv, GENESIS)
    with pytest.raises(CorruptStoreError, match="not kept"):
        roll_back(c.kv, GENESIS)
    assert reopened(c).head.height == 3
