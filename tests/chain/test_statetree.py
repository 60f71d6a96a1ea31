"""The state tree against a dict, from any history, with its proofs and its undo."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from chain import stateplan
from chain.hashes import ZERO_HASH
from chain.kv import StoreCorruptError
from chain.leveldb import LevelKV
from chain.memory import MemoryKV
from chain.stateplan import TreeChange
from chain.stateproof import (
    PAGE_RECORDS,
    StateProof,
    nibbles,
    page_hash,
    place_of,
    value_field,
    verify_absent,
)
from chain.staterecord import encode_record
from chain.statetree import StateTree
from tests.chain.states import (
    BATCH,
    CROWD,
    DEEP,
    DEEP_BATCH,
    KEYS,
    OWNED,
    Writes,
    applied,
    colliding_keys,
    commit,
    model_root,
    proves,
    tree_of,
    undo,
)


class TreeAgainstDict(RuleBasedStateMachine):
    """Any history of batches, restarts and undone blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.kv = MemoryKV()
        self.tree = StateTree(self.kv, memory_bytes=2_500)
        self.model: dict[bytes, bytes] = {}
        self.before: dict[bytes, bytes] = {}

    @rule(writes=BATCH | DEEP_BATCH, at_once=st.booleans())
    def commits_a_batch(self, writes: Writes, at_once: bool = False) -> None:
        self.before = self.model
        self.model = applied(self.before, writes)
        with pytest.MonkeyPatch.context() as patched:
            if at_once:
                patched.setattr(stateplan, "AT_ONCE", 1)
            commit(self.tree, self.kv, writes)

    @rule(kept=st.integers(0, len(CROWD)), value=st.none() | st.binary(max_size=1), at_once=st.booleans())
    def commits_keys_that_share_their_way(self, kept: int, value: bytes | None, at_once: bool) -> None:
        self.commits_a_batch(dict.fromkeys(CROWD[:kept], value), at_once)

    @rule(
        first=st.integers(0, 100),
        count=st.integers(PAGE_RECORDS, 2 * PAGE_RECORDS),
        value=st.none() | st.binary(max_size=1),
    )
    def commits_a_large_batch(self, first: int, count: int, value: bytes | None) -> None:
        self.commits_a_batch({b"key %d" % i: value for i in range(first, first + count)})

    @rule(kept=st.integers(0, len(OWNED)), value=st.none() | st.binary(max_size=1))
    def commits_keys_of_one_account(self, kept: int, value: bytes | None) -> None:
        self.commits_a_batch(dict.fromkeys(OWNED[:kept], value))

    @rule()
    def deletes_everything(self) -> None:
        self.commits_a_batch(dict.fromkeys(self.model))
        assert self.tree.root == ZERO_HASH
        assert len(self.kv) == 0

    @rule(warm=st.booleans())
    def restarts(self, warm: bool) -> None:
        self.tree = StateTree(self.kv, root=self.tree.root, memory_bytes=2_500)
        if warm:
            self.tree.warm()

    @rule(key=KEYS | st.sampled_from(CROWD) | st.sampled_from(OWNED))
    def proves_a_key_one_block_back(self, key: bytes) -> None:
        back = self.tree.plan(undo(self.model, self.before))
        assert back.root == model_root(self.before)
        assert proves(back.root, self.tree.prove(key, back), self.before, key)

    @rule()
    def undoes_the_last_block(self) -> None:
        commit(self.tree, self.kv, undo(self.model, self.before))
        self.model = self.before

    @rule(key=KEYS | st.sampled_from(DEEP) | st.sampled_from(CROWD) | st.sampled_from(OWNED))
    def proves_a_key(self, key: bytes) -> None:
        assert proves(self.tree.root, self.tree.prove(key), self.model, key)

    @rule(key=KEYS | st.sampled_from(DEEP) | st.sampled_from(CROWD) | st.sampled_from(OWNED))
    def reads_a_key(self, key: bytes) -> None:
        assert self.tree.get(key) == self.model.get(key)

    @rule(keys=st.lists(KEYS | st.sampled_from(DEEP) | st.sampled_from(CROWD) | st.sampled_from(OWNED)))
    def reads_keys_at_once(self, keys: list[bytes]) -> None:
        assert self.tree.many(keys) == [self.model.get(key) for key in keys]

    @invariant()
    def its_root_is_a_function_of_the_pairs_alone(self) -> None:
        assert self.tree.root == model_root(self.model)

    @invariant()
    def its_store_holds_just_what_a_tree_built_at_once_holds(self) -> None:
        built = MemoryKV()
        commit(StateTree(built), built, self.model)
        assert list(self.kv.scan(b"", b"\xff")) == list(built.scan(b"", b"\xff"))


