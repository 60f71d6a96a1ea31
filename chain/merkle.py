"""RFC 6962 Merkle trees over lists: the roots of transactions, receipts, evidence and readings, and their proofs.

A leaf is hashed as H(0x00 || leaf), a node as H(0x01 || left || right), the empty list as H(""). The two prefixes keep
a node from being passed off as a leaf. Everything that verifies is total: a proof comes from a stranger, so whatever it
claims about its index, its size or the length of its path is answered by False, never by an exception.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from chain.hashes import HASH_BYTES

EMPTY_ROOT = sha256(b"").digest()

# The wire carries index and size as uint64; a longer path cannot belong to any list.
_MAX_SIZE = 1 << 64


@dataclass(frozen=True, slots=True)
class ListProof:
    """RFC 6962 section 2.1.1: the audit path of leaf `index` among `size`, from the leaf's sibling upwards."""

    index: int
    size: int
    path: tuple[bytes, ...]


def leaf_hash(leaf: bytes) -> bytes:
    return sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """The Merkle tree hash of `leaves` (32 bytes); EMPTY_ROOT for none."""
    return root_of_hashes([sha256(b"\x00" + leaf).digest() for leaf in leaves])


def root_of_hashes(hashes: list[bytes]) -> bytes:
    """The same of leaves whose `leaf_hash` is known already."""
    if not hashes:
        return EMPTY_ROOT
    level = hashes
    while len(level) > 1:
        level = _parents(level)
    return level[0]


def prove(leaves: Sequence[bytes], index: int) -> ListProof:
    """The proof that `leaves[index]` stands in the list; IndexError unless 0 <= index < len(leaves)."""
    size = len(leaves)
    if not 0 <= index < size:
        raise IndexError(f"no leaf {index} in a list of {size}")
    level = [leaf_hash(leaf) for leaf in leaves]
    path = []
    at = index
    while len(level) > 1:
        sibling = at ^ 1
        if sibling < len(level):
            path.append(level[sibling])
        level = _parents(level)
        at >>= 1
    return ListProof(index, size, tuple(path))


def verify(root: bytes, leaf: bytes, proof: ListProof) -> bool:
    """Whether `proof` shows that `leaf` is leaf `proof.index` of the `proof.size` leaves under `root`.

    RFC 9162 section 2.1.3.2, which states how to check what RFC 6962 only states how to make.
    """
    if not 0 <= proof.index < proof.size < _MAX_SIZE or not _are_hashes(proof.path):
        return False
    at, last, node = proof.index, proof.size - 1, leaf_hash(leaf)
    for sibling in proof.path:
        if last == 0:
            return False
        if at & 1 or at == last:
            node = node_hash(sibling, node)
            # A rightmost node without a sibling moves up unhashed until it is somebody's right child.
            while at & 1 == 0 and at:
                at, last = at >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and node == root


def prove_consistency(leaves: Sequence[bytes], earlier_size: int) -> tuple[bytes, ...]:
    """RFC 6962 section 2.1.2: shows that the first `earlier_size` leaves are a prefix of `leaves`.

    IndexError unless 0 < earlier_size <= len(leaves). Empty when the two lists are one.
    """
    if not 0 < earlier_size <= len(leaves):
        raise IndexError(f"no earlier list of {earlier_size} leaves in a list of {len(leaves)}")
    proof: list[bytes] = []
    rest, known, whole = leaves, earlier_size, True
    while known < len(rest):
        split = 1 << (len(rest) - 1).bit_length() - 1
        if known <= split:
            proof.append(root(rest[split:]))
            rest = rest[:split]
        else:
            proof.append(root(rest[:split]))
            rest, known, whole = rest[split:], known - split, False
    if not whole:
        proof.append(root(rest))
    return tuple(reversed(proof))


def verify_consistency(earlier_root: bytes, earlier_size: int, root: bytes, size: int, proof: Sequence[bytes]) -> bool:
    """Whether `proof` shows that the list under `root` begins with the list under `earlier_root` (RFC 9162, 2.1.4.2)."""
    if not 0 < earlier_size <= size < _MAX_SIZE or not _are_hashes((earlier_root, root, *proof)):
        return False
    if earlier_size == size:
        return not proof and earlier_root == root
    # Where the earlier list is a whole subtree of the later one, its root is not repeated in the proof.
    path = list(proof) if earlier_size & (earlier_size - 1) else [earlier_root, *proof]
    if not path:
        return False
    at, last = earlier_size - 1, size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while at & 1 == 0 and at:
                at, last = at >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and old == earlier_root and new == root


def _parents(level: list[bytes]) -> list[bytes]:
    """One level up; an odd last node moves up as it is, which gives exactly the RFC's largest-power-of-two split."""
    pairs = [sha256(b"\x01" + left + right).digest() for left, right in zip(level[::2], level[1::2], strict=False)]
    if len(level) & 1:
        pairs.append(level[-1])
    return pairs


def _are_hashes(path: Sequence[bytes]) -> bool:
    return all(len(node) == HASH_BYTES for node in path)
