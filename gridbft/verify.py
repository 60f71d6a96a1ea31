"""Light verification: what follows from the signatures of validators that the caller trusts already.

Nothing here needs a node, a store or a connection. Every function raises VerificationError with a reason where a claim
does not follow; what it returns has been proved.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chain import merkle, stateproof
from chain.block import Header, block_id_of
from chain.genesis import load_genesis
from chain.hashes import address
from consensus.commits import verify_commit
from consensus.types import BlockId, Height, Power, Validator, ValidatorId, ValidatorSet
from contracts.runtime.api import Call, Runtime
from contracts.runtime.errors import RuntimeFault
from gridbft.errors import VerificationError
from gridbft.light import (
    CLOCK_DRIFT_MS,
    TRUSTING_PERIOD_MS,
    Trusted,
    advance,
    committed_power,
    genesis_trust,
    read_commit,
    read_header,
    read_validators,
    validators_hash,
    verify_signature,
)
from gridbft.proofs import EventClaim, Proof, StateClaim, decode_proof
from gridbft.records import EventRecord, receipt_from_bytes
from gridbft.v1 import chain_pb2 as wire
from gridbft.v1 import client_pb2 as client_wire

__all__ = [
    "ProvedEvent",
    "ProvedState",
    "ProvedValue",
    "Trust",
    "Verified",
    "validators_hash",
    "verify",
    "verify_header",
    "verify_header_commit",
    "verify_reads",
    "verify_receipt",
    "verify_signature",
    "verify_view",
]

VIEW_GAS_LIMIT = 2**62  # the node has paid already; here only the caller's own time is at stake


@dataclass(frozen=True, slots=True)
class Trust:
    """What a light client starts from: the chain's name, and its genesis' validators and time (None: not known)."""

    chain_id: str
    validators: ValidatorSet
    time_ms: int | None = None

    @classmethod
    def of(cls, chain_id: str, validators: Iterable[tuple[str, bytes, int]]) -> Trust:
        """`validators`: name, public key (32 bytes) and power of each, as in the genesis. Raises ValueError on nonsense."""
        members = [Validator(ValidatorId(address(key)), key, Power(power), name) for name, key, power in validators]
        return cls(chain_id, ValidatorSet.of(members))

    @classmethod
    def load(cls, genesis_file: str | os.PathLike[str]) -> Trust:
        """From a genesis file, obtained by a road that does not lead over the node. Raises VerificationError."""
        try:
            text = Path(genesis_file).read_text(encoding="utf-8")
        except OSError as error:
            raise VerificationError("BAD_GENESIS", f"{genesis_file} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise VerificationError("BAD_GENESIS", f"{genesis_file} is no text") from error
        return cls.read(text)

    @classmethod
    def read(cls, genesis_text: str) -> Trust:
        """From a genesis file's text. Raises VerificationError."""
        try:
            genesis = load_genesis(genesis_text)
        except ValueError as error:
            raise VerificationError("BAD_GENESIS", str(error)) from error
        return cls(genesis.chain_id, genesis.validators, genesis.time_ms)

    @property
    def root(self) -> Trusted:
        return genesis_trust(self.validators, self.time_ms)


@dataclass(frozen=True, slots=True)
class ProvedEvent:
    """A contract's event in a final transaction's receipt."""

    tx_id: str
    height: int
    index: int  # the transaction's place in its block
    event: EventRecord


