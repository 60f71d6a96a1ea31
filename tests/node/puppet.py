"""One replica on a real ledger, driven by hand: the test plays the other validators, the disk and the clock."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any

from chain.block import Block
from chain.ledger import Ledger
from chain.tx import Tx
from consensus.signbytes import proposal_sign_bytes, vote_sign_bytes
from consensus.types import NO_ROUND, BlockId, Proposal, Round, ValidatorId, Vote, VoteKind
from contracts.runtime.engine import MeteredRuntime
from node.ed25519 import verify
from node.events import (
    Apply,
    BlockApplied,
    BlocksReceived,
    Effect,
    Event,
    LogRecord,
    PeerId,
    PeerState,
    PeerUp,
    Persist,
    ProposalReceived,
    SendProposal,
    SendVotes,
    SetTimer,
    Sign,
    Signed,
    StatusReceived,
    Timer,
    TimerFired,
    VotesReceived,
)
from node.recovery import started
from node.replica import Replica, ReplicaConfig
from tests.chain.network import Chain, genesis


class Puppet:
    """`me` is the position of the replica's validator among those of height 1, in the order of their ids."""

    def __init__(self, me: int = 0, chain: Chain | None = None) -> None:
        self.chain = chain or Chain(genesis())
        self.ids = [v.id for v in self.chain.ledger.system.validators.validators]
        self.me = self.ids[me]
        self.others = [i for i in self.ids if i != self.me]
        self.now_ms = self.chain.genesis.time_ms + 1_000
        self.log: list[LogRecord] = []
        self.effects: list[Effect] = []
        self.start()

    def start(self) -> None:
        """Also again, from what was logged."""
        self.ledger = self.chain.ledger = Ledger(self.chain.kv, MeteredRuntime(), self.chain.genesis, verify)
        self.replica = Replica(self.ledger, self.me, ReplicaConfig(warm_up_height=0))
        self.effects.clear()
        self.feed(started(self.log, self.ledger.head.height + 1))
        for other in self.others:
            self.feed(PeerUp(PeerId(other)))

    def feed(self, *events: Event) -> None:
        """As a host does it: signatures and applied blocks belong to the event that asked for them."""
        queue: deque[Event] = deque(events)
        while queue:
            for effect in self.replica.handle(queue.popleft(), self.now_ms):
                self.effects.append(effect)
                match effect:
                    case Persist(records):
                        self.log += records
                    case Sign(message):
                        queue.append(Signed(self.signed(message)))
                    case Apply(block, commit):
                        queue.appendleft(BlockApplied(block, self.ledger.apply(block, commit)))
                    case _:
                        pass

    def signed(self, message: Any) -> Any:
        """A vote or a proposal by the key of whoever it names."""
        chain_id = self.chain.genesis.chain_id
        if isinstance(message, Vote):
            who, raw = message.validator, vote_sign_bytes(chain_id, message)
        else:
            who, raw = message.proposer, proposal_sign_bytes(chain_id, message)
        return replace(message, signature=self.chain.keys[who].sign(raw).signature)

    # --- what the others say ----------------------------------------------------------------------------------------

    def proposer(self, round_: int = 0) -> ValidatorId:
        return self.ledger.system.turns.proposer(Round(round_))

    def block(self, *txs: Tx, proposer: ValidatorId | None = None, later_ms: int = 0) -> Block:
        by = proposer or self.proposer()
        return self.ledger.propose(txs, (), self.now_ms + later_ms, by)

    def propose(self, block: Block, round_: int = 0, pol_round: int = NO_ROUND) -> None:
        by = self.proposer(round_)
        offer = Proposal(block.header.height, Round(round_), block.id, Round(pol_round), by)
        self.feed(ProposalReceived(PeerId(by), self.signed(offer), block))

    def vote(self, kind: VoteKind, block_id: BlockId | None, *who: ValidatorId, round_: int = 0) -> None:
        height = self.replica._machine.height
        for voter in who:
            vote = self.signed(Vote(kind, height, Round(round_), block_id, voter))
            self.feed(VotesReceived(PeerId(voter), (vote,)))

    def status(self, peer: ValidatorId, state: PeerState) -> None:
        self.feed(StatusReceived(PeerId(peer), state))

    def fire(self, kind: str, round_: int = 0) -> None:
        self.feed(TimerFired(Timer(kind, self.replica.height, round_)))

    def sync(self, *txs: Tx) -> Block:
        """The others decided a block with these transactions, and the replica fetches it."""
        block, peer = self.chain.propose(*txs), self.others[0]
        commit = self.chain.commit(block)
        self.status(peer, at_height(block.header.height + 2))
        self.feed(BlocksReceived(PeerId(peer), ((block, commit),)))
        assert self.ledger.head.block_id == block.id, "the replica took the block"
        return block

    # --- what it did ------------------------------------------------------------------------------------------------

    def own_votes(self) -> list[tuple[VoteKind, int, BlockId | None]]:
        votes = [v for e in self.effects if isinstance(e, SendVotes) for v in e.votes]
        return [(v.kind, v.round, v.block_id) for v in votes if v.validator == self.me]

    def proposals(self) -> list[SendProposal]:
        return [e for e in self.effects if isinstance(e, SendProposal) and e.proposal.proposer == self.me]

    def timers(self) -> list[Timer]:
        return [e.timer for e in self.effects if isinstance(e, SetTimer)]


def at_height(height: int) -> PeerState:
    return PeerState(height, 0, 0, 0, 0, False, NO_ROUND, 0, 1)
