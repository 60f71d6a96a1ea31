"""Short ways to say consensus things in tests: four validators named a, b, c, d; blocks named X, Y, Z."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from consensus.effects import Effect, SignProposal, SignVote
from consensus.events import Begin, BlockChecked, Event, ProposalSeen, TimerFired, ValueBuilt, VoteSeen
from consensus.lock import LockRecord
from consensus.machine import State, new_height, step
from consensus.proposer import ProposerOrder
from consensus.timeouts import Timeouts, TimerKind
from consensus.types import (
    BlockId,
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

CHAIN = "test-chain"
HEIGHT = Height(7)
PARAMS = Timeouts(propose_ms=1000, prevote_ms=500, precommit_ms=400, delta_ms=100, cap_ms=2000)
PREVOTE, PRECOMMIT = VoteKind.PREVOTE, VoteKind.PRECOMMIT


def vid(name: str) -> ValidatorId:
    return ValidatorId(name.encode().ljust(20, b"."))


def block(name: str) -> BlockId:
    return BlockId(name.encode().ljust(32, b"."))


def validator_set(names: str = "abcd", powers: dict[str, int] | None = None) -> ValidatorSet:
    powers = powers or {}
    return ValidatorSet.of([Validator(vid(n), b"key-" + n.encode(), Power(powers.get(n, 1)), n) for n in names])


X, Y, Z = block("X"), block("Y"), block("Z")


def turns(names: str = "abcd") -> ProposerOrder:
    """Round 0 is the first name's turn, and so on."""
    return ProposerOrder(tuple(vid(n) for n in names))


def machine(
    me: str | None = "b",
    names: str = "abcd",
    powers: dict[str, int] | None = None,
    restored: LockRecord | None = None,
    first_round: int = 0,
) -> State:
    validators = validator_set(names, powers)
    mine = None if me is None else vid(me)
    return new_height(HEIGHT, validators, turns(names), mine, PARAMS, restored, Round(first_round))


def sign(message: bytes, public_key: bytes) -> bytes:
    """A toy signature: whoever knows the public key can sign, which is all that these tests need."""
    return b"signed " + public_key + b" " + message


def toy_verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    return signature == sign(message, public_key)


def vote(kind: VoteKind, round_: int, value: BlockId | None, who: str) -> Vote:
    return Vote(kind, HEIGHT, Round(round_), value, vid(who), b"sig-" + who.encode())


def prevote(who: str, value: BlockId | None, round_: int = 0) -> VoteSeen:
    return VoteSeen(vote(PREVOTE, round_, value, who))


def precommit(who: str, value: BlockId | None, round_: int = 0) -> VoteSeen:
    return VoteSeen(vote(PRECOMMIT, round_, value, who))


def prevotes(who: str, value: BlockId | None, round_: int = 0) -> list[Event]:
    return [prevote(w, value, round_) for w in who]


def precommits(who: str, value: BlockId | None, round_: int = 0) -> list[Event]:
    return [precommit(w, value, round_) for w in who]


def proposal(
    value: BlockId, round_: int = 0, pol: int = -1, who: str | None = None, timely: bool = True
) -> ProposalSeen:
    proposer = "abcd"[round_ % 4] if who is None else who
    return ProposalSeen(Proposal(HEIGHT, Round(round_), value, Round(pol), vid(proposer), b"sig"), timely)


def checked(value: BlockId, valid: bool = True) -> BlockChecked:
    return BlockChecked(value, valid)


def fired(kind: TimerKind, round_: int = 0, height: int = HEIGHT) -> TimerFired:
    return TimerFired(kind, Height(height), Round(round_))


def built(value: BlockId, round_: int = 0) -> ValueBuilt:
    return ValueBuilt(HEIGHT, Round(round_), value)


BEGIN = Begin()


def run(state: State, *events: Event | Sequence[Event]) -> tuple[State, list[Effect]]:
    """All events in turn: the last state and all effects."""
    effects: list[Effect] = []
    for event in (e for item in events for e in (item if isinstance(item, Sequence) else [item])):
        state, more = step(state, event)
        effects += more
    return state, effects


def last(state: State, *events: Event | Sequence[Event]) -> tuple[State, list[Effect]]:
    """All events in turn: the last state and the effects of the last event only."""
    flat = [e for item in events for e in (item if isinstance(item, Sequence) else [item])]
    state, _ = run(state, *flat[:-1])
    return run(state, flat[-1])


def signed_votes(effects: list[Effect]) -> list[tuple[VoteKind, int, BlockId | None]]:
    return [(e.vote.kind, e.vote.round, e.vote.block_id) for e in effects if isinstance(e, SignVote)]


def returned(effect: SignVote | SignProposal) -> Event:
    """What the host feeds back once it has signed."""
    if isinstance(effect, SignVote):
        return VoteSeen(replace(effect.vote, signature=b"own"))
    return ProposalSeen(replace(effect.proposal, signature=b"own"), timely=True)
