"""What a run of the benchmark is to do, and the figures that it was done with."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

Workload = Literal["transfer", "orders", "meter"]
WORKLOADS: tuple[Workload, ...] = ("transfer", "orders", "meter")
DEFAULT_ACCOUNTS: dict[Workload, int] = {"transfer": 10_000, "orders": 1_000, "meter": 15_360}


@dataclass(frozen=True, slots=True)
class Options:
    """`rate` in transactions per second, or None: as many as are finished with `window` of them under way.

    With `readings` it ends when so many were sent, and not after `seconds`.

    `orders_per_tx` is how many orders a transaction has, each for another slot.

    `kill` names a node that gets SIGKILL once the share `kill_after` of `seconds` is over.
    """

    nodes: int
    seconds: float
    workload: Workload
    accounts: int
    rate: float | None
    kill: str | None
    window: int
    readings: int | None = None
    orders_per_tx: int = 1
    kill_after: float = 0.1

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Options:
        return cls(**{**record, "workload": cast("Workload", record["workload"])})
