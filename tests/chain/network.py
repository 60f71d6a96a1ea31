"""A chain without a network: blocks are made, signed by all validators and applied by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgpack
from nacl.signing import SigningKey

from chain.block import Block
from chain.genesis import ChainParams, Genesis, GenesisCall, Member, build_genesis
from chain.hashes import address
from chain.kv import KV
from chain.ledger import Ledger
from chain.memory import MemoryKV
from chain.receipt import decode_receipt
from chain.refusal import Refusal
from chain.tx import Tx, TxCall, decode_tx, encode_body, encode_tx, sign_bytes
from consensus.signbytes import vote_sign_bytes
from consensus.types import (
    Commit,
    CommitEntry,
    CommitStatus,
    Round,
    ValidatorId,
    Vote,
    VoteKind,
)
from contracts.energy import SOURCES, genesis_calls
from contracts.runtime.engine import MeteredRuntime
from node.ed25519 import verify
from tests.chain.txs import address_of, key_of

TIME_MS = 1_700_000_000_000
VALIDATORS = ("v0", "v1", "v2", "v3")
CLIENTS = ("alice", "bob", "carol", "operator")
FUNDS_MICROS = 1_000_000


def member(name: str, power: int = 1) -> Member:
    return Member(name, "utility", key_of(name).verify_key.encode(), power, "127.0.0.1:1", "")


def genesis(params: ChainParams = ChainParams(), contracts: Sequence[str] = ("registry", "payments")) -> Genesis:
    calls: list[GenesisCall] = []
    if contracts:
        operator = address_of("operator")
        calls += [GenesisCall(*c) for c in genesis_calls(operator, operator, operator) if c[0] in contracts]
        calls += [GenesisCall("payments", "mint", (address_of(c), FUNDS_MICROS, "genesis")) for c in CLIENTS]
    sources = tuple((name, SOURCES[name].decode()) for name in contracts)
    return build_genesis("test", TIME_MS, "EUR", tuple(member(v) for v in VALIDATORS), params, sources, tuple(calls))


@dataclass
class Chain:
    """`keys` are all keys that may ever validate, by address."""

    genesis: Genesis
    kv: KV = field(default_factory=MemoryKV)
    ledger: Ledger = field(init=False)
    nonces: dict[str, int] = field(default_factory=dict)
    keys: dict[bytes, SigningKey] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.kv, MeteredRuntime(), self.genesis, verify)
        for name in (*VALIDATORS, "v4", "v5"):
            key = key_of(name)
            self.keys[address(key.verify_key.encode())] = key

    def tx(self, sender: str, *calls: TxCall, nonce: int | None = None) -> Tx:
        if nonce is None:
            nonce = self.nonces.get(sender, 0)
            self.nonces[sender] = nonce + 1
        key = key_of(sender)
        public_key = key.verify_key.encode()
        body = encode_body(self.genesis.chain_id, address(public_key), nonce, 10_000, 50_000_000, calls)
        raw = encode_tx(body, public_key, key.sign(sign_bytes(body)).signature)
        decoded = decode_tx(raw, self.genesis.chain_id)
        assert not isinstance(decoded, Refusal), decoded
        return decoded[0]

    def propose(self, *txs: Tx, evidence: Sequence[bytes] = ()) -> Block:
        proposer = self.ledger.system.turns.proposer(Round(0))
        return self.ledger.propose(txs, evidence, self.ledger.head.time_ms + 100, proposer)

    def commit(self, block: Block, signers: Sequence[ValidatorId] | None = None, round_: int = 0) -> Commit:
        """A certificate signed by `signers` (everybody)."""
        entries = []
        for validator in self.ledger.system.validators.validators:
            if signers is not None and validator.id not in signers:
                entries.append(CommitEntry(CommitStatus.ABSENT, validator.id))
                continue
            vote = Vote(VoteKind.PRECOMMIT, block.header.height, Round(round_), block.id, validator.id)
            signature = self.keys[validator.id].sign(vote_sign_bytes(self.genesis.chain_id, vote)).signature
            entries.append(CommitEntry(CommitStatus.COMMIT, validator.id, signature))
        return Commit(block.header.height, Round(round_), block.id, tuple(entries))

    def grow(self, *txs: Tx, evidence: Sequence[bytes] = (), round_: int = 0) -> list[tuple[bool, str]]:
        """One more block; what became of its transactions."""
        block = self.propose(*txs, evidence=evidence)
        assert self.ledger.fault(block) is None, self.ledger.fault(block)
        self.ledger.apply(block, self.commit(block, round_=round_))
        receipts = [decode_receipt(raw) for raw in self.ledger.store.receipts(block.header.height) or []]
        return [(r.ok, r.code) for r in receipts]


def pay(to: str, amount_micros: int) -> TxCall:
    return call("payments", "transfer", address_of(to), amount_micros)


def call(contract: str, function: str, *args: object) -> TxCall:
    return TxCall(contract, function, msgpack.packb(list(args)))
