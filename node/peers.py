"""Streams to the other members: mutual TLS pinned to their certificates, one stream for each pair. Who is a member may
change while the node runs: governance decides that, and `set_members` carries it out.

The one with the smaller address dials, again and again. Nobody else gets a stream: TLS refuses unknown certificates,
and a Hello must prove the validator's key for the very certificate of the session.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
import structlog

from chain.genesis import Member
from node import ed25519
from node.admission import MAX_MESSAGE_BYTES
from node.certs import TLS_NAME, CertificateError, TlsIdentity, certificate_digest
from node.connections import HANDSHAKE_OPTION, Connections
from node.events import PeerId
from node.hello import Self, Stranger, check_hello, make_hello
from node.outbox import Lane, Outbox

SERVICE, METHOD = "gridbft.v1.PeerService", "Connect"
HELLO_SECONDS = 5.0
BACKOFF_SECONDS = (0.05, 2.0)
FAULT_LIMIT = 3
BAN_SECONDS = (1.0, 600.0)

_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
]
_SERVER_OPTIONS = [
    *_OPTIONS,
    HANDSHAKE_OPTION,
    ("grpc.so_reuseport", 0),  # a second process on this port must fail, not share it
    ("grpc.max_concurrent_streams", 4),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
]
_CHANNEL_OPTIONS = [
    *_OPTIONS,
    ("grpc.ssl_target_name_override", TLS_NAME),
    ("grpc.use_local_subchannel_pool", 1),  # the back-off is ours, not that of a shared subchannel
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
]

log = structlog.get_logger("peers")


class Listener(Protocol):
    async def message(self, peer: PeerId, raw: bytes) -> None:
        """One message, in the order of its stream; the next is read when this returns."""
        ...

    def up(self, peer: PeerId) -> None: ...

    def down(self, peer: PeerId) -> None: ...

    def crashed(self, error: BaseException) -> None:
        """Something of our own went wrong while serving a stream."""
        ...


Answer = Callable[[bytes], bytes | None]
"""One request of a member, encoded, to its answer; None where there is none. Raises ValueError on a malformed one."""

Read = Callable[[], Awaitable[Any]]
Write = Callable[[bytes], Awaitable[None]]


@dataclass(slots=True)
class _Standing:
    """How a peer behaved: faults since its last ban, bans so far, and when the last one ends (loop time)."""

    faults: int = 0
    bans: int = 0
    until: float = 0.0


@dataclass(slots=True, eq=False)
class _Link:
    member: Member
    outbox: Outbox
    over: asyncio.Event


def member_channel(member: Member, tls: TlsIdentity) -> Any:
    """A channel to a member under mutual TLS: it accepts that member's certificate and no other."""
    credentials = grpc.ssl_channel_credentials(
        root_certificates=member.certificate.encode(),
        private_key=tls.private_key.encode(),
        certificate_chain=tls.certificate.encode(),
    )
    return grpc.aio.secure_channel(member.peer_address, credentials, _CHANNEL_OPTIONS)


class PortTakenError(Exception):
    """The message names the address."""


