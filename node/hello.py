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


@dataclass(frozen=True, slots=True)
class Speech:
    """Versions of the peers' messages that a program speaks, both ends included. Two releases that follow each other have one in
    common, and two nodes use the newest that both speak: a message or a field of a newer one is sent to nobody who
    announced less."""

    oldest: int
    newest: int

    def common(self, other: Speech) -> int | None:
        """What two programs speak with each other; None: they are too far apart."""
        version = min(self.newest, other.newest)
        return version if version >= max(self.oldest, other.oldest) else None


SPEECH = Speech(oldest=1, newest=1)
"""This release's. The next one is Speech(1, 2), the one after it Speech(2, 3)."""
MAX_HELLO_BYTES = 1_024


@dataclass(frozen=True, slots=True)
class Self:
    """Who this node is to its peers; `sign` signs with the validator's key."""

    id: PeerId
    chain_id: str
    sign: Callable[[bytes], bytes]
    tls: TlsIdentity
    speech: Speech = SPEECH


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
    hello = pb.Hello(
        chain_id=me.chain_id,
        address=me.id,
        version=me.speech.newest,
        signature=me.sign(signed),
        oldest_version=me.speech.oldest,
    )
    return pb.PeerMessage(hello=hello).SerializeToString()


def check_hello(
    raw: bytes,
    chain_id: str,
    members: Mapping[PeerId, Member],
    certificate: bytes,
    verify: Verify,
    speech: Speech = SPEECH,
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
    theirs = Speech(hello.oldest_version or hello.version, hello.version)
    if speech.common(theirs) is None:
        return Stranger(
            f"it speaks versions {theirs.oldest} to {theirs.newest}, this node {speech.oldest} to {speech.newest}: upgrade the "
            "older one, release after release"
        )
    member = members.get(PeerId(hello.address))
    if member is None:
        return Stranger(f"{hello.address[:20].hex()} is no member")
    if certificate != certificate_digest(member.certificate):
        return Stranger(f"the certificate is not the one pinned for {member.name}")
    if not verify(member.public_key, hello_sign_bytes(chain_id, hello.address, certificate), hello.signature):
        return Stranger(f"a hello that {member.name}'s key did not sign")
    return member
