"""How many connections came to a TLS port, and how many of them never brought a call.

gRPC makes the TLS handshake itself and tells nobody how it ended. But it asks for the port's certificates once for each
connection, before the handshake begins, so the connections can be counted there; and a session that TLS let in shows itself
by its first call. What is left when the handshake's time is over was refused by TLS, was no TLS at all, or was given up: members
that start together make a few of the last kind, when their clients try once more what they have just stopped wanting.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque

import structlog

HANDSHAKE_SECONDS = 10
HANDSHAKE_OPTION = ("grpc.server_handshake_timeout_ms", HANDSHAKE_SECONDS * 1_000)
"""Whoever has not ended its handshake by then is cut off."""
SETTLED_SECONDS = HANDSHAKE_SECONDS + 5.0
LOG_PAUSE_SECONDS = 60.0
RECENT = 256  # sessions that are told apart from new ones when they call again: those of members' single requests

log = structlog.get_logger("peers")


class Connections:
    """`accepted` may be called from any thread, everything else from one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._accepted = 0
        self._with_call = 0
        self._recent: OrderedDict[str, None] = OrderedDict()
        self._looks: deque[tuple[float, int]] = deque()  # (when, accepted until then), the settled one first
        self._logged_s = float("-inf")
        self._logged = 0
        self.without_call = 0
        """Settled ones only: it never counts a connection that is still under way, and it never falls."""

    @property
    def total(self) -> int:
        return self._accepted

    def accepted(self) -> None:
        with self._lock:
            self._accepted += 1

    def called(self, peer: str) -> None:
        """A call came in on the session with `peer` (gRPC's word for the other end: address and port)."""
        if peer not in self._recent:
            self._with_call += 1
            if len(self._recent) >= RECENT:
                self._recent.popitem(last=False)
        self._recent[peer] = None
        self._recent.move_to_end(peer)

    def look(self, now_s: float) -> None:
        """To be called every few seconds (monotonic time): settles what is old enough, and logs it now and then."""
        self._looks.append((now_s, self._accepted))
        while len(self._looks) > 1 and self._looks[1][0] <= now_s - SETTLED_SECONDS:
            self._looks.popleft()
        when, accepted = self._looks[0]
        if when <= now_s - SETTLED_SECONDS:
            self.without_call = max(self.without_call, accepted - self._with_call)
        fresh = self.without_call - self._logged
        if fresh and now_s - self._logged_s >= LOG_PAUSE_SECONDS:
            self._logged_s, self._logged = now_s, self.without_call
            log.warning(
                "connections_without_call",
                times=fresh,
                total=self.without_call,
                what="refused by TLS (no member's certificate), no TLS at all, or given up; starting members make a few",
            )
