"""Who signed what: everything that was signed and sent, and what no correct validator may be found to have signed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from consensus.types import Proposal, ValidatorId, Vote, VoteKind

Slot = tuple[int, int, VoteKind]  # height, round, kind
Value = bytes | None


@dataclass(frozen=True, slots=True)
class Charge:
    """Two signed messages of one validator that no correct one signs both (or one that lacks its reason)."""

    validator: ValidatorId
    kind: str
    detail: str


@dataclass(slots=True)
class Witness:
    """Sees every signature that leaves a machine, and which of them reach another. Every validator has a power of 1.

    A signature that was lost on the way for good is nobody's to show: it counts as given, but charges nobody. A validator
    that lost its disk may repeat itself where all who had heard it forgot it too (see node/caution.py): `keepers` are the
    machines that heard a signature, each with the life it had then, and `remembers` says whether it still lives that one.
    """

    validators: int
    votes: dict[Slot, dict[ValidatorId, list[Value]]] = field(default_factory=dict)
    proposals: dict[tuple[int, int, ValidatorId], list[tuple[bytes, int]]] = field(default_factory=dict)
    offered: set[bytes] = field(default_factory=set)  # ids of blocks that somebody signed a proposal for
    heard: set[bytes] = field(default_factory=set)  # signatures that reached another machine
    keepers: dict[bytes, set[tuple[int, int]]] = field(default_factory=dict)
    wiped: set[ValidatorId] = field(default_factory=set)
    remembers: Callable[[int, int], bool] = lambda machine, life: True
    _signatures: dict[object, set[bytes]] = field(default_factory=dict)

    def vote(self, vote: Vote) -> None:
        values = self.votes.setdefault((vote.height, vote.round, vote.kind), {}).setdefault(vote.validator, [])
        said = (vote.height, vote.round, vote.kind, vote.validator, vote.block_id)
        signatures = self._signatures.get(said)
        if signatures is None:
            self._signatures[said] = {vote.signature}
        else:
            signatures.add(vote.signature)
        if vote.block_id not in values:
            values.append(vote.block_id)

    def reached(self, signature: bytes, keeper: tuple[int, int] | None) -> None:
        """`keeper` None: it arrived where it was of no use, and was let go."""
        self.heard.add(signature)
        if keeper is None:
            return
        keepers = self.keepers.get(signature)
        if keepers is None:
            self.keepers[signature] = {keeper}
        else:
            keepers.add(keeper)

    def proposal(self, proposal: Proposal) -> None:
        said = self.proposals.setdefault((proposal.height, proposal.round, proposal.proposer), [])
        offer = (proposal.block_id, int(proposal.pol_round))
        self.offered.add(proposal.block_id)
        offered = (proposal.height, proposal.round, proposal.proposer, offer)
        self._signatures.setdefault(offered, set()).add(proposal.signature)
        if offer not in said:
            said.append(offer)

    # --- charges ---------------------------------------------------------------------------------------------------

    def charges(self) -> list[Charge]:
        """All that can be held against anyone, from signatures alone."""
        return [*self._double_signatures(), *self._unfounded_precommits(), *self._broken_locks()]

    def _double_signatures(self) -> Iterator[Charge]:
        for (height, round_, kind), by_validator in self.votes.items():
            for validator, values in by_validator.items():
                if sum(self._stands(validator, (height, round_, kind, validator, v)) for v in values) > 1:
                    yield Charge(validator, "doubly signed", f"two {kind.name.lower()}s at {height}/{round_}")
        for (height, round_, proposer), said in self.proposals.items():
            if sum(self._stands(proposer, (height, round_, proposer, offer)) for offer in said) > 1:
                yield Charge(proposer, "doubly signed", f"two proposals at {height}/{round_}")

    def _stands(self, validator: ValidatorId, said: object) -> bool:
        """Whether somebody can hold this against its signer."""
        heard = self._signatures.get(said, set()) & self.heard
        if validator not in self.wiped:
            return bool(heard)
        return any(self.remembers(*keeper) for signature in heard for keeper in self.keepers.get(signature, ()))

    def _unfounded_precommits(self) -> Iterator[Charge]:
        """L36, L44, L61: a precommit follows a quorum of prevotes of its round; one for a block, a quorum for that block."""
        for (height, round_, kind), by_validator in self.votes.items():
            if kind is not VoteKind.PRECOMMIT:
                continue
            for validator, values in by_validator.items():
                for value in values:
                    if not self._founded(height, round_, value):
                        yield Charge(validator, "hasty", f"a precommit without prevotes at {height}/{round_}")

    def _founded(self, height: int, round_: int, value: Value) -> bool:
        prevotes = self.votes.get((height, round_, VoteKind.PREVOTE), {})
        if value is None:
            return self.is_quorum(len(prevotes))
        return self.has_prevote_quorum(height, round_, value)

    def has_prevote_quorum(self, height: int, round_: int, value: bytes) -> bool:
        prevotes = self.votes.get((height, round_, VoteKind.PREVOTE), {})
        return self.is_quorum(sum(1 for values in prevotes.values() if value in values))

    def _broken_locks(self) -> Iterator[Charge]:
        """L22-L33: who precommitted a block prevotes another one later only if a quorum prevoted that one since."""
        for (height, round_, kind), by_validator in self.votes.items():
            if kind is not VoteKind.PRECOMMIT:
                continue
            for later in sorted(r for h, r, k in self.votes if h == height and r > round_ and k is VoteKind.PREVOTE):
                prevotes = self.votes[height, later, VoteKind.PREVOTE]
                for validator, values in by_validator.items():
                    said = (height, round_, VoteKind.PRECOMMIT, validator)
                    locked = {v for v in values if v is not None and self._stands(validator, (*said, v))}
                    for value in prevotes.get(validator, ()):
                        if value is None or not locked or value in locked:
                            continue
                        if not any(self.has_prevote_quorum(height, r, value) for r in range(round_, later)):
                            where = f"{locked_name(locked)} precommitted at {height}/{round_}, {value.hex()[:8]}"
                            yield Charge(validator, "forgot its lock", f"{where} prevoted at {height}/{later}")

    def is_quorum(self, power: int) -> bool:
        return 3 * power > 2 * self.validators


def locked_name(values: set[bytes]) -> str:
    return " and ".join(sorted(v.hex()[:8] for v in values))
