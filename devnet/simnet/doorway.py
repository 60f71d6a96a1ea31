"""Bytes through the production door, without threads or an event loop: what byzantine machines send comes in here."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from consensus.types import ValidatorId
from gridbft.v1 import peer_pb2 as pb
from node.admission import Admitted, Door, Fault

T = TypeVar("T")


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine that has nothing to wait for."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("a door without a pool waited for something")


def admit(door: Door, peer: ValidatorId, raw: bytes) -> Admitted | Fault | None:
    """As node.inbox does it; None for what says nothing to the replica (requests are answered by the machine itself)."""
    message = door.message(raw)
    if isinstance(message, Fault):
        return message
    match message.WhichOneof("kind"):
        case "txs":
            return at_once(door.peer_txs(peer, message.txs))
        case "votes":
            return at_once(door.votes(peer, message.votes))
        case "proposal":
            return at_once(door.proposal(peer, message.proposal))
        case "status":
            return door.status(peer, message.status)
        case "evidence":
            return door.evidence(peer, message.evidence)
        case "block_response":
            return door.blocks(peer, message.block_response)
        case "block_request":
            asked = door.block_request(message.block_request)
            return asked if isinstance(asked, Fault) else None
        case _:
            return Fault("a message of no known kind")


def wire(**kind: Any) -> bytes:
    """An encoded peer message of one kind."""
    return pb.PeerMessage(**kind).SerializeToString()
