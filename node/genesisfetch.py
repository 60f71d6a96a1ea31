"""A network's genesis from one of its running nodes. The node is not believed: the operator knows the file's SHA-256."""

from __future__ import annotations

import ssl
from hashlib import sha256

import grpc
from cryptography import x509

from chain.genesis import Genesis, GenesisError, load_genesis
from gridbft.errors import ClientError, NodeUnavailable
from gridbft.requests import status_error
from gridbft.tls import Tls, blocking_channel
from gridbft.v1 import client_pb2, client_pb2_grpc

FETCH_SECONDS = 20.0


class WrongGenesisError(Exception):
    """What came is not the genesis that was asked for; one sentence."""


def fetch_genesis(address: str, expected: bytes, tls: Tls | None) -> Genesis:
    """The genesis whose file has the SHA-256 `expected` (32 bytes), from the client port at `address`.

    Raises ClientError where the node does not give one, WrongGenesisError where it gives another one."""
    with blocking_channel(address, tls) as channel:
        stub = client_pb2_grpc.LedgerServiceStub(channel)
        try:
            response = stub.GetGenesis(client_pb2.GetGenesisRequest(), timeout=FETCH_SECONDS)
        except grpc.RpcError as error:
            raise _told(error, address) from error
    return checked(response.genesis, expected, address)


def checked(raw: bytes, expected: bytes, where: str) -> Genesis:
    """Nothing of the bytes is looked at before their digest is right. Raises WrongGenesisError."""
    found = sha256(raw).digest()
    if found != expected:
        raise WrongGenesisError(
            f"the genesis of {where} has the SHA-256 {found.hex()}, not {expected.hex()}: it is another network's, or the "
            "node lies; nothing was written. Ask a member for the hash again (`gridbft genesis check` shows it)"
        )
    try:
        return load_genesis(raw.decode("utf-8"))
    except (GenesisError, UnicodeDecodeError, RecursionError) as error:
        raise WrongGenesisError(f"what {where} gave has the right hash and is no genesis: {error}") from error


def any_certificate(address: str, own: Tls | None = None) -> Tls:
    """TLS that believes whatever certificate the node shows now: for what is checked by its hash. `own` brings this
    client's certificate, where nodes ask for one. Raises NodeUnavailable."""
    host, _, port = address.rpartition(":")
    try:
        shown = ssl.get_server_certificate((host.strip("[]"), int(port)), timeout=FETCH_SECONDS).encode()
    except (OSError, ValueError) as error:
        raise NodeUnavailable(address, f"no TLS there ({error})") from error
    certificate, key = (None, None) if own is None else (own.certificate, own.key)
    return Tls(shown, _name_in(shown), certificate, key)


def _name_in(certificate: bytes) -> str | None:
    """Some host name that the certificate is for; None where it has none, and the address must do."""
    extensions = x509.load_pem_x509_certificate(certificate).extensions
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
    hosts = names.get_values_for_type(x509.DNSName)
    return hosts[0].replace("*", "any") if hosts else None


def _told(error: grpc.RpcError, address: str) -> ClientError:
    assert isinstance(error, grpc.Call), "a failed call is one"
    if error.code() is grpc.StatusCode.UNIMPLEMENTED:
        return NodeUnavailable(address, "its release gives no genesis: copy the file from a member")
    return status_error(error.code(), error.details(), address)
