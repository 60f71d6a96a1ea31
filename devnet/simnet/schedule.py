"""One schedule: chaos for a while, then calm, then judgement. A seed decides all of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from devnet.simnet.checkers import Violation
from devnet.simnet.machine import Machine
from devnet.simnet.town import town_of
from devnet.simnet.world import Options, World

FAULTS = (
    "drop",
    "duplicate",
    "delay",
    "partition",
    "asymmetric",
    "crash",
    "torn",
    "skew",
    "jump",
    "slow",
    "full",
)


@dataclass(frozen=True, slots=True)
class Outcome:
    seed: int
    heights: int
    transactions: int
    violations: tuple[Violation, ...]
    trace_digest: str
    lines: tuple[str, ...]
    virtual_ms: int


def run(seed: int, options: Options = Options(), faults: frozenset[str] = frozenset(FAULTS)) -> Outcome:
    """Plays one seed to its end."""
    world = World(seed, options, town_of(options.validators))
    Chaos(world, faults).begin()
    for machine in world.machines:
        world.after(world.random.randint(0, 50), machine.start)
    for number in range(options.transactions):
        world.after(world.random.randint(0, options.chaos_ms), lambda n=number: world.submit(n))  # type: ignore[misc]
    world.run_until(options.chaos_ms)
    heal(world)
    goal = max([options.heights, *[h + 2 for h in world.checkers.chain]])
    finished = world.run_until(world.now_ms + options.calm_ms, lambda: is_whole(world, goal))
    if not finished:
        heads = ", ".join(f"{m.name} {m.ledger.head.height if m.running else 'down'}" for m in world.machines)
        world.checkers.blame("stalled", f"calm for {options.calm_ms} ms and not all at {goal}: {heads}")
    else:
        world.checkers.finish(world.machines)
    checkers = world.checkers
    return Outcome(
        seed,
        len(checkers.chain),
        len(checkers.acknowledged),
        tuple(checkers.violations),
        world.trace_digest,
        tuple(world.lines),
        world.now_ms,
    )


def is_whole(world: World, goal: int) -> bool:
    """Every client has its receipt, and everybody decided the goal and whatever holds a client's transaction."""
    checkers = world.checkers
    if len(checkers.acknowledged) < world.options.transactions:
        return False
    goal = max([goal, *[checkers.placed[tx_id] for tx_id in checkers.acknowledged if tx_id in checkers.placed]])
    return all(m.running and m.ledger.head.height >= goal for m in world.machines)


def heal(world: World) -> None:
    world.note(None, "calm")
    world.cut.clear()
    world.drop = world.duplicate = 0.0
    world.delay_ms = (1, 10)
    for machine in world.machines:
        machine.skew_ms = machine.slow_ms = 0
        machine.disk.full = False
        machine.disk.cut_in = None
        if not machine.running:
            machine.start()


class Chaos:
    """Draws faults one after the other until the chaos ends."""

    def __init__(self, world: World, faults: frozenset[str]) -> None:
        self.world = world
        chance = world.random.random
        # Each schedule has its own mix, so that some faults meet alone and some together.
        self.mix = sorted(f for f in faults if chance() < 0.6)
        world.options = type(world.options)(
            **{name: getattr(world.options, name) for name in type(world.options).__slots__}
            | {"torn": "torn" in self.mix}
        )
        self.events: dict[str, Callable[[Machine], None]] = {
            "partition": self.partition,
            "asymmetric": self.one_way,
            "crash": self.crash,
            "skew": self.skew,
            "jump": self.jump,
            "slow": self.slow,
            "full": self.full,
        }

    def begin(self) -> None:
        world, random = self.world, self.world.random
        if "drop" in self.mix:
            world.drop = random.choice((0.02, 0.1, 0.3))
        if "duplicate" in self.mix:
            world.duplicate = 0.2
        if "delay" in self.mix:
            world.delay_ms = random.choice(((1, 50), (1, 400), (50, 800)))
        world.note(None, f"faults: {' '.join(self.mix)}")
        self._next()

    def _next(self) -> None:
        wanted = [e for e in self.events if e in self.mix]
        if wanted:
            self.world.after(self.world.random.randint(50, 700), lambda: self._strike(wanted))

    def _strike(self, wanted: list[str]) -> None:
        world = self.world
        if world.now_ms >= world.options.chaos_ms:
            return
        kind, machine = world.random.choice(wanted), world.random.choice(world.machines)
        world.note(machine, f"fault: {kind}")
        self.events[kind](machine)
        self._next()

    def crash(self, machine: Machine) -> None:
        """Now, or at some write from now on: before it, in its middle or just after."""
        if self.world.random.random() < 0.3:
            machine.cut_power()
        else:
            machine.disk.cut_in = self.world.random.randint(1, 25)

    def partition(self, _machine: Machine) -> None:
        world = self.world
        side = {m.index for m in world.machines if world.random.random() < 0.5}
        for a in world.machines:
            for b in world.machines:
                if (a.index in side) != (b.index in side):
                    world.cut.add((a.index, b.index))
        world.after(world.random.randint(100, 1_500), world.cut.clear)

    def one_way(self, machine: Machine) -> None:
        world = self.world
        for other in world.machines:
            if other is not machine and world.random.random() < 0.6:
                world.cut.add((machine.index, other.index))
        world.after(world.random.randint(100, 1_500), world.cut.clear)

    def skew(self, machine: Machine) -> None:
        machine.skew_ms = self.world.random.randint(-400, 400)

    def jump(self, machine: Machine) -> None:
        machine.skew_ms = self.world.random.choice((-20_000, -3_000, 3_000, 20_000))

    def slow(self, machine: Machine) -> None:
        machine.slow_ms = self.world.random.randint(50, 500)
        self.world.after(self.world.random.randint(200, 2_000), lambda: setattr(machine, "slow_ms", 0))

    def full(self, machine: Machine) -> None:
        machine.disk.full = True
        self.world.after(self.world.random.randint(100, 1_500), lambda: setattr(machine.disk, "full", False))
