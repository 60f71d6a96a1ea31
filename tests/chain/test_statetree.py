"""The state tree against a dict, from any history, with its proofs and its undo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from chain.executor import nonce_key
from chain.hashes import ZERO_HASH
from chain.kv import StoreCorruptError
from chain.leveldb import LevelKV
from chain.memory import MemoryKV
from chain.stateproof import (
    MAX_DEPTH,
    PAGE_RECORDS,
    StateProof,
    nibbles,
    page_hash,
    place_of,
    proved_page,
    value_field,
    verify_absent,
    verify_present,
)
from chain.staterecord import encode_record
from chain.statetree import StateTree, TreeChange
from contracts.runtime.keys import state_key
from tests.chain.txs import address_of

Writes = dict[bytes, bytes | None]

# Few keys, so that batches overwrite, delete and re-insert; more than a page holds, so that rows come and go.
KEYS = st.integers(0, 130).map(lambda i: b"key %d" % i)
VALUES = st.none() | st.binary(max_size=3) | st.integers(30, 36).map(bytes)  # also about as long as a record takes in
BATCH = st.dictionaries(KEYS, VALUES, max_size=40)


def colliding_keys(count: int, shared: int) -> list[bytes]:
    """Keys whose hashes share their first `shared` nibbles."""
    found: dict[str, list[bytes]] = {}
    number = 0
    while True:
        key = b"grind %d" % number
        group = found.setdefault(place_of(key).hex()[:shared], [])
        group.append(key)
        if len(group) == count:
            return group
        number += 1


DEEP = colliding_keys(6, 3)
DEEP_BATCH = st.dictionaries(st.sampled_from(DEEP) | KEYS, VALUES, min_size=2, max_size=12)
CROWD = colliding_keys(PAGE_RECORDS + 2, 2)  # too many for a page, so that rows stand below the root
ADDRESS = sha256(b"somebody").hexdigest()[:40].encode()
OWNED = [
    b"contract-%d/balances/" % n + ADDRESS for n in range(PAGE_RECORDS + 2)
]  # of one account, more than a page holds


def model_root(model: Mapping[bytes, bytes]) -> bytes:
    """The definition in chain/stateproof.py, word for word: recursive, over the whole set."""

    def subtree(records: list[bytes], depth: int) -> bytes:
        if not records:
            return ZERO_HASH
        if len(records) <= PAGE_RECORDS:
            return sha256(b"".join(sorted(records))).digest()
        slots: list[list[bytes]] = [[] for _ in range(16)]
        for record in records:
            slots[nibbles(record[:32])[depth]].append(record)
        return sha256(b"".join(subtree(slot, depth + 1) for slot in slots)).digest()

    return subtree([place_of(key) + value_field(value) for key, value in model.items()], 0)


def applied(model: Mapping[bytes, bytes], writes: Mapping[bytes, bytes | None]) -> dict[bytes, bytes]:
    merged = {**model, **writes}
    return {key: value for key, value in merged.items() if value is not None}


def commit(tree: StateTree, kv: MemoryKV, writes: Mapping[bytes, bytes | None]) -> TreeChange:
    change = tree.plan(writes)
    kv.write(change.puts, change.deletes)
    tree.adopt(change)
    return change


def tree_of(model: Mapping[bytes, bytes]) -> StateTree:
    kv = MemoryKV()
    tree = StateTree(kv)
    commit(tree, kv, model)
    return tree


def undo(model: Mapping[bytes, bytes], before: Mapping[bytes, bytes]) -> Writes:
    return {key: before.get(key) for key in {**model, **before}}


def proves(root: bytes, proof: StateProof, model: Mapping[bytes, bytes], key: bytes) -> bool:
    value = model.get(key)
    if value is None:
        return verify_absent(root, key, proof) and not verify_present(root, key, b"", proof)
    return verify_present(root, key, value, proof) and not verify_absent(root, key, proof)


class TreeAgainstDict(RuleBasedStateMachine):
    """Any history of batches, restarts and undone blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.kv = MemoryKV()
        self.tree = StateTree(self.kv, cache_pages=4)
        self.model: dict[bytes, bytes] = {}
        self.before: dict[bytes, bytes] = {}

    @rule(writes=BATCH | DEEP_BATCH)
    def commits_a_batch(self, writes: Writes) -> None:
        self.before = self.model
        self.model = applied(self.before, writes)
        commit(self.tree, self.kv, writes)

    @rule(kept=st.integers(0, len(CROWD)), value=st.none() | st.binary(max_size=1))
    def commits_keys_that_share_their_way(self, kept: int, value: bytes | None) -> None:
        self.commits_a_batch(dict.fromkeys(CROWD[:kept], value))

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
        self.tree = StateTree(self.kv, root=self.tree.root, cache_pages=4)
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

    @invariant()
    def its_root_is_a_function_of_the_pairs_alone(self) -> None:
        assert self.tree.root == model_root(self.model)

    @invariant()
    def its_store_holds_just_what_a_tree_built_at_once_holds(self) -> None:
        built = MemoryKV()
        commit(StateTree(built), built, self.model)
        assert list(self.kv.scan(b"", b"\xff")) == list(built.scan(b"", b"\xff"))


