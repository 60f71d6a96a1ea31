"""A replica among validators that misbehave, and under rules that change: it neither stops nor stands in its own way."""

from __future__ import annotations

from dataclasses import replace

from chain.block import decode_block
from chain.genesis import ChainParams
from chain.refusal import Code
from chain.tx import Tx
from consensus.lock import Lock, LockRecord
from consensus.types import Height, Round, Vote, VoteKind
from node.events import (
    AnswerClient,
    BlocksReceived,
    LoggedLock,
    PeerDown,
    PeerId,
    PeerUp,
    Penalise,
    SendTxs,
    SendVotes,
    SetTimer,
    Timer,
    TimerFired,
    TxsReceived,
)
from node.heightblocks import MAX_BLOCKS
from node.lockcodec import encode_lock
from node.replica import ABSENT, ReplicaConfig
from node.room import room_in
from tests.chain.network import Chain, call, genesis, pay
from tests.node.puppet import Puppet, at_height

PREVOTE, PRECOMMIT = VoteKind.PREVOTE, VoteKind.PRECOMMIT
RELAY_AGAIN_MS = ReplicaConfig().relay_again_ms
GAS = 50_000_000  # what the chain of these tests asks for in every transaction


# --- a proposer that is not there --------------------------------------------------------------------------------------


def waits_for_an_absent_one(p: Puppet) -> list[SetTimer]:
    return [e for e in p.effects if isinstance(e, SetTimer) and e.timer.kind == ABSENT]


def test_a_proposer_without_a_connection_is_waited_for_only_as_long_as_votes_are() -> None:
    p = follower()
    p.feed(PeerDown(PeerId(p.proposer())))
    p.fire("begin")
    assert waits_for_an_absent_one(p) == [SetTimer(Timer(ABSENT, 1, 0), ReplicaConfig().timeouts.prevote_ms)]
    p.fire(ABSENT)
    assert p.own_votes() == [(PREVOTE, 0, None)]


def test_a_proposer_that_loses_its_connection_before_it_proposed_is_waited_for_no_longer() -> None:
    p = follower()
    p.fire("begin")
    assert not waits_for_an_absent_one(p)
    p.feed(*(PeerDown(PeerId(other)) for other in p.others if other != p.proposer()))
    assert not waits_for_an_absent_one(p)
    p.feed(*(PeerUp(PeerId(other)) for other in p.others))
    p.feed(PeerDown(PeerId(p.proposer())))
    assert len(waits_for_an_absent_one(p)) == 1
    p.feed(*(PeerDown(PeerId(other)) for other in p.others if other != p.proposer()))
    assert len(waits_for_an_absent_one(p)) == 1, "another's loss does not begin the wait anew"
    p.fire(ABSENT)
    assert p.own_votes() == [(PREVOTE, 0, None)]


def test_a_proposer_that_is_back_is_waited_for_as_any_other() -> None:
    p = follower()
    p.fire("begin")
    p.feed(PeerDown(PeerId(p.proposer())), PeerUp(PeerId(p.proposer())))
    p.fire(ABSENT)
    assert not p.own_votes()
    p.fire("propose")
    assert p.own_votes() == [(PREVOTE, 0, None)]


def test_a_proposal_that_others_speak_of_is_waited_for_although_its_proposer_is_not_connected() -> None:
    """Only our line to it is cut: the others pass its block on."""
    p = follower()
    block = p.block()
    p.feed(PeerDown(PeerId(p.proposer())))
    p.fire("begin")
    p.vote(PREVOTE, block.id, p.proposer())
    p.fire(ABSENT)
    p.propose(block)
    p.fire(ABSENT)
    assert p.own_votes() == [(PREVOTE, 0, block.id)]


def test_a_proposal_whose_proof_is_on_its_way_is_waited_for_although_its_proposer_left() -> None:
    p = follower()
    later = next(r for r in range(1, 4) if p.proposer(r) != p.me)
    block = p.block(proposer=p.proposer(later))
    p.fire("begin")
    p.vote(PRECOMMIT, None, *p.others, round_=later)
    p.propose(block, later, pol_round=0)
    p.feed(PeerDown(PeerId(p.proposer(later))))
    p.fire(ABSENT, later)
    assert not p.own_votes()
    p.vote(PREVOTE, block.id, *p.others)
    assert p.own_votes() == [(PREVOTE, later, block.id)]


def test_nobody_doubts_itself() -> None:
    p = next(p for n in range(4) if (p := Puppet(n)).proposer() == p.me)
    p.fire("begin")
    p.feed(*(PeerDown(PeerId(other)) for other in p.others))
    assert not waits_for_an_absent_one(p)