TreeAgainstDict.TestCase.settings = settings(max_examples=120, stateful_step_count=12, deadline=None)
test_any_history_behaves_like_a_dict = TreeAgainstDict.TestCase


def test_an_absence_is_proved_one_block_back_where_a_row_stood_that_is_gone() -> None:
    """Found by a history of TreeAgainstDict: nothing is below that row's slot, and no row is in memory to hang it on."""
    kv = MemoryKV()
    tree = StateTree(kv)
    model = dict.fromkeys(CROWD[: PAGE_RECORDS + 1], b"")
    commit(tree, kv, model)
    absent = next(key for n in range(100) if place_of(key := b"key %d" % n)[0] >> 4 != place_of(CROWD[0])[0] >> 4)
    commit(tree, kv, dict.fromkeys(model))
    back = tree.plan(model)
    assert proves(back.root, tree.prove(absent, back), model, absent)


@given(st.dictionaries(KEYS, st.binary(max_size=3), max_size=40), st.randoms(use_true_random=False))
def test_the_order_of_insertion_does_not_matter(model: dict[bytes, bytes], draw: object) -> None:
    model |= {b"more %d" % i: b"" for i in range(PAGE_RECORDS)}
    pairs = list(model.items())
    draw.shuffle(pairs)  # type: ignore[attr-defined]
    kv = MemoryKV()
    tree = StateTree(kv)
    for key, value in pairs:
        commit(tree, kv, {key: value})
    assert tree.root == tree_of(model).root == model_root(model)


@given(BATCH)
def test_planning_changes_nothing(writes: Writes) -> None:
    kv = MemoryKV()
    tree = StateTree(kv)
    commit(tree, kv, {b"key %d" % i: b"before" for i in range(0, 240, 2)})
    root, stored = tree.root, list(kv.scan(b"", b"\xff"))
    first = tree.plan(writes)
    assert (tree.root, list(kv.scan(b"", b"\xff"))) == (root, stored)
    assert tree.plan(writes) == first


def test_writing_what_stands_already_writes_nothing() -> None:
    kv = MemoryKV()
    tree = StateTree(kv)
    model = {b"key %d" % i: b"v" for i in range(2 * PAGE_RECORDS)}
    commit(tree, kv, model)
    absent: Writes = dict.fromkeys([b"never %d" % i for i in range(60)])
    assert tree.plan({**model, **absent}) == TreeChange(tree.root, tree.root)
    small = tree_of({b"key": b"v"})  # one page, and more writes than a page holds
    assert small.plan({b"key": b"v", **dict.fromkeys(model)}) == TreeChange(small.root, small.root)


def test_one_changed_key_costs_its_record_and_the_rows_that_have_rows_below() -> None:
    """Of 5,000 keys the root's children have rows, which are made of records."""
    kv = MemoryKV()
    tree = StateTree(kv)
    commit(tree, kv, {b"%d" % i: b"v" for i in range(5_000)})
    assert [key for key, _ in kv.scan(b"n", b"o")] == [b"n"]
    change = tree.plan({b"77": b"w"})
    assert sorted(key for key, _ in change.puts) == [b"n", b"s" + place_of(b"77")]
    assert dict(change.puts)[b"s" + place_of(b"77")] == encode_record(b"77", b"w")
    assert not change.deletes


def test_the_empty_tree_proves_every_absence() -> None:
    tree = StateTree(MemoryKV())
    assert tree.root == ZERO_HASH
    assert tree.prove(b"any") == StateProof(())
    assert verify_absent(ZERO_HASH, b"any", StateProof(()))


def test_a_small_tree_is_one_page_of_its_records_in_order() -> None:
    model = {b"k": b"v", b"l": b"w", b"m": b""}
    tree = tree_of(model)
    records = sorted(place_of(key) + value_field(value) for key, value in model.items())
    assert tree.root == page_hash(b"".join(records))
    for key in (*model, b"other"):
        assert tree.prove(key) == StateProof((), b"".join(records))
        assert proves(tree.root, tree.prove(key), model, key)


def test_keys_with_a_long_common_way_are_told_apart_and_fold_again() -> None:
    kv = MemoryKV()
    tree = StateTree(kv)
    commit(tree, kv, dict.fromkeys(CROWD, b"v"))
    assert len(tree.prove(CROWD[0]).siblings) == 3
    commit(tree, kv, dict.fromkeys(CROWD[1:]))
    assert tree.prove(CROWD[0]).siblings == ()
    assert len(kv) == 1


