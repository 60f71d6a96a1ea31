"""Rules broken on purpose, one at a time: a simulator that finds none of these would find nothing.

Each mutant names the faults in which it shows and within how many seeds, from 0 on, it must be found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

from chain import snapshot, validity
from chain.ledger import Ledger
from chain.wire import proposal_from_wire
from consensus import commits, counting, machine, rules
from consensus.effects import Decide
from consensus.events import ProposalSeen
from consensus.state import SeenProposal, State, Step
from consensus.types import Proposal, ValidatorSet
from devnet.simnet.disk import VirtualDisk
from devnet.simnet.schedule import Outcome, run
from devnet.simnet.world import Options
from node import admission
from node.events import Apply, LoggedLock, LoggedOwn, LogRecord, ProposalReceived
from node.replica import Replica
from node.signer import FileSigner, SignedOnce, position_of, sign_bytes_of
from node.wal import WriteAheadLog

Patches = list[tuple[Any, str, Any]]  # (module or class, name, what stands there instead)


@dataclass(frozen=True, slots=True)
class Mutant:
    """`within`: the seeds 0 to `within` - 1 hold one that finds it."""

    what: str
    patches: Callable[[], Patches]
    faults: frozenset[str]
    within: int
    options: tuple[tuple[str, Any], ...] = ()

    def play(self, seed: int, options: Options = Options()) -> Outcome:
        options = replace(options, **dict(self.options))
        with self.applied():
            return run(seed, options, self.faults)

    @contextmanager
    def applied(self) -> Iterator[None]:
        with ExitStack() as stack:
            for where, name, instead in self.patches():
                stack.enter_context(patch.object(where, name, instead))
            yield


# --- consensus ------------------------------------------------------------------------------------------------------


def one_less(validators: ValidatorSet, power: int) -> bool:
    return ValidatorSet.is_quorum(validators, power + 1)


def quorum_minus_one() -> Patches:
    return [(rules, "quorum", one_less)]


def lock_forgotten() -> Patches:
    def fresh(state: State, block_id: bytes, timely: bool) -> bool:
        return timely and state.verdicts[block_id]  # type: ignore[index]

    return [(rules, "acceptable_fresh", fresh)]


def proof_unchecked() -> Patches:
    return [(rules, "proven", lambda state, proposal: True)]


def stale_timeout() -> Patches:
    return [(rules, "timer_is_current", lambda state, height, round_: True)]


def hasty_decision() -> Patches:
    """Decides on a quorum of prevotes."""

    def decide(state: State, touched: Any) -> Any:
        for round_ in [*touched, state.round]:
            block_id = rules.quorum_value(state, state.at(round_).prevotes)
            if block_id is not None and state.verdicts.get(block_id, False):
                commit = rules.commit_of(state, round_, block_id)
                return replace(state, step=Step.DECIDED, decided=commit), (Decide(commit),)
        return None

    return [(rules, "l49_decide", decide)]


def precommits_at_once() -> Patches:
    """L36 with any prevotes for the block instead of a quorum."""

    def value(state: State, tally: Any) -> Any:
        return next((v for v in tally.by_value if v is not None), None) if tally.power >= 2 else None

    return [(rules, "quorum_value", value)]


def double_vote_counts() -> Patches:
    """A validator's second vote counts beside its first one, for whatever it is."""
    honest = counting.count_vote

    def count(state: State, vote: Any) -> Any:
        index = state.validators.index.get(vote.validator)
        tally = state.at(vote.round).tally(vote.kind) if index is not None else None
        first = tally.votes[index] if tally is not None and index is not None else None
        if first is None or tally is None or index is None or first.block_id == vote.block_id:
            return honest(state, vote)
        room = counting.make_room(state, index, vote.round)
        if room is None:
            return state, ()
        tally = room.at(vote.round).tally(vote.kind)
        by_value = {**tally.by_value, vote.block_id: tally.by_value.get(vote.block_id, 0) + 1}
        votes = (*tally.votes[:index], vote, *tally.votes[index + 1 :])
        more = replace(tally, by_value=by_value, power=tally.power + 1, votes=votes)
        return counting._with_tally(room, vote.round, vote.kind, more), ()

    return [(machine, "count_vote", count)]


