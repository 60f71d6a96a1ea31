"""What all schedules share: keys, a genesis, clients' signed transactions, and caches of what is the same every time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from nacl.bindings import crypto_sign, crypto_sign_BYTES
from nacl.signing import SigningKey

from chain.block import Block, decode_block
from chain.genesis import ChainParams, Genesis, GenesisCall, Member, build_genesis
from chain.hashes import address
from chain.ledger import Ledger
from chain.memory import MemoryKV
from chain.refusal import Refusal
from chain.tx import Tx, TxCall, decode_tx, encode_body, encode_tx, sign_bytes
from chain.wire import decode_commit
from consensus.types import Commit, ValidatorId
from contracts.energy import SOURCES
from contracts.runtime.api import Runtime
from contracts.runtime.codec import encode
from contracts.runtime.engine import MeteredRuntime
from node import ed25519

SENDERS = 6
FUNDS_MICROS = 1_000_000
EXPIRY_HEIGHT = 50_000
TIME_MS = 1_700_000_000_000
CACHED = 20_000  # of each kind: some hundred schedules, of which little comes again


@dataclass(frozen=True, slots=True)
class Payment:
    """What a client's transaction says, kept apart from how it is encoded."""

    number: int
    sender: str
    nonce: int
    to: str
    amount_micros: int


class Town:
    """One for each number of validators. Nothing in it changes what a schedule does: the caches hold pure results."""

    def __init__(self, validators: int) -> None:
        self.runtime: Runtime = MeteredRuntime()
        keys = [SigningKey(f"simulated validator {i}".encode().ljust(32, b".")) for i in range(validators)]
        by_id = sorted(keys, key=lambda k: address(k.verify_key.encode()))
        self.keys = by_id
        self._secrets = [k.encode() + k.verify_key.encode() for k in by_id]  # as libsodium wants them
        self.ids = [ValidatorId(address(k.verify_key.encode())) for k in by_id]
        self.senders = [SigningKey(f"simulated client {i}".encode().ljust(32, b".")) for i in range(SENDERS)]
        self.accounts = [address(k.verify_key.encode()).hex() for k in self.senders]
        self.funds_micros = FUNDS_MICROS
        self.money_micros = SENDERS * FUNDS_MICROS
        self.public_keys = {i: k.verify_key.encode() for i, k in zip(self.ids, by_id, strict=True)}
        self.genesis = self._genesis()
        store = MemoryKV()
        Ledger(store, self.runtime, self.genesis, ed25519.verify)
        self.genesis_store: dict[bytes, bytes] = dict(store.scan(b"", b"\xff" * 8))
        self._txs: dict[int, Tx] = {}
        self._by_raw: dict[bytes, Tx] = {}
        self._payments: dict[bytes, Payment] = {}
        self._by_key: dict[bytes, Tx] = {}
        self._blocks: dict[bytes, Block] = {}
        self._commits: dict[bytes, Commit] = {}
        self._signed: dict[tuple[int, bytes], bytes] = {}
        self._verified: dict[tuple[bytes, bytes, bytes], bool] = {}

    def _genesis(self) -> Genesis:
        members = tuple(
            Member(f"v{i}", "validator", k.verify_key.encode(), 1, f"simulated:{i}", "")
            for i, k in enumerate(self.keys)
        )
        sources = tuple((name, SOURCES[name].decode()) for name in ("registry", "payments"))
        operator = self.accounts[0]
        calls = [GenesisCall("registry", "grant", (operator, "OPERATOR"))]
        calls += [GenesisCall("payments", "mint", (a, FUNDS_MICROS, "genesis")) for a in self.accounts]
        return build_genesis("simnet", TIME_MS, "EUR", members, ChainParams(), sources, tuple(calls))

    def tx(self, number: int) -> Tx:
        """The clients' n-th transaction: a payment of n micros, so that no two are alike."""
        if number not in self._txs:
            sender, nonce = number % SENDERS, number // SENDERS
            key = self.senders[sender]
            public_key = key.verify_key.encode()
            to = self.accounts[(sender + 1 + nonce % (SENDERS - 1)) % SENDERS]
            args = encode([to, number + 1])
            body = encode_body(
                self.genesis.chain_id,
                address(public_key),
                nonce,
                EXPIRY_HEIGHT,
                1_000_000,
                (TxCall("payments", "transfer", args),),
            )
            raw = encode_tx(body, public_key, key.sign(sign_bytes(body)).signature)
            decoded = decode_tx(raw, self.genesis.chain_id)
            assert not isinstance(decoded, Refusal)
            tx = self._txs[number] = self._by_raw[raw] = decoded[0]
            self._by_key[tx.key] = tx
            self._payments[raw] = Payment(number, self.accounts[sender], nonce, to, number + 1)
        return self._txs[number]

    def decoded_txs(self, raw_txs: tuple[bytes, ...]) -> tuple[Tx, ...]:
        """What honest nodes pass on is what clients signed here."""
        return tuple([self._by_raw[raw] for raw in raw_txs])

    def payment(self, raw: bytes) -> Payment | None:
        """What a client meant by these bytes; None if no client signed them."""
        return self._payments.get(raw)

    def decoded(self, raw_block: bytes) -> Block:
        """A block that passed somebody's door, so that its signatures are right."""
        block = self._blocks.get(raw_block)
        if block is None:
            if len(self._blocks) >= CACHED:
                self._blocks.clear()
            block, _ = decode_block(raw_block, self.genesis.chain_id, self._by_key.get)
            self._blocks[raw_block] = block
        return block

    def decoded_commit(self, raw: bytes) -> Commit:
        commit = self._commits.get(raw)
        if commit is None:
            if len(self._commits) >= CACHED:
                self._commits.clear()
            commit = self._commits[raw] = decode_commit(raw)
        return commit

    def sign(self, validator: int, message: bytes) -> bytes:
        """Ed25519 gives one signature for one message and key."""
        place = (validator, message)
        signature = self._signed.get(place)
        if signature is None:
            if len(self._signed) >= CACHED:
                self._signed.clear()
            signature = self._signed[place] = crypto_sign(message, self._secrets[validator])[:crypto_sign_BYTES]
            self._keep(self.public_keys[self.ids[validator]], message, signature, True)
        return signature

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """The production verifier, asked once for each signature that was not made here."""
        key = (public_key, message, signature)
        right = self._verified.get(key)
        if right is None:
            right = ed25519.verify(public_key, message, signature)
            self._keep(public_key, message, signature, right)
        return right

    def _keep(self, public_key: bytes, message: bytes, signature: bytes, right: bool) -> None:
        if len(self._verified) >= CACHED:
            self._verified.clear()
        self._verified[public_key, message, signature] = right


@cache
def town_of(validators: int) -> Town:
    return Town(validators)
