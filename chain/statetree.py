"""The authenticated state: a 16-way tree over the nibbles of SHA-256(key), updated once for each block.

`chain.stateproof` defines what is hashed. Here is how it is kept. A stored node is

    u16 occupied slots | u32 the number of records of each slot, 2 bits each | 0x01 | 16 child hashes | records

with slot 0 in the lowest bits. From 0x01 to the last hash it is exactly what an inner node hashes. A record is a key's
hash and its value's hash (2 x 32 bytes). A subtree of at most three keys has no node of its own: its records stand in
the node above, in key order, and its inner hashes are made anew when they are needed. In a large tree nearly all
of the lowest subtrees are so small, and each of them saves a read and a write. Four keys or more have a node, under
`prefix || path`, the path being one byte (0 to 15) for each level; so has the root, unless the tree is empty.

Paths instead of hashes as names mean that a block overwrites what it replaces, so that nothing needs collecting, and
that a node stands next to its children on disk.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from struct import Struct

from chain.hashes import HASH_BYTES, ZERO_HASH
from chain.kv import Reader, StoreCorruptError
from chain.stateproof import FANOUT, StateProof, nibbles

DEFAULT_CACHE_NODES = 65_536

_HEAD = Struct(">HI")
_HEAD_BYTES = _HEAD.size
_HASHES_AT = _HEAD_BYTES + 1
_RECORDS_AT = _HASHES_AT + FANOUT * HASH_BYTES
_RECORD_BYTES = 2 * HASH_BYTES
_MAX_GROUP = 3  # what two bits can count
_EMPTY_NODE = bytes(_HEAD_BYTES) + b"\x01" + bytes(FANOUT * HASH_BYTES)
_GAPS = tuple(b"\x01" + bytes(empty * HASH_BYTES) for empty in range(FANOUT))
_ONES, _TWOS = 0x55555555, 0xAAAAAAAA  # the lower and the higher bit of each slot's count

# A key's hash, its nibbles, and its new record (None: delete).
_Change = tuple[bytes, bytes, bytes | None]


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


class StateTree:
    """The tree kept in `kv` under `prefix`, standing at `root`.

    Raises StoreCorruptError, on opening or later, where the store does not hold the tree of that root. `cache_nodes`
    bounds the memory: a node takes about 1.5 kB.
    """

    def __init__(
        self, kv: Reader, prefix: bytes = b"n", root: bytes = ZERO_HASH, cache_nodes: int = DEFAULT_CACHE_NODES
    ) -> None:
        self.root = root
        self._kv = kv
        self._prefix = prefix
        self._cache = _NodeCache(cache_nodes)
        stored = kv.get(prefix) if root == ZERO_HASH else self._load(b"")
        if _Node(b"", stored, None).subtree_hash() != root:
            raise StoreCorruptError(f"The stored state is not the one with the root {root.hex()}. Sync this node anew.")

    def plan(self, writes: Mapping[bytes, bytes | None]) -> TreeChange:
        """What setting these keys (None deletes) does to the tree. Changes nothing; call once for each block."""
        changes = _sorted_changes(writes)
        if not changes:
            return TreeChange(self.root, self.root, [], [], [])
        return self._walk(changes)

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
        siblings: list[bytes] = []
        path = b""
        while True:
            node = _Node(path, self._load(path), None)
            if not path and node.is_small():
                return _prove_in_group(bytes(node.buf[_RECORDS_AT:]), way, siblings)
            slot = way[len(path)]
            siblings.append(_without(node.buf[_HASHES_AT:_RECORDS_AT], slot))
            path = way[: len(path) + 1]
            if not node.has_child(slot):
                return _prove_in_group(node.group(slot), way, siblings)

    def _load(self, path: bytes) -> bytes:
        key = self._prefix + path
        stored = self._cache.get(key)
        if stored is None:
            stored = self._kv.get(key)
            if stored is None or not _is_whole(stored):
                raise StoreCorruptError(f"The state's node {path.hex()!r} is missing or damaged. Sync this node anew.")
            self._cache.put(key, stored)
        return stored

    def _walk(self, changes: list[_Change]) -> TreeChange:
        """Puts the records in their places and closes every node once, as soon as nothing more comes below it.

        The keys are taken in their order, so that each goes on from the deepest open node that it shares with the one
        before, and a node is packed and hashed while the processor still has it at hand.
        """
        after = TreeChange(self.root, self.root, [], [], [])
        node = _Node(b"", None if self.root == ZERO_HASH else self._load(b""), None)
        start, count = 0, len(changes)
        while start < count:
            change = changes[start]
            way = change[1]
            while not way.startswith(node.path):
                node = self._close(node, after)
            depth = len(node.path)
            slot = way[depth]
            while node.has_child(slot):
                depth += 1
                path = way[:depth]
                node = _Node(path, self._load(path), node)
                slot = way[depth]
            stop = start + 1
            if stop < count and changes[stop][1].startswith(way[: depth + 1]):
                stop += 1
                while stop < count and changes[stop][1].startswith(way[: depth + 1]):
                    stop += 1
            elif node.replace_record(slot, change):
                start = stop
                continue
            child = _change_group(node, slot, changes[start:stop])
            if child is None:
                start = stop
            else:
                node = child  # in which the same changes are still to be made
        while node.parent is not None:
            node = self._close(node, after)
        return self._close_top(node, after)

    def _close(self, node: _Node, after: TreeChange) -> _Node:
        """Hashes a node below which all is done; what has shrunk to a group goes into its parent, which is returned."""
        parent, stored = node.parent, node.stored
        assert parent is not None
        packed = node.packed()
        if packed == stored:
            return parent
        key, slot = self._prefix + node.path, node.path[-1]
        if node.is_small():
            parent.set_group(slot, packed[_RECORDS_AT:], node.subtree_hash())
            if stored is not None:
                after.deletes.append(key)
                after.undo.append((key, stored))
        else:
            parent.set_child(slot, sha256(packed[_HEAD_BYTES:_RECORDS_AT]).digest())
            after.puts.append((key, packed))
            after.undo.append((key, stored))
        return parent

    def _close_top(self, top: _Node, after: TreeChange) -> TreeChange:
        packed, stored = top.packed(), top.stored
        if packed == stored or (stored is None and not top.occupied):
            return after
        if top.occupied:
            after.puts.append((self._prefix, packed))
        else:
            after.deletes.append(self._prefix)
        after.undo.append((self._prefix, stored))
        return replace(after, root=top.subtree_hash())


class _Node:
    """A stored node at work: `buf` is its stored form, whose head is brought up to date by `packed`."""

    __slots__ = ("buf", "counts", "occupied", "parent", "path", "stored")

    def __init__(self, path: bytes, stored: bytes | None, parent: _Node | None) -> None:
        self.path = path
        self.stored = stored
        self.parent = parent
        self.buf = bytearray(stored or _EMPTY_NODE)
        self.occupied: int
        self.counts: int
        self.occupied, self.counts = _HEAD.unpack_from(self.buf)

    def has_child(self, slot: int) -> bool:
        """Whether a node of its own stands below `slot`, and not nothing or a group of records."""
        return self.occupied >> slot & 1 > (self.counts >> 2 * slot & 3)

    def group(self, slot: int) -> bytes:
        start, stop = self._span(slot)
        return bytes(self.buf[start:stop])

    def set_group(self, slot: int, records: bytes, hashed: bytes) -> None:
        """Makes `records` (0 to 3 of them) all that stands below `slot`."""
        buf = self.buf
        start, stop = self._span(slot)
        buf[start:stop] = records
        at = _HASHES_AT + slot * HASH_BYTES
        buf[at : at + HASH_BYTES] = hashed
        if stop - start != len(records) or not records:
            self.counts = self.counts & ~(3 << 2 * slot) | len(records) // _RECORD_BYTES << 2 * slot
        self.occupied = self.occupied | 1 << slot if records else self.occupied & ~(1 << slot)

    def replace_record(self, slot: int, change: _Change) -> bool:
        """Puts a new value's record in the place of the old one. By far the most frequent change; False where it is
        another: a key that is new here, or one that goes."""
        key_hash, _, record = change
        counts = self.counts
        count = counts >> 2 * slot & 3
        if count == 0 or record is None:
            return False
        buf = self.buf
        below = counts & (1 << 2 * slot) - 1
        start = _RECORDS_AT + (below.bit_count() + (below & _TWOS).bit_count()) * _RECORD_BYTES
        stop = start + count * _RECORD_BYTES
        for at in range(start, stop, _RECORD_BYTES):
            if buf.startswith(key_hash, at):
                break
        else:
            return False
        buf[at : at + _RECORD_BYTES] = record
        at = _HASHES_AT + slot * HASH_BYTES
        if count == 1:
            buf[at : at + HASH_BYTES] = sha256(b"\x00" + record).digest()
        else:
            buf[at : at + HASH_BYTES] = _group_hash(bytes(buf[start:stop]), len(self.path) + 1)
        return True

    def set_child(self, slot: int, hashed: bytes) -> None:
        """The hash of the node that stands below `slot`, where no records do."""
        at = _HASHES_AT + slot * HASH_BYTES
        self.buf[at : at + HASH_BYTES] = hashed
        self.occupied |= 1 << slot

    def is_small(self) -> bool:
        """Whether the whole subtree is a group: at most three keys, and no node below."""
        if len(self.buf) > _RECORDS_AT + _MAX_GROUP * _RECORD_BYTES:
            return False
        groups = (self.counts | self.counts >> 1) & _ONES
        return groups.bit_count() == self.occupied.bit_count()

    def subtree_hash(self) -> bytes:
        if self.occupied & (self.occupied - 1) == 0 and self.is_small():
            return _group_hash(bytes(self.buf[_RECORDS_AT:]), len(self.path))
        return sha256(self.buf[_HEAD_BYTES:_RECORDS_AT]).digest()

    def packed(self) -> bytes:
        _HEAD.pack_into(self.buf, 0, self.occupied, self.counts)
        return bytes(self.buf)

    def _span(self, slot: int) -> tuple[int, int]:
        below = self.counts & (1 << 2 * slot) - 1
        records = (below & _ONES).bit_count() + 2 * (below & _TWOS).bit_count()
        start = _RECORDS_AT + records * _RECORD_BYTES
        return start, start + (self.counts >> 2 * slot & 3) * _RECORD_BYTES


def _sorted_changes(writes: Mapping[bytes, bytes | None]) -> list[_Change]:
    changes: list[_Change] = []
    for key, value in writes.items():
        key_hash = sha256(key).digest()
        record = None if value is None else key_hash + sha256(value).digest()
        changes.append((key_hash, nibbles(key_hash), record))
    changes.sort()
    return changes


def _change_group(node: _Node, slot: int, changes: list[_Change]) -> _Node | None:
    """Applies `changes`, all below `slot`, where a group or nothing stands.

    If more than a group comes of it, the slot gets a node, in which the changes are still to be made: it is returned.
    """
    depth = len(node.path) + 1
    standing = node.group(slot)
    after = _merged(standing, changes)
    if after is None:
        node.set_group(slot, b"", ZERO_HASH)
        child = _Node(changes[0][1][:depth], None, node)
        for inner_slot, group in _split(standing, depth).items():
            child.set_group(inner_slot, group, _group_hash(group, depth + 1))
        return child
    if after != standing:
        node.set_group(slot, after, _group_hash(after, depth))
    return None


def _merged(standing: bytes, changes: list[_Change]) -> bytes | None:
    """The records after `changes`, in key order; None if they are too many for a group."""
    if len(changes) == 1:  # by far the most frequent case
        key_hash, _, record = changes[0]
        if not standing:
            return record or b""
        for at in range(0, len(standing), _RECORD_BYTES):
            if standing.startswith(key_hash, at):
                return standing[:at] + (record or b"") + standing[at + _RECORD_BYTES :]
    records = {record[:HASH_BYTES]: record for record in _records(standing)}
    for key_hash, _, new in changes:
        if new is None:
            records.pop(key_hash, None)
        else:
            records[key_hash] = new
    return b"".join(sorted(records.values())) if len(records) <= _MAX_GROUP else None


def _records(group: bytes) -> list[bytes]:
    return [group[at : at + _RECORD_BYTES] for at in range(0, len(group), _RECORD_BYTES)]


def _split(group: bytes, depth: int) -> dict[int, bytes]:
    """Records by the nibble of their key hash at `depth`."""
    parts: dict[int, bytes] = {}
    byte, shift = depth >> 1, 0 if depth & 1 else 4
    for record in _records(group):
        slot = record[byte] >> shift & 15
        parts[slot] = parts.get(slot, b"") + record
    return parts


def _row(records: bytes, depth: int) -> bytearray:
    """The 16 child hashes of the inner node that `records` make at `depth`."""
    row = bytearray(FANOUT * HASH_BYTES)
    for slot, group in _split(records, depth).items():
        row[slot * HASH_BYTES : (slot + 1) * HASH_BYTES] = _group_hash(group, depth + 1)
    return row


def _group_hash(records: bytes, depth: int) -> bytes:
    """The hash of the subtree of these records, which share their first `depth` nibbles and stand in key order."""
    size = len(records)
    if size == _RECORD_BYTES:
        return sha256(b"\x00" + records).digest()
    if not records:
        return ZERO_HASH
    if size == 2 * _RECORD_BYTES:
        byte, shift = depth >> 1, 0 if depth & 1 else 4
        low, high = records[byte] >> shift & 15, records[_RECORD_BYTES + byte] >> shift & 15
        if low != high:  # a pair that parts here: the most frequent group, worth not building a row for
            return sha256(
                _GAPS[low]
                + sha256(b"\x00" + records[:_RECORD_BYTES]).digest()
                + _GAPS[high - low - 1][1:]
                + sha256(b"\x00" + records[_RECORD_BYTES:]).digest()
                + _GAPS[FANOUT - 1 - high][1:]
            ).digest()
    return sha256(b"\x01" + _row(records, depth)).digest()


def _prove_in_group(records: bytes, way: bytes, siblings: list[bytes]) -> StateProof:
    """Goes on from the slot where a group (or nothing) stands to where the key's way ends."""
    while len(records) > _RECORD_BYTES:
        depth = len(siblings)
        siblings.append(_without(_row(records, depth), way[depth]))
        records = _split(records, depth).get(way[depth], b"")
    return StateProof(tuple(siblings), records[:HASH_BYTES], records[HASH_BYTES:])


def _without(row: bytearray, slot: int) -> bytes:
    return bytes(row[: slot * HASH_BYTES] + row[(slot + 1) * HASH_BYTES :])


def _is_whole(stored: bytes) -> bool:
    """Whether it holds something, and its length is the one that the counts demand."""
    if len(stored) < _RECORDS_AT:
        return False
    occupied, counts = _HEAD.unpack_from(stored)
    records = (counts & _ONES).bit_count() + 2 * (counts & _TWOS).bit_count()
    return bool(occupied) and len(stored) == _RECORDS_AT + records * _RECORD_BYTES


class _NodeCache:
    """Stored nodes by key; beyond the limit, those go that have not been written or loaded for longest."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._nodes: OrderedDict[bytes, bytes] = OrderedDict()
        self.get = self._nodes.get

    def put(self, key: bytes, stored: bytes) -> None:
        nodes = self._nodes
        nodes[key] = stored
        nodes.move_to_end(key)
        if len(nodes) > self._limit:
            nodes.popitem(last=False)

    def drop(self, key: bytes) -> None:
        self._nodes.pop(key, None)
