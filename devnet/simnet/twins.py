"""Twins: two machines with one key, each running the honest code, in partitions and under leaders chosen for each round.

After "Twins: BFT Systems Made Robust" (arXiv:2004.10617): a scenario names, for each of its rounds, who can hear whom and
who leads; equivocation, amnesia and lost messages all follow from that. A seed is a number of a scenario: first all in
which every round is alike, then a sample of the rest. After its rounds the network is whole again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import product
from random import Random

from consensus import proposer
from consensus.proposer import ProposerOrder
from consensus.types import Height, ValidatorId, ValidatorSet
from devnet.simnet.machine import Machine
from devnet.simnet.schedule import Outcome, add_twin, conclude
from devnet.simnet.town import town_of
from devnet.simnet.world import Options, World
from node.events import Event, ProposalReceived, StatusReceived, VotesReceived

ROUNDS = 8
MOST_PARTS = 3
SCENARIO_MS = 12_000


@dataclass(frozen=True, slots=True)
class Scenario:
    """For each round: the part of the network that each machine is in, and the index of the validator that leads."""

    parts: tuple[tuple[int, ...], ...]
    leaders: tuple[int, ...]


@cache
def partitions(machines: int) -> tuple[tuple[int, ...], ...]:
    """All ways to divide machines into at most MOST_PARTS parts, the undivided network first. Parts are numbered in the
    order of their first machine, so that each way comes once."""
    found = []
    for labels in product(range(MOST_PARTS), repeat=machines):
        firsts = list(dict.fromkeys(labels))
        if firsts == list(range(len(firsts))):
            found.append(labels)
    return tuple(found)


@cache
def dividing(machines: int, validators: int) -> tuple[tuple[int, ...], ...]:
    """The partitions in which some part holds a quorum of different keys, or none is divided: elsewhere nothing moves."""
    quorum = 2 * validators // 3 + 1
    twins = machines - validators
    kept = []
    for labels in partitions(machines):
        for part in set(labels):
            keys = {key_of(m, validators, twins) for m, label in enumerate(labels) if label == part}
            if len(keys) >= quorum:
                kept.append(labels)
                break
    return tuple(kept)


def key_of(machine: int, validators: int, twins: int) -> int:
    """The twins of the validators 0, 1, ... follow the validators."""
    return machine if machine < validators else machine - validators if twins else machine


def scenario(number: int, validators: int, twins: int) -> Scenario:
    """The scenario of a number: uniform ones in order, then a sample."""
    ways = dividing(validators + twins, validators)
    uniform = len(ways) * validators
    if number < uniform:
        way, leader = divmod(number, validators)
        return Scenario((ways[way],) * ROUNDS, (leader,) * ROUNDS)
    random = Random(f"twins {number} {validators}")
    return Scenario(
        tuple(random.choice(ways) for _ in range(ROUNDS)),
        tuple(random.randrange(validators) for _ in range(ROUNDS)),
    )


@contextmanager
def led_by(ids: list[ValidatorId], leaders: tuple[int, ...]) -> Iterator[None]:
    """While it lasts, these lead the rounds of every height; the honest order follows."""
    honest_order = proposer.order

    def order(validators: ValidatorSet, height: Height, benched: frozenset[ValidatorId] = frozenset()) -> ProposerOrder:
        return ProposerOrder(tuple(ids[i] for i in leaders) + honest_order(validators, height, ()).order)

    proposer.order = order  # type: ignore[assignment]
    try:
        yield
    finally:
        proposer.order = honest_order


def run_twins(number: int, options: Options) -> Outcome:
    """Plays one scenario with as many twins as the protocol bears: one of four validators, two of seven."""
    town = town_of(options.validators)
    twins = (options.validators - 1) // 3
    chosen = scenario(number, options.validators, twins)
    world = World(number, options, town)
    for index in range(twins):
        world.machines[index].honest = False
        add_twin(world, world.machines[index])
    world.delay_ms = (1, 30)

    def blocked(sender: Machine, other: Machine, event: Event | None) -> bool:
        round_ = round_of(event)
        if round_ is None or round_ >= ROUNDS:
            return False
        parts = chosen.parts[round_]
        return parts[sender.index] != parts[other.index]

    world.blocked = blocked
    world.note(None, f"twins: {chosen}")
    with led_by(town.ids, chosen.leaders):
        for machine in world.machines:
            world.after(world.random.randint(0, 20), machine.start)
        for transaction in range(options.transactions):
            world.after(world.random.randint(0, 2_000), world.submit, transaction)
        world.run_until(SCENARIO_MS, lambda: settled(world))
        outcome = conclude(world)
    world.end()
    return outcome


def settled(world: World) -> bool:
    """Nothing more is to be learned from the scenario once all honest machines have decided some heights."""
    return all(m.running and m.ledger.head.height >= world.options.heights for m in world.honest)


def round_of(event: Event | None) -> int | None:
    """The round that a message speaks of; None for those that belong to no round."""
    match event:
        case VotesReceived(_, votes) if votes:
            return max(vote.round for vote in votes)
        case ProposalReceived(_, proposal, _):
            return proposal.round
        case StatusReceived(_, state):
            return state.round
        case _:
            return None
