"""A light client: from a header that is trusted to a later one, without the blocks between them.

A header is believed when more than two thirds of its own validators signed it, and when these validators follow from the
trusted header: directly after it they are the ones that it names; further on, more than a third of the trusted
validators' power must have signed too, so that at least one correct validator vouches for the change (skipping
verification, as in the Tendermint light client). Validators answer for what they sign only for a while after they
were validators, so a skip reaches at most over the trusting period. Where one step does not reach, the steps between
have to be shown: `gridbft.trail` finds them.

Everything here is total and pure: what does not follow is a VerificationError with a reason.
"""

from __future__ import annotations

from dataclasses import dataclass

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from chain.block import Header, block_id_of, decode_header
from chain.hashes import digest
from chain.protocol import KNOWN
from chain.wire import decode_commit, decode_validators, encode_commit, encode_validators
from consensus.commits import verify_commit
from consensus.types import Commit, CommitStatus, ValidatorSet
from gridbft.errors import VerificationError

TRUSTING_PERIOD_MS = 14 * 24 * 3_600_000
CLOCK_DRIFT_MS = 10 * 60_000

TOO_FAR = frozenset({"TRUST_EXPIRED", "TOO_FEW_TRUSTED"})
"""Reasons for which a step in between may help; any other is final."""


@dataclass(frozen=True, slots=True)
class Link:
    """A header with the commit that decided it, as they travel."""

    header: bytes
    commit: bytes


@dataclass(frozen=True, slots=True)
class Trusted:
    """What is believed already. `time_ms` None: no time is known, so the first step has no trusting period.

    `next_hash` names the validators of the height directly after.
    """

    height: int
    time_ms: int | None
    validators: ValidatorSet
    next_hash: bytes


def verify_signature(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Ed25519 by libsodium, the one verifier that the validators use too. Total: nonsense is False."""
    try:
        VerifyKey(public_key).verify(message, signature)
    except (BadSignatureError, ValueError, TypeError):
        return False
    return True


def validators_hash(validators: ValidatorSet) -> bytes:
    """As in a header: covers names, keys and powers in the set's order."""
    return digest(encode_validators(validators))


def genesis_trust(validators: ValidatorSet, time_ms: int | None) -> Trusted:
    """The genesis as height 0; its validators decide the first two heights in any case."""
    return Trusted(0, time_ms, validators, validators_hash(validators))


def read_header(raw: bytes, chain_id: str) -> Header:
    """A header of this chain and of a version that this program knows."""
    try:
        header = decode_header(raw)
    except ValueError as error:
        raise VerificationError("BAD_HEADER", str(error)) from error
    if header.chain_id != chain_id:
        raise VerificationError("WRONG_CHAIN", f"the header is of chain {header.chain_id[:80]!r}")
    if header.version not in KNOWN:
        raise VerificationError("UNKNOWN_VERSION", f"header version {header.version}, known are {sorted(KNOWN)}")
    return header


def read_commit(raw: bytes) -> Commit:
    """Raises for anything but the one encoding that a commit has, so that no byte of a proof is idle."""
    try:
        commit = decode_commit(raw)
    except ValueError as error:
        raise VerificationError("BAD_COMMIT", str(error)) from error
    if encode_commit(commit) != raw:
        raise VerificationError("BAD_COMMIT", "a commit in another encoding than its own")
    return commit


def read_validators(raw: bytes) -> ValidatorSet:
    try:
        validators = decode_validators(raw)
    except ValueError as error:
        raise VerificationError("BAD_VALIDATORS", str(error)) from error
    if encode_validators(validators) != raw:
        raise VerificationError("BAD_VALIDATORS", "a validator set in another encoding than its own")
    return validators


def advance(
    trusted: Trusted,
    link: Link,
    validators: ValidatorSet,
    chain_id: str,
    trusting_period_ms: int = TRUSTING_PERIOD_MS,
) -> tuple[Header, Trusted]:
    """The link's header, decided by `validators`, once it follows from what is trusted. Cheap checks come first."""
    header = read_header(link.header, chain_id)
    if header.height <= trusted.height:
        raise VerificationError("NOT_AFTER", f"height {header.height} does not follow {trusted.height}")
    if trusted.time_ms is not None and header.time_ms <= trusted.time_ms:
        raise VerificationError("NOT_AFTER", f"height {header.height} is not later than the trusted height's time")
    if header.validators_hash != validators_hash(validators):
        raise VerificationError("WRONG_VALIDATORS", f"height {header.height} names another validator set")
    commit = read_commit(link.commit)
    if header.height == trusted.height + 1:
        if header.validators_hash != trusted.next_hash:
            raise VerificationError("WRONG_VALIDATORS", f"height {trusted.height} names other validators for the next")
    else:
        _check_skip(trusted, header, commit, trusting_period_ms)
    fault = verify_commit(commit, chain_id, validators, header.height, block_id_of(link.header), verify_signature)
    if fault is not None:
        raise VerificationError("BAD_COMMIT", f"{fault.code}: {fault.detail}")
    return header, Trusted(header.height, header.time_ms, validators, header.next_validators_hash)


def committed_power(commit: Commit, validators: ValidatorSet) -> int:
    """How much of the set's power the commit says that it carries; strangers count nothing, and nobody counts twice."""
    signers = {entry.validator for entry in commit.entries if entry.status == CommitStatus.COMMIT}
    return sum(validators.power_of(signer) for signer in signers)


def _check_skip(trusted: Trusted, header: Header, commit: Commit, trusting_period_ms: int) -> None:
    """The signatures themselves are checked with the commit as a whole, by keys that the same addresses name."""
    if trusted.time_ms is not None and header.time_ms - trusted.time_ms > trusting_period_ms:
        raise VerificationError(
            "TRUST_EXPIRED",
            f"height {header.height} is {header.time_ms - trusted.time_ms} ms after the trusted height "
            f"{trusted.height}, the trusting period has {trusting_period_ms} ms",
        )
    power = committed_power(commit, trusted.validators)
    if not trusted.validators.is_third(power):
        raise VerificationError(
            "TOO_FEW_TRUSTED",
            f"{power} of {trusted.validators.total_power} power of the validators of height {trusted.height} "
            f"signed height {header.height}, more than a third is needed",
        )
