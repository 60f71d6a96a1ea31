"""What one client may ask of a node in a second, and who of several clients is next: pure, the time comes as a value."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")

BURST_SECONDS = 2.0
"""A client that was quiet may have so many seconds' worth at once."""
FINE_SECONDS = 0.01
DEBT_SECONDS = 30.0
"""No debt takes longer to pay: who stops to flood is served again after that."""
MOST_KNOWN = 10_000


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """Each per client: its certificate where it shows one, else its address (an IPv6 client is its /64)."""

    requests_per_second: int = 5_000
    transactions_per_second: int = 20_000
    bytes_per_second: int = 32 * 1024 * 1024
    faults_per_second: int = 100  # malformed or wrongly signed transactions, and refused requests
    calls_at_once: int = 1_000
    subscriptions: int = 64
    message_bytes: int = 4 * 1024 * 1024
    batch_transactions: int = 4_000


@dataclass(slots=True)
class Bucket:
    """Tokens flow in at `rate` a second up to `most`; taking more than there are leaves a debt to wait for."""

    rate: float
    most: float
    tokens: float
    at: float

    @classmethod
    def full(cls, rate: float, now: float) -> Bucket:
        return cls(rate, rate * BURST_SECONDS, rate * BURST_SECONDS, now)

    def take(self, count: float, now: float) -> None:
        self.fill(now)
        self.tokens = max(self.tokens - count, -self.rate * DEBT_SECONDS)

    def fill(self, now: float) -> None:
        self.tokens = min(self.most, self.tokens + (now - self.at) * self.rate)
        self.at = now

    def wait_s(self, now: float) -> float:
        """Seconds until the debt is paid; 0 without one."""
        self.fill(now)
        return max(0.0, -self.tokens / self.rate)


@dataclass(slots=True)
class Account:
    """What one client has used. `calls` and `subscriptions` are under way now."""

    requests: Bucket
    transactions: Bucket
    received: Bucket
    faults: Bucket
    calls: int = 0
    subscriptions: int = 0

    @classmethod
    def new(cls, limits: ClientLimits, now: float) -> Account:
        return cls(
            requests=Bucket.full(limits.requests_per_second, now),
            transactions=Bucket.full(limits.transactions_per_second, now),
            received=Bucket.full(limits.bytes_per_second, now),
            faults=Bucket.full(limits.faults_per_second, now),
        )

    def debt(self, now: float) -> tuple[float, str]:
        """Seconds until this client may go on, and the limit it has met (its key in the configuration)."""
        return max(
            (self.requests.wait_s(now), "requests_per_second"),
            (self.transactions.wait_s(now), "transactions_per_second"),
            (self.received.wait_s(now), "bytes_per_second"),
            (self.faults.wait_s(now), "faults_per_second"),
        )

    def fine(self, limit: str, now: float) -> None:
        """Asking on while in debt makes the debt longer."""
        bucket = {
            "requests_per_second": self.requests,
            "transactions_per_second": self.transactions,
            "bytes_per_second": self.received,
            "faults_per_second": self.faults,
        }.get(limit, self.requests)
        bucket.take(max(1.0, bucket.rate * FINE_SECONDS), now)

    @property
    def is_idle(self) -> bool:
        return self.calls == 0 and self.subscriptions == 0


class Accounts:
    """By client, the least recently seen first; idle ones beyond a bound are forgotten (they start anew, with a burst)."""

    def __init__(self, limits: ClientLimits, most: int = MOST_KNOWN) -> None:
        self.limits = limits
        self._most = most
        self._known: OrderedDict[str, Account] = OrderedDict()

    def of(self, client: str, now: float) -> Account:
        account = self._known.get(client)
        if account is None:
            self._forget()
            account = self._known[client] = Account.new(self.limits, now)
        self._known.move_to_end(client)
        return account

    def _forget(self) -> None:
        while len(self._known) >= self._most:
            idle = next((c for c, a in self._known.items() if a.is_idle), None)
            if idle is None:
                return  # every one of them has a call under way: connections bound their number
            del self._known[idle]

    def __len__(self) -> int:
        return len(self._known)


@dataclass(slots=True)
class Rota(Generic[T]):
    """Waiting pieces of work by client; clients take turns, whatever each of them has queued."""

    _queues: OrderedDict[str, deque[T]] = field(default_factory=OrderedDict)

    def add(self, client: str, work: T) -> None:
        self._queues.setdefault(client, deque()).append(work)

    def next(self) -> T | None:
        if not self._queues:
            return None
        client, queue = self._queues.popitem(last=False)
        work = queue.popleft()
        if queue:
            self._queues[client] = queue  # at the end: everybody else comes first
        return work
