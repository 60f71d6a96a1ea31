"""The simulated world: one clock, one source of chance, a network that loses things, clients that number what they send."""

from __future__ import annotations

import heapq
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from random import Random
from typing import Any

from chain.block import Block
from chain.refusal import Refusal
from consensus.timeouts import Timeouts
from consensus.types import BlockId, Commit, ValidatorId
from devnet.simnet.checkers import Checkers
from devnet.simnet.disk import VirtualDisk
from devnet.simnet.machine import GUARD, Machine
from devnet.simnet.town import TIME_MS, Town
from devnet.simnet.witness import Witness
from node.events import Event, PeerDown, PeerUp, ProposalReceived, TxsReceived, VotesReceived
from node.replica import ReplicaConfig
from node.signer import FileSigner

CLIENT_PATIENCE_MS = 1_500


@dataclass(frozen=True, slots=True)
class Options:
    """`chaos_ms`: how long faults last; then everything heals and the network has `calm_ms` to decide `heights` in all
    and one more than anybody had decided until then. `adversary_third`: byzantine validators may have a third or more."""

    validators: int = 4
    heights: int = 4
    transactions: int = 12
    chaos_ms: int = 4_000
    calm_ms: int = 120_000
    adversary_third: bool = False
    share: float = 0.6  # of the allowed faults that a schedule draws: some meet alone and some together
    digest: bool = True  # of the trace, to compare runs by
    trace: bool = False


REPLICA = ReplicaConfig(
    timeouts=Timeouts(propose_ms=400, prevote_ms=200, precommit_ms=200, delta_ms=200, cap_ms=4_000),
    heartbeat_ms=2_000,
    proof_block_ms=200,
    tick_ms=500,
    settle_ms=100,
    relay_again_ms=1_500,
    caution_ms=2_500,
)

Blocked = Callable[[Machine, Machine, Event | None], bool]


