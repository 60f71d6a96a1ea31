"""The folder of one node: what lies where, and that only one process uses it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chain.genesis import Genesis, GenesisError, Member, load_genesis
from gridbft.errors import WalletError
from gridbft.passphrase import asked_once, find_passphrase
from gridbft.sealing import Passphrase
from gridbft.wallet import Wallet
from node.certs import CertificateError, TlsIdentity, certificate_digest
from node.config import Config, read_config
from node.remotesigner import SCHEME, RemoteKey, RemoteSigner, SignerLostError, recall, remember
from node.tlskey import load_tls_key, public_digest_of_certificate, tls_key_info


class HomeError(Exception):
    """The folder is not a node's home, or not usable now; one sentence that says why and what to do."""


@dataclass(frozen=True, slots=True)
class Home:
    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.toml"

    @property
    def genesis(self) -> Path:
        return self.path / "genesis.json"

    @property
    def key(self) -> Path:
        """The validator's key, as `gridbft.Wallet` saves one (0600)."""
        return self.path / "node.key"

    @property
    def tls_key(self) -> Path:
        """The key of `tls_certificate`, as `node.tlskey` saves one (0600)."""
        return self.path / "tls.key"

    @property
    def tls_certificate(self) -> Path:
        return self.path / "tls.crt"

    @property
    def remote_key(self) -> Path:
        """What the node knows of a key that its remote signer holds: the public half."""
        return self.path / "signer.json"

    @property
    def wal(self) -> Path:
        return self.path / "wal"

    @property
    def guard(self) -> Path:
        return self.path / "signer.log"

    @property
    def db(self) -> Path:
        return self.path / "db"

    @property
    def snapshots(self) -> Path:
        """One folder for each snapshot, named by its height."""
        return self.path / "snapshots"

    @property
    def lock(self) -> Path:
        return self.path / "lock"


@dataclass(frozen=True, slots=True)
class LoadedHome:
    """All that a node reads before it opens its chain. `genesis` is without its calls: see `whole_genesis`. `member` is its
    own entry in it, or None: then it follows the chain and votes on nothing. Where `remote` is set, the consensus key
    is there and `wallet` signs only the node's Hello."""

    home: Home
    config: Config
    genesis: Genesis
    wallet: Wallet | RemoteKey
    tls: TlsIdentity
    member: Member | None
    remote: RemoteSigner | None = None


class HomeLock:
    """Held from construction to `release`, or to the end of the process. Raises HomeError where another one holds it."""

    def __init__(self, home: Home) -> None:
        try:
            self._descriptor = os.open(home.lock, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise HomeError(f"{home.path} cannot be locked: {error.strerror}") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._descriptor)
            raise HomeError(f"{home.path} is in use by process {holder}: stop that one first") from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        os.close(self._descriptor)


def load_home(path: Path, unlock: Callable[[Path | None], Passphrase] = find_passphrase) -> LoadedHome:
    """Reads and checks a home. Raises HomeError or ConfigError.

    `unlock` is given the passphrase file that the configuration names, and says where the words come from: one passphrase
    for the consensus key and the TLS key."""
    home = Home(path)
    if not home.config.is_file():
        raise HomeError(f"{path} is no node's home: it has no config.toml; make one with `gridbft init`")
    config = read_config(home.config)
    genesis = whole_genesis(home).without_calls()
    words = asked_once(unlock(_beside(home, config.passphrase_file)))
    certificate = _text(home.tls_certificate)
    wallet: Wallet | RemoteKey
    remote: RemoteSigner | None = None
    if config.signer:
        remote, wallet = _remote_key(home, config.signer, genesis.chain_id, certificate)
    else:
        try:
            wallet = Wallet.load(home.key, words)
        except WalletError as error:
            raise HomeError(str(error)) from error
    member = next((m for m in genesis.members if m.public_key == wallet.public_key), None)
    _check_certificates(home, genesis, member, certificate)
    tls = TlsIdentity(certificate, _tls_key(home, certificate, words))
    return LoadedHome(home, config, genesis, wallet, tls, member, remote)


def _tls_key(home: Home, certificate: str, words: Callable[[str], str]) -> str:
    try:
        if tls_key_info(home.tls_key).public_digest != public_digest_of_certificate(certificate):
            raise HomeError(f"{home.tls_key} is not the key of {home.tls_certificate}: restore both from one copy")
        return load_tls_key(home.tls_key, words)
    except WalletError as error:
        raise HomeError(str(error)) from error


def _remote_key(home: Home, where: str, chain_id: str, pem: str) -> tuple[RemoteSigner, RemoteKey]:
    """From the signer, or from what it said before: a node starts and follows while its signer is away."""
    path = home.path / where.removeprefix(SCHEME)
    try:
        certificate = certificate_digest(pem)
    except CertificateError as error:
        raise HomeError(f"{home.tls_certificate}: {error}") from error
    known = recall(home.remote_key, chain_id, certificate)
    signer = RemoteSigner(path, chain_id, known.public_key if known else b"")
    try:
        key = signer.hello(certificate)
    except SignerLostError as error:
        if known is None:
            raise HomeError(f"{error}: start `gridbft signer --home DIR --socket {path}` first") from error
        return signer, known
    remember(home.remote_key, key)
    return signer, key


def _beside(home: Home, name: str) -> Path | None:
    """A path of the configuration: relative ones start at the home."""
    return home.path / name if name else None


def whole_genesis(home: Home) -> Genesis:
    """With its calls, which a chain begins with. Raises HomeError."""
    try:
        return load_genesis(_text(home.genesis))
    except GenesisError as error:
        raise HomeError(f"{home.genesis}: {error}") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise HomeError(f"{path} cannot be read: {error}") from error


def _check_certificates(home: Home, genesis: Genesis, member: Member | None, certificate: str) -> None:
    for other in genesis.members:
        try:
            certificate_digest(other.certificate)
        except CertificateError as error:
            raise HomeError(f"{home.genesis}: the certificate of {other.name} is damaged: {error}") from error
    try:
        own = certificate_digest(certificate)
    except CertificateError as error:
        raise HomeError(f"{home.tls_certificate}: {error}") from error
    if member is not None and certificate_digest(member.certificate) != own:
        raise HomeError(f"{home.tls_certificate} is not the certificate that the genesis pins for {member.name}")
