"""A node's TLS certificate: self-signed, long-lived, pinned by the other members. Its name is the same for all: who a
peer is, its pinned certificate and its signed Hello say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

TLS_NAME = "peer.gridbft"  # what every certificate is valid for, and what a dialler asks for
VALIDITY_DAYS = 365 * 50  # a pinned certificate is replaced by governance, not by a calendar


class CertificateError(ValueError):
    """The text is no certificate; the message says so."""


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """Both PEM."""

    certificate: str
    private_key: str


def make_tls_identity(name: str, now: datetime) -> TlsIdentity:
    """A new ECDSA P-256 key and its certificate; `name` only helps people who look at it."""
    key = ec.generate_private_key(ec.SECP256R1())
    # The serial number keeps the subjects of several members apart: they all lie in one list of trusted roots.
    serial = x509.random_serial_number()
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "gridbft"),
            x509.NameAttribute(NameOID.COMMON_NAME, name[:64] or TLS_NAME),
            x509.NameAttribute(NameOID.SERIAL_NUMBER, f"{serial:x}"),
        ]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now - timedelta(days=2))  # clocks of members may differ
        .not_valid_after(now + timedelta(days=VALIDITY_DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(TLS_NAME)]), critical=False)
        # Whoever trusts it, trusts it alone: it can sign for nobody else.
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return TlsIdentity(certificate.public_bytes(serialization.Encoding.PEM).decode(), private_pem.decode())


def utc_now() -> datetime:
    return datetime.now(UTC)


def certificate_digest(pem: str | bytes) -> bytes:
    """SHA-256 of the DER form (32 bytes). Raises CertificateError."""
    raw = pem.encode() if isinstance(pem, str) else pem
    try:
        certificate = x509.load_pem_x509_certificate(raw)
    except ValueError as error:
        raise CertificateError("this text is no PEM certificate") from error
    return sha256(certificate.public_bytes(serialization.Encoding.DER)).digest()
