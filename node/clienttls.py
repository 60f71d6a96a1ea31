"""TLS of the client port: the node's own certificate or one of a CA, and which clients' certificates are let in.

The files are read again for new sessions, so that a renewed certificate or a changed list needs no restart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import structlog

from node.certs import CertificateError, certificate_digest

log = structlog.get_logger("clients")


class ClientTlsError(Exception):
    """A file of the client port's TLS is missing or wrong; one sentence."""


@dataclass(frozen=True, slots=True)
class ClientTls:
    """`certificate` and `key`: files, or what they hold, in PEM: the node's own key is encrypted on the disk, so it is
    given as it was unlocked. `clients`: PEM certificates, of CAs or of the clients themselves; a client must show one that
    they vouch for. None: no certificate is asked for."""

    certificate: Path | bytes
    key: Path | bytes
    clients: Path | None = None

    def credentials(self, accepted: Callable[[], None] = lambda: None) -> Any:
        """`accepted` is told of each connection, from any thread. Raises ClientTlsError where a file cannot be used now."""
        held = self._texts()

        def again() -> Any:
            """None while the files are the same: gRPC must not replace what other sessions are starting with at that
            moment (see node/peers.py)."""
            nonlocal held
            accepted()
            try:
                found = self._texts()
            except ClientTlsError as error:
                log.error("client_tls_kept", reason=str(error), what="the certificates read before stay in use")
                return None
            if found == held:
                return None
            held = found
            return _configuration(*found)

        return grpc.dynamic_ssl_server_credentials(
            _configuration(*held), again, require_client_authentication=self.clients is not None
        )

    def _texts(self) -> tuple[bytes, bytes, bytes | None]:
        """Key, certificate, and what clients' certificates are checked against."""
        roots = None if self.clients is None else _certificate(self.clients)
        return _read(self.key), _certificate(self.certificate), roots


def _configuration(key: bytes, certificate: bytes, roots: bytes | None) -> Any:
    return grpc.ssl_server_certificate_configuration([(key, certificate)], root_certificates=roots)


def _read(path: Path | bytes) -> bytes:
    if isinstance(path, bytes):
        return path
    try:
        return path.read_bytes()
    except OSError as error:
        raise ClientTlsError(f"{path} cannot be read: {error.strerror}") from error


def _certificate(path: Path | bytes) -> bytes:
    raw = _read(path)
    try:
        certificate_digest(raw)
    except CertificateError as error:
        where = path if isinstance(path, Path) else "the node's certificate"
        raise ClientTlsError(f"{where}: {error}") from error
    return raw


def fingerprints(path: Path) -> Callable[[], frozenset[bytes]]:
    """What the file says now: one SHA-256 of a certificate in each line, colons allowed, `#` begins a remark.

    Raises ClientTlsError at once for a file that is wrong; later, what it said before stays in force."""
    held = _parse(path)
    seen = path.stat().st_mtime_ns

    def current() -> frozenset[bytes]:
        nonlocal held, seen
        try:
            changed = path.stat().st_mtime_ns
            if changed != seen:
                seen, held = changed, _parse(path)
        except (OSError, ClientTlsError) as error:
            log.error("fingerprints_kept", reason=str(error))
        return held

    return current


def _parse(path: Path) -> frozenset[bytes]:
    found: set[bytes] = set()
    for number, line in enumerate(_read(path).decode("utf-8", "replace").splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            digest = bytes.fromhex(words[0].replace(":", ""))
        except ValueError:
            digest = b""
        if len(digest) != 32 or len(words) > 1:
            raise ClientTlsError(f"{path}, line {number}: expected a SHA-256 of 64 hexadecimal characters")
        found.add(digest)
    return frozenset(found)
