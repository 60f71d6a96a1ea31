"""What a proof about one key of the state says, and how a stranger checks it. Needs no store: light clients use it.

The state is a 16-way tree over the nibbles of SHA-256(key). A leaf is H(0x00 || key hash || value hash), an inner node
H(0x01 || its 16 children's hashes, zero for an empty slot), and a subtree that holds exactly one key is its leaf. The
empty tree's root is 32 zero bytes. Binding the whole key hash into the leaf is what makes absence provable: where the
way of a key ends at nothing, or at another key's leaf, the key is not in the tree.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from chain.hashes import HASH_BYTES, ZERO_HASH

FANOUT = 16
MAX_DEPTH = 2 * HASH_BYTES  # nibbles of a key hash
SIBLINGS_BYTES = (FANOUT - 1) * HASH_BYTES

_NIBBLES = bytes.maketrans(b"0123456789abcdef", bytes(range(FANOUT)))


@dataclass(frozen=True, slots=True)
class StateProof:
    """The way from the root to where a key's way ends.

    `siblings`: for each inner node passed, root first, its children's hashes with the one on the way left out
    (15 x 32 bytes). Then the leaf that stands at the end, perhaps another key's; both parts empty for an empty slot.
    """

    siblings: tuple[bytes, ...]
    leaf_key_hash: bytes = b""
    leaf_value_hash: bytes = b""


def nibbles(key_hash: bytes) -> bytes:
    """A key's way through the tree: one byte, 0 to 15, for each level."""
    return key_hash.hex().encode().translate(_NIBBLES)


def leaf_hash(key_hash: bytes, value_hash: bytes) -> bytes:
    return sha256(b"\x00" + key_hash + value_hash).digest()


def verify_present(root: bytes, key: bytes, value: bytes, proof: StateProof) -> bool:
    """Whether `proof` shows that `key` has exactly `value` under `root`. Never raises on what a stranger can send."""
    key_hash = sha256(key).digest()
    return (
        _is_well_formed(proof)
        and proof.leaf_key_hash == key_hash
        and proof.leaf_value_hash == sha256(value).digest()
        and _root_of(key_hash, proof) == root
    )


def verify_absent(root: bytes, key: bytes, proof: StateProof) -> bool:
    """Whether `proof` shows that `key` is not in the tree under `root`. Never raises on what a stranger can send."""
    key_hash = sha256(key).digest()
    if not _is_well_formed(proof) or proof.leaf_key_hash == key_hash:
        return False
    depth = len(proof.siblings)
    if proof.leaf_key_hash and nibbles(proof.leaf_key_hash)[:depth] != nibbles(key_hash)[:depth]:
        return False  # a leaf that cannot stand on this key's way says nothing about the key
    return _root_of(key_hash, proof) == root


def _is_well_formed(proof: StateProof) -> bool:
    leaf = (len(proof.leaf_key_hash), len(proof.leaf_value_hash))
    return (
        leaf in ((0, 0), (HASH_BYTES, HASH_BYTES))
        and len(proof.siblings) <= MAX_DEPTH
        and all(len(row) == SIBLINGS_BYTES for row in proof.siblings)
    )


def _root_of(key_hash: bytes, proof: StateProof) -> bytes:
    node = leaf_hash(proof.leaf_key_hash, proof.leaf_value_hash) if proof.leaf_key_hash else ZERO_HASH
    way = nibbles(key_hash)
    for depth in range(len(proof.siblings) - 1, -1, -1):
        row, cut = proof.siblings[depth], way[depth] * HASH_BYTES
        node = sha256(b"\x01" + row[:cut] + node + row[cut:]).digest()
    return node
