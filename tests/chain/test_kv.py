"""One contract for every store: the one on disk and the one in memory."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.kv import KV, StoreCorruptError, StoreError, StoreLockedError
from chain.leveldb import LevelKV
from chain.memory import MemoryKV

Reopen = Callable[[Any], KV]


def reopen_memory(kv: MemoryKV) -> MemoryKV:
    kv.close()
    return kv.copy()


def reopen_level(kv: LevelKV) -> LevelKV:
    kv.close()
    return LevelKV(kv.path)


@pytest.fixture(params=["memory", "leveldb"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[KV, Reopen]]:
    kv: KV
    if request.param == "memory":
        kv, reopen = MemoryKV(), reopen_memory
        yield kv, reopen
    else:
        kv = LevelKV(tmp_path / "deep" / "db")
        yield kv, reopen_level
    kv.close()


@pytest.fixture
def kv(opened: tuple[KV, Reopen]) -> KV:
    return opened[0]


def test_an_unknown_key_reads_as_none(kv: KV) -> None:
    assert kv.get(b"a") is None


def test_a_written_pair_is_read_back_and_a_deleted_one_is_gone(kv: KV) -> None:
    kv.write([(b"a", b"1"), (b"b", b""), (b"", b"empty key")])
    kv.write([(b"a", b"2")], [b"b", b"never there"])
    assert (kv.get(b"a"), kv.get(b"b"), kv.get(b"")) == (b"2", None, b"empty key")


def test_the_last_put_stands_and_a_delete_beats_a_put(kv: KV) -> None:
    kv.write([(b"a", b"1"), (b"a", b"2"), (b"b", b"1")], [b"b"])
    assert list(kv.scan(b"", b"z")) == [(b"a", b"2")]


def test_a_batch_whose_source_fails_writes_nothing(kv: KV) -> None:
    def pairs() -> Iterator[tuple[bytes, bytes]]:
        yield b"a", b"1"
        raise ValueError("the source broke")

    with pytest.raises(ValueError, match="the source broke"):
        kv.write(pairs(), [b"x"])
    assert kv.get(b"a") is None


def test_a_scan_shows_the_store_as_it_stood_when_it_began(kv: KV) -> None:
    kv.write([(b"a", b"1"), (b"b", b"1")])
    pairs = kv.scan(b"a", b"z")
    kv.write([(b"a", b"2"), (b"c", b"2")], [b"b"])
    assert list(pairs) == [(b"a", b"1"), (b"b", b"1")]


def test_compacting_loses_nothing(kv: KV) -> None:
    kv.write([(b"%03d" % i, bytes(100)) for i in range(500)])
    kv.write([], [b"%03d" % i for i in range(100, 500)])
    kv.compact(b"", b"\xff")
    assert [key for key, _ in kv.scan(b"", b"\xff")] == [b"%03d" % i for i in range(100)]


@pytest.mark.parametrize("sync", [True, False])
def test_what_was_written_is_there_after_opening_again(opened: tuple[KV, Reopen], sync: bool) -> None:
    kv, reopen = opened
    kv.write([(b"a", b"1"), (b"b", b"2")], sync=sync)
    again = reopen(kv)
    assert list(again.scan(b"", b"z")) == [(b"a", b"1"), (b"b", b"2")]
    again.close()


def test_a_closed_store_says_so(kv: KV) -> None:
    kv.write([(b"a", b"1")])
    kv.close()
    kv.close()
    for use in (
        lambda: kv.get(b"a"),
        lambda: kv.write([(b"a", b"2")]),
        lambda: list(kv.scan(b"", b"z")),
        lambda: kv.compact(b"", b"z"),
    ):
        with pytest.raises(StoreError, match="closed"):
            use()


KEYS = st.binary(max_size=3)
BATCHES = st.lists(st.tuples(st.dictionaries(KEYS, st.binary(max_size=4), max_size=6), st.sets(KEYS, max_size=4)))


def check_against_a_dict(
    kv: KV, batches: list[tuple[dict[bytes, bytes], set[bytes]]], start: bytes, stop: bytes
) -> None:
    model: dict[bytes, bytes] = {}
    for puts, deletes in batches:
        kv.write(puts.items(), deletes, sync=False)
        model |= puts
        for key in deletes:
            model.pop(key, None)
        assert list(kv.scan(start, stop)) == sorted((k, v) for k, v in model.items() if start <= k < stop)
    assert all(kv.get(key) == value for key, value in model.items())


@given(BATCHES, KEYS, KEYS)
def test_the_store_in_memory_behaves_like_a_sorted_dict(
    batches: list[tuple[dict[bytes, bytes], set[bytes]]], start: bytes, stop: bytes
) -> None:
    check_against_a_dict(MemoryKV(), batches, start, stop)


@settings(max_examples=40, deadline=None)
@given(BATCHES, KEYS, KEYS)
def test_the_store_on_disk_behaves_like_a_sorted_dict(
    batches: list[tuple[dict[bytes, bytes], set[bytes]]], start: bytes, stop: bytes
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        kv = LevelKV(folder)
        check_against_a_dict(kv, batches, start, stop)
        kv.close()


def test_a_copy_of_the_store_in_memory_goes_its_own_way() -> None:
    first = MemoryKV({b"a": b"1"})
    second = first.copy()
    second.write([(b"a", b"2")])
    assert (first.get(b"a"), second.get(b"a")) == (b"1", b"2")


def test_a_store_that_is_open_elsewhere_is_locked(tmp_path: Path) -> None:
    kv = LevelKV(tmp_path)
    with pytest.raises(StoreLockedError, match="another process has it open"):
        LevelKV(tmp_path)
    kv.close()
    LevelKV(tmp_path).close()


def test_a_flipped_bit_in_a_table_is_noticed(tmp_path: Path) -> None:
    kv = LevelKV(tmp_path)
    # Hashes do not compress: only the checksum can tell.
    kv.write([(b"%04d" % i, sha256(b"%d" % i).digest() * 2) for i in range(2_000)])
    kv.compact(b"", b"\xff")
    kv.close()
    table = max(tmp_path.glob("*.ldb"), key=lambda path: path.stat().st_size)
    data = bytearray(table.read_bytes())
    data[len(data) // 3] ^= 0x10
    table.write_bytes(data)
    kv = LevelKV(tmp_path)
    with pytest.raises(StoreCorruptError, match="damaged"):
        list(kv.scan(b"", b"\xff"))
    with pytest.raises(StoreCorruptError, match="damaged"):
        _ = [kv.get(b"%04d" % i) for i in range(2_000)]
    kv.close()


def test_a_flipped_bit_in_the_log_is_noticed(tmp_path: Path) -> None:
    kv = LevelKV(tmp_path)
    for i in range(20):
        kv.write([(b"%02d" % i, bytes(30))])
    kv.close()
    log = max(tmp_path.glob("*.log"))
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 0x10
    log.write_bytes(data)
    with pytest.raises(StoreCorruptError, match="damaged"):
        LevelKV(tmp_path)


def test_a_torn_tail_of_the_log_loses_whole_batches_only(tmp_path: Path) -> None:
    kv = LevelKV(tmp_path)
    for i in range(20):
        kv.write([(b"x%02d" % i, bytes(30)), (b"y%02d" % i, bytes(30))])
    kv.close()
    log = max(tmp_path.glob("*.log"))
    log.write_bytes(log.read_bytes()[:-17])
    kv = LevelKV(tmp_path)
    left = [key for key, _ in kv.scan(b"", b"\xff")]
    assert left == [b"x%02d" % i for i in range(19)] + [b"y%02d" % i for i in range(19)]
    kv.close()


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    kv = LevelKV(tmp_path)
    kv.write([(b"a", b"1")])
    kv.close()
    (tmp_path / "CURRENT").write_text("nonsense")
    with pytest.raises(StoreCorruptError, match="damaged"):
        LevelKV(tmp_path)


def test_a_path_that_is_a_file_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"^Cannot open the store in .*\.$"):
        LevelKV(tmp_path / "file" / "db")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_refused_with_a_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(StoreError, match="no permission"):
        LevelKV(tmp_path / "db")
    tmp_path.chmod(stat.S_IRWXU)


def test_a_batch_holds_nothing_of_the_ones_before_it(tmp_path: Path) -> None:
    kv = LevelKV(tmp_path / "db")
    kv.write([(b"a", b"1"), (b"b", b"1")])
    with pytest.raises(TypeError):
        kv.write([(b"a", b"2"), (b"b", None)])  # type: ignore[list-item]
    kv.write([(b"c", b"1")], [b"b"])
    kv.write([(b"large", bytes(17 << 20))])  # so large that its room is not kept
    kv.write([(b"d", b"1")], sync=False)
    kv.write([(b"e", b"1")])
    found = {key: value for key, value in kv.scan(b"", b"z") if key != b"large"}
    assert found == {b"a": b"1", b"c": b"1", b"d": b"1", b"e": b"1"}
    kv.close()
