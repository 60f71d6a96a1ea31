"""The one verifier of the consensus path, at the edges on which Ed25519 libraries disagree."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from chain.tx import SignedBytes
from node.ed25519 import AT_ONCE, CHUNK, verify, verify_all, verify_in

ORDER = 2**252 + 27742317777372353535851937790883648493  # of the group (RFC 8032, 5.1)
PRIME = 2**255 - 19
KEY = SigningKey(bytes(range(32)))
PUBLIC_KEY = KEY.verify_key.encode()
MESSAGE = b"a block"
SIGNATURE = KEY.sign(MESSAGE).signature
IDENTITY = (1).to_bytes(32, "little")  # the point (0, 1), of order 1


def encoded(number: int) -> bytes:
    return number.to_bytes(32, "little")


def shifted(signature: bytes) -> bytes:
    """The same signature with another S of the same value modulo the order."""
    return signature[:32] + encoded(int.from_bytes(signature[32:], "little") + ORDER)


EDGES = {
    "S beyond the order (malleable)": (PUBLIC_KEY, shifted(SIGNATURE)),
    "a public key of order 1, which signs everything": (IDENTITY, IDENTITY + encoded(0)),
    "a public key of order 2": (encoded(PRIME - 1), IDENTITY + encoded(0)),
    "a public key of order 4": (encoded(0), IDENTITY + encoded(0)),
    "the point of order 1, encoded beyond the prime": (encoded(PRIME + 1), IDENTITY + encoded(0)),
    "an R of order 1": (PUBLIC_KEY, IDENTITY + SIGNATURE[32:]),
    "a public key that is no point": (encoded(2), SIGNATURE),
}


def test_what_the_key_signed_is_right() -> None:
    assert verify(PUBLIC_KEY, MESSAGE, SIGNATURE)


@pytest.mark.parametrize("edge", list(EDGES))
def test_the_edges_on_which_libraries_disagree_are_refused(edge: str) -> None:
    public_key, signature = EDGES[edge]
    assert not verify(public_key, MESSAGE, signature)


@given(st.binary(max_size=70), st.binary(max_size=5), st.binary(max_size=70))
def test_any_bytes_have_an_answer(public_key: bytes, message: bytes, signature: bytes) -> None:
    assert not verify(public_key, message, signature)


@given(st.integers(0, 511))
def test_one_changed_bit_of_a_signature_is_noticed(bit: int) -> None:
    changed = bytearray(SIGNATURE)
    changed[bit // 8] ^= 1 << bit % 8
    assert not verify(PUBLIC_KEY, MESSAGE, bytes(changed))


@pytest.mark.parametrize("count", [1, AT_ONCE + 1, 2 * CHUNK + 1])
def test_many_at_once_are_judged_as_one_by_one(count: int) -> None:
    """There is no batch equation: a signature that passes alone passes among others, and the other way round."""
    items = [SignedBytes(PUBLIC_KEY, MESSAGE, SIGNATURE)] * count
    for place in (0, count // 2, count - 1):
        mixed = list(items)
        mixed[place] = SignedBytes(PUBLIC_KEY, MESSAGE, shifted(SIGNATURE))
        with ThreadPoolExecutor(2) as pool:
            assert asyncio.run(verify_in(pool, mixed)) == verify_all(mixed)
        assert verify_all(mixed) == [n != place for n in range(count)]