def test_a_row_is_stored_as_long_as_one_below_it_has_more_keys_than_a_page_holds() -> None:
    """The crowd shares two nibbles: the root, its child and the child's child have a row, or none of them has."""
    kv = MemoryKV()
    tree = StateTree(kv)

    def rows() -> list[int]:
        return [len(key) - 1 for key, _ in kv.scan(b"n", b"o")]

    commit(tree, kv, dict.fromkeys(CROWD[:PAGE_RECORDS], b"v"))
    assert rows() == []
    commit(tree, kv, {CROWD[PAGE_RECORDS]: b"v"})
    assert rows() == [0, 1]
    commit(tree, kv, {CROWD[0]: None})
    assert rows() == []
    assert len(kv) == PAGE_RECORDS


def test_a_row_folds_while_the_one_above_it_stands() -> None:
    kv = MemoryKV()
    tree = StateTree(kv)
    model = dict.fromkeys(CROWD, b"v") | {b"%d" % i: b"v" for i in range(2 * PAGE_RECORDS)}
    commit(tree, kv, model)
    gone: Writes = dict.fromkeys(CROWD[:-1])
    commit(tree, kv, gone)
    left = applied(model, gone)
    built = MemoryKV()
    commit(StateTree(built), built, left)
    assert list(kv.scan(b"", b"\xff")) == list(built.scan(b"", b"\xff"))
    assert all(proves(tree.root, tree.prove(key), left, key) for key in CROWD)


@pytest.mark.parametrize("grows", [True, False])
def test_a_page_that_is_gone_is_not_read_again(grows: bool) -> None:
    """Where a row stood is a page now, or the other way round: reading looks first where it found the last key."""
    few, many = {CROWD[0]: b"old"}, dict.fromkeys(CROWD, b"old")
    kv = MemoryKV()
    tree = StateTree(kv)
    commit(tree, kv, few if grows else many)
    assert tree.get(CROWD[0]) == b"old"
    commit(tree, kv, {**(dict.fromkeys(CROWD, b"new") if grows else dict.fromkeys(CROWD)), CROWD[0]: b"new"})
    assert tree.get(CROWD[0]) == b"new"
    assert tree.get(CROWD[1]) == (b"new" if grows else None)
    commit(tree, kv, {CROWD[0]: b"newer"})
    assert tree.get(CROWD[0]) == b"newer"


def test_a_value_that_reads_like_another_keys_place_is_not_taken_for_it() -> None:
    """The record of `a` holds the place of `b` as its value: nothing may find the key `b` there."""
    long = b"a longer key than those whose value stands in its record"
    for first, second in ((b"a", b"b"), (b"b", b"a"), (b"a", long), (b"b", long)):
        for value in (second, place_of(second)):
            kv = MemoryKV()
            tree = StateTree(kv)
            commit(tree, kv, {first: value})
            assert tree.get(second) is None
            commit(tree, kv, {second: b"1"})
            assert tree.root == model_root({first: value, second: b"1"})
            assert (tree.get(first), tree.get(second)) == (value, b"1")


def test_a_warm_tree_reads_no_more_of_the_store() -> None:
    kv = MemoryKV()
    model = {b"%d" % i: b"v" for i in range(2_000)}
    commit(StateTree(kv), kv, model)
    tree = StateTree(kv, root=model_root(model))
    tree.warm()
    kv.close()
    assert tree.plan(dict.fromkeys(model, b"w")).root == model_root(dict.fromkeys(model, b"w"))


def test_the_cache_may_be_smaller_than_the_tree() -> None:
    kv = MemoryKV()
    model = {b"%d" % i: b"v" for i in range(2_000)}
    tree = StateTree(kv, memory_bytes=2_000)
    commit(tree, kv, model)
    assert tree.memory.used_bytes <= 2_000
    tree.warm()
    assert all(proves(tree.root, tree.prove(key), model, key) for key in list(model)[::50])


def test_a_tree_on_disk_is_found_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("state")
    model = {b"%d" % i: b"v%d" % i for i in range(300)}
    kv = LevelKV(folder)
    change = StateTree(kv).plan(model)
    kv.write(change.puts, change.deletes)
    kv.close()
    kv = LevelKV(folder)
    tree = StateTree(kv, root=change.root)
    keys = [b"%d" % i for i in range(0, 330, 11)]
    assert all(proves(tree.root, tree.prove(key), model, key) for key in keys)
    kv.close()


