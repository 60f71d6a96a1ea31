"""Connections to the peer port: every one is counted, and those that TLS refused are told from those that it let in."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from node.connections import KNOWN, KNOWN_SECONDS, LOG_PAUSE_SECONDS, SETTLED_SECONDS, Connections
from node.peers import Peers
from tests.node.localnet import Localnet, running
from tests.node.test_peers import Ear, _knock, _party, _until

LOOK_S = 5.0


def test_what_tls_refuses_on_the_peer_port_is_counted_and_what_it_lets_in_is_not() -> None:
    async def scenario() -> None:
        server, member, stranger = _party(1), _party(2), _party(3)
        peers = Peers(server.me, [server.member, member.member], Ear())
        port = await peers.start(server.member.peer_address)
        seen = peers.connections
        try:
            assert await _knock(server.member.peer_address, server, member.tls, b"no hello") is (
                grpc.StatusCode.PERMISSION_DENIED
            )
            assert seen.total == 1
            assert await _knock(server.member.peer_address, server, stranger.tls, b"") is grpc.StatusCode.UNAVAILABLE
            for text in (b"", b"GET / HTTP/1.1\r\n\r\n"):
                with socket.create_connection(("127.0.0.1", port)) as plain:
                    plain.sendall(text)
            await _until(lambda: seen.total >= 4)
            seen.look(0.0)
            assert seen.without_call == 0  # they may still be under way
            seen.look(SETTLED_SECONDS)
            assert seen.without_call == seen.total - 1
            assert peers.strangers == 1
        finally:
            await peers.stop()

    asyncio.run(scenario())


def test_a_node_that_nobody_lets_in_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.process.CONNECTIONS_LOOK_SECONDS", 0.01)

    async def scenario() -> None:
        net = Localnet.make(tmp_path, 2)
        with capture_logs() as lines:
            async with running(net.homes[0]) as (lonely,):
                await _until(lambda: any(line["event"] == "no_peers" for line in lines))
                async with running(net.homes[1]) as (other,):
                    await _until(lambda: bool(lonely.node.peers.connected and other.node.peers.connected))
                    told = sum(line["event"] == "no_peers" and line["members"] == 1 for line in lines)
                    looks = lonely.node.peers.connections._looks
                    until = looks[-1][0] + 0.5
                    await _until(lambda: looks[-1][0] > until)
                    assert sum(line["event"] == "no_peers" for line in lines) == told

    asyncio.run(scenario())


@dataclass(frozen=True)
class Came:
    """A connection: when it came (s), and how long after that its call did; None: never."""

    at: float
    call_after: float | None


arrivals = st.lists(st.builds(Came, st.floats(0, 300), st.none() | st.floats(0, SETTLED_SECONDS - 0.1)), max_size=60)


@given(arrivals)
def test_at_no_time_more_are_counted_than_never_called_and_in_the_end_all_of_them(arrivals: list[Came]) -> None:
    counted = Connections("peers")
    events = [(came.at, "", came) for came in arrivals]
    events += [
        (came.at + came.call_after, f"ipv4:10.0.0.1:{n}", came)
        for n, came in enumerate(arrivals)
        if came.call_after is not None
    ]
    events.sort(key=lambda e: (e[0], e[1]))
    silent = sum(came.call_after is None for came in arrivals)
    before = 0
    for tick in range(int(400 / LOOK_S)):
        now = tick * LOOK_S
        while events and events[0][0] <= now:
            _, peer, _ = events.pop(0)
            counted.called(peer, now) if peer else counted.accepted()
        counted.look(now)
        assert before <= counted.without_call <= sum(c.call_after is None and c.at <= now for c in arrivals)
        before = counted.without_call
    assert (counted.without_call, counted.total) == (silent, len(arrivals))


def test_many_calls_of_one_session_are_one_and_little_is_remembered() -> None:
    counted = Connections("peers")
    for n in range(KNOWN + 10):
        counted.accepted()
        for _ in range(3):
            counted.called(f"ipv4:10.0.0.1:{n}", 0.0)
    counted.look(0.0)
    counted.look(SETTLED_SECONDS)
    assert counted.without_call == 0
    assert len(counted._known) == KNOWN


def test_an_address_that_comes_back_after_a_minute_is_another_connection() -> None:
    counted = Connections("clients")
    for now in (0.0, KNOWN_SECONDS + 1):
        counted.accepted()
        counted.called("ipv4:10.0.0.1:5000", now)
    counted.look(100.0)
    counted.look(100.0 + SETTLED_SECONDS)
    assert counted.without_call == 0


def test_the_log_tells_of_them_at_once_and_then_once_a_minute() -> None:
    counted = Connections("peers")
    with capture_logs() as lines:
        for second in range(0, 600, 5):
            counted.accepted()
            counted.look(float(second))
    times = [line["times"] for line in lines if line["event"] == "connections_without_call"]
    assert 600 / LOG_PAUSE_SECONDS - 1 <= len(times) <= 600 / LOG_PAUSE_SECONDS + 1
    assert times[0] == 1
    assert sum(times) == lines[-1]["total"]
