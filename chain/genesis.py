"""The genesis: the one file that all members of a network hold, and everything else is checked against."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from chain.hashes import address, digest
from consensus.types import Power, Validator, ValidatorId, ValidatorSet

DIGEST_CHARS = 16


class GenesisError(ValueError):
    """The message names the field and what was expected."""


@dataclass(frozen=True, slots=True)
class ChainParams:
    """What every node must agree on besides the rules themselves."""

    max_block_bytes: int = 1_500_000
    max_block_gas: int = 2_000_000_000
    max_block_transactions: int = 4_000
    max_tx_gas: int = 200_000_000
    precision_ms: int = 500  # how far apart correct clocks may be
    message_delay_ms: int = 3_000  # how long a proposal may travel and still be timely
    evidence_removes: int = 0  # 1: whoever is caught signing twice loses its vote at the next change


PARAM_BOUNDS: dict[str, tuple[int, int]] = {
    "max_block_bytes": (100_000, 4_000_000),
    "max_block_gas": (1_000_000, 10**12),
    "max_block_transactions": (1, 100_000),
    "max_tx_gas": (1_000_000, 10**12),
    "precision_ms": (50, 60_000),  # less than a message takes, and every proposal would be found untimely, for ever
    "message_delay_ms": (500, 600_000),
    "evidence_removes": (0, 1),
}
"""The least and the most that a parameter may be: no vote can set one that would stop the chain."""


@dataclass(frozen=True, slots=True)
class Member:
    """A validator's public part: what its operator contributes to the genesis."""

    name: str
    role: str
    public_key: bytes
    power: int
    peer_address: str
    certificate: str  # PEM of its self-signed TLS certificate, pinned by the others

    @property
    def id(self) -> ValidatorId:
        return ValidatorId(address(self.public_key))


@dataclass(frozen=True, slots=True)
class GenesisCall:
    """A call made at height 0 by the sender "genesis"; `args` are plain JSON values."""

    contract: str
    function: str
    args: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Genesis:
    """`chain_id` ends in a digest of all the rest, so that two different files never make one network."""

    chain_id: str
    time_ms: int
    currency: str
    members: tuple[Member, ...]
    params: ChainParams
    contracts: tuple[tuple[str, str], ...]  # (name, source), in the order of deployment
    calls: tuple[GenesisCall, ...]

    @property
    def validators(self) -> ValidatorSet:
        return ValidatorSet.of([Validator(m.id, m.public_key, Power(m.power), m.name) for m in self.members])

    def without_calls(self) -> Genesis:
        """What a running node needs of it. The calls may take hundreds of megabytes, and serve only to begin a chain."""
        return replace(self, calls=())

    def is_whole(self) -> bool:
        """Whether the chain id vouches for all of it. Takes about a microsecond for each account that its calls name."""
        return self.chain_id.endswith("-" + _content_digest(self))


def build_genesis(
    name: str,
    time_ms: int,
    currency: str,
    members: tuple[Member, ...],
    params: ChainParams,
    contracts: tuple[tuple[str, str], ...],
    calls: tuple[GenesisCall, ...],
) -> Genesis:
    """A genesis whose chain id is `name` and the digest of everything else."""
    draft = Genesis(name, time_ms, currency, members, params, contracts, calls)
    return Genesis(f"{name}-{_content_digest(draft)}", time_ms, currency, members, params, contracts, calls)


def dump_genesis(genesis: Genesis) -> str:
    return json.dumps({"chain_id": genesis.chain_id, **_content(genesis)}, indent=1) + "\n"


