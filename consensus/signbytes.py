"""What a validator's signature covers: fixed layouts, domain-separated, big-endian (see proto/gridbft/v1/chain.proto)."""

import struct
from hashlib import sha256

from consensus.types import Proposal, Vote

VOTE_DOMAIN = b"gridbft/vote/v1\x00"
PROPOSAL_DOMAIN = b"gridbft/proposal/v1\x00"

_VOTE = struct.Struct(">BQI")
_PROPOSAL = struct.Struct(">QIi")


def vote_sign_bytes(chain_id: str, vote: Vote) -> bytes:
    value = b"\x00" if vote.block_id is None else b"\x01" + vote.block_id
    return VOTE_DOMAIN + sha256(chain_id.encode()).digest() + _VOTE.pack(vote.kind, vote.height, vote.round) + value


def proposal_sign_bytes(chain_id: str, proposal: Proposal) -> bytes:
    head = _PROPOSAL.pack(proposal.height, proposal.round, proposal.pol_round)
    return PROPOSAL_DOMAIN + sha256(chain_id.encode()).digest() + head + proposal.block_id
