"""What stands above every page: which chain it is, where it stands, and the days that can be looked at."""

from __future__ import annotations

from controlroom.clock import slots_of
from controlroom.room import Params, Room, View


def head(room: Room, params: Params) -> View:
    feed, model = room.feed, room.model
    answering = sum(1 for n in feed.nodes if n.status is not None and not n.error)
    return {
        "chain_id": feed.chain_id,
        "height": model.height,
        "time_ms": model.time_ms,
        "first_height": model.first_height,
        "unread": model.unread,
        "nodes": len(feed.nodes),
        "answering": answering,
        "silent": [n.status.name for n in feed.nodes if n.status is not None and n.error],  # who was heard of before
        "caught_up": feed.caught_up,
        "problem": feed.problem if not feed.caught_up or answering == 0 else "",
        "currency": room.currency,
        "newest": model.newest_day.isoformat() if model.newest_day is not None else None,
        "next_slot": model.last_gate + 1 if model.last_gate is not None else None,
        "feeder": room.grid is not None,
        "days": [
            {"day": day.isoformat(), "first": slots_of(day).start, "slots": len(slots_of(day)), "last": last}
            for day, last in sorted(model.days.items())
        ],
    }
