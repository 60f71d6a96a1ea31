"""A new node begins from a snapshot that the others prove; liars are dropped; without a proved one it syncs block by block."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from chain.hashes import digest
from chain.leveldb import LevelKV
from chain.snapshot import chunks_of, decode_offer, encode_offer, entries_in
from chain.store import BlockStore
from gridbft.v1 import client_pb2 as pb
from gridbft.v1 import peer_pb2
from gridbft.wallet import Wallet
from node.certs import make_tls_identity, utc_now
from node.home import Home, load_home
from node.peers import SERVICE, Peers, member_channel
from node.process import prepare
from node.snapshots import KEPT, SnapshotFolder
from tests.node.localnet import Localnet, Running, running, start, until

ALICE = Wallet.from_seed(b"\x0a" * 32, "alice")
FAST = {"propose_ms": 200, "proof_block_ms": 10, "heartbeat_ms": 150, "snapshot_interval": 4, "snapshot_min_gap": 2}


async def grow(net: Localnet, node: Running, height: int) -> None:
    """Blocks until the node stands at least at `height`."""
    account = await node.stub.GetAccount(pb.GetAccountRequest(address=ALICE.address_bytes))
    nonce = account.nonce
    while node.node.host.ledger.head.height < height:
        response = await node.stub.Submit(pb.SubmitRequest(tx=net.tx(ALICE, nonce), wait=True))
        assert not response.verdict.code, response.verdict
        nonce += 1


def folder_of(home: Path) -> SnapshotFolder:
    return SnapshotFolder(Home(home).snapshots)


def wipe(home: Path) -> None:
    for name in ("db", "snapshots"):
        shutil.rmtree(home / name, ignore_errors=True)
    for name in ("wal", "signer.log"):
        (home / name).unlink(missing_ok=True)


async def prepared(home: Path, **changed: Any) -> int | None:
    loaded = load_home(home)
    return await prepare(replace(loaded, config=replace(loaded.config, **changed)))


def test_a_wiped_node_restores_the_newest_snapshot_and_follows_from_there(tmp_path: Path) -> None:
    async def scenario() -> None:
        net = Localnet.make(tmp_path, 4)
        async with running(*net.homes, **FAST) as nodes:
            await grow(net, nodes[0], 10)
            await until(
                lambda: all(len(folder_of(h).heights()) >= 1 and folder_of(h).heights()[0] >= 8 for h in net.homes)
            )
            await nodes[3].stop()
            wipe(net.homes[3])
            height = await prepared(net.homes[3], **FAST)
            assert height is not None
            assert height >= 8
            nodes[3] = await start(net.homes[3], **FAST)
            ledger, others = nodes[3].node.host.ledger, nodes[0].node.host.ledger
            assert ledger.store.earliest() == height + 1
            await until(lambda: ledger.head.height >= others.head.height)
            assert dict(ledger.store.state_entries())
            await grow(net, nodes[3], others.head.height + 2)
            assert [p for p in net.homes[3].iterdir() if p.name.startswith("restoring-")] == []

    asyncio.run(scenario())


@pytest.mark.parametrize("lie", ["chunk", "state", "offer", "garbage"])
def test_a_liar_is_dropped_and_another_members_snapshot_taken(tmp_path: Path, lie: str) -> None:
    async def scenario() -> None:
        net = Localnet.make(tmp_path, 4)
        async with running(*net.homes[:3], **FAST) as nodes:
            await grow(net, nodes[0], 6)
            await until(lambda: all(4 in folder_of(h).heights() for h in net.homes[:3]))
            for home in net.homes[:2]:
                LIES[lie](folder_of(home))
            assert await prepared(net.homes[3], **FAST) is not None

    asyncio.run(scenario())


def test_without_a_proved_snapshot_the_node_syncs_from_the_genesis(tmp_path: Path) -> None:
    async def scenario() -> None:
        net = Localnet.make(tmp_path, 4)
        async with running(*net.homes[:3], **FAST) as nodes:
            await grow(net, nodes[0], 6)
            await until(lambda: all(4 in folder_of(h).heights() for h in net.homes[:3]))
            for home in net.homes[:3]:
                for height in folder_of(home).heights():
                    LIES["state"](folder_of(home), height)
            assert await prepared(net.homes[3], **FAST) is None
            nodes.append(await start(net.homes[3], **FAST))
            ledger = nodes[3].node.host.ledger
            assert ledger.store.earliest() == 1
            await until(lambda: ledger.head.height >= 6)

    asyncio.run(scenario())


def lie_about_a_chunk(folder: SnapshotFolder, height: int = 0) -> None:
    file = folder.path / str(height or folder.heights()[0]) / "0"
    file.write_bytes(file.read_bytes()[:-1] + b"!")


def lie_about_the_state(folder: SnapshotFolder, height: int = 0) -> None:
    """Everything fits together, but it is not the state that was decided."""
    height = height or folder.heights()[0]
    chunk = folder.chunk(height, 0)
    assert chunk is not None
    entries = list(entries_in([chunk]))
    (lying,) = chunks_of([(k, v + b"!") if k.startswith(b"$params") else (k, v) for k, v in entries])
    offer = replace(decode_offer(folder.offer(height)), chunk_hashes=(digest(lying),), total_bytes=len(lying))
    (folder.path / str(height) / "0").write_bytes(lying)
    (folder.path / str(height) / "offer").write_bytes(encode_offer(offer))


def lie_about_the_proof(folder: SnapshotFolder, height: int = 0) -> None:
    height = height or folder.heights()[0]
    offer = decode_offer(folder.offer(height))
    lie = replace(offer, next_commit=offer.last_commit)
    (folder.path / str(height) / "offer").write_bytes(encode_offer(lie))


def lie_with_noise(folder: SnapshotFolder, height: int = 0) -> None:
    (folder.path / str(height or folder.heights()[0]) / "offer").write_bytes(b"\xff" * 100)


LIES: dict[str, Callable[..., None]] = {
    "chunk": lie_about_a_chunk,
    "state": lie_about_the_state,
    "offer": lie_about_the_proof,
    "garbage": lie_with_noise,
}


def test_a_node_that_holds_a_chain_asks_for_no_snapshot(tmp_path: Path) -> None:
    async def scenario() -> None:
        net = Localnet.make(tmp_path, 1)
        async with running(*net.homes, **FAST) as nodes:
            await grow(net, nodes[0], 3)
        assert await prepared(net.homes[0], **FAST) is None
        kv = LevelKV(Home(net.homes[0]).db)
        head = BlockStore(kv).head()
        kv.close()
        assert head is not None
        assert head.height >= 3

    asyncio.run(scenario())


def test_the_last_two_snapshots_are_kept_and_what_a_crash_left_unfinished_goes(tmp_path: Path) -> None:
    async def scenario() -> None:
        net = Localnet.make(tmp_path, 1)
        folder = folder_of(net.homes[0])
        folder.path.mkdir()
        (folder.path / "3.part").mkdir()
        (folder.path / "3.part" / "0").write_bytes(b"half")
        async with running(*net.homes, **{**FAST, "snapshot_interval": 2}) as nodes:
            await grow(net, nodes[0], 9)
            await until(lambda: len(folder.heights()) == KEPT and folder.heights()[0] >= 8)
        assert not (folder.path / "3.part").exists()

    asyncio.run(scenario())


def test_only_members_get_snapshots_and_malformed_requests_are_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        net = Localnet.make(tmp_path, 2)
        async with running(*net.homes, **FAST) as nodes:
            await grow(net, nodes[0], 6)
            await until(lambda: bool(folder_of(net.homes[0]).heights()))
            member, tls = net.genesis.members[0], load_home(net.homes[1]).tls

            async def ask(method: str, request: bytes, identity: Any = tls) -> Any:
                channel = member_channel(member, identity)
                async with channel:
                    return await channel.unary_unary(f"/{SERVICE}/{method}")(request, timeout=5)

            assert decode_offer(peer_pb2.GetSnapshotResponse.FromString(await ask("GetSnapshot", b"")).offer)
            for request, status in (
                (b"\xff\xff\xff", grpc.StatusCode.INVALID_ARGUMENT),
                (
                    peer_pb2.GetSnapshotChunkRequest(height=4, index=10**6).SerializeToString(),
                    grpc.StatusCode.NOT_FOUND,
                ),
                (peer_pb2.GetSnapshotChunkRequest(height=2**60).SerializeToString(), grpc.StatusCode.NOT_FOUND),
            ):
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await ask("GetSnapshotChunk", request)
                assert refused.value.code() is status
            with pytest.raises(grpc.aio.AioRpcError) as stranger:
                await ask("GetSnapshot", b"", make_tls_identity("stranger", utc_now()))
            assert stranger.value.code() is grpc.StatusCode.UNAVAILABLE
            # One that was a member when its session began, and is none any more.
            peers: Peers = nodes[0].node.peers
            channel = member_channel(member, tls)
            async with channel:
                call = channel.unary_unary(f"/{SERVICE}/GetSnapshot")
                await call(b"", timeout=5)
                peers.set_members([member])
                with pytest.raises(grpc.aio.AioRpcError) as left:
                    await call(b"", timeout=5)
                assert left.value.code() is grpc.StatusCode.PERMISSION_DENIED
                peers.set_members(net.genesis.members)

    asyncio.run(scenario())