@pytest.mark.parametrize("count", [0, 1, PAGE_RECORDS, PAGE_RECORDS + 1, 5_000])
def test_a_tree_of_any_size_is_found_again(count: int) -> None:
    """Whether the root has a row is stored only where one below it has."""
    kv = MemoryKV()
    model = {b"%d" % i: b"v" for i in range(count)}
    commit(StateTree(kv), kv, model)
    tree = StateTree(kv, root=model_root(model))
    assert all(proves(tree.root, tree.prove(key), model, key) for key in (b"0", b"77", b"absent"))
    assert tree.plan({b"0": b"w"}).root == model_root({**model, b"0": b"w"})


@pytest.mark.parametrize("cut", [lambda row: row[:-1], lambda row: row + b"\x00"])
def test_a_row_of_another_length_is_damaged(cut: Callable[[bytes], bytes]) -> None:
    """Its last bytes are not under its hash."""
    kv = MemoryKV()
    model = dict.fromkeys(CROWD, b"v")
    commit(StateTree(kv), kv, model)
    row = kv.get(b"n")
    assert row is not None
    kv.write([(b"n", cut(row))])
    with pytest.raises(StoreCorruptError, match="Sync this node anew"):
        StateTree(kv, root=model_root(model))


@pytest.mark.parametrize("root", [ZERO_HASH, sha256(b"another").digest()])
def test_opening_at_a_root_that_is_not_stored_is_refused(root: bytes) -> None:
    kv = MemoryKV()
    commit(StateTree(kv), kv, {b"a": b"1", b"b": b"2"})
    with pytest.raises(StoreCorruptError, match="Sync this node anew"):
        StateTree(kv, root=root)


def test_a_row_that_is_not_stored_any_more_is_gone_though_it_stands() -> None:
    """The row below it becomes a page, and the rest is too much for one."""
    kv = MemoryKV()
    tree = StateTree(kv)
    others = [key for key in colliding_keys(2 * PAGE_RECORDS, 1) if key not in CROWD]
    model = dict.fromkeys([*CROWD, *others], b"v")
    commit(tree, kv, model)
    gone: Writes = dict.fromkeys(CROWD)
    commit(tree, kv, gone)
    left = applied(model, gone)
    assert [key for key, _ in kv.scan(b"n", b"o")] == [b"n"]
    again = StateTree(kv, root=tree.root)
    assert all(proves(again.root, again.prove(key), left, key) for key in (*others[:5], CROWD[0]))


@pytest.mark.parametrize("damage", [None, b"", b"short", bytes(32), bytes(518)])
@pytest.mark.parametrize("kind", ["row", "record"])
def test_a_lost_or_changed_part_is_named_not_read(kind: str, damage: bytes | None) -> None:
    kv = MemoryKV()
    model = {b"%d" % i: b"v" for i in range(2_000)} | dict.fromkeys(CROWD, b"v")
    commit(StateTree(kv), kv, model)
    range_ = (b"n\x00", b"o") if kind == "row" else (b"s", b"t")
    lost = next(key for key, _ in kv.scan(*range_))
    if damage is None:
        kv.write([], [lost])
    else:
        kv.write([(lost, damage)])
    way = lost[1:] if kind == "row" else nibbles(lost[1:])[:2]
    on_its_way = next(key for key in model if nibbles(place_of(key)).startswith(way))
    tree = StateTree(kv, root=model_root(model))
    with pytest.raises(StoreCorruptError, match=r"damaged\. Sync this node anew"):
        tree.prove(on_its_way)
    with pytest.raises(StoreCorruptError, match=r"damaged\. Sync this node anew"):
        tree.plan({on_its_way: b"w"})
    with pytest.raises(StoreCorruptError, match=r"damaged\. Sync this node anew"):
        tree.warm()


@pytest.mark.parametrize("kind", ["row", "record"])
def test_a_part_too_many_is_noticed(kind: str) -> None:
    kv = MemoryKV()
    model = {b"%d" % i: b"v" for i in range(20)}
    commit(StateTree(kv), kv, model)
    kv.write([(b"n", bytes(518)) if kind == "row" else (b"s" + bytes(32), encode_record(b"key", b"value"))])
    with pytest.raises(StoreCorruptError, match="Sync this node anew"):
        StateTree(kv, root=model_root(model))


def test_only_the_planning_version_adopts_a_change() -> None:
    tree = StateTree(MemoryKV())
    stale = tree.plan({b"a": b"1"})
    tree.adopt(tree.plan({b"b": b"1"}))
    with pytest.raises(AssertionError):
        tree.adopt(stale)
