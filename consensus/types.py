"""The values that consensus speaks of: ids, votes, proposals, validator sets and commits.

Signatures and keys are opaque bytes here: whoever feeds the machine has checked them (see `node.admission`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from typing import NewType

Height = NewType("Height", int)
Round = NewType("Round", int)
BlockId = NewType("BlockId", bytes)  # 32 bytes
ValidatorId = NewType("ValidatorId", bytes)  # 20 bytes: the address of the validator's public key
Power = NewType("Power", int)

NO_ROUND = Round(-1)


class VoteKind(IntEnum):
    """Values as on the wire and in the signed bytes."""

    PREVOTE = 1
    PRECOMMIT = 2


PREVOTE, PRECOMMIT = VoteKind
"""For what runs at every message: CPython 3.11 takes as long to look a member up in its class as to call a function."""


@dataclass(frozen=True, slots=True)
class Vote:
    """A prevote or precommit; `block_id` None is a vote for nil."""

    kind: VoteKind
    height: Height
    round: Round
    block_id: BlockId | None
    validator: ValidatorId
    signature: bytes = b""

    def signed(self, signature: bytes) -> Vote:
        """The same with a signature: every message takes this step, and `dataclasses.replace` is slow."""
        return Vote(self.kind, self.height, self.round, self.block_id, self.validator, signature)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A proposer's offer for (height, round); `pol_round` is the round of its proof of lock, or NO_ROUND."""

    height: Height
    round: Round
    block_id: BlockId
    pol_round: Round
    proposer: ValidatorId
    signature: bytes = b""

    def signed(self, signature: bytes) -> Proposal:
        """The same with a signature."""
        return Proposal(self.height, self.round, self.block_id, self.pol_round, self.proposer, signature)


@dataclass(frozen=True, slots=True)
class Validator:
    id: ValidatorId
    public_key: bytes
    power: Power
    name: str = ""


@dataclass(frozen=True)
class ValidatorSet:
    """Validators sorted by id, each with a positive power. A quorum is more than two thirds of the total power."""

    validators: tuple[Validator, ...]

    @classmethod
    def of(cls, validators: tuple[Validator, ...] | list[Validator]) -> ValidatorSet:
        """Sorts; raises ValueError on an empty set, a duplicate id or a power below 1."""
        members = tuple(sorted(validators, key=lambda v: v.id))
        if not members:
            raise ValueError("a validator set needs at least one validator")
        if len({v.id for v in members}) != len(members):
            raise ValueError("a validator stands twice in the set")
        if any(v.power < 1 for v in members):
            raise ValueError("every validator needs a power of at least 1")
        return cls(members)

    @cached_property
    def _hash(self) -> int:
        return hash(self.validators)

    def __hash__(self) -> int:
        """Kept: sets are keys of caches that every block asks."""
        return self._hash

    @cached_property
    def total_power(self) -> int:
        return sum(v.power for v in self.validators)

    @cached_property
    def index(self) -> Mapping[ValidatorId, int]:
        return {v.id: i for i, v in enumerate(self.validators)}

    def get(self, validator: ValidatorId) -> Validator | None:
        i = self.index.get(validator)
        return None if i is None else self.validators[i]

    def power_of(self, validator: ValidatorId) -> int:
        """0 for a stranger."""
        member = self.get(validator)
        return 0 if member is None else member.power

    def is_quorum(self, power: int) -> bool:
        """2f + 1: more than two thirds."""
        return 3 * power > 2 * self.total_power

    def is_third(self, power: int) -> bool:
        """f + 1: at least one of them is correct (more than a third)."""
        return 3 * power > self.total_power

    def __len__(self) -> int:
        return len(self.validators)


class CommitStatus(IntEnum):
    """Exactly one for each validator; values as on the wire."""

    ABSENT = 1
    NIL = 2
    COMMIT = 3


ABSENT, NIL, COMMIT = CommitStatus


@dataclass(frozen=True, slots=True)
class CommitEntry:
    status: CommitStatus
    validator: ValidatorId
    signature: bytes = b""


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit certificate: entry i speaks of validator i of the height's set."""

    height: Height
    round: Round
    block_id: BlockId
    entries: tuple[CommitEntry, ...] = field(default=())
