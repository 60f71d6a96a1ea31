"""Blocks that break one rule each, well-formed otherwise: their lists are those that their headers name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from chain.block import Block, make_block
from chain.evidence import encode_evidence
from chain.tx import Tx
from chain.wire import encode_commit
from consensus.evidence import double_vote
from consensus.types import BlockId, Commit, CommitEntry, CommitStatus, Height, Round, ValidatorId, Vote, VoteKind

if TYPE_CHECKING:
    from devnet.simnet.byzantine import Byzantine

LIAR = b"\x66" * 32


def remade(block: Block, **header: Any) -> Block:
    """The block with other header fields."""
    commit = block.last_commit
    raw_commit = encode_commit(commit) if commit is not None else b""
    return make_block(replace(block.header, **header), block.txs, block.evidence, raw_commit, commit)


def with_time(block: Block, time_ms: int) -> Block:
    return remade(block, time_ms=time_ms)


def with_transactions(_byzantine: Byzantine, block: Block, txs: Sequence[Tx]) -> Block:
    return remade(replace(block, txs=tuple(txs)))


def with_proposer(_byzantine: Byzantine, block: Block, proposer: ValidatorId) -> Block:
    return remade(block, proposer=proposer)


FORGERIES: dict[str, Callable[[Byzantine, Block, Any], Block]] = {
    "transactions": with_transactions,
    "proposer": with_proposer,
}


def spoilt(byzantine: Byzantine, block: Block) -> Block:
    """The block with one rule broken, by chance."""
    name = byzantine.world.random.choice(tuple(SPOILS))
    byzantine.world.note(byzantine, f"spoils {name}")
    return SPOILS[name](byzantine, block)


def _with_commit(block: Block, change: Callable[[Commit], Commit]) -> Block:
    commit = None if block.last_commit is None else change(block.last_commit)
    return remade(replace(block, last_commit=commit))


def _one_signer(byzantine: Byzantine, block: Block) -> Block:
    """A last commit in which one validator signs for all."""

    def change(commit: Commit) -> Commit:
        vote = Vote(VoteKind.PRECOMMIT, commit.height, commit.round, commit.block_id, byzantine.id)
        mine = byzantine.signed_vote(vote).signature
        return replace(
            commit, entries=tuple(CommitEntry(CommitStatus.COMMIT, byzantine.id, mine) for _ in commit.entries)
        )

    return _with_commit(block, change)


def _few_signers(_byzantine: Byzantine, block: Block) -> Block:
    def change(commit: Commit) -> Commit:
        kept = commit.entries[:1]
        return replace(
            commit, entries=kept + tuple(CommitEntry(CommitStatus.ABSENT, e.validator) for e in commit.entries[1:])
        )

    return _with_commit(block, change)


def _false_evidence(byzantine: Byzantine, block: Block) -> Block:
    """Against somebody else, with signatures that are none."""
    random, height = byzantine.world.random, Height(max(1, block.header.height - 1))
    victim = random.choice([i for i in byzantine.world.town.ids if i != byzantine.id])
    votes = [
        Vote(VoteKind.PREVOTE, height, Round(0), BlockId(random.randbytes(32)), victim, random.randbytes(64))
        for _ in range(2)
    ]
    return remade(replace(block, evidence=(*block.evidence, encode_evidence(double_vote(votes[0], votes[1])))))


def _wrong_signature(_byzantine: Byzantine, block: Block) -> Block:
    """A client's transaction with a changed signature: nobody signed it."""
    txs = tuple(tx._replace(raw=tx.raw[:-1] + bytes([tx.raw[-1] ^ 1])) for tx in block.txs)
    return remade(replace(block, txs=txs))


SPOILS: dict[str, Callable[[Byzantine, Block], Block]] = {
    "state root": lambda _, b: remade(b, state_root=LIAR),
    "receipt root": lambda _, b: remade(b, receipt_root=LIAR),
    "parent": lambda _, b: remade(b, parent=BlockId(LIAR)),
    "height": lambda _, b: remade(b, height=Height(b.header.height + 1)),
    "validators": lambda _, b: remade(b, validators_hash=LIAR),
    "next validators": lambda _, b: remade(b, next_validators_hash=LIAR),
    "version": lambda _, b: remade(b, version=2),
    "chain": lambda _, b: remade(b, chain_id="another chain"),
    "stranger": lambda _, b: remade(b, proposer=ValidatorId(LIAR[:20])),
    "somebody else": lambda z, b: remade(b, proposer=z.world.random.choice(z.world.town.ids)),
    "no commit": lambda _, b: remade(replace(b, last_commit=None)),
    "one signer": _one_signer,
    "few signers": _few_signers,
    "evidence": _false_evidence,
    "twice": lambda _, b: remade(replace(b, txs=b.txs + b.txs)),
    "gap": lambda _, b: remade(replace(b, txs=b.txs[1:])),
    "backwards": lambda _, b: remade(replace(b, txs=b.txs[::-1])),
    "signature": _wrong_signature,
}