def test_the_wait_for_an_absent_one_says_nothing_in_another_round() -> None:
    p = follower()
    absent = next(r for r in range(1, 4) if p.proposer(r) != p.me)
    p.feed(PeerDown(PeerId(p.proposer(absent))))
    p.fire("begin")
    p.vote(PRECOMMIT, None, *p.others, round_=absent)
    assert p.replica.round == absent
    (wait,) = waits_for_an_absent_one(p)
    timeouts = ReplicaConfig().timeouts
    assert wait.delay_ms == timeouts.prevote_ms + absent * timeouts.delta_ms
    p.fire(ABSENT, absent - 1)
    p.fire(ABSENT, absent + 1)
    p.feed(TimerFired(Timer(ABSENT, p.replica.height + 1, absent)))
    assert not p.own_votes()
    p.fire(ABSENT, absent)
    assert p.own_votes() == [(PREVOTE, absent, None)]


# --- blocks that come and go ------------------------------------------------------------------------------------------


def follower() -> Puppet:
    """A replica whose turn is not the first one."""
    return next(p for n in range(4) if (p := Puppet(n)).proposer() != p.me)


def test_a_proposer_that_offers_block_after_block_cannot_end_a_node_that_needs_the_first() -> None:
    """The blocks displaced one that a quorum then locked and decided: the node looked for it and stopped."""
    p = follower()
    first = p.block()
    p.propose(first)
    for n in range(2 * MAX_BLOCKS):
        p.propose(p.block(later_ms=n + 1))
    p.vote(PREVOTE, first.id, *p.others)
    p.vote(PRECOMMIT, first.id, *p.others)
    assert p.ledger.head.block_id == first.id


def test_a_block_that_was_displaced_is_judged_again_when_it_comes_again() -> None:
    p = follower()
    kept, first = p.block(later_ms=-1), p.block()
    p.propose(kept)
    p.propose(first)
    for n in range(2 * MAX_BLOCKS):
        p.propose(p.block(later_ms=n + 1))
    assert first.id not in p.replica._machine.verdicts
    p.vote(PRECOMMIT, first.id, *p.others)
    assert p.ledger.head.height == 0
    p.propose(first)
    assert p.ledger.head.block_id == first.id


def test_after_more_rounds_than_blocks_are_kept_a_new_one_is_still_judged() -> None:
    p = follower()
    p.fire("begin")
    for failed in range(MAX_BLOCKS + 8):
        if p.proposer(failed) != p.me:
            p.propose(p.block(proposer=p.proposer(failed), later_ms=failed), round_=failed)
        p.vote(PREVOTE, None, *p.others, round_=failed)
        p.vote(PRECOMMIT, None, *p.others, round_=failed)
        p.fire("precommit", failed)
    at = next(r for r in range(p.replica.round, p.replica.round + 2) if p.proposer(r) != p.me)
    last = p.block(proposer=p.proposer(at))
    p.vote(PRECOMMIT, last.id, *p.others, round_=at)
    p.propose(last, round_=at)
    assert p.ledger.head.block_id == last.id


def test_who_rejoined_with_a_lock_on_a_block_it_never_saw_leaves_it_to_others_to_propose() -> None:
    p = next(p for n in range(4) if (p := Puppet(n)).proposer() == p.me)
    unseen = p.block(later_ms=5)
    lock = Lock(Round(0), unseen.id)
    votes = tuple(p.signed(Vote(PREVOTE, Height(1), Round(0), unseen.id, v)) for v in p.others)
    p.log.append(LoggedLock(Height(1), encode_lock(LockRecord(Height(1), lock, lock, votes))))
    p.start()
    p.now_ms += 20_000
    p.fire("begin")
    for failed in range(4):
        p.fire("propose", failed)
        p.vote(PREVOTE, None, *p.others, round_=failed)
        p.vote(PRECOMMIT, None, *p.others, round_=failed)
        p.fire("precommit", failed)
    assert p.replica.round == 4
    assert not p.proposals()


def test_the_votes_that_led_into_a_round_survive_a_restart() -> None:
    """Whoever left a round without voting in it, by votes that a liar sent to nobody else, and then forgot these, left the
    others behind in that round for ever: its own signatures above keep it from voting there."""
    p = follower()
    p.fire("begin")
    p.vote(PRECOMMIT, None, *p.others)
    p.fire("precommit", 0)
    p.fire("propose", 1)
    assert [(kind, round_) for kind, round_, _ in p.own_votes()] == [(PREVOTE, 1)]
    p.start()
    p.fire("begin")
    p.now_ms += 10_000
    assert p.replica.round == 1
    p.status(p.others[0], at_height(1))
    sent = {v for e in p.effects if isinstance(e, SendVotes) and e.to == p.others[0] for v in e.votes}
    assert {v.validator for v in sent if (v.kind, v.round) == (PRECOMMIT, 0)} == set(p.others)


# --- what others send -------------------------------------------------------------------------------------------------


