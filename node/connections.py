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
KNOWN_SECONDS = 60.0  # a session that calls again within this is known; later its address may be another connection's
KNOWN = 4_096  # sessions that are known at most

log = structlog.get_logger("connections")


class Connections:
    """Those of one port, which `port` names. `accepted` may be called from any thread, everything else from one."""

    def __init__(self, port: str) -> None:
        self._port = port
        self._lock = threading.Lock()
        self._accepted = 0
        self._with_call = 0
        self._known: OrderedDict[str, float] = OrderedDict()  # when it called last (s), the longest ago first
        self._looks: deque[tuple[float, int]] = deque()  # (when, accepted until then), the settled one first
        self._logged_s = float("-inf")
        self._logged = 0
        self.without_call = 0
        """At least so many, of the settled ones. It never falls: a connection under way is not in it, and a session that calls
        again after a long silence may hide one, but never makes one."""

    @property
    def total(self) -> int:
        return self._accepted

    def accepted(self) -> None:
        with self._lock:
            self._accepted += 1

    def called(self, peer: str, now_s: float) -> None:
        """A call came in on the session with `peer` (gRPC's word for the other end: address and port)."""
        before = self._known.get(peer)
        if before is None or now_s - before > KNOWN_SECONDS:
            self._with_call += 1
            if before is None and len(self._known) >= KNOWN:
                self._known.popitem(last=False)
        self._known[peer] = now_s
        self._known.move_to_end(peer)

    def look(self, now_s: float) -> None:
        """To be called every few seconds (monotonic time, any zero): settles what is old enough, and logs it now and then."""
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
                port=self._port,
                times=fresh,
                total=self.without_call,
                what="refused by TLS, no TLS at all, or given up; starting members make a few",
            )
