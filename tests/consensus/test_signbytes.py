"""What is signed says everything, and says it in one way only."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.signbytes import proposal_sign_bytes, vote_sign_bytes
from consensus.types import NO_ROUND, BlockId, Height, Proposal, Round, Vote, VoteKind
from tests.consensus.kit import X, Y, vid

IDS = st.none() | st.sampled_from([X, Y]) | st.binary(min_size=32, max_size=32).map(BlockId)
CHAINS = st.sampled_from(["one", "two", ""])
HEIGHTS = st.integers(0, 2).map(Height) | st.integers(0, 2**64 - 1).map(Height)
ROUNDS = st.integers(0, 2).map(Round) | st.integers(0, 2**31 - 1).map(Round)
VOTES = st.tuples(CHAINS, st.sampled_from(VoteKind), HEIGHTS, ROUNDS, IDS)
PROPOSALS = st.tuples(CHAINS, HEIGHTS, ROUNDS, IDS.filter(lambda i: i is not None), ROUNDS | st.just(NO_ROUND))


def vote_bytes(parts: tuple[str, VoteKind, Height, Round, BlockId | None]) -> bytes:
    chain, kind, height, round_, block_id = parts
    return vote_sign_bytes(chain, Vote(kind, height, round_, block_id, vid("a")))


def proposal_bytes(parts: tuple[str, Height, Round, BlockId | None, Round]) -> bytes:
    chain, height, round_, block_id, pol_round = parts
    assert block_id is not None
    return proposal_sign_bytes(chain, Proposal(height, round_, block_id, pol_round, vid("a")))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(VOTES, VOTES)
def test_two_votes_share_signed_bytes_only_if_they_say_the_same(
    one: tuple[str, VoteKind, Height, Round, BlockId | None], other: tuple[str, VoteKind, Height, Round, BlockId | None]
) -> None:
    """A digest left fields out (indy-plenum 2285)."""
    assert (vote_bytes(one) == vote_bytes(other)) == (one == other)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(PROPOSALS, PROPOSALS)
def test_two_proposals_share_signed_bytes_only_if_they_say_the_same(
    one: tuple[str, Height, Round, BlockId | None, Round], other: tuple[str, Height, Round, BlockId | None, Round]
) -> None:
    assert (proposal_bytes(one) == proposal_bytes(other)) == (one == other)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(VOTES, PROPOSALS)
def test_a_vote_is_never_a_proposal(
    vote: tuple[str, VoteKind, Height, Round, BlockId | None],
    proposal: tuple[str, Height, Round, BlockId | None, Round],
) -> None:
    assert vote_bytes(vote) != proposal_bytes(proposal)
