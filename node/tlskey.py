"""tls.key: the private key of a node's certificate at rest, sealed like the consensus key and by the same passphrase.

A sealed one is JSON and tells the digest of its public half, so that it can be matched with tls.crt while it is locked. An
open one is PEM below a line that says that it is open. What the file holds is PEM in memory only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from gridbft.errors import WalletError
from gridbft.sealing import MODERATE, Cost, Passphrase, seal, unseal, words_of, write_key_file
from gridbft.wallet import OPEN

FILE_VERSION = 1
_OPEN_LINE = f"encryption: {OPEN}"

Kept = Literal["sealed", "open", "unmarked"]
"""`unmarked`: PEM that does not say that it is open, as homes of the first release have it."""


@dataclass(frozen=True, slots=True)
class TlsKeyInfo:
    """What the file tells without its passphrase. `public_digest`: SHA-256 of the public half in DER (32 bytes)."""

    kept: Kept
    public_digest: bytes


def save_tls_key(path: Path, pem: str, passphrase: str | None, cost: Cost = MODERATE, replace: bool = False) -> None:
    """Writes a file that only its owner can read; without a passphrase it says that it is open.

    Raises FileExistsError rather than overwrite one, unless `replace` is asked for: then the new one stands in its place,
    whole, or the old one does. Raises WalletError where it cannot be written, or for a text that is no private key."""
    text = _sealed(pem, passphrase, cost) if passphrase is not None else f"{_OPEN_LINE}\n{pem}"
    write_key_file(path, text, replace)


def load_tls_key(path: Path, passphrase: Passphrase) -> str:
    """The private key in PEM. Raises WalletError."""
    text = _read(path)
    record = _record(path, text)
    if record is None:
        pem = text.removeprefix(_OPEN_LINE).lstrip()
        _public_digest(path, pem)
        return pem
    try:
        pem = unseal(record["encryption"], words_of(passphrase, f"key file {path}")).decode("ascii")
    except WalletError as error:
        raise WalletError(f"key file {path} stays locked: {error}") from error
    except UnicodeDecodeError as error:
        raise WalletError(f"key file {path} is damaged: what it seals is no PEM text") from error
    if _public_digest(path, pem) != _told_digest(path, record):
        raise WalletError(f"key file {path} is damaged: its public digest is not that of the key it seals")
    return pem


def tls_key_info(path: Path) -> TlsKeyInfo:
    """Raises WalletError for a file that is no such key."""
    text = _read(path)
    record = _record(path, text)
    if record is not None:
        return TlsKeyInfo("sealed", _told_digest(path, record))
    kept: Kept = "open" if text.startswith(_OPEN_LINE + "\n") else "unmarked"
    return TlsKeyInfo(kept, _public_digest(path, text))


def public_digest_of_certificate(pem: str | bytes) -> bytes:
    """What `TlsKeyInfo.public_digest` is for the key of this certificate. Raises ValueError for one that is none."""
    certificate = x509.load_pem_x509_certificate(pem.encode() if isinstance(pem, str) else pem)
    return sha256(certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def _sealed(pem: str, passphrase: str, cost: Cost) -> str:
    record = {
        "version": FILE_VERSION,
        "kind": "tls",
        "public_digest": _public_digest(None, pem).hex(),
        "encryption": seal(pem.encode("ascii"), passphrase, cost),
    }
    return json.dumps(record, indent=2) + "\n"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError as error:
        raise WalletError(f"key file {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise WalletError(f"key file {path} is neither a sealed key nor PEM") from error


def _record(path: Path, text: str) -> dict[str, Any] | None:
    """None for PEM."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        record: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WalletError(f"key file {path} is damaged: it is no JSON") from error
    if record.get("version") != FILE_VERSION or record.get("kind") != "tls":
        raise WalletError(f"key file {path} is no TLS key of version {FILE_VERSION}: is it another key's file?")
    if not isinstance(record.get("encryption"), dict):
        raise WalletError(f"key file {path} is damaged: it has nothing sealed in it")
    return record


def _told_digest(path: Path, record: dict[str, Any]) -> bytes:
    try:
        told = bytes.fromhex(record["public_digest"])
    except (KeyError, TypeError, ValueError) as error:
        raise WalletError(f"key file {path} is damaged: its public digest is no hexadecimal") from error
    return told


def _public_digest(path: Path | None, pem: str) -> bytes:
    try:
        key = load_pem_private_key(pem.encode("ascii"), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:  # TypeError: it has a password of PEM's own
        what = "the text" if path is None else f"key file {path}"
        raise WalletError(f"{what} is no private key in PEM without a password") from error
    return sha256(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
