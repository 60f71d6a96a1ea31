"""Proof files of retirements: made from what the nodes answer, and checked against the genesis alone."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from controlroom.lookups import Missing, absent
from controlroom.plain import plain
from controlroom.room import BadRequest, Room
from gridbft import BlockingClient
from gridbft.errors import NotFound, VerificationError
from gridbft.requests import Limits
from gridbft.tls import Tls
from gridbft.verify import ProvedEvent, Trust, verify

MAX_PROOF_BYTES = 4_000_000


@dataclass(frozen=True, slots=True)
class Notary:
    """`genesis`: the text of the genesis file; without it nothing can be proved or checked here."""

    room: Room
    genesis: str | None
    tls: Tls | None = None

    async def prove(self, retirement_id: int) -> bytes:
        """A proof file that a retirement happened, checked before it is given away. Raises Missing, BadRequest."""
        genesis = self._genesis()
        one = self.room.model.origin.retirements.get(retirement_id)
        if one is None:
            raise Missing(absent(retirement_id, self.room.model.origin.newest_retirement, "retirement", "prove"))
        proof = await asyncio.to_thread(self._proved, one.tx_id, one.event, genesis)
        await asyncio.to_thread(verify, proof, genesis)
        return proof

    def _proved(self, tx_id: str, event: int, genesis: str) -> bytes:
        trust, limits = Trust.read(genesis), Limits(request_s=10.0)
        with BlockingClient(self.room.feed.addresses, trust=trust, limits=limits, tls=self.tls) as client:
            try:
                return client.prove_event(tx_id, event)
            except NotFound as error:
                raise Missing("the nodes do not keep this transaction any more") from error

    async def check(self, proof: bytes) -> dict[str, Any]:
        """What a dropped file proves, or why it proves nothing."""
        genesis = self._genesis()
        try:
            found = await asyncio.to_thread(verify, proof, genesis, now_ms=time.time_ns() // 1_000_000)
        except VerificationError as error:
            return {"ok": False, "reason": error.reason, "detail": error.detail}
        told = {"ok": True, **found.facts()}
        if isinstance(found.claim, ProvedEvent):
            event = found.claim.event
            shown = {"contract": event.contract, "name": event.name, "fields": plain(dict(event.fields))}
            return {**told, "event": shown, "tx_id": found.claim.tx_id, "height": found.claim.height}
        return {
            **told,
            "key": found.claim.key.hex(),
            "height": found.claim.height,
            "present": found.claim.value is not None,
        }

    def _genesis(self) -> str:
        if self.genesis is None:
            raise BadRequest("this server was started without --genesis: it cannot prove or check anything")
        return self.genesis
