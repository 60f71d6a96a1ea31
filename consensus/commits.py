"""Commit certificates: the full check of every entry, by index *and* by address."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from consensus.signbytes import vote_sign_bytes
from consensus.state import MAX_ROUND
from consensus.types import (
    ABSENT,
    COMMIT,
    NIL,
    PRECOMMIT,
    BlockId,
    Commit,
    CommitEntry,
    Height,
    Validator,
    ValidatorId,
    ValidatorSet,
    Vote,
)

NOBODY = ValidatorId(b"")

Verify = Callable[[bytes, bytes, bytes], bool]  # public key, message, signature


@dataclass(frozen=True, slots=True)
class CommitError:
    """Why a commit proves nothing. `code` is for programs, `detail` for people."""

    code: str
    detail: str


def verify_commit(
    commit: Commit, chain_id: str, validators: ValidatorSet, height: Height, block_id: BlockId, verify: Verify
) -> CommitError | None:
    """None if this commit proves that `validators` decided `block_id` at `height`; never raises for what a commit holds.

    Every entry is checked, also those beyond a quorum: entry i is of validator i and says so by its address; absent has no
    signature; nil and commit carry a valid one over exactly that precommit. Cheap checks come first.
    """
    error = _wrong_subject(commit, validators, height, block_id)
    if error is not None:
        return error
    power = 0
    for index, (entry, validator) in enumerate(zip(commit.entries, validators.validators, strict=True)):
        error = _wrong_entry(index, entry, validator)
        if error is not None:
            return error
        power += validator.power if entry.status == COMMIT else 0
    if not validators.is_quorum(power):
        return CommitError("NO_QUORUM", f"{power} of {validators.total_power} power committed")
    return _wrong_signature(commit, chain_id, validators, verify)


def _wrong_signature(commit: Commit, chain_id: str, validators: ValidatorSet, verify: Verify) -> CommitError | None:
    """A signature does not cover its signer's name, so all who said the same signed the same bytes: two messages in all."""
    height, round_ = commit.height, commit.round
    signed = {
        NIL: vote_sign_bytes(chain_id, Vote(PRECOMMIT, height, round_, None, NOBODY)),
        COMMIT: vote_sign_bytes(chain_id, Vote(PRECOMMIT, height, round_, commit.block_id, NOBODY)),
    }
    for entry in commit.entries:
        message = signed.get(entry.status)
        if message is None:
            continue
        member = validators.validators[validators.index[entry.validator]]
        if not verify(member.public_key, message, entry.signature):
            return CommitError("BAD_SIGNATURE", f"the precommit of {entry.validator.hex()} is not signed by it")
    return None


def commit_votes(commit: Commit) -> tuple[Vote, ...]:
    """The signed precommits that a commit holds: for its block, or for nil."""
    return tuple(
        Vote(
            PRECOMMIT,
            commit.height,
            commit.round,
            commit.block_id if entry.status == COMMIT else None,
            entry.validator,
            entry.signature,
        )
        for entry in commit.entries
        if entry.status == COMMIT or entry.status == NIL
    )


def _wrong_subject(commit: Commit, validators: ValidatorSet, height: Height, block_id: BlockId) -> CommitError | None:
    if commit.height != height:
        return CommitError("WRONG_HEIGHT", f"the commit is of height {commit.height}, not {height}")
    if commit.block_id != block_id:
        return CommitError("WRONG_BLOCK", f"the commit is of block {commit.block_id.hex()}, not {block_id.hex()}")
    if not 0 <= commit.round <= MAX_ROUND:
        return CommitError("BAD_ROUND", f"no height reaches round {commit.round}")
    if len(commit.entries) != len(validators):
        return CommitError("WRONG_SIZE", f"{len(commit.entries)} entries for {len(validators)} validators")
    return None


def _wrong_entry(index: int, entry: CommitEntry, validator: Validator) -> CommitError | None:
    if entry.validator != validator.id:
        return CommitError("WRONG_VALIDATOR", f"entry {index} is of {entry.validator.hex()}, not {validator.id.hex()}")
    status = entry.status
    if status == ABSENT:
        return (
            CommitError("ABSENT_SIGNED", f"entry {index} is absent and carries a signature")
            if entry.signature
            else None
        )
    if status != NIL and status != COMMIT:
        return CommitError("BAD_STATUS", f"entry {index} has status {status!r}")
    return None if entry.signature else CommitError("UNSIGNED", f"entry {index} says {status.name} without a signature")
