"""A node's side of a remote signer: the key is in another process, and so is the guard.

Without its signer a node signs nothing, says so, and goes on following the chain; it speaks again when the signer is back.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from chain.hashes import address
from consensus.types import Proposal, Vote
from node import ed25519
from node.hello import hello_sign_bytes
from node.signer import Position, Refused, sign_bytes_of
from node.signerwire import (
    LENGTH,
    MAX_FRAME_BYTES,
    Identity,
    MalformedError,
    No,
    Reply,
    Request,
    Signature,
    SignHello,
    SignMessage,
    WhoAreYou,
    decode_reply,
    encode_request,
    framed,
)

SCHEME = "unix:"
ANSWER_SECONDS = 0.5  # a signer answers within a fsync; the node waits for it, so it waits no longer
PAUSE_SECONDS = 0.5  # after a failure nothing is asked for so long: a dead signer must not slow its node down

log = structlog.get_logger("signer")


class SignerLostError(Exception):
    """No answer, or one that makes no sense."""


@dataclass(frozen=True, slots=True)
class RemoteKey:
    """What a node knows of a key that it does not hold: enough to be recognised by its peers."""

    public_key: bytes
    hello: bytes
    hello_signature: bytes

    @property
    def address_bytes(self) -> bytes:
        return address(self.public_key)

    def sign(self, message: bytes) -> bytes:
        """Its Hello only: everything else goes through the signer's guard."""
        assert message == self.hello, "a node whose key is elsewhere signs nothing but its own Hello here"
        return self.hello_signature


class RemoteSigner:
    """A connection that opens when it is needed, and again after it was lost. `now` is a monotonic clock in seconds."""

    def __init__(
        self, path: Path, chain_id: str, public_key: bytes = b"", now: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._chain_id = chain_id
        self._public_key = public_key
        self._now = now
        self._socket: socket.socket | None = None
        self._silent_until = float("-inf")
        self._is_lost = False
        self._last: Position | None = None

    @property
    def last(self) -> Position | None:
        """The highest (height, round, step) that its guard had seen when it was asked first; None: it never answered. Who
        does not know this must not ask it to sign: whether this node remembers all that was signed hangs on it."""
        return self._last

    def identity(self) -> Identity:
        """Raises SignerLostError, also where the signer is another chain's or holds another key."""
        self._connect()
        found = self._ask(WhoAreYou())
        if not isinstance(found, Identity):
            raise SignerLostError(f"the signer at {self._path} does not say who it is")
        if found.chain_id != self._chain_id:
            raise SignerLostError(f"the signer at {self._path} signs for {found.chain_id!r}, not {self._chain_id!r}")
        if self._public_key and found.public_key != self._public_key:
            raise SignerLostError(f"the signer at {self._path} holds another key than this node's")
        self._public_key = found.public_key
        if self._last is None:
            self._last = found.last
        return found

    def hello(self, certificate: bytes) -> RemoteKey:
        """The key's public half with its signature over this node's Hello. Raises SignerLostError."""
        public_key = self.identity().public_key
        signed = self._ask(SignHello(certificate))
        message = hello_sign_bytes(self._chain_id, address(public_key), certificate)
        if not isinstance(signed, Signature) or not ed25519.verify(public_key, message, signed.signature):
            raise SignerLostError(f"the signer at {self._path} did not sign the node's Hello")
        return RemoteKey(public_key, message, signed.signature)

    def sign(self, message: Vote | Proposal) -> Vote | Proposal | Refused:
        """Refused by the guard, or because the signer is away."""
        if self._now() < self._silent_until:
            return Refused(f"the signer at {self._path} is away: this node stays silent")
        try:
            if self._socket is None:
                self.identity()
            reply = self._ask(SignMessage(message))
            if isinstance(reply, No):
                return Refused(reply.reason)
            signed_bytes = sign_bytes_of(self._chain_id, message)
            if not isinstance(reply, Signature) or not ed25519.verify(self._public_key, signed_bytes, reply.signature):
                raise SignerLostError("the signer's answer is no signature by its key")
        except SignerLostError as error:
            self._lost(str(error))
            return Refused(f"{error}: this node stays silent")
        if self._is_lost:
            self._is_lost = False
            log.info("signer_is_back", socket=str(self._path))
        return replace(message, signature=reply.signature)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _lost(self, reason: str) -> None:
        self.close()
        self._silent_until = self._now() + PAUSE_SECONDS
        if not self._is_lost:
            self._is_lost = True
            log.error("signer_lost", reason=reason, what="this validator is silent until the signer is back")

    def _connect(self) -> None:
        self.close()
        found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        found.settimeout(ANSWER_SECONDS)
        try:
            found.connect(str(self._path))
        except OSError as error:
            found.close()
            raise SignerLostError(f"no signer at {self._path} ({error.strerror or error})") from error
        self._socket = found

    def _ask(self, request: Request) -> Reply:
        assert self._socket is not None, "connected first"
        deadline = time.monotonic() + ANSWER_SECONDS
        try:
            self._socket.settimeout(ANSWER_SECONDS)
            self._socket.sendall(framed(encode_request(request)))
            (length,) = LENGTH.unpack(self._read(LENGTH.size, deadline))
            if not 0 < length <= MAX_FRAME_BYTES:
                raise MalformedError(f"a frame of {length} bytes")
            return decode_reply(self._read(length, deadline))
        except (OSError, MalformedError) as error:
            self.close()  # whatever is still under way must not be taken for the answer to the next question
            raise SignerLostError(f"the signer at {self._path} gave no good answer ({error})") from error

    def _read(self, count: int, deadline: float) -> bytes:
        assert self._socket is not None, "connected first"
        data = b""
        while len(data) < count:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("too slow")
            self._socket.settimeout(left)
            part = self._socket.recv(count - len(data))
            if not part:
                raise ConnectionResetError("the connection ended")
            data += part
        return data


def remember(file: Path, key: RemoteKey) -> None:
    """Keeps the public half, so that the node can start, follow and answer while its signer is away."""
    record = {"public_key": key.public_key.hex(), "hello_signature": key.hello_signature.hex()}
    fresh = file.with_name(file.name + ".new")
    fresh.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    os.replace(fresh, file)


def recall(file: Path, chain_id: str, certificate: bytes) -> RemoteKey | None:
    """What `remember` kept, if it is for this chain and certificate."""
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        public_key, signature = bytes.fromhex(record["public_key"]), bytes.fromhex(record["hello_signature"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    message = hello_sign_bytes(chain_id, address(public_key), certificate)
    return RemoteKey(public_key, message, signature) if ed25519.verify(public_key, message, signature) else None
