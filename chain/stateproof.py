"""What a proof about one key of the state says, and how a stranger checks it. Needs no store: light clients use it.

A key has a place of 32 bytes: the first 3 of the CRC-32 of its last 40 bytes, then the last 29 of SHA-256(key). Its record
is its place and 33 bytes for its value: a value of up to 32 bytes stands there itself, its length before it and zeros after
it, a longer one as 0xff || SHA-256(value). The state is a tree over the nibbles of the places, and the hash of the subtree
of all places that share their first nibbles is,

    of none                      32 zero bytes
    of up to PAGE_RECORDS keys   SHA-256(their records in ascending order): a page
    of more                      SHA-256(the hashes of its 16 subtrees): an inner node

so that the root is a function of the pairs alone. No page is taken for an inner node: an inner node's 512 bytes are no
multiple of a record's 65. A page holds every key that shares its way, hence absence is as provable
as presence: the page on the key's way holds its record, or the key is not in the state.

An address has 40 characters, so the keys that end in it (an account's money, its next nonce, what it holds) are neighbours,
and a transaction that changes them changes one page. The CRC only says who lies beside whom, and it does not matter that
anybody can aim it: many keys with the same one part by their SHA-256 behind it, six levels down. That no two keys have the
same place rests on the 232 bits of SHA-256.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from zlib import crc32

from chain.hashes import HASH_BYTES, ZERO_HASH

FANOUT = 16
PLACE_BYTES = 32
MAX_DEPTH = 2 * PLACE_BYTES  # in nibbles
SHORT_VALUE_BYTES = 32
RECORD_BYTES = PLACE_BYTES + 1 + SHORT_VALUE_BYTES
PAGE_RECORDS = 96
"""Fewer make more inner nodes, each of which costs a changed key 512 hashed bytes; more make longer pages and proofs."""
SIBLINGS_BYTES = (FANOUT - 1) * HASH_BYTES
LONG_VALUE_TAG = b"\xff"

NEIGHBOURS_END_BYTES = 40  # an address
NEIGHBOURHOOD_BYTES = 3

_HEX = bytes.maketrans(bytes(range(FANOUT)), b"0123456789abcdef")
_LAST = b"\xff" * PLACE_BYTES
_LENGTHS = [bytes((length,)) for length in range(SHORT_VALUE_BYTES + 1)]
_NIBBLES = bytes.maketrans(b"0123456789abcdef", bytes(range(FANOUT)))


@dataclass(frozen=True, slots=True)
class StateProof:
    """The way from the root to the page where a key's way ends.

    `siblings`: for each inner node passed, root first, its children's hashes with the one on the way left out
    (15 x 32 bytes). `records`: those of the page, 65 bytes each; empty where nothing stands on the way.
    """

    siblings: tuple[bytes, ...]
    records: bytes = b""


def place_of(key: bytes) -> bytes:
    """Where a key stands in the state: 32 bytes."""
    neighbourhood = crc32(key[-NEIGHBOURS_END_BYTES:]) >> 8
    return neighbourhood.to_bytes(NEIGHBOURHOOD_BYTES, "big") + sha256(key).digest()[NEIGHBOURHOOD_BYTES:]


def nibbles(place: bytes) -> bytes:
    """A place's way through the tree: one byte, 0 to 15, for each level."""
    return place.hex().encode().translate(_NIBBLES)


def first_on(path: bytes) -> bytes:
    """The first place on a way: `path` is one byte, 0 to 15, for each level."""
    return bytes.fromhex(path.translate(_HEX).ljust(MAX_DEPTH, b"0").decode())


def last_beside(place: bytes, depth: int) -> bytes:
    """The last place that shares the first `depth` nibbles with this one."""
    whole = depth >> 1
    if depth & 1:
        return place[:whole] + bytes((place[whole] | 15,)) + _LAST[whole + 1 :]
    return place[:whole] + _LAST[whole:]


def value_field(value: bytes) -> bytes:
    """The 33 bytes that stand for a value in its record."""
    if len(value) <= SHORT_VALUE_BYTES:
        return _LENGTHS[len(value)] + value.ljust(SHORT_VALUE_BYTES, b"\x00")
    return LONG_VALUE_TAG + sha256(value).digest()


def page_hash(records: bytes) -> bytes:
    """The hash of the subtree of these records, at most PAGE_RECORDS of them."""
    return sha256(records).digest() if records else ZERO_HASH


@dataclass(frozen=True, slots=True)
class ProvedPage:
    """What a root says of all keys whose way begins with `way`: `fields` holds those that are there, by their places."""

    way: bytes
    fields: Mapping[bytes, bytes]

    def shows(self, key: bytes, value: bytes | None) -> bool:
        """Whether `key` has exactly `value`; None: that it is absent."""
        place = place_of(key)
        if not nibbles(place).startswith(self.way):
            return False  # a page that cannot stand on this key's way says nothing about the key
        return self.fields.get(place) == (None if value is None else value_field(value))


def proved_page(root: bytes, key: bytes, proof: StateProof) -> ProvedPage | None:
    """The page on the key's way under `root`; None where `proof` does not show it. Never raises on what a stranger can send."""
    way, depth = nibbles(place_of(key)), len(proof.siblings)
    if depth > MAX_DEPTH or any(len(row) != SIBLINGS_BYTES for row in proof.siblings):
        return None
    if len(proof.records) % RECORD_BYTES or len(proof.records) > PAGE_RECORDS * RECORD_BYTES:
        return None
    node = page_hash(proof.records)
    for level in range(depth - 1, -1, -1):
        row, cut = proof.siblings[level], way[level] * HASH_BYTES
        node = sha256(row[:cut] + node + row[cut:]).digest()
    if node != root:
        return None
    records = [proof.records[at : at + RECORD_BYTES] for at in range(0, len(proof.records), RECORD_BYTES)]
    fields = {record[:PLACE_BYTES]: record[PLACE_BYTES:] for record in records}
    if not all(nibbles(place).startswith(way[:depth]) for place in fields):
        return None  # nor does one that no tree has
    return ProvedPage(way[:depth], fields)


def verify_present(root: bytes, key: bytes, value: bytes, proof: StateProof) -> bool:
    """Whether `proof` shows that `key` has exactly `value` under `root`. Never raises on what a stranger can send."""
    page = proved_page(root, key, proof)
    return page is not None and page.shows(key, value)


def verify_absent(root: bytes, key: bytes, proof: StateProof) -> bool:
    """Whether `proof` shows that `key` is not in the state under `root`. Never raises on what a stranger can send."""
    page = proved_page(root, key, proof)
    return page is not None and page.shows(key, None)
