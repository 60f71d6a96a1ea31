"""What a light client believes: only what more than two thirds of the trusted power signed."""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.block import block_id_of, decode_header
from chain.ledger import ProvedQuery, ProvedRead
from chain.stateproof import PAGE_RECORDS, nibbles, place_of
from chain.tx import TxCall
from contracts.runtime.api import Outcome
from contracts.runtime.codec import encode
from gridbft.errors import VerificationError
from gridbft.v1 import client_pb2 as wire
from gridbft.verify import Trust, verify_header, verify_reads, verify_receipt, verify_view
from gridbft.wallet import Wallet
from node.answers import proved
from tests.gridbft.fake_bank import NAME, BankRuntime
from tests.gridbft.fake_ledger import CHAIN_ID, FakeLedger, tree_of

ALICE = Wallet.from_seed(bytes(32), "alice")
ACCOUNTS = [ALICE.address, "bob", "nobody"]
LEDGER = FakeLedger(state={b"other/%d" % n: b"" for n in range(2 * PAGE_RECORDS)})  # so that proofs pass inner nodes
for _nonce, (_function, _args) in enumerate(
    [("mint", [ALICE.address, 1_000]), ("transfer", ["bob", 250]), ("mint", ["carol", 7])]
):
    LEDGER.admit(ALICE.transaction(CHAIN_ID, _nonce, [TxCall(NAME, _function, encode(_args))], 1_000, 1_000))
LEDGER.make_block()
ARGS = encode([ACCOUNTS])
ANSWER = LEDGER.query(wire.QueryRequest(contract=NAME, view="statement", args=ARGS, prove=True))
TX_ID = next(iter(LEDGER.places))
_RECEIPT = LEDGER.receipt(TX_ID, prove=True)
assert _RECEIPT is not None
RECEIPT = _RECEIPT


def checked(answer: wire.QueryResponse, trust: Trust = LEDGER.trust) -> bytes:
    return verify_view(answer, NAME, "statement", ARGS, "", trust, BankRuntime())


def copy(answer: wire.QueryResponse = ANSWER) -> wire.QueryResponse:
    twin = wire.QueryResponse()
    twin.CopyFrom(answer)
    return twin


def test_a_true_answer_is_computed_again_from_what_is_proved() -> None:
    assert checked(ANSWER) == encode([[ALICE.address, 750], ["bob", 250], ["nobody", 0]])
    assert {r.present for r in ANSWER.reads} == {True, False}  # so that presence and absence are both tried below


def flipped(data: bytes, at: int, bit: int) -> bytes:
    at %= len(data)
    return data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :]


def _set_header(a: wire.QueryResponse, flip: Callable[[bytes], bytes]) -> None:
    a.header = flip(a.header)


def _set_commit(a: wire.QueryResponse, flip: Callable[[bytes], bytes]) -> None:
    a.commit = flip(a.commit)


def _set_result(a: wire.QueryResponse, flip: Callable[[bytes], bytes]) -> None:
    a.result = flip(a.result)


def _set_key(a: wire.QueryResponse, flip: Callable[[bytes], bytes]) -> None:
    a.reads[0].key = flip(a.reads[0].key)


def _set_value(a: wire.QueryResponse, flip: Callable[[bytes], bytes]) -> None:
    a.reads[1].value = flip(a.reads[1].value)


def _set_sibling(a: wire.QueryResponse, flip: Callable[[bytes], bytes]) -> None:
    a.proofs[0].siblings[0] = flip(a.proofs[0].siblings[0])


def _set_records(a: wire.QueryResponse, flip: Callable[[bytes], bytes]) -> None:
    a.proofs[1].records = flip(a.proofs[1].records)


BYTE_CLASSES = [
    _set_header,
    _set_commit,
    _set_result,
    _set_key,
    _set_value,
    _set_sibling,
    _set_records,
]


@pytest.mark.parametrize("change", BYTE_CLASSES, ids=lambda f: f.__name__[5:])
@given(st.integers(0, 2**16), st.integers(0, 7))
def test_any_changed_bit_of_an_answer_is_refused(
    change: Callable[[wire.QueryResponse, Callable[[bytes], bytes]], None], at: int, bit: int
) -> None:
    answer = copy()
    change(answer, lambda data: flipped(data, at, bit))
    with pytest.raises(VerificationError):
        checked(answer)


def _drop_read(a: wire.QueryResponse) -> None:
    del a.reads[0]


def _hide_value(a: wire.QueryResponse) -> None:
    a.reads[0].present = False
    a.reads[0].value = b""


def _invent_value(a: wire.QueryResponse) -> None:
    a.reads[2].present = True
    a.reads[2].value = encode(10**9)


def _value_of_the_absent(a: wire.QueryResponse) -> None:
    a.reads[2].value = b"\x01"


def _doubled_read(a: wire.QueryResponse) -> None:
    a.reads.add().CopyFrom(a.reads[0])


def _missing_proof(a: wire.QueryResponse) -> None:
    a.reads[0].proof = len(a.proofs)


