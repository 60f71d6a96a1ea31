"""When a node knows that its clock is off."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.clockwatch import ClockWatch, Jumps
from tests.node.localnet import Localnet, running, until
from tests.node.test_members import FAST, height, keep_busy

NOW = 1_700_000_000_000
PRECISION_MS = 500


@given(st.integers(-100_000, 100_000), st.lists(st.integers(0, 2_000), min_size=4, max_size=20))
def test_the_offset_is_known_up_to_the_quickest_way_of_a_proposal(off_ms: int, travelled_ms: list[int]) -> None:
    watch = ClockWatch()
    for index, late in enumerate(travelled_ms):
        watch.proposed(bytes([index % 2]), NOW + off_ms - late, NOW)
    quickest = [min(travelled_ms[who::2]) for who in (0, 1)]
    assert watch.offset_ms is not None
    assert off_ms - max(quickest) <= watch.offset_ms <= off_ms - min(quickest)


def test_one_proposer_with_a_wrong_clock_accuses_nobody_else() -> None:
    watch = ClockWatch()
    for who, off_ms in ((b"a", -10), (b"b", -20), (b"liar", 3_600_000)):
        watch.proposed(who, NOW + off_ms, NOW)
    assert watch.offset_ms == -10
    assert watch.warning(PRECISION_MS, NOW) is None


def test_a_clock_that_is_off_is_said_once_a_minute() -> None:
    watch = ClockWatch()
    said = []
    for second in range(150):
        now_ms = NOW + 1_000 * second
        watch.proposed(b"a", now_ms + 2_000, now_ms)
        said += [watch.warning(PRECISION_MS, now_ms)]
    assert [index for index, value in enumerate(said) if value is not None] == [0, 60, 120]
    assert said[0] == 2_000


def test_what_was_seen_long_ago_no_longer_counts() -> None:
    watch = ClockWatch()
    watch.proposed(b"a", NOW + 5_000, NOW)
    watch.proposed(b"b", NOW + 40_000, NOW + 40_000)
    assert watch.offset_ms == 0


def test_a_clock_that_is_set_jumps_and_one_that_drifts_does_not() -> None:
    jumps = Jumps(NOW, 0)
    assert [jumps.seen(NOW + t, t + t // 1_000) for t in range(0, 10_000, 1_000)] == [None] * 10
    assert jumps.seen(NOW + 10_000 - 3_600_000, 10_009) == -3_600_000
    assert jumps.seen(NOW + 11_000 - 3_600_000, 11_009) is None


@pytest.mark.parametrize("by_ms", [-3_600_000, 3_600_000])
def test_a_node_whose_clock_is_set_wrong_knows_it_follows_and_hinders_nobody(by_ms: int, tmp_path: Path) -> None:
    async def scenario() -> None:
        net = Localnet.make(tmp_path, 4)
        async with running(*net.homes, **FAST) as nodes:
            traffic = asyncio.create_task(keep_busy(net, nodes[0]))
            host = nodes[3].node.host
            await until(lambda: height(nodes[3]) > 3)
            host._clock_ms = lambda: time.time_ns() // 1_000_000 + by_ms
            before = height(nodes[0])
            await until(lambda: height(nodes[0]) > before + 10 and height(nodes[3]) > before + 10)
            await until(lambda: host.replica.clock_offset_ms is not None)  # it may have fetched those blocks
            offset_ms = host.replica.clock_offset_ms
            assert offset_ms is not None
            assert abs(offset_ms + by_ms) < 10_000

            host._clock_ms = lambda: time.time_ns() // 1_000_000
            before = height(nodes[3])
            await until(lambda: height(nodes[3]) > before + 10)
            traffic.cancel()
            await asyncio.gather(traffic, return_exceptions=True)
            assert len({n.node.host.ledger.store.block_bytes(before) for n in nodes}) == 1

    asyncio.run(scenario())
