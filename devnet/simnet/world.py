"""The simulated world: one clock, one source of chance, a network that loses things, clients that number what they send."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from random import Random

from chain.block import Block
from chain.refusal import Refusal
from chain.tx import Tx
from consensus.timeouts import Timeouts
from consensus.types import Commit, ValidatorId
from devnet.simnet.checkers import Checkers
from devnet.simnet.disk import VirtualDisk
from devnet.simnet.machine import GUARD, Machine
from devnet.simnet.town import TIME_MS, Town
from node.events import Event, TxsReceived
from node.replica import ReplicaConfig
from node.signer import FileSigner

CLIENT_PATIENCE_MS = 1_500


@dataclass(frozen=True, slots=True)
class Options:
    """`chaos_ms`: how long faults last; then everything heals and the network has `calm_ms` to decide `heights` in all
    and two more than anybody had decided until then."""

    validators: int = 4
    heights: int = 4
    transactions: int = 12
    chaos_ms: int = 4_000
    calm_ms: int = 120_000
    torn: bool = False
    trace: bool = False


REPLICA = ReplicaConfig(
    timeouts=Timeouts(propose_ms=400, prevote_ms=200, precommit_ms=200, delta_ms=200, cap_ms=4_000),
    heartbeat_ms=2_000,
    proof_block_ms=200,
    tick_ms=500,
    settle_ms=100,
    relay_again_ms=1_500,
)


class World:
    """Everything that a seed decides, decided in one order."""

    def __init__(self, seed: int, options: Options, town: Town) -> None:
        self.seed = seed
        self.options = options
        self.town = town
        self.genesis, self.runtime, self.verify = town.genesis, town.runtime, town.verify
        self.genesis_store = town.genesis_store
        self.replica_config = REPLICA
        self.random = Random(seed)
        self.now_ms = 0
        self.epoch_ms = TIME_MS + 1_000
        self.drop = self.duplicate = 0.0
        self.delay_ms = (1, 10)
        self.cut: set[tuple[int, int]] = set()
        self.lines: list[str] = []
        self.sent = 0
        self._digest = sha256()
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._serial = 0
        self.machines = [
            Machine(i, f"v{i}", town.ids[i], self, VirtualDisk(Random(self.random.random())))
            for i in range(options.validators)
        ]
        self._by_id = {m.id: m for m in self.machines}
        self.checkers = Checkers(town)
        self._submitted: dict[int, tuple[int, int]] = {}  # transaction number -> (machine, when)
        self._numbers: dict[bytes, int] = {}

    # --- time ------------------------------------------------------------------------------------------------------

    def after(self, delay_ms: int, action: Callable[[], None]) -> None:
        self._serial += 1
        heapq.heappush(self._heap, (self.now_ms + delay_ms, self._serial, action))

    def run_until(self, end_ms: int, done: Callable[[], bool] = lambda: False) -> bool:
        """Runs what is due up to `end_ms`; stops early, and says so, once `done`."""
        while self._heap and self._heap[0][0] <= end_ms:
            self.now_ms, _, action = heapq.heappop(self._heap)
            action()
            if done():
                return True
        self.now_ms = end_ms
        return done()

    def note(self, machine: Machine | None, text: str) -> None:
        """A line of the trace; its digest is what two runs of one seed must share."""
        line = f"{self.now_ms:>7} {machine.name if machine else '-':>4} {text}"
        self._digest.update(line.encode())
        if self.options.trace:
            self.lines.append(line)

    @property
    def trace_digest(self) -> str:
        return self._digest.hexdigest()

    # --- network ---------------------------------------------------------------------------------------------------

    def send(self, sender: Machine, to: ValidatorId | None, event: Event) -> None:
        if to is None:
            for other in self.machines:
                if other is not sender:
                    self.pass_on(sender, other, event)
        else:
            self.pass_on(sender, self._by_id[to], event)

    def pass_on(self, sender: Machine, other: Machine, event: Event) -> None:
        """One message over one link: lost, late, early or twice, as chance has it."""
        if (sender.index, other.index) in self.cut or not other.running:
            return
        chance = self.random.random()
        if chance < self.drop:
            return
        low, high = self.delay_ms
        delay = self.random.randint(low, high) + sender.slow_ms + other.slow_ms
        life = other.life
        label = f"{type(event).__name__} from {sender.name}"

        def arrive() -> None:
            if other.life == life and other.running:
                self.note(other, label)
                other.deliver(event)

        self.after(delay, arrive)
        if chance > 1 - self.duplicate:
            self.after(delay + self.random.randint(low, high), arrive)

    def request_blocks(self, asker: Machine, to: ValidatorId, first: int, last: int) -> None:
        holder = self._by_id[to]
        if not holder.running or (asker.index, holder.index) in self.cut:
            return
        self.pass_on(holder, asker, holder.serve_blocks(first, last))

    def decoded(self, raw_block: bytes) -> Block:
        return self.town.decoded(raw_block)

    def decoded_txs(self, raw_txs: tuple[bytes, ...]) -> tuple[Tx, ...]:
        return self.town.decoded_txs(raw_txs)

    # --- clients ---------------------------------------------------------------------------------------------------

    def submit(self, number: int) -> None:
        """A client sends its transaction to one machine, and to another one if no receipt comes."""
        tx = self.town.tx(number)
        self._numbers[tx.id] = number
        running = [m for m in self.machines if m.running]
        if running:
            machine = self.random.choice(running)
            self._submitted[number] = (machine.index, self.now_ms)
            machine.deliver(TxsReceived((tx,), request=number))

        def try_again() -> None:
            if tx.id not in self.checkers.acknowledged:
                self.submit(number)

        self.after(CLIENT_PATIENCE_MS, try_again)

    def answered(self, machine: Machine, request: int, verdicts: tuple[Refusal | None, ...]) -> None:
        for verdict in verdicts:
            self.note(machine, f"transaction {request}: {verdict.code if verdict else 'admitted'}")
            if verdict is not None and verdict.code == "ALREADY_FINAL":
                self.checkers.acknowledged.setdefault(self.town.tx(request).id, request)

    # --- what machines report --------------------------------------------------------------------------------------

    def applied(self, machine: Machine, block: Block, commit: Commit) -> None:
        self.note(machine, f"height {block.header.height} is {block.id.hex()[:8]} with {len(block.txs)} transactions")
        self.checkers.applied(machine, block, commit)
        for tx in block.txs:
            number = self._numbers.get(tx.id)
            if number is not None and self._submitted[number][0] == machine.index:
                self.checkers.acknowledged.setdefault(tx.id, number)

    def penalised(self, machine: Machine, peer: ValidatorId, reason: str) -> None:
        self.note(machine, f"blames {self._by_id[peer].name}: {reason}")

    def reported(self, machine: Machine, event: str, fields: tuple[tuple[str, object], ...]) -> None:
        self.note(machine, event + " " + " ".join(f"{k}={v}" for k, v in fields))

    def when_halted(self, machine: Machine) -> None:
        """Crashed machines come back; how soon is up to chance."""
        self.after(self.random.randint(50, 1_500), lambda: None if machine.running else machine.start())

    def open_signer(self, machine: Machine, has_chain: bool) -> FileSigner:
        key = self.town.keys[machine.index]
        return FileSigner.open(
            self.genesis.chain_id,
            lambda data: key.sign(data).signature,
            GUARD,
            has_chain=has_chain,
            disk=machine.disk,
        )
