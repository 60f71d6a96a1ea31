"""The cache of state values against the store below it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chain.memory import MemoryKV
from chain.statecache import LARGEST_BYTES, StateCache
from chain.store import STATE

KEYS = st.integers(0, 12).map(lambda n: b"key %d" % n)
VALUES = st.none() | st.binary(max_size=3) | st.just(bytes(LARGEST_BYTES + 1))
STEPS = st.lists(KEYS | st.dictionaries(KEYS, VALUES, max_size=6), max_size=40)


@given(steps=STEPS, limit=st.integers(4, 9))
def test_a_cache_that_hears_of_every_change_always_reads_what_is_stored(
    steps: list[bytes | dict[bytes, bytes | None]], limit: int
) -> None:
    kv = MemoryKV({STATE + b"key 1": b"before"})
    cache = StateCache(kv, limit)
    for step in steps:
        if isinstance(step, bytes):
            assert cache.get(step) == kv.get(STATE + step)
            continue
        assert cache.many(step) == {key: kv.get(STATE + key) for key in step}
        puts = [(STATE + key, value) for key, value in step.items() if value is not None]
        kv.write(puts, [STATE + key for key, value in step.items() if value is None])
        cache.applied(step)
    for number in range(13):
        key = b"key %d" % number
        assert cache.get(key) == kv.get(STATE + key)


class Counting:
    def __init__(self) -> None:
        self.asked: list[bytes] = []

    def get(self, key: bytes, /) -> bytes | None:
        self.asked.append(key)
        return None if key.endswith(b"absent") else bytes(LARGEST_BYTES + 1) if key.endswith(b"large") else b"value"


def test_a_value_and_an_absence_are_read_from_the_store_once_and_a_large_value_every_time() -> None:
    kv = Counting()
    cache = StateCache(kv)
    for _ in range(2):
        for key in (b"absent", b"present", b"large"):
            cache.get(key)
    assert kv.asked == [STATE + b"absent", STATE + b"present", STATE + b"large", STATE + b"large"]


def test_no_more_values_than_the_limit_are_kept() -> None:
    kv = Counting()
    cache = StateCache(kv, limit=8)
    for number in range(100):
        cache.get(b"%d" % number)
    asked = len(kv.asked)
    for number in range(100):
        cache.get(b"%d" % number)
    assert len(kv.asked) >= asked + 92