class World:
    """Everything that a seed decides, decided in one order."""

    def __init__(self, seed: int, options: Options, town: Town, config: ReplicaConfig = REPLICA) -> None:
        self.seed = seed
        self.options = options
        self.town: Town = town
        self.genesis, self.runtime, self.verify = town.genesis, town.runtime, town.verify
        self.genesis_store = town.genesis_store
        self.replica_config = config
        self.random: Random = Random(seed)
        self.now_ms = 0
        self.epoch_ms = TIME_MS + 1_000
        self.calm = False
        self.torn = False
        self.drop = self.duplicate = 0.0
        self.delay_ms = (1, 10)
        self.one_way_ms: Callable[[int, int], int] | None = None
        self.cut: set[tuple[int, int]] = set()
        self.notices = False  # the ends of a line learn that it is cut
        self._ended: set[tuple[int, int]] = set()  # whose ends did, the smaller index first
        self.snapshots = False  # wiped machines begin from what others offer
        self.mute: int | None = None  # proposals do not reach this machine
        self.blocked: Blocked | None = None  # a schedule's own rule, on top of `cut`
        self.plot: dict[
            tuple[int, int], tuple[BlockId, BlockId]
        ] = {}  # what colluding liars offer to each side, by round
        self._trace: list[tuple[int, str, str, str]] = []  # when, where, and what in two parts: few are ever read
        self._heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._serial = 0
        self._chance = self.random.random
        self.witness = Witness(options.validators, remembers=self._lives)
        self.checkers = Checkers(town, self.witness)
        self.machines: list[Machine] = []
        self._by_id: dict[ValidatorId, list[Machine]] = {}
        self.news = True  # something happened that may end the schedule
        self._submitted: dict[int, int] = {}  # transaction number -> machine
        self._numbers: dict[bytes, int] = {}
        for index in range(options.validators):
            self.put(Machine(index, f"v{index}", town.ids[index], self, self.new_disk()))

    def new_disk(self) -> VirtualDisk:
        return VirtualDisk(Random(self.random.random()))

    def put(self, machine: Machine) -> None:
        """Takes the place of the machine with this index, or a new one beside the others (a twin)."""
        if machine.index < len(self.machines):
            self.machines[machine.index] = machine
        else:
            self.machines.append(machine)
        self._by_id = {}
        for known in self.machines:
            self._by_id.setdefault(known.id, []).append(known)

    @property
    def honest(self) -> list[Machine]:
        return [m for m in self.machines if m.honest]

    # --- time ------------------------------------------------------------------------------------------------------

    def after(self, delay_ms: int, action: Callable[..., None], *args: Any) -> None:
        self._serial += 1
        heapq.heappush(self._heap, (self.now_ms + delay_ms, self._serial, action, args))

    def run_until(self, end_ms: int, done: Callable[[], bool] = lambda: False) -> bool:
        """Runs what is due up to `end_ms`; stops early, and says so, once `done`, or at the first violation."""
        heap, violations, pop = self._heap, self.checkers.violations, heapq.heappop
        while heap and heap[0][0] <= end_ms and not violations:
            self.now_ms, _, action, args = pop(heap)
            action(*args)
            if self.news:
                self.news = False
                if done():
                    return True
        self.now_ms = max(self.now_ms, end_ms)
        return done()

    def note(self, machine: Machine | None, text: str) -> None:
        """A line of the trace; its digest is what two runs of one seed must share."""
        self._trace.append((self.now_ms, machine.name if machine else "-", text, ""))

    @property
    def lines(self) -> list[str]:
        return [f"{at_ms:>7} {name:>4} {what}{who}" for at_ms, name, what, who in self._trace]

    @property
    def trace_digest(self) -> str:
        return sha256("".join(self.lines).encode()).hexdigest()

    def end(self) -> None:
        """Takes the world apart: all in it points to all else, and what counting frees the collector need not look for."""
        self.machines.clear()
        self._by_id.clear()
        self._heap.clear()
        self.blocked = self.one_way_ms = None
        del self.witness, self.checkers

    # --- network ---------------------------------------------------------------------------------------------------

    def send(self, sender: Machine, to: ValidatorId | None, event: Event) -> None:
        """To one, or to everybody (None)."""
        if isinstance(event, VotesReceived):
            for vote in event.votes:
                if vote.validator == sender.id:
                    self.witness.vote(vote)
        elif isinstance(event, ProposalReceived) and event.proposal.proposer == sender.id:
            self.witness.proposal(event.proposal)
        for other in self.machines if to is None else self._by_id.get(to, ()):
            if other.running and (to is not None or other.id != sender.id):
                self._travel(sender, other, self._arrive, event, event)

    def pass_on(self, sender: Machine, other: Machine, event: Event) -> None:
        """One message over one link."""
        if other.running:
            self._travel(sender, other, self._arrive, event, event)

    def pass_raw(self, sender: Machine, other: Machine, raw: bytes) -> None:
        """Bytes instead of a value: the receiver's door decides what they are."""
        if other.running:
            self._travel(sender, other, self._arrive_raw, raw, None)

    def sever(self, lines: set[tuple[int, int]]) -> None:
        """From the first to the second of each nothing arrives until `mend`."""
        self.cut |= lines
        if self.notices:
            fresh = {(min(line), max(line)) for line in lines} - self._ended
            self._ended |= fresh
            self._tell_ends(fresh, PeerDown)

    def mend(self) -> None:
        self.cut.clear()
        again, self._ended = self._ended, set()
        self._tell_ends(again, PeerUp)

    def are_apart(self, machine: Machine, other: Machine) -> bool:
        """Whether they know that the line between them is cut."""
        return (min(machine.index, other.index), max(machine.index, other.index)) in self._ended

    def _tell_ends(self, lines: set[tuple[int, int]], told: type[PeerDown | PeerUp]) -> None:
        for one, other in sorted(lines):
            a, b = self.machines[one], self.machines[other]
            if a.running and b.running and a.id != b.id:
                a.deliver(told(b.id))
                b.deliver(told(a.id))

    def _travel(
        self, sender: Machine, other: Machine, arrive: Callable[..., None], load: Event | bytes, event: Event | None
    ) -> None:
        """Lost, late, early or twice, as chance has it; `event` is None where only the door can say what the load is."""
        if self.cut and (sender.index, other.index) in self.cut:
            return
        if self.blocked is not None and self.blocked(sender, other, event):
            return
        if other.index == self.mute and isinstance(event, ProposalReceived):
            return
        args = (sender, other, other.life, load)
        if self.one_way_ms is not None:
            self.after(self.one_way_ms(sender.index, other.index), arrive, *args)
            return
        chance = self._chance()
        if chance < self.drop:
            return
        low, high = self.delay_ms
        delay = low + int(self._chance() * (high - low + 1)) + sender.slow_ms + other.slow_ms
        self._serial += 1  # as `after` does it, which this is most of
        heapq.heappush(self._heap, (self.now_ms + delay, self._serial, arrive, args))
        if chance > 1 - self.duplicate:
            self.after(delay + self.random.randint(low, high), arrive, *args)

    def _lives(self, index: int, life: int) -> bool:
        return any(m.index == index and m.life == life for m in self.machines)

    def _arrive(self, sender: Machine, other: Machine, life: int, event: Event) -> None:
        if other.life != life or not other.running:
            return
        self._trace.append((self.now_ms, other.name, type(event).__name__, sender.arrow))
        if isinstance(event, VotesReceived):
            witness, useful, keeper = self.witness, other.last_useful, (other.index, life)
            for vote in event.votes:
                if vote.signature not in witness.heard:  # a withholding validator's are first seen here
                    witness.vote(vote)
                witness.reached(vote.signature, keeper if vote.height <= useful else None)
        elif isinstance(event, ProposalReceived):
            proposal = event.proposal
            useful = proposal.height <= other.last_useful
            self.witness.reached(proposal.signature, (other.index, life) if useful else None)
        other.deliver(event)

    def _arrive_raw(self, sender: Machine, other: Machine, life: int, raw: bytes) -> None:
        if other.life == life and other.running:
            self.note(other, f"{len(raw)} bytes{sender.arrow}")
            other.receive(sender.id, raw)

    def request_blocks(self, asker: Machine, to: ValidatorId, first: int, last: int) -> None:
        for holder in self._by_id.get(to, ()):
            if holder.running and (asker.index, holder.index) not in self.cut:
                holder.serve(asker, first, last)

    # --- clients ---------------------------------------------------------------------------------------------------

    def submit(self, number: int) -> None:
        """A client sends its transaction to one machine, and to another one if no receipt comes."""
        tx = self.town.tx(number)
        if tx.id in self.checkers.acknowledged:
            return
        self._numbers[tx.id] = number
        running = [m for m in self.machines if m.running]
        if running:
            machine = self.random.choice(running)
            self._submitted[number] = machine.index
            machine.deliver(TxsReceived((tx,), request=number))
        self.after(CLIENT_PATIENCE_MS, self.submit, number)

    def answered(self, machine: Machine, request: int, verdicts: tuple[Refusal | None, ...]) -> None:
        for verdict in verdicts:
            self.note(machine, f"transaction {request}: {verdict.code if verdict else 'admitted'}")
            if verdict is not None and verdict.code == "ALREADY_FINAL" and machine.honest:
                self._acknowledge(request)

    def _acknowledge(self, number: int) -> None:
        self.checkers.acknowledged.setdefault(self.town.tx(number).id, number)
        self.news = True

    # --- what machines report --------------------------------------------------------------------------------------

    def booted(self, machine: Machine) -> None:
        """A block may stand on the disk though the power was cut before the machine could say so."""
        head, store = machine.ledger.head.height, machine.ledger.store
        if not machine.honest or head == 0:
            return
        if head in self.checkers.chain:
            self.checkers.resumed(machine)
            return
        raw, commit = store.block_bytes(head), store.commit_bytes(head)
        if raw is None or commit is None:
            self.checkers.blame("forged", f"{machine.name} begins after {head}, which nobody decided")
            return
        self.checkers.applied(
            machine, self.town.decoded(raw), self.town.decoded_commit(commit), self.epoch_ms + self.now_ms
        )

    def applied(self, machine: Machine, block: Block, commit: Commit) -> None:
        header = block.header
        self.note(machine, f"height {header.height} is {block.id.hex()[:8]} with {len(block.txs)} transactions")
        self.news = True
        if not machine.honest:
            return
        self.checkers.applied(machine, block, commit, self.epoch_ms + self.now_ms)
        for tx in block.txs:
            number = self._numbers.get(tx.id)
            if number is not None and self._submitted.get(number) == machine.index:
                self._acknowledge(number)

    def penalised(self, machine: Machine, peer: ValidatorId, reason: str) -> None:
        accused = self._by_id[peer]
        self.note(machine, f"blames {accused[0].name}: {reason}")
        if machine.honest and all(m.honest for m in accused):
            self.checkers.blame("slander", f"{machine.name} blames {accused[0].name}, who is honest: {reason}")

    def reported(self, machine: Machine, event: str, fields: tuple[tuple[str, object], ...]) -> None:
        self.note(machine, event + " " + " ".join(f"{k}={v}" for k, v in fields))
        if event == "round" and self.calm and machine.honest:
            self.checkers.entered_round(machine, int(str(dict(fields)["height"])))

    def crashed(self, machine: Machine, error: Exception) -> None:
        """Production code raised something: the node would be dead."""
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {error} (line {where.lineno} of {where.name})"
        self.note(machine, f"crashed: {text}")
        self.checkers.blame("crashed", f"{machine.name}: {text}")

    def when_halted(self, machine: Machine) -> None:
        """Crashed machines come back; how soon is up to chance."""
        self.after(self.random.randint(50, 1_500), machine.start)

    def open_signer(self, machine: Machine, has_chain: bool) -> FileSigner:
        key = self.town.ids.index(machine.id)
        return FileSigner.open(
            self.genesis.chain_id,
            lambda data: self.town.sign(key, data),
            GUARD,
            has_chain=has_chain,
            disk=machine.disk,
        )
