"""What waits to be sent to one peer: bounded in bytes, and never quietly losing what consensus rests on."""

from __future__ import annotations

import asyncio
from collections import deque
from enum import Enum, auto

VITAL_BYTES = 32 * 1024 * 1024
BULK_BYTES = 16 * 1024 * 1024


class Lane(Enum):
    VITAL = auto()  # votes, proposals, block requests and responses
    STATUS = auto()  # only the newest counts
    BULK = auto()  # transactions: the oldest go first when it is full


class Outbox:
    """One reader. Vital messages pass before transactions, so that a vote never waits behind a megabyte."""

    def __init__(self, vital_bytes: int = VITAL_BYTES, bulk_bytes: int = BULK_BYTES) -> None:
        self._vital: deque[bytes] = deque()
        self._bulk: deque[bytes] = deque()
        self._status: bytes | None = None
        self._vital_room = vital_bytes
        self._bulk_room = bulk_bytes
        self._ready = asyncio.Event()
        self.dropped = 0

    def put(self, lane: Lane, raw: bytes) -> bool:
        """False: the peer is too slow for what it must get. Then the stream has to end; gossip repairs the rest once
        there is a new one."""
        match lane:
            case Lane.VITAL:
                self._vital_room -= len(raw)
                if self._vital_room < 0:
                    return False
                self._vital.append(raw)
            case Lane.STATUS:
                self._status = raw
            case Lane.BULK:
                self._bulk_room -= len(raw)
                self._bulk.append(raw)
                while self._bulk_room < 0:
                    self._bulk_room += len(self._bulk.popleft())
                    self.dropped += 1
        self._ready.set()
        return True

    def take(self) -> bytes | None:
        if self._vital:
            raw = self._vital.popleft()
            self._vital_room += len(raw)
            return raw
        if self._status is not None:
            raw, self._status = self._status, None
            return raw
        if self._bulk:
            raw = self._bulk.popleft()
            self._bulk_room += len(raw)
            return raw
        return None

    async def get(self) -> bytes:
        while (raw := self.take()) is None:
            self._ready.clear()
            await self._ready.wait()
        return raw
