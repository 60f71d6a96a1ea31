"""Streams over real loopback TLS: members find each other again and again, and nobody else gets one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import grpc
import pytest
from grpc.aio import _channel

from chain.genesis import Member
from gridbft.wallet import Wallet
from node import ed25519
from node.certs import TLS_NAME, TlsIdentity, certificate_digest, make_tls_identity, utc_now
from node.events import PeerId
from node.hello import Self, Stranger, check_hello, make_hello
from node.outbox import Lane
from node.peers import FAULT_LIMIT, METHOD, SERVICE, Peers, PortTakenError

CHAIN = "test-0000"
PATIENCE_S = 10.0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True)
class Party:
    wallet: Wallet
    tls: TlsIdentity
    member: Member

    @property
    def id(self) -> PeerId:
        return PeerId(self.member.id)

    @property
    def me(self) -> Self:
        return Self(self.id, CHAIN, self.wallet.sign, self.tls)


def _party(seed: int) -> Party:
    wallet = Wallet.from_seed(bytes([seed]) * 32)
    tls = make_tls_identity(f"node-{seed}", utc_now())
    address = f"127.0.0.1:{_free_port()}"
    return Party(wallet, tls, Member(f"node-{seed}", "utility", wallet.public_key, 1, address, tls.certificate))


@dataclass
class Ear:
    """A listener that writes down what it hears."""

    heard: list[tuple[PeerId, bytes]] = field(default_factory=list)
    ups: int = 0
    downs: int = 0
    crashes: list[BaseException] = field(default_factory=list)

    async def message(self, peer: PeerId, raw: bytes) -> None:
        self.heard.append((peer, raw))
        if raw == b"crash":
            raise RuntimeError("a fault of our own")

    def up(self, peer: PeerId) -> None:
        self.ups += 1

    def down(self, peer: PeerId) -> None:
        self.downs += 1

    def crashed(self, error: BaseException) -> None:
        self.crashes.append(error)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.01)


@dataclass
class Pair:
    dialler: Peers
    dialled: Peers
    dialler_ear: Ear
    dialled_ear: Ear
    dialler_party: Party
    dialled_party: Party

    @property
    def joined(self) -> bool:
        return bool(self.dialler.connected and self.dialled.connected)


async def _with_pair(scenario: Callable[[Pair], Awaitable[None]]) -> None:
    small, large = sorted([_party(1), _party(2)], key=lambda p: p.id)
    members = [small.member, large.member]
    ears = Ear(), Ear()
    pair = Pair(Peers(small.me, members, ears[0]), Peers(large.me, members, ears[1]), *ears, small, large)
    await pair.dialler.start(small.member.peer_address)
    await pair.dialled.start(large.member.peer_address)
    try:
        await _until(lambda: pair.joined)
        await scenario(pair)
    finally:
        await asyncio.gather(pair.dialler.stop(), pair.dialled.stop())


def test_messages_pass_both_ways_in_order() -> None:
    async def scenario(pair: Pair) -> None:
        for n in range(50):
            pair.dialler.send(None, Lane.VITAL, b"down %d" % n)
            pair.dialled.send(pair.dialler_party.id, Lane.VITAL, b"up %d" % n)
        await _until(lambda: len(pair.dialler_ear.heard) == 50 and len(pair.dialled_ear.heard) == 50)
        assert pair.dialled_ear.heard == [(pair.dialler_party.id, b"down %d" % n) for n in range(50)]
        assert pair.dialler_ear.heard == [(pair.dialled_party.id, b"up %d" % n) for n in range(50)]

    asyncio.run(_with_pair(scenario))


def test_a_restarted_peer_is_found_again() -> None:
    async def scenario(pair: Pair) -> None:
        await pair.dialled.stop()
        await _until(lambda: not pair.dialler.connected)
        members = [pair.dialler_party.member, pair.dialled_party.member]
        pair.dialled = Peers(pair.dialled_party.me, members, pair.dialled_ear)
        await pair.dialled.start(pair.dialled_party.member.peer_address)
        await _until(lambda: pair.joined)
        assert (pair.dialler_ear.ups, pair.dialler_ear.downs) == (2, 1)

    asyncio.run(_with_pair(scenario))


def test_a_peer_that_goes_on_misbehaving_is_cut_off_and_let_in_again_later() -> None:
    async def scenario(pair: Pair) -> None:
        for _ in range(FAULT_LIMIT):
            pair.dialled.penalise(pair.dialler_party.id, "sent nonsense")
        await _until(lambda: not pair.dialled.connected)
        assert pair.dialled_ear.downs == 1
        await _until(lambda: pair.joined)
        assert pair.dialled.strangers > 0  # it came back too early at first

    asyncio.run(_with_pair(scenario))


def test_a_peer_that_does_not_take_its_votes_loses_its_stream_and_not_single_votes() -> None:
    async def scenario(pair: Pair) -> None:
        for _ in range(9):
            pair.dialler.send(None, Lane.VITAL, bytes(4 * 1024 * 1024))
        await _until(lambda: pair.dialler_ear.downs == 1)
        await _until(lambda: pair.joined)

    asyncio.run(_with_pair(scenario))


def test_a_fault_of_our_own_while_listening_is_reported_and_not_swallowed() -> None:
    async def scenario(pair: Pair) -> None:
        pair.dialler.send(None, Lane.VITAL, b"crash")
        await _until(lambda: bool(pair.dialled_ear.crashes))

    asyncio.run(_with_pair(scenario))


class _EndedCall:
    """A call as the library leaves it when it ended unnoticed: writers are told by InvalidStateError from message
    `good_writes` on."""

    def __init__(self, call: Any, good_writes: int) -> None:
        self.read = call.read
        self._write = call.write
        self._good_writes = good_writes

    async def write(self, raw: bytes) -> None:
        self._good_writes -= 1
        if self._good_writes < 0:
            raise asyncio.InvalidStateError("RPC already finished.")
        await self._write(raw)


def test_a_dialler_that_is_stopped_in_the_moment_its_call_dies_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node hung at its end: what the dead call raised hid the cancel, and the dialler went on."""
    dying: list[asyncio.Future[None]] = []

    class DyingCall:
        async def write(self, raw: bytes) -> None:
            dying.append(asyncio.get_running_loop().create_future())
            await dying[-1]

    monkeypatch.setattr(_channel.Channel, "stream_stream", lambda channel, method: DyingCall)

    async def scenario() -> None:
        smaller, larger = sorted((_party(1), _party(2)), key=lambda party: party.id)
        peers = Peers(smaller.me, [smaller.member, larger.member], Ear())
        await peers.start("127.0.0.1:0")
        await _until(lambda: bool(dying))
        dying[-1].set_exception(asyncio.InvalidStateError("RPC already finished."))
        async with asyncio.timeout(PATIENCE_S):
            await peers.stop()

    asyncio.run(scenario())


