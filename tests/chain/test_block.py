"""A block's bytes: one encoding for each id, and bounds that hold before anything is hashed."""

from __future__ import annotations

import pytest

from chain import merkle
from chain.block import MAX_BLOCK_TXS, decode_block
from gridbft.v1 import chain_pb2 as pb
from tests.chain.network import Chain, genesis, pay

CHAIN = Chain(genesis())
BLOCK = CHAIN.propose(CHAIN.tx("alice", pay("bob", 1)))
HEADER = pb.Block(header=BLOCK.header_bytes).SerializeToString()
LISTS = BLOCK.raw[len(HEADER) :]


def test_a_block_is_decoded_from_its_own_encoding() -> None:
    assert BLOCK.raw == HEADER + LISTS
    block, _ = decode_block(BLOCK.raw, CHAIN.genesis.chain_id)
    assert (block.id, block.raw) == (BLOCK.id, BLOCK.raw)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 8, 13])
def test_the_header_names_the_rfc_6962_root_of_the_transactions(count: int) -> None:
    """What is hashed once for finding a transaction again and for the list is the same for a stranger who hashes the list."""
    block = CHAIN.propose(*(CHAIN.tx("alice", pay("bob", n + 1)) for n in range(count)))
    assert block.header.tx_root == merkle.root([tx.raw for tx in block.txs])
    assert decode_block(block.raw, CHAIN.genesis.chain_id)[0].txs == block.txs


@pytest.mark.parametrize(
    "raw",
    [BLOCK.raw + b"\x7a\x04idle", HEADER + BLOCK.raw, LISTS + HEADER, BLOCK.raw + b"\x22\x00"],
    ids=["an unknown field", "a field twice", "another order", "an empty field"],
)
def test_idle_bytes_beside_what_the_id_covers_are_refused(raw: bytes) -> None:
    """Whoever passed a good proposal on with a padded block made its receiver refuse the block as too large, for good."""
    with pytest.raises(ValueError, match="another encoding"):
        decode_block(raw, CHAIN.genesis.chain_id)


def test_lists_longer_than_any_block_may_have_are_refused_before_they_are_hashed() -> None:
    raw = pb.Block(header=BLOCK.header_bytes, txs=[b""] * (MAX_BLOCK_TXS + 1)).SerializeToString()
    with pytest.raises(ValueError, match="more in its lists"):
        decode_block(raw, CHAIN.genesis.chain_id)
