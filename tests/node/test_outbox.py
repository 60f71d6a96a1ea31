"""What waits for a peer: bounded, vital first, and never a vital message lost in silence."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from consensus.types import NO_ROUND, BlockId, Height, Proposal, Round, ValidatorId, Vote, VoteKind
from gridbft.v1 import peer_pb2 as pb
from node.events import Memory, PeerId, SendMemory, SendTxs, SendVotes
from node.outbox import Lane, Outbox
from node.outgoing import TX_BYTES_PER_MESSAGE, TXS_PER_MESSAGE, Outgoing, bitmap_bytes, tx_batches


def _drained(outbox: Outbox) -> list[bytes]:
    taken = []
    while (raw := outbox.take()) is not None:
        taken.append(raw)
    return taken


@given(st.lists(st.tuples(st.sampled_from(Lane), st.binary(max_size=30)), max_size=40))
def test_vital_messages_come_first_and_all_of_them_or_the_stream_ends(puts: list[tuple[Lane, bytes]]) -> None:
    outbox = Outbox(vital_bytes=200, bulk_bytes=100)
    taken_in = [outbox.put(lane, raw) for lane, raw in puts]
    ended = False in taken_in
    vital = [raw for lane, raw in puts if lane is Lane.VITAL]
    assert ended == (sum(map(len, vital)) > 200)
    if ended:
        return
    taken = _drained(outbox)
    assert taken[: len(vital)] == vital
    statuses = [raw for lane, raw in puts if lane is Lane.STATUS]
    rest = taken[len(vital) :]
    if statuses:
        assert rest.pop(0) == statuses[-1]
    bulk = [raw for lane, raw in puts if lane is Lane.BULK]
    assert rest == bulk[len(bulk) - len(rest) :]
    assert sum(map(len, rest)) <= 100
    assert outbox.dropped == len(bulk) - len(rest)


def test_room_comes_back_when_messages_are_taken() -> None:
    outbox = Outbox(vital_bytes=10)
    for _ in range(5):
        assert outbox.put(Lane.VITAL, bytes(10))
        assert outbox.take() == bytes(10)


def test_a_reader_wakes_for_a_message() -> None:
    async def scenario() -> bytes:
        outbox = Outbox()
        reader = asyncio.create_task(outbox.get())
        await asyncio.sleep(0)
        outbox.put(Lane.BULK, b"x")
        return await reader

    assert asyncio.run(scenario()) == b"x"


@given(st.lists(st.integers(1, 300_000).map(bytes), max_size=12))
def test_batches_hold_every_transaction_once_and_fit(raws: list[bytes]) -> None:
    batches = [list(b) for b in tx_batches(raws)]
    assert [raw for batch in batches for raw in batch] == raws
    assert all(len(b) == 1 or sum(map(len, b)) <= TX_BYTES_PER_MESSAGE for b in batches)


def test_batches_are_cut_by_number_too() -> None:
    assert [len(b) for b in tx_batches([b"x"] * (2 * TXS_PER_MESSAGE + 1))] == [TXS_PER_MESSAGE, TXS_PER_MESSAGE, 1]


def test_one_turns_votes_share_a_message_and_go_before_everything_else() -> None:
    sent: list[tuple[PeerId | None, Lane, pb.PeerMessage]] = []
    outgoing = Outgoing(lambda to, lane, raw: sent.append((to, lane, pb.PeerMessage.FromString(raw))))
    me, other = ValidatorId(b"\x01" * 20), PeerId(ValidatorId(b"\x02" * 20))
    votes = [Vote(kind, Height(3), Round(0), BlockId(bytes(32)), me, bytes(64)) for kind in VoteKind]
    outgoing.add(SendTxs(None, (b"a",)))
    outgoing.add(SendVotes(None, (votes[0],)))
    outgoing.add(SendVotes(other, (votes[1],)))
    outgoing.add(SendTxs(None, (b"b",)))
    memory = Memory(
        Height(3), (votes[0],), (Proposal(Height(3), Round(0), BlockId(bytes(32)), NO_ROUND, me, bytes(64)),)
    )
    outgoing.add(SendMemory(other, memory))
    outgoing.add(SendVotes(None, (votes[1],)))
    outgoing.flush()
    outgoing.flush()
    assert (len(sent), outgoing.has_txs) == (3, True), "a busy host waits before it passes them on"
    outgoing.flush_txs()
    outgoing.flush_txs()
    assert not outgoing.has_txs
    assert [(to, lane, m.WhichOneof("kind")) for to, lane, m in sent] == [
        (None, Lane.VITAL, "votes"),
        (other, Lane.VITAL, "votes"),
        (other, Lane.VITAL, "votes"),
        (None, Lane.BULK, "txs"),
    ]
    assert len(sent[0][2].votes.votes) == 2
    recalled = sent[2][2].votes
    assert (recalled.recalled_height, len(recalled.votes), len(recalled.recalled_proposals)) == (3, 1, 1)
    assert list(sent[3][2].txs.txs) == [b"a", b"b"]


@given(st.integers(0, 2**200))
def test_a_bitmap_comes_back(bits: int) -> None:
    assert int.from_bytes(bitmap_bytes(bits), "little") == bits


def test_outgoing_sends_nothing_before_the_turn_ends() -> None:
    sent: list[bytes] = []
    outgoing = Outgoing(lambda to, lane, raw: sent.append(raw))
    outgoing.add(SendTxs(None, (b"a",)))
    assert not sent