@pytest.mark.parametrize("good_writes", [0, 1])
def test_a_call_that_ended_unnoticed_is_dialled_again_and_stops_nothing(
    good_writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that was stopped for longer than its peers wait wakes up on such calls, before the hello or after it."""
    real: Any = _channel.Channel.stream_stream
    ended: list[_EndedCall] = []

    def ended_at_first(channel: Any, method: str) -> Any:
        def call() -> Any:
            made = real(channel, method)()
            if len(ended) == 2:
                return made
            ended.append(_EndedCall(made, good_writes))
            return ended[-1]

        return call

    monkeypatch.setattr(_channel.Channel, "stream_stream", ended_at_first)

    async def scenario(pair: Pair) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not pair.dialled_ear.heard or len(ended) < 2:
                pair.dialler.send(pair.dialled_party.id, Lane.VITAL, b"hello again")
                await asyncio.sleep(0.01)
        assert pair.dialler_ear.crashes == []

    asyncio.run(_with_pair(scenario))


def test_a_port_that_is_taken_is_one_sentence() -> None:
    async def scenario(pair: Pair) -> None:
        other = Peers(pair.dialler_party.me, [pair.dialler_party.member], Ear())
        with pytest.raises(PortTakenError, match="is another process listening there"):
            await other.start(pair.dialled_party.member.peer_address)

    asyncio.run(_with_pair(scenario))


async def _knock(address: str, server: Party, tls: TlsIdentity, first: bytes) -> grpc.StatusCode | bytes:
    """What a caller with that certificate and first message gets: the first answer, or how it was refused."""
    credentials = grpc.ssl_channel_credentials(
        server.tls.certificate.encode(), tls.private_key.encode(), tls.certificate.encode()
    )
    channel: Any = grpc.aio.secure_channel(address, credentials, [("grpc.ssl_target_name_override", TLS_NAME)])
    async with channel:
        call = channel.stream_stream(f"/{SERVICE}/{METHOD}")()
        try:
            await call.write(first)
            raw = await call.read()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError, grpc.aio.UsageError):
            raw = None
        if isinstance(raw, bytes):
            return raw
        code: grpc.StatusCode = await call.code()
        return code


def test_strangers_get_no_stream() -> None:
    async def scenario(pair: Pair) -> None:
        server, friend = pair.dialled_party, pair.dialler_party
        address, stranger = server.member.peer_address, _party(9)
        good = make_hello(friend.me)
        assert isinstance(await _knock(address, server, friend.tls, good), bytes)
        # TLS lets in the members' certificates only.
        assert await _knock(address, server, stranger.tls, make_hello(stranger.me)) is grpc.StatusCode.UNAVAILABLE
        assert await _knock(address, server, stranger.tls, good) is grpc.StatusCode.UNAVAILABLE
        refused = pair.dialled.strangers
        # With a member's certificate, the hello must be that member's, for this chain, and signed by its key.
        for first in (
            b"",
            b"\xff\xff",
            make_hello(replace(friend.me, chain_id="other-0000")),
            make_hello(replace(friend.me, sign=stranger.wallet.sign)),
            make_hello(replace(friend.me, id=stranger.id)),
            make_hello(replace(server.me, tls=friend.tls)),
        ):
            assert await _knock(address, server, friend.tls, first) is grpc.StatusCode.PERMISSION_DENIED
        assert pair.dialled.strangers == refused + 6

    asyncio.run(_with_pair(scenario))


def test_random_bytes_on_the_peer_port_change_nothing() -> None:
    async def scenario(pair: Pair) -> None:
        host, _, port = pair.dialled_party.member.peer_address.rpartition(":")
        for noise in (b"\x00" * 100, b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" + bytes(range(200))):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(noise)
            await writer.drain()
            writer.close()
            del reader
        pair.dialler.send(None, Lane.VITAL, b"still here")
        await _until(lambda: bool(pair.dialled_ear.heard))
        assert pair.dialled_ear.downs == 0

    asyncio.run(_with_pair(scenario))


def test_a_hello_of_one_session_is_worth_nothing_in_another() -> None:
    """Whoever overhears a hello cannot use it with a certificate of its own."""
    friend, thief = _party(1), _party(2)
    members = {friend.id: friend.member}
    hello = make_hello(friend.me)
    stolen = certificate_digest(thief.tls.certificate)
    own = certificate_digest(friend.tls.certificate)
    assert check_hello(hello, CHAIN, members, own, ed25519.verify) == friend.member
    assert isinstance(check_hello(hello, CHAIN, members, stolen, ed25519.verify), Stranger)
    assert isinstance(check_hello(make_hello(thief.me), CHAIN, members, stolen, ed25519.verify), Stranger)


def test_a_member_with_another_certificate_than_the_pinned_one_is_a_stranger() -> None:
    friend = _party(1)
    other = make_tls_identity("other", utc_now())
    hello = make_hello(replace(friend.me, tls=other))
    shown = certificate_digest(other.certificate)
    found = check_hello(hello, CHAIN, {friend.id: friend.member}, shown, ed25519.verify)
    assert found == Stranger("the certificate is not the one pinned for node-1")


def test_the_trusted_certificates_are_given_again_only_when_members_change() -> None:
    """gRPC replaces what starting sessions use whenever it is given something, and does not survive that in the thousands."""

    async def scenario(pair: Pair) -> None:
        peers = pair.dialled
        assert peers._newly_trusted() is None
        peers.set_members([])
        assert peers._newly_trusted() is not None
        assert peers._newly_trusted() is None

    asyncio.run(_with_pair(scenario))
