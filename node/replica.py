"""A validator (or observer) as a pure object: events in, effects out. It decides what to do; a host does it.

It owns the consensus machine of the height at hand, the intake of transactions, and what it knows of its peers. It reads the ledger,
but only the host changes it, by carrying out `Apply`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import assert_never

from chain.block import Block, decode_block
from chain.evidence import MAX_IN_BLOCK, decode_evidence, encode_evidence
from chain.ledger import Ledger
from chain.mempool import Limits, Mempool
from chain.tx import Tx, governs
from consensus import effects as machine_effects
from consensus import events as machine_events
from consensus.evidence import double_proposal, double_vote, offender
from consensus.gossip import standpoint, votes_into
from consensus.lock import LockRecord
from consensus.machine import State, fullest_commit, new_height, step
from consensus.state import AT_DECIDED, AT_NEW, AT_PROPOSE, find_voice
from consensus.timeouts import Timeouts, TimerKind
from consensus.types import Commit, Height, Proposal, Round, ValidatorId, ValidatorSet, Vote
from node.catchup import Catchup
from node.caution import Caution
from node.clockwatch import ClockWatch
from node.early import EarlyMessages
from node.events import (
    Apply,
    BlockApplied,
    BlocksReceived,
    Effect,
    Event,
    EvidenceReceived,
    LoggedHeard,
    LoggedLock,
    LoggedOwn,
    LogRecord,
    MemoryReceived,
    PeerDown,
    PeerId,
    PeerState,
    PeerUp,
    Penalise,
    Persist,
    ProposalReceived,
    Report,
    SendEvidence,
    SendProposal,
    SendStatus,
    SendVotes,
    SetTimer,
    Sign,
    Signed,
    SignRefused,
    Started,
    StatusReceived,
    Timer,
    TimerFired,
    TxsReceived,
    VotesReceived,
)
from node.faults import FaultPool
from node.heightblocks import HeightBlocks
from node.intake import Intake
from node.lockcodec import decode_lock, encode_lock
from node.telling import Telling

BEGIN, TICK, ABSENT = "begin", "tick", "absent"
NAMES = {kind: kind.name.lower() for kind in TimerKind}
KINDS = {name: kind for kind, name in NAMES.items()}
READY_LAG = 5  # heights


@dataclass(frozen=True, slots=True)
class ReplicaConfig:
    """All in milliseconds. Not part of what the chain agrees on."""

    timeouts: Timeouts = Timeouts()
    heartbeat_ms: int = 10_000  # an idle chain makes an empty block this often
    proof_block_ms: int = 500  # a block that vouches for the last one's outcome comes at the latest after this
    tick_ms: int = 250
    settle_ms: int = 200  # what a peer lacks may still be on its way; only later is it sent again
    relay_again_ms: int = 5_000
    warm_up_height: int = 3  # a new chain does not wait for heartbeats up to here
    caution_ms: int = 6_000  # a silent validator rejoins a height that stands still for it after this (node.caution)
    mempool: Limits = field(default_factory=Limits)


class Replica:
    """`me` None is an observer: it follows, checks and serves, and never signs. `last_signed` is the last height in the
    signer's guard (0: it is empty); None trusts that this disk forgot nothing."""

    def __init__(
        self, ledger: Ledger, me: ValidatorId | None, config: ReplicaConfig, last_signed: int | None = None
    ) -> None:
        self._ledger = ledger
        self._me = me
        self._config = config
        self._intake = Intake(ledger, config.mempool, config.relay_again_ms)
        self.peers: dict[PeerId, PeerState | None] = {}
        self._catchup = Catchup()
        self._early = EarlyMessages()
        self._caution = Caution(me, last_signed, config.caution_ms)
        self._telling = Telling(config.settle_ms)
        self._clocks = ClockWatch()
        self._faults = FaultPool(ledger.evidence_fault)
        self._machine = self._fresh_machine()
        self._previous: State | None = None
        self._told: tuple[State, PeerState] | None = None  # what peers were told of which state
        self._blocks = HeightBlocks()
        self._applying = False
        self._to_recall: tuple[Vote, ...] = ()  # votes of the log that the machine has not been given back yet
        self._unsigned = 0  # own messages of before a restart that the signer has not given back yet
        self._now_ms = 0
        self._due_ms = 0  # when the next height begins at the latest
        self._out: list[Effect] = []

    # --- what hosts may look at -----------------------------------------------------------------------------------

    @property
    def mempool(self) -> Mempool:
        return self._intake.mempool

    @property
    def height(self) -> int:
        """The height being decided."""
        return self._machine.setup.height

    @property
    def round(self) -> int:
        return max(self._machine.round, 0)

    @property
    def clock_offset_ms(self) -> int | None:
        """Other proposers' clocks minus ours; None while nobody's is known."""
        return self._clocks.offset_ms

    @property
    def is_voting(self) -> bool:
        """Whether this node takes part in deciding the height at hand."""
        me = self._machine.setup.me
        return me is not None and me in self._machine.validators.index and self._caution.settled

    @property
    def is_behind(self) -> bool:
        """Whether somebody says that the height being decided is decided already, and the next one too."""
        return any(state is not None and state.height > self.height + 1 for state in self.peers.values())

    @property
    def is_ready(self) -> bool:
        """Whether clients are served well here: enough members are connected to decide, and no third of the power says that
        it is far ahead (a single liar must not take a node out of service)."""
        validators = self._machine.validators
        ahead = [p for p, s in self.peers.items() if s is not None and s.height > self.height + READY_LAG]
        return self._reaches_quorum() and not validators.is_third(sum(map(validators.power_of, ahead)))

    def known_tx(self, key: bytes) -> Tx | None:
        """A transaction by its envelope digest, if its signature was checked already."""
        return self.mempool.known(key)

    def validators_at(self, height: int) -> ValidatorSet | None:
        """Who may vote at a height, as far as that is known and of interest now."""
        system = self._ledger.system
        return {
            system.height: system.last_validators,
            system.height + 1: system.validators,
            system.height + 2: system.next_validators,
        }.get(height)

    # --- one way in -----------------------------------------------------------------------------------------------

    def handle(self, event: Event, now_ms: int) -> list[Effect]:
        """What to do about an event, in order. `now_ms` is Unix time by the host's clock."""
        self._now_ms = now_ms
        self._out = []
        self._dispatch(event)
        return self._out

    def _dispatch(self, event: Event) -> None:
        match event:
            case VotesReceived(peer, votes):
                self._on_votes(peer, votes)
            case StatusReceived(peer, state):
                self._on_status(peer, state)
            case TxsReceived():
                effects, is_new = self._intake.take(event, self.height)
                self._out += effects
                if is_new:
                    self._begin_if_wanted()
            case TimerFired(timer):
                self._on_timer(timer)
            case Signed(message):
                self._on_signed(message)
            case ProposalReceived(peer, proposal, block):
                self._on_proposal(peer, proposal, block)
            case MemoryReceived(peer, memory):
                self._on_votes(peer, memory.votes)
                self._caution.told(peer, memory, self._now_ms)
            case SignRefused(message, reason):
                self._report("sign_refused", height=message.height, round=message.round, reason=reason)
                self._own_is_back()
            case BlockApplied(block, _):
                self._on_applied(block)
            case EvidenceReceived(_, evidence):
                for raw in evidence:
                    self._keep_evidence(raw)
            case BlocksReceived(peer, blocks):
                self._on_blocks(peer, blocks)
            case PeerUp(peer):
                self._on_peer_up(peer)
            case PeerDown(peer):
                self._on_peer_down(peer)
            case Started():
                self._on_started(event)
            case _:
                assert_never(event)

    # --- starting -------------------------------------------------------------------------------------------------

    def _on_started(self, event: Started) -> None:
        """Resumes the height where the write-ahead log left it: locked as before, in the last round we spoke in, with
        our own messages signed again (the signer gives the same signatures, or none)."""
        for raw in event.blocks:
            block, _ = decode_block(raw, self._ledger.chain_id)
            if block.header.height == self.height:
                self._blocks.recovered(block)
        own = [m for m in event.own if m.height == self.height]
        lock = decode_lock(event.lock) if event.lock else None
        if lock is not None and lock.height != self.height:
            lock = None
        last_round = max((m.round for m in own), default=Round(0))
        self._machine = self._fresh_machine(lock, last_round)
        for block in self._blocks:
            self._judge(block)
        self._unsigned = len(own)
        self._to_recall = event.heard
        self._out.extend(Sign(message) for message in own)
        self._out.append(SetTimer(Timer(TICK, 0), self._config.tick_ms))
        self._settle_caution()
        self._schedule_begin(after_transactions=True)

    def _fresh_machine(self, lock: LockRecord | None = None, first: Round = Round(0)) -> State:
        system = self._ledger.system
        height = Height(self._ledger.head.height + 1)
        return new_height(
            height,
            system.validators,
            system.turns,
            None if self._caution.is_silent(height) else self._me,
            self._config.timeouts,
            lock,
            first,
        )

    def _settle_caution(self) -> None:
        """Until enough peers say where they stand, it is not known whether this validator may sign: no height begins."""
        caution, machine = self._caution, self._machine
        if not caution.settle(machine.height, machine.validators, self.peers, self._now_ms):
            return
        if self._caution.is_silent(self.height):
            self._report("silent", until_after=self._caution.silent_to, last_signed=self._caution.last_signed)
            self._machine = replace(self._machine, setup=replace(self._machine.setup, me=None))
        self._begin_if_wanted()
        self._recount_early()

    def _rejoin_if_stuck(self) -> None:
        """The chain waits for this silent validator: it goes on where those who remember say that it can."""
        before = self._machine
        rejoin = None if self._applying else self._caution.rejoin(before, self.peers, self._now_ms)
        if rejoin is None:
            return
        self._report("rejoined", height=self.height, round=rejoin.round)
        if rejoin.lock is not None:
            self._persist(LoggedLock(rejoin.lock.height, encode_lock(rejoin.lock)))
        assert self._me is not None
        self._machine = find_voice(before, self._me, rejoin.lock, rejoin.round, rejoin.offered)
        self._feed(machine_events.Begin())

    # --- pacing ---------------------------------------------------------------------------------------------------

    def _schedule_begin(self, after_transactions: bool) -> None:
        """An idle chain rests: a height begins when there is something to decide, when others begin it, or when due."""
        wait_ms = self._config.proof_block_ms if after_transactions else self._config.heartbeat_ms
        self._due_ms = self._now_ms + wait_ms
        self._out.append(SetTimer(Timer(BEGIN, self.height), wait_ms))
        self._begin_if_wanted()

    def _begin_if_wanted(self) -> None:
        if self._applying or self._unsigned or not self._caution.settled:
            return
        self._recall()
        if self._machine.step is not AT_NEW:
            return
        if self._is_wanted():
            self._feed(machine_events.Begin())

    def _is_wanted(self) -> bool:
        if self._is_halted():
            return self.mempool.any_ready(governs)
        warming_up = self.height <= self._config.warm_up_height and self._reaches_quorum()
        return self.mempool.has_ready or bool(self._faults) or warming_up or self._now_ms >= self._due_ms

    def _recall(self) -> None:
        """After our own messages: what others said may carry us into a round, and there we must know our own votes."""
        if not self._to_recall:
            return
        votes, self._to_recall = self._to_recall, ()
        for vote in votes:
            self._feed(machine_events.VoteSeen(vote))

    def _is_halted(self) -> bool:
        return self._ledger.system.is_halted(self.height)

    def _reaches_quorum(self) -> bool:
        validators = self._machine.validators
        power = sum(validators.power_of(peer) for peer in self.peers)
        if self._me is not None:
            power += validators.power_of(self._me)
        return validators.is_quorum(power)

    def _on_timer(self, timer: Timer) -> None:
        if timer.kind == TICK:
            self._on_tick()
        elif timer.kind == BEGIN:
            if timer.height == self.height:
                self._due_ms = min(self._due_ms, self._now_ms)
                self._begin_if_wanted()
        elif timer.kind == ABSENT:
            if self._awaits_absent():
                self._feed(machine_events.TimerFired(TimerKind.PROPOSE, Height(timer.height), Round(timer.round)))
        elif timer.height == self.height:
            self._feed(machine_events.TimerFired(KINDS[timer.kind], Height(timer.height), Round(timer.round)))

    def _awaited(self) -> ValidatorId | None:
        """Whose proposal the round at hand waits for while nobody has spoken of it: what others prevote for they pass on."""
        machine = self._machine
        if machine.step is not AT_PROPOSE or machine.current.proposal is not None:
            return None
        if any(value is not None for value in machine.current.prevotes.by_value):
            return None
        proposer = machine.proposer(machine.round)
        return None if proposer == self._me else proposer

    def _awaits_absent(self) -> bool:
        awaited = self._awaited()
        return awaited is not None and awaited not in self.peers

    def _doubt_proposer(self) -> None:
        """Whoever is not connected will hardly propose: it is waited for no longer than votes are. That wait grows with the round
        as all do, so it outlasts a connection that is slow to come."""
        if self._awaits_absent():
            machine = self._machine
            wait_ms = self._config.timeouts.delay_ms(TimerKind.PREVOTE, machine.round)
            self._out.append(SetTimer(Timer(ABSENT, machine.height, machine.round), wait_ms))

    # --- consensus messages -----------------------------------------------------------------------------------------

    def _on_votes(self, peer: PeerId, votes: tuple[Vote, ...]) -> None:
        height, settled = self.height, self._caution.settled
        for vote in votes:
            if vote.height == height:
                if not settled:  # f + 1 votes would carry us into a round
                    self._early.keep_vote(peer, vote)
                    continue
                if self._machine.step is AT_NEW:
                    self._heard()
                self._feed(machine_events.VoteSeen(vote))
            elif vote.height == height + 1:
                self._early.keep_vote(peer, vote)
            elif self._previous is not None and vote.height == self._previous.height:
                self._previous, late = step(self._previous, machine_events.VoteSeen(vote))
                for effect in late:
                    if isinstance(effect, machine_effects.Equivocation):
                        self._caught(effect)

    def _on_proposal(self, peer: PeerId, proposal: Proposal, block: Block | None) -> None:
        is_early = proposal.height == self.height + 1 or not self._caution.settled
        if is_early and proposal.height >= self.height:
            self._early.keep_proposal(peer, proposal, block)
            return
        if proposal.height != self.height or proposal.proposer != self._machine.proposer(proposal.round):
            return
        self._heard(block)
        block = block or self._blocks.get(proposal.block_id)
        if block is None or block.id != proposal.block_id:
            return  # it comes again with its block when our status says that we lack it
        self._judge(block)
        own_work = block.header.proposer == proposal.proposer  # only a proof of lock lets one offer another's block
        if own_work and proposal.pol_round < 0 and proposal.proposer != self._me:
            self._watch_clock(block)
        self._feed(machine_events.ProposalSeen(proposal, own_work and self._is_timely(block)))

    def _watch_clock(self, block: Block) -> None:
        self._clocks.proposed(block.header.proposer, block.header.time_ms, self._now_ms)
        off_ms = self._clocks.warning(self._ledger.system.params.precision_ms, self._now_ms)
        if off_ms is not None:
            self._report("clock_off", others_minus_ours_ms=off_ms, height=self.height)

    def _heard(self, block: Block | None = None) -> None:
        """Someone is at work on this height: so are we; on a halted chain only where it is governance's."""
        if self._machine.step is not AT_NEW or self._applying or self._unsigned or not self._caution.settled:
            return
        if not self._is_halted() or (block is not None and bool(block.txs) and all(map(governs, block.txs))):
            self._feed(machine_events.Begin())

    def _is_timely(self, block: Block) -> bool:
        """Proposer-based time: the block's time is near ours, given how far clocks and messages may be off."""
        params = self._ledger.system.params
        ahead_ms = block.header.time_ms - self._now_ms
        return -(params.message_delay_ms + params.precision_ms) <= ahead_ms <= params.precision_ms

    def _judge(self, block: Block) -> None:
        """Tells the machine whether a block is valid, once."""
        if self._applying or block.id in self._machine.verdicts:
            return
        self._machine = self._blocks.with_room(self._machine)
        self._blocks.keep(block)
        fault = self._ledger.fault(block)
        if fault is not None:
            self._report("block_refused", height=self.height, reason=fault)
        self._feed(machine_events.BlockChecked(block.id, fault is None))

    def _feed(self, event: machine_events.Event) -> None:
        self._machine, effects = step(self._machine, event)
        for effect in effects:
            self._carry_out(effect)

    def _carry_out(self, effect: machine_effects.Effect) -> None:
        match effect:
            case machine_effects.SignVote(vote):
                self._persist(LoggedOwn(vote))
                self._out.append(Sign(vote))
            case machine_effects.StartTimer(kind, height, round_, delay_ms):
                self._out.append(SetTimer(Timer(NAMES[kind], height, round_), delay_ms))
                if kind is TimerKind.PROPOSE:
                    self._doubt_proposer()
            case machine_effects.SignProposal(proposal) if proposal.block_id not in self._blocks:
                self._report(
                    "block_missing", height=self.height, round=proposal.round
                )  # whoever has it will propose it
            case machine_effects.SignProposal(proposal):
                self._persist(*self._blocks.unlogged(proposal.block_id), LoggedOwn(proposal))
                self._out.append(Sign(proposal))
            case machine_effects.PersistLock(record):
                logged = LoggedLock(record.height, encode_lock(record))
                self._persist(*self._blocks.unlogged(record.valid.block_id), logged)
            case machine_effects.BuildValue(height, round_):
                self._build(height, round_)
            case machine_effects.RoundEntered(round_):
                self._telling.entered_round(self._now_ms)
                if round_ > 0:
                    self._persist(*map(LoggedHeard, votes_into(self._machine, round_)))
                    self._report("round", height=self.height, round=round_)
                    self._out.append(SendStatus(None, self._state()))
            case machine_effects.Decide(commit):
                self._decide(self._blocks[commit.block_id], commit)
            case machine_effects.Equivocation():
                self._caught(effect)
            case _:
                assert_never(effect)

    def _build(self, height: Height, round_: Round) -> None:
        assert self._me is not None
        commit = fullest_commit(self._previous) if self._previous is not None else None
        halted = self._is_halted()
        txs = self._intake.block_of(only_governance=halted)
        if halted and not txs:
            return  # nothing that a block may hold: the round passes
        evidence = self._faults.first(MAX_IN_BLOCK)
        block = self._ledger.propose(txs, evidence, self._now_ms, self._me, commit)
        self._blocks.keep(block)
        self._feed(machine_events.BlockChecked(block.id, True))
        self._feed(machine_events.ValueBuilt(height, round_, block.id))

    def _on_signed(self, message: Vote | Proposal) -> None:
        if message.height == self.height:
            if isinstance(message, Vote):
                self._out.append(SendVotes(None, (message,)))
                self._feed(machine_events.VoteSeen(message))
            elif message.block_id in self._blocks:
                self._out.append(SendProposal(None, message, self._blocks[message.block_id].raw))
                self._feed(machine_events.ProposalSeen(message, timely=True))
        self._own_is_back()

    def _own_is_back(self) -> None:
        if self._unsigned:
            self._unsigned -= 1
            self._begin_if_wanted()

    # --- faults of validators ---------------------------------------------------------------------------------------

    def _caught(self, fault: machine_effects.Equivocation) -> None:
        first, second = fault.first, fault.second
        if isinstance(first, Vote) and isinstance(second, Vote):
            self._keep_evidence(encode_evidence(double_vote(first, second)))
        elif isinstance(first, Proposal) and isinstance(second, Proposal):
            self._keep_evidence(encode_evidence(double_proposal(first, second)))

    def _keep_evidence(self, raw: bytes) -> None:
        """New evidence goes on to everybody once, and into the next block that this node proposes. What does not hold is
        dropped without blame: a peer that is a block ahead or behind may honestly see it otherwise."""
        if self._faults.add(raw) is not None:
            return
        fault = decode_evidence(raw)
        self._report("equivocation", height=fault.first.height, validator=offender(fault).hex())
        self._out.append(SendEvidence(None, (raw,)))
        self._begin_if_wanted()

    # --- deciding -----------------------------------------------------------------------------------------------------

    def _decide(self, block: Block, commit: Commit) -> None:
        """Once for each height: a fetched block may be on its way to the disk when the votes for it come in too."""
        if self._applying:
            return
        self._applying = True
        self._out.append(Apply(block, commit))

    def _on_applied(self, block: Block) -> None:
        self._applying = False
        self._previous = self._machine if self._machine.step is AT_DECIDED else None
        self._intake.committed(block)
        self._faults.refresh()
        self._machine = self._fresh_machine()
        self._blocks = HeightBlocks()
        self._schedule_begin(after_transactions=bool(block.txs))
        self._recount_early()
        self._apply_fetched()

    def _recount_early(self) -> None:
        """What came for this height before it could be counted."""
        for message in self._early.of_height(self.height):
            self._dispatch(message)

    # --- other nodes --------------------------------------------------------------------------------------------------

    def _state(self) -> PeerState:
        """Made anew only where something changed: at most ticks of an idle chain nothing has."""
        machine, told = self._machine, self._told
        earliest, silent = self._ledger.store.earliest(), self._caution.is_silent(machine.height)
        if told is not None and told[0] is machine and (told[1].earliest_height, told[1].silent) == (earliest, silent):
            return told[1]
        here = standpoint(machine)
        state = PeerState(
            height=here.height,
            round=max(here.round, 0),
            step=int(here.step),
            prevotes=here.prevotes,
            precommits=here.precommits,
            has_proposal=here.has_proposal,
            pol_round=here.pol_round,
            pol_prevotes=here.pol_prevotes,
            earliest_height=earliest,
            silent=silent,
        )
        self._told = machine, state
        return state

    def _on_peer_up(self, peer: PeerId) -> None:
        self.peers.setdefault(peer, None)
        self._out.append(SendStatus(peer, self._state()))
        self._out += self._intake.waiting(peer)
        self._begin_if_wanted()

    def _on_peer_down(self, peer: PeerId) -> None:
        self.peers.pop(peer, None)
        self._catchup.forget(peer)
        if peer == self._awaited():
            self._doubt_proposer()

    def _on_status(self, peer: PeerId, state: PeerState) -> None:
        if peer not in self.peers:
            return
        self.peers[peer] = state
        if not self._caution.settled:
            self._settle_caution()
        height = self.height
        if state.height == height:
            if state.silent and self._caution.settled:
                self._out += self._telling.what_it_forgot(self._machine, self._blocks, peer, self._now_ms)
            self._out += self._telling.what_it_lacks(self._machine, self._blocks, peer, state, self._now_ms)
        elif state.height > height:
            self._catch_up()

    def _on_tick(self) -> None:
        self._out.append(SetTimer(Timer(TICK, 0), self._config.tick_ms))
        self._out.append(SendStatus(None, self._state()))
        self._catch_up()
        if not self._caution.settled:
            self._settle_caution()
        self._rejoin_if_stuck()
        self._begin_if_wanted()
        self._out += self._intake.again(self._now_ms)

    # --- catching up --------------------------------------------------------------------------------------------------

    def _catch_up(self) -> None:
        if not self._applying:
            self._out.extend(self._catchup.next_requests(self.height, self.peers, self._now_ms))

    def _on_blocks(self, peer: PeerId, blocks: tuple[tuple[Block, Commit], ...]) -> None:
        self._catchup.received(peer, blocks, self.height)
        self._apply_fetched()

    def _apply_fetched(self) -> None:
        """Applies the next fetched block once its whole commit and the block itself are checked; a liar is dropped."""
        while not self._applying and (fetched := self._catchup.take(self.height)) is not None:
            fault = self._ledger.decided_fault(fetched.block, fetched.commit)
            if fault is None:
                self._decide(fetched.block, fetched.commit)
                return
            self._out.append(Penalise(fetched.peer, f"sent a block that was not decided: {fault}"))
            self._catchup.forget(fetched.peer)
        self._catch_up()

    def _persist(self, *records: LogRecord) -> None:
        """Neighbouring log records share one sync."""
        before = self._out[-1] if self._out else None
        if isinstance(before, Persist):
            self._out[-1] = Persist(before.records + records)
        else:
            self._out.append(Persist(records))

    def _report(self, event: str, **fields: object) -> None:
        self._out.append(Report(event, tuple(fields.items())))
