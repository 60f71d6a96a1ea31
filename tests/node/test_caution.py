"""A validator that may have forgotten what it signed: when it is silent, how long, and on what terms it speaks again."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.events import VoteSeen
from consensus.lock import Lock
from consensus.machine import State, new_height, step
from consensus.proposer import order
from consensus.timeouts import Timeouts
from consensus.types import (
    NO_ROUND,
    BlockId,
    Height,
    Power,
    Proposal,
    Round,
    Validator,
    ValidatorId,
    ValidatorSet,
    Vote,
    VoteKind,
)
from node.caution import BEYOND, Caution, memory_for, newest_lock
from node.events import LoggedOwn, Memory, PeerId, PeerState
from node.recovery import FORGOTTEN, remembered_height
from node.signer import position_of

IDS = [ValidatorId(bytes([n]) * 20) for n in range(1, 8)]
FOUR = ValidatorSet.of([Validator(i, i + bytes(12), Power(1)) for i in IDS[:4]])
ME = IDS[0]
PATIENCE_MS = 6_000
V, W = BlockId(b"v" * 32), BlockId(b"w" * 32)


def state(height: int, silent: bool = False) -> PeerState:
    return PeerState(height, 0, 0, 0, 0, False, -1, 0, 1, silent)


def peers(*heights: int | None, silent: tuple[int, ...] = ()) -> dict[PeerId, PeerState | None]:
    """By position, from the second validator on; None: connected, but said nothing yet."""
    return {
        PeerId(IDS[n]): None if height is None else state(height, n in silent) for n, height in enumerate(heights, 1)
    }


def caution(last_signed: int | None = 0) -> Caution:
    return Caution(ME, last_signed, PATIENCE_MS)


def vote(kind: VoteKind, round_: int, block_id: BlockId | None, who: ValidatorId, height: int = 9) -> Vote:
    return Vote(kind, Height(height), Round(round_), block_id, who, b"s" * 64)


def polka(round_: int, block_id: BlockId, height: int = 9) -> tuple[Vote, ...]:
    return tuple(vote(VoteKind.PREVOTE, round_, block_id, who, height) for who in IDS[1:4])


def machine(height: int = 9, validators: ValidatorSet = FOUR) -> State:
    return new_height(Height(height), validators, order(validators, Height(height), {}), None, Timeouts())


# --- when to be silent ------------------------------------------------------------------------------------------------


def test_before_a_quorum_says_where_it_stands_nothing_is_known() -> None:
    c = caution()
    assert not c.settle(5, FOUR, peers(5), 0)
    assert not c.settle(5, FOUR, peers(5, None), 0)
    assert not c.settle(5, FOUR, peers(5, 7), 0)
    assert not c.settle(5, FOUR, peers(5, 7), PATIENCE_MS)
    assert not c.settled
    assert c.settle(5, FOUR, peers(5, 5), 0)
    assert c.settled


def test_a_wiped_disk_is_silent_at_the_height_at_hand_and_the_next_one() -> None:
    c = caution(last_signed=0)
    c.settle(50, FOUR, peers(50, 50, 50), 0)
    assert [c.is_silent(h) for h in (50, 50 + BEYOND, 50 + BEYOND + 1)] == [True, True, False]


def test_an_old_backup_is_as_silent_as_a_wiped_disk() -> None:
    c = caution(last_signed=30)
    c.settle(50, FOUR, peers(50, 50, 50), 0)
    assert c.is_silent(50)


def test_an_ordinary_restart_is_not_silent_at_all() -> None:
    for last_signed in (49, 50, 51):
        c = caution(last_signed)
        c.settle(50, FOUR, peers(50, 50, 50), 0)
        assert not c.is_silent(50)


def test_a_log_that_is_lost_beside_its_guard_is_a_lost_memory() -> None:
    """The guard keeps a validator from signing twice, but only the log knows what it had locked."""
    said = vote(VoteKind.PRECOMMIT, 2, V, ME, 50)
    last = position_of(said)
    assert remembered_height(last, (LoggedOwn(said),), 50) == 50
    assert remembered_height(last, (), 51) == 50, "decided: the log may have dropped it"
    assert remembered_height(last, (LoggedOwn(vote(VoteKind.PREVOTE, 2, V, ME, 50)),), 50) == FORGOTTEN
    for height in (1, 50):
        c = caution(remembered_height((height, 0, 2), (), height))
        c.settle(height, FOUR, peers(height, height, height), 0)
        assert c.is_silent(height)


def test_a_new_network_begins_with_all_its_validators() -> None:
    c = caution(last_signed=0)
    assert not c.settle(1, FOUR, peers(1, 1), 0)
    assert c.settle(1, FOUR, peers(1, 1, 1), 200)
    assert not c.is_silent(1)


def test_a_new_network_waits_for_one_that_does_not_come_until_the_patience_is_over() -> None:
    """Without it the others begin, and it is silent when it comes: then no other one may fail for good."""
    c = caution(last_signed=0)
    assert not c.settle(1, FOUR, peers(1, 1), 0)
    assert not c.settle(1, FOUR, peers(1, 1), PATIENCE_MS - 1)
    assert c.settle(1, FOUR, peers(1, 1), PATIENCE_MS)
    assert not c.is_silent(1)


def test_after_its_first_height_a_network_waits_for_nobody_but_a_quorum() -> None:
    c = caution(last_signed=1)
    assert c.settle(2, FOUR, peers(2, 2), 0)
    assert not c.is_silent(2)


def test_one_that_lies_about_its_height_neither_silences_nor_wakes() -> None:
    c = caution(last_signed=49)
    assert not c.settle(50, FOUR, peers(10**12, 50, 50), 0)  # it may be able to prove it
    assert not c.settle(50, FOUR, peers(10**12, 50, 50), PATIENCE_MS - 1)
    assert c.settle(50, FOUR, peers(10**12, 50, 50), PATIENCE_MS)
    assert not c.is_silent(50)
    wiped = caution(last_signed=0)
    assert not wiped.settle(1, FOUR, peers(1, 50, 50), 0)  # a liar says that the chain never began
    assert not wiped.settled


def test_whoever_is_connected_is_waited_for_even_where_a_quorum_has_spoken() -> None:
    """Two wiped ones and a slow one look like a new network, until the fourth says otherwise (simulated seed 16)."""
    c = caution(last_signed=0)
    assert not c.settle(1, FOUR, peers(1, 1, None), 0)
    assert not c.settle(1, FOUR, peers(1, 1, 4), 10)
    assert c.settle(4, FOUR, peers(4, 4, 4), 20)
    assert c.is_silent(4)


def test_a_validator_that_decides_alone_waits_for_nobody() -> None:
    alone = ValidatorSet.of([Validator(ME, ME + bytes(12), Power(1))])
    for last_signed in (7, 0, FORGOTTEN):
        c = caution(last_signed)
        assert c.settle(8, alone, {}, 0)
        assert not c.is_silent(8), "what it decided alone it would wait for for ever"


def test_an_observer_has_nothing_to_be_cautious_about() -> None:
    assert Caution(None, None, PATIENCE_MS).settled
    assert Caution(ME, None, PATIENCE_MS).settled


@settings(max_examples=300)
@given(
    signed=st.integers(0, 12),
    decided=st.integers(0, 12),
    lags=st.tuples(*[st.integers(0, 12)] * 3),
    connected=st.tuples(*[st.booleans()] * 3),
    own=st.integers(1, 13),
)
def test_no_height_is_spoken_at_that_a_forgotten_message_could_be_of(
    signed: int, decided: int, lags: tuple[int, ...], connected: tuple[bool, ...], own: int
) -> None:
    """The model: `decided` is the last decided height, so two of the three others precommitted it and stand there at
    least; we signed at most at the height after it. We forgot all, and sync up to some height of our own."""
    could_have_signed = min(signed, decided + 1) if decided else 1
    heights = sorted(max(decided - lag, 1) for lag in lags)
    heights[1:] = [max(h, decided) for h in heights[1:]]
    shown = {PeerId(IDS[n + 1]): state(max(h, 1)) for n, h in enumerate(heights) if connected[n]}
    c = caution(last_signed=0)
    at = min(own, decided + 1)
    if c.settle(at, FOUR, shown, 0) and not (at == 1 and could_have_signed <= 1):
        speaks_first_at = (c.silent_to or 0) + 1
        assert speaks_first_at > could_have_signed or decided <= 1


# --- on what terms to rejoin ------------------------------------------------------------------------------------------


def stuck(height: int = 9, last_signed: int = 0) -> Caution:
    """Silent at `height`, which began at 0 ms; `last_signed` 0: its guard is gone."""
    c = Caution(ME, last_signed, PATIENCE_MS, silent_to=height + 1)
    assert not c.is_stuck(height, 0)
    return c


def hear(
    c: Caution,
    *who: int,
    votes: tuple[Vote, ...] = (),
    proposals: tuple[Proposal, ...] = (),
    now_ms: int = PATIENCE_MS,
    height: int = 9,
) -> None:
    for n in who:
        c.told(PeerId(IDS[n]), Memory(Height(height), votes, proposals), now_ms)


def test_two_of_four_wiped_rejoin_once_both_who_remember_have_spoken_and_time_has_passed() -> None:
    c = stuck()
    here = peers(9, 9, 9, silent=(1,))
    hear(c, 2, 3, now_ms=PATIENCE_MS - 1)  # too early: a message of before may still be under way
    assert c.rejoin(machine(), here, PATIENCE_MS) is None
    hear(c, 2)
    assert c.rejoin(machine(), here, PATIENCE_MS) is None
    hear(c, 3)
    assert c.rejoin(machine(), here, PATIENCE_MS - 1) is None
    assert c.rejoin(machine(), here, PATIENCE_MS) is None, "what the other silent one heard of us is not known yet"
    hear(c, 1)
    assert c.rejoin(machine(), here, PATIENCE_MS) is not None
    assert not c.is_silent(9)


def test_the_word_of_another_silent_one_says_nothing_of_what_was_decided() -> None:
    c = stuck()
    hear(c, 1, 2, 3)
    assert c.rejoin(machine(), peers(9, 9, 9, silent=(1, 2, 3)), PATIENCE_MS) is None
    assert c.rejoin(machine(), peers(9, 9, 9, silent=(1, 2)), PATIENCE_MS) is None  # three wiped: nobody knows enough
    two = stuck()
    hear(two, 1, 2)  # the other wiped one, and only one of those who remember
    assert two.rejoin(machine(), peers(9, 9, 9, silent=(1,)), PATIENCE_MS) is None


def test_who_was_away_rejoins_without_one_that_is_down_but_who_was_wiped_does_not() -> None:
    there = {p: s for p, s in peers(9, 9, 9).items() if p != IDS[1]}
    away, wiped = stuck(last_signed=2), stuck()
    for one in (away, wiped):
        hear(one, 2, 3)
    assert away.rejoin(machine(), there, PATIENCE_MS) is not None
    assert wiped.rejoin(machine(), there, PATIENCE_MS) is None


def test_more_than_a_third_silent_wait_for_the_absent_even_if_they_were_only_away() -> None:
    seven = ValidatorSet.of([Validator(i, i + bytes(12), Power(1)) for i in IDS])
    three = stuck(last_signed=2)
    hear(three, 3, 4, 5)
    there = {p: s for p, s in peers(9, 9, 9, 9, 9, 9, silent=(1, 2)).items() if p != IDS[6]}
    assert three.rejoin(machine(validators=seven), there, PATIENCE_MS) is None


def test_a_peer_at_another_height_does_not_count() -> None:
    c = stuck()
    hear(c, 1, 2, 3)
    assert c.rejoin(machine(), peers(9, 8, 10), PATIENCE_MS) is None


def test_a_height_that_moves_starts_the_wait_anew() -> None:
    c = stuck()
    hear(c, 1, 2, 3)
    assert not c.is_stuck(10, PATIENCE_MS)
    assert c.rejoin(machine(10), peers(10, 10, 10), PATIENCE_MS + 1) is None
    assert c.is_stuck(10, 2 * PATIENCE_MS)


def test_a_word_about_another_height_does_not_begin_the_patience_anew() -> None:
    """One liar could keep a restarted validator from ever settling, and with it a chain of four that needs its vote."""
    c = caution(last_signed=49)
    lied_to = peers(10**12, 50, 50)
    assert not c.settle(50, FOUR, lied_to, 0)
    for now_ms in range(0, PATIENCE_MS, 1_000):
        hear(c, 1, height=999, now_ms=now_ms)
    assert c.settle(50, FOUR, lied_to, PATIENCE_MS)
    silent = stuck()
    hear(silent, 1, height=999, now_ms=PATIENCE_MS)
    assert silent.is_stuck(9, PATIENCE_MS)


def test_a_clock_that_is_set_back_does_not_stretch_the_patience() -> None:
    c = stuck()
    long_ago_ms = -1_000_000_000
    assert not c.is_stuck(9, long_ago_ms)
    assert c.is_stuck(9, long_ago_ms + PATIENCE_MS)


def test_who_rejoins_takes_over_the_newest_proven_lock_and_never_a_claimed_one() -> None:
    c = stuck()
    hear(c, 1, votes=polka(1, V))
    hear(c, 2, votes=polka(3, W)[:2])  # two of four prove nothing
    hear(c, 3, votes=(*polka(2, W), *polka(7, V, height=8)))
    rejoin = c.rejoin(machine(), peers(9, 9, 9), PATIENCE_MS)
    assert rejoin is not None
    assert rejoin.lock is not None
    assert rejoin.lock.locked == rejoin.lock.valid == Lock(Round(2), W)
    assert set(rejoin.lock.prevotes) == set(polka(2, W))


def test_who_rejoins_begins_where_it_or_the_others_were_last() -> None:
    c = stuck()
    hear(c, 1, 2, votes=(vote(VoteKind.PRECOMMIT, 4, None, ME), vote(VoteKind.PREVOTE, 6, None, IDS[2])))
    hear(c, 3)
    rejoin = c.rejoin(replace(machine(), round=Round(3)), peers(9, 9, 9), PATIENCE_MS)
    assert rejoin is not None
    assert rejoin.round == 4
    other = stuck()
    hear(other, 1, 2, 3)
    again = other.rejoin(replace(machine(), round=Round(3)), peers(9, 9, 9), PATIENCE_MS)
    assert again is not None
    assert again.round == 3


def test_who_rejoins_knows_what_it_proposed_and_begins_no_earlier() -> None:
    offer = Proposal(Height(9), Round(5), V, NO_ROUND, ME, b"s" * 64)
    c = stuck()
    hear(c, 1, 2, proposals=(offer,))
    hear(
        c,
        3,
        proposals=(replace(offer, height=Height(8), round=Round(9)), replace(offer, proposer=IDS[1], round=Round(9))),
    )
    rejoin = c.rejoin(machine(), peers(9, 9, 9), PATIENCE_MS)
    assert rejoin is not None
    assert (rejoin.round, rejoin.offered) == (5, (offer,))


def test_what_is_told_is_the_proof_of_the_lock_and_the_askers_own_votes() -> None:
    m = machine()
    own = vote(VoteKind.PREVOTE, 0, None, ME)
    for v in (own, *polka(0, V)):
        m, _ = step(m, VoteSeen(v))
    m = replace(m, valid=Lock(Round(0), V))
    told = memory_for(m, ME)
    assert own in told.votes
    assert set(polka(0, V)) <= set(told.votes)
    lock = newest_lock(Height(9), FOUR, told.votes)
    assert lock is not None
    assert lock.valid == Lock(Round(0), V)
    assert memory_for(machine(), ME) == Memory(Height(9))
    assert newest_lock(Height(9), FOUR, (*polka(0, V)[:1] * 3, own)) is None
