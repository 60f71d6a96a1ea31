"""Block sync against peers that promise blocks and have none."""

from __future__ import annotations

from chain.block import Block
from consensus.types import Commit, ValidatorId
from node.catchup import PATIENCE_MS, REST_MS, Catchup
from node.events import PeerState
from tests.chain.network import Chain, genesis

LIAR, HONEST = ValidatorId(b"l" * 20), ValidatorId(b"m" * 20)


def at(height: int) -> PeerState:
    return PeerState(height, 0, 0, 0, 0, False, -1, 0, 1)


def test_a_peer_without_the_blocks_that_it_promised_is_not_asked_again_at_once() -> None:
    catchup, peers = Catchup(), {LIAR: at(10**12)}
    assert [r.to for r in catchup.next_requests(5, peers, 1_000)] == [LIAR]
    catchup.received(LIAR, (), 5)
    assert catchup.next_requests(5, peers, 1_001) == []
    assert [r.to for r in catchup.next_requests(5, peers, 1_000 + REST_MS)] == [LIAR]


def test_while_a_liar_rests_others_are_asked() -> None:
    catchup = Catchup()
    assert len(catchup.next_requests(5, {LIAR: at(10**12)}, 1_000)) == 1
    catchup.received(LIAR, (), 5)
    asked = catchup.next_requests(5, {LIAR: at(10**12), HONEST: at(9)}, 1_001)
    assert [(r.to, r.first, r.last) for r in asked] == [(HONEST, 5, 8)]


def test_a_clock_that_jumps_back_does_not_keep_a_peer_from_being_asked() -> None:
    catchup, peers = Catchup(), {HONEST: at(9)}
    assert len(catchup.next_requests(5, peers, 100_000)) == 1
    assert len(catchup.next_requests(5, peers, 100_000 - 10 * PATIENCE_MS)) == 1


def test_one_height_behind_a_clock_that_jumps_back_does_not_stretch_the_grace() -> None:
    """Where the others need our vote to go on, nobody would ever be two heights ahead."""
    catchup, peers = Catchup(), {HONEST: at(6)}
    assert catchup.next_requests(5, peers, 100_000_000) == []
    assert len(catchup.next_requests(5, peers, 1_000)) == 1


def blocks(first: int, last: int) -> tuple[tuple[Block, Commit], ...]:
    """By their heights alone: what is in them is not catch-up's business."""
    chain = Chain(genesis(contracts=()))
    pairs = []
    for height in range(1, last + 1):
        block = chain.propose()
        commit = chain.commit(block)
        chain.ledger.apply(block, commit)
        if height >= first:
            pairs.append((block, commit))
    return tuple(pairs)


def test_over_a_slow_line_an_answer_that_comes_late_still_counts() -> None:
    """Given up and asked again each time, a node behind such a line would never have caught up."""
    catchup, peers = Catchup(), {HONEST: at(4)}
    catchup.next_requests(1, peers, 0)
    assert len(catchup.next_requests(1, peers, PATIENCE_MS)) == 1
    catchup.next_requests(1, peers, 2 * PATIENCE_MS)
    catchup.received(HONEST, blocks(1, 3), 1)
    assert catchup.take(1) is not None
    late = Catchup()
    late.next_requests(1, {HONEST: at(3)}, 0)
    assert [(r.first, r.last) for r in late.next_requests(3, {HONEST: at(9)}, PATIENCE_MS)] == [(3, 8)]
    late.received(HONEST, blocks(1, 2), 1)
    assert late.next_requests(3, {HONEST: at(9)}, PATIENCE_MS + 1) == [], "the newer request is still under way"
