"""A few machines and a network that does what it is told: a fake for agreement and liveness tests, all in memory.

Correct validators run the machine; the others are Byzantine, which here means that the test speaks for them.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace

from consensus.effects import BuildValue, Decide, Effect, Equivocation, PersistLock, SignProposal, SignVote, StartTimer
from consensus.events import Begin, BlockChecked, Event, ProposalSeen, TimerFired, ValueBuilt, VoteSeen
from consensus.gossip import lacking, standpoint
from consensus.lock import Lock, LockRecord
from consensus.machine import State, Step, new_height, step
from consensus.timeouts import TimerKind
from consensus.types import BlockId, Commit, Proposal, Round, ValidatorSet, Vote, VoteKind
from tests.consensus.kit import HEIGHT, PARAMS, block, turns, validator_set, vid

Signed = Proposal | Vote
INVALID = block("bad")


@dataclass
class Node:
    """A correct validator: its machine, and what its disk remembers.

    log: every message that came in or was signed, in order; `durable` of them are safe, for each own signature is synced
    and what came before it in the file with it.
    """

    name: str
    state: State
    lock: LockRecord | None = None
    signed: list[Signed] = field(default_factory=list)
    log: list[Signed] = field(default_factory=list)
    durable: int = 0
    commit: Commit | None = None
    evidence: list[Equivocation] = field(default_factory=list)


@dataclass(frozen=True)
class Timer:
    due_ms: int
    to: str
    event: TimerFired


class Network:
    def __init__(self, names: str, byzantine: str = "", powers: dict[str, int] | None = None) -> None:
        self.names = names
        self.validators: ValidatorSet = validator_set(names, powers)
        self.now_ms = 0
        self.flying: list[tuple[str, Signed]] = []
        self.timers: list[Timer] = []
        self.nodes = {n: Node(n, self._machine(n, None, 0)) for n in names if n not in byzantine}
        for node in self.nodes.values():
            self.feed(node, Begin())

    def _machine(self, name: str, lock: LockRecord | None, round_: int) -> State:
        return new_height(HEIGHT, self.validators, turns(self.names), vid(name), PARAMS, lock, Round(round_))

    def feed(self, node: Node, *events: Event) -> None:
        """One event after the other, with what the node answers itself."""
        inbox = deque(events)
        while inbox:
            node.state, effects = step(node.state, inbox.popleft())
            for effect in effects:
                inbox.extend(self._perform(node, effect))

    def _perform(self, node: Node, effect: Effect) -> list[Event]:
        match effect:
            case StartTimer(kind, height, round_, delay_ms):
                self.timers.append(Timer(self.now_ms + delay_ms, node.name, TimerFired(kind, height, round_)))
            case BuildValue(height, round_):
                return [ValueBuilt(height, round_, block(f"{node.name}{round_}"))]
            case PersistLock(record):
                node.lock = record
            case SignProposal(proposal):
                return self._sign(node, replace(proposal, signature=b"signed"))
            case SignVote(vote):
                return self._sign(node, replace(vote, signature=b"signed"))
            case Decide(commit):
                node.commit = commit
            case Equivocation():
                node.evidence.append(effect)
        return []

    def _sign(self, node: Node, message: Signed) -> list[Event]:
        assert all(slot(message) != slot(earlier) for earlier in node.signed), f"{node.name} signs twice: {message}"
        if isinstance(message, Vote) and message.kind is VoteKind.PRECOMMIT and message.block_id is not None:
            assert node.lock is not None
            assert node.lock.locked == Lock(message.round, message.block_id), "a precommit needs a durable lock"
        node.signed.append(message)
        node.log.append(message)
        node.durable = len(node.log)
        self.flying += [(other, message) for other in self.nodes if other != node.name]
        return events_of(message)

    def deliver(self, index: int, keep: bool = False) -> None:
        """Hands over one message in flight; `keep` leaves a duplicate in flight."""
        to, message = self.flying[index]
        if not keep:
            del self.flying[index]
        self.nodes[to].log.append(message)
        self.feed(self.nodes[to], *events_of(message))

    def fire(self, index: int) -> None:
        timer = self.timers.pop(index)
        self.now_ms = max(self.now_ms, timer.due_ms)
        self.feed(self.nodes[timer.to], timer.event)

    def crash(self, name: str) -> None:
        """The node forgets all but its disk: the lock, and the log up to what its last signature made durable."""
        node = self.nodes[name]
        if node.commit is not None:
            return
        del node.log[node.durable :]
        self.timers = [t for t in self.timers if t.to != name]
        node.state = self._machine(name, node.lock, max((m.round for m in node.signed), default=0))
        known = [] if node.lock is None else [BlockChecked(node.lock.valid.block_id, True)]
        own = [event for message in node.signed for event in events_of(message)]
        self.feed(node, *known, *own, Begin(), *(event for message in node.log for event in events_of(message)))

    def decided(self) -> dict[str, BlockId]:
        return {n: node.commit.block_id for n, node in self.nodes.items() if node.commit is not None}

    def run_in_step(self, max_rounds: int) -> bool:
        """From now on all is synchronous: messages arrive before any timer fires. True if everybody decides in time."""
        last_round = max(node.state.round for node in self.nodes.values()) + max_rounds
        while len(self.decided()) < len(self.nodes):
            while self.flying:
                self.deliver(0)
            if not self._gossip() and len(self.decided()) < len(self.nodes):
                if not self.timers or any(node.state.round > last_round for node in self.nodes.values()):
                    return False
                self.fire(min(range(len(self.timers)), key=lambda i: self.timers[i].due_ms))
        return True

    def _gossip(self) -> bool:
        """Everybody sends everybody what it lacks; True if that changed anything."""
        before = [(node.state, node.commit) for node in self.nodes.values()]
        for node in self.nodes.values():
            for peer in self.nodes.values():
                if peer.commit is None and node.commit is not None:
                    peer.commit = node.commit  # block sync: a verified commit needs no machine (SPEC.md, deviation 4)
                elif peer is not node and peer.commit is None:
                    sent = lacking(node.state, standpoint(peer.state))
                    messages: list[Signed] = [*sent.votes] if sent.proposal is None else [sent.proposal, *sent.votes]
                    peer.log += messages
                    self.feed(peer, *(event for message in messages for event in events_of(message)))
        after = [(node.state, node.commit) for node in self.nodes.values()]
        return any(a is not b or c is not d for (a, c), (b, d) in zip(before, after, strict=True))


def slot(message: Signed) -> tuple[int, int]:
    """A validator signs at most one message for each."""
    return (message.round, message.kind if isinstance(message, Vote) else 0)


def events_of(message: Signed) -> list[Event]:
    """A proposal travels with its block."""
    if isinstance(message, Vote):
        return [VoteSeen(message)]
    valid = message.block_id != INVALID
    return [BlockChecked(message.block_id, valid), ProposalSeen(message, timely=True)]


def stuck_in(network: Network) -> str:
    """For a failing test: where everybody stands."""
    stands = [(n.name, n.state.round, n.state.step.name, n.state.locked, n.state.valid) for n in network.nodes.values()]
    return "\n".join(map(str, stands))


__all__ = ["INVALID", "Network", "Node", "Step", "TimerKind", "stuck_in"]
