"""What a running node does for its own store, and what it tells of evidence and of members that changed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from chain.pruning import LEAST_KEPT
from gridbft.v1 import client_pb2 as pb
from node import pruner
from node.events import PeerId
from node.pruner import Pruner
from tests.chain.network import Chain, genesis, pay
from tests.node.localnet import Localnet, running, until

FAST = {"proof_block_ms": 10, "heartbeat_ms": 100, "snapshot_interval": 0, "snapshot_min_gap": 0}


def test_a_running_node_keeps_the_blocks_it_is_told_to_and_catches_up_with_what_is_too_many() -> None:
    async def scenario() -> None:
        c = Chain(genesis())
        for _ in range(30):
            c.grow(c.tx("alice", pay("bob", 1)))
        work = Pruner(c.kv, keep=10)
        kept = []
        for _ in range(10):
            c.grow(c.tx("alice", pay("bob", 1)))
            work.applied(c.ledger.head.height)
            kept.append(c.ledger.head.height - c.ledger.store.earliest() + 1)
        assert kept[0] < 31  # some at once, never all: the node has other work
        assert kept[0] > kept[3] > 10
        assert kept[-1] == 10
        await work.stop()

    asyncio.run(scenario())


def test_a_node_that_is_told_to_keep_all_prunes_nothing() -> None:
    c = Chain(genesis())
    for _ in range(LEAST_KEPT + 3):
        c.grow()
    Pruner(c.kv, keep=0).applied(c.ledger.head.height)
    assert c.ledger.store.earliest() == 1


def test_pruned_space_is_given_back_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    ranges: list[bytes] = []

    async def scenario() -> None:
        c = Chain(genesis())
        monkeypatch.setattr(pruner, "COMPACT_EVERY", 4)
        monkeypatch.setattr(c.kv, "compact", lambda start, stop: ranges.append(start))
        for _ in range(12):
            c.grow()
        work = Pruner(c.kv, keep=LEAST_KEPT)
        work.applied(12)
        await work.stop()

    asyncio.run(scenario())
    assert ranges == [b"b", b"r", b"t"]


def test_evidence_is_listed_in_pages_of_bounded_size(tmp_path: Path) -> None:
    async def scenario() -> None:
        net = Localnet.make(tmp_path, 1)
        async with running(*net.homes, **FAST) as nodes:
            ledger = nodes[0].node.host.ledger
            faults = [(n + 5, bytes([n])) for n in range(150)]
            ledger.evidence = lambda start, count: faults[start : start + count]  # type: ignore[method-assign]
            for start, count, expected in ((0, 0, 100), (0, 10**6, 100), (140, 20, 10), (500, 1, 0), (3, 2, 2)):
                answer = await nodes[0].stub.ListEvidence(pb.ListEvidenceRequest(start=start, count=count))
                assert [(e.number, e.height) for e in answer.evidence] == [
                    (n, n + 5) for n in range(start, start + expected)
                ]

    asyncio.run(scenario())


def test_a_member_whose_address_changed_is_dialled_anew_and_one_without_a_certificate_spoils_nothing(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        net = Localnet.make(tmp_path, 2)
        first, second = net.genesis.members
        async with running(*net.homes, **FAST) as nodes:
            peers = nodes[0].node.peers
            other = PeerId(second.id)
            await until(lambda: other in peers.connected)
            unreadable = replace(second, public_key=b"\x07" * 32, name="nobody", certificate="no certificate")
            peers.set_members([first, second, unreadable])
            assert set(peers.members) == {other}
            assert other in peers.connected
            peers.set_members([first])
            await until(lambda: other not in peers.connected)
            assert peers.members == {}
            peers.set_members([first, second])
            await until(lambda: other in peers.connected)

    asyncio.run(scenario())
