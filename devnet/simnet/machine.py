"""One simulated machine: a disk that survives, and the production node that runs on it until the power is cut."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from chain.block import Block
from chain.ledger import Ledger
from chain.snapshot import discard_unfinished
from chain.store import BlockStore
from consensus.types import Commit, Proposal, ValidatorId, Vote
from devnet.simnet.disk import PowerCutError, VirtualDisk, VirtualStore
from devnet.simnet.doorway import admit
from devnet.simnet.snapshots import Draft, Snapshot, begin_from_newest, draft_of, proved
from node.admission import Door, Fault
from node.events import (
    AnswerClient,
    Apply,
    BlockApplied,
    BlocksReceived,
    Effect,
    Event,
    EvidenceReceived,
    MemoryReceived,
    PeerDown,
    PeerUp,
    Penalise,
    Persist,
    ProposalReceived,
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


@dataclass(slots=True, eq=False)
class Machine:
    """`skew_ms` is how far its clock is off; `slow_ms` what it adds to everything it sends; `apply_ms` how long a block
    takes from the disk back to the replica."""

    index: int
    name: str
    id: ValidatorId
    world: World
    disk: VirtualDisk
    honest: bool = True  # runs the production code, and alone with its key: it is judged
    skew_ms: int = 0
    slow_ms: int = 0
    apply_ms: int = 0
    wiped_at: int | None = None  # when its disk was lost, until it is up to date again
    running: bool = False
    life: int = 0  # how often it was started; timers and messages of earlier lives are void
    replica: Replica = field(init=False)
    ledger: Ledger = field(init=False)
    wal: WriteAheadLog = field(init=False)
    signer: FileSigner = field(init=False)
    door: Door = field(init=False)
    snapshot: Snapshot | None = None
    draft: Draft | None = None  # of the next snapshot, once somebody asks
    timers: dict[str, int] = field(default_factory=dict)
    arrow: str = field(init=False)  # where its messages come from, in the trace
    _timer_serial: int = 0
    _applied: deque[Event] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.arrow = f" from {self.name}"

    # --- life and death --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Boots from whatever the disk holds. A power cut during the boot is a boot that did not happen."""
        if not self.running:
            self._guarded(self._boot)

    def _boot(self) -> None:
        world = self.world
        self.life += 1
        self.timers.clear()
        self._applied.clear()
        if world.snapshots:
            self._begin_from_snapshot()
        if not self.disk.store:
            self.disk.store.update(world.genesis_store)
        self.ledger = Ledger(VirtualStore(self.disk), world.runtime, world.genesis, world.verify)
        self.wal, recovered = WriteAheadLog.open(LOG, self.disk)
        has_chain = self.ledger.head.height > 0 or bool(recovered.records)
        self.signer = world.open_signer(self, has_chain)
        self.replica = Replica(self.ledger, self.id, world.replica_config, self.signer.last[0])
        self.door = Door(world.genesis.chain_id, self.replica.known_tx, self.replica.validators_at, None)
        self.running = True
        world.note(self, f"start at {self.ledger.head.height}")
        world.booted(self)
        self._run(started(recovered.records, self.ledger.head.height + 1))
        for other in world.machines:
            if other.id != self.id and other.running and not world.are_apart(self, other):
                self._run(PeerUp(other.id))
                other.deliver(PeerUp(self.id))

    @property
    def last_useful(self) -> int:
        """The last height of which messages are of use here; those further ahead are dropped."""
        return self.replica.height + 1

    def _begin_from_snapshot(self) -> None:
        """As node.process.prepare does it."""
        store = VirtualStore(self.disk)
        if self.wiped_at is not None and BlockStore(store).head() is None and GUARD not in self.disk.files:
            self.disk.replace(GUARD, b"")
        discard_unfinished(store)
        if self.wiped_at is not None and not self.disk.store:
            begin_from_newest(self, store)

    def cut_power(self) -> None:
        if self.running:
            self._halt()

    def _halt(self) -> None:
        self.running = False
        self.world.note(self, "power cut")
        self.disk.lose_power(self.world.torn)
        self.world.when_halted(self)
        for other in self.world.machines:
            if other.id != self.id:
                other.deliver(PeerDown(self.id))

    # --- events in, effects out ------------------------------------------------------------------------------------

    def deliver(self, event: Event) -> None:
        if self.running:
            try:
                self._run(event)
            except Exception as error:  # noqa: BLE001 - as in `_guarded`, which would be one more call at every message
                self._fell(error)

    def receive(self, peer: ValidatorId, raw: bytes) -> None:
        """Bytes from the network, through the production door."""
        admitted = admit(self.door, peer, raw)
        if isinstance(admitted, Fault):
            self.world.penalised(self, peer, admitted.reason)
        elif admitted is not None:
            self.deliver(admitted)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - whatever the node raises is a finding of the simulation, not a fault of it
            self._fell(error)

    def _fell(self, error: Exception) -> None:
        if isinstance(error, (PowerCutError, OSError)):
            self._halt()
        else:
            self.running = False
            self.world.crashed(self, error)

    def _run(self, event: Event) -> None:
        """As the production host does: the signatures that an event asks for belong to it, an applied block comes next."""
        world, handle, applied = self.world, self.replica.handle, self._applied
        now_ms = world.epoch_ms + world.now_ms + self.skew_ms  # clock_ms, without the call
        queue: deque[Event] = deque()
        while self.running:
            for effect in handle(event, now_ms):
                self._carry_out(effect, queue)
            if queue:
                event = queue.popleft()
            elif applied:
                event = applied.popleft()
            else:
                return

    @property
    def clock_ms(self) -> int:
        return self.world.epoch_ms + self.world.now_ms + self.skew_ms

    def _carry_out(self, effect: Effect, queue: deque[Event]) -> None:
        world = self.world
        match effect:
            case SetTimer(timer, delay_ms):
                self._set_timer(timer, delay_ms)
            case SendVotes(to, votes):
                world.send(self, to, VotesReceived(self.id, votes))
            case Persist(records):
                self.wal.append(records)
            case Sign(message):
                queue.append(self._signed(message))
            case SendStatus(to, state):
                world.send(self, to, StatusReceived(self.id, state))
            case SendProposal(to, proposal, raw_block):
                world.send(self, to, ProposalReceived(self.id, proposal, world.town.decoded(raw_block)))
            case SendTxs(to, raw_txs):
                world.send(self, to, TxsReceived(world.town.decoded_txs(raw_txs), peer=self.id))
            case Apply(block, commit):
                self._apply(block, commit)
            case SendMemory(asker, memory):
                world.send(self, asker, MemoryReceived(self.id, memory))
            case SendEvidence(to, evidence):
                world.send(self, to, EvidenceReceived(self.id, evidence))
            case RequestBlocks(to, first, last):
                world.request_blocks(self, to, first, last)
            case AnswerClient(request, verdicts):
                world.answered(self, request, verdicts)
            case Penalise(peer, reason):
                world.penalised(self, peer, reason)
            case Report(event, fields):
                world.reported(self, event, fields)
            case _:
                assert_never(effect)

    def _signed(self, message: Vote | Proposal) -> Event:
        result = self.signer.sign(message)
        return SignRefused(message, result.reason) if isinstance(result, Refused) else Signed(result)

    def _apply(self, block: Block, commit: Commit) -> None:
        before = draft_of(self.ledger) if self.world.snapshots else None
        head = self.ledger.apply(block, commit)
        if before is not None and before.height:
            self.draft = before
        self.wal.start_height(head.height + 1)
        self.world.applied(self, block, commit)
        answer = BlockApplied(block, head)
        if self.apply_ms:
            self._later(self.apply_ms, answer)
        else:
            self._applied.append(answer)

    def _later(self, delay_ms: int, event: Event) -> None:
        life = self.life
        self.world.after(delay_ms, lambda: self.deliver(event) if self.life == life else None)

    def _set_timer(self, timer: Timer, delay_ms: int) -> None:
        self._timer_serial += 1
        self.timers[timer.kind] = self._timer_serial
        self.world.after(delay_ms, self._fire, timer, self._timer_serial, self.life)

    def _fire(self, timer: Timer, serial: int, life: int) -> None:
        if self.life == life and self.timers.get(timer.kind) == serial:
            self.deliver(TimerFired(timer))

    # --- what others ask of its disk -------------------------------------------------------------------------------

    def offered(self) -> Snapshot | None:
        """Its newest snapshot, for whoever has no chain."""
        if self.draft is not None:
            self.snapshot, self.draft = proved(self.draft, self.ledger.store) or self.snapshot, None
        return self.snapshot

    def serve(self, asker: Machine, first: int, last: int) -> None:
        """Answers a request for decided blocks, both ends included."""
        town, store = self.world.town, self.ledger.store
        pairs = []
        for height in range(first, min(last, first + SERVED_BLOCKS - 1) + 1):
            raw, commit = store.block_bytes(height), store.commit_bytes(height)
            if raw is None or commit is None:
                break
            pairs.append((town.decoded(raw), town.decoded_commit(commit)))
        self.world.pass_on(self, asker, BlocksReceived(self.id, tuple(pairs)))
