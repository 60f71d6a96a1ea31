"""Transactions that wait for a block: one lane for each sender, in the order of nonces, bounded in every direction.

The lanes are the one structure that holds transactions; the other maps are indexes of it, kept by `_put` and `_take`
alone (`check_invariants` says what they must agree on).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice

from chain.refusal import Code, Refusal
from chain.tx import Tx

LIST_ITEM_BYTES = 8  # an upper bound of what a list entry adds to an encoded block


@dataclass(frozen=True, slots=True)
class Limits:
    transactions: int = 100_000
    bytes: int = 128 * 1024 * 1024
    per_sender: int = 10_000
    expiry_window: int = 100_000  # heights


class _Lane(dict[int, Tx]):
    """One sender's waiting transactions by nonce; `next_nonce` is what the chain expects. Most senders have one transaction
    waiting, so a lane comes and goes with it and must be cheap to make."""

    __slots__ = ("next_nonce",)

    next_nonce: int


class Mempool:
    """`nonce_of` reads a sender's next nonce from the committed state."""

    def __init__(self, nonce_of: Callable[[str], int], limits: Limits = Limits()) -> None:
        self._nonce_of = nonce_of
        self._limits = limits
        self._lanes: dict[str, _Lane] = {}
        self._arrival: dict[bytes, Tx] = {}  # by envelope key, in order of arrival
        self._expiring: dict[int, dict[bytes, None]] = {}
        self._ready: set[str] = set()  # senders whose next transaction waits
        self._bytes = 0
        self.known: Callable[[bytes], Tx | None] = self._arrival.get
        """The transaction with an envelope key, whose signature was checked when it was added."""

    def __len__(self) -> int:
        return len(self._arrival)

    @property
    def has_ready(self) -> bool:
        """Whether a block could take something now: what waits behind a missing nonce does not count."""
        return bool(self._ready)

    def first(self, count: int) -> list[Tx]:
        """The transactions that have waited longest."""
        return list(islice(self._arrival.values(), count))

    def pending_nonce(self, sender: str) -> int:
        """The first nonce from the committed one on that nothing waits for."""
        lane = self._lanes.get(sender)
        if lane is None:
            return self._nonce_of(sender)
        nonce = lane.next_nonce
        while nonce in lane:
            nonce += 1
        return nonce

    def add(self, tx: Tx, height: int) -> Refusal | None:
        """Takes a verified transaction for a block at `height` or later. None means it stands (perhaps already)."""
        if tx.key in self._arrival:
            return None
        sender = tx.sender
        lane = self._lanes.get(sender)
        expected = self._nonce_of(sender) if lane is None else lane.next_nonce
        refusal = self._refusal(tx, height, expected, lane)
        if refusal is not None:
            return refusal
        if lane is None:
            lane = self._lanes[sender] = _Lane()
            lane.next_nonce = expected
        self._put(lane, tx)
        if tx.nonce == expected:
            self._ready.add(sender)
        return None

    def _refusal(self, tx: Tx, height: int, expected: int, lane: _Lane | None) -> Refusal | None:
        limits = self._limits
        nonce, expiry_height = tx.nonce, tx.expiry_height
        if nonce < expected:
            return Refusal(Code.NONCE_USED, f"nonce {nonce} is used, the next one is {expected}: sign again with it")
        if nonce >= expected + limits.per_sender:
            return Refusal(Code.NONCE_TOO_FAR, f"nonce {nonce} is too far ahead of {expected}: send the ones between")
        if expiry_height < height:
            return Refusal(Code.EXPIRED, f"expired at height {expiry_height}, the next block is {height}: sign again")
        if expiry_height > height + limits.expiry_window:
            return Refusal(Code.EXPIRY_TOO_FAR, f"the expiry may be at most {limits.expiry_window} heights ahead")
        if lane is not None and nonce in lane:
            return Refusal(Code.NONCE_TAKEN, f"another transaction waits with nonce {nonce}: use the next free one")
        if lane is not None and len(lane) >= limits.per_sender:
            return Refusal(Code.SENDER_FULL, f"{limits.per_sender} transactions of this sender wait: send again later")
        if len(self._arrival) >= limits.transactions or self._bytes + len(tx.raw) > limits.bytes:
            return Refusal(Code.MEMPOOL_FULL, "too many transactions wait: send again later")
        return None

    def any_ready(self, fits: Callable[[Tx], bool]) -> bool:
        """Like `has_ready`, for transactions of a kind."""
        lanes = (self._lanes[sender] for sender in self._ready)
        return any(fits(lane[lane.next_nonce]) for lane in lanes)

    def reap(
        self, max_bytes: int, max_gas: int, max_transactions: int, fits: Callable[[Tx], bool] | None = None
    ) -> list[Tx]:
        """Transactions for a block: in order of arrival, but never a nonce before the ones below it, nor one that does
        not fit."""
        taken: list[Tx] = []
        lanes = self._lanes
        upcoming: dict[str, int] = {}
        passed: dict[str, set[int]] = {}
        for arrived in self._arrival.values():
            sender, arrived_nonce = arrived.sender, arrived.nonce
            lane = lanes[sender]
            nonce = upcoming.get(sender)
            if nonce is None:
                nonce = lane.next_nonce
            if arrived_nonce > nonce:
                passed.setdefault(sender, set()).add(arrived_nonce)
                continue
            early = passed.get(sender, ())
            while nonce == arrived_nonce or nonce in early:
                tx = lane[nonce]
                if fits is not None and not fits(tx):
                    break
                max_bytes -= len(tx.raw) + LIST_ITEM_BYTES
                max_gas -= tx.gas_limit
                if max_bytes < 0 or max_gas < 0 or len(taken) >= max_transactions:
                    return taken
                taken.append(tx)
                nonce += 1
            upcoming[sender] = nonce
        return taken

    def committed(self, txs: Iterable[Tx], height: int) -> None:
        """Forgets what a block at `height` took, what its nonces overtook, and what has expired by now."""
        lanes = self._lanes
        for tx in txs:
            sender = tx.sender
            lane = lanes.get(sender)
            if lane is None:
                continue
            following = tx.nonce + 1
            for nonce in range(lane.next_nonce, following):
                overtaken = lane.get(nonce)
                if overtaken is not None:
                    self._take(lane, overtaken)
            if following > lane.next_nonce:
                lane.next_nonce = following
            self._mark(sender, lane)
        self._drop_expired(height)

    def drop(self, unfit: Callable[[Tx], bool]) -> None:
        """Forgets what no block may hold any more, so that it neither spoils one nor keeps others from getting in."""
        for tx in [tx for tx in self._arrival.values() if unfit(tx)]:
            lane = self._lanes[tx.sender]
            self._take(lane, tx)
            self._mark(tx.sender, lane)

    def _drop_expired(self, height: int) -> None:
        for expiry in [e for e in self._expiring if e <= height]:
            for key in list(self._expiring[expiry]):
                tx = self._arrival[key]
                lane = self._lanes[tx.sender]
                self._take(lane, tx)
                self._mark(tx.sender, lane)

    def _mark(self, sender: str, lane: _Lane) -> None:
        """After a change of the lane: it is ready, or waits for a nonce, or is empty and goes."""
        if lane.next_nonce in lane:
            self._ready.add(sender)
            return
        self._ready.discard(sender)
        if not lane:
            del self._lanes[sender]

    def _put(self, lane: _Lane, tx: Tx) -> None:
        key, expiry_height = tx.key, tx.expiry_height
        lane[tx.nonce] = tx
        self._arrival[key] = tx
        bucket = self._expiring.get(expiry_height)
        if bucket is None:
            bucket = self._expiring[expiry_height] = {}
        bucket[key] = None
        self._bytes += len(tx.raw)

    def _take(self, lane: _Lane, tx: Tx) -> None:
        key, expiry_height = tx.key, tx.expiry_height
        del lane[tx.nonce]
        del self._arrival[key]
        bucket = self._expiring[expiry_height]
        del bucket[key]
        if not bucket:
            del self._expiring[expiry_height]
        self._bytes -= len(tx.raw)

    def check_invariants(self) -> None:
        """Asserts that lanes and indexes hold the same transactions."""
        in_lanes = {tx.key: tx for lane in self._lanes.values() for tx in lane.values()}
        assert in_lanes == self._arrival
        assert self._bytes == sum(len(tx.raw) for tx in in_lanes.values())
        assert {k for bucket in self._expiring.values() for k in bucket} == set(in_lanes)
        assert self._ready == {s for s, lane in self._lanes.items() if lane.next_nonce in lane}
        for sender, lane in self._lanes.items():
            assert lane, f"an empty lane of {sender}"
            assert all(n >= lane.next_nonce and tx.nonce == n for n, tx in lane.items())
