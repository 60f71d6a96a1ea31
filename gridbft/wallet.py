"""Keys that sign transactions: one wallet, and a folder of named ones."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey

from chain.hashes import address as address_of
from chain.tx import TxCall, encode_body, encode_tx, sign_bytes, tx_id
from gridbft.errors import WalletError
from gridbft.passphrase import find_passphrase
from gridbft.sealing import INTERACTIVE, Cost, Passphrase, seal, unseal, words_of, write_key_file

SEED_BYTES = 32
FILE_VERSION = 2
OPEN = "none: anyone who reads this file has the key"
"""What a key file without a passphrase must say of itself; without these words it is refused."""
OPEN_MARK = "UNENCRYPTED"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class Wallet:
    """An Ed25519 key and its name. The name is local: the ledger knows the address only."""

    def __init__(self, name: str, key: SigningKey) -> None:
        self.name = name
        self._key = key
        self.public_key = bytes(key.verify_key)
        self.address_bytes = address_of(self.public_key)
        self.address = self.address_bytes.hex()

    @classmethod
    def generate(cls, name: str = "wallet") -> Wallet:
        return cls(name, SigningKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes, name: str = "wallet") -> Wallet:
        """`seed`: 32 bytes. Raises WalletError on another length."""
        if len(seed) != SEED_BYTES:
            raise WalletError(f"a seed has {SEED_BYTES} bytes, not {len(seed)}")
        return cls(name, SigningKey(seed))

    @classmethod
    def load(cls, path: str | os.PathLike[str], passphrase: Passphrase | None = None) -> Wallet:
        """Reads a key file and checks that its parts belong together. Raises WalletError.

        An encrypted one is unlocked with `passphrase`, else with what the environment gives (`gridbft.passphrase`).
        """
        record = _read(path)
        wallet = cls.from_seed(_seed_of(record, path, passphrase), record["name"])
        if (record.get("address"), record.get("public_key")) != (wallet.address, wallet.public_key.hex()):
            raise WalletError(f"key file {path} is damaged: its address or public key is not the seed's")
        return wallet

    def save(
        self,
        path: str | os.PathLike[str],
        passphrase: str | None = None,
        cost: Cost = INTERACTIVE,
        replace: bool = False,
    ) -> None:
        """Writes a file that only its owner can read; without a passphrase it says that it is not encrypted.

        Raises WalletError rather than overwrite an existing file, unless `replace` is asked for: then the new one stands
        in its place, whole, or the old one does.
        """
        text = json.dumps(self._record(passphrase, cost), indent=2) + "\n"
        try:
            write_key_file(Path(path), text, replace)
        except FileExistsError as error:
            raise WalletError(f"key file {path} exists already: a key is never overwritten") from error

    def _record(self, passphrase: str | None, cost: Cost) -> dict[str, Any]:
        seed = bytes(self._key)
        secret: dict[str, Any]
        if passphrase is None:
            secret = {"encryption": OPEN, "seed": seed.hex()}
        else:
            secret = {"encryption": seal(seed, passphrase, cost)}
        public = {"name": self.name, "address": self.address, "public_key": self.public_key.hex()}
        return {"version": FILE_VERSION, **public, **secret}

    def sign(self, message: bytes) -> bytes:
        """A 64-byte Ed25519 signature."""
        return self._key.sign(message).signature

    def transaction(
        self, chain_id: str, nonce: int, calls: Iterable[TxCall], expiry_height: int, gas_limit: int
    ) -> bytes:
        """An encoded, signed Tx; `calls` are executed in order, all or none."""
        return self.signed(chain_id, nonce, calls, expiry_height, gas_limit)[0]

    def signed(
        self, chain_id: str, nonce: int, calls: Iterable[TxCall], expiry_height: int, gas_limit: int
    ) -> tuple[bytes, bytes]:
        """Like `transaction`, with the transaction's id (32 bytes) beside it."""
        body = encode_body(chain_id, self.address_bytes, nonce, expiry_height, gas_limit, tuple(calls))
        return encode_tx(body, self.public_key, self.sign(sign_bytes(body))), tx_id(body)

    def __repr__(self) -> str:
        return f"Wallet({self.name!r}, {self.address})"  # never the key


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What a key file tells without its passphrase. Nothing vouches for it until the key is unlocked."""

    name: str
    address: str
    public_key: str
    encrypted: bool


def key_info(path: str | os.PathLike[str]) -> KeyInfo:
    """Raises WalletError for a file that is no key file."""
    record = _read(path)
    public_key = record.get("public_key")
    try:
        address = address_of(bytes.fromhex(str(public_key))).hex()
    except ValueError as error:
        raise WalletError(f"key file {path} is damaged: its public key is no hexadecimal") from error
    if record.get("address") != address:
        raise WalletError(f"key file {path} is damaged: its address is not that of its public key")
    return KeyInfo(record["name"], address, str(public_key), isinstance(record.get("encryption"), dict))


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise WalletError(f"key file {path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise WalletError(f"key file {path} is not JSON") from error
    if not isinstance(record, dict) or not isinstance(record.get("name"), str):
        raise WalletError(f"key file {path} is not a wallet: it needs name, address, public_key and a seed")
    if record.get("version") != FILE_VERSION:
        raise WalletError(f"key file {path} has version {record.get('version')!r}, this program reads {FILE_VERSION}")
    return record


def _seed_of(record: dict[str, Any], path: str | os.PathLike[str], passphrase: Passphrase | None) -> bytes:
    """The one place that learns how the secret is kept."""
    encryption = record.get("encryption")
    if isinstance(encryption, dict):
        words = words_of(find_passphrase() if passphrase is None else passphrase, f"key file {path}")
        try:
            return unseal(encryption, words)
        except WalletError as error:
            raise WalletError(f"key file {path} stays locked: {error}") from error
    if encryption != OPEN:
        raise WalletError(
            f'key file {path} is neither encrypted nor does it say that it is open: expected "encryption": "{OPEN}"'
        )
    try:
        return bytes.fromhex(record["seed"])
    except (KeyError, TypeError, ValueError) as error:
        raise WalletError(f"key file {path} has no seed of {2 * SEED_BYTES} hexadecimal characters") from error


class Keyring:
    """A folder of key files, one for each name: `NAME.json`. `passphrase` unlocks those that are encrypted."""

    def __init__(self, folder: str | os.PathLike[str], passphrase: Passphrase | None = None) -> None:
        self.folder = Path(folder)
        self._passphrase = passphrase

    def path(self, name: str) -> Path:
        """Raises WalletError for a name that could leave the folder."""
        if not _NAME.fullmatch(name):
            raise WalletError(f"{name!r} is no key name: letters, digits, '_', '-' and '.', at most 64, not first '.'")
        return self.folder / f"{name}.json"

    def names(self) -> list[str]:
        return sorted(p.stem for p in self.folder.glob("*.json") if _NAME.fullmatch(p.stem))

    def __contains__(self, name: str) -> bool:
        return bool(_NAME.fullmatch(name)) and self.path(name).is_file()

    def __iter__(self) -> Iterator[Wallet]:
        return (self.get(name) for name in self.names())

    def get(self, name: str) -> Wallet:
        return Wallet.load(self._existing(name), self._passphrase)

    def info(self, name: str) -> KeyInfo:
        """The key's public part, without unlocking it."""
        return key_info(self._existing(name))

    def new(
        self, name: str, seed: bytes | None = None, passphrase: str | None = None, cost: Cost = INTERACTIVE
    ) -> Wallet:
        """Makes and saves a key, encrypted where a passphrase is given. Raises WalletError where the name is taken."""
        wallet = Wallet.generate(name) if seed is None else Wallet.from_seed(seed, name)
        path = self.path(name)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        wallet.save(path, passphrase, cost)
        return wallet

    @property
    def holds_open_keys(self) -> bool:
        """The folder is marked as one whose keys need no passphrase: a development network's."""
        return (self.folder / OPEN_MARK).is_file()

    def refuse_taken(self, name: str) -> None:
        """Raises WalletError where a key of that name stands, or the name will not do."""
        if self.path(name).exists():
            raise WalletError(f"key file {self.path(name)} exists already: a key is never overwritten")

    def _existing(self, name: str) -> Path:
        path = self.path(name)
        if not path.is_file():
            known = ", ".join(self.names()[:8]) or "none yet"
            raise WalletError(f"no key named {name!r} in {self.folder} (there: {known})")
        return path
