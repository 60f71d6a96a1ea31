"""From the records of a write-ahead log to the replica's first event."""

from __future__ import annotations

from collections.abc import Iterable

from node.events import LoggedBlock, LoggedHeard, LoggedLock, LoggedOwn, LogRecord, Started
from node.signer import Position, position_of

FORGOTTEN = -1
"""Stands for the height of a guard beside which the log is gone."""


def remembered_height(last: Position, records: Iterable[LogRecord], height: int) -> int:
    """The height that this disk remembers signing last, where the guard's last position is `last` and `height` is the next
    to be decided. Each message is in the log before it is signed, and the log drops no height that is not decided: if it
    lacks the guard's last one, it was lost, and with it perhaps a lock, of which the guard knows nothing."""
    if last[0] < height or any(isinstance(r, LoggedOwn) and position_of(r.message) == last for r in records):
        return last[0]
    return FORGOTTEN


def started(records: Iterable[LogRecord], height: int) -> Started:
    """What this validator had promised at `height`, the one it has not yet applied; older records say nothing any more.

    Of several locks the last one holds. Of own messages each stands as often as it was logged: the signer decides.
    """
    own = []
    blocks = []
    heard = []
    lock = b""
    for record in records:
        match record:
            case LoggedOwn(message) if message.height == height:
                own.append(message)
            case LoggedHeard(vote) if vote.height == height:
                heard.append(vote)
            case LoggedBlock(at, raw) if at == height:
                blocks.append(raw)
            case LoggedLock(at, raw) if at == height:
                lock = raw
            case _:
                pass
    return Started(tuple(dict.fromkeys(own)), lock, tuple(blocks), tuple(dict.fromkeys(heard)))
