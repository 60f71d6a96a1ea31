"""What the chain keeps about itself, read key by key: whose turn it is not, who was caught, and the contracts' sources.

Each function takes how to ask for a state key (`Client.state`), so that it serves proved and unproved answers alike.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from chain.evidence import decode_evidence
from chain.hashes import address
from chain.system import EVIDENCE_AT, EVIDENCE_COUNT, STANDINGS
from consensus.evidence import DoubleVote, offender
from consensus.proposer import decode_standings
from contracts.energy.imbalance import Terms
from contracts.runtime.keys import code_key, source_key
from gridbft.errors import VerificationError
from gridbft.values import decode

Ask = Callable[[bytes], Awaitable[bytes | None]]
MAX_FAULTS = 1_000


@dataclass(frozen=True, slots=True)
class Standing:
    """How often a validator missed its turn since it last proposed; `benched_until` 0: it has its turns."""

    misses: int
    benched_until: int


@dataclass(frozen=True, slots=True)
class Fault:
    """A validator that signed twice. `height` and `round` are those of the two messages, `block` took the evidence."""

    number: int
    block: int
    validator: str
    kind: str
    height: int
    round: int


@dataclass(frozen=True, slots=True)
class Source:
    version: int
    code_hash: str
    paused_until: int
    text: str


def account_of(public_key: bytes) -> str:
    """The address that a key speaks by."""
    return address(public_key).hex()


async def standings(ask: Ask) -> dict[str, Standing]:
    """By address; whoever is not in it is in good standing. Raises VerificationError for what is no standings."""
    raw = await ask(STANDINGS)
    try:
        found = {} if raw is None else decode_standings(raw)
    except ValueError as error:
        raise VerificationError("BAD_STATE", f"the node's standings are none: {error}") from error
    return {validator.hex(): Standing(s.misses, s.benched_until) for validator, s in found.items()}


async def evidence(ask: Ask) -> tuple[Fault, ...]:
    """In the order in which blocks took it, at most a thousand. Raises VerificationError."""
    count = int.from_bytes(await ask(EVIDENCE_COUNT) or b"", "big")
    found = []
    for number in range(min(count, MAX_FAULTS)):
        raw = await ask(EVIDENCE_AT + number.to_bytes(8, "big"))
        if raw is not None:
            found.append(_fault(number, raw))
    return tuple(found)


def _fault(number: int, raw: bytes) -> Fault:
    try:
        block, encoded = decode(raw)
        fault = decode_evidence(encoded)
    except (ValueError, TypeError) as error:
        raise VerificationError("BAD_STATE", f"the node's evidence {number} is none: {error}") from error
    kind = fault.first.kind.name.lower() if isinstance(fault, DoubleVote) else "proposal"
    return Fault(number, block, offender(fault).hex(), kind, fault.first.height, fault.first.round)


async def contract_source(ask: Ask, name: str) -> Source | None:
    """The source of a contract on the chain; None where there is no such contract. Raises VerificationError."""
    if not name.isascii():
        return None
    code = await ask(code_key(name))
    if code is None:
        return None
    try:
        version, code_hash, paused_until = decode(code)
        text = (await ask(source_key(code_hash)) or b"").decode("ascii")
    except (ValueError, TypeError) as error:
        raise VerificationError("BAD_SOURCE", f"the node's source of {name} is none: {error}") from error
    return Source(version, code_hash.hex(), paused_until, text)


def settlement_terms(value: Sequence[Any]) -> Terms:
    """What the view `imbalance.terms` gives, as bills are explained with it."""
    return Terms(*value)