def load_genesis(text: str) -> Genesis:
    """Reads and checks a genesis file. Raises GenesisError with the field and what was expected."""
    try:
        raw = json.loads(text)
    except json.JSONDecodeError as error:
        raise GenesisError(f"line {error.lineno}: no valid JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or brackets without end
        raise GenesisError(f"no JSON of a genesis: {error}") from error
    if not isinstance(raw, dict):
        raise GenesisError("a genesis is one JSON object")
    genesis = Genesis(
        chain_id=_text(raw, "chain_id"),
        time_ms=_integer(raw, "time_ms", 0),
        currency=_text(raw, "currency"),
        members=tuple(_member(m, i) for i, m in enumerate(_list(raw, "validators"))),
        params=_params(raw.get("params", {})),
        contracts=tuple((_text(c, "name"), _text(c, "source")) for c in _list(raw, "contracts")),
        calls=tuple(
            GenesisCall(_text(c, "contract"), _text(c, "function"), tuple(_list(c, "args")))
            for c in _list(raw, "calls")
        ),
    )
    if not genesis.is_whole():
        raise GenesisError(f"chain_id: expected it to end in {_content_digest(genesis)}: the file was changed")
    try:
        _ = genesis.validators
    except ValueError as error:
        raise GenesisError(f"validators: {error}") from error
    return genesis


def load_member(text: str) -> Member:
    """One member's public part, as its operator sends it. Raises GenesisError with the field and what was expected."""
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise GenesisError(f"no valid JSON: {error}") from error
    try:
        return _member(raw, 0)
    except GenesisError as error:
        raise GenesisError(str(error).removeprefix("validators[0].")) from error


def _content(genesis: Genesis) -> dict[str, Any]:
    return {
        "time_ms": genesis.time_ms,
        "currency": genesis.currency,
        "validators": [
            {
                "name": m.name,
                "role": m.role,
                "public_key": m.public_key.hex(),
                "power": m.power,
                "peer_address": m.peer_address,
                "certificate": m.certificate,
            }
            for m in genesis.members
        ],
        "params": {name: getattr(genesis.params, name) for name in ChainParams.__slots__},
        "contracts": [{"name": name, "source": source} for name, source in genesis.contracts],
        "calls": [{"contract": c.contract, "function": c.function, "args": list(c.args)} for c in genesis.calls],
    }


def _content_digest(genesis: Genesis) -> str:
    canonical = json.dumps(_content(genesis), sort_keys=True, separators=(",", ":"))
    return digest(canonical.encode()).hex()[:DIGEST_CHARS]


def _text(raw: Any, field: str) -> str:
    value = raw.get(field) if isinstance(raw, dict) else None
    if not isinstance(value, str):
        raise GenesisError(f"{field}: expected a string, found {value!r}")
    return value


def _integer(raw: Any, field: str, least: int) -> int:
    value = raw.get(field) if isinstance(raw, dict) else None
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise GenesisError(f"{field}: expected a whole number of at least {least}, found {value!r}")
    return value


def _list(raw: Any, field: str) -> list[Any]:
    value = raw.get(field) if isinstance(raw, dict) else None
    if not isinstance(value, list):
        raise GenesisError(f"{field}: expected a list, found {value!r}")
    return value


def _params(raw: Any) -> ChainParams:
    if not isinstance(raw, dict) or set(raw) - set(ChainParams.__slots__):
        raise GenesisError(f"params: expected an object with some of {', '.join(ChainParams.__slots__)}")
    for name in raw:
        least, most = PARAM_BOUNDS[name]
        if _integer(raw, name, least) > most:
            raise GenesisError(f"params.{name}: expected at most {most}, found {raw[name]}")
    return ChainParams(**raw)


def _member(raw: Any, index: int) -> Member:
    try:
        key = bytes.fromhex(_text(raw, "public_key"))
        if len(key) != 32:
            raise ValueError("public_key: expected 32 bytes in hexadecimal")
        return Member(
            name=_text(raw, "name"),
            role=_text(raw, "role"),
            public_key=key,
            power=_integer(raw, "power", 1),
            peer_address=_text(raw, "peer_address"),
            certificate=_text(raw, "certificate"),
        )
    except ValueError as error:
        raise GenesisError(f"validators[{index}].{error}") from error
