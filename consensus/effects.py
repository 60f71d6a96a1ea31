"""What the machine asks of its host. A step's effects must happen in their order: durable before visible."""

from __future__ import annotations

from dataclasses import dataclass

from consensus.lock import LockRecord
from consensus.timeouts import TimerKind
from consensus.types import Commit, Height, Proposal, Round, Vote


@dataclass(frozen=True, slots=True)
class RoundEntered:
    """The machine left whatever round it was in; timers of earlier rounds may be forgotten."""

    round: Round


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Answer with TimerFired of the same kind, height and round after `delay_ms`."""

    kind: TimerKind
    height: Height
    round: Round
    delay_ms: int


@dataclass(frozen=True, slots=True)
class BuildValue:
    """It is our turn and nothing binds us: build a block, answer with ValueBuilt."""

    height: Height
    round: Round


@dataclass(frozen=True, slots=True)
class SignProposal:
    """Sign, keep and send this proposal (its signature is empty), then feed it back: BlockChecked, ProposalSeen."""

    proposal: Proposal


@dataclass(frozen=True, slots=True)
class PersistLock:
    """Make this durable before any effect that follows."""

    record: LockRecord


@dataclass(frozen=True, slots=True)
class SignVote:
    """Sign, keep and send this vote (its signature is empty), then feed it back as VoteSeen."""

    vote: Vote


@dataclass(frozen=True, slots=True)
class Decide:
    """The height is decided; the machine does nothing more but collect late votes."""

    commit: Commit


@dataclass(frozen=True, slots=True)
class Equivocation:
    """One validator signed two messages that exclude each other; `first` is the one that counts."""

    first: Vote | Proposal
    second: Vote | Proposal


Effect = RoundEntered | StartTimer | BuildValue | SignProposal | PersistLock | SignVote | Decide | Equivocation
