"""Everything the machine knows of one height. Immutable: a step shares all that it does not change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import TYPE_CHECKING

from consensus.lock import Lock, LockRecord
from consensus.proposer import ProposerOrder
from consensus.tally import Tally
from consensus.timeouts import Timeouts
from consensus.types import (
    NO_ROUND,
    PREVOTE,
    BlockId,
    Commit,
    Height,
    Proposal,
    Round,
    ValidatorId,
    ValidatorSet,
    Vote,
    VoteKind,
)

ROUND_ZERO = Round(0)
MAX_ROUND = Round(1_000_000)  # months of capped time-outs; larger numbers are noise, and must fit the signed layouts
PAST_ROUNDS = 64  # votes of older rounds are let go, except those that prove a lock
FUTURE_ROUNDS = 4  # of each validator: it cannot fill our memory with rounds that nobody reaches
MAX_VERDICTS = 256  # blocks whose validity is remembered


if TYPE_CHECKING:
    from dataclasses import replace as replace
else:

    def replace(value, /, **changes):
        """dataclasses.replace for the slotted classes of this file, a quarter of its price: each event makes a few states."""
        kind = type(value)
        changed = object.__new__(kind)
        for name, put in _slots_of(kind):
            put(changed, changes[name] if name in changes else getattr(value, name))
        return changed

    @cache
    def _slots_of(kind):
        return tuple((name, getattr(kind, name).__set__) for name in kind.__slots__)


class Step(IntEnum):
    """Values as on the wire (PeerStatus.step)."""

    NEW = 0
    PROPOSE = 1
    PREVOTE = 2
    PRECOMMIT = 3
    DECIDED = 4


AT_NEW, AT_PROPOSE, AT_PREVOTE, AT_PRECOMMIT, AT_DECIDED = Step
"""For what runs at every message, as in `consensus.types`."""


@dataclass(frozen=True, slots=True)
class SeenProposal:
    proposal: Proposal
    timely: bool
    doubled: bool = False  # its proposer was caught with a second one


@dataclass(frozen=True, slots=True)
class RoundState:
    """What came in for one round."""

    proposal: SeenProposal | None
    prevotes: Tally
    precommits: Tally

    def tally(self, kind: VoteKind) -> Tally:
        return self.prevotes if kind == PREVOTE else self.precommits


@dataclass(frozen=True, slots=True)
class Setup:
    """What does not change while the height lasts. `me` None: an observer, which follows and never signs."""

    height: Height
    validators: ValidatorSet
    proposers: ProposerOrder
    me: ValidatorId | None
    params: Timeouts
    first_round: Round
    nothing: RoundState  # an empty round, shared


@dataclass(frozen=True, slots=True)
class State:
    """One height of one node.

    rounds: the messages kept, by round. ahead: for each validator (by index) the rounds beyond ours that it has spoken
    in, ascending. verdicts: block id to validity. proof_extra: prevotes that complete the proof of the current proposal
    although their validators' first prevotes were for something else (see SPEC.md, deviation 5), by validator index.
    """

    setup: Setup
    round: Round
    step: Step
    locked: Lock | None
    valid: Lock | None
    rounds: Mapping[Round, RoundState]
    ahead: Mapping[int, tuple[Round, ...]]
    verdicts: Mapping[BlockId, bool]
    proof_extra: Mapping[int, Vote]
    building: bool  # a BuildValue of this round is unanswered
    prevote_timer: bool  # started in this round
    precommit_timer: bool
    decided: Commit | None

    @property
    def height(self) -> Height:
        return self.setup.height

    @property
    def validators(self) -> ValidatorSet:
        return self.setup.validators

    @property
    def me(self) -> ValidatorId | None:
        return self.setup.me

    @property
    def current(self) -> RoundState:
        return self.rounds.get(self.round, self.setup.nothing)

    def at(self, round_: Round) -> RoundState:
        return self.rounds.get(round_, self.setup.nothing)

    def proposer(self, round_: Round) -> ValidatorId:
        return self.setup.proposers.proposer(round_)

    def with_round(self, round_: Round, kept: RoundState) -> State:
        """What every message that counts changes: spelled out, for it costs two thirds of `replace`."""
        return State(
            self.setup,
            self.round,
            self.step,
            self.locked,
            self.valid,
            {**self.rounds, round_: kept},
            self.ahead,
            self.verdicts,
            self.proof_extra,
            self.building,
            self.prevote_timer,
            self.precommit_timer,
            self.decided,
        )


def new_height(
    height: Height,
    validators: ValidatorSet,
    proposers: ProposerOrder,
    me: ValidatorId | None,
    params: Timeouts,
    restored: LockRecord | None = None,
    first_round: Round = ROUND_ZERO,
) -> State:
    """A height before Begin.

    restored: the last durable lock of this height, after a restart. first_round: where Begin enters; after a restart the
    last round that this validator signed anything in, with its own votes fed back as VoteSeen: the machine signs nothing
    for a (round, kind) in which it holds a vote of its own. Someone who is not in the set is an observer.
    """
    assert restored is None or restored.height == height, "a lock is of one height"
    assert 0 <= first_round <= MAX_ROUND
    empty = Tally.empty(len(validators))
    nothing = RoundState(None, empty, empty)
    signer = me if me is not None and me in validators.index else None
    rounds: dict[Round, RoundState] = {}
    if restored is not None:
        prevotes = empty
        for vote in restored.prevotes:
            prevotes = prevotes.add(validators.index[vote.validator], vote, validators.power_of(vote.validator))
        rounds[restored.valid.round] = RoundState(None, prevotes, empty)
    return State(
        setup=Setup(height, validators, proposers, signer, params, first_round, nothing),
        round=NO_ROUND,
        step=Step.NEW,
        locked=restored.locked if restored else None,
        valid=restored.valid if restored else None,
        rounds=rounds,
        ahead={},
        verdicts={},
        proof_extra={},
        building=False,
        prevote_timer=False,
        precommit_timer=False,
        decided=None,
    )


def find_voice(
    followed: State, me: ValidatorId, restored: LockRecord | None, first_round: Round, own: tuple[Proposal, ...] = ()
) -> State:
    """A height that was followed in silence, before Begin: nothing that was heard of it is forgotten, and whatever `me` said
    is known before the first rule applies. own: what `me` proposed before. first_round: not below one in which it spoke."""
    setup = followed.setup
    fresh = new_height(setup.height, setup.validators, setup.proposers, me, setup.params, restored, first_round)
    rounds = dict(followed.rounds)
    for round_, proof in fresh.rounds.items():
        rounds[round_] = replace(followed.at(round_), prevotes=_filled_up(proof.prevotes, followed, round_))
    for proposal in own:
        held = rounds.get(proposal.round, setup.nothing)
        if held.proposal is None:
            rounds[proposal.round] = replace(held, proposal=SeenProposal(proposal, timely=False))
    return replace(fresh, rounds=rounds, ahead=followed.ahead, verdicts=followed.verdicts)


def _filled_up(proof: Tally, followed: State, round_: Round) -> Tally:
    """A proof counts as it stands; beside it the prevotes of everybody else."""
    for index, vote in enumerate(followed.at(round_).prevotes.votes):
        if vote is not None and proof.votes[index] is None:
            proof = proof.add(index, vote, followed.validators.validators[index].power)
    return proof
