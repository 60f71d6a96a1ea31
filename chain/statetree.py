"""The authenticated state: a 16-way tree over the nibbles of SHA-256(key), updated once for each block.

`chain.stateproof` defines what is hashed. Here is how it is kept: one stored value for each inner node, under
`prefix || path`, the path being one byte (0 to 15) for each level. Paths instead of hashes as names mean that a block
overwrites what it replaces, so that nothing needs collecting, and that a node stands next to its children on disk.

A stored node is

    u16 occupied slots | u16 those that are leaves | child hashes | 64 bytes (key hash || value hash) for each leaf

with bit i standing for slot i. The hashes are 16 x 32 bytes, zero for an empty slot; a node with few children (there
are the most of these) leaves the empty ones out. The root node alone may have a leaf as its only child: the tree then
holds one key, and its root is that leaf's hash.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256

from chain.hashes import HASH_BYTES, ZERO_HASH
from chain.kv import Reader, StoreCorruptError
from chain.stateproof import FANOUT, StateProof, nibbles

_HEAD_BYTES = 4
_LEAF_BYTES = 2 * HASH_BYTES  # key hash || value hash
_ROW_BYTES = FANOUT * HASH_BYTES
_FEW = 5  # up to so many children, packing the hashes costs less time than storing the zeros
_EMPTY_ROW = b"\x01" + bytes(_ROW_BYTES)


DEFAULT_CACHE_NODES = 65_536

# key hash, its nibbles, the new leaf (None: delete) and that leaf's hash
_Change = tuple[bytes, bytes, bytes | None, bytes]


@dataclass(frozen=True, slots=True)
class TreeChange:
    """What a batch of writes does to the tree stored under `before`: make `puts` and `deletes` durable, then adopt.

    `undo` holds what stood under each touched key (None: nothing), to read or restore the version before.
    """

    before: bytes
    root: bytes
    puts: list[tuple[bytes, bytes]]
    deletes: list[bytes]
    undo: list[tuple[bytes, bytes | None]]


class _Node:
    """An inner node at work. `row` is exactly what is hashed: 0x01 and the 16 child hashes."""

    __slots__ = ("leaf_bits", "leaves", "occupied", "parent", "path", "row", "stored")

    def __init__(self, path: bytes, stored: bytes | None, parent: _Node | None) -> None:
        self.path = path
        self.stored = stored
        self.parent = parent
        if stored is None:
            self.occupied = self.leaf_bits = 0
            self.row = bytearray(_EMPTY_ROW)
            self.leaves = bytearray()
        else:
            self.occupied = stored[0] << 8 | stored[1]
            self.leaf_bits = stored[2] << 8 | stored[3]
            self.row, end = _unpacked_row(stored, self.occupied)
            self.leaves = bytearray(stored[end:])

    def leaf_offset(self, bit: int) -> int:
        return (self.leaf_bits & (bit - 1)).bit_count() * _LEAF_BYTES

    def leaf_at(self, bit: int) -> bytes:
        offset = self.leaf_offset(bit)
        return bytes(self.leaves[offset : offset + _LEAF_BYTES])

    def set_leaf(self, slot: int, leaf: bytes, hashed: bytes | bytearray) -> None:
        bit = 1 << slot
        offset = self.leaf_offset(bit)
        end = offset + _LEAF_BYTES if self.leaf_bits & bit else offset
        self.leaves[offset:end] = leaf
        self.leaf_bits |= bit
        self.occupied |= bit
        at = 1 + slot * HASH_BYTES
        self.row[at : at + HASH_BYTES] = hashed

    def set_inner(self, slot: int, hashed: bytes) -> None:
        """Over an empty slot or an inner child: a leaf is cleared first."""
        self.occupied |= 1 << slot
        at = 1 + slot * HASH_BYTES
        self.row[at : at + HASH_BYTES] = hashed

    def clear(self, slot: int) -> None:
        bit = 1 << slot
        if self.leaf_bits & bit:
            offset = self.leaf_offset(bit)
            del self.leaves[offset : offset + _LEAF_BYTES]
            self.leaf_bits ^= bit
        self.occupied &= ~bit
        at = 1 + slot * HASH_BYTES
        self.row[at : at + HASH_BYTES] = ZERO_HASH

    def packed(self) -> bytes:
        occupied = self.occupied
        head = (occupied << 16 | self.leaf_bits).to_bytes(_HEAD_BYTES, "big")
        if occupied.bit_count() > _FEW:
            return head + self.row[1:] + self.leaves
        return head + b"".join([self.row[1 + 32 * i : 33 + 32 * i] for i in _slots(occupied)]) + self.leaves

    def only_leaf(self) -> bool:
        """Whether the subtree holds exactly one key."""
        occupied = self.occupied
        return occupied == self.leaf_bits and occupied & (occupied - 1) == 0 and occupied != 0


def _slots(bits: int) -> Iterator[int]:
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low


def _unpacked_row(stored: bytes, occupied: int) -> tuple[bytearray, int]:
    """The row that is hashed, and where the leaves begin in `stored`."""
    if occupied.bit_count() > _FEW:
        row = bytearray(b"\x01")
        row += stored[_HEAD_BYTES : _HEAD_BYTES + _ROW_BYTES]
        return row, _HEAD_BYTES + _ROW_BYTES
    row = bytearray(_EMPTY_ROW)
    at = _HEAD_BYTES
    for slot in _slots(occupied):
        row[1 + HASH_BYTES * slot : 33 + HASH_BYTES * slot] = stored[at : at + HASH_BYTES]
        at += HASH_BYTES
    return row, at


class StateTree:
    """The tree kept in `kv` under `prefix`, standing at `root`.

    Raises StoreCorruptError, on opening or later, where the store does not hold the tree of that root.
    """

    def __init__(
        self, kv: Reader, prefix: bytes = b"n", root: bytes = ZERO_HASH, cache_nodes: int = DEFAULT_CACHE_NODES
    ) -> None:
        self.root = root
        self._kv = kv
        self._prefix = prefix
        self._cache = _NodeCache(cache_nodes)
        stored = self._load(b"") if root != ZERO_HASH else kv.get(prefix)
        if _tree_root(_Node(b"", stored, None)) != root:
            raise StoreCorruptError(f"The stored state is not the one with the root {root.hex()}. Sync this node anew.")

    def plan(self, writes: Mapping[bytes, bytes | None]) -> TreeChange:
        """What setting these keys (None deletes) does to the tree. Changes nothing; call once for each block."""
        changes = _hashed(writes)
        if not changes:
            return TreeChange(self.root, self.root, [], [], [])
        return self._ascend(self._descend(changes))

    def adopt(self, change: TreeChange) -> None:
        """Moves to the planned version, once its puts and deletes are in the store."""
        assert change.before == self.root, "a change is adopted by the version that planned it"
        for key, stored in change.puts:
            self._cache.put(key, stored)
        for key in change.deletes:
            self._cache.drop(key)
        self.root = change.root

    def prove(self, key: bytes) -> StateProof:
        """A proof of what `root` says about `key`: present or absent."""
        if self.root == ZERO_HASH:
            return StateProof(())
        way = nibbles(sha256(key).digest())
        node = _Node(b"", self._load(b""), None)
        if node.only_leaf():
            return StateProof((), bytes(node.leaves[:HASH_BYTES]), bytes(node.leaves[HASH_BYTES:]))
        siblings = []
        for depth, slot in enumerate(way):
            at = 1 + HASH_BYTES * slot
            siblings.append(bytes(node.row[1:at] + node.row[at + HASH_BYTES :]))
            bit = 1 << slot
            if not node.occupied & bit:
                return StateProof(tuple(siblings))
            if node.leaf_bits & bit:
                leaf = node.leaf_at(bit)
                return StateProof(tuple(siblings), leaf[:HASH_BYTES], leaf[HASH_BYTES:])
            path = way[: depth + 1]
            node = _Node(path, self._load(path), None)
        raise StoreCorruptError("The stored state goes deeper than a key is long. Sync this node anew.")

    def _load(self, path: bytes) -> bytes:
        key = self._prefix + path
        stored = self._cache.get(key)
        if stored is None:
            stored = self._kv.get(key)
            if stored is None or not _is_whole(stored):
                raise StoreCorruptError(f"The state's node {path.hex()!r} is missing or damaged. Sync this node anew.")
            self._cache.put(key, stored)
        return stored

    def _descend(self, changes: list[_Change]) -> list[_Node]:
        """Opens every node on the way of a changed key, level by level, and puts the leaves in their places.

        Returns the nodes, parents before children. Where two keys meet in one slot they get a new node; should deletes
        leave it with less than two keys after all, `_ascend` takes it away again.
        """
        top = _Node(b"", None if self.root == ZERO_HASH else self._load(b""), None)
        nodes = [top]
        level = [(top, 0, len(changes))]
        depth = 0
        while level:
            below = []
            for node, start, stop in level:
                while start < stop:
                    key_hash, way, leaf, hashed = changes[start]
                    slot = way[depth]
                    first, start = start, start + 1
                    while start < stop and changes[start][1][depth] == slot:
                        start += 1
                    bit = 1 << slot
                    is_one = start == first + 1
                    stored = None
                    standing = b""
                    if node.leaf_bits & bit:
                        standing = node.leaf_at(bit)
                        if is_one and (leaf is None or standing.startswith(key_hash)):
                            if standing.startswith(key_hash):
                                if leaf is None:
                                    node.clear(slot)
                                else:
                                    node.set_leaf(slot, leaf, hashed)
                            continue
                    elif node.occupied & bit:
                        stored = self._load(way[: depth + 1])
                    elif is_one:
                        if leaf is not None:
                            node.set_leaf(slot, leaf, hashed)
                        continue
                    child = _Node(way[: depth + 1], stored, node)
                    if standing:
                        at = 1 + HASH_BYTES * slot
                        child.set_leaf(
                            nibbles(standing[:HASH_BYTES])[depth + 1], standing, node.row[at : at + HASH_BYTES]
                        )
                        node.clear(slot)
                    nodes.append(child)
                    below.append((child, first, start))
            level = below
            depth += 1
        return nodes

    def _ascend(self, nodes: list[_Node]) -> TreeChange:
        """Hashes every changed node once, children before parents."""
        puts: list[tuple[bytes, bytes]] = []
        deletes: list[bytes] = []
        undo: list[tuple[bytes, bytes | None]] = []
        prefix = self._prefix
        root = self.root
        for node in reversed(nodes):
            path, parent, stored = node.path, node.parent, node.stored
            occupied = node.occupied
            if occupied & (occupied - 1) == 0 and (occupied == 0 or (occupied == node.leaf_bits and parent)):
                # At most one key is left: no node, but a leaf in the parent, or nothing.
                if parent is None:
                    root = ZERO_HASH
                elif occupied:
                    slot = occupied.bit_length() - 1
                    parent.set_leaf(path[-1], bytes(node.leaves), node.row[1 + 32 * slot : 33 + 32 * slot])
                else:
                    parent.clear(path[-1])
                if stored is not None:
                    deletes.append(prefix + path)
                    undo.append((prefix + path, stored))
                continue
            packed = node.packed()
            if packed == stored:
                continue
            if parent is None:
                root = _tree_root(node)
            else:
                parent.set_inner(path[-1], sha256(node.row).digest())
            puts.append((prefix + path, packed))
            undo.append((prefix + path, stored))
        return TreeChange(self.root, root, puts, deletes, undo)


def _hashed(writes: Mapping[bytes, bytes | None]) -> list[_Change]:
    changes: list[_Change] = []
    for key, value in writes.items():
        key_hash = sha256(key).digest()
        if value is None:
            changes.append((key_hash, nibbles(key_hash), None, b""))
        else:
            leaf = key_hash + sha256(value).digest()
            changes.append((key_hash, nibbles(key_hash), leaf, sha256(b"\x00" + leaf).digest()))
    changes.sort()
    return changes


def _tree_root(node: _Node) -> bytes:
    if not node.occupied:
        return ZERO_HASH
    if node.only_leaf():
        slot = node.occupied.bit_length() - 1
        return bytes(node.row[1 + HASH_BYTES * slot : 33 + HASH_BYTES * slot])
    return sha256(node.row).digest()


def _is_whole(stored: bytes) -> bool:
    if len(stored) < _HEAD_BYTES:
        return False
    children = (stored[0] << 8 | stored[1]).bit_count()
    leaves = (stored[2] << 8 | stored[3]).bit_count()
    return len(stored) == _HEAD_BYTES + (FANOUT if children > _FEW else children) * HASH_BYTES + leaves * _LEAF_BYTES


class _NodeCache:
    """Stored nodes by key, in two generations: when the young one is full it becomes the old one, and that is dropped.

    The topmost nodes stay: every batch passes them.
    """

    def __init__(self, limit: int) -> None:
        self._half = max(1, limit // 2)
        self._young: dict[bytes, bytes] = {}
        self._old: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        stored = self._young.get(key)
        if stored is None:
            stored = self._old.pop(key, None)
            if stored is not None:
                self.put(key, stored)
        return stored

    def put(self, key: bytes, stored: bytes) -> None:
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}
        self._young[key] = stored

    def drop(self, key: bytes) -> None:
        self._young.pop(key, None)
        self._old.pop(key, None)
