"""Blocks: an opaque header that names everything else by its hash, and the lists that it names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from google.protobuf.message import DecodeError

from chain import merkle
from chain.hashes import ADDRESS_BYTES, HASH_BYTES, HEADER_DOMAIN, ZERO_HASH, digest
from chain.refusal import Refusal
from chain.tx import SignedBytes, Tx, decode_tx
from chain.wire import MAX_HEIGHT, decode_commit
from consensus.types import BlockId, Commit, Height, ValidatorId
from gridbft.v1 import chain_pb2 as pb

PROTOCOL_VERSION = 1
MAX_BLOCK_BYTES = 4 * 1024 * 1024
MAX_BLOCK_TXS = 100_000  # the largest that governance may allow; hashing more of them would hold up a node for seconds
MAX_BLOCK_EVIDENCE = 1_024


@dataclass(frozen=True, slots=True)
class Header:
    """Roots speak of the parent's outcome: the state and receipts of this block stand in the next header."""

    chain_id: str
    height: Height
    time_ms: int
    proposer: ValidatorId
    parent: BlockId
    tx_root: bytes
    state_root: bytes
    receipt_root: bytes
    validators_hash: bytes
    next_validators_hash: bytes
    evidence_root: bytes
    last_commit_hash: bytes
    version: int = PROTOCOL_VERSION


@dataclass(frozen=True, slots=True)
class Block:
    """A decoded block beside its bytes; `raw` is the encoded message, `header_bytes` what the id covers."""

    id: BlockId
    header: Header
    header_bytes: bytes
    txs: tuple[Tx, ...]
    evidence: tuple[bytes, ...]
    last_commit: Commit | None
    raw: bytes


def encode_header(header: Header) -> bytes:
    return pb.Header(
        version=header.version,
        chain_id=header.chain_id,
        height=header.height,
        time_ms=header.time_ms,
        proposer=header.proposer,
        parent=header.parent,
        tx_root=header.tx_root,
        state_root=header.state_root,
        receipt_root=header.receipt_root,
        validators_hash=header.validators_hash,
        next_validators_hash=header.next_validators_hash,
        evidence_root=header.evidence_root,
        last_commit_hash=header.last_commit_hash,
    ).SerializeToString(deterministic=True)


def block_id_of(header_bytes: bytes) -> BlockId:
    return BlockId(digest(HEADER_DOMAIN + header_bytes))


def decode_header(raw: bytes) -> Header:
    """Raises ValueError on anything but a well-formed header."""
    message = pb.Header()
    try:
        message.ParseFromString(raw)
    except DecodeError as error:
        raise ValueError("these bytes are no encoded header") from error
    hashes = (
        message.parent,
        message.tx_root,
        message.state_root,
        message.receipt_root,
        message.validators_hash,
        message.next_validators_hash,
        message.evidence_root,
        message.last_commit_hash,
    )
    if any(len(h) != HASH_BYTES for h in hashes) or len(message.proposer) != ADDRESS_BYTES:
        raise ValueError("a header's hashes need 32 bytes and its proposer 20")
    if not 1 <= message.height <= MAX_HEIGHT or message.time_ms > MAX_HEIGHT:
        raise ValueError("a header's height or time is out of range")
    return Header(
        version=message.version,
        chain_id=message.chain_id,
        height=Height(message.height),
        time_ms=message.time_ms,
        proposer=ValidatorId(message.proposer),
        parent=BlockId(message.parent),
        tx_root=message.tx_root,
        state_root=message.state_root,
        receipt_root=message.receipt_root,
        validators_hash=message.validators_hash,
        next_validators_hash=message.next_validators_hash,
        evidence_root=message.evidence_root,
        last_commit_hash=message.last_commit_hash,
    )


def make_block(
    header: Header, txs: Sequence[Tx], evidence: Sequence[bytes], last_commit: bytes, last: Commit | None
) -> Block:
    """Fills in the roots over the lists; `last_commit` is the encoded form of `last` (empty at height 1)."""
    raw_txs = [tx.raw for tx in txs]
    filled = replace(
        header,
        tx_root=merkle.root_of_hashes([tx.key for tx in txs]),
        evidence_root=merkle.root(list(evidence)),
        last_commit_hash=digest(last_commit) if last_commit else ZERO_HASH,
    )
    header_bytes = encode_header(filled)
    raw = pb.Block(
        header=header_bytes, txs=raw_txs, evidence=list(evidence), last_commit=last_commit
    ).SerializeToString(deterministic=True)
    return Block(block_id_of(header_bytes), filled, header_bytes, tuple(txs), tuple(evidence), last, raw)


def decode_block(
    raw: bytes, chain_id: str, known: Callable[[bytes], Tx | None] = lambda key: None
) -> tuple[Block, list[SignedBytes]]:
    """Decodes a block and checks that its lists are those that its header names.

    `known` gives the already verified transaction with an envelope's key, if there is one, so that nothing is
    decoded or verified twice. A block has one encoding: with idle bytes that its id does not cover, one node could be made to
    find it too large and another not. Also returns the signatures that still have to be checked. Raises ValueError on
    anything malformed, however it was meant.
    """
    if len(raw) > MAX_BLOCK_BYTES:
        raise ValueError(f"a block has at most {MAX_BLOCK_BYTES} bytes, this one {len(raw)}")
    message = pb.Block()
    try:
        message.ParseFromString(raw)
    except DecodeError as error:
        raise ValueError("these bytes are no encoded block") from error
    if len(message.txs) > MAX_BLOCK_TXS or len(message.evidence) > MAX_BLOCK_EVIDENCE:
        raise ValueError("a block with more in its lists than any block may have")
    message.DiscardUnknownFields()
    if message.SerializeToString(deterministic=True) != raw:
        raise ValueError("a block in another encoding than its own")
    header = decode_header(message.header)
    if header.chain_id != chain_id:
        raise ValueError(f"a block of another chain, {header.chain_id[:80]!r}")
    raw_txs, evidence = list(message.txs), tuple(message.evidence)
    keys = [sha256(b"\x00" + raw_tx).digest() for raw_tx in raw_txs]  # chain.tx.envelope_key, for every transaction
    if merkle.root_of_hashes(keys) != header.tx_root or merkle.root(evidence) != header.evidence_root:
        raise ValueError("the block's lists are not those that its header names")
    if (digest(message.last_commit) if message.last_commit else ZERO_HASH) != header.last_commit_hash:
        raise ValueError("the block's last commit is not the one that its header names")
    last_commit = decode_commit(message.last_commit) if message.last_commit else None
    txs, unchecked = _decode_txs(raw_txs, keys, chain_id, known)
    return Block(block_id_of(message.header), header, message.header, txs, evidence, last_commit, raw), unchecked


def _decode_txs(
    raw_txs: Sequence[bytes], keys: Sequence[bytes], chain_id: str, known: Callable[[bytes], Tx | None]
) -> tuple[tuple[Tx, ...], list[SignedBytes]]:
    txs: list[Tx] = []
    unchecked: list[SignedBytes] = []
    for raw_tx, key in zip(raw_txs, keys, strict=True):
        tx = known(key)
        if tx is None:
            decoded = decode_tx(raw_tx, chain_id, key)
            if isinstance(decoded, Refusal):
                raise ValueError(f"a transaction in the block is refused: {decoded.code}")
            tx, signed = decoded
            unchecked.append(signed)
        txs.append(tx)
    return tuple(txs), unchecked
