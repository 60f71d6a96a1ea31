"""Keys that sign transactions: one wallet, and a folder of named ones."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey

from chain.hashes import address as address_of
from chain.tx import TxCall, encode_body, encode_tx, sign_bytes, tx_id
from gridbft.errors import WalletError

SEED_BYTES = 32
FILE_VERSION = 1
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
    def load(cls, path: str | os.PathLike[str]) -> Wallet:
        """Reads a key file and checks that its parts belong together. Raises WalletError."""
        try:
            record = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise WalletError(f"key file {path} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise WalletError(f"key file {path} is not JSON") from error
        wallet = cls.from_seed(_seed_of(record, path), record["name"])
        if (record.get("address"), record.get("public_key")) != (wallet.address, wallet.public_key.hex()):
            raise WalletError(f"key file {path} is damaged: its address or public key is not the seed's")
        return wallet

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a file that only its owner can read. Raises WalletError rather than overwrite an existing one."""
        record = {
            "version": FILE_VERSION,
            "name": self.name,
            "address": self.address,
            "public_key": self.public_key.hex(),
            "seed": bytes(self._key).hex(),
        }
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError as error:
            raise WalletError(f"key file {path} exists already: a key is never overwritten") from error
        except OSError as error:
            raise WalletError(f"key file {path} cannot be written: {error.strerror}") from error
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(json.dumps(record, indent=2) + "\n")

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


def _seed_of(record: Any, path: str | os.PathLike[str]) -> bytes:
    """The one place that learns how the secret is kept; encryption at rest goes here."""
    if not isinstance(record, dict) or not isinstance(record.get("name"), str):
        raise WalletError(f"key file {path} is not a wallet: it needs name, address, public_key and seed")
    if record.get("version", FILE_VERSION) != FILE_VERSION:
        raise WalletError(f"key file {path} has version {record['version']!r}, this program reads {FILE_VERSION}")
    try:
        return bytes.fromhex(record["seed"])
    except (KeyError, TypeError, ValueError) as error:
        raise WalletError(f"key file {path} has no seed of {2 * SEED_BYTES} hexadecimal characters") from error


class Keyring:
    """A folder of key files, one for each name: `NAME.json`."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

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
        path = self.path(name)
        if not path.is_file():
            known = ", ".join(self.names()[:8]) or "none yet"
            raise WalletError(f"no key named {name!r} in {self.folder} (there: {known})")
        return Wallet.load(path)

    def new(self, name: str, seed: bytes | None = None) -> Wallet:
        """Makes and saves a key. Raises WalletError where the name is taken."""
        wallet = Wallet.generate(name) if seed is None else Wallet.from_seed(seed, name)
        path = self.path(name)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        wallet.save(path)
        return wallet
