"""Block sync: which decided blocks to ask of whom, and what has come in. Checking them is the replica's part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chain.block import Block
from consensus.types import Commit, Height
from node.events import PeerId, PeerState, RequestBlocks

RUN = 50  # blocks in one request
WINDOW = 4 * RUN  # how far ahead of the head blocks are fetched
PATIENCE_MS = 3_000  # then somebody else is asked
REST_MS = 1_000  # a peer whose answer was of no use is left alone for so long: else we would ask it without end
GRACE_MS = 300  # one height behind is normal: votes are on their way


@dataclass(frozen=True, slots=True)
class Fetched:
    peer: PeerId
    block: Block
    commit: Commit


@dataclass(frozen=True, slots=True)
class _Asked:
    first: int
    last: int
    since_ms: int

    def is_answered_by(self, blocks: Sequence[tuple[Block, Commit]]) -> bool:
        return not blocks or self.first <= blocks[0][0].header.height <= self.last


class Catchup:
    """At most one request to a peer at a time, over disjoint ranges, from all peers that claim to be ahead."""

    def __init__(self) -> None:
        self._asked: dict[PeerId, _Asked] = {}
        self._overdue: dict[PeerId, _Asked] = {}  # the last that we gave up: over a slow line its answer may still come
        self._fetched: dict[int, Fetched] = {}
        self._failed: dict[PeerId, int] = {}
        self._resting: dict[PeerId, int] = {}  # until when
        self._now_ms = 0
        self._behind_since_ms: tuple[int, int] = (0, 0)  # height, since when

    def next_requests(self, height: int, peers: Mapping[PeerId, PeerState | None], now_ms: int) -> list[RequestBlocks]:
        """`height` is the one this node decides; a peer that decides a later one has its block."""
        self._now_ms = now_ms
        ahead = {p: s.height - 1 for p, s in peers.items() if s is not None and s.height > height}
        if not (ahead or self._asked or self._overdue or self._fetched):
            return []  # nothing to ask and nothing to wait for: how nearly all ticks end
        self._resting = {p: until for p, until in self._resting.items() if now_ms < until <= now_ms + REST_MS}
        self._fetched = {h: f for h, f in self._fetched.items() if h >= height}
        given_up = {p: a for p, a in self._asked.items() if not 0 <= now_ms - a.since_ms < PATIENCE_MS}
        self._overdue = {p: a for p, a in {**self._overdue, **given_up}.items() if a.last >= height}
        self._asked = {p: a for p, a in self._asked.items() if a.last >= height and p not in given_up}
        if not ahead:
            return []
        if self._behind_since_ms[0] != height:
            self._behind_since_ms = (height, now_ms)
        if max(ahead.values()) == height and 0 <= now_ms - self._behind_since_ms[1] < GRACE_MS:
            return []
        requests: list[RequestBlocks] = []
        for peer in sorted(ahead, key=lambda p: (self._failed.get(p, 0), p)):
            state = peers[peer]
            if peer in self._asked or peer in self._resting or state is None:
                continue
            gap = self._first_gap(height, min(ahead[peer], height + WINDOW), state.earliest_height)
            if gap is not None:
                self._asked[peer] = _Asked(*gap, now_ms)
                requests.append(RequestBlocks(peer, Height(gap[0]), Height(gap[1])))
        return requests

    def _first_gap(self, first: int, last: int, earliest: int) -> tuple[int, int] | None:
        """The first run of heights that is neither here nor asked for."""
        if first < earliest:
            return None
        taken = {h for a in self._asked.values() for h in range(a.first, a.last + 1)} | set(self._fetched)
        at = next((h for h in range(first, last + 1) if h not in taken), None)
        if at is None:
            return None
        end = at
        while end < last and end + 1 not in taken and end - at + 1 < RUN:
            end += 1
        return at, end

    def received(self, peer: PeerId, blocks: tuple[tuple[Block, Commit], ...], height: int) -> None:
        """Keeps what was asked for; an answer that gives nothing new counts against the peer."""
        asked = self._asked.get(peer)
        if asked is not None and asked.is_answered_by(blocks):
            del self._asked[peer]
        else:
            asked = self._overdue.pop(peer, None)
        if asked is None:
            return
        before = len(self._fetched)
        for block, commit in blocks:
            at = block.header.height
            if height <= at and asked.first <= at <= asked.last:
                self._fetched.setdefault(at, Fetched(peer, block, commit))
        if len(self._fetched) == before and asked.last >= height:
            self._fail(peer)

    def take(self, height: int) -> Fetched | None:
        return self._fetched.pop(height, None)

    def forget(self, peer: PeerId) -> None:
        """Drops all that a peer sent or was asked for: it is gone, or it lied."""
        self._asked.pop(peer, None)
        self._overdue.pop(peer, None)
        self._fail(peer)
        self._fetched = {h: f for h, f in self._fetched.items() if f.peer != peer}

    def _fail(self, peer: PeerId) -> None:
        self._failed[peer] = self._failed.get(peer, 0) + 1
        self._resting[peer] = self._now_ms + REST_MS
