"""The write-ahead log: whatever a crash leaves, a prefix of what was appended comes back; other damage is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.types import BlockId, Height, Proposal, Round, ValidatorId, Vote, VoteKind
from node.events import LoggedBlock, LoggedHeard, LoggedLock, LoggedOwn, LogRecord
from node.wal import WriteAheadLog
from node.walcodec import HEADER_BYTES, MARKER, WalCorruptError, height_of
from tests.node.disks import FakeDisk

LOG = Path("wal")

heights = st.integers(1, 2**63 - 1).map(Height)
rounds = st.integers(0, 2**31 - 1).map(Round)
block_ids = st.binary(min_size=32, max_size=32).map(BlockId)
validators = st.binary(min_size=20, max_size=20).map(ValidatorId)
signatures = st.sampled_from([b"", bytes(64), b"\xff" * 64])
votes = st.builds(Vote, st.sampled_from(VoteKind), heights, rounds, st.none() | block_ids, validators, signatures)
proposals = st.builds(
    Proposal, heights, rounds, block_ids, st.integers(-1, 2**31 - 1).map(Round), validators, signatures
)
raws = st.binary(max_size=200) | st.binary(max_size=20).map(lambda b: MARKER + b + MARKER)
records: st.SearchStrategy[LogRecord] = (
    st.builds(LoggedBlock, heights, raws)
    | st.builds(LoggedLock, heights, raws)
    | st.builds(LoggedOwn, votes | proposals)
    | st.builds(LoggedHeard, votes)
)
appends = st.lists(st.lists(records, min_size=1, max_size=3).map(tuple), max_size=6)


def _written(batches: list[tuple[LogRecord, ...]]) -> tuple[bytes, list[int]]:
    """The file after those appends, and its size after each."""
    disk = FakeDisk()
    log, _ = WriteAheadLog.open(LOG, disk)
    ends = [len(disk.files[LOG])]
    for batch in batches:
        log.append(batch)
        ends.append(len(disk.files[LOG]))
    return disk.files[LOG], ends


def _reopened(data: bytes) -> tuple[tuple[LogRecord, ...], int, bytes]:
    disk = FakeDisk()
    disk.files[LOG] = data
    _, recovered = WriteAheadLog.open(LOG, disk)
    return recovered.records, recovered.torn_bytes, disk.files[LOG]


def _flat(batches: list[tuple[LogRecord, ...]]) -> tuple[LogRecord, ...]:
    return tuple(record for batch in batches for record in batch)


@given(appends)
def test_what_was_appended_comes_back_in_order(batches: list[tuple[LogRecord, ...]]) -> None:
    assert _reopened(_written(batches)[0])[:2] == (_flat(batches), 0)


@given(appends, st.data())
def test_any_truncation_recovers_the_whole_appends_before_it(
    batches: list[tuple[LogRecord, ...]], data: st.DataObject
) -> None:
    raw, ends = _written(batches)
    cut = data.draw(st.integers(0, len(raw)))
    whole = sum(end <= cut for end in ends[1:])
    found, torn_bytes, left = _reopened(raw[:cut])
    assert found == _flat(batches[:whole])
    if cut >= HEADER_BYTES:
        assert torn_bytes == cut - ends[whole]
        assert left == raw[: ends[whole]]


@given(appends.filter(bool), st.data())
def test_a_flipped_byte_is_named_or_taken_for_a_torn_end(
    batches: list[tuple[LogRecord, ...]], data: st.DataObject
) -> None:
    raw, ends = _written(batches)
    at = data.draw(st.integers(HEADER_BYTES, len(raw) - 1))
    flipped = raw[:at] + bytes([raw[at] ^ data.draw(st.integers(1, 255))]) + raw[at + 1 :]
    if at < ends[-2]:
        with pytest.raises(WalCorruptError, match="is damaged"):
            _reopened(flipped)
    else:
        assert _reopened(flipped)[0] == _flat(batches[:-1])


def test_a_log_goes_on_after_a_torn_tail() -> None:
    first, second = LoggedLock(Height(1), b"one"), LoggedLock(Height(1), b"two")
    raw, _ = _written([(first,), (second,)])
    disk = FakeDisk()
    disk.files[LOG] = raw[:-1]
    log, recovered = WriteAheadLog.open(LOG, disk)
    assert recovered.records == (first,)
    assert recovered.torn_bytes > 0
    log.append((second,))
    assert _reopened(disk.files[LOG])[0] == (first, second)


def test_a_frame_smuggled_inside_a_block_never_passes_for_one() -> None:
    """Blocks hold what clients wrote: a copy of a real frame in a torn record is neither read nor taken for damage."""
    first = LoggedLock(Height(1), b"one")
    raw, ends = _written([(first,)])
    smuggled = LoggedBlock(Height(1), raw[HEADER_BYTES:] * 3)
    torn = _written([(first,), (smuggled,)])[0][:-1]
    assert _reopened(torn)[:2] == ((first,), len(torn) - ends[-1])


def test_another_file_is_never_taken_for_a_log() -> None:
    with pytest.raises(WalCorruptError, match="another file"):
        _reopened(b"key = 1\n" * 20)


def test_an_append_is_synced_when_it_returns() -> None:
    disk = FakeDisk()
    log, _ = WriteAheadLog.open(LOG, disk)
    log.append((LoggedLock(Height(1), b"a"), LoggedLock(Height(1), b"b")))
    assert disk.trace[-2:] == ["append", "sync"]
    assert disk.trace.count("sync") == 1
    assert disk.durable[LOG] == disk.files[LOG]


def test_a_new_height_costs_no_sync_while_the_log_is_small() -> None:
    disk = FakeDisk()
    log, _ = WriteAheadLog.open(LOG, disk)
    log.append((LoggedLock(Height(1), b"a"),))
    before = list(disk.trace)
    log.start_height(2)
    assert disk.trace == before


@given(appends, st.integers(1, 2**63 - 1))
def test_rotation_keeps_the_heights_that_still_matter(batches: list[tuple[LogRecord, ...]], height: int) -> None:
    disk = FakeDisk()
    log, _ = WriteAheadLog.open(LOG, disk, rotate_bytes=0)
    for batch in batches:
        log.append(batch)
    log.start_height(height)
    last = LoggedLock(Height(1), b"after the rotation")
    log.append((last,))
    kept = tuple(r for r in _flat(batches) if height_of(r) >= height)
    assert _reopened(disk.files[LOG])[0] == (*kept, last)
    assert log.size_bytes == len(disk.files[LOG])


def test_the_real_disk_keeps_a_log(tmp_path: Path) -> None:
    log, recovered = WriteAheadLog.open(tmp_path / "wal", rotate_bytes=100)
    assert recovered.records == ()
    log.append((LoggedBlock(Height(7), b"x" * 200),))
    log.start_height(8)
    log.append((LoggedLock(Height(8), b"lock"),))
    log.close()
    again, recovered = WriteAheadLog.open(tmp_path / "wal")
    again.close()
    assert recovered.records == (LoggedLock(Height(8), b"lock"),)
    assert (tmp_path / "wal").stat().st_mode & 0o077 == 0
