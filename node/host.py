"""Runs one replica: events in by priority, effects out in their order, the disk before the network.

One asyncio task does it all, so nothing here needs a lock. A fault of our own (an exception in the replica, the
ledger, the log or the signer) ends `run`: a node that does not know where it stands must not go on voting.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import assert_never

import structlog

from chain.block import Block
from chain.ledger import Ledger
from chain.refusal import Code, Refusal
from chain.tx import Tx
from consensus.types import Commit, Proposal, Vote
from node.events import (
    AnswerClient,
    Apply,
    BlockApplied,
    Effect,
    Event,
    PeerId,
    Penalise,
    Persist,
    Report,
    RequestBlocks,
    SendEvidence,
    SendMemory,
    SendProposal,
    SendStatus,
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
from node.finality import ReceiptWaiters, Tip
from node.meters import BlockMeter
from node.outgoing import Outgoing, Send
from node.replica import Replica
from node.signer import Refused, Signer
from node.stages import PROCESS
from node.wal import WriteAheadLog

PEER_EVENTS = 8  # of one peer that may wait; more of its stream is not read before
BULK_BYTES = 64 * 1024 * 1024  # of transactions that may wait; consensus never waits behind them
BATCH_BYTES = 1_024  # what a batch of them takes besides, at least
RELAY_PAUSE_S = 0.02  # a busy node passes on in one message what came meanwhile: each costs some 0.3 ms in all
URGENT_IN_A_ROW = 32  # then a batch of transactions gets its turn
BULK_AFTER_BLOCK = 32  # at most so many that were checked meanwhile come before the replica hears of an applied block
EVENTS_BETWEEN_BREATHS = 8  # then the loop may read from sockets
BREATHS_AFTER_BLOCK = 4  # from a thread's verdict on signatures to the event: a block keeps the loop for long

Verdict = Refusal | None
WARNINGS = frozenset({"clock_off", "sign_refused", "equivocation", "block_refused"})
QUEUE_FULL = Refusal(Code.MEMPOOL_FULL, "this node has too much to do: send again later")

log = structlog.get_logger("host")


def bytes_of(event: TxsReceived) -> int:
    """What a waiting batch counts for."""
    return BATCH_BYTES + sum([len(tx.raw) for tx in event.txs])


@dataclass(frozen=True, slots=True)
class Network:
    """What a host needs of its peers."""

    send: Send
    penalise: Callable[[PeerId, str], None]
    applied: Callable[[int], None] = lambda height: None
    """A block was applied: who keeps the store, or follows who is a member, looks now."""


class Host:
    """`signer` None: an observer. `clock_ms` gives Unix time. Built on a running loop."""

    def __init__(
        self,
        replica: Replica,
        ledger: Ledger,
        signer: Signer | None,
        wal: WriteAheadLog,
        network: Network,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.replica = replica
        self.ledger = ledger
        ledger.lap = PROCESS.lap
        self.tip = Tip(ledger.head.height)
        self.receipts = ReceiptWaiters()
        self.meter = BlockMeter()
        self._signer = signer
        self._wal = wal
        self._network = network
        self._clock_ms = clock_ms
        self._outgoing = Outgoing(network.send)
        # Bounded: PEER_EVENTS of each peer (`post_from`), what the few kinds of timers tell, one applied block, and that a peer
        # came or went, which takes it a handshake each.
        self._urgent: deque[tuple[Event, PeerId | None]] = deque()
        self._waiting_of: dict[PeerId, int] = {}
        self._handled = asyncio.Event()
        self._bulk: deque[TxsReceived] = deque()
        self._bulk_room = BULK_BYTES
        self._urgent_in_a_row = 0
        self._bulk_first = 0  # batches of transactions that come before whatever is urgent
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._relayed_s = -RELAY_PAUSE_S  # when transactions were passed on last, in the loop's time
        self._relaying: asyncio.TimerHandle | None = None
        self._requests: dict[int, asyncio.Future[tuple[Verdict, ...]]] = {}
        self._next_request = 0
        self._wake = asyncio.Event()
        self._stopping = False
        self._crash: BaseException | None = None

    # --- events in ------------------------------------------------------------------------------------------------

    def post(self, event: Event) -> None:
        """Anything of this node's own: handled before transactions, in order."""
        self._urgent.append((event, None))
        self._wake.set()

    async def post_from(self, peer: PeerId, event: Event) -> None:
        """The same of a peer, whose next message is to be read when this returns: who sends faster than this node handles it
        fills its own connection and not this node's memory."""
        waiting = self._waiting_of
        waiting[peer] = waiting.get(peer, 0) + 1
        self._urgent.append((event, peer))
        self._wake.set()
        while waiting.get(peer, 0) >= PEER_EVENTS and not self._stopping:
            await self._handled.wait()

    def post_txs(self, event: TxsReceived) -> bool:
        """False when too many wait already."""
        if self._bulk_room <= 0 or self._stopping:
            return False
        self._bulk_room -= bytes_of(event)
        self._bulk.append(event)
        self._wake.set()
        return True

    async def submit(self, txs: Sequence[Tx]) -> Sequence[Verdict]:
        """A client's checked transactions; a verdict for each."""
        if not txs:
            return ()
        request = self._next_request
        self._next_request += 1
        if not self.post_txs(TxsReceived(tuple(txs), request=request)):
            return [QUEUE_FULL] * len(txs)
        future: asyncio.Future[tuple[Verdict, ...]] = asyncio.get_running_loop().create_future()
        self._requests[request] = future
        try:
            return await future
        finally:
            del self._requests[request]

    def stop(self) -> None:
        """`run` returns after the event at hand."""
        self._stopping = True
        self._wake.set()
        self._handled.set()

    def crashed(self, error: BaseException) -> None:
        """A fault of our own outside of this task: `run` raises it."""
        self._crash = self._crash or error
        self._wake.set()

    # --- the one task -----------------------------------------------------------------------------------------------

    async def run(self, started: Started) -> None:
        """Until `stop`. Raises whatever went wrong in our own code or on our own disk."""
        self._turn(started)
        try:
            handled = 0
            while not self._stopping and self._crash is None:
                event = self._next_event()
                if event is None:
                    self._wake.clear()
                    await self._wake.wait()
                    continue
                self._turn(event)
                handled += 1
                if self._bulk_first:
                    for _ in range(BREATHS_AFTER_BLOCK):
                        await asyncio.sleep(0)
                elif handled % EVENTS_BETWEEN_BREATHS == 0:
                    await asyncio.sleep(0)
            if self._crash is not None:
                raise self._crash
        finally:
            self._wind_up()

    def _next_event(self) -> Event | None:
        """Urgent ones first, but not for ever: a chain that never rests must still let transactions in. Those that were
        checked while a block was applied come before the next height: whoever proposes it should propose them too."""
        if self._bulk and self._bulk_first:
            self._bulk_first -= 1
            return self._next_bulk()
        if self._urgent and not (self._bulk and self._urgent_in_a_row >= URGENT_IN_A_ROW):
            self._urgent_in_a_row += 1
            self._bulk_first = 0
            event, peer = self._urgent.popleft()
            if peer is not None:
                self._one_less_of(peer)
            return event
        self._urgent_in_a_row = 0
        return self._next_bulk() if self._bulk else None

    def _next_bulk(self) -> TxsReceived:
        event = self._bulk.popleft()
        self._bulk_room += bytes_of(event)
        return event

    def _one_less_of(self, peer: PeerId) -> None:
        left = self._waiting_of[peer] - 1
        if left:
            self._waiting_of[peer] = left
        else:
            del self._waiting_of[peer]
        self._handled.set()  # whoever waits looks again; who begins to wait later hears of the next one
        self._handled.clear()

    def _turn(self, event: Event) -> None:
        """One event and the signatures that it asks for. An applied block is the next turn's event: with one validator
        a block may follow from a block without end, and the loop must breathe between them."""
        following: deque[Event] = deque([event])
        while following:
            current = following.popleft()
            with PROCESS.measured("admission" if isinstance(current, TxsReceived) else "consensus"):
                effects = self.replica.handle(current, self._clock_ms())
            for effect in effects:
                answer = self._carry_out(effect)
                if answer is not None:
                    following.append(answer)
        with PROCESS.measured("consensus"):
            self._outgoing.flush()
        if self._outgoing.has_txs and self._relaying is None:
            self._pass_on()

    def _pass_on(self) -> None:
        """Transactions go to the peers at once where none went just before, else together with those that come until then."""
        loop = asyncio.get_running_loop()
        wait_s = self._relayed_s + RELAY_PAUSE_S - loop.time()
        if wait_s > 0:
            self._relaying = loop.call_later(wait_s, self._pass_on)
            return
        self._relaying = None
        self._relayed_s = loop.time()
        with PROCESS.measured("consensus"):
            self._outgoing.flush_txs()

    def _carry_out(self, effect: Effect) -> Signed | SignRefused | None:
        match effect:
            case (
                SendVotes()
                | SendMemory()
                | SendProposal()
                | SendStatus()
                | SendTxs()
                | SendEvidence()
                | RequestBlocks()
            ):
                self._outgoing.add(effect)
            case Persist(records):
                with PROCESS.measured("store"):
                    self._wal.append(records)
            case Sign(message):
                return self._sign(message)
            case SetTimer(timer, delay_ms):
                self._set_timer(timer, delay_ms)
            case Apply(block, commit):
                self._urgent.appendleft((self._apply(block, commit), None))
            case AnswerClient(request, verdicts):
                future = self._requests.get(request)
                if future is not None and not future.done():
                    future.set_result(verdicts)
            case Penalise(peer, reason):
                self._network.penalise(peer, reason)
            case Report(name, fields):
                (log.warning if name in WARNINGS else log.info)(name, **dict(fields))
            case _:
                assert_never(effect)
        return None

    def _sign(self, message: Vote | Proposal) -> Signed | SignRefused:
        assert self._signer is not None, "an observer's replica asked for a signature"
        with PROCESS.measured("consensus"):
            signed = self._signer.sign(message)
        return SignRefused(message, signed.reason) if isinstance(signed, Refused) else Signed(signed)

    def _set_timer(self, timer: Timer, delay_ms: int) -> None:
        before = self._timers.get(timer.kind)
        if before is not None:
            before.cancel()
        loop = asyncio.get_running_loop()
        self._timers[timer.kind] = loop.call_later(delay_ms / 1_000, self.post, TimerFired(timer))

    def _apply(self, block: Block, commit: Commit) -> BlockApplied:
        """In this task, as long as a block takes less than a time-out: nothing else may read half of it."""
        begun = time.perf_counter()
        head = self.ledger.apply(block, commit)
        took_ms = (time.perf_counter() - begun) * 1_000
        self._wal.start_height(head.height + 1)
        self.receipts.applied(block.txs, lambda: self.ledger.store.receipts(head.height) or ())
        self.tip.advance(head.height)
        self._network.applied(head.height)
        age_ms = self._clock_ms() - head.time_ms
        fresh = not self.replica.is_behind
        self.meter.applied(len(block.txs), len(block.raw), commit.round, took_ms / 1_000, age_ms / 1_000, fresh)
        log.info(
            "block",
            height=head.height,
            round=commit.round,
            txs=len(block.txs),
            took_ms=round(took_ms, 1),
            age_ms=age_ms,
        )
        self._bulk_first = BULK_AFTER_BLOCK
        return BlockApplied(block, head)

    def _wind_up(self) -> None:
        self.stop()
        for handle in (*self._timers.values(), self._relaying):
            if handle is not None:
                handle.cancel()
        for future in self._requests.values():
            if not future.done():
                future.set_exception(ConnectionAbortedError("the node is stopping"))
