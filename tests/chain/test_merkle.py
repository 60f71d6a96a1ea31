"""Lists under RFC 6962 roots."""

from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.merkle import (
    EMPTY_ROOT,
    ListProof,
    leaf_hash,
    node_hash,
    prove,
    prove_consistency,
    root,
    verify,
    verify_consistency,
)

# Without doubles: two equal leaves side by side have each other's proof, and rightly so.
LEAVES = st.lists(st.binary(max_size=8), min_size=1, max_size=40, unique=True)

# The eight leaves that Certificate Transparency's implementations test with, and the roots of their first n.
CT_LEAVES = [bytes.fromhex(h) for h in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
)]  # fmt: skip
CT_ROOTS = [bytes.fromhex(h) for h in (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)]  # fmt: skip


def rfc_root(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word: slow and recursive."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return node_hash(rfc_root(leaves[:k]), rfc_root(leaves[k:]))


@pytest.mark.parametrize("size", range(1, 9))
def test_the_roots_of_the_certificate_transparency_leaves(size: int) -> None:
    assert root(CT_LEAVES[:size]) == CT_ROOTS[size - 1]


def test_the_empty_list_has_the_hash_of_nothing() -> None:
    assert root([]) == EMPTY_ROOT == bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")


@given(st.lists(st.binary(max_size=8), max_size=70))
def test_the_iterative_root_is_the_recursive_one_of_the_rfc(leaves: list[bytes]) -> None:
    assert root(leaves) == rfc_root(leaves)


@given(LEAVES)
def test_every_leaf_has_a_proof(leaves: list[bytes]) -> None:
    top = root(leaves)
    assert all(verify(top, leaf, prove(leaves, i)) for i, leaf in enumerate(leaves))


@pytest.mark.parametrize("index", [-1, 3])
def test_no_proof_is_made_for_a_leaf_outside_of_the_list(index: int) -> None:
    with pytest.raises(IndexError):
        prove([b"a", b"b", b"c"], index)


@given(LEAVES, st.data())
def test_a_proof_holds_for_its_leaf_index_and_size_only(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    top, leaf, proof = root(leaves), leaves[index], prove(leaves, index)
    assert not verify(top, leaf + b"\x00", proof)
    assert not verify(bytes([top[0] ^ 1]) + top[1:], leaf, proof)
    other = data.draw(st.integers(-2, 1 << 65).filter(lambda i: i != index))
    assert not verify(top, leaf, replace(proof, index=other))
    if proof.path:
        assert not verify(top, leaf, replace(proof, path=proof.path[:-1]))
        assert not verify(top, leaf, replace(proof, path=(proof.path[0][:-1], *proof.path[1:])))
        step = data.draw(st.integers(0, len(proof.path) - 1))
        at = data.draw(st.integers(0, 31))
        bent = bytearray(proof.path[step])
        bent[at] ^= 1 << data.draw(st.integers(0, 7))
        assert not verify(top, leaf, replace(proof, path=(*proof.path[:step], bytes(bent), *proof.path[step + 1 :])))
    assert not verify(top, leaf, replace(proof, path=(*proof.path, bytes(32))))


@given(LEAVES, st.data())
def test_a_lie_about_the_size_fails_where_it_changes_the_shape(leaves: list[bytes], data: st.DataObject) -> None:
    """The path's length fixes the size's order of magnitude; the last leaf's path fixes its bits."""
    last = len(leaves) - 1
    proof = prove(leaves, last)
    size = data.draw(st.integers(-1, 1 << 65).filter(lambda n: n != len(leaves)))
    lied = replace(proof, size=size)
    same_shape = size > last and _shape(last, size) == _shape(last, len(leaves))
    assert verify(root(leaves), leaves[last], lied) == same_shape


def _shape(index: int, size: int) -> list[bool]:
    """For each step of a leaf's path, whether its sibling stands to the left."""
    if size == 1:
        return []
    split = 1 << (size - 1).bit_length() - 1
    if index < split:
        return [*_shape(index, split), False]
    return [*_shape(index - split, size - split), True]


@given(
    st.binary(max_size=40),
    st.binary(max_size=8),
    st.integers(-(1 << 66), 1 << 66),
    st.integers(-(1 << 66), 1 << 66),
    st.lists(st.binary(max_size=40) | st.binary(min_size=32, max_size=32), max_size=70),
)
def test_nothing_that_a_stranger_sends_makes_verifying_raise(
    top: bytes, leaf: bytes, index: int, size: int, path: list[bytes]
) -> None:
    assert not verify(top, leaf, ListProof(index, size, tuple(path)))
    assert not verify_consistency(top, index, leaf, size, path)


def test_a_path_of_another_length_proves_nothing_even_under_a_root_made_for_it() -> None:
    proof = prove([b"a", b"b", b"c", b"d"], 0)
    longer, extra = root([b"a", b"b", b"c", b"d"]), leaf_hash(b"e")
    for top in (node_hash(longer, extra), node_hash(extra, longer)):
        assert not verify(top, b"a", replace(proof, path=(*proof.path, extra)))
    short = leaf_hash(b"b")[:31]
    assert not verify(node_hash(leaf_hash(b"a"), short), b"a", ListProof(0, 2, (short,)))


def test_a_consistency_proof_holds_for_its_sizes_only() -> None:
    leaves = [b"%d" % i for i in range(8)]
    before, after, proof = root(leaves[:4]), root(leaves), prove_consistency(leaves, 4)
    assert [n for n in range(-1, 40) if verify_consistency(before, 4, after, n, proof)] == [5, 6, 7, 8]
    extra = leaf_hash(b"e")
    assert not verify_consistency(before, 4, node_hash(after, extra), 8, (*proof, extra))
    assert not verify_consistency(before, 4, node_hash(extra, after), 8, (*proof, extra))


def test_a_node_cannot_be_passed_off_as_a_leaf() -> None:
    leaves = [b"a", b"b", b"c", b"d"]
    left, right = node_hash(leaf_hash(b"a"), leaf_hash(b"b")), node_hash(leaf_hash(b"c"), leaf_hash(b"d"))
    assert not verify(root(leaves), left + right, ListProof(0, 1, ()))
    assert not verify(root(leaves), leaf_hash(b"a") + leaf_hash(b"b"), ListProof(0, 2, (right,)))


@given(LEAVES, st.data())
def test_a_list_is_consistent_with_each_of_its_beginnings(leaves: list[bytes], data: st.DataObject) -> None:
    size = data.draw(st.integers(1, len(leaves)))
    before, after, proof = root(leaves[:size]), root(leaves), prove_consistency(leaves, size)
    assert verify_consistency(before, size, after, len(leaves), proof)
    assert not verify_consistency(before, size, after, len(leaves), (*proof, bytes(32)))
    assert not verify_consistency(root([*leaves[: size - 1], b"forged leaf"]), size, after, len(leaves), proof)
    assert not verify_consistency(before, size, bytes(32), len(leaves), proof)
    if proof:
        assert not verify_consistency(before, size, after, len(leaves), proof[:-1])


@pytest.mark.parametrize("earlier", [0, 4])
def test_no_consistency_proof_is_made_for_an_earlier_list_that_cannot_be(earlier: int) -> None:
    with pytest.raises(IndexError):
        prove_consistency([b"a", b"b", b"c"], earlier)