def _another_keys_proof(a: wire.QueryResponse) -> None:
    here = a.reads[0].proof
    a.reads[0].proof = next(other for other in range(len(a.proofs)) if other != here)


def _absent_from_another_page(a: wire.QueryResponse) -> None:
    hidden = next(read for read in a.reads if read.present and read.proof != a.reads[0].proof)
    hidden.present, hidden.value, hidden.proof = False, b"", a.reads[0].proof


def _other_height(a: wire.QueryResponse) -> None:
    a.height -= 1


def _denied(a: wire.QueryResponse) -> None:
    a.ok, a.code = False, "PAUSED"


def _other_header(a: wire.QueryResponse) -> None:
    a.header, a.commit = LEDGER.blocks[0].header_bytes, LEDGER.blocks[0].commit
    a.height = 0


def _too_few_signers(a: wire.QueryResponse) -> None:
    a.commit = LEDGER.commit(LEDGER.height, block_id_of(a.header), signing=2)


def _no_commit(a: wire.QueryResponse) -> None:
    a.commit = b""


LIES = [
    _drop_read,
    _hide_value,
    _invent_value,
    _value_of_the_absent,
    _doubled_read,
    _missing_proof,
    _other_height,
    _denied,
]
LIES += [_another_keys_proof, _absent_from_another_page, _other_header, _too_few_signers, _no_commit]


@pytest.mark.parametrize("lie", LIES, ids=lambda f: f.__name__[1:])
def test_a_lie_is_refused(lie: Callable[[wire.QueryResponse], None]) -> None:
    answer = copy()
    lie(answer)
    with pytest.raises(VerificationError):
        checked(answer)


def test_keys_of_one_page_share_its_proof_and_empty_slots_that_look_alike_do_not() -> None:
    """All present keys begin with one nibble, so that the root has empty slots side by side."""
    keys = [key for key in (b"key %d" % n for n in range(3_000)) if nibbles(place_of(key))[0] == 7]
    state = dict.fromkeys(keys[: 2 * PAGE_RECORDS], b"value")
    asked = [*keys[:50], *(b"absent %d" % n for n in range(200))]
    tree = tree_of(state)
    reads = tuple(ProvedRead(key, state.get(key), tree.prove(key)) for key in asked)
    answer = proved(ProvedQuery(Outcome(True, "", 0), 1, reads, b"", b""))
    assert verify_reads(answer.reads, answer.proofs, tree.root) == {key: state.get(key) for key in asked}
    pages = {nibbles(place_of(read.key))[: len(read.proof.siblings)] for read in reads}
    assert len(answer.proofs) == len(pages) < 40


def test_three_of_four_signers_are_enough() -> None:
    header = LEDGER.blocks[-1].header_bytes
    commit = LEDGER.commit(LEDGER.height, block_id_of(header), signing=3)
    assert verify_header(header, commit, LEDGER.trust) == decode_header(header)


def _strangers() -> Iterator[Trust]:
    yield Trust("another-chain", LEDGER.trust.validators)
    yield Trust.of(CHAIN_ID, [("v0", bytes([9]) * 32, 1)])
    members = [(v.name, v.public_key, v.power + (v.name == "v0")) for v in LEDGER.trust.validators.validators]
    yield Trust.of(CHAIN_ID, members)


@pytest.mark.parametrize("trust", list(_strangers()), ids=["chain", "keys", "powers"])
def test_another_chain_s_or_set_s_signatures_prove_nothing(trust: Trust) -> None:
    with pytest.raises(VerificationError):
        checked(ANSWER, trust)


def test_a_receipt_is_proved_under_the_next_header() -> None:
    assert verify_receipt(RECEIPT, TX_ID, LEDGER.trust).height == LEDGER.places[TX_ID][0] + 1


def test_a_proved_receipt_of_another_transaction_is_refused() -> None:
    with pytest.raises(VerificationError, match="WRONG_RECEIPT"):
        verify_receipt(RECEIPT, bytes(32), LEDGER.trust)


@given(st.integers(0, 2**16), st.integers(0, 7))
def test_any_changed_bit_of_a_receipt_is_refused(at: int, bit: int) -> None:
    answer = wire.GetReceiptResponse()
    answer.CopyFrom(RECEIPT)
    answer.receipt = flipped(answer.receipt, at, bit)
    with pytest.raises(VerificationError):
        verify_receipt(answer, TX_ID, LEDGER.trust)


@given(st.integers(0, 2**63), st.integers(0, 2**63), st.lists(st.binary(max_size=40), max_size=4))
def test_any_other_place_of_a_receipt_is_refused(index: int, size: int, path: list[bytes]) -> None:
    answer = wire.GetReceiptResponse()
    answer.CopyFrom(RECEIPT)
    if (index, size, path) == (answer.proof.index, answer.proof.size, list(answer.proof.path)):
        return
    answer.proof.index, answer.proof.size = index, size
    del answer.proof.path[:]
    answer.proof.path.extend(path)
    with pytest.raises(VerificationError):
        verify_receipt(answer, TX_ID, LEDGER.trust)
