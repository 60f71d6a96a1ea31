"""One simulated machine: a disk that survives, and the production node that runs on it until the power is cut."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from chain.block import Block, decode_block
from chain.ledger import Ledger
from chain.wire import decode_commit
from consensus.types import Commit, Proposal, ValidatorId, Vote
from devnet.simnet.disk import PowerCutError, VirtualDisk, VirtualStore
from node.events import (
    AnswerClient,
    Apply,
    BlockApplied,
    BlocksReceived,
    Effect,
    Event,
    EvidenceReceived,
    PeerDown,
    PeerUp,
    Penalise,
    Persist,
    ProposalReceived,
    Report,
    RequestBlocks,
    SendEvidence,
    SendProposal,
    SendStatus,
    SendTxs,
    SendVotes,
    SetTimer,
    Sign,
    Signed,
    SignRefused,
    StatusReceived,
    Timer,
    TimerFired,
    TxsReceived,
    VotesReceived,
)
from node.recovery import started
from node.replica import Replica
from node.signer import FileSigner, Refused
from node.wal import WriteAheadLog

if TYPE_CHECKING:
    from devnet.simnet.world import World

LOG = Path("wal")
GUARD = Path("signer.log")
SERVED_BLOCKS = 20


@dataclass(slots=True)
class Machine:
    """`skew_ms` is how far its clock is off; `slow_ms` what it adds to everything it sends."""

    index: int
    name: str
    id: ValidatorId
    world: World
    disk: VirtualDisk
    skew_ms: int = 0
    slow_ms: int = 0
    running: bool = False
    silent: bool = False  # the signer found that it cannot know what it signed: follows, does not vote
    life: int = 0  # how often it was started; timers and messages of earlier lives are void
    replica: Replica = field(init=False)
    ledger: Ledger = field(init=False)
    wal: WriteAheadLog = field(init=False)
    signer: FileSigner = field(init=False)
    timers: dict[str, int] = field(default_factory=dict)
    _timer_serial: int = 0

    # --- life and death --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Boots from whatever the disk holds. A power cut during the boot is a boot that did not happen."""
        try:
            self._boot()
        except (PowerCutError, OSError):
            self._halt()

    def _boot(self) -> None:
        world = self.world
        self.life += 1
        self.timers.clear()
        if not self.disk.store:
            self.disk.store.update(world.genesis_store)
        self.ledger = Ledger(VirtualStore(self.disk), world.runtime, world.genesis, world.verify)
        self.wal, recovered = WriteAheadLog.open(LOG, self.disk)
        has_chain = self.ledger.head.height > 0 or bool(recovered.records)
        self.signer = world.open_signer(self, has_chain)
        self.replica = Replica(self.ledger, self.id, world.replica_config)
        self.running = True
        world.note(self, f"start at {self.ledger.head.height}")
        self._run(started(recovered.records, self.ledger.head.height + 1))
        for other in world.machines:
            if other is not self and other.running:
                self._run(PeerUp(other.id))
                other.deliver(PeerUp(self.id))

    def cut_power(self) -> None:
        if self.running:
            self._halt()

    def _halt(self) -> None:
        self.running = False
        self.world.note(self, "power cut")
        self.disk.lose_power(self.world.options.torn)
        self.world.when_halted(self)
        for other in self.world.machines:
            if other is not self:
                other.deliver(PeerDown(self.id))

    # --- events in, effects out ------------------------------------------------------------------------------------

    def deliver(self, event: Event) -> None:
        if not self.running:
            return
        try:
            self._run(event)
        except (PowerCutError, OSError):
            self._halt()

    def _run(self, event: Event) -> None:
        queue: deque[Event] = deque([event])
        while queue and self.running:
            for effect in self.replica.handle(queue.popleft(), self.clock_ms):
                self._carry_out(effect, queue)

    @property
    def clock_ms(self) -> int:
        return self.world.epoch_ms + self.world.now_ms + self.skew_ms

    def _carry_out(self, effect: Effect, queue: deque[Event]) -> None:
        match effect:
            case SendVotes(to, votes):
                self.world.send(self, to, VotesReceived(self.id, votes))
            case SendStatus(to, state):
                self.world.send(self, to, StatusReceived(self.id, state))
            case SetTimer(timer, delay_ms):
                self._set_timer(timer, delay_ms)
            case Persist(records):
                self.wal.append(records)
            case Sign(message):
                queue.append(self._signed(message))
            case SendProposal(to, proposal, raw_block):
                block = self.world.decoded(raw_block)
                self.world.send(self, to, ProposalReceived(self.id, proposal, block))
            case SendTxs(to, raw_txs):
                self.world.send(self, to, TxsReceived(self.world.decoded_txs(raw_txs), peer=self.id))
            case Apply(block, commit):
                queue.append(self._apply(block, commit))
            case SendEvidence(to, evidence):
                self.world.send(self, to, EvidenceReceived(self.id, evidence))
            case RequestBlocks(to, first, last):
                self.world.request_blocks(self, to, first, last)
            case AnswerClient(request, verdicts):
                self.world.answered(self, request, verdicts)
            case Penalise(peer, reason):
                self.world.penalised(self, peer, reason)
            case Report(event, fields):
                self.world.reported(self, event, fields)
            case _:
                assert_never(effect)

    def _signed(self, message: Vote | Proposal) -> Event:
        result = self.signer.sign(message)
        return SignRefused(message, result.reason) if isinstance(result, Refused) else Signed(result)

    def _apply(self, block: Block, commit: Commit) -> Event:
        head = self.ledger.apply(block, commit)
        self.wal.start_height(head.height + 1)
        self.world.applied(self, block, commit)
        return BlockApplied(block, head)

    def _set_timer(self, timer: Timer, delay_ms: int) -> None:
        self._timer_serial += 1
        serial, life = self._timer_serial, self.life
        self.timers[timer.kind] = serial

        def fire() -> None:
            if self.life == life and self.timers.get(timer.kind) == serial:
                self.deliver(TimerFired(timer))

        self.world.after(delay_ms, fire)

    # --- what others ask of its disk -------------------------------------------------------------------------------

    def serve_blocks(self, first: int, last: int) -> BlocksReceived:
        pairs = []
        for height in range(first, min(last, first + SERVED_BLOCKS - 1) + 1):
            raw, commit = self.ledger.store.block_bytes(height), self.ledger.store.commit_bytes(height)
            if raw is None or commit is None:
                break
            pairs.append((decode_block(raw, self.world.genesis.chain_id)[0], decode_commit(commit)))
        return BlocksReceived(self.id, tuple(pairs))
