"""The first message on a stream between validators: it binds the TLS certificate to the validator's key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256

from google.protobuf.message import DecodeError

from chain.genesis import Member
from chain.hashes import HELLO_DOMAIN
from chain.tx import Verify
from gridbft.v1 import peer_pb2 as pb
from node.certs import TlsIdentity, certificate_digest
from node.events import PeerId

HELLO_VERSION = 1
MAX_HELLO_BYTES = 1_024


@dataclass(frozen=True, slots=True)
class Self:
    """Who this node is to its peers; `sign` signs with the validator's key."""

    id: PeerId
    chain_id: str
    sign: Callable[[bytes], bytes]
    tls: TlsIdentity


@dataclass(frozen=True, slots=True)
class Stranger:
    """Not one of the members, or not able to prove it."""

    reason: str


def hello_sign_bytes(chain_id: str, address: bytes, certificate: bytes) -> bytes:
    """`certificate` is the SHA-256 of its DER form."""
    return HELLO_DOMAIN + sha256(chain_id.encode()).digest() + address + certificate


def make_hello(me: Self) -> bytes:
    """An encoded PeerMessage."""
    signed = hello_sign_bytes(me.chain_id, me.id, certificate_digest(me.tls.certificate))
    hello = pb.Hello(chain_id=me.chain_id, address=me.id, version=HELLO_VERSION, signature=me.sign(signed))
    return pb.PeerMessage(hello=hello).SerializeToString()


def check_hello(
    raw: bytes, chain_id: str, members: Mapping[PeerId, Member], certificate: bytes, verify: Verify
) -> Member | Stranger:
    """Who speaks, given the SHA-256 of the certificate that the TLS session was made with. Total."""
    message = pb.PeerMessage()
    try:
        if len(raw) > MAX_HELLO_BYTES:
            return Stranger("a first message that is too long for a hello")
        message.ParseFromString(raw)
    except DecodeError:
        return Stranger("a first message that is not readable")
    if message.WhichOneof("kind") != "hello":
        return Stranger("no hello came first")
    hello = message.hello
    if hello.chain_id != chain_id:
        return Stranger(f"a hello for another chain, {hello.chain_id[:80]!r}")
    if hello.version != HELLO_VERSION:
        return Stranger(f"a hello of version {hello.version}, this node speaks {HELLO_VERSION}")
    member = members.get(PeerId(hello.address))
    if member is None:
        return Stranger(f"{hello.address[:20].hex()} is no member")
    if certificate != certificate_digest(member.certificate):
        return Stranger(f"the certificate is not the one pinned for {member.name}")
    if not verify(member.public_key, hello_sign_bytes(chain_id, hello.address, certificate), hello.signature):
        return Stranger(f"a hello that {member.name}'s key did not sign")
    return member
