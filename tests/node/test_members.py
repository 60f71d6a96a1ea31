"""Members come, get a vote and go while the network runs; validators that lost their disks come back by themselves."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

from chain.genesis import Member
from chain.tx import TxCall
from consensus.types import CommitStatus, ValidatorId
from contracts.runtime.codec import decode, encode
from gridbft.v1 import chain_pb2
from gridbft.v1 import client_pb2 as pb
from gridbft.wallet import Wallet
from node.events import PeerId
from node.home import Home, load_home
from node.process import prepare
from tests.node.localnet import Localnet, Running, free_ports, make_home, running, start, until

ALICE = Wallet.from_seed(b"\x0a" * 32, "alice")
FAST: dict[str, Any] = {
    "propose_ms": 200,
    "prevote_ms": 100,
    "precommit_ms": 100,
    "delta_ms": 50,
    "proof_block_ms": 10,
    "heartbeat_ms": 100,
    "snapshot_interval": 0,
    "snapshot_min_gap": 0,
    "caution_ms": 1_000,
}


async def call(net: Localnet, node: Running, wallet: Wallet, contract: str, function: str, *args: Any) -> None:
    """A final, successful call."""
    nonce = (await node.stub.GetAccount(pb.GetAccountRequest(address=wallet.address_bytes))).nonce
    calls = [TxCall(contract, function, encode(list(args)))]
    raw = net.tx(wallet, nonce, calls=calls)
    response = await node.stub.Submit(pb.SubmitRequest(tx=raw, wait=True), timeout=20)
    assert not response.verdict.code, response.verdict
    receipt = chain_pb2.Receipt.FromString(response.receipt)
    assert receipt.ok, receipt.code


async def decide(net: Localnet, nodes: list[Running], function: str, *args: Any) -> None:
    """All validators of the genesis want it; it may have passed before the last of them says so."""
    wallets = [Wallet.load(Home(home).key) for home in net.homes]
    ledger = nodes[0].node.host.ledger
    outcome, _ = ledger.query("governance", "proposals", encode([1, 100]), "", 10**6)
    number = len(decode(outcome.result)) + 1
    await call(net, nodes[0], wallets[0], "governance", function, *args)
    for wallet in wallets[1:]:
        outcome, _ = ledger.query("governance", "proposal", encode([number]), "", 10**6)
        if decode(outcome.result)["status"] == "open":
            await call(net, nodes[0], wallet, "governance", "vote", number, True)


def signs(node: Running, who: ValidatorId) -> bool:
    """Whether a validator signed the last commit that this node holds."""
    ledger = node.node.host.ledger
    commit = ledger.store.commit(ledger.head.height)
    return commit is not None and any(e.validator == who and e.status is CommitStatus.COMMIT for e in commit.entries)


def height(node: Running) -> int:
    return node.node.host.ledger.head.height


def test_a_fifth_node_observes_is_given_a_vote_and_another_leaves_while_transactions_run(tmp_path: Path) -> None:
    async def scenario() -> None:
        net = Localnet.make(tmp_path, 4)
        ports = free_ports(2)
        fifth: Member = make_home(tmp_path / "node-4", "node-4", *ports)
        home = tmp_path / "node-4"
        Home(home).genesis.write_text(Home(net.homes[0]).genesis.read_text())
        async with running(*net.homes, **FAST) as nodes:
            traffic = asyncio.create_task(keep_busy(net, nodes[0]))
            member = [fifth.public_key.hex(), "node-4", "dso"]
            rest = [fifth.peer_address, fifth.certificate]
            await decide(net, nodes, "propose_member", *member, 0, *rest)
            nodes.append(await start(home, **FAST))
            await until(lambda: len(nodes[4].node.peers.connected) == 4)
            await until(lambda: height(nodes[4]) >= height(nodes[0]) > 3)
            assert not signs(nodes[4], fifth.id)
            assert (await nodes[4].status()).height > 0

            await decide(net, nodes, "propose_member", *member, 1, *rest)
            await until(lambda: signs(nodes[0], fifth.id))

            leaver = net.genesis.members[3]
            await decide(net, nodes, "propose_removal", leaver.public_key.hex())
            await until(lambda: PeerId(leaver.id) not in nodes[0].node.peers.connected)
            await until(lambda: nodes[3].node.peers.connected == frozenset())
            await nodes[3].stop()
            here = height(nodes[0])
            await until(lambda: height(nodes[4]) >= here + 3)
            assert [v.id for v in nodes[0].node.host.ledger.system.validators.validators] == sorted(
                [m.id for m in net.genesis.members[:3]] + [fifth.id]
            )
            traffic.cancel()
            await asyncio.gather(traffic, return_exceptions=True)
            assert len({n.node.host.ledger.store.block_bytes(here) for n in (nodes[0], nodes[4])}) == 1

    asyncio.run(scenario())


async def keep_busy(net: Localnet, node: Running) -> None:
    while True:
        await call(net, node, ALICE, "counter", "add", 1)


def wipe(home: Path) -> None:
    """All but the keys and the configuration."""
    shutil.rmtree(home / "db")
    for name in ("wal", "signer.log"):
        (home / name).unlink(missing_ok=True)


async def bring_back(home: Path) -> Running:
    await prepare(load_home(home))
    return await start(home, **FAST)


def test_one_wiped_validator_follows_silently_and_then_votes_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        net = Localnet.make(tmp_path, 4)
        me = net.genesis.members[3].id
        async with running(*net.homes, **FAST) as nodes:
            await until(lambda: height(nodes[0]) >= 5)
            await nodes[3].stop()
            wipe(net.homes[3])
            nodes[3] = await bring_back(net.homes[3])
            await until(lambda: height(nodes[3]) >= height(nodes[0]))
            await until(lambda: signs(nodes[0], me))
            assert nodes[0].node.host.ledger.evidence(0, 10) == []

    asyncio.run(scenario())


def test_two_of_four_wiped_at_once_rejoin_by_themselves(tmp_path: Path) -> None:
    async def scenario() -> None:
        net = Localnet.make(tmp_path, 4)
        async with running(*net.homes, **FAST) as nodes:
            # Who came late to the first heights is silent for two more, and three without a memory are too many.
            await until(lambda: height(nodes[0]) >= 5 and all(n.node.host.replica.is_voting for n in nodes))
            await asyncio.gather(nodes[2].stop(), nodes[3].stop())
            stood = height(nodes[0])
            wipe(net.homes[2])
            wipe(net.homes[3])
            nodes[2], nodes[3] = await bring_back(net.homes[2]), await bring_back(net.homes[3])
            await until(lambda: min(height(n) for n in nodes) >= stood + 5)
            common = min(height(n) for n in nodes)
            ids = {n.node.host.ledger.store.block_bytes(common) for n in nodes}
            assert len(ids) == 1
            assert nodes[0].node.host.ledger.evidence(0, 10) == []
            await until(lambda: all(signs(nodes[0], m.id) for m in net.genesis.members[2:]))

    asyncio.run(scenario())
