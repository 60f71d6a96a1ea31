"""The ledger: what a block does is durable as a whole, provable, and the same when it is replayed."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain import merkle
from chain.block import decode_block, make_block
from chain.evidence import encode_evidence
from chain.ledger import Ledger
from chain.memory import MemoryKV
from chain.refusal import Code
from chain.stateproof import verify_absent, verify_present
from chain.store import CorruptStoreError, at_height
from chain.wire import encode_commit
from consensus.evidence import double_vote
from consensus.proposer import benched
from consensus.signbytes import vote_sign_bytes
from consensus.types import BlockId, CommitStatus, Height, Round, ValidatorId, Vote, VoteKind
from contracts.runtime.codec import decode, encode
from contracts.runtime.engine import MeteredRuntime
from node.ed25519 import verify
from tests.chain.network import CLIENTS, FUNDS_MICROS, Chain, call, genesis, pay
from tests.chain.txs import address_of, key_of


def balance(c: Chain, name: str) -> int:
    outcome, _ = c.ledger.query("payments", "balance", encode([address_of(name)]), "", 10**7)
    assert outcome.ok, outcome.code
    amount: int = decode(outcome.result)
    return amount


def test_a_payment_moves_money_and_a_refused_one_leaves_only_its_nonce() -> None:
    c = Chain(genesis())
    assert c.grow(c.tx("alice", pay("bob", 300)), c.tx("bob", pay("carol", FUNDS_MICROS + 301))) == [
        (True, ""),
        (False, "INSUFFICIENT_BALANCE"),
    ]
    assert (balance(c, "alice"), balance(c, "bob")) == (FUNDS_MICROS - 300, FUNDS_MICROS + 300)
    assert c.ledger.next_nonce(address_of("bob")) == 1


def test_calls_of_one_transaction_happen_all_or_none() -> None:
    c = Chain(genesis())
    assert c.grow(c.tx("alice", pay("bob", 5), pay("bob", FUNDS_MICROS))) == [(False, "INSUFFICIENT_BALANCE")]
    assert balance(c, "alice") == FUNDS_MICROS


def test_calls_to_what_does_not_exist_are_refused_at_the_door_with_what_does() -> None:
    c = Chain(genesis())
    nothing = c.ledger.unknown_call(c.tx("alice", call("nothing", "f")))
    missing = c.ledger.unknown_call(c.tx("alice", call("payments", "frobnicate")))
    assert nothing is not None
    assert nothing.code is Code.UNKNOWN_CONTRACT
    assert missing is not None
    assert missing.code is Code.UNKNOWN_FUNCTION
    assert "transfer" in missing.message


payments = st.lists(
    st.tuples(st.sampled_from(CLIENTS), st.sampled_from(CLIENTS), st.integers(-1, FUNDS_MICROS * 2)), max_size=12
)


@settings(max_examples=25, deadline=None)
@given(st.lists(payments, min_size=1, max_size=4))
def test_replaying_the_blocks_gives_the_same_roots_and_money_is_conserved(
    blocks: list[list[tuple[str, str, int]]],
) -> None:
    c, again = Chain(genesis()), Chain(genesis())
    for block in blocks:
        c.grow(*[c.tx(sender, pay(to, amount)) for sender, to, amount in block])
    for height in range(1, c.ledger.head.height + 1):
        raw, commit = c.ledger.store.block_bytes(height), c.ledger.store.commit(height)
        assert raw is not None
        assert commit is not None
        replayed, _ = decode_block(raw, c.genesis.chain_id)
        assert again.ledger.decided_fault(replayed, commit) is None
        again.ledger.apply(replayed, commit)
    assert again.ledger.head == c.ledger.head
    assert sum(balance(c, name) for name in CLIENTS) == len(CLIENTS) * FUNDS_MICROS


def test_a_ledger_opened_again_stands_where_it_stood() -> None:
    c = Chain(genesis())
    c.grow(c.tx("alice", pay("bob", 7)))
    c.grow()
    reopened = Ledger(c.kv, MeteredRuntime(), c.genesis, verify)
    assert reopened.head == c.ledger.head
    assert reopened.system == c.ledger.system


def test_a_store_of_another_network_is_refused() -> None:
    c = Chain(genesis())
    with pytest.raises(CorruptStoreError, match="another network"):
        Ledger(c.kv, MeteredRuntime(), genesis(contracts=()), verify)


def test_a_batch_that_fails_leaves_the_ledger_at_the_end_of_the_last_block() -> None:
    class Failing(MemoryKV):
        fails = False

        def write(self, puts: object, deletes: object = (), *, sync: bool = True) -> None:
            if self.fails:
                raise OSError(28, "no space left")
            super().write(puts, deletes, sync=sync)  # type: ignore[arg-type]

    kv = Failing()
    c = Chain(genesis(), kv)
    c.grow(c.tx("alice", pay("bob", 7)))
    before = c.ledger.head
    kv.fails = True
    with pytest.raises(OSError, match="no space"):
        c.grow(c.tx("alice", pay("bob", 8)))
    kv.fails = False
    reopened = Ledger(kv, MeteredRuntime(), c.genesis, verify)
    assert reopened.head == before
    assert reopened.store.block_bytes(2) is None


def test_what_a_view_read_is_proved_under_the_newest_header() -> None:
    c = Chain(genesis())
    c.grow(c.tx("alice", pay("bob", 7)))
    c.grow(c.tx("alice", pay("bob", 8)))
    for ledger in (c.ledger, Ledger(c.kv, MeteredRuntime(), c.genesis, verify)):
        proved = ledger.prove_query("payments", "balance", encode([address_of("bob")]), "", 10**7)
        assert proved is not None
        assert decode(proved.outcome.result) == FUNDS_MICROS + 7  # as header 2 vouches for: after block 1
        found = ledger.store.header(2)
        assert found is not None
        assert proved.header_bytes == found[1]
        for read in proved.reads:
            if read.value is None:
                assert verify_absent(found[0].state_root, read.key, read.proof)
            else:
                assert verify_present(found[0].state_root, read.key, read.value, read.proof)
                assert not verify_present(found[0].state_root, read.key, read.value + b"x", read.proof)


def test_a_receipt_is_proved_by_the_next_header_and_not_before_there_is_one() -> None:
    c = Chain(genesis())
    c.grow(c.tx("alice", pay("bob", 7)), c.tx("bob", pay("alice", 1)))
    assert c.ledger.prove_receipt(1, 1) is None
    c.grow()
    found = c.ledger.prove_receipt(1, 1)
    header = c.ledger.store.header(2)
    assert found is not None
    assert header is not None
    receipts = c.ledger.store.receipts(1) or []
    assert merkle.verify(header[0].receipt_root, receipts[1], found[0])
    assert not merkle.verify(header[0].receipt_root, receipts[0], found[0])


def test_a_flipped_bit_in_a_stored_block_is_named_and_not_served() -> None:
    c = Chain(genesis())
    c.grow(c.tx("alice", pay("bob", 7)))
    raw = bytearray(c.kv.get(at_height(b"b", 1)) or b"")
    raw[len(raw) // 4] ^= 1
    c.kv.write([(at_height(b"b", 1), bytes(raw))])
    with pytest.raises(CorruptStoreError, match="height 1"):
        c.ledger.store.block_bytes(1)


def test_every_field_of_a_header_is_checked() -> None:
    c = Chain(genesis())
    c.grow(c.tx("alice", pay("bob", 7)))
    good = c.propose(c.tx("alice", pay("bob", 8)))
    assert c.ledger.fault(good) is None
    assert good.last_commit is not None
    wrong: dict[str, Any] = {
        "version": 2,
        "chain_id": "other",
        "height": Height(5),
        "parent": BlockId(bytes(32)),
        "state_root": bytes(32),
        "receipt_root": bytes(32),
        "validators_hash": bytes(32),
        "next_validators_hash": bytes(32),
        "time_ms": c.ledger.head.time_ms,
        "proposer": ValidatorId(bytes(20)),
    }
    for field, value in wrong.items():
        header = dataclasses.replace(good.header, **{field: value})
        bad = make_block(header, good.txs, (), encode_commit(good.last_commit), good.last_commit)
        assert c.ledger.fault(bad) is not None, field


def test_nonces_expiry_gas_and_replays_make_a_block_invalid() -> None:
    c = Chain(genesis())
    first = c.tx("alice", pay("bob", 7))
    c.grow(first)
    assert "nonce" in (c.ledger.fault(c.propose(first)) or "")
    assert "nonce" in (c.ledger.fault(c.propose(c.tx("alice", pay("bob", 1), nonce=2))) or "")
    late = c.tx("alice", pay("bob", 1), nonce=1)._replace(expiry_height=1)
    assert "expired" in (c.ledger.fault(c.propose(late)) or "")
    greedy = c.tx("alice", pay("bob", 1), nonce=1)._replace(gas_limit=10**12)
    assert "gas" in (c.ledger.fault(c.propose(greedy)) or "")


def test_a_last_commit_is_checked_entry_by_entry() -> None:
    c = Chain(genesis())
    c.grow()
    good = c.propose()
    commit = good.last_commit
    assert commit is not None
    swapped = dataclasses.replace(commit, entries=(commit.entries[1], commit.entries[0], *commit.entries[2:]))
    doubled = dataclasses.replace(commit, entries=(commit.entries[0], *commit.entries[:3]))
    unsigned = dataclasses.replace(
        commit, entries=(dataclasses.replace(commit.entries[0], signature=bytes(64)), *commit.entries[1:])
    )
    for bad in (swapped, doubled, unsigned):
        block = make_block(good.header, (), (), encode_commit(bad), bad)
        assert "last commit" in (c.ledger.fault(block) or "")
        assert c.ledger.decided_fault(good, bad) is not None
    assert any(e.status is CommitStatus.COMMIT for e in commit.entries)


def double_vote_of(c: Chain, name: str, height: int) -> bytes:
    key = key_of(name)
    who = next(v for v in c.ledger.system.last_validators.validators if v.name == name)
    votes = []
    for block_id in (None, BlockId(b"x" * 32)):
        vote = Vote(VoteKind.PREVOTE, Height(height), Round(0), block_id, who.id)
        votes.append(dataclasses.replace(vote, signature=key.sign(vote_sign_bytes(c.genesis.chain_id, vote)).signature))
    return encode_evidence(double_vote(*votes))


def test_evidence_stands_once_and_costs_the_vote_where_the_parameter_says_so() -> None:
    params = dataclasses.replace(genesis().params, evidence_removes=1)
    c = Chain(genesis(params))
    c.grow()
    evidence = double_vote_of(c, "v2", 1)
    assert "twice" in (c.ledger.fault(c.propose(evidence=(evidence, evidence))) or "")
    c.grow(evidence=(evidence,))
    assert "on the chain already" in (c.ledger.fault(c.propose(evidence=(evidence,))) or "")
    c.grow()
    assert sorted(v.name for v in c.ledger.system.validators.validators) == ["v0", "v1", "v3"]
    assert [height for height, _ in c.ledger.evidence(0, 10)] == [2]


def test_faults_of_the_past_do_not_count_once_their_validator_is_on_record() -> None:
    """A key can sign endless pairs of votes for old heights and rounds: each used to cost a place in a block and in the state."""
    c = Chain(genesis())
    c.grow()
    c.grow()
    older, newer = double_vote_of(c, "v2", 1), double_vote_of(c, "v2", 2)
    assert "against one validator twice" in (c.ledger.fault(c.propose(evidence=(older, newer))) or "")
    c.grow(evidence=(newer, double_vote_of(c, "v3", 2)))
    for height in (1, 2, 3):
        again = c.propose(evidence=(double_vote_of(c, "v2", height),))
        assert "on the chain already" in (c.ledger.fault(again) or "")
    c.grow()
    c.grow(evidence=(double_vote_of(c, "v2", 4),))
    assert [height for height, _ in c.ledger.evidence(0, 10)] == [3, 3, 5]


def test_evidence_is_only_recorded_where_the_parameter_says_no_more() -> None:
    c = Chain(genesis())
    c.grow()
    c.grow(evidence=(double_vote_of(c, "v2", 1),))
    c.grow()
    assert len(c.ledger.system.validators) == 4


def test_a_proposer_that_misses_its_turn_is_benched_by_the_commit_in_the_next_block() -> None:
    c = Chain(genesis())
    missed = c.ledger.system.turns.proposer(Round(0))
    c.grow(round_=1)
    assert benched(c.ledger.system.standings) == frozenset()
    c.grow()
    assert benched(c.ledger.system.standings) == {missed}
    assert c.ledger.system.turns.order[-1] == missed