def test_a_fetched_block_needs_every_signature_of_its_commit_to_be_right_not_only_a_quorum() -> None:
    p = Puppet()
    block = p.chain.propose()
    commit = p.chain.commit(block)
    *first, last = commit.entries
    forged = replace(commit, entries=(*first, replace(last, signature=bytes(64))))
    liar, honest = p.others[0], p.others[1]
    p.status(liar, at_height(3))
    p.feed(BlocksReceived(liar, ((block, forged),)))
    assert [e.peer for e in p.effects if isinstance(e, Penalise)] == [liar]
    assert p.ledger.head.height == 0
    p.status(honest, at_height(3))
    p.feed(BlocksReceived(honest, ((block, commit),)))
    assert p.ledger.head.block_id == block.id


def test_blocks_that_nobody_asked_for_are_not_kept() -> None:
    p = Puppet()
    block = p.chain.propose()
    p.feed(BlocksReceived(p.others[0], ((block, p.chain.commit(block)),)))
    p.fire("tick")
    assert p.ledger.head.height == 0


def test_what_comes_from_a_peer_is_not_flooded_on() -> None:
    """Who takes a transaction from a client sends it to everybody, once; who hears it from a peer to nobody."""
    p = Puppet()
    heard, own = p.chain.tx("alice", pay("bob", 1)), p.chain.tx("bob", pay("alice", 1))
    p.feed(TxsReceived((heard,), peer=p.others[0]))
    assert not [e for e in p.effects if isinstance(e, SendTxs)]
    for _ in range(3):
        p.feed(TxsReceived((own,), request=1))
    assert [e.raw_txs for e in p.effects if isinstance(e, SendTxs)] == [(own.raw,)]


def test_what_waits_for_long_is_passed_on_again_and_what_a_block_took_meanwhile_is_not() -> None:
    """A busy node sent its oldest transactions to everybody every five seconds, though blocks were about to take them."""
    p = follower()
    taken, lost = p.chain.tx("alice", pay("bob", 1)), p.chain.tx("bob", pay("alice", 1))
    p.feed(TxsReceived((taken, lost), peer=p.others[0]))

    def passed_on() -> list[tuple[bytes, ...]]:
        p.effects.clear()
        p.now_ms += RELAY_AGAIN_MS
        p.fire("tick")
        return [e.raw_txs for e in p.effects if isinstance(e, SendTxs)]

    assert passed_on() == []
    p.sync(taken)
    assert passed_on() == [(lost.raw,)]
    assert passed_on() == [(lost.raw,)]
    p.sync(lost)
    assert passed_on() == []


# --- rules that change while transactions wait ------------------------------------------------------------------------


def lower(p: Puppet, parameter: str, value: int) -> None:
    """Governance sets a parameter in the next block."""
    c = p.chain
    votes = [c.tx(v, call("governance", "vote", 1, True)) for v in ("v1", "v2")]
    p.sync(c.tx("v0", call("governance", "propose_parameter", parameter, value)), *votes)


def own_block(p: Puppet) -> tuple[Tx, ...]:
    """What the replica proposes when its turn comes; the others find the block valid."""
    round_ = next(r for r in range(4) if p.proposer(r) == p.me)
    p.fire("begin")
    for failed in range(round_):
        p.fire("propose", failed)
        p.vote(PREVOTE, None, *p.others, round_=failed)
        p.vote(PRECOMMIT, None, *p.others, round_=failed)
        p.fire("precommit", failed)
    block, _ = decode_block(p.proposals()[-1].raw_block, p.chain.genesis.chain_id)
    assert p.ledger.fault(block) is None
    return block.txs


def test_a_lower_gas_limit_throws_out_what_waits_above_it_and_blocks_stay_valid() -> None:
    """Every proposer held the same transaction, so every block of every round was refused, for ever."""
    p = Puppet()
    waiting = p.chain.tx("alice", pay("bob", 1))
    p.feed(TxsReceived((waiting,)))
    lower(p, "max_tx_gas", GAS - 1)
    assert len(p.replica.mempool) == 0
    assert own_block(p) == ()


def test_what_no_block_can_hold_does_not_stand_in_the_way_of_the_rest() -> None:
    p = Puppet(chain=Chain(genesis(ChainParams(max_block_bytes=200_000))))
    large = p.chain.tx("alice", call("payments", "transfer", "x" * 90_000, 1))
    small = p.chain.tx("bob", pay("alice", 1))
    p.feed(TxsReceived((large, small)))
    lower(p, "max_block_bytes", 100_000)
    assert own_block(p) == (small,)
    p.feed(TxsReceived((large,), request=7))
    answer = next(e for e in reversed(p.effects) if isinstance(e, AnswerClient))
    assert answer.verdicts[0] is not None
    assert answer.verdicts[0].code is Code.TOO_LARGE


def test_more_gas_than_a_whole_block_has_is_refused_at_the_door() -> None:
    """A transaction that fits into no block kept the chain making empty ones as fast as it could."""
    p = Puppet(chain=Chain(genesis(ChainParams(max_block_gas=GAS - 1))))
    assert room_in(p.ledger.system).tx_gas == GAS - 1
    p.feed(TxsReceived((p.chain.tx("alice", pay("bob", 1)),)))
    assert not p.replica.mempool.has_ready
