"""Validators that lie: the production node underneath, so that they keep up, and tricks on top of what it wants to send.

All that a trick makes goes out as bytes: the receivers' production door decides what becomes of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from chain.block import Block
from chain.wire import encode_commit, proposal_to_wire, vote_to_wire
from consensus.signbytes import proposal_sign_bytes, vote_sign_bytes
from consensus.types import (
    BlockId,
    Commit,
    CommitEntry,
    CommitStatus,
    Height,
    Proposal,
    Round,
    ValidatorId,
    Vote,
    VoteKind,
)
from devnet.simnet.doctored import FORGERIES, spoilt, with_time
from devnet.simnet.doorway import wire
from devnet.simnet.machine import Machine
from devnet.simnet.snapshots import Snapshot, forged
from gridbft.v1 import peer_pb2 as pb
from node.events import Effect, Event, PeerState, ProposalReceived, SendProposal, SendStatus, SendVotes
from node.outgoing import status_to_wire

TRICKS = (
    "equivocate",  # two proposals, two votes
    "amnesia",  # votes for whatever is proposed, whatever it is locked on
    "withhold",  # proposals and votes for some only, blocks without proposals and proposals without blocks
    "split",  # its prevote for a block to one only, so that this one locks it; its precommits to nobody
    "invalid",  # blocks that break a rule
    "times",  # blocks of another time
    "false_proof",  # proposals that claim a proof of lock
    "garbage",  # random bytes, and messages with a few bytes changed
    "heights",  # a height of 10**12, or one that is a little too high; bitmaps that lie
    "forge",  # blocks that nobody decided, and snapshots of a state that never was, served to those who catch up
    "impostor",  # proposals out of turn, proposals and votes in others' names
    "replay",  # blocks with transactions that stand on the chain already
)
SHARE = 0.7  # how often a trick is played where it could be
BOLD = 10**12
FORGED_AT_ONCE = 3


@dataclass(slots=True, eq=False)
class Byzantine(Machine):
    """Its key signs anything; what it signs beyond its own node's messages goes to the witness as well."""

    tricks: tuple[str, ...] = ()

    # --- what the node below wants sent ----------------------------------------------------------------------------

    def _carry_out(self, effect: Effect, queue: deque[Event]) -> None:
        match effect:
            case SendProposal(None, proposal, raw) if proposal.proposer == self.id and self.likes():
                self._propose(effect, proposal, self.world.town.decoded(raw))
            case SendVotes(None, (vote,)) if vote.validator == self.id and self.likes():
                self._vote(effect, vote)
            case SendStatus(to, state):
                self._play_at_ticks()
                if "heights" in self.tricks and self.likes():
                    self._lie(to, state)
                else:
                    Machine._carry_out(self, effect, queue)
            case _:
                Machine._carry_out(self, effect, queue)

    def deliver(self, event: Event) -> None:
        if self.running and isinstance(event, ProposalReceived) and event.proposal.height == self.replica.height:
            if "amnesia" in self.tricks:
                self._abet(event.proposal)
            if "impostor" in self.tricks and event.block is not None and self.likes():
                self._pose(event.proposal, event.block)
        Machine.deliver(self, event)

    def likes(self) -> bool:
        return self.world.random.random() < SHARE

    # --- proposals -------------------------------------------------------------------------------------------------

    def _propose(self, effect: SendProposal, proposal: Proposal, block: Block) -> None:
        plays: dict[str, Callable[[Proposal, Block], None]] = {
            "equivocate": self._propose_two,
            "withhold": self._propose_to_some,
            "split": self._propose_to_most,
            "invalid": lambda p, b: self.offer(p, spoilt(self, b), self.others),
            "times": lambda p, b: self.offer(p, self._untimely(b), self.others),
            "false_proof": self._claim_proof,
            "replay": self._replay,
        }
        wanted = [trick for trick in self.tricks if trick in plays]
        if not wanted:
            Machine._carry_out(self, effect, deque())
            return
        claims = "false_proof" in wanted and proposal.round > 0
        trick = "false_proof" if claims else self.world.random.choice(wanted)
        self.world.note(self, f"plays {trick}")
        plays[trick](proposal, block)

    def _propose_two(self, proposal: Proposal, block: Block) -> None:
        one, rest = self._split()
        rival = with_time(block, block.header.time_ms + 1)
        self.world.plot[proposal.height, proposal.round] = proposal.block_id, rival.id
        self.offer(proposal, block, one)
        self.offer(proposal, rival, rest)
        if self.world.random.random() < 0.3:
            self.offer(proposal, rival, one)

    def _propose_to_some(self, proposal: Proposal, block: Block) -> None:
        one, rest = self._split()
        self.offer(proposal, block, one)
        if self.likes():
            self.send_bytes(rest, wire(proposal=pb.ProposedBlock(proposal=proposal_to_wire(proposal))))

    def _propose_to_most(self, proposal: Proposal, block: Block) -> None:
        left_out = self.world.random.choice(self.others)
        self.offer(proposal, block, [m for m in self.others if m is not left_out])

    def _untimely(self, block: Block) -> Block:
        far = self.world.random.choice((-3_600_000, -60_000, -10_000, 60_000, 3_600_000, 10**11))
        return with_time(block, max(1, block.header.time_ms + far))

    def _claim_proof(self, proposal: Proposal, block: Block) -> None:
        if proposal.round == 0:
            self._propose_to_most(proposal, block)
            return
        fresh = with_time(block, self.clock_ms + 7)
        pol_round = Round(proposal.round - 1)
        self.offer(replace(proposal, pol_round=pol_round), fresh, self.others)

    def _replay(self, proposal: Proposal, block: Block) -> None:
        height = self.world.random.choice(sorted(self.world.checkers.chain) or [0])
        raw = self.ledger.store.block_bytes(height) if height else None
        txs = self.world.town.decoded(raw).txs if raw is not None else ()
        self.offer(proposal, FORGERIES["transactions"](self, block, (*block.txs, *txs, *block.txs)), self.others)

    def _pose(self, seen: Proposal, block: Block) -> None:
        """Out of turn in its own name, or in the proposer's name without its signature."""
        rival = with_time(block, block.header.time_ms + 3)
        if self.world.random.random() < 0.5:
            mine = FORGERIES["proposer"](self, rival, self.id)
            self.offer(replace(seen, proposer=self.id, pol_round=Round(-1)), mine, self.others)
            return
        forged = replace(seen, block_id=rival.id, pol_round=Round(-1), signature=self.world.random.randbytes(64))
        message = pb.ProposedBlock(proposal=proposal_to_wire(forged), block=rival.raw)
        self.send_bytes(self.others, wire(proposal=message))
        votes = [
            Vote(kind, seen.height, seen.round, rival.id, other, self.world.random.randbytes(64))
            for kind in VoteKind
            for other in self.world.town.ids
        ]
        self.send_bytes(self.others, wire(votes=pb.VoteBatch(votes=[vote_to_wire(v) for v in votes])))

    def _pose_first(self) -> None:
        """Before the proposer has said anything: a block in its own name or, without the signature, in the proposer's."""
        height, turns = self.ledger_height, self.ledger.system.turns
        proposer = turns.proposer(Round(0))
        if self.replica.height != self.ledger.head.height + 1 or proposer == self.id:
            return
        block = self.ledger.propose((), (), self.clock_ms, self.id)
        if self.world.random.random() < 0.5:
            self.offer(Proposal(height, Round(0), block.id, Round(-1), self.id), block, self.others)
            return
        block = FORGERIES["proposer"](self, block, proposer)
        signature = self.world.random.randbytes(64)
        forged = Proposal(height, Round(0), block.id, Round(-1), proposer, signature)
        message = pb.ProposedBlock(proposal=proposal_to_wire(forged), block=block.raw)
        self.send_bytes(self.others, wire(proposal=message))

    # --- votes -----------------------------------------------------------------------------------------------------

    def _vote(self, effect: SendVotes, vote: Vote) -> None:
        one, rest = self._split()
        plot = self.world.plot.get((vote.height, vote.round))
        if "equivocate" in self.tricks and plot is not None and self.world.options.adversary_third:
            self.send_votes(one, self.signed_vote(replace(vote, block_id=plot[0])))
            self.send_votes(rest, self.signed_vote(replace(vote, block_id=plot[1])))
        elif "equivocate" in self.tricks:
            other = None if vote.block_id is not None else self._some_block(vote)
            rival = self.signed_vote(replace(vote, block_id=other))
            self.send_votes(one, vote)
            self.send_votes(rest, rival)
            if self.world.calm or self.world.random.random() < 0.5:  # for all to see
                self.send_votes(one, rival)
                self.send_votes(rest, vote)
        elif "split" in self.tricks and vote.block_id is not None:
            if vote.kind is VoteKind.PREVOTE:
                self.send_votes([self.world.random.choice(self.others)], vote)
        elif "withhold" in self.tricks:
            self.send_votes(one, vote)
        else:
            Machine._carry_out(self, effect, deque())

    def _some_block(self, vote: Vote) -> BlockId:
        known = [b for (h, _, _), said in self.world.witness.proposals.items() if h == vote.height for b, _ in said]
        return BlockId(self.world.random.choice(known)) if known else BlockId(self.world.random.randbytes(32))

    def _abet(self, proposal: Proposal) -> None:
        for kind in VoteKind:
            vote = Vote(kind, proposal.height, proposal.round, proposal.block_id, self.id)
            self.send_votes(self.others, self.signed_vote(vote))

    # --- at ticks --------------------------------------------------------------------------------------------------

    def _play_at_ticks(self) -> None:
        if "garbage" in self.tricks:
            self.send_bytes([self.world.random.choice(self.others)], self._garbage())
        if "impostor" in self.tricks and self.likes():
            self._pose_first()
            far = Vote(
                VoteKind.PRECOMMIT, self.ledger_height, Round(self.world.random.choice((9, 10**6))), None, self.id
            )
            self.send_votes(self.others, self.signed_vote(far))
        if "forge" in self.tricks and self.likes():
            first = self.world.random.choice((1, self.replica.height))
            self.send_bytes(self.others, self._forged_blocks(max(first, 1)))

    @property
    def ledger_height(self) -> Height:
        return Height(self.replica.height)

    def _garbage(self) -> bytes:
        random = self.world.random
        if random.random() < 0.3:
            return random.randbytes(random.choice((0, 1, 7, 200)))
        vote = self.signed_vote(Vote(VoteKind.PREVOTE, self.ledger_height, Round(0), None, self.id))
        whole = random.choice(
            (
                wire(votes=pb.VoteBatch(votes=[vote_to_wire(vote)])),
                wire(status=pb.PeerStatus(height=3, round=2, pol_round=-1, prevotes=b"\xff" * 200)),
                wire(block_request=pb.BlockRequest(from_height=5, to_height=2)),
                wire(txs=pb.TxBatch(txs=[self.world.town.tx(0).raw])),
                wire(evidence=pb.EvidenceBatch(evidence=[random.randbytes(40)])),
                self._forged_blocks(1),
            )
        )
        changed = bytearray(whole)
        for _ in range(random.randint(0, 3)):
            changed[random.randrange(len(changed))] = random.randrange(256)
        return bytes(changed)

    def _lie(self, to: ValidatorId | None, state: PeerState) -> None:
        random = self.world.random
        claimed = random.choice((BOLD, 2**63 - 1, state.height + 1, state.height + 3, 0))
        lie = replace(state, height=claimed, prevotes=random.getrandbits(8), precommits=random.getrandbits(8))
        whom = self.others if to is None else [m for m in self.others if m.id == to]
        self.send_bytes(whom, wire(status=status_to_wire(lie)))

    # --- blocks that nobody decided --------------------------------------------------------------------------------

    def serve(self, asker: Machine, first: int, last: int) -> None:
        if "forge" in self.tricks and self.likes():
            self.send_bytes([asker], self._forged_blocks(first))
        elif "withhold" not in self.tricks or not self.likes():
            Machine.serve(self, asker, first, last)

    def offered(self) -> Snapshot | None:
        true = Machine.offered(self)
        return forged(self, true) if true is not None and "forge" in self.tricks and self.likes() else true

    def _forged_blocks(self, first: int) -> bytes:
        """From `first` on: what was decided, or what would follow, a little changed; with a certificate of its own make."""
        response = pb.BlockResponse(from_height=first)
        for height in range(first, first + FORGED_AT_ONCE):
            raw = self.ledger.store.block_bytes(height)
            if raw is None and height != self.ledger.head.height + 1:
                break
            block = (
                self.world.town.decoded(raw) if raw is not None else self.ledger.propose((), (), self.clock_ms, self.id)
            )
            block = with_time(block, block.header.time_ms + 2)
            response.blocks.append(block.raw)
            response.commits.append(encode_commit(self.false_commit(block)))
        return wire(block_response=response)

    def false_commit(self, block: Block) -> Commit:
        random, ids = self.world.random, self.world.town.ids
        height, round_ = block.header.height, Round(0)
        mine = self.signed_vote(Vote(VoteKind.PRECOMMIT, height, round_, block.id, self.id)).signature
        absent = tuple(CommitEntry(CommitStatus.ABSENT, i) for i in ids)
        style = random.choice(("one signer often", "one signature often", "alone", "random"))
        if style == "one signer often":
            entries = tuple(CommitEntry(CommitStatus.COMMIT, self.id, mine) for _ in ids)
        elif style == "one signature often":
            entries = tuple(CommitEntry(CommitStatus.COMMIT, i, mine) for i in ids)
        elif style == "alone":
            entries = tuple(
                CommitEntry(CommitStatus.COMMIT, i, mine) if i == self.id else a
                for i, a in zip(ids, absent, strict=True)
            )
        else:
            entries = tuple(CommitEntry(CommitStatus.COMMIT, i, random.randbytes(64)) for i in ids)
        return Commit(height, round_, block.id, entries)

    # --- signing and sending ---------------------------------------------------------------------------------------

    @property
    def others(self) -> list[Machine]:
        return [m for m in self.world.machines if m.id != self.id]

    def _split(self) -> tuple[list[Machine], list[Machine]]:
        """Into two parts, by chance; those who are enough to fork the chain have agreed on the parts."""
        if self.world.options.adversary_third:
            one = [m for m in self.others if m.index % 2 == 0]
        else:
            one = [m for m in self.others if self.world.random.random() < 0.5]
        return one, [m for m in self.others if m not in one]

    def offer(self, proposal: Proposal, block: Block, to: list[Machine]) -> None:
        unsigned = replace(proposal, block_id=block.id, signature=b"")
        signature = self._sign(proposal_sign_bytes(self.world.genesis.chain_id, unsigned))
        signed = unsigned.signed(signature)
        self.world.witness.proposal(signed)
        self.world.witness.heard.add(signed.signature)
        self.send_bytes(to, wire(proposal=pb.ProposedBlock(proposal=proposal_to_wire(signed), block=block.raw)))

    def signed_vote(self, vote: Vote) -> Vote:
        unsigned = vote.signed(b"")
        return unsigned.signed(self._sign(vote_sign_bytes(self.world.genesis.chain_id, unsigned)))

    def send_votes(self, to: list[Machine], vote: Vote) -> None:
        self.world.witness.vote(vote)
        self.world.witness.heard.add(vote.signature)
        self.send_bytes(to, wire(votes=pb.VoteBatch(votes=[vote_to_wire(vote)])))

    def send_bytes(self, to: list[Machine], raw: bytes) -> None:
        for machine in to:
            self.world.pass_raw(self, machine, raw)

    def _sign(self, message: bytes) -> bytes:
        return self.world.town.sign(self.world.town.ids.index(self.id), message)
