"""Every decoder of bytes that others wrote, each with the only exceptions it may raise."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from zlib import crc32

from chain.block import decode_block, decode_header
from chain.evidence import decode_evidence, encode_evidence
from chain.genesis import GenesisError, load_genesis, load_member
from chain.receipt import decode_receipt
from chain.snapshot import SnapshotError, decode_offer, encode_offer, entries_in
from chain.tx import decode_tx
from chain.wire import decode_commit, decode_validators, encode_validators, proposal_to_wire, vote_to_wire
from consensus.evidence import DoubleVote
from consensus.proposer import Standing, decode_standings, encode_standings
from consensus.types import BlockId, Height, Proposal, Round, ValidatorId, Vote, VoteKind
from contracts.runtime.codec import decode as decode_args
from contracts.runtime.codec import encode as encode_args
from gridbft.errors import VerificationError, WalletError
from gridbft.proofs import MAGIC as PROOF_MAGIC
from gridbft.rows import InputFault
from gridbft.sealing import Cost, seal, unseal
from gridbft.v1 import peer_pb2 as pb
from gridbft.verify import verify as verify_proof
from node import signerwire, walcodec
from node.admission import Door, Fault
from node.config import ConfigError, parse_config
from node.events import LoggedBlock, LoggedOwn, PeerId
from node.hello import check_hello
from node.signer import RECORD_BYTES, GuardError, decode_guard
from tests.fuzz.town import Town

PEER = PeerId(b"p" * 20)
SALT = bytes(walcodec.SALT_BYTES)


@dataclass(frozen=True)
class Target:
    """`feed` either returns or raises one of `allowed`; anything else is a finding."""

    name: str
    seeds: list[bytes]
    feed: Callable[[bytes], object]
    allowed: tuple[type[Exception], ...] = (ValueError,)


def targets(town: Town, seeds: Mapping[str, list[bytes]]) -> list[Target]:
    chain = town.genesis.chain_id
    genesis = town.home.genesis.read_text()
    member = json.loads(genesis)["validators"][0]
    return [
        Target("tx", seeds["tx"], lambda raw: decode_tx(raw, chain), ()),
        Target("block", seeds["block"], lambda raw: decode_block(raw, chain)),
        Target("header", seeds["header"], decode_header),
        Target("commit", seeds["commit"], decode_commit),
        Target("receipt", seeds["receipt"], decode_receipt),
        Target("evidence", [_evidence()], decode_evidence),
        Target("validators", [encode_validators(town.genesis.validators)], decode_validators),
        Target("standings", [encode_standings(_standings())], decode_standings),
        Target("peer message at the door", _peer_messages(town, seeds), _door(town)),
        Target("hello", [_hello(town)], _hello_check(town), ()),
        Target("wal record", [_wal_payload(seeds)], _scan_payload, (walcodec.WalCorruptError,)),
        Target("wal file", seeds["wal"], walcodec.scan, (walcodec.WalCorruptError,)),
        Target("guard", seeds["guard"], _guard, (GuardError,)),
        Target("snapshot offer", seeds["snapshot"] or [_offer(seeds)], decode_offer, (ValueError, SnapshotError)),
        Target("snapshot entries", seeds["chunk"] or [b"\0\0\0\1k\0\0\0\1v"], _entries, (SnapshotError,)),
        Target("config", seeds["config"], _text(parse_config), (ConfigError,)),
        Target("genesis", seeds["genesis"], _text(load_genesis), (GenesisError,)),
        Target("member", [json.dumps(member).encode()], _text(load_member), (GenesisError,)),
        Target("proof", [p[len(PROOF_MAGIC) : -32] for p in seeds["proof"]], _proof(genesis), (VerificationError,)),
        Target("arguments", _arguments(), decode_args),
        Target("sealed key", [json.dumps(seal(b"k" * 32, "w", Cost(1, 8192))).encode()], _sealed, (WalletError,)),
        Target("signer request", _signer_requests(), signerwire.decode_request),
        Target("signer reply", _signer_replies(), signerwire.decode_reply),
        Target("offline orders", [_ORDERS], _text(_clear), (InputFault,)),
    ]


def _text(parse: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda raw: parse(raw.decode("utf-8", "replace"))


_ORDERS = json.dumps(
    {"bids": [{"id": "b", "account": "b", "quantity_wh": 3, "limit_micros_per_kwh": 9}], "asks": []}
).encode()


def _clear(text: str) -> object:
    from gridbft.offline import clear_market

    return clear_market(text)


def _sealed(raw: bytes) -> object:
    try:
        record = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if isinstance(record, dict) and record.get("memory_bytes") != 8192:
        record["memory_bytes"] = "not what a test pays for"
    return unseal(record, "w")


def _proof(genesis: str) -> Callable[[bytes], object]:
    """With the checksum put right, so that what lies behind it is reached."""

    def feed(raw: bytes) -> object:
        body = PROOF_MAGIC + raw
        return verify_proof(body + sha256(body).digest(), genesis)

    return feed


def _guard(raw: bytes) -> object:
    """Once as it is, and once with every whole record's checksum put right."""
    fixed = b""
    for at in range(0, len(raw) - RECORD_BYTES + 1, RECORD_BYTES):
        body = raw[at : at + RECORD_BYTES - 4]
        fixed += body + crc32(body).to_bytes(4, "big")
    decode_guard(fixed, "guard")
    return decode_guard(raw, "guard")


