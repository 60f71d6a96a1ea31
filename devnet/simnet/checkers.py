"""What must hold, judged from outside: by what machines made durable, what went over the wire and what clients were told,
not by what replicas think. Nothing here calls the rules that it judges."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chain.block import Block
from chain.evidence import decode_evidence
from consensus.evidence import offender
from consensus.proposer import ProposerOrder
from consensus.signbytes import vote_sign_bytes
from consensus.types import Commit, CommitStatus, Round, ValidatorId, Vote, VoteKind
from contracts.runtime.codec import decode
from devnet.simnet.witness import Charge, Witness

if TYPE_CHECKING:
    from devnet.simnet.machine import Machine
    from devnet.simnet.town import Town

BALANCES = b"payments/free/"
MOST_SKEW_MS = 20_000  # no fault sets a clock further off
PRECISION_MS = 500  # of the chain's parameters: what a correct validator allows beyond its own clock
MOST_EVIDENCE = 1_000
MOST_CALM_ROUNDS = 14  # in one height, once messages arrive again


@dataclass(frozen=True, slots=True)
class Violation:
    kind: str
    detail: str


@dataclass(slots=True)
class Checkers:
    """`chain` is the first decision that an honest machine made durable for each height; all others must repeat it."""

    town: Town
    witness: Witness
    chain: dict[int, bytes] = field(default_factory=dict)
    roots: dict[int, bytes] = field(default_factory=dict)
    times: dict[int, int] = field(default_factory=dict)
    balances: dict[int, dict[str, int]] = field(default_factory=dict)  # after a height, by our own book-keeping
    nonces: dict[str, int] = field(default_factory=dict)
    placed: dict[bytes, int] = field(default_factory=dict)  # tx id -> height
    acknowledged: dict[bytes, int] = field(default_factory=dict)  # tx id -> number, once a client holds its receipt
    calm_rounds: dict[tuple[str, int], int] = field(default_factory=dict)  # machine and height -> rounds entered
    forked: bool = False
    violations: list[Violation] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.times[0] = self.town.genesis.time_ms
        self.balances[0] = dict.fromkeys(self.town.accounts, self.town.funds_micros)
        self.nonces = dict.fromkeys(self.town.accounts, 0)

    # --- at every block --------------------------------------------------------------------------------------------

    def applied(self, machine: Machine, block: Block, commit: Commit, true_ms: int) -> None:
        """Agreement, validity and equal roots, at every block of every honest machine."""
        height = block.header.height
        first = self.chain.get(height)
        self._check_commit(machine, block, commit)
        if first is None:
            self.chain[height] = block.id
            self.roots[height] = machine.ledger.head.state_root
            self._first_decision(block, machine.ledger.system.last_turns, commit.round, true_ms)
        elif first != block.id:
            self.forked = True
            self.blame("fork", f"{machine.name} decided {block.id.hex()[:8]} at {height}, others {first.hex()[:8]}")
        elif self.roots[height] != machine.ledger.head.state_root:
            self.blame("state", f"{machine.name} has another state root after {height}")

    def resumed(self, machine: Machine) -> None:
        """What a machine comes back with, from its disk or from a snapshot, is a block that was decided and its state."""
        head = machine.ledger.head
        if (self.chain[head.height], self.roots[head.height]) != (head.block_id, head.state_root):
            self.blame("state", f"{machine.name} begins after {head.height} with a state that is not the chain's")

    def _check_commit(self, machine: Machine, block: Block, commit: Commit) -> None:
        """More than two thirds signed exactly this: counted by distinct signers whose signatures are right."""
        signers, keys, verify = set(), self.town.public_keys, self.town.verify
        vote = Vote(VoteKind.PRECOMMIT, block.header.height, commit.round, block.id, ValidatorId(b""))
        message = vote_sign_bytes(self.town.genesis.chain_id, vote)  # the same whoever signs it
        for entry in commit.entries:
            key = keys.get(entry.validator) if entry.status == CommitStatus.COMMIT else None
            if key is not None and verify(key, message, entry.signature):
                signers.add(entry.validator)
        if not self.witness.is_quorum(len(signers)):
            self.blame("commit", f"{machine.name} took {block.header.height} with {len(signers)} right signatures")

    def _first_decision(self, block: Block, turns: ProposerOrder, round_: Round, true_ms: int) -> None:
        header, height = block.header, block.header.height
        parent = self.chain.get(height - 1, bytes(32))
        if header.parent != parent or (height > 1 and header.state_root != self.roots[height - 1]):
            self.blame(
                "validity", f"the header of {height} names another parent or another state root than its parent's"
            )
        if header.proposer not in {turns.proposer(Round(r)) for r in range(round_ + 1)}:
            self.blame("validity", f"{height} was proposed by someone who had no turn up to round {round_}")
        if block.id not in self.witness.offered:
            self.blame("forged", f"nobody signed a proposal of the block at {height}")
        before = self.times[height - 1]
        self.times[height] = header.time_ms
        if not before < header.time_ms <= max(true_ms + MOST_SKEW_MS + PRECISION_MS, before + 1):
            self.blame(
                "time", f"{height} is dated {header.time_ms - true_ms} ms from now, its parent {before - true_ms}"
            )
        self._check_transactions(block)

    def _check_transactions(self, block: Block) -> None:
        height = block.header.height
        after = dict(self.balances[height - 1])
        for tx in block.txs:
            payment = self.town.payment(tx.raw)
            if payment is None:
                self.blame("validity", f"{height} holds a transaction that no client signed")
                continue
            if tx.id in self.placed:
                self.blame("doubled", f"{tx.id.hex()[:8]} stands at {self.placed[tx.id]} and at {height}")
            if payment.nonce != self.nonces[payment.sender]:
                self.blame("validity", f"{height} holds nonce {payment.nonce} of a sender whose next one is another")
            self.nonces[payment.sender] = payment.nonce + 1
            self.placed[tx.id] = height
            after[payment.sender] -= payment.amount_micros
            after[payment.to] += payment.amount_micros
        self.balances[height] = after

    # --- while it runs ---------------------------------------------------------------------------------------------

    def entered_round(self, machine: Machine, height: int) -> None:
        """Once messages arrive again, a height may take a few rounds more, not any number."""
        place = machine.name, height
        self.calm_rounds[place] = self.calm_rounds.get(place, 0) + 1
        if self.calm_rounds[place] > MOST_CALM_ROUNDS:
            self.blame("restless", f"{machine.name} needs more than {MOST_CALM_ROUNDS} calm rounds for {height}")

    # --- at the end ------------------------------------------------------------------------------------------------

    def finish(self, machines: list[Machine]) -> None:
        """Once the network is calm: nothing acknowledged is lost anywhere, and the money is where the payments put it."""
        for machine in machines:
            head = machine.ledger.head.height
            for tx_id, number in self.acknowledged.items():
                if self.placed.get(tx_id, head) < machine.ledger.store.earliest():
                    continue  # it began from a snapshot after that block
                place = machine.ledger.store.find_tx(tx_id)
                if place is None or place[0] != self.placed.get(tx_id):
                    self.blame("lost", f"{machine.name} at {head} lacks the acknowledged transaction {number}")
                    break
            self._check_money(machine)
            self._check_evidence(machine, {bytes(m.id) for m in machines})

    def convicts(self, machine: Machine, validator: bytes) -> bool:
        """Whether evidence against a validator stands on this machine's chain."""
        found = [decode_evidence(raw) for _, raw in machine.ledger.evidence(0, MOST_EVIDENCE)]
        return any(offender(evidence) == validator for evidence in found)

    def _check_evidence(self, machine: Machine, honest: set[bytes]) -> None:
        for height, raw in machine.ledger.evidence(0, MOST_EVIDENCE):
            if offender(decode_evidence(raw)) in honest:
                self.blame("framed", f"evidence against an honest validator stands at {height}")

    def _check_money(self, machine: Machine) -> None:
        head = machine.ledger.head.height
        entries = [(k, decode(v)) for k, v in machine.ledger.store.state_entries() if k.startswith(BALANCES)]
        held = dict.fromkeys(self.town.accounts, 0)
        for key, micros in entries:
            held[next(a for a in held if a.encode() in key)] += micros
        if sum(held.values()) != self.town.money_micros:
            self.blame("money", f"{machine.name} holds {sum(held.values())} micros, not {self.town.money_micros}")
        elif held != self.balances.get(head):
            self.blame("money", f"{machine.name} at {head} has other balances than the payments make")

    def judge(self, honest: set[bytes], total: int, may_fork: bool) -> None:
        """Signatures alone: honest validators are beyond reproach; a fork convicts at least a third."""
        charges = self.witness.charges()
        for charge in charges:
            if charge.validator in honest:
                self.blame(charge.kind, f"{charge.validator.hex()[:8]}, who is honest: {charge.detail}")
        if may_fork and self.forked:
            self.violations = [
                v for v in self.violations if v.kind not in ("fork", "state", "lost", "money", "validity")
            ]
            guilty = convicted(charges)
            if 3 * len(guilty) < total:
                self.blame("unaccountable", f"a fork convicts only {len(guilty)} of {total}")

    def blame(self, kind: str, detail: str) -> None:
        if all(v.kind != kind for v in self.violations):
            self.violations.append(Violation(kind, detail))


def convicted(charges: list[Charge]) -> set[bytes]:
    """Those against whom two signed messages stand."""
    return {bytes(c.validator) for c in charges if c.kind in ("doubly signed", "forgot its lock")}
