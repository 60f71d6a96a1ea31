"""The fuzzer itself: what it would find, and a few seconds of it."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.mutate import MOST_BYTES, Mutator
from tests.fuzz.run import fuzz_decoders, run
from tests.fuzz.targets import Target


@given(st.integers(0, 2**31), st.lists(st.binary(max_size=60), min_size=1, max_size=4))
def test_a_seed_gives_the_same_inputs_again_and_none_too_large(seed: int, corpus: list[bytes]) -> None:
    one, two = Mutator(seed, corpus), Mutator(seed, corpus)
    inputs = [one.next() for _ in range(50)]
    assert inputs == [two.next() for _ in range(50)]
    assert all(len(raw) <= MOST_BYTES for raw in inputs)


def test_an_exception_that_is_not_allowed_is_found_with_its_input() -> None:
    def feed(raw: bytes) -> None:
        if raw[:1] == b"b":
            raise KeyError("of ours")
        if raw[:1] != b"a":
            raise ValueError("malformed")

    found = fuzz_decoders([Target("weak", [b"abab"], feed)], 0.3, 1).findings
    assert found
    assert found[0].startswith("weak: KeyError: 'of ours': 62")


def test_an_input_that_takes_too_long_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.run.SLOW_CPU_S", 0.002)

    def feed(raw: bytes) -> None:
        if len(raw) > 20:
            sum(range(400_000))

    found = fuzz_decoders([Target("slow", [bytes(16)], feed)], 0.3, 1).findings
    assert any("of processor time" in f for f in found)


def test_five_seconds_find_nothing() -> None:
    report = asyncio.run(run(5.0, 7, lambda text: None))
    assert report["findings"] == [], f"python -m tests.fuzz --seed {report['seed']}"
    assert report["inputs"] > 2_000
    assert report["node"]["honest_transactions"] >= 3
    assert {"tx", "proof", "peer stream message", "client SubmitBatch", "raw bytes"} <= set(report["by_target"])
