"""Whose turn it is follows from committed data alone, and absent validators cost little."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.proposer import (
    GOOD,
    MAX_BENCH_EXPONENT,
    Standing,
    advance,
    benched,
    decode_standings,
    encode_standings,
    order,
    signers,
)
from consensus.types import BlockId, Commit, CommitEntry, CommitStatus, Height, Round, ValidatorId, ValidatorSet
from tests.consensus.kit import X, validator_set, vid

SET = validator_set("abcd")
STANDINGS = st.dictionaries(
    st.binary(min_size=20, max_size=20).map(ValidatorId),
    st.builds(Standing, st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1).map(Height)),
    max_size=8,
)


def names(ids: tuple[ValidatorId, ...]) -> str:
    return "".join(chr(i[0]) for i in ids)


def commit(height: int, round_: int, signed: str = "abcd", among: str = "abcd") -> Commit:
    entries = [
        CommitEntry(CommitStatus.COMMIT, vid(n), b"s") if n in signed else CommitEntry(CommitStatus.ABSENT, vid(n))
        for n in among
    ]
    return Commit(Height(height), Round(round_), BlockId(X), tuple(entries))


def timeouts_over(heights: int, dead: str, silent: str, among: str = "abcd") -> int:
    """Rounds that fail over so many heights: the dead sign nothing, the silent sign but never propose."""
    validators = validator_set(among)
    standings: dict[ValidatorId, Standing] = {}
    failed = 0
    signed = "".join(n for n in among if n not in dead)
    for height in range(1, heights + 1):
        turns = order(validators, Height(height), benched(standings))
        round_ = next(r for r in range(10**6) if chr(turns.proposer(Round(r))[0]) not in dead + silent)
        failed += round_
        standings = advance(standings, validators, turns, commit(height, round_, signed, among))
    return failed


def test_the_healthy_take_turns_by_height() -> None:
    assert [names(order(SET, Height(h)).order) for h in range(5)] == ["abcd", "bcda", "cdab", "dabc", "abcd"]


def test_the_benched_stand_behind_the_healthy() -> None:
    turns = order(SET, Height(1), {vid("b"), vid("d")})
    assert names(turns.order) == "cadb"
    assert turns.proposer(Round(4)) == vid("c"), "after everybody's turn it starts over"


def test_if_all_are_benched_nobody_is() -> None:
    assert order(SET, Height(3), {vid(n) for n in "abcd"}) == order(SET, Height(3))


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 10**9), st.sets(st.sampled_from("abcdefg")))
def test_everybody_has_exactly_one_turn_in_a_cycle(height: int, absent: set[str]) -> None:
    turns = order(validator_set("abcdefg"), Height(height), {vid(n) for n in absent})
    assert sorted(names(turns.order)) == list("abcdefg")
    assert names(turns.order)[7 - len(absent) :] in {"", *("".join(r) for r in rotations(sorted(absent)))}


def rotations(ids: list[str]) -> list[list[str]]:
    return [ids[i:] + ids[:i] for i in range(len(ids))]


def test_every_failed_proposer_is_benched_and_the_one_that_decided_is_not() -> None:
    turns = order(SET, Height(4))
    after = advance({}, SET, turns, commit(4, 2))
    assert after == {vid("a"): Standing(1, Height(6)), vid("b"): Standing(1, Height(6))}


def test_misses_double_the_bench_up_to_a_cap() -> None:
    turns = order(SET, Height(4))
    for misses, heights in [(0, 2), (3, 16), (9, 1024), (40, 2**MAX_BENCH_EXPONENT)]:
        after = advance({vid("a"): Standing(misses)}, SET, turns, commit(4, 1))
        assert after[vid("a")] == Standing(misses + 1, Height(4 + heights))


def test_a_bench_ends_when_its_height_has_passed_and_the_validator_signs() -> None:
    before = {vid("b"): Standing(1, Height(6))}
    turns = order(SET, Height(6), benched(before))
    assert advance(before, SET, turns, commit(5, 0))[vid("b")] == Standing(1, Height(6)), "too early"
    assert advance(before, SET, turns, commit(6, 0, signed="acd"))[vid("b")] == Standing(1, Height(6)), "absent"
    assert advance(before, SET, turns, commit(6, 0))[vid("b")] == Standing(1), "back, but not forgotten"


def test_a_signature_for_nil_is_a_sign_of_life() -> None:
    entries = (CommitEntry(CommitStatus.NIL, vid("a"), b"s"), CommitEntry(CommitStatus.ABSENT, vid("b")))
    assert signers(Commit(Height(1), Round(0), BlockId(X), entries)) == {vid("a")}


def test_a_decided_proposal_clears_the_record() -> None:
    turns = order(SET, Height(4))
    assert advance({vid("a"): Standing(5, Height(9))}, SET, turns, commit(4, 0)) == {}


def test_rounds_beyond_a_full_cycle_count_one_miss_each() -> None:
    turns = order(SET, Height(4))
    after = advance({}, SET, turns, commit(4, 999_999))
    assert {s.misses for s in after.values()} == {1}
    assert len(after) == 3


def test_who_leaves_the_set_leaves_the_standings() -> None:
    before = {vid("z"): Standing(3, Height(9)), vid("d"): Standing(3, Height(9))}
    after = advance(before, SET, order(SET, Height(4)), commit(4, 0, signed="abc"))
    assert set(after) == {vid("d")}


def test_a_dead_validator_costs_one_time_out_for_ever() -> None:
    assert timeouts_over(5000, dead="c", silent="") == 1


def test_a_silent_but_living_validator_costs_a_logarithm_of_the_heights() -> None:
    assert timeouts_over(1000, dead="", silent="c") <= 12
    assert timeouts_over(1000, dead="b", silent="f", among="abcdefg") <= 13


def test_all_nodes_alive_cost_nothing() -> None:
    assert timeouts_over(200, dead="", silent="") == 0


@settings(deadline=None, derandomize=True)
@given(STANDINGS)
def test_standings_survive_their_encoding(standings: dict[ValidatorId, Standing]) -> None:
    worth_writing = {v: s for v, s in standings.items() if s != GOOD}
    encoded = encode_standings(standings)
    assert decode_standings(encoded) == worth_writing
    assert encode_standings(dict(reversed(standings.items()))) == encoded, "order of insertion does not matter"


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.binary(max_size=80) | st.builds(lambda s, i: encode_standings(s)[: -i or None], STANDINGS, st.integers(0, 40))
)
def test_decoding_takes_back_only_what_encoding_writes(data: bytes) -> None:
    """Snapshots with an unverified proposer order split the chain (GO-2024-3112)."""
    try:
        standings = decode_standings(data)
    except ValueError:
        return
    assert encode_standings(standings) == data


def test_unsorted_doubled_and_needless_entries_are_refused() -> None:
    one, two = ({vid(n): Standing(1, Height(9))} for n in "ab")
    head, row = 5, 32
    a, b = encode_standings(one)[head:], encode_standings(two)[head:]
    good = encode_standings({**one, **two})
    assert good[head:] == a + b
    for body in (b + a, a + a, a + bytes(20) + bytes(row - 20)):
        with pytest.raises(ValueError, match=r"sorted|needs no entry"):
            decode_standings(good[:head] + body)


def test_the_order_needs_no_more_than_the_committed_standings() -> None:
    """Two nodes that hold the same standings agree on every turn, in whatever order they learnt them."""
    one = {vid("a"): Standing(1, Height(9)), vid("c"): Standing(2, Height(9))}
    other = decode_standings(encode_standings(dict(reversed(one.items()))))
    validators = ValidatorSet.of(list(reversed(SET.validators)))
    assert order(SET, Height(5), benched(one)) == order(validators, Height(5), benched(other))
