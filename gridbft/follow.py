"""Whom a running client trusts: the validators of the genesis at first, then whoever came after them."""

from __future__ import annotations

from collections.abc import Generator

from gridbft.light import Link, read_header, validators_hash
from gridbft.trail import Answer, Need, find_trail
from gridbft.verify import Trust


class Follower:
    """Remembers the newest header that was believed, so that each change of validators is walked only once."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        self._latest = trust.root

    def trust_for(self, link: Link) -> Generator[Need, Answer, Trust]:
        """The trust by which a proof under this header is to be checked; the header itself is checked with the proof.

        Yields what it needs from a node and is sent the answers (see `gridbft.trail`): nothing while the validators are
        those trusted already. Raises VerificationError where the header's validators do not follow from them.
        """
        chain_id = self._trust.chain_id
        header = read_header(link.header, chain_id)
        latest = self._latest
        if header.height >= latest.height and header.validators_hash == validators_hash(latest.validators):
            return Trust(chain_id, latest.validators, latest.time_ms)
        base = latest if header.height > latest.height else self._trust.root
        _, reached = yield from find_trail(base, link, chain_id)
        if reached.height > latest.height:
            self._latest = reached
        return Trust(chain_id, reached.validators, reached.time_ms)
