"""What may happen to the machine. Signatures and blocks were checked before; the machine trusts what an event says."""

from __future__ import annotations

from dataclasses import dataclass

from consensus.timeouts import TimerKind
from consensus.types import BlockId, Height, Proposal, Round, Vote


@dataclass(frozen=True, slots=True)
class Begin:
    """The height may start: enter its first round."""


@dataclass(frozen=True, slots=True)
class ProposalSeen:
    """A proposal whose signature is the claimed proposer's. `timely`: its block time was near ours when it came in."""

    proposal: Proposal
    timely: bool


@dataclass(frozen=True, slots=True)
class BlockChecked:
    """The block behind an id is at hand, and was found valid or not on top of this height's parent."""

    block_id: BlockId
    valid: bool


@dataclass(frozen=True, slots=True)
class VoteSeen:
    """A vote whose signature is the claimed validator's; own votes come back this way too, once signed."""

    vote: Vote


@dataclass(frozen=True, slots=True)
class TimerFired:
    kind: TimerKind
    height: Height
    round: Round


@dataclass(frozen=True, slots=True)
class ValueBuilt:
    """The answer to BuildValue: a block of our own for this round."""

    height: Height
    round: Round
    block_id: BlockId


Event = Begin | ProposalSeen | BlockChecked | VoteSeen | TimerFired | ValueBuilt
