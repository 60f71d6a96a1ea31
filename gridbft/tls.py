"""TLS towards the nodes: whose certificates are believed, and the one that this client shows."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from chain.genesis import GenesisError, load_genesis
from gridbft.errors import ClientError
from gridbft.requests import CHANNEL_OPTIONS

MEMBERS_NAME = "peer.gridbft"
"""The name in every certificate that a member makes for itself: which member it is, the certificate says."""

_Path = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Tls:
    """`roots`: PEM certificates that are believed (None: the system's). `name`: what a node's certificate must be for,
    where that is not its address. `certificate` and `key`: PEM, for nodes that let in only clients they know."""

    roots: bytes | None = None
    name: str | None = None
    certificate: bytes | None = None
    key: bytes | None = None

    @classmethod
    def of_genesis(cls, genesis: str, certificate: _Path | None = None, key: _Path | None = None) -> Tls:
        """Believes the certificates that the genesis (its text) pins for its members, and no others.

        Raises ClientError."""
        try:
            members = load_genesis(genesis).members
        except GenesisError as error:
            raise ClientError(f"the genesis file is not usable: {error}") from error
        roots = "".join(m.certificate for m in members).encode()
        return cls(roots, MEMBERS_NAME, *_own(certificate, key))

    @classmethod
    def load(cls, roots: _Path | None = None, certificate: _Path | None = None, key: _Path | None = None) -> Tls:
        """Believes the CAs of a PEM file (None: the system's) for certificates that name the node's host.

        Raises ClientError."""
        return cls(None if roots is None else _read(roots), None, *_own(certificate, key))

    def credentials(self) -> grpc.ChannelCredentials:
        return grpc.ssl_channel_credentials(self.roots, self.key, self.certificate)

    def options(self) -> tuple[tuple[str, Any], ...]:
        return () if self.name is None else (("grpc.ssl_target_name_override", self.name),)


def async_channel(address: str, tls: Tls | None) -> grpc.aio.Channel:
    if tls is None:
        return grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
    return grpc.aio.secure_channel(address, tls.credentials(), options=(*CHANNEL_OPTIONS, *tls.options()))


def blocking_channel(address: str, tls: Tls | None) -> grpc.Channel:
    if tls is None:
        return grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
    return grpc.secure_channel(address, tls.credentials(), options=(*CHANNEL_OPTIONS, *tls.options()))


def _own(certificate: _Path | None, key: _Path | None) -> tuple[bytes | None, bytes | None]:
    if (certificate is None) != (key is None):
        raise ClientError("a client's certificate and its key go together: give both, or neither")
    return (None, None) if certificate is None or key is None else (_read(certificate), _read(key))


def _read(path: _Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ClientError(f"{path} cannot be read: {error.strerror}") from error
