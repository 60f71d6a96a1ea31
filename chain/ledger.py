"""The chain as one node holds it: executes decided blocks, keeps them in atomic batches, answers with proofs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgpack

from chain import merkle, validity
from chain.block import Block, Header, make_block
from chain.directory import ContractInfo, Directory
from chain.evidence import fault_in
from chain.executor import CallsOutcome, execute_block, execute_calls, next_nonce, nonce_key
from chain.foresight import Foresight
from chain.genesis import Genesis
from chain.genesis_state import genesis_state, write_first_state
from chain.governance import GoverningRuntime, enact_due
from chain.hashes import ZERO_HASH
from chain.kv import KV
from chain.merkle import ListProof
from chain.overlay import Overlay
from chain.protocol import KNOWN, UnknownProtocolError
from chain.receipt import pack_list
from chain.refusal import Refusal
from chain.snapshot import discard_unfinished
from chain.state import StateChange, open_state
from chain.statecache import StateCache
from chain.stateproof import StateProof
from chain.store import (
    BLOCK,
    COMMIT,
    GENESIS,
    HEAD,
    RECEIPTS,
    TX,
    UNDO,
    BlockStore,
    CorruptStoreError,
    Head,
    at_height,
    encode_head,
    encode_undo,
)
from chain.system import EVIDENCE_AT, EVIDENCE_COUNT, SystemState, end_of_block, read_system
from chain.tx import Tx, TxCall, Verify
from chain.wire import encode_commit, validators_hash
from consensus.commits import verify_commit
from consensus.types import BlockId, Commit, Height, ValidatorId
from contracts.runtime.api import Call, Outcome, Runtime, StateView
from contracts.runtime.codec import decode
from contracts.runtime.keys import CODE_PREFIX, source_key

TRIED_FIRST = 8  # transactions of many
KEPT_UNDOS = 2  # how many blocks back the state can be read with proofs, or rolled back to


@dataclass(frozen=True, slots=True)
class ProvedRead:
    key: bytes
    value: bytes | None
    proof: StateProof


@dataclass(frozen=True, slots=True)
class ProvedQuery:
    """An outcome on the state after `height`, every key it read under the state root of header `height` + 1."""

    outcome: Outcome
    height: int
    reads: tuple[ProvedRead, ...]
    header_bytes: bytes
    commit_bytes: bytes


@dataclass(frozen=True, slots=True)
class ProvedKey:
    """A key's value after `height`, under the state root of header `height` + 1."""

    read: ProvedRead
    height: int
    header_bytes: bytes
    commit_bytes: bytes


Lap = Callable[[str | None], None]
"""Told what the time since the last lap went to; None begins a round."""


def _no_lap(stage: str | None) -> None:
    return None


