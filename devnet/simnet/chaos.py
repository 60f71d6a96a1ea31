"""Faults of networks, clocks and disks, drawn one after the other until the chaos ends."""

from __future__ import annotations

from collections.abc import Callable

from devnet.simnet.machine import Machine
from devnet.simnet.world import World

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
    "mute",
    "full",
    "wipe",
)
"""`delay` also reorders; `crash` strikes at any write boundary, and what was not synced is lost."""
SNAPSHOT = "snapshot"
"""Where it meets `wipe`, half of the schedules: the wiped begin from a snapshot that others offer."""

NOTICED = "noticed"
"""Where it meets `partition` or `asymmetric`, half of the schedules: both ends are told that the line between them is cut, as those
of a connection are that ends."""


class Chaos:
    """Each schedule has its own mix of the allowed faults."""

    def __init__(self, world: World, mix: list[str]) -> None:
        self.world = world
        self.mix = mix

    @property
    def events(self) -> dict[str, Callable[[Machine], None]]:
        return {
            "partition": self.partition,
            "asymmetric": self.one_way,
            "crash": self.crash,
            "skew": self.skew,
            "jump": self.jump,
            "slow": self.slow,
            "mute": self.mute,
            "full": self.full,
            "wipe": self.wipe,
        }

    def begin(self) -> None:
        world, random = self.world, self.world.random
        world.torn = "torn" in self.mix
        world.snapshots = SNAPSHOT in self.mix
        world.notices = NOTICED in self.mix
        if "drop" in self.mix:
            world.drop = random.choice((0.02, 0.1, 0.3))
        if "duplicate" in self.mix:
            world.duplicate = 0.2
        if "delay" in self.mix:
            world.delay_ms = random.choice(((1, 50), (1, 400), (50, 800)))
        self._next()

    def _next(self) -> None:
        wanted = [e for e in self.events if e in self.mix]
        if wanted:
            self.world.after(self.world.random.randint(50, 700), self._strike, wanted)

    def _strike(self, wanted: list[str]) -> None:
        world = self.world
        if world.calm:
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

    def wipe(self, machine: Machine) -> None:
        """All that the machine held is gone. A validator without memory counts as faulty until it is up to date, so no
        more of them at once than the chain can bear."""
        world = self.world
        begun = all(m.life and m.ledger.head.height for m in world.machines)  # before that a wiped network is a new one
        weak = [m for m in world.machines if not m.honest or m.wiped_at is not None]
        weak = [m for m in weak if m is not machine]
        if 3 * (len(weak) + 1) >= world.options.validators or not machine.honest or not begun:
            return
        machine.cut_power()
        machine.disk.wipe()
        machine.snapshot = machine.draft = None
        machine.wiped_at = world.now_ms
        world.witness.wiped.add(machine.id)

    def partition(self, _machine: Machine) -> None:
        world = self.world
        side = {m.index for m in world.machines if world.random.random() < 0.5}
        indices = [m.index for m in world.machines]
        world.sever({(a, b) for a in indices for b in indices if (a in side) != (b in side)})
        world.after(world.random.randint(100, 1_500), world.mend)

    def one_way(self, machine: Machine) -> None:
        world = self.world
        others = [m.index for m in world.machines if m is not machine and world.random.random() < 0.6]
        world.sever({(machine.index, other) for other in others})
        world.after(world.random.randint(100, 1_500), world.mend)

    def skew(self, machine: Machine) -> None:
        machine.skew_ms = self.world.random.randint(-400, 400)

    def jump(self, machine: Machine) -> None:
        machine.skew_ms = self.world.random.choice((-20_000, -3_000, 3_000, 20_000))

    def slow(self, machine: Machine) -> None:
        """Slow to send, slow to apply a block."""
        machine.slow_ms = self.world.random.randint(50, 500)
        machine.apply_ms = self.world.random.choice((0, 5, 100))
        self.world.after(self.world.random.randint(200, 2_000), hasten, machine)

    def mute(self, machine: Machine) -> None:
        """Proposals do not reach one machine: it prevotes nil, and whoever lacks one more prevote locks nothing."""
        self.world.mute = machine.index
        self.world.after(self.world.random.randint(200, 1_500), setattr, self.world, "mute", None)

    def full(self, machine: Machine) -> None:
        machine.disk.full = True
        self.world.after(self.world.random.randint(100, 1_500), setattr, machine.disk, "full", False)


def hasten(machine: Machine) -> None:
    machine.slow_ms = machine.apply_ms = 0


def heal(world: World) -> None:
    """The faults of network, clocks and disks end; byzantine machines stay what they are."""
    world.note(None, "calm")
    world.calm = True
    world.mend()
    world.drop = world.duplicate = 0.0
    world.delay_ms = (1, 10)
    world.blocked = None
    world.mute = None
    for machine in world.machines:
        hasten(machine)
        machine.skew_ms = 0
        machine.disk.full = False
        machine.disk.cut_in = None
        machine.start()
