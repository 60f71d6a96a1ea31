"""One schedule: chaos for a while, then calm, then judgement. A seed decides all of it."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from devnet.simnet.byzantine import TRICKS, Byzantine
from devnet.simnet.chaos import FAULTS, NOTICED, SNAPSHOT, Chaos, heal
from devnet.simnet.checkers import Violation
from devnet.simnet.machine import Machine
from devnet.simnet.town import town_of
from devnet.simnet.world import Options, World

ALL_FAULTS = (*FAULTS, SNAPSHOT, NOTICED, *TRICKS, "twins")
BYZANTINE_SHARE = 0.4  # of the schedules in which it is allowed
SNAPSHOT_SHARE = 0.5  # of those in which disks are wiped
NOTICED_SHARE = 0.5  # of those in which lines are cut


@dataclass(frozen=True, slots=True)
class Outcome:
    seed: int
    heights: int
    transactions: int
    violations: tuple[Violation, ...]
    trace_digest: str
    lines: tuple[str, ...]
    virtual_ms: int
    most_rounds: int  # that one height took in the calm
    forked: bool


def run(seed: int, options: Options = Options(), faults: frozenset[str] = frozenset(ALL_FAULTS)) -> Outcome:
    """Plays one seed to its end."""
    world = World(seed, options, town_of(options.validators))
    chance = world.random.random
    mix = [f for f in FAULTS if f in faults and (chance() < options.share or len(faults) == 1)]
    if "wipe" in mix and SNAPSHOT in faults and Random(f"{SNAPSHOT} {seed}").random() < SNAPSHOT_SHARE:
        mix.append(SNAPSHOT)  # by a chance of its own: the other schedules stay as they were
    if (
        {"partition", "asymmetric"} & {*mix}
        and NOTICED in faults
        and Random(f"{NOTICED} {seed}").random() < NOTICED_SHARE
    ):
        mix.append(NOTICED)
    tricks = _corrupt(
        world,
        [t for t in (*TRICKS, "twins") if t in faults],
        always=not faults & {*FAULTS, SNAPSHOT, NOTICED},
        spare=SNAPSHOT in mix,
    )
    world.note(None, f"faults: {' '.join(mix)}; byzantine: {' '.join(tricks)}")
    Chaos(world, mix).begin()
    for machine in world.machines:
        world.after(world.random.randint(0, 50), machine.start)
    for number in range(options.transactions):
        world.after(world.random.randint(0, options.chaos_ms), world.submit, number)
    world.run_until(options.chaos_ms)
    outcome = conclude(world)
    world.end()
    return outcome


def _corrupt(world: World, allowed: list[str], always: bool, spare: bool) -> list[str]:
    """Makes as many validators byzantine as the protocol bears (or a third and more, where that is asked for). `spare`: one
    less, where that leaves any: a validator that lost its disk counts too, and is to meet the liars."""
    options, random = world.options, world.random
    if not allowed or not (always or options.adversary_third or random.random() < BYZANTINE_SHARE):
        return []
    most = -(-options.validators // 3) if options.adversary_third else (options.validators - 1) // 3
    most -= spare and most > 1
    count = len(allowed) if options.share >= 1 else min(len(allowed), random.choice((1, 1, 2, 3)))
    tricks = random.sample(allowed, count)
    for index in sorted(random.sample(range(options.validators), most)):
        old = world.machines[index]
        if "twins" in tricks:
            old.honest = False
            add_twin(world, old)
        else:
            world.put(Byzantine(index, old.name, old.id, world, old.disk, honest=False, tricks=tuple(tricks)))
    return tricks


def add_twin(world: World, machine: Machine) -> Machine:
    """A second machine with the same key and a disk of its own."""
    twin = Machine(len(world.machines), f"{machine.name}'", machine.id, world, world.new_disk(), honest=False)
    world.put(twin)
    return twin


def conclude(world: World) -> Outcome:
    """Heals the network, waits until all is settled, and judges."""
    checkers, options = world.checkers, world.options
    honest = world.honest
    if not checkers.violations:
        heal(world)
        goal = max([options.heights, *[h + 1 for h in checkers.chain]])
        finished = world.run_until(world.now_ms + options.calm_ms, lambda: is_whole(world, honest, goal))
        if finished:
            checkers.finish(honest)
        elif options.adversary_third:
            pass  # nobody promises progress then
        elif not checkers.violations and unpunished(world, honest):
            names = ", ".join(m.name for m in unpunished(world, honest))
            checkers.blame("unpunished", f"no evidence against {names}, who signed twice for all to see")
        elif not checkers.violations:
            heads = ", ".join(f"{m.name} {m.ledger.head.height if m.running else 'down'}" for m in honest)
            checkers.blame("stalled", f"calm for {options.calm_ms} ms and not all at {goal}: {heads}")
    checkers.judge({bytes(m.id) for m in honest}, options.validators, options.adversary_third)
    return Outcome(
        world.seed,
        len(checkers.chain),
        len(checkers.acknowledged),
        tuple(checkers.violations),
        world.trace_digest if options.digest else "",
        tuple(world.lines) if options.trace else (),
        world.now_ms,
        max(checkers.calm_rounds.values(), default=0),
        checkers.forked,
    )


def is_whole(world: World, honest: list[Machine], goal: int) -> bool:
    """Every client has its receipt, and everybody decided the goal and whatever holds a client's transaction."""
    checkers = world.checkers
    if len(checkers.acknowledged) < world.options.transactions:
        return False
    goal = max([goal, *[checkers.placed[tx_id] for tx_id in checkers.acknowledged if tx_id in checkers.placed]])
    return all(m.running and m.ledger.head.height >= goal for m in honest) and not unpunished(world, honest)


def unpunished(world: World, honest: list[Machine]) -> list[Machine]:
    """Those who sign twice for all to see, in the calm, and against whom some honest machine's chain has no evidence."""
    if world.options.adversary_third:
        return []
    loud = [m for m in world.machines if isinstance(m, Byzantine) and "equivocate" in m.tricks]
    return [b for b in loud if not all(m.running and world.checkers.convicts(m, b.id) for m in honest)]