def out_of_turn() -> Patches:
    """A proposal is taken from whoever makes it."""

    def on_proposal(self: Replica, peer: Any, proposal: Proposal, block: Any) -> None:
        if proposal.height != self.height:
            return
        self._heard()
        if block is not None and block.id == proposal.block_id:
            self._judge(block)
            self._feed(ProposalSeen(proposal, self._is_timely(block)))

    def count(state: State, proposal: Proposal, timely: bool) -> Any:
        kept = state.at(proposal.round)
        if kept.proposal is not None or proposal.height != state.height or not 0 <= proposal.round <= 100:
            return state, ()
        seen = replace(kept, proposal=SeenProposal(proposal, timely))
        return state.with_round(proposal.round, seen), ()

    return [(Replica, "_on_proposal", on_proposal), (machine, "count_proposal", count)]


# --- what is let in -------------------------------------------------------------------------------------------------


def unsigned_proposal() -> Patches:
    async def proposal(self: admission.Door, peer: Any, message: Any) -> Any:
        try:
            seen = proposal_from_wire(message.proposal)
        except ValueError as error:
            return admission.Fault(str(error))
        block = await self._proposed_block(seen, message.block) if message.block else None
        return block if isinstance(block, admission.Fault) else ProposalReceived(peer, seen, block)

    return [(admission.Door, "proposal", proposal)]


def unsigned_votes() -> Patches:
    async def right(pool: Any, items: Any) -> list[bool]:
        return [True] * len(items)

    return [(admission, "verify_in", right)]


def duplicate_signer() -> Patches:
    """A commit's entries are counted without a look at whose they are."""
    return [(commits, "_wrong_entry", lambda index, entry, validator: None)]


def commit_unchecked() -> Patches:
    return [(Ledger, "decided_fault", lambda self, block, commit: self.fault(block))]


def invalid_blocks() -> Patches:
    return [(Ledger, "fault", lambda self, block: None)]


def root_unchecked() -> Patches:
    honest = validity._header_fault

    def fault(block: Any, *rest: Any) -> str | None:
        reason = honest(block, *rest)
        return None if reason is not None and "state root" in reason else reason

    return [(validity, "_header_fault", fault)]


def nonces_unchecked() -> Patches:
    return [(validity, "_transactions_fault", lambda *what: None)]


def times_unchecked() -> Patches:
    return [(Replica, "_is_timely", lambda self, block: True)]


def borrowed_name() -> Patches:
    """As it was once: the block's header may name somebody else as its proposer."""

    def on_proposal(self: Replica, peer: Any, proposal: Proposal, block: Any) -> None:
        if block is not None and block.id == proposal.block_id and proposal.height == self.height:
            self._heard()
            self._judge(block)
            self._feed(ProposalSeen(proposal, self._is_timely(block)))

    return [(Replica, "_on_proposal", on_proposal)]


def evidence_ignored() -> Patches:
    return [(Replica, "_keep_evidence", lambda self, raw: None)]


# --- what must be durable -------------------------------------------------------------------------------------------


def sign_before_sync() -> Patches:
    """Log and guard are written, but not synced before the signature leaves."""

    def append(self: WriteAheadLog, records: tuple[LogRecord, ...]) -> None:
        with patch.object(VirtualDisk, "sync", lambda disk, descriptor: None):
            honest_append(self, records)

    def remember(self: FileSigner, record: SignedOnce) -> None:
        with patch.object(VirtualDisk, "sync", lambda disk, descriptor: None):
            honest_remember(self, record)

    honest_append, honest_remember = WriteAheadLog.append, FileSigner._remember
    return [(WriteAheadLog, "append", append), (FileSigner, "_remember", remember)]


def unguarded() -> Patches:
    """Own messages are not logged, and the signer signs whatever it is asked to."""

    def sign(self: FileSigner, message: Any) -> Any:
        signed_bytes = sign_bytes_of(self._chain_id, message)
        record = SignedOnce(position_of(message), bytes(32), self._sign_with(signed_bytes))
        return replace(message, signature=record.signature)

    return [(FileSigner, "sign", sign), *_not_logged(LoggedOwn)]


def lock_not_logged() -> Patches:
    return _not_logged(LoggedLock)


def _not_logged(kind: type) -> Patches:
    honest = WriteAheadLog.append

    def append(self: WriteAheadLog, records: tuple[LogRecord, ...]) -> None:
        honest(self, tuple(r for r in records if not isinstance(r, kind)))

    return [(WriteAheadLog, "append", append)]


def double_apply() -> Patches:
    """As it was once: a fetched block is on its way to the disk when the votes for it decide it too."""

    def decide(self: Replica, block: Any, commit: Any) -> None:
        self._applying = True
        self._out.append(Apply(block, commit))

    return [(Replica, "_decide", decide)]


