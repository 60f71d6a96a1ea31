"""What a proof about one key shows, and that nobody can make it show anything else."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.executor import nonce_key
from chain.hashes import ZERO_HASH
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
from contracts.runtime.keys import state_key
from tests.chain.states import ADDRESS, OWNED, tree_of
from tests.chain.txs import address_of


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


def test_an_inner_node_is_not_taken_for_a_page() -> None:
    """Neither has a tag before it: an inner node's 512 bytes are no whole number of records."""
    way = nibbles(place_of(b"key 0"))
    rows = [TREE.memory.row(TREE.memory.link(way[:depth]))[:512] for depth in range(len(TREE.prove(b"key 0").siblings))]
    assert rows
    assert page_hash(rows[0]) == ROOT
    assert proved_page(ROOT, b"key 0", StateProof((), rows[0])) is None
