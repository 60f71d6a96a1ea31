"""The cache of state values against the store below it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chain.memory import MemoryKV
from chain.statecache import LARGEST_BYTES, StateCache
from chain.staterecord import encode_record, record_key
from chain.store import StateReader

KEYS = st.integers(0, 12).map(lambda n: b"key %d" % n)
VALUES = st.none() | st.binary(max_size=3) | st.just(bytes(LARGEST_BYTES + 1))
STEPS = st.lists(KEYS | st.dictionaries(KEYS, VALUES, max_size=6), max_size=40)


@given(steps=STEPS, limit=st.integers(4, 9))
def test_a_cache_that_hears_of_every_change_always_reads_what_is_stored(
    steps: list[bytes | dict[bytes, bytes | None]], limit: int
) -> None:
    kv = MemoryKV({record_key(b"key 1"): encode_record(b"key 1", b"before")})
    stored = StateReader(kv)
    cache = StateCache(stored, limit)
    for step in steps:
        if isinstance(step, bytes):
            assert cache.get(step) == stored.get(step)
            continue
        assert cache.many(step) == {key: stored.get(key) for key in step}
        puts = [(record_key(key), encode_record(key, value)) for key, value in step.items() if value is not None]
        kv.write(puts, [record_key(key) for key, value in step.items() if value is None])
        cache.applied(step)
    for number in range(13):
        key = b"key %d" % number
        assert cache.get(key) == stored.get(key)


class Counting:
    def __init__(self) -> None:
        self.asked: list[bytes] = []

    def get(self, key: bytes, /) -> bytes | None:
        self.asked.append(key)
        return {b"absent": None, b"large": bytes(LARGEST_BYTES + 1)}.get(key, b"value")


def test_a_value_and_an_absence_are_read_from_the_store_once_and_a_large_value_every_time() -> None:
    state = Counting()
    cache = StateCache(state)
    for _ in range(2):
        for key in (b"absent", b"present", b"large"):
            cache.get(key)
    assert state.asked == [b"absent", b"present", b"large", b"large"]


def test_no_more_values_than_the_limit_are_kept() -> None:
    state = Counting()
    cache = StateCache(state, limit=8)
    for number in range(100):
        cache.get(b"%d" % number)
    asked = len(state.asked)
    for number in range(100):
        cache.get(b"%d" % number)
    assert len(state.asked) >= asked + 92
