"""Light verification: what follows from the signatures of validators that the caller trusts already.

Nothing here needs a node, a store or a connection. Every function raises VerificationError with a reason where a claim
does not follow; what it returns has been proved.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from chain import merkle, stateproof
from chain.block import Header, block_id_of, decode_header
from chain.genesis import load_genesis
from chain.hashes import address, digest
from chain.wire import decode_commit, encode_validators
from consensus.commits import verify_commit
from consensus.types import BlockId, Height, Power, Validator, ValidatorId, ValidatorSet
from contracts.runtime.api import Call, Runtime
from contracts.runtime.errors import RuntimeFault
from gridbft.errors import VerificationError
from gridbft.v1 import chain_pb2 as wire
from gridbft.v1 import client_pb2 as client_wire

VIEW_GAS_LIMIT = 2**62  # the node has paid already; here only the caller's own time is at stake


@dataclass(frozen=True, slots=True)
class Trust:
    """What a light client starts from: the chain's name and the validators of its genesis."""

    chain_id: str
    validators: ValidatorSet

    @classmethod
    def of(cls, chain_id: str, validators: Iterable[tuple[str, bytes, int]]) -> Trust:
        """`validators`: name, public key (32 bytes) and power of each, as in the genesis. Raises ValueError on nonsense."""
        members = [Validator(ValidatorId(address(key)), key, Power(power), name) for name, key, power in validators]
        return cls(chain_id, ValidatorSet.of(members))

    @classmethod
    def load(cls, genesis_file: str | os.PathLike[str]) -> Trust:
        """From a genesis file, obtained by a road that does not lead over the node. Raises VerificationError."""
        try:
            genesis = load_genesis(Path(genesis_file).read_text(encoding="utf-8"))
        except OSError as error:
            raise VerificationError("BAD_GENESIS", f"{genesis_file} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise VerificationError("BAD_GENESIS", f"{genesis_file}: {error}") from error
        return cls(genesis.chain_id, genesis.validators)


def verify_signature(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Ed25519 by libsodium, the one verifier that the validators use too. Total: nonsense is False."""
    try:
        VerifyKey(public_key).verify(message, signature)
    except (BadSignatureError, ValueError, TypeError):
        return False
    return True


def verify_header(header_bytes: bytes, commit_bytes: bytes, trust: Trust) -> Header:
    """The header, once more than two thirds of the trusted power is proved to have precommitted its block id."""
    try:
        header = decode_header(header_bytes)
    except ValueError as error:
        raise VerificationError("BAD_HEADER", str(error)) from error
    if header.chain_id != trust.chain_id:
        raise VerificationError("WRONG_CHAIN", f"the header is of chain {header.chain_id[:80]!r}")
    if header.validators_hash != validators_hash(trust.validators):
        raise VerificationError(
            "UNKNOWN_VALIDATORS", f"height {header.height} has another validator set than the trusted"
        )
    verify_header_commit(header_bytes, commit_bytes, trust, header.height)
    return header


def verify_header_commit(header_bytes: bytes, commit_bytes: bytes, trust: Trust, height: int) -> None:
    """Checks every entry of the commit against the trusted set."""
    try:
        commit = decode_commit(commit_bytes)
    except ValueError as error:
        raise VerificationError("BAD_COMMIT", str(error)) from error
    block_id: BlockId = block_id_of(header_bytes)
    fault = verify_commit(commit, trust.chain_id, trust.validators, Height(height), block_id, verify_signature)
    if fault is not None:
        raise VerificationError("BAD_COMMIT", f"{fault.code}: {fault.detail}")


def verify_reads(reads: Iterable[client_wire.ReadProof], state_root: bytes) -> dict[bytes, bytes | None]:
    """The proved values of the keys that a view read; None for a key that is proved to be absent."""
    proved: dict[bytes, bytes | None] = {}
    for read in reads:
        proof = stateproof.StateProof(tuple(read.proof.siblings), read.proof.leaf_key_hash, read.proof.leaf_value_hash)
        if read.present:
            right = stateproof.verify_present(state_root, read.key, read.value, proof)
        else:
            right = not read.value and stateproof.verify_absent(state_root, read.key, proof)
        if not right:
            raise VerificationError("BAD_STATE_PROOF", f"key {read.key!r} is not so under the committed state root")
        value = read.value if read.present else None
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
    state = ProvedState(verify_reads(response.reads, header.state_root))
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


def validators_hash(validators: ValidatorSet) -> bytes:
    """As in a header: covers names, keys and powers in the set's order."""
    return digest(encode_validators(validators))