def _scan_payload(raw: bytes) -> object:
    frame = walcodec._FRAME.pack(walcodec.MARKER, len(raw), walcodec._checksum(raw, SALT, walcodec.HEADER_BYTES))
    return walcodec.scan(walcodec.MAGIC + SALT + frame + raw)


def _wal_payload(seeds: Mapping[str, list[bytes]]) -> bytes:
    records = (LoggedOwn(_vote(1)), LoggedOwn(_proposal()), LoggedBlock(Height(1), seeds["block"][0][:200]))
    return walcodec.encode_frame(records, SALT, walcodec.HEADER_BYTES)[walcodec._FRAME.size :]


def _entries(raw: bytes) -> object:
    half = len(raw) // 2
    return list(entries_in([raw[:half], raw[half:]]))


def _vote(byte: int) -> Vote:
    block = BlockId(bytes([byte] * 32))
    return Vote(VoteKind.PREVOTE, Height(3), Round(0), block, ValidatorId(b"v" * 20), bytes(64))


def _proposal() -> Proposal:
    return Proposal(Height(3), Round(1), BlockId(b"b" * 32), Round(-1), ValidatorId(b"v" * 20), bytes(64))


def _evidence() -> bytes:
    return encode_evidence(DoubleVote(_vote(1), _vote(2)))


def _standings() -> dict[ValidatorId, Standing]:
    return {ValidatorId(b"v" * 20): Standing(2, Height(9)), ValidatorId(b"w" * 20): Standing(1, Height(7))}


def _offer(seeds: Mapping[str, list[bytes]]) -> bytes:
    from chain.snapshot import Offer

    header, commit = seeds["header"][0], seeds["commit"][0]
    return encode_offer(Offer(1, header, header, commit, commit, b"", (bytes(32),), 10))


def _arguments() -> list[bytes]:
    values: list[Any] = [[], [1, "a", b"b", True, None], [{"k": [1, 2]}, 2**200, -(2**90)], [[[[]]]], ["x" * 300] * 3]
    return [encode_args(v) for v in values]


def _signer_requests() -> list[bytes]:
    requests = (
        signerwire.WhoAreYou(),
        signerwire.SignMessage(_vote(1)),
        signerwire.SignMessage(_proposal()),
        signerwire.SignHello(bytes(32)),
    )
    return [signerwire.encode_request(r) for r in requests]


def _signer_replies() -> list[bytes]:
    replies = (
        signerwire.Identity(bytes(32), "chain", (1, 2, 3)),
        signerwire.Signature(bytes(64)),
        signerwire.No("refused"),
    )
    return [signerwire.encode_reply(r) for r in replies]


# --- peers


def _peer_messages(town: Town, seeds: Mapping[str, list[bytes]]) -> list[bytes]:
    blocks, commits = seeds["block"][:2], seeds["commit"][:2]
    messages = (
        pb.PeerMessage(txs=pb.TxBatch(txs=seeds["tx"][:3])),
        pb.PeerMessage(votes=pb.VoteBatch(votes=[vote_to_wire(_vote(1)), vote_to_wire(_vote(2))])),
        pb.PeerMessage(proposal=pb.ProposedBlock(proposal=proposal_to_wire(_proposal()), block=blocks[0])),
        pb.PeerMessage(status=pb.PeerStatus(height=3, round=1, step=2, prevotes=b"\x0f", pol_round=-1)),
        pb.PeerMessage(evidence=pb.EvidenceBatch(evidence=[_evidence()])),
        pb.PeerMessage(block_request=pb.BlockRequest(from_height=1, to_height=3)),
        pb.PeerMessage(block_response=pb.BlockResponse(from_height=1, blocks=blocks, commits=commits)),
    )
    return [m.SerializeToString() for m in messages]


def _door(town: Town) -> Callable[[bytes], object]:
    """All of the door that a peer can reach, without threads: nothing in it waits then."""
    door = Door(town.genesis.chain_id, lambda key: None, lambda height: town.genesis.validators, None)

    def feed(raw: bytes) -> object:
        message = door.message(raw)
        if isinstance(message, Fault):
            return message
        match message.WhichOneof("kind"):
            case "txs":
                return _run(door.peer_txs(PEER, message.txs))
            case "votes":
                return _run(door.votes(PEER, message.votes))
            case "proposal":
                return _run(door.proposal(PEER, message.proposal))
            case "status":
                return door.status(PEER, message.status)
            case "evidence":
                return door.evidence(PEER, message.evidence)
            case "block_request":
                return door.block_request(message.block_request)
            case "block_response":
                return door.blocks(PEER, message.block_response)
        return None

    return feed


def _run(work: Coroutine[Any, Any, object]) -> object:
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("the door waits for nothing without threads")


def _hello(town: Town) -> bytes:
    guest = town.guests[0].member
    hello = pb.Hello(chain_id=town.genesis.chain_id, address=guest.id, version=1, signature=bytes(64))
    return pb.PeerMessage(hello=hello).SerializeToString()


def _hello_check(town: Town) -> Callable[[bytes], object]:
    members = {PeerId(g.member.id): g.member for g in town.guests}
    return lambda raw: check_hello(raw, town.genesis.chain_id, members, bytes(32), lambda *_: False)
