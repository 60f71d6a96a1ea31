"""Snapshots: restored only against a proved root; a liar's offer or chunk leaves nothing behind."""

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain import snapshot
from chain.block import decode_block, decode_header, encode_header
from chain.genesis import Genesis
from chain.hashes import digest
from chain.ledger import Ledger
from chain.memory import MemoryKV
from chain.snapshot import (
    Offer,
    SnapshotError,
    chunks_of,
    decode_offer,
    discard_unfinished,
    encode_offer,
    entries_in,
    make_offer,
    offer_fault,
    restore,
)
from chain.stateproof import place_of
from chain.staterecord import LONGEST_KEY
from chain.store import HEAD, RESTORING
from chain.system import VALIDATORS
from chain.wire import decode_commit, encode_commit
from consensus.proposer import order
from consensus.types import CommitEntry, CommitStatus, Height
from contracts.runtime.engine import MeteredRuntime
from node.ed25519 import verify
from tests.chain.network import Chain, genesis, pay

GENESIS = genesis()


def taken(c: Chain, blocks_after: int = 1) -> tuple[Offer, list[bytes]]:
    """A snapshot of the chain where it stands, proved by the block that then follows."""
    height = c.ledger.head.height
    validators = c.ledger.view.get(VALIDATORS)
    assert validators is not None
    chunks = list(chunks_of(c.ledger.store.state_entries()))
    for _ in range(blocks_after):
        c.grow(c.tx("alice", pay("bob", 1)))
    offer = make_offer(c.ledger.store, height, validators, [digest(x) for x in chunks], sum(map(len, chunks)))
    assert offer is not None
    return offer, chunks