@given(st.binary(max_size=200))
def test_a_place_is_the_checksum_of_the_keys_end_and_then_its_hash(key: bytes) -> None:
    """The definition in chain/stateproof.py, word for word."""
    assert place_of(key) == crc32(key[-40:]).to_bytes(4, "big")[:3] + sha256(key).digest()[-29:]


def test_what_belongs_to_an_account_lies_together() -> None:
    """Its next nonce, its money and what contracts hold for it share six nibbles, with others only by chance."""
    own = [
        nonce_key(ADDRESS.decode()),
        state_key("payments", "free", ADDRESS.decode()),
        state_key("payments", "held", ADDRESS.decode()),
        state_key("market", "orders", (7, ADDRESS.decode())),
    ]
    assert len({nibbles(place_of(key))[:6] for key in own}) == 1
    assert len({place_of(key) for key in own}) == len(own)
    others = {nibbles(place_of(nonce_key(address_of(f"somebody {n}"))))[:6] for n in range(100)}
    assert len(others) > 95


def test_keys_that_end_alike_part_by_their_hash_six_levels_down() -> None:
    tree = tree_of(dict.fromkeys(OWNED, b"v"))
    assert {len(tree.prove(key).siblings) for key in OWNED} == {7}
    assert all(tree.get(key) == b"v" for key in OWNED)


TreeAgainstDict.TestCase.settings = settings(max_examples=120, stateful_step_count=12, deadline=None)
test_any_history_behaves_like_a_dict = TreeAgainstDict.TestCase


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


def test_a_value_that_reads_like_another_keys_hash_is_not_taken_for_it() -> None:
    """The record of `a` holds SHA-256(b), as its value or as its value's hash: nothing may find the key `b` there."""
    long = b"a longer key than those whose value stands in its record"
    for first, second in ((b"a", b"b"), (b"b", b"a"), (b"a", long), (b"b", long)):
        for value in (second, sha256(second).digest()):
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
    tree = StateTree(kv, cache_pages=3)
    commit(tree, kv, model)
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


MODEL = {b"key %d" % i: b"value %d" % i for i in range(2 * PAGE_RECORDS)}
TREE = tree_of(MODEL)
ROOT = TREE.root
ALL_KEYS = st.integers(0, 4 * PAGE_RECORDS).map(lambda i: b"key %d" % i)


@given(ALL_KEYS, ALL_KEYS)
def test_a_proof_says_nothing_false_of_any_key(key: bytes, other: bytes) -> None:
    """It shows the other keys of its page too, and nothing of those whose way leads elsewhere."""
    proof = TREE.prove(other)
    depth = len(proof.siblings)
    same_page = nibbles(place_of(key))[:depth] == nibbles(place_of(other))[:depth]
    assert verify_present(ROOT, key, MODEL.get(key, b""), proof) is (same_page and key in MODEL)
    assert verify_absent(ROOT, key, proof) is (same_page and key not in MODEL)
    assert not verify_present(ROOT, key, b"another value", proof)
    page = proved_page(ROOT, other, proof)
    assert page is not None
    assert page.shows(key, MODEL.get(key, b"")) is (same_page and key in MODEL)
    assert page.shows(key, None) is (same_page and key not in MODEL)