class AnyRoot(bytes):
    """Never unlike another."""

    def __ne__(self, other: object) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = bytes.__hash__


def snapshot_unchecked() -> Patches:
    honest = snapshot._write_state
    return [(snapshot, "_write_state", lambda kv, entries: AnyRoot(honest(kv, entries)))]


def offer_unchecked() -> Patches:
    return [(snapshot, "offer_fault", lambda offer, genesis, verify: None)]


LINKS = frozenset({"drop", "delay", "partition", "asymmetric"})
POWER = frozenset({"crash", "torn", "delay", "drop"})
LOCKS = frozenset({"mute", "delay", "split"})
BUSY: tuple[tuple[str, Any], ...] = (("share", 1.0), ("transactions", 30), ("calm_ms", 30_000))
"""All the faults at once, and a chain that never rests: for what needs a rare meeting of faults."""

TABLE: list[tuple[str, str, Callable[[], Patches], frozenset[str] | set[str], int, bool]] = [
    # name, what is broken, how, faults in which it shows, seeds within which it is found, whether it needs a busy chain
    ("quorum_minus_one", "two of four are a quorum", quorum_minus_one, LINKS, 10, False),
    ("lock_forgotten", "a locked validator prevotes another fresh block", lock_forgotten, LOCKS, 150, True),
    ("proof_unchecked", "a claimed proof of lock is believed", proof_unchecked, LOCKS | {"false_proof"}, 500, True),
    ("stale_timeout", "a timer of an earlier round counts", stale_timeout, {"mute", "split"}, 100, True),
    ("hasty_decision", "a quorum of prevotes decides", hasty_decision, LINKS, 10, False),
    ("precommits_at_once", "two prevotes lock", precommits_at_once, LINKS, 10, False),
    ("double_vote_counts", "both votes of one count", double_vote_counts, {"equivocate", "amnesia"}, 30, False),
    ("out_of_turn", "a proposal is taken from anyone", out_of_turn, {"impostor"}, 30, False),
    ("unsigned_proposal", "a proposal needs no signature", unsigned_proposal, {"impostor"}, 30, False),
    ("unsigned_votes", "votes need no signature", unsigned_votes, {"impostor"}, 20, False),
    (
        "duplicate_signer",
        "one signer fills a commit",
        duplicate_signer,
        LINKS | {"forge", "heights", "crash"},
        60,
        False,
    ),
    ("commit_unchecked", "fetched blocks need no commit", commit_unchecked, LINKS | {"forge", "crash"}, 60, False),
    ("invalid_blocks", "any block is valid", invalid_blocks, {"invalid"}, 50, False),
    ("root_unchecked", "a header may name any state root", root_unchecked, {"invalid"}, 100, False),
    ("nonces_unchecked", "a transaction may stand twice", nonces_unchecked, {"replay"}, 20, False),
    ("times_unchecked", "a block may be of any time", times_unchecked, {"times"}, 30, False),
    ("borrowed_name", "a block may name another proposer", borrowed_name, {"invalid"}, 100, False),
    ("evidence_ignored", "nobody keeps evidence", evidence_ignored, {"equivocate"}, 10, False),
    ("sign_before_sync", "signatures leave before the disk has them", sign_before_sync, POWER, 60, False),
    ("unguarded", "no guard, and own messages are not logged", unguarded, POWER, 60, False),
    ("lock_not_logged", "a restarted validator has no lock", lock_not_logged, {"delay", "drop", "crash"}, 600, True),
    ("double_apply", "a block is applied twice", double_apply, LINKS | {"mute", "split"}, 150, True),
]
SNAPSHOTS = frozenset({"wipe", "forge", "snapshot"})
SEVEN: tuple[tuple[str, Any], ...] = (("validators", 7), ("share", 1.0))
"""Four validators cannot bear a liar and a lost disk at once."""

MUTANTS: dict[str, Mutant] = {
    **{
        name: Mutant(what, patches, frozenset(faults), within, BUSY if busy else ())
        for name, what, patches, faults, within, busy in TABLE
    },
    "snapshot_unchecked": Mutant("a snapshot may hold any state", snapshot_unchecked, SNAPSHOTS, 60, SEVEN),
    "offer_unchecked": Mutant("a snapshot needs no proof", offer_unchecked, SNAPSHOTS, 100, SEVEN),
}
