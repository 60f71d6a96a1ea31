"""The explorer's first page: the newest blocks and transactions, and what was proposed."""

from __future__ import annotations

from typing import Any

from controlroom.room import Params, Room, View
from controlroom.views.network import validator_addresses

LISTED = 30


def explorer(room: Room, params: Params) -> View:
    model = room.model
    return {
        "height": model.height,
        "blocks": [
            {
                "height": b.height,
                "time_ms": b.time_ms,
                "block_id": b.block_id,
                "transactions": b.transactions,
                "events": b.events,
            }
            for b in list(model.blocks)[: -LISTED - 1 : -1]
        ],
        "transactions": [
            {"tx_id": t.tx_id, "height": t.height, "ok": t.ok, "code": t.code, "what": t.what}
            for t in list(model.recent)[: -LISTED - 1 : -1]
        ],
        "proposals": [shown_proposal(room, p) for p in reversed(room.feed.facts.proposals)],
        "parameters": room.feed.facts.parameters,
    }


def shown_proposal(room: Room, proposal: dict[str, Any]) -> dict[str, Any]:
    names = validator_addresses(room)
    subject = {k: v.hex() if isinstance(v, bytes) else v for k, v in proposal["subject"].items() if k != "certificate"}
    return {
        "id": proposal["id"],
        "kind": proposal["kind"],
        "subject": subject,
        "proposer": names.get(proposal["proposer"], proposal["proposer"][:10]),
        "created_height": proposal["created_height"],
        "status": proposal["status"],
        "votes": [{"voter": names.get(v, v[:10]), "approve": yes} for v, yes in proposal["votes"].items()],
    }
