"""The door is total: whatever bytes come, a value or a fault comes out, and nothing passes with a wrong signature."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.block import Block, Header, make_block
from chain.hashes import ZERO_HASH
from chain.refusal import Code, Refusal
from chain.tx import Tx, TxCall, decode_tx
from chain.wire import encode_commit, proposal_to_wire, vote_to_wire
from consensus.types import (
    NO_ROUND,
    BlockId,
    Commit,
    Height,
    Power,
    Proposal,
    Round,
    Validator,
    ValidatorId,
    ValidatorSet,
    Vote,
    VoteKind,
)
from gridbft.v1 import chain_pb2 as chain_pb
from gridbft.v1 import peer_pb2 as pb
from gridbft.wallet import Wallet
from node.admission import MAX_PROPOSALS, MAX_SERVED_BLOCKS, MAX_TXS, Door, Fault, HeightRange
from node.events import (
    BlocksReceived,
    Memory,
    MemoryReceived,
    PeerId,
    ProposalReceived,
    StatusReceived,
    TxsReceived,
    VotesReceived,
)
from node.signer import sign_bytes_of

T = TypeVar("T")

CHAIN = "test-0000"
WALLET = Wallet.from_seed(bytes(32))
STRANGER = Wallet.from_seed(b"\x01" * 32)
PEER = PeerId(WALLET.address_bytes)
VALIDATORS = ValidatorSet.of([Validator(ValidatorId(WALLET.address_bytes), WALLET.public_key, Power(1))])
ID = BlockId(b"\x07" * 32)


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as executor:
        yield executor


@pytest.fixture(scope="module")
def door(pool: ThreadPoolExecutor) -> Door:
    return Door(CHAIN, lambda key: None, lambda height: VALIDATORS if height < 1_000 else None, pool)


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine)


def _tx(nonce: int, chain: str = CHAIN) -> bytes:
    return WALLET.transaction(chain, nonce, [TxCall("payments", "transfer", b"\x90")], 100, 1_000)


def _decoded(raw: bytes) -> Tx:
    decoded = decode_tx(raw, CHAIN)
    assert not isinstance(decoded, Refusal)
    return decoded[0]


def _signed(message: Vote | Proposal, wallet: Wallet = WALLET) -> Any:
    return replace(message, signature=wallet.sign(sign_bytes_of(CHAIN, message)))


def _vote(height: int = 5, wallet: Wallet = WALLET) -> Vote:
    vote = Vote(VoteKind.PREVOTE, Height(height), Round(0), ID, ValidatorId(wallet.address_bytes))
    signed: Vote = _signed(vote, wallet)
    return signed


def _block(height: int = 5, raw_txs: tuple[bytes, ...] = ()) -> Block:
    me, zero = ValidatorId(WALLET.address_bytes), ZERO_HASH
    header = Header(CHAIN, Height(height), 1_000, me, BlockId(zero), zero, zero, zero, zero, zero, zero, zero)
    return make_block(header, [_decoded(raw) for raw in raw_txs], (), b"", None)


def _proposal(block: Block) -> Proposal:
    proposal = Proposal(block.header.height, Round(0), block.id, NO_ROUND, ValidatorId(WALLET.address_bytes))
    signed: Proposal = _signed(proposal)
    return signed


def _proposed(block: Block, proposal: Proposal | None = None) -> pb.ProposedBlock:
    return pb.ProposedBlock(proposal=proposal_to_wire(proposal or _proposal(block)), block=block.raw)


async def _through(door: Door, raw: bytes) -> object:
    """As the inbox sends a message through the door."""
    message = door.message(raw)
    if isinstance(message, Fault):
        return message
    results: list[object] = [
        await door.peer_txs(PEER, message.txs),
        await door.votes(PEER, message.votes),
        await door.proposal(PEER, message.proposal),
        door.status(PEER, message.status),
        door.block_request(message.block_request),
        door.blocks(PEER, message.block_response),
    ]
    return results


# --- totality -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_random_bytes_are_never_a_transaction_and_never_an_exception(door: Door, raws: list[bytes]) -> None:
    results = _run(door.txs(raws))
    assert len(results) == len(raws)
    assert all(isinstance(r, Refusal) for r in results)


@given(st.binary(max_size=400))
def test_random_bytes_of_a_peer_never_raise(door: Door, raw: bytes) -> None:
    assert _run(_through(door, raw)) is not None


small = st.binary(max_size=40)
numbers = st.sampled_from([0, 1, 5, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1]) | st.integers(0, 2**64 - 1)
small_numbers = st.sampled_from([0, 1, 3, 4, 5, 2**31, 2**32 - 1])
wire_votes = st.builds(
    lambda kind, height, round_, ids, signature: pb.VoteBatch(
        votes=[
            chain_pb.Vote(kind=kind, height=height, round=round_, block_id=i, validator=i[:20], signature=signature)
            for i in ids
        ]
    ),
    st.sampled_from(chain_pb.VoteKind.values()),
    numbers,
    small_numbers,
    st.lists(st.binary(min_size=32, max_size=32) | small, max_size=3),
    st.binary(min_size=64, max_size=64) | small,
)
wire_messages = (
    st.builds(lambda v: pb.PeerMessage(votes=v), wire_votes)
    | st.builds(
        lambda h, r, s, b, pol, e: pb.PeerMessage(
            status=pb.PeerStatus(
                height=h, round=r, step=s, prevotes=b, pol_round=pol, pol_prevotes=b, earliest_height=e
            )
        ),
        numbers,
        small_numbers,
        small_numbers,
        st.binary(max_size=200),
        st.integers(-(2**31), 2**31 - 1),
        numbers,
    )
    | st.builds(
        lambda h, bs, cs: pb.PeerMessage(block_response=pb.BlockResponse(from_height=h, blocks=bs, commits=cs)),
        numbers,
        st.lists(small, max_size=3),
        st.lists(small, max_size=3),
    )
    | st.builds(
        lambda a, b: pb.PeerMessage(block_request=pb.BlockRequest(from_height=a, to_height=b)), numbers, numbers
    )
)


@given(wire_messages)
def test_well_formed_messages_with_any_numbers_never_raise(door: Door, message: pb.PeerMessage) -> None:
    assert _run(_through(door, message.SerializeToString())) is not None


@given(st.data())
def test_a_changed_byte_in_a_proposed_block_never_raises_and_never_changes_what_is_proposed(
    door: Door, data: st.DataObject
) -> None:
    block = _block(5, (_tx(0), _tx(1)))
    raw = pb.PeerMessage(proposal=_proposed(block)).SerializeToString()
    at = data.draw(st.integers(0, len(raw) - 1))
    flipped = raw[:at] + bytes([raw[at] ^ data.draw(st.integers(1, 255))]) + raw[at + 1 :]
    message = door.message(flipped)
    if isinstance(message, Fault) or message.WhichOneof("kind") != "proposal":
        return
    result = _run(door.proposal(PEER, message.proposal))
    if isinstance(result, ProposalReceived):
        assert result.proposal == _proposal(block)
        assert result.block is None or (result.block.id, result.block.txs) == (block.id, block.txs)


# --- transactions -----------------------------------------------------------------------------------------------------


def test_each_bad_transaction_gets_its_own_code_and_the_good_ones_pass(door: Door) -> None:
    good, other_chain = _tx(0), _tx(1, "other-0000")
    forged = good[:-1] + bytes([good[-1] ^ 1])
    results = _run(door.txs([forged, good, b"\xff", other_chain, bytes(200_000)]))
    codes = [r.code if isinstance(r, Refusal) else "" for r in results]
    assert codes == [Code.BAD_SIGNATURE, "", Code.MALFORMED, Code.WRONG_CHAIN, Code.TOO_LARGE]


def test_many_transactions_keep_their_order_over_the_chunks(door: Door) -> None:
    raws = [_tx(n) for n in range(150)]
    raws[77] = raws[77][:-1] + bytes([raws[77][-1] ^ 1])
    results = _run(door.txs(raws))
    assert [i for i, r in enumerate(results) if isinstance(r, Refusal)] == [77]
    assert [r.nonce for r in results if isinstance(r, Tx)] == [n for n in range(150) if n != 77]


def test_what_is_remembered_of_transactions_is_bounded_in_bytes(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    raws = [_tx(n) for n in range(6)]
    monkeypatch.setattr("node.admission.RECENT_TX_BYTES", 3 * max(map(len, raws)))
    door = Door(CHAIN, lambda key: None, lambda height: VALIDATORS, pool)
    for batch in (raws[:4], raws, raws[::-1]):
        _run(door.txs(batch))
        assert door._recent_tx_bytes == sum(len(tx.raw) for tx in door._recent_txs.values())
        assert len(door._recent_txs) == 3


def test_a_transaction_is_verified_once(pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []

    async def counting(_: object, items: list[object]) -> list[bool]:
        counted.append(len(items))
        return [True] * len(items)

    monkeypatch.setattr("node.admission.verify_in", counting)
    door = Door(CHAIN, lambda key: None, lambda height: VALIDATORS, pool)
    raws = [_tx(n) for n in range(3)]
    _run(door.txs(raws))
    _run(door.txs(raws))
    _run(door.proposal(PEER, _proposed(_block(5, tuple(raws)))))
    assert counted == [3, 0, 1, 0]  # the batch; nothing; the proposal's own signature; none of its transactions


def test_one_bad_transaction_condemns_a_peers_batch(door: Door) -> None:
    assert _run(door.peer_txs(PEER, pb.TxBatch(txs=[_tx(0)]))) == TxsReceived((_decoded(_tx(0)),), peer=PEER)
    bad = pb.TxBatch(txs=[_tx(0), b"\xff"])
    assert _run(door.peer_txs(PEER, bad)) == Fault("a transaction that is refused: MALFORMED")
    assert isinstance(_run(door.peer_txs(PEER, pb.TxBatch(txs=[b""] * (MAX_TXS + 1)))), Fault)


# --- consensus messages -------------------------------------------------------------------------------------------------


def _votes(door: Door, *votes: Vote) -> VotesReceived | MemoryReceived | Fault:
    return _run(door.votes(PEER, pb.VoteBatch(votes=[vote_to_wire(v) for v in votes])))


def test_a_vote_passes_with_its_validators_signature_only(door: Door) -> None:
    vote = _vote()
    assert _votes(door, vote) == VotesReceived(PEER, (vote,))
    forged = replace(vote, round=Round(1))
    assert _votes(door, vote, forged) == Fault("a vote with a wrong signature")
    assert _votes(door, forged) == Fault("a vote with a wrong signature")  # not remembered as a right one


def test_votes_of_unknown_validators_or_heights_are_left_out_without_blame(door: Door) -> None:
    assert _votes(door, _vote(wallet=STRANGER), _vote(height=5_000), _vote()) == VotesReceived(PEER, (_vote(),))


def test_a_memory_passes_with_right_signatures_only_on_votes_and_proposals(door: Door) -> None:
    proposal = _proposal(_block(5, ()))
    batch = pb.VoteBatch(
        votes=[vote_to_wire(_vote())], recalled_height=5, recalled_proposals=[proposal_to_wire(proposal)]
    )
    assert _run(door.votes(PEER, batch)) == MemoryReceived(PEER, Memory(Height(5), (_vote(),), (proposal,)))
    batch.recalled_proposals.append(proposal_to_wire(replace(proposal, round=Round(1))))
    assert _run(door.votes(PEER, batch)) == Fault("a proposal with a wrong signature")
    del batch.recalled_proposals[:]
    batch.recalled_proposals.extend([proposal_to_wire(proposal)] * (MAX_PROPOSALS + 1))
    assert isinstance(_run(door.votes(PEER, batch)), Fault)


def test_a_proposal_passes_with_its_block(door: Door) -> None:
    block = _block(5, (_tx(0),))
    result = _run(door.proposal(PEER, _proposed(block)))
    assert result == ProposalReceived(PEER, _proposal(block), block)


@pytest.mark.parametrize(
    ("proposed", "reason"),
    [
        (_proposed(_block(5), replace(_proposal(_block(5)), round=Round(1))), "a proposal with a wrong signature"),
        (_proposed(_block(6), _proposal(_block(5))), "a block that is not the proposed one"),
        (pb.ProposedBlock(), "a malformed proposal"),
        (pb.ProposedBlock(proposal=proposal_to_wire(_proposal(_block(5))), block=b"\xff"), "a malformed block"),
    ],
)
def test_a_bad_proposal_is_a_fault(door: Door, proposed: pb.ProposedBlock, reason: str) -> None:
    result = _run(door.proposal(PEER, proposed))
    assert isinstance(result, Fault)
    assert result.reason.startswith(reason)


def test_a_block_with_a_forged_transaction_is_a_fault(door: Door) -> None:
    raw = _tx(900)
    block = _block(5, (raw[:-1] + bytes([raw[-1] ^ 1]),))
    result = _run(door.proposal(PEER, _proposed(block)))
    assert result == Fault("a block with a transaction whose signature is wrong")


# --- status and sync ------------------------------------------------------------------------------------------------------


def test_a_status_keeps_its_bitmaps(door: Door) -> None:
    result = door.status(PEER, pb.PeerStatus(height=5, round=1, step=3, prevotes=b"\x05", pol_round=-1))
    assert isinstance(result, StatusReceived)
    assert (result.state.height, result.state.prevotes, result.state.precommits) == (5, 0b101, 0)


@pytest.mark.parametrize(
    "bad",
    [
        pb.PeerStatus(step=5),
        pb.PeerStatus(height=2**63),
        pb.PeerStatus(prevotes=bytes(129)),
        pb.PeerStatus(pol_round=-2),
    ],
)
def test_a_status_with_impossible_numbers_is_a_fault(door: Door, bad: pb.PeerStatus) -> None:
    assert isinstance(door.status(PEER, bad), Fault)


def test_a_request_for_blocks_is_cut_to_what_is_served_at_once(door: Door) -> None:
    asked = pb.BlockRequest(from_height=10, to_height=10**9)
    assert door.block_request(asked) == HeightRange(10, 10 + MAX_SERVED_BLOCKS - 1)
    assert isinstance(door.block_request(pb.BlockRequest(from_height=0, to_height=5)), Fault)
    assert isinstance(door.block_request(pb.BlockRequest(from_height=6, to_height=5)), Fault)


def test_served_blocks_must_follow_one_another_and_have_their_commits(door: Door) -> None:
    five, six = _block(5), _block(6)
    commits = [Commit(b.header.height, Round(0), b.id) for b in (five, six)]
    raws = [encode_commit(c) for c in commits]
    good = pb.BlockResponse(from_height=5, blocks=[five.raw, six.raw], commits=raws)
    assert door.blocks(PEER, good) == BlocksReceived(PEER, ((five, commits[0]), (six, commits[1])))
    for bad in (
        pb.BlockResponse(from_height=5, blocks=[six.raw, five.raw], commits=raws),
        pb.BlockResponse(from_height=4, blocks=[five.raw, six.raw], commits=raws),
        pb.BlockResponse(from_height=5, blocks=[five.raw, six.raw], commits=raws[:1]),
        pb.BlockResponse(from_height=5, blocks=[five.raw], commits=[b"\xff"]),
        pb.BlockResponse(
            from_height=1, blocks=[b""] * (MAX_SERVED_BLOCKS + 1), commits=[b""] * (MAX_SERVED_BLOCKS + 1)
        ),
    ):
        assert isinstance(door.blocks(PEER, bad), Fault)
