"""The votes of one kind in one round: each validator counts once, and power adds up per value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from consensus.types import BlockId, Vote

Value = BlockId | None


@dataclass(frozen=True, slots=True)
class Tally:
    """Immutable; adding a vote shares all else.

    votes: one slot for each validator of the set, in its order. held: bit i set when slot i is filled. doubled: bit i set
    when validator i was caught voting for two values. power: of all votes; by_value: of the votes for each value.
    """

    votes: tuple[Vote | None, ...]
    held: int
    doubled: int
    power: int
    by_value: Mapping[Value, int]

    @classmethod
    def empty(cls, validators: int) -> Tally:
        return cls((None,) * validators, 0, 0, 0, {})

    def add(self, index: int, vote: Vote, power: int) -> Tally:
        """Counts the vote of validator `index`, which must not have one yet."""
        assert self.votes[index] is None, "a validator counts once"
        by_value = dict(self.by_value)
        value = vote.block_id
        by_value[value] = by_value.get(value, 0) + power
        votes = (*self.votes[:index], vote, *self.votes[index + 1 :])
        return Tally(votes, self.held | 1 << index, self.doubled, self.power + power, by_value)

    def without(self, index: int, power: int) -> Tally:
        """Forgets the vote of validator `index`, if there is one."""
        vote = self.votes[index]
        if vote is None:
            return self
        by_value = dict(self.by_value)
        by_value[vote.block_id] -= power
        if by_value[vote.block_id] == 0:
            del by_value[vote.block_id]
        votes = (*self.votes[:index], None, *self.votes[index + 1 :])
        return Tally(votes, self.held & ~(1 << index), self.doubled & ~(1 << index), self.power - power, by_value)

    def caught(self, index: int) -> Tally:
        """Marks validator `index` as having voted twice."""
        return Tally(self.votes, self.held, self.doubled | 1 << index, self.power, self.by_value)

    def power_for(self, value: Value) -> int:
        return self.by_value.get(value, 0)

    def votes_for(self, value: Value) -> tuple[Vote, ...]:
        return tuple(vote for vote in self.votes if vote is not None and vote.block_id == value)

    def holders_of(self, value: Value) -> int:
        """A bitmap of the validators that voted for this value."""
        return sum(1 << i for i, vote in enumerate(self.votes) if vote is not None and vote.block_id == value)

    def lacking(self, theirs: int) -> Iterator[Vote]:
        """The votes we hold and a bitmap does not."""
        missing = self.held & ~theirs
        while missing:
            lowest = missing & -missing
            vote = self.votes[lowest.bit_length() - 1]
            assert vote is not None, "held and votes say the same"
            yield vote
            missing ^= lowest
