"""Which faults strike which nodes and for how long, drawn from a seed; and how long the chain stood still meanwhile."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

NODES = 4


class Kind(StrEnum):
    KILL = "kill"  # SIGKILL, later started again
    STOP = "stop"  # SIGSTOP, later SIGCONT: for the others it is silent, for itself no time has passed
    CUT = "cut"  # connections to other nodes: all or some, one direction or both, silently or refused
    WIPE = "wipe"  # SIGKILL; database, log and guard are gone when it starts again
    FULL = "full_disk"  # writes fail; what the node makes of that is its own affair; later it has room again


@dataclass(frozen=True, slots=True)
class Fault:
    """One node's. Only a cut has `others`, the nodes it cannot reach (`outward`) or be reached from (`inward`)."""

    kind: Kind
    node: int
    seconds: float
    others: tuple[int, ...] = ()
    inward: bool = False
    outward: bool = False
    refuse: bool = False
    room_bytes: int = 0  # what a full disk still takes of each file

    def __str__(self) -> str:
        more = ""
        if self.kind is Kind.CUT:
            directions = {(True, True): "both ways", (True, False): "inward", (False, True): "outward"}
            how = "refused" if self.refuse else "silent"
            more = f" from {','.join(map(str, self.others))}, {directions[self.inward, self.outward]}, {how}"
        return f"{self.kind} of node {self.node} for {self.seconds:.0f} s{more}"


Round = tuple[Fault, ...]
"""Faults that strike together, on different nodes."""

TOGETHER = (Kind.KILL, Kind.STOP, Kind.CUT)
"""What may strike two of four at once: nobody forgets a promise, so safety must hold and progress must come back."""

SECONDS = {
    Kind.KILL: (0.5, 10.0),
    Kind.STOP: (1.0, 12.0),
    Kind.CUT: (2.0, 20.0),
    Kind.WIPE: (0.5, 4.0),
    Kind.FULL: (2.0, 6.0),
}
LONG_STOP_SECONDS = (31.0, 40.0)  # beyond every keepalive and time-out of the streams
MAX_ROOM_BYTES = 20_000


def rounds(seed: int, kinds: Sequence[Kind] = tuple(Kind)) -> Iterator[Round]:
    """Without end. Each bag holds every kind once alone and twice a pair, in random order."""
    draw = random.Random(seed)
    together = [kind for kind in kinds if kind in TOGETHER]
    while True:
        bag: list[tuple[Kind, ...]] = [(kind,) for kind in kinds]
        if together:
            bag += [tuple(draw.choices(together, k=2)) for _ in range(2)]
        draw.shuffle(bag)
        for chosen in bag:
            nodes = draw.sample(range(NODES), len(chosen))
            yield tuple(_fault(draw, kind, node) for kind, node in zip(chosen, nodes, strict=True))


def _fault(draw: random.Random, kind: Kind, node: int) -> Fault:
    least, most = SECONDS[kind]
    if kind is Kind.STOP and draw.random() < 0.25:
        least, most = LONG_STOP_SECONDS
    seconds = draw.uniform(least, most)
    if kind is Kind.FULL:
        return Fault(kind, node, seconds, room_bytes=draw.choice((0, draw.randrange(MAX_ROOM_BYTES))))
    if kind is not Kind.CUT:
        return Fault(kind, node, seconds)
    others = [other for other in range(NODES) if other != node]
    if draw.random() < 0.4:
        others = sorted(draw.sample(others, draw.randint(1, 2)))
    inward, outward = draw.choice(((True, True), (True, True), (True, False), (False, True)))
    return Fault(kind, node, seconds, tuple(others), inward, outward, draw.random() < 0.4)


@dataclass(frozen=True, slots=True)
class Span:
    """From `begin` until before `end`, monotonic seconds."""

    begin: float
    end: float


def longest_stall(decided: Sequence[float], faulty: Sequence[Span]) -> Span:
    """The longest time without a newly decided block of which no moment had two nodes faulty.

    `decided`: when the first node announced each next height, ascending. `faulty`: one span for each fault, from its
    beginning until the node had back what was taken: a killed one until it answers, a wiped one until it is level with the
    others. One faulty node of four must not stop the chain, so nothing is subtracted for it; while two are faulty
    nothing is expected; what comes after that counts in full.
    """
    longest = Span(0.0, 0.0)
    apart = _two_at_once(faulty)
    for begin, end in pairwise(decided):
        for piece in _without(Span(begin, end), apart):
            if piece.end - piece.begin > longest.end - longest.begin:
                longest = piece
    return longest


def _two_at_once(faulty: Sequence[Span]) -> list[Span]:
    """When at least two spans held, in order."""
    edges = sorted([(span.begin, 1) for span in faulty] + [(span.end, -1) for span in faulty])
    found: list[Span] = []
    count, since = 0, 0.0
    for at, change in edges:
        if count < 2 <= count + change:
            since = at
        elif count + change < 2 <= count:
            found.append(Span(since, at))
        count += change
    return found


def _without(whole: Span, holes: Sequence[Span]) -> list[Span]:
    pieces, at = [], whole.begin
    for hole in holes:
        if hole.end <= at or hole.begin >= whole.end:
            continue
        if hole.begin > at:
            pieces.append(Span(at, hole.begin))
        at = hole.end
    if at < whole.end:
        pieces.append(Span(at, whole.end))
    return pieces
