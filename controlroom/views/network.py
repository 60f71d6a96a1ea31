"""The network: who decides, how fast, and who is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from controlroom.feed import LISTED_BLOCKS, NodeView, Sample
from controlroom.model import Block
from controlroom.room import Params, Room, View

SHOWN_BLOCKS = 120
BEHIND_BLOCKS = 10
RATE_S = 60


def network(room: Room, params: Params) -> View:
    feed, model = room.feed, room.model
    described = [b for b in model.busy if b.proposer is not None][-SHOWN_BLOCKS:]
    addresses = validator_addresses(room)
    top = max((n.status.height for n in feed.nodes if n.status is not None and not n.error), default=model.height)
    return {
        "chain_id": feed.chain_id,
        "height": model.height,
        "time_ms": model.time_ms,
        "transactions": model.transactions,
        "per_second": rate(list(feed.samples)),
        "block_ms": block_ms(list(model.busy)[-SHOWN_BLOCKS:]),
        "state_roots": sorted(
            {s.state_root for n in feed.nodes if (s := n.status) and not n.error and s.height == top}
        ),
        "nodes": [_node(room, n, described, top) for n in feed.nodes],
        "members": [_member(room, m, described) for m in feed.facts.members],
        "busy": [_block(b, addresses) for b in list(model.busy)[-SHOWN_BLOCKS:]],
        "blocks": [_block(b, addresses) for b in list(model.blocks)[: -LISTED_BLOCKS - 1 : -1]],
        "samples": _samples(feed.samples),
        "node_names": [_name(n) for n in feed.nodes],
        "faults": [
            {
                "number": f.number,
                "block": f.block,
                "validator": addresses.get(f.validator, f.validator[:10]),
                "kind": f.kind,
                "height": f.height,
                "round": f.round,
            }
            for f in feed.facts.faults
        ],
    }


def validator_addresses(room: Room) -> dict[str, str]:
    """Address -> name of every member."""
    return {m["address"]: m["name"] for m in room.feed.members}


def rate(samples: Sequence[Sample]) -> float:
    """Transactions a second in the last minute that was seen."""
    recent = [s for s in samples if samples and s.time_ms >= samples[-1].time_ms - RATE_S * 1000]
    if len(recent) < 2 or recent[-1].time_ms == recent[0].time_ms:
        return 0.0
    return round(
        (recent[-1].transactions - recent[0].transactions) * 1000 / (recent[-1].time_ms - recent[0].time_ms), 1
    )


def block_ms(blocks: Sequence[Block]) -> int:
    """The mean time between neighbours that both hold something: a resting chain tells nothing of its speed."""
    gaps = [b.time_ms - a.time_ms for a, b in pairwise(blocks) if b.height == a.height + 1]
    return sum(gaps) // len(gaps) if gaps else 0


def _name(node: NodeView) -> str:
    return node.status.name if node.status is not None else node.address


def _node(room: Room, node: NodeView, described: Sequence[Block], top: int) -> dict[str, Any]:
    status = node.status
    member = next((m for m in room.feed.members if status is not None and m["name"] == status.name), None)
    shown: dict[str, Any] = {
        "address": node.address,
        "name": _name(node),
        "role": member["role"] if member else "",
    }
    shown |= _work(room, member, described)
    if status is None or node.error:
        return {**shown, "state": "silent", "seen_ms": int(node.seen_s * 1000), "error": node.error[:200]}
    state = "behind" if top - status.height >= BEHIND_BLOCKS else "benched" if shown["benched_until"] else "ok"
    return {
        **shown,
        "state": state,
        "height": status.height,
        "round": status.round,
        "finality_ms": status.finality_ms,
        "mempool": status.mempool,
        "peers": [{"name": p.name, "connected": p.connected} for p in status.peers],
        "version": status.version,
        "state_root": status.state_root,
    }


def _member(room: Room, member: dict[str, Any], described: Sequence[Block]) -> dict[str, Any]:
    told = {name: member[name] for name in ("address", "name", "role", "power")}
    return {**told, **_work(room, member, described)}


def _work(room: Room, member: dict[str, Any] | None, described: Sequence[Block]) -> dict[str, Any]:
    """What a validator did for the blocks that were looked at, and how often it let its turn pass since it last proposed."""
    if member is None:
        return {"proposed": 0, "signed": 0, "of": len(described), "missed": 0, "benched_until": 0, "faults": 0}
    address = member["address"]
    standing = room.feed.facts.standings.get(address)
    return {
        "proposed": Counter(b.proposer for b in described)[address],
        "signed": sum(address in b.signers for b in described),
        "of": len(described),
        "missed": standing.misses if standing else 0,
        "benched_until": standing.benched_until if standing else 0,
        "faults": sum(f.validator == address for f in room.feed.facts.faults),
    }


def _block(block: Block, addresses: dict[str, str]) -> dict[str, Any]:
    return {
        "height": block.height,
        "time_ms": block.time_ms,
        "transactions": block.transactions,
        "proposer": None if block.proposer is None else addresses.get(block.proposer, block.proposer[:10]),
        "round": block.round,
        "signers": len(block.signers),
    }


def _samples(samples: Sequence[Sample]) -> dict[str, Any]:
    listed = list(samples)
    rates = [
        round(max(b.transactions - a.transactions, 0) * 1000 / max(b.time_ms - a.time_ms, 1), 1)
        for a, b in pairwise(listed)
    ]
    return {
        "time_ms": [s.time_ms for s in listed[1:]],
        "per_second": rates,
        "finality_ms": [list(s.finality_ms) for s in listed[1:]],
        "mempool": [list(s.mempool) for s in listed[1:]],
    }