class Peers:
    """Start it on a running loop; `strangers` counts those who got no stream after TLS let them in, `connections` those who
    came to the port, and whom TLS did not let in.

    `answers` are the single requests that members may make beside their streams, by the method's name.
    """

    def __init__(
        self, me: Self, members: Sequence[Member], listener: Listener, answers: Mapping[str, Answer] | None = None
    ) -> None:
        self._me = me
        self._members = self._others(members)
        self._listener = listener
        self._answers = dict(answers or {})
        self._links: dict[PeerId, _Link] = {}
        self._standings = {peer: _Standing() for peer in self._members}
        self._diallers: dict[PeerId, asyncio.Task[None]] = {}
        self._server: grpc.aio.Server | None = None
        self._trusts = ""  # the roots that sessions are checked against
        self.strangers = 0
        self.connections = Connections("peers")

    # --- for the host -----------------------------------------------------------------------------------------------

    @property
    def members(self) -> dict[PeerId, Member]:
        return self._members

    @property
    def connected(self) -> frozenset[PeerId]:
        return frozenset(self._links)

    def send(self, to: PeerId | None, lane: Lane, raw: bytes) -> None:
        """`raw` is an encoded PeerMessage, `to` None every peer. Without a stream it is lost: gossip repairs that."""
        targets = list(self._links) if to is None else [to]
        for peer in targets:
            link = self._links.get(peer)
            if link is not None and not link.outbox.put(lane, raw):
                log.warning("peer_too_slow", peer=link.member.name)
                link.over.set()

    def penalise(self, peer: PeerId, reason: str) -> None:
        standing = self._standings.get(peer)
        if standing is None:
            return  # no member any more
        standing.faults += 1
        log.warning("peer_fault", peer=self._members[peer].name, reason=reason, faults=standing.faults)
        if standing.faults < FAULT_LIMIT:
            return
        seconds = min(BAN_SECONDS[0] * 2**standing.bans, BAN_SECONDS[1])
        standing.faults, standing.bans = 0, min(standing.bans + 1, 32)
        standing.until = asyncio.get_running_loop().time() + seconds
        log.warning("peer_banned", peer=self._members[peer].name, seconds=seconds)
        if peer in self._links:
            self._links[peer].over.set()

    async def start(self, address: str) -> int:
        """Serves on `address` and dials; gives the port. Raises PortTakenError."""
        server = grpc.aio.server(options=_SERVER_OPTIONS)
        handlers = {METHOD: grpc.stream_stream_rpc_method_handler(self._serve)}
        handlers |= {
            name: grpc.unary_unary_rpc_method_handler(self._answering(answer)) for name, answer in self._answers.items()
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        credentials = grpc.dynamic_ssl_server_credentials(
            self._trusted(), self._newly_trusted, require_client_authentication=True
        )
        try:
            port = server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise PortTakenError(
                f"peer_address {address} cannot be used: is another process listening there?"
            ) from error
        await server.start()
        self._server = server
        for peer in self._members:
            self._begin_dialling(peer)
        return port

    def set_members(self, members: Sequence[Member]) -> None:
        """Who is one from now on: others lose their streams, new ones are dialled or let in, without a restart. A member
        whose certificate or address changed is a new one."""
        others = self._others(members)
        for peer in [p for p, m in self._members.items() if not _same_place(m, others.get(p))]:
            log.info("member_left", peer=self._members[peer].name)
            del self._members[peer], self._standings[peer]
            dialler = self._diallers.pop(peer, None)
            if dialler is not None:
                dialler.cancel()
            if peer in self._links:
                self._links[peer].over.set()
        for peer, member in others.items():
            is_new = peer not in self._members
            self._members[peer] = member
            if is_new:
                log.info("member_joined", peer=member.name)
                self._standings[peer] = _Standing()
                if self._server is not None:
                    self._begin_dialling(peer)

    def _others(self, members: Sequence[Member]) -> dict[PeerId, Member]:
        """Those that can be spoken to: a certificate that nobody can read must not spoil the others' sessions."""
        others: dict[PeerId, Member] = {}
        for member in members:
            try:
                certificate_digest(member.certificate)
            except CertificateError as error:
                log.warning("member_without_certificate", peer=member.name, reason=str(error))
                continue
            if member.id != self._me.id:
                others[PeerId(member.id)] = member
        return others

    def _newly_trusted(self) -> Any:
        """Asked for at every new connection, so that it follows the members; None while they are the same.

        A new answer makes gRPC replace what other sessions may be starting with at that moment, and under thousands of
        connections it then read freed memory and ended the process: so it gets one only where something changed."""
        self.connections.accepted()
        return None if self._roots() == self._trusts else self._trusted()

    def _roots(self) -> str:
        return "".join(m.certificate for m in list(self._members.values())) or self._me.tls.certificate

    def _trusted(self) -> Any:
        roots = self._trusts = self._roots()
        pair = (self._me.tls.private_key.encode(), self._me.tls.certificate.encode())
        return grpc.ssl_server_certificate_configuration([pair], root_certificates=roots.encode())

    def _begin_dialling(self, peer: PeerId) -> None:
        if self._me.id < peer:
            member = self._members[peer]
            self._diallers[peer] = asyncio.create_task(self._dial_always(peer, member), name=f"dial-{member.name}")

    async def stop(self) -> None:
        for link in self._links.values():
            link.over.set()
        diallers = list(self._diallers.values())
        for task in diallers:
            task.cancel()
        await asyncio.gather(*diallers, return_exceptions=True)
        if self._server is not None:
            await self._server.stop(grace=0.2)

    # --- both sides of a stream ---------------------------------------------------------------------------------------

    def _banned_seconds(self, peer: PeerId) -> float:
        standing = self._standings.get(peer)
        return 0.0 if standing is None else max(0.0, standing.until - asyncio.get_running_loop().time())

    @contextmanager
    def _linked(self, member: Member) -> Iterator[_Link]:
        """A newer stream replaces an older one of the same peer: the older one is a corpse."""
        peer = PeerId(member.id)
        before = self._links.get(peer)
        if before is not None:
            before.over.set()
            self._listener.down(peer)
        link = _Link(member, Outbox(), asyncio.Event())
        self._links[peer] = link
        log.info("peer_up", peer=member.name)
        self._listener.up(peer)
        try:
            yield link
        finally:
            if self._links.get(peer) is link:
                del self._links[peer]
                log.info("peer_down", peer=member.name)
                self._listener.down(peer)

    async def _talk(self, member: Member, read: Read, write: Write) -> None:
        """Until either side ends, or it is a member no longer."""
        with self._linked(member) as link:
            tasks = [
                asyncio.create_task(self._send_out(link.outbox, write)),
                asyncio.create_task(self._take_in(PeerId(member.id), read)),
                asyncio.create_task(link.over.wait()),
            ]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            for task in done:
                fault = None if task.cancelled() else task.exception()  # cancelled: the library's word for a dead call
                if fault is not None and not isinstance(fault, grpc.RpcError | grpc.aio.BaseError):
                    self._listener.crashed(fault)

    @staticmethod
    async def _send_out(outbox: Outbox, write: Write) -> None:
        """Until the stream is over, which the library tells a writer that comes too late by InvalidStateError."""
        while True:
            raw = await outbox.get()
            try:
                await write(raw)
            except asyncio.InvalidStateError:
                return

    async def _take_in(self, peer: PeerId, read: Read) -> None:
        while isinstance(raw := await read(), bytes):
            await self._listener.message(peer, raw)

    # --- the side that is dialled -------------------------------------------------------------------------------------

    async def _serve(self, _: object, context: Any) -> None:
        self.connections.called(context.peer(), asyncio.get_running_loop().time())
        member = await self._hello_of_caller(context)
        if isinstance(member, Stranger):
            self.strangers += 1
            log.warning("stranger", reason=member.reason, where=context.peer())
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, member.reason)
            return
        await context.write(make_hello(self._me))
        if PeerId(member.id) in self._members:  # it may have left while we wrote
            await self._talk(member, context.read, context.write)

    def _answering(self, answer: Answer) -> Callable[[bytes, Any], Awaitable[bytes]]:
        async def handler(raw: bytes, context: Any) -> bytes:
            self.connections.called(context.peer(), asyncio.get_running_loop().time())
            if not self._is_members_session(context):
                self.strangers += 1
                await context.abort(grpc.StatusCode.PERMISSION_DENIED, "no member's certificate")
            try:
                found = answer(raw)
            except ValueError as error:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            if found is None:
                await context.abort(grpc.StatusCode.NOT_FOUND, "not here")
            assert found is not None, "abort raises"
            return found

        return handler

    def _is_members_session(self, context: Any) -> bool:
        """A session may outlive its membership: TLS let it in, but that was then."""
        pem = (context.auth_context().get("x509_pem_cert") or [b""])[0]
        try:
            found = certificate_digest(pem)
        except CertificateError:
            return False
        return any(certificate_digest(m.certificate) == found for m in self._members.values())

    async def _hello_of_caller(self, context: Any) -> Member | Stranger:
        pem = (context.auth_context().get("x509_pem_cert") or [b""])[0]
        try:
            certificate = certificate_digest(pem)
            async with asyncio.timeout(HELLO_SECONDS):
                raw = await context.read()
        except CertificateError:
            return Stranger("no certificate")
        except TimeoutError:
            return Stranger("no hello came in time")
        if not isinstance(raw, bytes):
            return Stranger("the stream ended before a hello")
        member = check_hello(raw, self._me.chain_id, self._members, certificate, ed25519.verify, self._me.speech)
        if isinstance(member, Member) and self._banned_seconds(PeerId(member.id)) > 0:
            return Stranger(f"{member.name} is banned for now")
        return member

    # --- the side that dials ------------------------------------------------------------------------------------------

    async def _dial_always(self, peer: PeerId, member: Member) -> None:
        """Back-off grows while nobody answers, and is jittered so that restarted networks do not dial in step."""
        least, most = BACKOFF_SECONDS
        pause = least
        while True:
            await asyncio.sleep(self._banned_seconds(peer))
            if await self._dial(member):
                pause = least
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, most)

    async def _dial(self, member: Member) -> bool:
        """One stream from its start to its end; whether the other side proved to be `member`."""
        channel = member_channel(member, self._me.tls)
        async with channel:
            call = channel.stream_stream(f"/{SERVICE}/{METHOD}")()
            try:
                async with asyncio.timeout(HELLO_SECONDS):
                    await call.write(make_hello(self._me))
                    raw = await call.read()
            except (TimeoutError, grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError) as error:
                log.debug("dial_failed", peer=member.name, error=repr(error))
                return False
            if not isinstance(raw, bytes):
                return False
            pinned = certificate_digest(member.certificate)  # TLS accepted no other certificate than this one
            found = check_hello(
                raw, self._me.chain_id, {PeerId(member.id): member}, pinned, ed25519.verify, self._me.speech
            )
            if isinstance(found, Stranger):
                log.warning("stranger", reason=found.reason, where=member.peer_address)
                return False
            await self._talk(member, call.read, call.write)
            return True


def _same_place(member: Member, other: Member | None) -> bool:
    return other is not None and member.certificate == other.certificate and member.peer_address == other.peer_address
