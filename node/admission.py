"""The door: bytes from clients and peers become checked values here, or a fault. Whatever comes in, nothing is raised.

What has passed is trusted further in because it was checked once: sizes, encodings, and every signature.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice

from google.protobuf.message import DecodeError

from chain.block import Block, decode_block
from chain.evidence import MAX_BYTES as MAX_EVIDENCE_BYTES
from chain.evidence import MAX_IN_BLOCK
from chain.refusal import Code, Refusal
from chain.tx import SignedBytes, Tx, decode_tx
from chain.wire import decode_commit, proposal_from_wire, vote_from_wire
from consensus.signbytes import proposal_sign_bytes, vote_sign_bytes
from consensus.state import Step
from consensus.types import Commit, Height, Proposal, ValidatorSet, Vote
from gridbft.v1 import chain_pb2 as chain_pb
from gridbft.v1 import peer_pb2 as pb
from node.ed25519 import verify_in
from node.events import (
    BlocksReceived,
    EvidenceReceived,
    Memory,
    MemoryReceived,
    PeerId,
    PeerState,
    ProposalReceived,
    StatusReceived,
    TxsReceived,
    VotesReceived,
)
from node.stages import PROCESS

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
MAX_TXS = 4_000  # in one message
MAX_VOTES = 4_096
MAX_PROPOSALS = 64  # of one validator at one height, as many as rounds are remembered
MAX_BITMAP_BYTES = 128  # one bit for each of at most 1,024 validators
MAX_SERVED_BLOCKS = 50
MAX_SERVED_BYTES = 4 * 1024 * 1024
MAX_STEP = max(Step)
RECENT_TXS = 20_000
FORGOTTEN_AT_ONCE = 2_000
# The largest ones would otherwise take gigabytes, and any client may send them. Each holds its bytes twice (its calls are copies).
RECENT_TX_BYTES = 16 * 1024 * 1024
RECENT_VOTES = 8_192

BAD_SIGNATURE = Refusal(Code.BAD_SIGNATURE, "the signature is not right for this body and key: sign it again")


@dataclass(frozen=True, slots=True)
class Fault:
    """A peer sent what no correct node sends."""

    reason: str


@dataclass(frozen=True, slots=True)
class HeightRange:
    """What a peer asks for: both ends included, at most MAX_SERVED_BLOCKS of them."""

    first: int
    last: int


Admitted = (
    EvidenceReceived | TxsReceived | VotesReceived | MemoryReceived | ProposalReceived | StatusReceived | BlocksReceived
)
Validators = Callable[[int], ValidatorSet | None]
"""Who may vote at a height; None where that is not known now."""


class Door:
    """`known` gives a transaction that this node verified before, by its envelope's key. Without a pool, signatures are
    checked at once: no method then waits for anything."""

    def __init__(
        self, chain_id: str, known: Callable[[bytes], Tx | None], validators: Validators, pool: Executor | None
    ) -> None:
        self._chain_id = chain_id
        self._mempool_knows = known
        self._validators = validators
        self._pool = pool
        # Between the check and the mempool, and after a block took it: a transaction comes once from each peer.
        self._recent_txs: dict[bytes, Tx] = {}
        self._recent_tx_bytes = 0
        self._recent_votes: OrderedDict[bytes, None] = OrderedDict()

    # --- transactions ---------------------------------------------------------------------------------------------

    def known(self, key: bytes) -> Tx | None:
        return self._recent_txs.get(key) or self._mempool_knows(key)

    async def txs(self, raw_txs: Sequence[bytes]) -> list[Tx | Refusal]:
        """A checked transaction or why not, for each, in order."""
        with PROCESS.measured("admission"):
            results, places, unchecked = self._decoded(raw_txs)
        right = await verify_in(self._pool, unchecked)
        with PROCESS.measured("admission"):
            if not all(right):
                for place, is_right in zip(places, right, strict=True):
                    if not is_right:
                        results[place] = BAD_SIGNATURE
            self._remember([tx for place in places if isinstance(tx := results[place], Tx)])
        return results

    def _decoded(self, raw_txs: Sequence[bytes]) -> tuple[list[Tx | Refusal], list[int], list[SignedBytes]]:
        """Decoded transactions and refusals, with the places and the signatures of those that are still to be checked."""
        results: list[Tx | Refusal] = []
        places: list[int] = []
        unchecked: list[SignedBytes] = []
        recent, in_mempool, chain_id = self._recent_txs.get, self._mempool_knows, self._chain_id
        for raw in raw_txs:
            key = sha256(b"\x00" + raw).digest()  # chain.tx.envelope_key, for every transaction
            tx = recent(key) or in_mempool(key)
            if tx is not None:
                results.append(tx)
                continue
            decoded = decode_tx(raw, chain_id, key)
            if isinstance(decoded, Refusal):
                results.append(decoded)
                continue
            tx, signed = decoded
            places.append(len(results))
            results.append(tx)
            unchecked.append(signed)
        return results, places, unchecked

    def _remember(self, txs: Iterable[Tx]) -> None:
        recent = self._recent_txs
        for tx in txs:
            key = tx.key
            if key not in recent:
                recent[key] = tx
                self._recent_tx_bytes += len(tx.raw)
        if len(recent) > RECENT_TXS or self._recent_tx_bytes > RECENT_TX_BYTES:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        """Some more than it must, so that it is not at work again for the next one."""
        recent = self._recent_txs
        kept = RECENT_TXS - FORGOTTEN_AT_ONCE if len(recent) > RECENT_TXS else RECENT_TXS
        while len(recent) > kept or self._recent_tx_bytes > RECENT_TX_BYTES:
            for key in list(islice(recent, FORGOTTEN_AT_ONCE)):
                if len(recent) <= kept and self._recent_tx_bytes <= RECENT_TX_BYTES:
                    break
                self._recent_tx_bytes -= len(recent.pop(key).raw)

    async def peer_txs(self, peer: PeerId, batch: pb.TxBatch) -> TxsReceived | Fault:
        """Correct peers pass on only what they checked, so one bad transaction condemns the batch."""
        if len(batch.txs) > MAX_TXS:
            return Fault(f"{len(batch.txs)} transactions in one message")
        results = await self.txs(batch.txs)
        txs = tuple([r for r in results if isinstance(r, Tx)])
        if len(txs) != len(results):
            first = next(r for r in results if isinstance(r, Refusal))
            return Fault(f"a transaction that is refused: {first.code}")
        return TxsReceived(txs, peer=peer)

    # --- what peers say -------------------------------------------------------------------------------------------

    @staticmethod
    def message(raw: bytes) -> pb.PeerMessage | Fault:
        if len(raw) > MAX_MESSAGE_BYTES:
            return Fault(f"a message of {len(raw)} bytes")
        message = pb.PeerMessage()
        try:
            message.ParseFromString(raw)
        except DecodeError:
            return Fault("bytes that are no message")
        return message

    async def votes(self, peer: PeerId, batch: pb.VoteBatch) -> VotesReceived | MemoryReceived | Fault:
        """Votes of validators that are not known at their height are left out: whether they are, one cannot tell yet."""
        votes = await self._known_votes(batch)
        if isinstance(votes, Fault):
            return votes
        if not batch.recalled_height:
            return VotesReceived(peer, votes)
        proposals = await self._known_proposals(batch.recalled_proposals)
        if isinstance(proposals, Fault):
            return proposals
        return MemoryReceived(peer, Memory(Height(batch.recalled_height), votes, proposals))

    async def _known_votes(self, batch: pb.VoteBatch) -> tuple[Vote, ...] | Fault:
        if len(batch.votes) > MAX_VOTES:
            return Fault(f"{len(batch.votes)} votes in one message")
        try:
            votes = [vote_from_wire(v) for v in batch.votes]
        except ValueError as error:
            return Fault(f"a malformed vote: {error}")
        kept: list[Vote] = []
        unchecked: list[SignedBytes] = []
        fresh: list[bytes] = []
        for vote in votes:
            validators = self._validators(vote.height)
            member = None if validators is None else validators.get(vote.validator)
            if member is None:
                continue
            kept.append(vote)
            signed = SignedBytes(member.public_key, vote_sign_bytes(self._chain_id, vote), vote.signature)
            mark = sha256(signed.public_key + signed.signature + signed.message).digest()
            if mark not in self._recent_votes:
                unchecked.append(signed)
                fresh.append(mark)
        if not all(await verify_in(self._pool, unchecked)):
            return Fault("a vote with a wrong signature")
        for mark in fresh:
            self._recent_votes[mark] = None
        while len(self._recent_votes) > RECENT_VOTES:
            self._recent_votes.popitem(last=False)
        return tuple(kept)

    async def _known_proposals(self, wires: Sequence[chain_pb.Proposal]) -> tuple[Proposal, ...] | Fault:
        if len(wires) > MAX_PROPOSALS:
            return Fault(f"{len(wires)} proposals in one message")
        checked = [await self._known_proposal(wire) for wire in wires]
        fault = next((p for p in checked if isinstance(p, Fault)), None)
        return fault or tuple(p for p in checked if isinstance(p, Proposal))

    async def _known_proposal(self, wire: chain_pb.Proposal) -> Proposal | Fault | None:
        try:
            proposal = proposal_from_wire(wire)
        except ValueError as error:
            return Fault(f"a malformed proposal: {error}")
        validators = self._validators(proposal.height)
        proposer = None if validators is None else validators.get(proposal.proposer)
        if proposer is None:
            return None
        signed = SignedBytes(proposer.public_key, proposal_sign_bytes(self._chain_id, proposal), proposal.signature)
        if not all(await verify_in(self._pool, [signed])):
            return Fault("a proposal with a wrong signature")
        return proposal

    async def proposal(self, peer: PeerId, message: pb.ProposedBlock) -> ProposalReceived | Fault | None:
        """None where the proposer is not known at that height. Every signature in the block is checked here."""
        proposal = await self._known_proposal(message.proposal)
        if proposal is None or isinstance(proposal, Fault):
            return proposal
        if not message.block:
            return ProposalReceived(peer, proposal, None)
        block = await self._proposed_block(proposal, message.block)
        return block if isinstance(block, Fault) else ProposalReceived(peer, proposal, block)

    async def _proposed_block(self, proposal: Proposal, raw: bytes) -> Block | Fault:
        try:
            with PROCESS.measured("consensus"):
                block, unchecked = decode_block(raw, self._chain_id, self.known)
        except ValueError as error:
            return Fault(f"a malformed block: {error}")
        if block.id != proposal.block_id or block.header.height != proposal.height:
            return Fault("a block that is not the proposed one")
        if not all(await verify_in(self._pool, unchecked)):
            return Fault("a block with a transaction whose signature is wrong")
        if unchecked:
            self._remember(block.txs)
        return block

    @staticmethod
    def status(peer: PeerId, message: pb.PeerStatus) -> StatusReceived | Fault:
        bitmaps = (message.prevotes, message.precommits, message.pol_prevotes)
        if any(len(bitmap) > MAX_BITMAP_BYTES for bitmap in bitmaps):
            return Fault("a bitmap for more validators than there can be")
        if message.height > 2**63 - 1 or message.round > 2**31 - 1 or message.step > MAX_STEP or message.pol_round < -1:
            return Fault("a status whose numbers are out of range")
        prevotes, precommits, pol_prevotes = (int.from_bytes(bitmap, "little") for bitmap in bitmaps)
        state = PeerState(
            height=message.height,
            round=message.round,
            step=message.step,
            prevotes=prevotes,
            precommits=precommits,
            has_proposal=message.has_proposal,
            pol_round=message.pol_round,
            pol_prevotes=pol_prevotes,
            earliest_height=message.earliest_height,
            silent=message.silent,
        )
        return StatusReceived(peer, state)

    @staticmethod
    def evidence(peer: PeerId, message: pb.EvidenceBatch) -> EvidenceReceived | Fault:
        """Sizes only: whether it proves anything depends on the chain, and the replica knows that."""
        if len(message.evidence) > MAX_IN_BLOCK or any(len(raw) > MAX_EVIDENCE_BYTES for raw in message.evidence):
            return Fault("more evidence than a message may hold")
        return EvidenceReceived(peer, tuple(message.evidence))

    @staticmethod
    def block_request(message: pb.BlockRequest) -> HeightRange | Fault:
        first, last = message.from_height, message.to_height
        if not 1 <= first <= last <= 2**63 - 1:
            return Fault(f"a request for the blocks {first} to {last}")
        return HeightRange(first, min(last, first + MAX_SERVED_BLOCKS - 1))

    def blocks(self, peer: PeerId, message: pb.BlockResponse) -> BlocksReceived | Fault:
        """Decoded only: what was decided, a full check of each commit will say."""
        if len(message.blocks) != len(message.commits) or len(message.blocks) > MAX_SERVED_BLOCKS:
            return Fault(f"a response of {len(message.blocks)} blocks with {len(message.commits)} commits")
        if sum(map(len, message.blocks)) > MAX_MESSAGE_BYTES:
            return Fault("a response of too many bytes")
        pairs: list[tuple[Block, Commit]] = []
        try:
            for offset, (raw_block, raw_commit) in enumerate(zip(message.blocks, message.commits, strict=True)):
                block, _ = decode_block(raw_block, self._chain_id, self.known)
                if block.header.height != message.from_height + offset:
                    return Fault("a response whose blocks do not follow one another")
                pairs.append((block, decode_commit(raw_commit)))
        except ValueError as error:
            return Fault(f"a malformed block or commit: {error}")
        return BlocksReceived(peer, tuple(pairs))
