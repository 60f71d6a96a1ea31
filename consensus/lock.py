"""What a validator is bound to: the value it locked, the newest value it knows a prevote quorum for, and the proof."""

from dataclasses import dataclass

from consensus.types import BlockId, Height, Round, Vote


@dataclass(frozen=True, slots=True)
class Lock:
    """A value and the round whose prevote quorum stands behind it."""

    round: Round
    block_id: BlockId


@dataclass(frozen=True, slots=True)
class LockRecord:
    """What must be durable before a precommit that depends on it leaves.

    `prevotes` are the signed prevotes of round `valid.round` for `valid.block_id`: with them the validator can prove its
    value to others after a restart. `locked` is None where only the valid value is known (paper L42-L43).
    """

    height: Height
    locked: Lock | None
    valid: Lock
    prevotes: tuple[Vote, ...]
