from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import crypto_sign_open

from chain import merkle
from chain.hashes import digest
from chain.refusal import Code, Refusal
from chain.tx import MAX_CALLS, MAX_TX_BYTES, SignedBytes, Tx, TxCall, decode_tx, encode_tx, envelope_key
from gridbft.v1 import chain_pb2 as pb
from tests.chain.txs import CHAIN, address_of, call, signed


def decoded(raw: bytes) -> tuple[Tx, SignedBytes]:
    result = decode_tx(raw, CHAIN)
    assert not isinstance(result, Refusal), result
    return result


def refused(raw: bytes) -> Code:
    result = decode_tx(raw, CHAIN)
    assert isinstance(result, Refusal)
    assert result.message
    return result.code


def test_a_transaction_reads_as_it_was_signed() -> None:
    raw = signed("alice", nonce=7, calls=(call("market", "clear", "z", 3),), expiry_height=9, gas_limit=5)
    tx, check = decoded(raw)
    assert (tx.sender, tx.nonce, tx.expiry_height, tx.gas_limit) == (address_of("alice"), 7, 9, 5)
    assert [(c.contract, c.function) for c in tx.calls] == [("market", "clear")]
    assert crypto_sign_open(check.signature + check.message, check.public_key) == check.message


def test_the_id_is_the_digest_of_the_body_so_the_signature_does_not_change_it() -> None:
    raw = signed()
    envelope = pb.Tx.FromString(raw)
    other = encode_tx(envelope.body, envelope.public_key, bytes(64))
    assert decoded(raw)[0].id == decoded(other)[0].id == digest(envelope.body)
    assert decoded(raw)[0].key != decoded(other)[0].key


def test_the_key_is_the_leaf_of_a_blocks_list_so_that_it_is_hashed_once() -> None:
    raw = signed()
    assert decoded(raw)[0].key == envelope_key(raw) == merkle.leaf_hash(raw)


def test_what_is_decoded_is_made_of_the_named_tuples_with_all_their_fields() -> None:
    for calls in ((call("market", "clear"),), (call("a", "b"), call("c", "d", 1))):
        tx, check = decoded(signed(calls=calls))
        assert (type(tx), type(check)) == (Tx, SignedBytes)
        assert (tx, check) == (Tx(*tx), SignedBytes(*check))
        assert (tx.calls, {type(c) for c in tx.calls}) == (calls, {TxCall})


def test_a_transaction_of_another_chain_is_refused() -> None:
    assert refused(signed(chain_id="another")) is Code.WRONG_CHAIN


def test_a_sender_that_is_not_the_keys_address_is_refused() -> None:
    mine, theirs = pb.Tx.FromString(signed("alice")), pb.Tx.FromString(signed("bob"))
    assert refused(encode_tx(mine.body, theirs.public_key, mine.signature)) is Code.WRONG_SENDER


def test_no_calls_too_many_calls_and_too_many_bytes_are_refused() -> None:
    assert refused(signed(calls=tuple(call("a", "b") for _ in range(MAX_CALLS + 1)))) is Code.TOO_MANY_CALLS
    assert refused(signed(calls=(call("a", "b", b"x" * MAX_TX_BYTES),))) is Code.TOO_LARGE
    body = pb.TxBody(chain_id=CHAIN, sender=bytes.fromhex(address_of("alice")))
    public_key = pb.Tx.FromString(signed("alice")).public_key
    assert refused(encode_tx(body.SerializeToString(), public_key, bytes(64))) is Code.NO_CALLS


@given(st.binary(max_size=300))
def test_random_bytes_are_a_refusal_never_an_exception(raw: bytes) -> None:
    assert isinstance(decode_tx(raw, CHAIN), Refusal)


@given(st.integers(0, len(signed()) - 1), st.integers(1, 255))
def test_any_changed_byte_changes_what_must_verify_or_is_refused(at: int, flip: int) -> None:
    raw = bytearray(signed())
    raw[at] ^= flip
    result = decode_tx(bytes(raw), CHAIN)
    if not isinstance(result, Refusal):
        assert result[1] != decoded(signed())[1]
