"""Two releases of the program work together: what their hellos agree on, and a network that runs both."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.protocol import KNOWN, UnknownProtocolError
from gridbft.v1 import client_pb2 as pb
from gridbft.v1 import peer_pb2
from gridbft.wallet import Wallet
from node import ed25519
from node.certs import certificate_digest
from node.hello import SPEECH, Speech, Stranger, check_hello, make_hello
from tests.node.localnet import Localnet, running, start_release, until
from tests.node.test_members import FAST, decide, height
from tests.node.test_peers import CHAIN, _party

speeches = st.integers(1, 20).flatmap(lambda newest: st.builds(Speech, st.integers(1, newest), st.just(newest)))


@given(speeches, speeches)
def test_two_programs_speak_the_newest_version_that_both_know(a: Speech, b: Speech) -> None:
    both = set(range(a.oldest, a.newest + 1)) & set(range(b.oldest, b.newest + 1))
    assert a.common(b) == b.common(a) == max(both, default=None)


@pytest.mark.parametrize(
    ("here", "there", "welcome"),
    [
        (Speech(1, 1), Speech(1, 2), True),  # one release apart, either way round
        (Speech(1, 2), Speech(1, 1), True),
        (Speech(2, 3), Speech(1, 2), True),
        (Speech(1, 1), Speech(2, 3), False),
        (Speech(2, 3), Speech(1, 1), False),
    ],
)
def test_a_hello_of_the_release_before_or_after_is_welcome_and_of_no_other(
    here: Speech, there: Speech, welcome: bool
) -> None:
    friend = _party(1)
    raw = make_hello(replace(friend.me, speech=there))
    digest = certificate_digest(friend.tls.certificate)
    found = check_hello(raw, CHAIN, {friend.id: friend.member}, digest, ed25519.verify, here)
    if welcome:
        assert found == friend.member
    else:
        assert isinstance(found, Stranger)
        assert "upgrade the older one" in found.reason


def test_a_hello_that_names_no_oldest_version_speaks_only_its_newest() -> None:
    friend = _party(1)
    message = peer_pb2.PeerMessage.FromString(make_hello(friend.me))
    message.hello.oldest_version = 0
    digest = certificate_digest(friend.tls.certificate)

    def answer(here: Speech) -> object:
        raw = message.SerializeToString()
        return check_hello(raw, CHAIN, {friend.id: friend.member}, digest, ed25519.verify, here)

    assert answer(SPEECH) == friend.member
    assert isinstance(answer(Speech(SPEECH.newest + 1, SPEECH.newest + 1)), Stranger)


def test_a_network_of_two_releases_decides_while_its_nodes_are_upgraded_one_by_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        net = Localnet.make(tmp_path, 3)
        fast: dict[str, Any] = {"proof_block_ms": 10, "heartbeat_ms": 100, "propose_ms": 300}
        newer = Speech(SPEECH.newest, SPEECH.newest + 1)
        async with running(*net.homes, **fast) as nodes:
            wallet = Wallet.from_seed(b"\x0a" * 32)
            for nonce, home in enumerate(net.homes):
                await nodes[nonce].stop()
                nodes[nonce] = await start_release(home, newer, KNOWN, **fast)
                raw = net.tx(wallet, nonce)
                response = await nodes[nonce].stub.Submit(pb.SubmitRequest(tx=raw, wait=True), timeout=20)
                assert not response.verdict.code
                assert response.receipt
                await until(lambda: all(len(n.node.peers.connected) == 2 for n in nodes))

    asyncio.run(scenario())


def test_validators_without_the_new_rules_stop_before_them_and_go_on_with_the_next_release(tmp_path: Path) -> None:
    """One of four was upgraded in time, three were not: nothing is lost, and no block breaks the rules of its height."""

    async def scenario() -> None:
        net = Localnet.make(tmp_path, 4)
        old, new = frozenset({1}), frozenset({1, 2})
        nodes = [await start_release(home, SPEECH, new if n == 0 else old, **FAST) for n, home in enumerate(net.homes)]
        begins = 40
        await decide(net, nodes, "propose_protocol", 2, begins)
        for node in nodes[1:]:
            with pytest.raises(UnknownProtocolError, match=f"from height {begins} on the chain follows version 2"):
                await node.task
            await node.channel.close()
            node.node.close()
        assert height(nodes[0]) == begins - 1

        nodes[1:] = [await start_release(home, SPEECH, new, **FAST) for home in net.homes[1:]]
        await until(lambda: all(height(n) >= begins + 3 for n in nodes))
        headers = [nodes[0].node.host.ledger.store.header(h) for h in range(begins - 2, begins + 3)]
        assert [h[0].version for h in headers if h is not None] == [1, 1, 2, 2, 2]
        await asyncio.gather(*(n.stop() for n in nodes))

    asyncio.run(scenario())
