"""A genesis for organisations that share no folder: put together from their public parts, and examined by each of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from cryptography import x509

from chain.genesis import ChainParams, Genesis, GenesisCall, Member, build_genesis, dump_genesis
from chain.ledger import Ledger
from chain.memory import MemoryKV
from consensus.types import ValidatorSet
from contracts.runtime.engine import MeteredRuntime
from node import ed25519
from node.certs import CertificateError, certificate_digest
from node.config import is_address, is_loopback


@dataclass(frozen=True, slots=True)
class Finding:
    """`is_fault`: no network can begin with this; otherwise something that its operators should know."""

    is_fault: bool
    what: str


@dataclass(frozen=True, slots=True)
class Examined:
    """`faulty_power`: how much power may be faulty while the network stays safe. `state_root`: after the genesis calls,
    in hexadecimal, "" where they did not run."""

    findings: tuple[Finding, ...]
    faulty_power: int
    state_root: str

    @property
    def is_usable(self) -> bool:
        return not any(f.is_fault for f in self.findings)


def genesis_hash(genesis: Genesis) -> bytes:
    """SHA-256 (32 bytes) of the file as `gridbft genesis build` writes it: what sha256sum says of it. The chain id ends in 64
    bits of a digest, which is for people; this is for fetching the file from somebody who is not trusted."""
    return sha256(dump_genesis(genesis).encode()).digest()


def put_together(
    name: str,
    currency: str,
    time_ms: int,
    members: Sequence[Member],
    params: ChainParams,
    contracts: Sequence[tuple[str, str]],
    calls: Sequence[GenesisCall],
) -> Genesis:
    """The same file whatever the order of the members: everybody can build it alone and compare chain ids."""
    ordered = tuple(sorted(members, key=lambda m: (m.name, m.public_key)))
    return build_genesis(name, time_ms, currency, ordered, params, tuple(contracts), tuple(calls))


def examine(genesis: Genesis, now_ms: int) -> Examined:
    """Everything that can be said of a genesis without its network; runs its calls in memory."""
    findings = [*_of_members(genesis.members), *_of_certificates(genesis.members, now_ms), *_of_time(genesis, now_ms)]
    power = _faulty_power(genesis)
    if power == 0:
        findings.append(Finding(False, f"{len(genesis.members)} validators tolerate no fault: four or more would"))
    root = ""
    try:
        root = Ledger(MemoryKV(), MeteredRuntime(ed25519.verify), genesis, ed25519.verify).head.state_root.hex()
    except ValueError as error:
        findings.append(Finding(True, f"the genesis calls do not run: {error}"))
    return Examined(tuple(findings), power, root)


def _of_members(members: Sequence[Member]) -> list[Finding]:
    found: list[Finding] = []
    fields: tuple[tuple[str, Callable[[Member], object]], ...] = (
        ("name", lambda m: m.name),
        ("public key", lambda m: m.public_key),
        ("peer address", lambda m: m.peer_address),
        ("certificate", lambda m: m.certificate),
    )
    for what, of in fields:
        for value, times in Counter(of(m) for m in members).items():
            if times > 1:
                names = ", ".join(m.name for m in members if of(m) == value)
                found.append(Finding(True, f"{names} have one {what}: each needs its own"))
    for member in members:
        if not is_address(member.peer_address):
            found.append(Finding(True, f"{member.name}: peer address {member.peer_address!r} is not HOST:PORT"))
        elif is_loopback(member.peer_address):
            what = f"{member.name}: {member.peer_address} is reached from its own machine only"
            found.append(Finding(False, what))
    strongest = max(members, key=lambda m: m.power, default=None)
    total = sum(m.power for m in members)
    if strongest is not None and len(members) > 1 and 3 * strongest.power >= total:
        found.append(
            Finding(False, f"{strongest.name} has a third of the power or more: without it nothing is decided")
        )
    return found


def _of_certificates(members: Sequence[Member], now_ms: int) -> list[Finding]:
    found: list[Finding] = []
    now = datetime.fromtimestamp(now_ms / 1_000, UTC)
    for member in members:
        try:
            certificate_digest(member.certificate)
            certificate = x509.load_pem_x509_certificate(member.certificate.encode())
        except (CertificateError, ValueError) as error:
            found.append(Finding(True, f"{member.name}: certificate: {error}"))
            continue
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            ends = certificate.not_valid_after_utc.date()
            found.append(Finding(True, f"{member.name}: the certificate is not valid now (it ends on {ends})"))
    return found


def _of_time(genesis: Genesis, now_ms: int) -> list[Finding]:
    if genesis.time_ms <= now_ms:
        return []
    when = datetime.fromtimestamp(genesis.time_ms / 1_000, UTC).isoformat()
    return [Finding(False, f"the genesis lies in the future: the first block waits until {when}")]


def _faulty_power(genesis: Genesis) -> int:
    validators: ValidatorSet = genesis.validators
    return (validators.total_power - 1) // 3
