"""Proof that a validator signed two messages that no correct one signs both. Time and place play no part in it."""

from __future__ import annotations

from dataclasses import dataclass

from consensus.commits import Verify
from consensus.signbytes import proposal_sign_bytes, vote_sign_bytes
from consensus.state import MAX_ROUND
from consensus.types import NO_ROUND, Height, Proposal, Round, ValidatorId, ValidatorSet, Vote, VoteKind


@dataclass(frozen=True, slots=True)
class DoubleVote:
    """Two votes of one kind in one round for different values, in the order that `double_vote` gives them."""

    first: Vote
    second: Vote


@dataclass(frozen=True, slots=True)
class DoubleProposal:
    first: Proposal
    second: Proposal


Evidence = DoubleVote | DoubleProposal


@dataclass(frozen=True, slots=True)
class EvidenceError:
    code: str
    detail: str


def double_vote(one: Vote, other: Vote) -> DoubleVote:
    """Evidence in its only accepted order (nil first, then by block id), so that one fault is one piece of evidence."""
    return DoubleVote(*sorted((one, other), key=_vote_key))


def double_proposal(one: Proposal, other: Proposal) -> DoubleProposal:
    return DoubleProposal(*sorted((one, other), key=_proposal_key))


def offender(evidence: Evidence) -> ValidatorId:
    first = evidence.first
    return first.validator if isinstance(first, Vote) else first.proposer


def height_of(evidence: Evidence) -> Height:
    """The height whose validator set must be used to check it."""
    return evidence.first.height


def verify_evidence(
    evidence: Evidence, chain_id: str, validators: ValidatorSet, verify: Verify
) -> EvidenceError | None:
    """None if the evidence holds; `validators` are those of its height. Never raises for what the evidence says."""
    match evidence:
        case DoubleVote(first, second):
            return _check_votes(first, second, chain_id, validators, verify)
        case DoubleProposal(first, second):
            return _check_proposals(first, second, chain_id, validators, verify)


def _check_votes(
    first: Vote, second: Vote, chain_id: str, validators: ValidatorSet, verify: Verify
) -> EvidenceError | None:
    if (first.kind, first.height, first.round, first.validator) != (
        second.kind,
        second.height,
        second.round,
        second.validator,
    ):
        return EvidenceError("DIFFERENT_SLOTS", "the votes are not of one validator, height, round and kind")
    if first.kind not in (VoteKind.PREVOTE, VoteKind.PRECOMMIT):
        return EvidenceError("BAD_KIND", f"no vote has kind {first.kind!r}")
    if _vote_key(first) == _vote_key(second):
        return EvidenceError("SAME_VALUE", "both votes are for the same value")
    if _vote_key(first) > _vote_key(second):
        return EvidenceError("WRONG_ORDER", "the votes stand in the wrong order")
    fault = _out_of_bounds(first.height, first.round)
    if fault is not None:
        return fault
    messages = [(vote_sign_bytes(chain_id, v), v.signature) for v in (first, second)]
    return _check_signatures(first.validator, messages, validators, verify)


def _check_proposals(
    first: Proposal, second: Proposal, chain_id: str, validators: ValidatorSet, verify: Verify
) -> EvidenceError | None:
    if (first.height, first.round, first.proposer) != (second.height, second.round, second.proposer):
        return EvidenceError("DIFFERENT_SLOTS", "the proposals are not of one proposer, height and round")
    if _proposal_key(first) == _proposal_key(second):
        return EvidenceError("SAME_VALUE", "both proposals say the same")
    if _proposal_key(first) > _proposal_key(second):
        return EvidenceError("WRONG_ORDER", "the proposals stand in the wrong order")
    fault = _out_of_bounds(first.height, first.round)
    if fault is not None:
        return fault
    if not all(NO_ROUND <= p.pol_round <= MAX_ROUND for p in (first, second)):
        return EvidenceError("BAD_ROUND", "no proof of lock is of such a round")
    messages = [(proposal_sign_bytes(chain_id, p), p.signature) for p in (first, second)]
    return _check_signatures(first.proposer, messages, validators, verify)


def _check_signatures(
    signer: ValidatorId, messages: list[tuple[bytes, bytes]], validators: ValidatorSet, verify: Verify
) -> EvidenceError | None:
    member = validators.get(signer)
    if member is None:
        return EvidenceError("STRANGER", f"{signer.hex()} was no validator of this height")
    if not all(verify(member.public_key, message, signature) for message, signature in messages):
        return EvidenceError("BAD_SIGNATURE", f"not both messages are signed by {signer.hex()}")
    return None


def _out_of_bounds(height: Height, round_: Round) -> EvidenceError | None:
    if not 0 <= height < 2**64 or not 0 <= round_ <= MAX_ROUND:
        return EvidenceError("BAD_ROUND", f"no message is of height {height}, round {round_}")
    return None


def _vote_key(vote: Vote) -> tuple[bool, bytes]:
    return vote.block_id is not None, vote.block_id or b""


def _proposal_key(proposal: Proposal) -> tuple[bytes, int]:
    return proposal.block_id, proposal.pol_round
