"""States small enough to be told by a dict: the tree's definition word for word, and keys that make it grow deep."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from hypothesis import strategies as st

from chain.hashes import ZERO_HASH
from chain.memory import MemoryKV
from chain.stateplan import TreeChange
from chain.stateproof import PAGE_RECORDS, StateProof, nibbles, place_of, value_field, verify_absent, verify_present
from chain.statetree import StateTree

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