class Ledger:
    """Opens the chain in `kv`, or begins it from the genesis. `verify` checks the signatures of commits.

    `protocols` are the versions of the rules that this program can carry out. Raises UnknownProtocolError, here and in
    `apply`, where the next height needs another one: what is decided up to there is kept.
    """

    def __init__(
        self, kv: KV, runtime: Runtime, genesis: Genesis, verify: Verify, protocols: frozenset[int] = KNOWN
    ) -> None:
        self._kv = kv
        self.lap: Lap = _no_lap  # a host that wants to know where the time goes sets its own
        self._runtime: Runtime = GoverningRuntime(runtime)
        self._verify = verify
        self.chain_id = genesis.chain_id
        self.store = BlockStore(kv)
        head = self.store.head()
        if head is None:
            head = self._begin(genesis)
        elif kv.get(GENESIS) != genesis.chain_id.encode():
            raise CorruptStoreError("the store holds another network's chain: use another folder or the right genesis")
        self.head = head
        self._tree = open_state(kv, head.state_root)
        self._tree.warm()
        self._state = StateCache(self._tree)
        self.view: StateView = self._state
        self.system: SystemState = read_system(self.view, head.height)
        self._directory = Directory(self.view)
        self._foresight = Foresight()
        self._past: tuple[int, StateView, StateChange] | None = None
        self._protocols = protocols
        self._require_known()

    def _require_known(self) -> None:
        following = self.head.height + 1
        version = self.system.protocol.at(following)
        if version not in self._protocols:
            raise UnknownProtocolError(
                f"from height {following} on the chain follows version {version} of its rules, and this program knows up to "
                f"{max(self._protocols)}: install a newer release and start again; nothing is lost"
            )

    def _begin(self, genesis: Genesis) -> Head:
        discard_unfinished(self._kv)
        writes = genesis_state(self._runtime, genesis)
        change = open_state(self._kv).plan(writes)
        head = Head(0, BlockId(ZERO_HASH), genesis.time_ms, change.root, merkle.root([]))
        write_first_state(self._kv, change.puts, [(HEAD, encode_head(head)), (GENESIS, genesis.chain_id.encode())])
        return head

    # --- proposing and deciding ---------------------------------------------------------------------------------

    def propose(
        self,
        txs: Sequence[Tx],
        evidence: Sequence[bytes],
        time_ms: int,
        proposer: ValidatorId,
        last_commit: Commit | None = None,
    ) -> Block:
        """A valid block on top of the head; its time is `time_ms`, or just after the head's.

        `last_commit` may be a fuller certificate for the head than the stored one (more late signatures).
        """
        head, system = self.head, self.system
        if last_commit is None and head.height:
            last_commit = self.store.commit(head.height)
        header = Header(
            chain_id=self.chain_id,
            height=Height(head.height + 1),
            time_ms=max(time_ms, head.time_ms + 1),
            proposer=proposer,
            parent=head.block_id,
            tx_root=ZERO_HASH,
            state_root=head.state_root,
            receipt_root=head.receipt_root,
            validators_hash=validators_hash(system.validators),
            next_validators_hash=validators_hash(system.next_validators),
            evidence_root=ZERO_HASH,
            last_commit_hash=ZERO_HASH,
            version=system.protocol.at(head.height + 1),
        )
        return make_block(header, txs, evidence, encode_commit(last_commit) if last_commit else b"", last_commit)

    def fault(self, block: Block) -> str | None:
        """Why the block may not follow the head, or None."""
        return validity.fault(block, self.head, self.system, self.view, self.chain_id, self._verify)

    def decided_fault(self, block: Block, commit: Commit) -> str | None:
        """Why a block that another node hands over as decided may not be applied next, or None: the whole commit is
        checked, not only a quorum of it, and the block as if it were proposed."""
        height = Height(self.head.height + 1)
        error = verify_commit(commit, self.chain_id, self.system.validators, height, block.id, self._verify)
        return f"{error.code}: {error.detail}" if error is not None else self.fault(block)

    def unknown_call(self, tx: Tx) -> Refusal | None:
        """Why a transaction cannot work whatever the state: it calls what does not exist."""
        return self._directory.unknown_call(tx)

    def expect(self, txs: Sequence[Tx]) -> None:
        """Reads the nonces of these transactions' senders at once, before each is asked for."""
        self._fetch(_nonce_keys, txs)

    def _fetch(self, keys: Callable[[Sequence[Tx]], list[bytes]], txs: Sequence[Tx]) -> None:
        """Reads the keys that these transactions need. Where the first ones' are in memory, so most others' are: then it leaves
        them."""
        if self._state.lacks_some(keys(txs[:TRIED_FIRST])):
            self._state.fetch(keys(txs))

    def contracts(self) -> tuple[ContractInfo, ...]:
        """The contracts on the chain, by name."""
        return self._directory.contracts()

    def apply(self, block: Block, commit: Commit) -> Head:
        """Executes a decided block on top of the head; block, state, receipts and head become durable in one batch."""
        height, time_ms = block.header.height, block.header.time_ms
        assert block.header.parent == self.head.block_id
        assert commit.block_id == block.id
        self.lap(None)
        self._fetch(self._foresight.keys, block.txs)
        outcome = execute_block(self._runtime, self.view, block.txs, height, time_ms)
        writes = outcome.writes
        state = Overlay(self.view, writes)
        writes.update(enact_due(self._runtime, state, height, time_ms))
        system, system_writes = end_of_block(self.system, state, height, block.last_commit, block.evidence)
        writes.update(system_writes)
        receipts = outcome.receipts
        receipt_root = merkle.root(receipts)
        self.lap("execute")
        before = self._state.many(writes)
        for key in [key for key, value in writes.items() if before[key] == value]:
            del before[key], writes[key]
        change = self._tree.plan(writes)
        head = Head(height, block.id, time_ms, change.root, receipt_root)
        self.lap("state")

        puts: list[tuple[bytes, bytes]] = [
            (at_height(BLOCK, height), block.raw),
            (at_height(COMMIT, height), encode_commit(commit)),
            (at_height(RECEIPTS, height), pack_list(receipts)),
            (at_height(UNDO, height), encode_undo(before)),
            (HEAD, encode_head(head)),
        ]
        place = height.to_bytes(8, "big")
        puts += [(TX + tx.id, place + index.to_bytes(4, "big")) for index, tx in enumerate(block.txs)]
        puts += change.puts
        deletes = change.deletes.copy()
        if height > KEPT_UNDOS:
            deletes.append(at_height(UNDO, height - KEPT_UNDOS))
        self._kv.write(puts, deletes)

        self._tree.adopt(change)
        self._state.applied(writes)
        self._directory.state_changed()
        self._foresight.learn(outcome.examples)
        self.lap("store")
        self.head, self.system = head, system
        self._past = None
        self._require_known()
        return head

    # --- asking ---------------------------------------------------------------------------------------------------

    def next_nonce(self, sender: str) -> int:
        return next_nonce(self.view, sender)

    def query(self, contract: str, view: str, args: bytes, sender: str, gas_limit: int) -> tuple[Outcome, int]:
        """Runs a view on the latest state; also the height whose outcome that is."""
        return self._run_view(self.view, contract, view, args, sender, gas_limit, self.head.time_ms), self.head.height

    def prove_query(self, contract: str, view: str, args: bytes, sender: str, gas_limit: int) -> ProvedQuery | None:
        """Runs a view on the newest state that a decided header vouches for; None at height 0, where none does."""
        past = self._provable()
        vouching = self.store.header(self.head.height)
        commit_bytes = self.store.commit_bytes(self.head.height)
        if past is None or vouching is None or commit_bytes is None:
            return None
        state, back = past
        recorder = _Recorder(state)
        outcome = self._run_view(recorder, contract, view, args, sender, gas_limit, vouching[0].time_ms)
        _read_sources(recorder)
        reads = tuple(ProvedRead(key, value, self._tree.prove(key, back)) for key, value in recorder.seen.items())
        return ProvedQuery(outcome, self.head.height - 1, reads, vouching[1], commit_bytes)

    def prove_key(self, key: bytes) -> ProvedKey | None:
        """One key of the newest state that a decided header vouches for, present or absent; None at height 0."""
        past = self._provable()
        vouching = self.store.header(self.head.height)
        commit_bytes = self.store.commit_bytes(self.head.height)
        if past is None or vouching is None or commit_bytes is None:
            return None
        state, back = past
        read = ProvedRead(key, state.get(key), self._tree.prove(key, back))
        return ProvedKey(read, self.head.height - 1, vouching[1], commit_bytes)

    def simulate(self, sender: str, calls: Sequence[TxCall], gas_limit: int) -> CallsOutcome:
        """Runs calls as the next block would, and forgets what they write."""
        height, time_ms = self.head.height + 1, self.head.time_ms + 1
        return execute_calls(self._runtime, self.view, calls, sender, height, time_ms, gas_limit)

    def prove_receipt(self, height: int, index: int) -> tuple[ListProof, bytes, bytes] | None:
        """The receipt's place under the next header, that header and its commit; None until there is one."""
        receipts = self.store.receipts(height)
        vouching = self.store.header(height + 1)
        commit_bytes = self.store.commit_bytes(height + 1)
        if receipts is None or vouching is None or commit_bytes is None:
            return None
        return merkle.prove(receipts, index), vouching[1], commit_bytes

    def evidence(self, start: int, count: int) -> list[tuple[int, bytes]]:
        """Committed evidence by number, from `start`: (height of its block, encoded Evidence)."""
        total = int.from_bytes(self.view.get(EVIDENCE_COUNT) or b"", "big")
        found = [self.view.get(EVIDENCE_AT + n.to_bytes(8, "big")) for n in range(start, min(total, start + count))]
        return [tuple(msgpack.unpackb(raw)) for raw in found if raw is not None]

    def evidence_fault(self, raw: bytes) -> str | None:
        """Why a piece of evidence may not stand in the next block, or None."""
        return fault_in(raw, self.head.height + 1, self.view, self.chain_id, self._verify)

    def _run_view(
        self, state: StateView, contract: str, view: str, args: bytes, sender: str, gas_limit: int, time_ms: int
    ) -> Outcome:
        call = Call(contract, view, args, sender, self.head.height, time_ms, read_only=True)
        return self._runtime.execute(call, state, gas_limit)

    def _provable(self) -> tuple[StateView, StateChange] | None:
        """The state before the head block, whose root is in the head's header, and what leads the tree back to it."""
        height = self.head.height
        if self._past is None or self._past[0] != height:
            undo = self.store.undo(height)
            found = self.store.header(height)
            if undo is None or found is None:
                return None
            change = self._tree.plan(undo)
            assert change.root == found[0].state_root, "the state before the head does not have the root in its header"
            self._past = height, Overlay(self.view, undo), change
        return self._past[1], self._past[2]


def _nonce_keys(txs: Sequence[Tx]) -> list[bytes]:
    return [nonce_key(tx.sender) for tx in txs]


def _read_sources(recorder: _Recorder) -> None:
    """A runtime that has a contract compiled does not read its source again, but who verifies the view needs it."""
    for key, value in list(recorder.seen.items()):
        if key.startswith(CODE_PREFIX) and value is not None:
            recorder.get(source_key(decode(value)[1]))


class _Recorder:
    """A view that remembers what was read through it, in the order of first reads."""

    __slots__ = ("_base", "seen")

    def __init__(self, base: StateView) -> None:
        self._base = base
        self.seen: dict[bytes, bytes | None] = {}

    def get(self, key: bytes, /) -> bytes | None:
        seen = self.seen
        if key in seen:
            return seen[key]
        value = seen[key] = self._base.get(key)
        return value
