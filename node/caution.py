"""A validator whose disk may have forgotten what it signed stays silent until it is past all it could have signed.

Pure, and used by the replica alone. What the disk remembers is the height that the signer's guard saw last. If peers that
hold a quorum with us show a chain well beyond it, the disk was wiped, or restored from an old backup, or the node was just
away: these look alike, so all three are silent (they follow as observers) until two heights have passed.

Why that is enough. Suppose at most f of the power is wiped or faulty, and we are in it. A height h that was decided had a
quorum of precommits, and two quorums share a correct validator that still knows it: so among the peers that told us where
they stand, one stands at h or above. We have signed nothing beyond h + 1, for we never left h + 1 without a decision there. So
from the height at which nobody was ahead of us, plus two, nothing that we sign can contradict what we once signed.

When the chain cannot move without us it would wait for ever (two of four wiped at once). Then `rejoin` lets us sign
at a silent height, under conditions that keep every decision that may have been made there:
- the height has stood still for `patience_ms`, longer than a message can still be under way;
- those who remember (connected, at this height, not silent themselves) have told us, after that, the lock they hold with the
  prevotes that prove it, and every vote and proposal of ours that they know; what is left without them is no quorum, so one of
  them took part in whatever quorum of precommits there ever was, and its lock is now ours too;
- every other validator has told us what it knows of ours, the silent ones too, for what one of them lost another may have
  heard since; so a message of ours that nobody holds is lost for good. One exception: a validator
  whose guard is there was most likely just away, and must not be kept from voting because another one is down now; it
  need not wait for the absent while the silent ones hold no more than a third. Should its guard be an old backup after all,
  then it may contradict what only the absent heard; that is within what the others tolerate, and evidence against it.
What is given up: with more than two thirds wiped at once nobody can tell what was decided, and they stay silent until
their operators agree; and a network wiped while it decided its very first height looks like a new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from consensus.lock import Lock, LockRecord
from consensus.state import State
from consensus.types import BlockId, Height, Proposal, Round, ValidatorId, ValidatorSet, Vote, VoteKind
from node.events import Memory, PeerId, PeerState

NEAR = 1  # a guard this many heights below the one being decided is what an ordinary restart finds
FIRST = 1  # at this height a validator that comes late looks like one that lost its disk: all are waited for
BEYOND = 1  # silent heights after the one at which nobody was ahead of us


@dataclass(slots=True)
class Caution:
    """`last_signed` is the guard's last height, 0 for an empty one, below 0 for one that lost its log; None: nothing to be
    cautious about (an observer)."""

    me: ValidatorId | None
    last_signed: int | None
    patience_ms: int
    silent_to: int | None = None  # the last silent height; None: not known before enough peers said where they stand
    _height: int = 0
    _since_ms: int = 0
    _told: dict[PeerId, Memory] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.me is None or self.last_signed is None:
            self.silent_to = 0

    @property
    def settled(self) -> bool:
        """Before that nothing may be signed, and no height begun."""
        return self.silent_to is not None

    def is_silent(self, height: int) -> bool:
        return self.silent_to is not None and height <= self.silent_to

    def settle(
        self, height: int, validators: ValidatorSet, peers: Mapping[PeerId, PeerState | None], now_ms: int
    ) -> bool:
        """Whether it is settled now and was not before. A peer that claims to be ahead counts once we have caught up with
        it, block by proved block; so a claim alone can neither silence us nor wake us. One that claims more than it can
        prove makes us wait for the patience, no longer: until then everybody connected must have spoken and be reached.

        So long a new chain waits for all its validators too: one that came up while the others decided the first height would
        be silent at the next two, and if another one then failed for good, nobody could tell it what it has not said."""
        if self.settled or self.me is None or self.last_signed is None:
            return False
        waited = self._stood_ms(height, now_ms) >= self.patience_ms
        if not waited and any(s is None or s.height > height for s in peers.values()):
            return False
        level = validators.power_of(self.me)
        level += sum(validators.power_of(p) for p, s in peers.items() if s is not None and s.height <= height)
        if not validators.is_quorum(level):
            return False
        if height == FIRST and level < validators.total_power and not waited:
            return False
        alone = validators.is_quorum(validators.power_of(self.me))  # nobody could ever remind it of anything
        self.silent_to = 0 if alone or self.last_signed + NEAR >= height else height + BEYOND
        return True

    # --- where the chain waits for us -------------------------------------------------------------------------------

    def is_stuck(self, height: int, now_ms: int) -> bool:
        """Whether a silent height has stood still for long; to be asked at every tick."""
        return self.is_silent(height) and self._stood_ms(height, now_ms) >= self.patience_ms

    def _stood_ms(self, height: int, now_ms: int) -> int:
        if height != self._height:
            self._height, self._since_ms, self._told = height, now_ms, {}
        self._since_ms = min(self._since_ms, now_ms)  # a clock that was set back must not stretch the patience
        return now_ms - self._since_ms

    def told(self, peer: PeerId, memory: Memory, now_ms: int) -> None:
        """A peer's whole memory of a height, as `memory_for` gives it; what came before the patience was over may be old.
        One of another height says nothing here: taken for ours it would begin the patience anew, as often as a liar likes."""
        if memory.height == self._height and self.is_stuck(memory.height, now_ms):
            self._told[peer] = memory

    def rejoin(self, machine: State, peers: Mapping[PeerId, PeerState | None], now_ms: int) -> Rejoin | None:
        """How to go on with the height of `machine`, if the conditions above hold; then it is silent no more."""
        height, validators = machine.height, machine.validators
        if self.me is None or not self.is_stuck(height, now_ms) or self.me not in validators.index:
            return None
        here = {p: s for p, s in peers.items() if s is not None and s.height == height}
        tellers = [p for p in here if p in self._told]
        telling = validators.power_of(self.me) + sum(map(validators.power_of, tellers))
        remembering = sum(validators.power_of(p) for p in tellers if not here[p].silent)
        silent = validators.power_of(self.me) + sum(validators.power_of(p) for p, s in here.items() if s.silent)
        if not validators.is_quorum(telling) or validators.is_quorum(validators.total_power - remembering):
            return None
        if telling < validators.total_power and ((self.last_signed or 0) <= 0 or validators.is_third(silent)):
            return None
        self.silent_to = 0
        memories = [self._told[p] for p in tellers] + [memory_for(machine, self.me)]
        votes = [vote for memory in memories for vote in memory.votes]
        voted = [v.round for v in votes if v.validator == self.me and v.height == height]
        offered = [p for memory in memories for p in memory.proposals if p.proposer == self.me and p.height == height]
        round_ = max([Round(0), machine.round, *voted, *(p.round for p in offered)])
        return Rejoin(newest_lock(height, validators, votes), round_, tuple(dict.fromkeys(offered)))


@dataclass(frozen=True, slots=True)
class Rejoin:
    """`lock` is the newest one that somebody proved; `round` where to begin: where the others are, and not below a round in
    which we spoke; `offered` what we proposed before."""

    lock: LockRecord | None
    round: Round
    offered: tuple[Proposal, ...] = ()


def memory_for(machine: State, asker: ValidatorId) -> Memory:
    """What a silent validator must know of this height: the prevotes that prove the value we hold, and all that it said itself."""
    votes: list[Vote] = []
    if machine.valid is not None:
        votes += machine.at(machine.valid.round).prevotes.votes_for(machine.valid.block_id)
    index = machine.validators.index.get(asker)
    if index is not None:
        for state in machine.rounds.values():
            votes += [v for v in (state.prevotes.votes[index], state.precommits.votes[index]) if v is not None]
    held = [state.proposal.proposal for state in machine.rounds.values() if state.proposal is not None]
    return Memory(machine.height, tuple(dict.fromkeys(votes)), tuple(p for p in held if p.proposer == asker))


def newest_lock(height: Height, validators: ValidatorSet, votes: Iterable[Vote]) -> LockRecord | None:
    """The lock of the highest round for which these prevotes are a quorum. Their signatures were checked at the door."""
    polls: dict[tuple[Round, BlockId], dict[ValidatorId, Vote]] = {}
    for vote in votes:
        counts = vote.kind is VoteKind.PREVOTE and vote.height == height and vote.validator in validators.index
        if counts and vote.block_id is not None:
            polls.setdefault((vote.round, vote.block_id), {})[vote.validator] = vote
    proven = [key for key, poll in polls.items() if validators.is_quorum(sum(map(validators.power_of, poll)))]
    if not proven:
        return None
    round_, block_id = max(proven)
    lock = Lock(round_, block_id)
    prevotes = sorted(polls[round_, block_id].values(), key=lambda v: validators.index[v.validator])
    return LockRecord(height, lock, lock, tuple(prevotes))