def grown(blocks: int = 3) -> Chain:
    c = Chain(GENESIS)
    for n in range(blocks):
        c.grow(c.tx("alice", pay("bob", 10 + n)))
    return c


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.binary(min_size=1, max_size=40), st.binary(max_size=300), max_size=60), st.integers(1, 400))
def test_entries_come_back_out_of_chunks_cut_anywhere(entries: dict[bytes, bytes], size: int) -> None:
    in_order = sorted(entries.items(), key=lambda pair: place_of(pair[0]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshot, "CHUNK_BYTES", size)
        chunks = list(chunks_of(in_order))
        assert all(len(c) == size for c in chunks[:-1])
        assert list(entries_in(chunks)) == in_order
        if chunks:
            with pytest.raises(SnapshotError):
                list(entries_in([*chunks[:-1], chunks[-1] + b"\x00"]))


def test_a_restored_node_stands_where_the_snapshot_was_taken_and_goes_on_with_the_same_roots() -> None:
    c = grown()
    offer, chunks = taken(c)
    assert offer_fault(decode_offer(encode_offer(offer)), GENESIS, verify) is None
    kv = MemoryKV()
    head = restore(kv, offer, chunks)
    other = Ledger(kv, MeteredRuntime(), GENESIS, verify)
    assert other.head == head
    assert (other.head.height, other.store.earliest()) == (3, 4)
    assert other.store.block_bytes(3) is None
    assert other.prove_query("payments", "supply", b"\x90", "", 10**6) is None
    for height in (4, 5):
        if c.ledger.head.height < height:
            c.grow(c.tx("alice", pay("carol", 7)))
        raw = c.ledger.store.block_bytes(height)
        commit = c.ledger.store.commit(height)
        assert raw is not None
        assert commit is not None
        block = decode_block(raw, GENESIS.chain_id)[0]
        assert other.decided_fault(block, commit) is None
        other.apply(block, commit)
    assert other.head == c.ledger.head
    assert dict(other.store.state_entries()) == dict(c.ledger.store.state_entries())
    assert other.prove_query("payments", "supply", b"\x90", "", 10**6) is not None


def test_a_restored_node_can_propose_at_once() -> None:
    c = grown()
    offer, chunks = taken(c)
    kv = MemoryKV()
    restore(kv, offer, chunks)
    joined = Chain(GENESIS, kv)
    block = joined.propose()
    assert block.header.height == 4
    assert joined.ledger.fault(block) is None


def test_whose_turn_it_is_comes_with_the_proven_state() -> None:
    """A node that began from a snapshot and guessed the order of proposers would refuse what all others accept."""
    c = Chain(GENESIS)
    c.grow(round_=1)
    c.grow()
    in_turn, before = c.ledger.system.turns, c.ledger.system.last_turns
    assert in_turn != order(c.ledger.system.validators, Height(3)), "somebody is benched"
    kv = MemoryKV()
    restore(kv, *taken(c))
    joined = Ledger(kv, MeteredRuntime(), GENESIS, verify)
    assert (joined.system.turns, joined.system.last_turns) == (in_turn, before)


def test_a_snapshot_shows_the_state_at_the_call_though_blocks_follow_while_it_is_drawn() -> None:
    c = grown()
    entries = c.ledger.store.state_entries()
    expected = dict(c.ledger.store.state_entries())
    c.grow(c.tx("alice", pay("bob", 5)))
    assert dict(entries) == expected
    assert dict(c.ledger.store.state_entries()) != expected


def _fault(offer: Offer) -> str:
    fault = offer_fault(offer, GENESIS, verify)
    assert fault is not None
    return fault


def test_an_offer_with_any_part_exchanged_is_refused() -> None:
    c = grown()
    offer, _ = taken(c, blocks_after=2)
    another, _ = taken(c)
    assert "height" in _fault(replace(offer, height=4))
    assert "height" in _fault(replace(offer, header=another.header))
    assert "height" in _fault(replace(offer, next_header=another.next_header))
    other_time = replace(decode_header(offer.header), time_ms=1)
    assert "does not follow" in _fault(replace(offer, header=encode_header(other_time)))
    assert "commit is refused" in _fault(replace(offer, next_commit=another.next_commit))
    assert "last commit" in _fault(replace(offer, last_commit=another.last_commit))
    assert "validators" in _fault(replace(offer, validators=offer.validators[: len(offer.validators) // 4]))
    assert "malformed" in _fault(replace(offer, header=b"nonsense"))


def test_an_offer_of_another_chain_is_refused() -> None:
    offer, _ = taken(grown())
    other = replace(GENESIS, chain_id="elsewhere")
    fault = offer_fault(offer, other, verify)
    assert fault is not None
    assert "another chain" in fault


def test_a_commit_without_a_quorum_or_with_a_forged_signature_proves_no_snapshot() -> None:
    offer, _ = taken(grown())
    commit = decode_commit(offer.next_commit)
    absent = [CommitEntry(CommitStatus.ABSENT, e.validator) for e in commit.entries]
    few = replace(commit, entries=(*absent[:2], *commit.entries[2:]))
    assert "NO_QUORUM" in _fault(replace(offer, next_commit=encode_commit(few)))
    forged = replace(commit.entries[0], signature=bytes(64))
    bad = replace(commit, entries=(forged, *commit.entries[1:]))
    assert "BAD_SIGNATURE" in _fault(replace(offer, next_commit=encode_commit(bad)))


def test_validators_that_the_genesis_does_not_know_prove_no_snapshot_however_many_of_them_sign() -> None:
    """A set of one's own making signs whatever one likes: at least a third of the genesis must stand behind it."""
    c = grown()
    offer, _ = taken(c)
    strangers = replace(
        GENESIS, members=tuple(replace(m, public_key=bytes([n]) * 32) for n, m in enumerate(GENESIS.members))
    )
    fault = offer_fault(offer, strangers, verify)
    assert fault is not None
    assert "too few" in fault
    # Two of four are half of the power, which is enough; one of four is not.
    assert offer_fault(offer, _knowing(2), verify) is None
    assert offer_fault(offer, _knowing(1), verify) is not None


def _knowing(count: int) -> Genesis:
    members = [m if n < count else replace(m, public_key=bytes([n]) * 32) for n, m in enumerate(GENESIS.members)]
    return replace(GENESIS, members=tuple(members))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_changed_byte_of_an_offer_is_accepted_as_another_state(data: st.DataObject) -> None:
    offer, chunks = OFFERED
    raw = bytearray(encode_offer(offer))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    try:
        changed = decode_offer(bytes(raw))
    except ValueError:
        return
    if offer_fault(changed, GENESIS, verify) is not None:
        return
    kv = MemoryKV()
    try:
        head = restore(kv, changed, chunks)
    except SnapshotError:
        assert len(kv) == 0
        return
    assert head.state_root == _root(offer)


def _root(offer: Offer) -> bytes:
    return decode_header(offer.next_header).state_root


OFFERED = taken(grown())


def test_a_changed_left_out_or_further_entry_restores_nothing() -> None:
    offer, chunks = OFFERED
    entries = list(entries_in(chunks))
    key, value = entries[7]
    for wrong in (
        [*entries[:7], (key, value + b"!"), *entries[8:]],
        entries[:-1],
        sorted([*entries, (b"\xff" * 9, b"more")], key=lambda pair: place_of(pair[0])),
        sorted([*entries, (bytes(LONGEST_KEY + 1), b"more")], key=lambda pair: place_of(pair[0])),
        [*entries[:7], entries[8], entries[7], *entries[9:]],
    ):
        lying = list(chunks_of(wrong))
        kv = MemoryKV()
        lie = replace(offer, chunk_hashes=tuple(digest(c) for c in lying), total_bytes=sum(map(len, lying)))
        with pytest.raises(SnapshotError):
            restore(kv, lie, lying)
        assert len(kv) == 0
    with pytest.raises(SnapshotError, match="hash"):
        restore(MemoryKV(), offer, [chunks[0][:-1]])
    with pytest.raises(SnapshotError, match="chunks"):
        restore(MemoryKV(), offer, [])


def test_a_restoration_that_a_crash_cut_short_starts_over() -> None:
    offer, chunks = OFFERED
    kv = CrashingKV(writes=2)
    with pytest.raises(KeyboardInterrupt):
        restore(kv, offer, chunks)
    assert kv.get(HEAD) is None
    assert kv.get(RESTORING) is not None
    assert len(kv) > 1
    again = kv.copy()
    assert discard_unfinished(again)
    assert len(again) == 0
    assert restore(again, offer, chunks).height == 3
    # Without any snapshot the chain begins at its genesis, and nothing of the half state is left in it.
    ledger = Ledger(kv.copy(), MeteredRuntime(), GENESIS, verify)
    assert dict(ledger.store.state_entries()) == dict(Chain(GENESIS).ledger.store.state_entries())


class CrashingKV(MemoryKV):
    """Loses power at a write."""

    def __init__(self, writes: int) -> None:
        super().__init__()
        self._left = writes

    def write(self, puts: Iterable[tuple[bytes, bytes]], deletes: Iterable[bytes] = (), *, sync: bool = True) -> None:
        if self._left == 0:
            raise KeyboardInterrupt
        self._left -= 1
        super().write(puts, deletes, sync=sync)


def test_offers_that_lie_about_their_size_are_malformed() -> None:
    offer, _ = OFFERED
    for wrong in (
        replace(offer, chunk_hashes=()),
        replace(offer, chunk_hashes=(b"short",)),
        replace(offer, chunk_hashes=offer.chunk_hashes * 2),
        replace(offer, total_bytes=0),
    ):
        with pytest.raises(ValueError, match="offer"):
            decode_offer(encode_offer(wrong))
    with pytest.raises(ValueError, match="offer"):
        decode_offer(b"\xff\xff\xff")
