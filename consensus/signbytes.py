"""What a validator's signature covers: fixed layouts, domain-separated, big-endian (see proto/gridbft/v1/chain.proto)."""

import struct
from functools import lru_cache
from hashlib import sha256

from consensus.types import Proposal, Vote

VOTE_DOMAIN = b"gridbft/vote/v1\x00"
PROPOSAL_DOMAIN = b"gridbft/proposal/v1\x00"

_VOTE = struct.Struct(">BQI")
_PROPOSAL = struct.Struct(">QIi")


def vote_sign_bytes(chain_id: str, vote: Vote) -> bytes:
    value = b"\x00" if vote.block_id is None else b"\x01" + vote.block_id
    return _opening(VOTE_DOMAIN, chain_id) + _VOTE.pack(vote.kind, vote.height, vote.round) + value


def proposal_sign_bytes(chain_id: str, proposal: Proposal) -> bytes:
    head = _PROPOSAL.pack(proposal.height, proposal.round, proposal.pol_round)
    return _opening(PROPOSAL_DOMAIN, chain_id) + head + proposal.block_id


@lru_cache(maxsize=16)
def _opening(domain: bytes, chain_id: str) -> bytes:
    """The same for all messages of a kind on one chain."""
    return domain + sha256(chain_id.encode()).digest()