@dataclass(frozen=True, slots=True)
class ProvedValue:
    """What a key of the state has after `height`; `value` is the stored msgpack, None where the key is absent."""

    key: bytes
    height: int
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Verified:
    """A fact, and the header that vouches for it: signed by `signed_power` of its validators' `total_power`."""

    chain_id: str
    claim: ProvedEvent | ProvedValue
    header_height: int
    header_time_ms: int
    block_id: str
    signed_power: int
    total_power: int
    steps: int

    def facts(self) -> dict[str, Any]:
        """What vouches for the claim, as a plain record."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "claim"}


def verify(
    proof: bytes, genesis: str, *, now_ms: int | None = None, trusting_period_ms: int = TRUSTING_PERIOD_MS
) -> Verified:
    """Checks a proof file's bytes against the text of the genesis file, with nothing else: no node, no network, no clock.

    Raises VerificationError with the reason. With `now_ms` (Unix time) also a header from the future is refused. Between
    two headers that are believed one after the other lie at most `trusting_period_ms`, unless one directly follows the other.
    """
    trust = Trust.read(genesis)
    decoded = decode_proof(proof)
    if decoded.chain_id != trust.chain_id:
        raise VerificationError("WRONG_CHAIN", f"the proof is of chain {decoded.chain_id[:80]!r}")
    header, validators = _walk(decoded, trust, trusting_period_ms)
    if now_ms is not None and header.time_ms > now_ms + CLOCK_DRIFT_MS:
        raise VerificationError("FROM_THE_FUTURE", f"the header's time is {header.time_ms - now_ms} ms from now")
    last = decoded.steps[-1].link
    return Verified(
        chain_id=trust.chain_id,
        claim=_claimed(decoded, header),
        header_height=header.height,
        header_time_ms=header.time_ms,
        block_id=block_id_of(last.header).hex(),
        signed_power=committed_power(read_commit(last.commit), validators),
        total_power=validators.total_power,
        steps=len(decoded.steps),
    )


def _walk(proof: Proof, trust: Trust, trusting_period_ms: int) -> tuple[Header, ValidatorSet]:
    trusted = trust.root
    for step in proof.steps:
        validators = read_validators(step.validators) if step.validators else trusted.validators
        if step.validators and validators == trusted.validators:
            raise VerificationError("MALFORMED", "a step repeats the validators of the step before")
        header, trusted = advance(trusted, step.link, validators, trust.chain_id, trusting_period_ms)
    return header, trusted.validators


def _claimed(proof: Proof, header: Header) -> ProvedEvent | ProvedValue:
    if isinstance(proof.claim, StateClaim):
        return _proved_value(proof.claim, header)
    return _proved_event(proof.claim, header)


def _proved_event(claim: EventClaim, header: Header) -> ProvedEvent:
    if not merkle.verify(header.receipt_root, claim.receipt, claim.proof):
        raise VerificationError("BAD_RECEIPT_PROOF", "the receipt is not under the committed receipt root")
    receipt = receipt_from_bytes(claim.receipt)
    if (receipt.height, receipt.index) != (header.height - 1, claim.proof.index):
        raise VerificationError("WRONG_RECEIPT", "the receipt speaks of another place than its proof")
    if not claim.event < len(receipt.events):
        raise VerificationError("NO_SUCH_EVENT", f"the receipt has {len(receipt.events)} events, not {claim.event + 1}")
    return ProvedEvent(receipt.tx_id, receipt.height, receipt.index, receipt.events[claim.event])


def _proved_value(claim: StateClaim, header: Header) -> ProvedValue:
    if claim.value is None:
        right = stateproof.verify_absent(header.state_root, claim.key, claim.proof)
    else:
        right = stateproof.verify_present(header.state_root, claim.key, claim.value, claim.proof)
    if not right:
        raise VerificationError("BAD_STATE_PROOF", f"key {claim.key!r} is not so under the committed state root")
    return ProvedValue(claim.key, header.height - 1, claim.value)


def verify_header(header_bytes: bytes, commit_bytes: bytes, trust: Trust) -> Header:
    """The header, once more than two thirds of the trusted power is proved to have precommitted its block id."""
    header = read_header(header_bytes, trust.chain_id)
    if header.validators_hash != validators_hash(trust.validators):
        raise VerificationError(
            "UNKNOWN_VALIDATORS", f"height {header.height} has another validator set than the trusted"
        )
    verify_header_commit(header_bytes, commit_bytes, trust, header.height)
    return header


def verify_header_commit(header_bytes: bytes, commit_bytes: bytes, trust: Trust, height: int) -> None:
    """Checks every entry of the commit against the trusted set."""
    commit = read_commit(commit_bytes)
    block_id: BlockId = block_id_of(header_bytes)
    fault = verify_commit(commit, trust.chain_id, trust.validators, Height(height), block_id, verify_signature)
    if fault is not None:
        raise VerificationError("BAD_COMMIT", f"{fault.code}: {fault.detail}")


def verify_reads(
    reads: Iterable[client_wire.ReadProof], proofs: Sequence[wire.StateProof], state_root: bytes
) -> dict[bytes, bytes | None]:
    """The proved values of the keys that a view read; None for a key that is proved to be absent."""
    proved: dict[bytes, bytes | None] = {}
    pages: dict[int, stateproof.ProvedPage | None] = {}
    for read in reads:
        if read.proof not in pages:
            if read.proof >= len(proofs):
                raise VerificationError("BAD_STATE_PROOF", f"key {read.key!r} comes without a proof")
            way = proofs[read.proof]
            proof = stateproof.StateProof(tuple(way.siblings), way.records)
            pages[read.proof] = stateproof.proved_page(state_root, read.key, proof)
        page, value = pages[read.proof], read.value if read.present else None
        if page is None or not page.shows(read.key, value) or (read.value and not read.present):
            raise VerificationError("BAD_STATE_PROOF", f"key {read.key!r} is not so under the committed state root")
        if read.key in proved:
            raise VerificationError("BAD_STATE_PROOF", f"key {read.key!r} is proved twice")
        proved[read.key] = value
    return proved


class ProvedState:
    """A state view of exactly the proved keys. Asking for any other one spoils the proof."""

    def __init__(self, proved: Mapping[bytes, bytes | None]) -> None:
        self._proved = proved
        self._unproved: bytes | None = None

    def get(self, key: bytes, /) -> bytes | None:
        if key not in self._proved:
            self._unproved = key
            self.check()
        return self._proved[key]

    def check(self) -> None:
        """Raises again what a runtime may have swallowed."""
        if self._unproved is not None:
            raise VerificationError("UNPROVED_READ", f"the view reads {self._unproved!r}, which the node did not prove")


def verify_view(
    response: client_wire.QueryResponse,
    contract: str,
    view: str,
    args: bytes,
    sender: str,
    trust: Trust,
    runtime: Runtime,
) -> bytes:
    """The view's result (msgpack), computed again here over nothing but proved state.

    The state is the one after the height before the header's; the view runs with the header's own height and time.
    """
    header = verify_header(response.header, response.commit, trust)
    if response.height != header.height - 1:
        raise VerificationError("WRONG_HEIGHT", f"answer for {response.height}, header of {header.height}")
    state = ProvedState(verify_reads(response.reads, response.proofs, header.state_root))
    call = Call(contract, view, args, sender, header.height, header.time_ms, read_only=True)
    try:
        outcome = runtime.execute(call, state, VIEW_GAS_LIMIT)
    except RuntimeFault as fault:
        state.check()  # most likely the fault is only how the runtime passes on that a read was refused
        raise VerificationError("NOT_EXECUTABLE", str(fault)) from fault
    state.check()
    if (outcome.ok, outcome.code) != (response.ok, response.code):
        raise VerificationError("WRONG_RESULT", f"the view gives {outcome.code or 'a result'} on the proved state")
    if outcome.ok and outcome.result != response.result:
        raise VerificationError("WRONG_RESULT", "the view gives another result on the proved state")
    return outcome.result


def verify_receipt(response: client_wire.GetReceiptResponse, tx_id: bytes, trust: Trust) -> Header:
    """Proves that the receipt is the one of `tx_id` under the receipt root of the header after its block."""
    header = verify_header(response.header, response.commit, trust)
    receipt = wire.Receipt()
    proof = merkle.ListProof(response.proof.index, response.proof.size, tuple(response.proof.path))
    if not merkle.verify(header.receipt_root, response.receipt, proof):
        raise VerificationError("BAD_RECEIPT_PROOF", "the receipt is not under the committed receipt root")
    receipt.ParseFromString(response.receipt)  # committed bytes: they are what the validators encoded
    if receipt.tx_id != tx_id:
        raise VerificationError("WRONG_RECEIPT", "a proved receipt, but of another transaction")
    if (receipt.height, receipt.index) != (header.height - 1, proof.index):
        raise VerificationError("WRONG_RECEIPT", "the receipt speaks of another place than its proof")
    return header
