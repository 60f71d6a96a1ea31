"""What goes into a replica and what comes out of it: values only, so that any host can drive it.

Everything in an event has passed the door (`node.admission`): it is decoded, within its caps, and its signatures are
checked. Effects are to be carried out in their order; a `Persist` must be on the disk before the next effect begins.
"""

from __future__ import annotations

from dataclasses import dataclass

from chain.block import Block
from chain.refusal import Refusal
from chain.store import Head
from chain.tx import Tx
from consensus.types import Commit, Height, Proposal, ValidatorId, Vote

PeerId = ValidatorId  # peers are known by the address of the key that they proved to hold


@dataclass(frozen=True, slots=True)
class Timer:
    """`kind` is one of the machine's ("propose", "prevote", "precommit") or the replica's ("begin", "tick", "absent")."""

    kind: str
    height: int
    round: int = 0


@dataclass(frozen=True, slots=True)
class PeerState:
    """Where a peer stands and what it holds: bitmaps by validator index (bit i = validator i)."""

    height: int
    round: int
    step: int
    prevotes: int
    precommits: int
    has_proposal: bool
    pol_round: int
    pol_prevotes: int
    earliest_height: int
    silent: bool = False  # may have forgotten what it signed: tell it all that it must know of this height


# --- events ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Started:
    """First of all. `own` are the messages this validator signed at the current height before it stopped (from the
    write-ahead log, signatures included or to be made again by the signer), `lock` and `blocks` what it had locked, `heard`
    the votes of others that led it into its rounds."""

    own: tuple[Vote | Proposal, ...] = ()
    lock: bytes = b""
    blocks: tuple[bytes, ...] = ()
    heard: tuple[Vote, ...] = ()


@dataclass(frozen=True, slots=True)
class Memory:
    """All that one node knows of a height and a silent validator must: what that validator itself said, and the prevotes that
    prove the value the others hold."""

    height: Height
    votes: tuple[Vote, ...] = ()
    proposals: tuple[Proposal, ...] = ()


@dataclass(frozen=True, slots=True)
class TxsReceived:
    """Verified transactions from a client (`request` names whom to answer) or from a peer."""

    txs: tuple[Tx, ...]
    request: int | None = None
    peer: PeerId | None = None


@dataclass(frozen=True, slots=True)
class ProposalReceived:
    peer: PeerId
    proposal: Proposal
    block: Block | None


@dataclass(frozen=True, slots=True)
class VotesReceived:
    peer: PeerId
    votes: tuple[Vote, ...]


@dataclass(frozen=True, slots=True)
class MemoryReceived:
    peer: PeerId
    memory: Memory


@dataclass(frozen=True, slots=True)
class EvidenceReceived:
    """Encoded evidence as a peer sent it: whether it holds, the replica checks."""

    peer: PeerId
    evidence: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class PeerUp:
    peer: PeerId


@dataclass(frozen=True, slots=True)
class PeerDown:
    peer: PeerId


@dataclass(frozen=True, slots=True)
class StatusReceived:
    peer: PeerId
    state: PeerState


@dataclass(frozen=True, slots=True)
class BlocksReceived:
    """Decoded blocks with their commits, as a peer sent them: their commits are not yet checked (the replica does)."""

    peer: PeerId
    blocks: tuple[tuple[Block, Commit], ...]


@dataclass(frozen=True, slots=True)
class Signed:
    """The signer's answer to `Sign`."""

    message: Vote | Proposal


@dataclass(frozen=True, slots=True)
class SignRefused:
    """The signer's guard would not sign: something else was signed there before."""

    message: Vote | Proposal
    reason: str


@dataclass(frozen=True, slots=True)
class TimerFired:
    timer: Timer


@dataclass(frozen=True, slots=True)
class BlockApplied:
    """The answer to `Apply`: the block is executed and durable."""

    block: Block
    head: Head


Event = (
    Started
    | TxsReceived
    | ProposalReceived
    | VotesReceived
    | MemoryReceived
    | EvidenceReceived
    | PeerUp
    | PeerDown
    | StatusReceived
    | BlocksReceived
    | Signed
    | SignRefused
    | TimerFired
    | BlockApplied
)


# --- records of the write-ahead log ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LoggedBlock:
    """A block that this node may have to propose or finish again."""

    height: Height
    raw: bytes


@dataclass(frozen=True, slots=True)
class LoggedLock:
    """The machine's lock, encoded by `consensus.lockfile`."""

    height: Height
    raw: bytes


@dataclass(frozen=True, slots=True)
class LoggedOwn:
    """A vote or proposal about to be signed and sent."""

    message: Vote | Proposal


@dataclass(frozen=True, slots=True)
class LoggedHeard:
    """A vote of another validator that led this one into a round, or was known there."""

    vote: Vote


LogRecord = LoggedBlock | LoggedLock | LoggedOwn | LoggedHeard


# --- effects --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Persist:
    """Append to the write-ahead log and sync, before anything that follows."""

    records: tuple[LogRecord, ...]


@dataclass(frozen=True, slots=True)
class Sign:
    """Have the signer sign; it answers by `Signed` or `SignRefused`."""

    message: Vote | Proposal


@dataclass(frozen=True, slots=True)
class SendTxs:
    to: PeerId | None  # None: every peer
    raw_txs: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class SendProposal:
    to: PeerId | None
    proposal: Proposal
    raw_block: bytes


@dataclass(frozen=True, slots=True)
class SendVotes:
    to: PeerId | None
    votes: tuple[Vote, ...]


@dataclass(frozen=True, slots=True)
class SendMemory:
    to: PeerId
    memory: Memory


@dataclass(frozen=True, slots=True)
class SendStatus:
    to: PeerId | None
    state: PeerState


@dataclass(frozen=True, slots=True)
class SendEvidence:
    to: PeerId | None
    evidence: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class RequestBlocks:
    """Ask a peer for decided blocks, both ends included. Hosts answer such requests from their store."""

    to: PeerId
    first: Height
    last: Height


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Fire once, `delay_ms` from now. A timer that is set again (same kind) replaces the earlier one of that kind."""

    timer: Timer
    delay_ms: int


@dataclass(frozen=True, slots=True)
class Apply:
    """Execute a decided block and make it durable; answered by `BlockApplied`."""

    block: Block
    commit: Commit


@dataclass(frozen=True, slots=True)
class AnswerClient:
    """Verdicts on a client's transactions, in their order; None admits."""

    request: int
    verdicts: tuple[Refusal | None, ...]


@dataclass(frozen=True, slots=True)
class Penalise:
    peer: PeerId
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """Something for the log and the metrics."""

    event: str
    fields: tuple[tuple[str, object], ...] = ()


Effect = (
    Persist
    | Sign
    | SendTxs
    | SendProposal
    | SendVotes
    | SendMemory
    | SendStatus
    | SendEvidence
    | RequestBlocks
    | SetTimer
    | Apply
    | AnswerClient
    | Penalise
    | Report
)
