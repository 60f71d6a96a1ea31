"""Secrets at rest: Argon2id turns a passphrase into a key, secretbox (XSalsa20-Poly1305) seals the secret under it.

A sealed record carries its own cost, so that a later program may ask for more without losing old files.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nacl import pwhash
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox
from nacl.utils import random as random_bytes

from gridbft.errors import WalletError

KDF, CIPHER = "argon2id", "xsalsa20-poly1305"
SALT_BYTES = pwhash.argon2id.SALTBYTES
MAX_OPERATIONS = 16
MAX_MEMORY_BYTES = 1 << 30
"""A record asks for no more than this when it is opened: a forged file must not take the machine's memory."""
MAX_PASSPHRASE_BYTES = 4_096

Passphrase = str | Callable[[str], str]
"""The words themselves, or who asks for them: given what is to be unlocked, gives the words."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one guess at a passphrase costs: passes over memory, and how much of it."""

    operations: int
    memory_bytes: int


INTERACTIVE = Cost(pwhash.argon2id.OPSLIMIT_INTERACTIVE, pwhash.argon2id.MEMLIMIT_INTERACTIVE)
"""64 MiB, under a tenth of a second: keys that people use by hand."""
MODERATE = Cost(pwhash.argon2id.OPSLIMIT_MODERATE, pwhash.argon2id.MEMLIMIT_MODERATE)
"""256 MiB, about half a second: keys that are unlocked once, when a process starts."""


def seal(secret: bytes, passphrase: str, cost: Cost = INTERACTIVE) -> dict[str, Any]:
    """A JSON object that `unseal` opens with the same passphrase. Raises WalletError for an empty passphrase."""
    salt = random_bytes(SALT_BYTES)
    box = SecretBox(_key(passphrase, salt, cost))
    return {
        "kdf": KDF,
        "operations": cost.operations,
        "memory_bytes": cost.memory_bytes,
        "salt": salt.hex(),
        "cipher": CIPHER,
        "sealed": bytes(box.encrypt(secret)).hex(),
    }


def unseal(record: Any, passphrase: str) -> bytes:
    """The secret. Raises WalletError for a wrong passphrase and for a record that is damaged or asks too much."""
    cost, salt, sealed = _parts(record)
    try:
        return SecretBox(_key(passphrase, salt, cost)).decrypt(sealed)
    except CryptoError as error:
        raise WalletError("the passphrase is wrong, or the sealed key is damaged") from error


def write_key_file(path: Path, text: str, replace: bool) -> None:
    """A file that only its owner can read, on the disk when this returns. With `replace` the new one stands in the place of the
    old one, whole, or the old one does. Raises WalletError where it cannot be written, and FileExistsError rather than overwrite."""
    written = path.with_name(path.name + ".new") if replace else path
    try:
        if replace:
            written.unlink(missing_ok=True)
        descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.replace(written, path)
    except FileExistsError:
        raise
    except OSError as error:
        raise WalletError(f"key file {path} cannot be written: {error.strerror}") from error


def words_of(passphrase: Passphrase, what: str) -> str:
    return passphrase if isinstance(passphrase, str) else passphrase(what)


def _parts(record: Any) -> tuple[Cost, bytes, bytes]:
    if not isinstance(record, dict) or (record.get("kdf"), record.get("cipher")) != (KDF, CIPHER):
        raise WalletError(f"the sealed key is not of the kind {KDF} with {CIPHER}")
    operations, memory = record.get("operations"), record.get("memory_bytes")
    if type(operations) is not int or not 1 <= operations <= MAX_OPERATIONS:
        raise WalletError(f"operations: expected a whole number from 1 to {MAX_OPERATIONS}, found {operations!r}")
    if type(memory) is not int or not pwhash.argon2id.MEMLIMIT_MIN <= memory <= MAX_MEMORY_BYTES:
        raise WalletError(f"memory_bytes: expected at most {MAX_MEMORY_BYTES}, found {memory!r}")
    try:
        salt, sealed = bytes.fromhex(record["salt"]), bytes.fromhex(record["sealed"])
    except (KeyError, TypeError, ValueError) as error:
        raise WalletError("the sealed key has no salt and sealed bytes in hexadecimal") from error
    if len(salt) != SALT_BYTES:
        raise WalletError(f"salt: expected {SALT_BYTES} bytes, found {len(salt)}")
    return Cost(operations, memory), salt, sealed


def _key(passphrase: str, salt: bytes, cost: Cost) -> bytes:
    words = passphrase.encode()
    if not 1 <= len(words) <= MAX_PASSPHRASE_BYTES:
        raise WalletError(f"a passphrase has 1 to {MAX_PASSPHRASE_BYTES} bytes, not {len(words)}")
    try:
        return pwhash.argon2id.kdf(
            SecretBox.KEY_SIZE, words, salt, opslimit=cost.operations, memlimit=cost.memory_bytes
        )
    except (RuntimeError, CryptoError) as error:
        raise WalletError(f"a passphrase costs {cost.memory_bytes >> 20} MiB of memory, which is not free") from error
