"""A small real network to take right inputs from: one node that decides alone, among members that only lend their keys."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import grpc

from chain.genesis import ChainParams, Genesis, Member, build_genesis, dump_genesis
from chain.tx import TxCall
from contracts.runtime.codec import encode
from gridbft import Client, Wallet
from gridbft.blocking import BlockingClient
from gridbft.requests import Limits
from gridbft.v1 import client_pb2 as pb
from gridbft.v1 import client_pb2_grpc
from gridbft.verify import Trust
from node.certs import TlsIdentity, make_tls_identity, utc_now
from node.config import config_template
from node.home import Home
from node.tlskey import save_tls_key
from tests.node.localnet import CONTRACT, free_ports

GUESTS = 12  # members without a node: each may be banned, and another one goes on
START_S = 30.0
OPEN_LIMITS = {
    "requests_per_second = 5000": "requests_per_second = 1000000",
    "faults_per_second = 100": "faults_per_second = 1000000",
    "transactions_per_second = 20000": "transactions_per_second = 1000000",
    "snapshot_interval = 1000": "snapshot_interval = 5",
    "heartbeat_ms = 10000": "heartbeat_ms = 1000",
    "propose_ms = 1000": "propose_ms = 100",  # the guests have turns too, and never take them
    "delta_ms = 300": "delta_ms = 10",
}


@dataclass(frozen=True)
class Guest:
    wallet: Wallet
    tls: TlsIdentity
    member: Member


@dataclass
class Town:
    home: Home
    genesis: Genesis
    guests: tuple[Guest, ...]
    client_address: str
    peer_address: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None, "it runs"
        return self.process.pid

    def tx(self, wallet: Wallet, nonce: int) -> bytes:
        call = TxCall("counter", "add", encode([1]))
        return wallet.transaction(self.genesis.chain_id, nonce, [call], 50_000, 1_000_000)


def make_town(folder: Path) -> Town:
    client_port, peer_port, *others = free_ports(2 + GUESTS)
    home = Home(folder / "home")
    home.path.mkdir(parents=True)
    wallet, tls = Wallet.generate("alone"), make_tls_identity("alone", utc_now())
    wallet.save(home.key)
    save_tls_key(home.tls_key, tls.private_key, None)
    home.tls_certificate.write_text(tls.certificate)
    client, peer = f"127.0.0.1:{client_port}", f"127.0.0.1:{peer_port}"
    config = config_template("alone", client, peer)
    for before, after in OPEN_LIMITS.items():
        assert before in config, before
        config = config.replace(before, after)
    home.config.write_text(config)
    members = [Member("alone", "utility", wallet.public_key, 1_000, peer, tls.certificate)]
    guests = []
    for number, port in enumerate(others):
        name, own, its_tls = f"guest-{number}", Wallet.generate(), make_tls_identity(f"guest-{number}", utc_now())
        member = Member(name, "utility", own.public_key, 1, f"127.0.0.1:{port}", its_tls.certificate)
        guests.append(Guest(own, its_tls, member))
        members.append(member)
    now_ms = time.time_ns() // 1_000_000
    contracts = (("counter", CONTRACT),)
    genesis = build_genesis("fuzz", now_ms, "EUR", tuple(members), ChainParams(), contracts, ())
    home.genesis.write_text(dump_genesis(genesis))
    return Town(home, genesis, tuple(guests), client, peer)


@contextlib.asynccontextmanager
async def living(folder: Path) -> AsyncIterator[Town]:
    """Its node is a process of its own, and has some blocks with transactions."""
    town = make_town(folder)
    program = Path(sys.executable).parent / "gridbft"
    log = (folder / "node.log").open("wb")
    command = [sys.executable, str(program), "start", "--home", str(town.home.path)]
    town.process = _started(command, log)
    try:
        async with Client(town.client_address, Wallet.generate(), limits=Limits(request_s=5.0)) as client:
            await _until_it_answers(client, town, folder)
            for _ in range(6):
                await client.call("counter", "add", 1)
        yield town
    finally:
        town.process.kill()
        town.process.wait()
        log.close()


def _started(command: list[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONFAULTHANDLER": "1"}  # a crash in a library names its place too
    return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)


async def _until_it_answers(client: Client, town: Town, folder: Path) -> None:
    deadline = time.monotonic() + START_S
    while True:
        assert town.process is not None
        assert town.process.poll() is None, (folder / "node.log").read_text()[-2_000:]
        try:
            await client.status()
            return
        except Exception:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.05)


def harvest(town: Town) -> dict[str, list[bytes]]:
    """Right inputs of many kinds, as the node itself wrote or sent them."""
    found: dict[str, list[bytes]] = {"block": [], "header": [], "commit": [], "receipt": [], "proof": [], "tx": []}
    with grpc.insecure_channel(town.client_address) as channel:
        stub = client_pb2_grpc.LedgerServiceStub(channel)
        height = stub.Status(pb.StatusRequest()).height
        for at in range(1, height + 1):
            answer = stub.GetBlock(pb.GetBlockRequest(height=at))
            found["block"].append(answer.block)
            found["commit"].append(answer.commit)
            found["receipt"] += answer.receipts
    from gridbft.v1 import chain_pb2

    for raw in found["block"]:
        block = chain_pb2.Block.FromString(raw)
        found["header"].append(block.header)
        found["tx"] += block.txs
    text = town.home.genesis.read_text()
    trust = Trust.read(text)
    with BlockingClient(town.client_address, trust=trust) as client:
        from chain.tx import tx_id

        ids = [tx_id(chain_pb2.Tx.FromString(raw).body) for raw in found["tx"][:2]]
        found["proof"] = [client.prove_event(i, 0) for i in ids]
        found["proof"].append(client.prove_state(b"nothing is here"))
    found["genesis"] = [text.encode()]
    found["config"] = [town.home.config.read_bytes()]
    found["wal"] = [town.home.wal.read_bytes()[:8_192]]
    found["guard"] = [town.home.guard.read_bytes()]
    found["snapshot"] = [f.read_bytes() for f in sorted(town.home.snapshots.glob("*/offer"))]
    found["chunk"] = [f.read_bytes()[:4_096] for f in sorted(town.home.snapshots.glob("*/0"))]
    return found
