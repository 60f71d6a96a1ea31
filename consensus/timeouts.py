"""How long a step may last: a base per kind, growing with the round, never beyond a cap."""

from dataclasses import dataclass
from enum import IntEnum

from consensus.types import Round


class TimerKind(IntEnum):
    PROPOSE = 1
    PREVOTE = 2
    PRECOMMIT = 3


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Milliseconds. The cap keeps validators that were apart for long from sitting in hour-long rounds.

    Raises ValueError on a base or cap below 1 or a negative growth.
    """

    propose_ms: int = 1_000
    prevote_ms: int = 500
    precommit_ms: int = 500
    delta_ms: int = 500
    cap_ms: int = 10_000

    def __post_init__(self) -> None:
        if min(self.propose_ms, self.prevote_ms, self.precommit_ms, self.cap_ms) < 1 or self.delta_ms < 0:
            raise ValueError("time-outs need positive bases, a positive cap and a growth of at least 0")

    def delay_ms(self, kind: TimerKind, round_: Round) -> int:
        """Paper, section 3: time-outs grow with the round, so that they outlast the unknown message delay at last."""
        base_ms = (self.propose_ms, self.prevote_ms, self.precommit_ms)[kind - 1]
        return min(base_ms + self.delta_ms * round_, self.cap_ms)
