"""The host carries effects out in their order: the disk before the signature, the signature before the network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest

from chain.refusal import Code, Refusal
from chain.tx import Tx
from consensus.types import Height, Round, ValidatorId, Vote, VoteKind
from gridbft.v1 import peer_pb2 as pb
from node.events import (
    AnswerClient,
    Apply,
    BlockApplied,
    Effect,
    Event,
    EvidenceReceived,
    LoggedOwn,
    PeerUp,
    Persist,
    SendTxs,
    SendVotes,
    SetTimer,
    Sign,
    Signed,
    SignRefused,
    Started,
    Timer,
    TimerFired,
    TxsReceived,
)
from node.host import BATCH_BYTES, BULK_AFTER_BLOCK, BULK_BYTES, PEER_EVENTS, QUEUE_FULL, Host, Network
from node.outbox import Lane
from node.signer import Refused
from node.wal import WriteAheadLog
from tests.node.disks import FakeDisk

PEER = ValidatorId(b"\x02" * 20)
VOTE = Vote(VoteKind.PREVOTE, Height(1), Round(0), None, ValidatorId(b"\x01" * 20))
TX = Tx(b"id", b"key", b"raw", "sender", 0, 10, 10, ())

Answers = Callable[[Event], list[Effect]]


class Scripted:
    """A replica that says what the test says, and keeps what it was told."""

    is_behind = False

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self.events: list[Event] = []

    def handle(self, event: Event, now_ms: int) -> list[Effect]:
        self.events.append(event)
        return self._answers(event)


class NoChain:
    """A ledger at its genesis, to which any block can be applied without anything coming of it."""

    class head:  # noqa: N801 - stands for an attribute
        height = 0
        time_ms = 0

    def apply(self, block: object, commit: object) -> Any:
        return self.head


class StampingSigner:
    """Signs everything but what it is told to refuse; each signature goes into the trace."""

    def __init__(self, trace: list[str], refuse: bool) -> None:
        self._trace = trace
        self._refuse = refuse

    def sign(self, message: Any) -> Any:
        self._trace.append("sign")
        return Refused("signed another one before") if self._refuse else replace(message, signature=bytes(64))


def _run(
    answers: Answers,
    scenario: Callable[[Host, Scripted], Any] | None = None,
    refuse: bool = False,
    sent: list[tuple[float, bytes]] | None = None,
) -> tuple[Scripted, list[str]]:
    """Runs a host over a scripted replica until the scenario ends; gives what the replica heard, and the trace of disk,
    signer and network in their order. What is sent, and when, goes into `sent`."""
    replica, disk = Scripted(answers), FakeDisk()
    log, _ = WriteAheadLog.open(Path("wal"), disk)
    disk.trace.clear()

    def send(to: object, lane: Lane, raw: bytes) -> None:
        disk.trace.append("send")
        if sent is not None:
            sent.append((monotonic(), raw))

    async def run() -> None:
        signer = StampingSigner(disk.trace, refuse)
        fake_replica: Any = replica
        fake_ledger: Any = NoChain()
        network = Network(send, lambda peer, reason: None)
        host = Host(fake_replica, fake_ledger, signer, log, network, clock_ms=lambda: 0)
        task = asyncio.create_task(host.run(Started()))
        await asyncio.sleep(0)
        if scenario is not None:
            await scenario(host, replica)
        host.stop()
        await task

    asyncio.run(run())
    return replica, disk.trace


def test_a_vote_is_durable_before_it_is_signed_and_signed_before_it_is_sent() -> None:
    def answers(event: Event) -> list[Effect]:
        match event:
            case Started():
                return [Persist((LoggedOwn(VOTE),)), Sign(VOTE)]
            case Signed(Vote() as vote):
                return [SendVotes(None, (vote,))]
            case _:
                return []

    replica, trace = _run(answers)
    assert trace == ["append", "sync", "sign", "send"]
    assert replica.events[1] == Signed(replace(VOTE, signature=bytes(64)))


def test_what_the_guard_refuses_is_told_to_the_replica_and_never_sent() -> None:
    replica, trace = _run(lambda event: [Sign(VOTE)] if isinstance(event, Started) else [], refuse=True)
    assert replica.events[1] == SignRefused(VOTE, "signed another one before")
    assert "send" not in trace


def test_what_was_checked_while_a_block_was_applied_comes_before_the_next_height_but_cannot_put_it_off() -> None:
    block: Any = SimpleNamespace(txs=(), raw=b"")
    commit: Any = SimpleNamespace(round=0)

    def answers(event: Event) -> list[Effect]:
        return [Apply(block, commit)] if isinstance(event, PeerUp) else []

    async def scenario(host: Host, replica: Scripted) -> None:
        def a_thread_is_done(left: int) -> None:
            assert host.post_txs(TxsReceived((TX,), peer=PEER))
            if left:
                asyncio.get_running_loop().call_soon(a_thread_is_done, left - 1)

        host.post(PeerUp(PEER))
        asyncio.get_running_loop().call_soon(a_thread_is_done, 2 * BULK_AFTER_BLOCK)
        async with asyncio.timeout(5):
            while len(replica.events) < 3 + 2 * BULK_AFTER_BLOCK:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0)

    replica, _ = _run(answers, scenario)
    heard = [type(event) for event in replica.events]
    applied, height = heard.index(BlockApplied), heard.index(PeerUp)
    assert 1 <= heard[height:applied].count(TxsReceived) <= BULK_AFTER_BLOCK
    assert heard[applied:].count(TxsReceived) >= BULK_AFTER_BLOCK


def test_a_timer_that_is_set_again_replaces_the_one_of_its_kind() -> None:
    first, second, other = Timer("propose", 1, 0), Timer("propose", 1, 1), Timer("tick", 0)

    def answers(event: Event) -> list[Effect]:
        return [SetTimer(first, 1), SetTimer(other, 1), SetTimer(second, 1)] if isinstance(event, Started) else []

    async def scenario(host: Host, replica: Scripted) -> None:
        async with asyncio.timeout(5):
            while len(replica.events) < 3:  # noqa: ASYNC110 - what is waited for has no event of its own
                await asyncio.sleep(0.001)

    replica, _ = _run(answers, scenario)
    assert set(replica.events[1:]) == {TimerFired(other), TimerFired(second)}


def test_consensus_passes_waiting_transactions_but_does_not_starve_them() -> None:
    async def scenario(host: Host, replica: Scripted) -> None:
        host.post_txs(TxsReceived((TX,)))
        for _ in range(100):
            host.post(PeerUp(PEER))
        async with asyncio.timeout(5):
            while len(replica.events) < 102:  # noqa: ASYNC110 - what is waited for has no event of its own
                await asyncio.sleep(0)

    replica, _ = _run(lambda event: [], scenario)
    place = [isinstance(e, TxsReceived) for e in replica.events].index(True)
    assert 2 < place < 60


def test_a_peer_that_sends_without_end_is_read_no_faster_than_it_is_handled_and_holds_up_nobody_else() -> None:
    loud, quiet = PEER, ValidatorId(b"\x03" * 20)
    read: list[int] = []

    async def scenario(host: Host, replica: Scripted) -> None:
        async def stream() -> None:
            for number in range(10 * PEER_EVENTS):
                await host.post_from(loud, EvidenceReceived(loud, (b"%d" % number,)))
                read.append(number)

        flood = asyncio.create_task(stream())
        async with asyncio.timeout(5):
            while len(replica.events) <= 3 * PEER_EVENTS:
                handled = sum(isinstance(e, EvidenceReceived) for e in replica.events)
                assert len(read) - handled < PEER_EVENTS
                await host.post_from(quiet, PeerUp(quiet))
                await asyncio.sleep(0)
            await flood

    replica, _ = _run(lambda event: [], scenario)
    heard = [e.evidence[0] for e in replica.events if isinstance(e, EvidenceReceived)]
    assert heard == [b"%d" % number for number in range(len(heard))]
    assert len(read) == 10 * PEER_EVENTS
    assert PeerUp(quiet) in replica.events[: 2 * PEER_EVENTS]


def test_a_stream_that_waits_for_its_turn_is_let_go_when_the_host_stops() -> None:
    async def scenario(host: Host, replica: Scripted) -> None:
        host.stop()
        async with asyncio.timeout(5):
            for _ in range(2 * PEER_EVENTS):
                await host.post_from(PEER, PeerUp(PEER))

    _run(lambda event: [], scenario)


def test_a_client_gets_the_verdicts_of_its_own_request() -> None:
    refusal = Refusal(Code.EXPIRED, "too late")

    def answers(event: Event) -> list[Effect]:
        if isinstance(event, TxsReceived) and event.request is not None:
            return [AnswerClient(event.request, (refusal, None)[event.request :] * len(event.txs))]
        return []

    async def scenario(host: Host, replica: Scripted) -> None:
        first, second, none = await asyncio.gather(host.submit([TX]), host.submit([TX]), host.submit([]))
        assert (first[0], second[0], none) == (refusal, None, ())

    _run(answers, scenario)


@pytest.mark.parametrize("size", [0, 40_000, BULK_BYTES // 4])
def test_more_than_a_node_can_queue_is_refused_and_not_kept(size: int) -> None:
    batch = TxsReceived((TX._replace(raw=bytes(size)),) if size else ())
    fits = -(-BULK_BYTES // (BATCH_BYTES + size))

    async def scenario(host: Host, replica: Scripted) -> None:
        for _ in range(fits):
            assert host.post_txs(batch)
        assert not host.post_txs(batch)
        assert await host.submit([TX, TX]) == [QUEUE_FULL, QUEUE_FULL]
        while len(replica.events) < 1 + fits:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)
        for _ in range(fits):
            assert host.post_txs(batch), "what was handled left its room"

    _run(lambda event: [], scenario)


def test_a_busy_node_passes_on_in_one_message_what_came_within_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.host.RELAY_PAUSE_S", 0.3)
    sent: list[tuple[float, bytes]] = []

    async def scenario(host: Host, replica: Scripted) -> None:
        for n in range(4):
            host.post_txs(TxsReceived((TX._replace(raw=b"%d" % n),)))
        while len(sent) < 2:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)
        host.post_txs(TxsReceived((TX._replace(raw=b"4"),)))
        while len(sent) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0)

    def answers(event: Event) -> list[Effect]:
        return [SendTxs(None, tuple(tx.raw for tx in event.txs))] if isinstance(event, TxsReceived) else []

    _run(answers, scenario, sent=sent)
    messages = [list(pb.PeerMessage.FromString(raw).txs.txs) for _, raw in sent]
    assert messages == [[b"0"], [b"1", b"2", b"3"], [b"4"]]
    assert sent[1][0] - sent[0][0] > 0.29
    assert sent[2][0] - sent[1][0] > 0.29


def test_a_fault_of_the_replica_ends_the_host() -> None:
    def answers(event: Event) -> list[Effect]:
        if isinstance(event, PeerUp):
            raise AssertionError("ours")
        return []

    async def scenario(host: Host, replica: Scripted) -> None:
        host.post(PeerUp(PEER))
        await asyncio.sleep(0)

    with pytest.raises(AssertionError, match="ours"):
        _run(answers, scenario)


def test_clients_that_wait_are_told_when_the_host_stops() -> None:
    async def scenario(host: Host, replica: Scripted) -> None:
        waiting = asyncio.create_task(host.submit([TX]))
        await asyncio.sleep(0)
        host.stop()
        with pytest.raises(ConnectionAbortedError, match="stopping"):
            await waiting

    _run(lambda event: [], scenario)
