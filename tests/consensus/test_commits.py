"""A commit certificate is checked entry by entry, by index and by address."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.commits import commit_votes, verify_commit
from consensus.signbytes import vote_sign_bytes
from consensus.types import BlockId, Commit, CommitEntry, CommitStatus, Height, Round, ValidatorId, Vote, VoteKind
from tests.consensus.kit import CHAIN, HEIGHT, X, Y, sign, toy_verify, validator_set, vid

SET = validator_set("abcd")
ABSENT, NIL, COMMIT = CommitStatus.ABSENT, CommitStatus.NIL, CommitStatus.COMMIT


def entry(who: str, status: CommitStatus = COMMIT, round_: int = 0, value: BlockId = X) -> CommitEntry:
    if status is ABSENT:
        return CommitEntry(ABSENT, vid(who))
    signed = Vote(VoteKind.PRECOMMIT, HEIGHT, Round(round_), value if status is COMMIT else None, vid(who))
    return CommitEntry(status, vid(who), sign(vote_sign_bytes(CHAIN, signed), b"key-" + who.encode()))


def commit(*entries: CommitEntry, round_: int = 0) -> Commit:
    return Commit(HEIGHT, Round(round_), X, entries)


GOOD = commit(entry("a"), entry("b"), entry("c"), entry("d", ABSENT))


def fault(candidate: Commit, chain: str = CHAIN, height: int = HEIGHT, block_id: BlockId = X) -> str | None:
    error = verify_commit(candidate, chain, SET, Height(height), block_id, toy_verify)
    return None if error is None else error.code


def test_a_quorum_of_signed_precommits_is_a_proof() -> None:
    assert fault(GOOD) is None
    assert fault(commit(entry("a"), entry("b"), entry("c"), entry("d", NIL))) is None


def test_an_address_that_is_not_the_sets_at_that_index_is_refused() -> None:
    """GO-2026-4361: verified by index but counted by address."""
    a, b, c, d = GOOD.entries
    assert fault(commit(b, a, c, d)) == "WRONG_VALIDATOR"
    assert fault(commit(a, a, c, d)) == "WRONG_VALIDATOR"
    assert fault(commit(a, b, c, entry("z", ABSENT))) == "WRONG_VALIDATOR"


def test_a_commit_has_one_entry_for_each_validator() -> None:
    """Container lengths that lie (GO-2025-4025, GO-2024-3259)."""
    assert fault(commit(*GOOD.entries[:3])) == "WRONG_SIZE"
    assert fault(commit(*GOOD.entries, entry("d", ABSENT))) == "WRONG_SIZE"
    assert fault(commit()) == "WRONG_SIZE"


def test_less_than_a_quorum_is_refused_and_nil_does_not_help() -> None:
    assert fault(commit(entry("a"), entry("b"), entry("c", NIL), entry("d", NIL))) == "NO_QUORUM"


def test_a_bad_signature_beyond_the_quorum_is_noticed() -> None:
    """CometBFT #5663: block sync verified only as much as a quorum needs."""
    for bad in (replace(entry("d"), signature=b"junk"), replace(entry("d", NIL), signature=b"junk")):
        assert fault(commit(entry("a"), entry("b"), entry("c"), bad)) == "BAD_SIGNATURE"


def test_signatures_cover_kind_height_round_value_and_chain() -> None:
    assert fault(GOOD, chain="another") == "BAD_SIGNATURE"
    assert fault(replace(GOOD, round=Round(1))) == "BAD_SIGNATURE"
    assert fault(replace(GOOD, height=Height(8)), height=8) == "BAD_SIGNATURE"
    assert fault(replace(GOOD, block_id=Y), block_id=Y) == "BAD_SIGNATURE"
    prevoted = Vote(VoteKind.PREVOTE, HEIGHT, Round(0), X, vid("a"))
    swapped = replace(entry("a"), signature=sign(vote_sign_bytes(CHAIN, prevoted), b"key-a"))
    assert fault(commit(swapped, *GOOD.entries[1:])) == "BAD_SIGNATURE"


def test_a_nil_precommit_cannot_be_sold_as_a_commit() -> None:
    sold = replace(entry("d", NIL), status=COMMIT)
    assert fault(commit(entry("a"), entry("b"), sold, entry("d", ABSENT))) == "WRONG_VALIDATOR"
    assert fault(commit(entry("a"), entry("b"), entry("c"), sold)) == "BAD_SIGNATURE"


def test_absent_is_unsigned_and_the_others_are_signed() -> None:
    assert fault(commit(*GOOD.entries[:3], replace(entry("d"), status=ABSENT))) == "ABSENT_SIGNED"
    assert fault(commit(*GOOD.entries[:3], replace(entry("d"), signature=b""))) == "UNSIGNED"
    assert fault(commit(*GOOD.entries[:3], replace(entry("d", NIL), signature=b""))) == "UNSIGNED"


@pytest.mark.parametrize("status", [0, 4, -1])
def test_an_entry_is_absent_nil_or_commit_and_nothing_else(status: int) -> None:
    bad = CommitEntry(status, vid("d"))  # type: ignore[arg-type]
    assert fault(commit(*GOOD.entries[:3], bad)) == "BAD_STATUS"


def test_a_commit_of_another_height_or_block_is_refused() -> None:
    assert fault(GOOD, height=8) == "WRONG_HEIGHT"
    assert fault(GOOD, block_id=Y) == "WRONG_BLOCK"


@pytest.mark.parametrize("round_", [-1, 2**32, 2**80])
def test_an_impossible_round_is_refused_without_raising(round_: int) -> None:
    assert fault(replace(GOOD, round=Round(round_))) == "BAD_ROUND"


def test_power_counts_not_entries() -> None:
    heavy = validator_set("abcd", {"d": 7})
    assert verify_commit(GOOD, CHAIN, heavy, HEIGHT, X, toy_verify) is not None
    alone = commit(entry("a", ABSENT), entry("b", ABSENT), entry("c", ABSENT), entry("d"))
    assert verify_commit(alone, CHAIN, heavy, HEIGHT, X, toy_verify) is None


def test_a_commit_turns_back_into_its_votes() -> None:
    votes = commit_votes(commit(entry("a"), entry("b", NIL), entry("c", ABSENT), entry("d")))
    assert [(v.validator, v.block_id) for v in votes] == [(vid("a"), X), (vid("b"), None), (vid("d"), X)]
    assert all(toy_verify(b"key-" + bytes(v.validator[:1]), vote_sign_bytes(CHAIN, v), v.signature) for v in votes)


ENTRIES = st.builds(
    CommitEntry,
    st.sampled_from([ABSENT, NIL, COMMIT]),
    st.sampled_from("abcdz").map(vid) | st.binary(max_size=40).map(ValidatorId),
    st.sampled_from([e.signature for e in GOOD.entries] + [entry(w, NIL).signature for w in "abcd"]) | st.binary(),
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(ENTRIES | st.sampled_from(GOOD.entries), max_size=6), st.integers(-2, 3))
def test_no_forged_commit_passes_without_a_quorum_of_signatures(entries: list[CommitEntry], round_: int) -> None:
    forged = commit(*entries, round_=round_)
    if fault(forged) is None:
        assert round_ == 0
        assert sum(e in [entry(w) for w in "abcd"] for e in entries) >= 3
