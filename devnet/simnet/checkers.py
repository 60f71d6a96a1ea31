"""What must hold, judged from outside: by what machines made durable and what clients were told, not by what replicas think."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chain.block import Block
from consensus.types import Commit
from contracts.runtime.codec import decode

if TYPE_CHECKING:
    from devnet.simnet.machine import Machine
    from devnet.simnet.town import Town

BALANCES = b"payments/free/"


@dataclass(frozen=True, slots=True)
class Violation:
    kind: str
    detail: str


@dataclass(slots=True)
class Checkers:
    """`chain` is the first decision anybody made durable for each height; all others must repeat it."""

    town: Town
    chain: dict[int, bytes] = field(default_factory=dict)
    roots: dict[int, bytes] = field(default_factory=dict)
    placed: dict[bytes, int] = field(default_factory=dict)  # tx id -> height
    acknowledged: dict[bytes, int] = field(default_factory=dict)  # tx id -> number, once a client holds its receipt
    violations: list[Violation] = field(default_factory=list)

    def applied(self, machine: Machine, block: Block, commit: Commit) -> None:
        """Agreement, validity and equal roots, at every block of every correct machine."""
        height = block.header.height
        first = self.chain.get(height)
        if first is None:
            self.chain[height] = block.id
            self._first_decision(height, block)
        elif first != block.id:
            self.blame("fork", f"{machine.name} decided {block.id.hex()[:8]} at {height}, others {first.hex()[:8]}")
            return
        root = self.roots.setdefault(height, machine.ledger.head.state_root)
        if root != machine.ledger.head.state_root:
            self.blame("state", f"{machine.name} has another state root after {height}")
        power = sum(1 for e in commit.entries if e.status == 3)
        if 3 * power <= 2 * len(self.town.ids) or len({e.validator for e in commit.entries}) != len(commit.entries):
            self.blame("commit", f"{machine.name} took a commit without a quorum at {height}")

    def _first_decision(self, height: int, block: Block) -> None:
        for tx in block.txs:
            if not self.town.known(tx.raw):
                self.blame("validity", f"height {height} holds a transaction that no client signed")
            if tx.id in self.placed:
                self.blame("doubled", f"{tx.id.hex()[:8]} stands at {self.placed[tx.id]} and at {height}")
            self.placed[tx.id] = height
        if block.header.proposer not in self.town.ids:
            self.blame("validity", f"height {height} was proposed by a stranger")

    def finish(self, machines: list[Machine]) -> None:
        """Once the network is calm: nothing acknowledged is lost anywhere, and the money is all there."""
        for machine in machines:
            head = machine.ledger.head.height
            for tx_id, number in self.acknowledged.items():
                place = machine.ledger.store.find_tx(tx_id)
                if place is None:
                    self.blame("lost", f"{machine.name} at {head} lacks the acknowledged transaction {number}")
                    break
            total = sum(decode(v) for k, v in machine.ledger.store.state_entries() if k.startswith(BALANCES))
            if total != self.town.money_micros:
                self.blame("money", f"{machine.name} holds {total} micros instead of {self.town.money_micros}")

    def blame(self, kind: str, detail: str) -> None:
        if all(v.kind != kind for v in self.violations):
            self.violations.append(Violation(kind, detail))
