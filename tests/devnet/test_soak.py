"""The long runs in small: what counts as flat, that nothing sent is forgotten, and that a newcomer is given a vote under load."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devnet import joining, soak
from devnet.flatness import is_flat, trend
from devnet.network import NetworkError
from devnet.soak import Series, figures
from devnet.steady import Steady


def quiet(text: str) -> None:
    return None


@given(st.floats(0.0, 1_000.0), st.floats(-10.0, 10.0), st.integers(3, 200))
def test_a_straight_line_grows_by_what_it_grows(start: float, slope: float, count: int) -> None:
    times = [float(n) for n in range(count)]
    found = trend(times, [start + slope * t for t in times])
    counted = times[int(count / 3) :]
    assert found.growth == pytest.approx(slope * (counted[-1] - counted[0]), abs=1e-6)
    assert found.per_hour == pytest.approx(slope * 3_600, abs=1e-3)


def test_what_fills_up_at_first_and_then_stays_is_flat_and_a_leak_is_not() -> None:
    times = [float(n) for n in range(90)]
    filling = [min(100.0, 40.0 + 3 * n) for n in range(90)]
    leaking = [100.0 + n for n in range(90)]
    jumping = [100.0 + (n % 7) for n in range(90)]
    assert is_flat(trend(times, filling), 0.05, 4.0)
    assert not is_flat(trend(times, leaking), 0.05, 4.0)
    assert is_flat(trend(times, jumping), 0.05, 4.0)


def _told(growing: bool, under_way: int, failed: Counter[str]) -> bool:
    times = [float(n) for n in range(30)]
    memory = [100.0 + (5 * n if growing else 0) for n in range(30)]
    series = [Series("a", 1, times, memory, [40.0] * 30)]
    load = Steady(["a:1"], "c", 10.0, 64, sent=300, final=300 - under_way, failed=failed)
    load._under_way.update({str(n): None for n in range(under_way)})  # type: ignore[misc]
    return bool(figures(series, load, 30.0, 10, True)["ok"])


def test_a_run_is_good_only_if_nothing_grew_was_lost_or_failed() -> None:
    assert _told(False, 0, Counter())
    assert not _told(True, 0, Counter())
    assert not _told(False, 1, Counter())
    assert not _told(False, 0, Counter(OUT_OF_GAS=1))


def test_a_node_that_stopped_ends_the_run() -> None:
    with pytest.raises(NetworkError, match="a has stopped"):
        Series("a", 2**22 + 1).sample(0.0)


def test_a_short_soak_on_real_processes_loses_nothing() -> None:
    result = soak.run(0.1, 60.0, 2, quiet)
    assert result["sent"] == result["final"] >= 300
    assert (result["lost"], result["failed"], result["agree"], result["files_flat"]) == (0, {}, True, True)
    assert result["samples"] >= 3


def test_a_newcomer_observes_and_then_signs_under_load_and_nothing_is_lost() -> None:
    result = joining.run(60.0, 2, quiet)
    assert result["ok"], result
    assert result["sent"] == result["final"] >= 300
    assert result["validator_s"] > 0
