"""The cache of state values against the store below it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from chain.memory import MemoryKV
from chain.statecache import FETCHED_AT_ONCE, LARGEST_BYTES, StateCache
from chain.staterecord import encode_record, record_key
from chain.store import StateReader

KEY_COUNT = 2 * FETCHED_AT_ONCE
KEYS = st.integers(0, KEY_COUNT - 1).map(lambda n: b"key %d" % n)
VALUES = st.none() | st.binary(max_size=3) | st.just(bytes(LARGEST_BYTES + 1))


class Fetch(NamedTuple):
    keys: list[bytes]


FETCHES = st.lists(KEYS, max_size=2 * FETCHED_AT_ONCE).map(Fetch)
STEPS = st.lists(KEYS | FETCHES | st.dictionaries(KEYS, VALUES, max_size=6), max_size=40)


class Stored(StateReader):
    def many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return [self.get(key) for key in keys]


@given(steps=STEPS, limit=st.integers(4, KEY_COUNT))
def test_a_cache_that_hears_of_every_change_always_reads_what_is_stored(
    steps: list[bytes | Fetch | dict[bytes, bytes | None]], limit: int
) -> None:
    kv = MemoryKV({record_key(b"key 1"): encode_record(b"key 1", b"before")})
    stored = Stored(kv)
    cache = StateCache(stored, limit)
    for step in steps:
        if isinstance(step, bytes):
            assert cache.get(step) == stored.get(step)
            continue
        if isinstance(step, Fetch):
            cache.fetch(step.keys)
            continue
        assert cache.many(step) == {key: stored.get(key) for key in step}
        puts = [(record_key(key), encode_record(key, value)) for key, value in step.items() if value is not None]
        kv.write(puts, [record_key(key) for key, value in step.items() if value is None])
        cache.applied(step)
    for number in range(KEY_COUNT):
        key = b"key %d" % number
        assert cache.get(key) == stored.get(key)


class Counting:
    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.asked_at_once: list[list[bytes]] = []

    def many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        self.asked_at_once.append(list(keys))
        return [self.get(key) for key in keys]

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


def test_what_is_fetched_is_read_at_once_and_each_key_once() -> None:
    state = Counting()
    cache = StateCache(state)
    cache.get(b"0")
    wanted = [b"%d" % number for number in range(FETCHED_AT_ONCE + 1)]
    cache.fetch([*wanted, *wanted])
    assert state.asked_at_once == [wanted[1:]]
    cache.fetch(wanted)
    for key in wanted:
        cache.get(key)
    assert state.asked == wanted


def test_a_few_keys_are_not_fetched_and_a_large_value_is_not_kept() -> None:
    state = Counting()
    cache = StateCache(state)
    cache.fetch([b"%d" % number for number in range(FETCHED_AT_ONCE - 1)])
    assert not state.asked
    cache.fetch([b"large", *[b"%d" % number for number in range(FETCHED_AT_ONCE)]])
    state.asked.clear()
    cache.get(b"large")
    assert state.asked == [b"large"]


def test_fetching_keeps_no_more_values_than_the_limit() -> None:
    state = Counting()
    cache = StateCache(state, limit=8)
    keys = [b"%d" % number for number in range(100)]
    cache.fetch(keys)
    state.asked.clear()
    for key in keys:
        cache.get(key)
    assert len(state.asked) >= 92