@given(ALL_KEYS, st.data())
def test_a_tampered_proof_fails(key: bytes, data: st.DataObject) -> None:
    proof = TREE.prove(key)

    def bent(part: bytes) -> bytes:
        at = data.draw(st.integers(0, len(part) - 1))
        return part[:at] + bytes([part[at] ^ 1 << data.draw(st.integers(0, 7))]) + part[at + 1 :]

    row = data.draw(st.integers(0, len(proof.siblings) - 1))
    rows = proof.siblings
    forged = [
        replace(proof, siblings=(*rows[:row], bent(rows[row]), *rows[row + 1 :])),
        replace(proof, siblings=(*rows[:row], rows[row][:-1], *rows[row + 1 :])),
        replace(proof, siblings=(*rows[:row], rows[row] + b"\x00", *rows[row + 1 :])),
        replace(proof, siblings=rows[:-1]),
        replace(proof, siblings=(*rows, bytes(480))),
        replace(proof, siblings=(bytes(480),) * (MAX_DEPTH + 1)),
        replace(proof, records=proof.records + place_of(key) + bytes(33)),
        replace(proof, records=proof.records + b"\x00"),
        replace(proof, records=bytes(65) + proof.records),
    ]
    if proof.records:
        forged += [
            replace(proof, records=bent(proof.records)),
            replace(proof, records=b""),
            replace(proof, records=proof.records[:-65]),
            replace(proof, records=proof.records[:-1]),
            replace(proof, records=proof.records[32:]),
        ]
    value = MODEL.get(key, b"")
    assert not any(verify_present(ROOT, key, value, fake) or verify_absent(ROOT, key, fake) for fake in forged)
    assert not verify_present(ROOT, key, value + b"!", proof)
    assert not verify_absent(bent(ROOT), key, proof)


def test_a_page_off_the_way_does_not_prove_absence() -> None:
    """Not even under a root that somebody made to hold a page in a place where it cannot stand."""
    key, stranger = place_of(b"key"), sha256(b"another").digest()
    slot = nibbles(key)[0]
    assert slot != nibbles(stranger)[0]
    for records, expected in ((stranger + bytes(33), False), (key[:31] + bytes((key[31] ^ 1,)) + bytes(33), True)):
        row = bytes(32 * slot) + page_hash(records) + bytes(32 * (15 - slot))
        proof = StateProof((bytes(480),), records)
        assert verify_absent(sha256(row).digest(), b"key", proof) is expected


def test_a_value_that_reads_like_a_record_is_not_taken_for_one() -> None:
    """What stands across the border of two records is none."""
    record = place_of(b"key") + value_field(b"value")
    records = bytes(33) + record + bytes(32)
    assert not verify_present(page_hash(records), b"key", b"value", StateProof((), records))


@given(st.binary(max_size=70), st.binary(max_size=70))
def test_values_that_differ_stand_differently_in_their_records(first: bytes, second: bytes) -> None:
    assert len(value_field(first)) == 33
    assert (value_field(first) == value_field(second)) is (first == second)
    assert value_field(first[:32])[1:].startswith(first[:32])
    assert value_field(bytes(33) + first) == b"\xff" + sha256(bytes(33) + first).digest()


def test_a_page_of_more_records_than_a_page_holds_proves_nothing() -> None:
    keys = [b"key %d" % i for i in range(PAGE_RECORDS + 1)]
    records = b"".join(sorted(place_of(key) + bytes(33) for key in keys))
    assert not verify_present(page_hash(records), keys[0], b"", StateProof((), records))
    assert not verify_absent(page_hash(records), b"other", StateProof((), records))
    fits = records[65:]
    assert verify_absent(page_hash(fits), b"other", StateProof((), fits))


@pytest.mark.parametrize("length", [0, 448, 512])
def test_a_node_of_another_width_proves_nothing(length: int) -> None:
    row, cut = bytes(length), 32 * nibbles(place_of(b"key"))[0]
    root = sha256(row[:cut] + ZERO_HASH + row[cut:]).digest()
    assert not verify_absent(root, b"key", StateProof((row,)))


@given(
    st.binary(max_size=40),
    st.binary(max_size=4),
    st.lists(st.binary(max_size=20) | st.binary(min_size=480, max_size=480), max_size=70),
    st.binary(max_size=200) | st.binary(min_size=64, max_size=64),
)
def test_nothing_that_a_stranger_sends_makes_verifying_raise(
    root: bytes, key: bytes, siblings: list[bytes], records: bytes
) -> None:
    proof = StateProof(tuple(siblings), records)
    assert not verify_present(root, key, b"", proof)
    assert not verify_absent(root, key, proof)
