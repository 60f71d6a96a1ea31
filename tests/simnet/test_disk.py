"""The virtual disk loses what a real one may lose, and nothing else."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devnet.simnet.disk import PowerCutError, VirtualDisk, VirtualStore

LOG = Path("log")


@given(st.lists(st.binary(min_size=1, max_size=8)), st.lists(st.binary(min_size=1, max_size=8)), st.booleans())
def test_what_was_synced_stays_and_the_rest_is_cut_to_a_prefix(
    synced: list[bytes], rest: list[bytes], torn: bool
) -> None:
    disk = VirtualDisk(Random(1))
    descriptor = disk.open_append(LOG)
    for data in synced:
        disk.append(descriptor, data)
    disk.sync(descriptor)
    for data in rest:
        disk.append(descriptor, data)
    disk.lose_power(torn)
    left = disk.read(LOG)
    whole = b"".join(synced) + b"".join(rest)
    assert left is not None
    assert whole.startswith(left)
    assert left.startswith(b"".join(synced))
    assert torn or left == b"".join(synced)


@given(st.integers(1, 3))
def test_a_batch_is_there_as_a_whole_or_not_at_all(cut_in: int) -> None:
    disk = VirtualDisk(Random(2))
    store = VirtualStore(disk)
    store.write([(b"a", b"1")])
    disk.cut_in = cut_in
    try:
        store.write([(b"a", b"2"), (b"b", b"2")], [b"c"])
    except PowerCutError:
        disk.lose_power(torn=True)
    after = dict(VirtualStore(disk).scan(b"", b"\xff"))
    assert after in ({b"a": b"1"}, {b"a": b"2", b"b": b"2"})
    assert after == {b"a": b"1"} if cut_in == 1 else after[b"a"] == b"2"


def test_a_full_disk_refuses_and_keeps_what_it_has() -> None:
    disk = VirtualDisk(Random(3))
    descriptor = disk.open_append(LOG)
    disk.append(descriptor, b"kept")
    disk.full = True
    with pytest.raises(OSError, match="no space left"):
        disk.append(descriptor, b"refused")
    assert disk.read(LOG) == b"kept"


def test_a_wiped_disk_is_empty() -> None:
    disk = VirtualDisk(Random(4))
    VirtualStore(disk).write([(b"a", b"1")])
    disk.replace(LOG, b"x")
    disk.wipe()
    assert disk.read(LOG) is None
    assert not disk.store
