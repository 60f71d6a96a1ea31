"""A network of nodes in one process, over real loopback TLS and real folders: for tests of the whole node."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc

from chain.genesis import ChainParams, Genesis, Member, build_genesis, dump_genesis
from chain.protocol import KNOWN
from chain.tx import TxCall
from contracts.runtime.codec import encode
from gridbft.v1 import client_pb2 as pb
from gridbft.v1 import client_pb2_grpc
from gridbft.wallet import Wallet
from node.certs import make_tls_identity, utc_now
from node.config import config_template
from node.hello import SPEECH, Speech
from node.home import Home, load_home
from node.process import Node
from node.tlskey import save_tls_key

PATIENCE_S = 20.0

CONTRACT = """\
from contracts.host import Map, ctx, emit, export, require, view

counts: Map[str, int] = Map("counts")


@export
def add(amount: int) -> int:
    require(amount > 0, "NOT_POSITIVE")
    total = counts.get(ctx.sender, 0) + amount
    counts[ctx.sender] = total
    emit("Added", who=ctx.sender, amount=amount)
    return total


@view
def count(who: str) -> int:
    return counts.get(who, 0)
"""


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on just now; all held at once, so that they differ."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def make_home(path: Path, name: str, client_port: int, peer_port: int) -> Member:
    home = Home(path)
    path.mkdir(parents=True)
    wallet = Wallet.generate(name)
    wallet.save(home.key)
    tls = make_tls_identity(name, utc_now())
    save_tls_key(home.tls_key, tls.private_key, None)
    home.tls_certificate.write_text(tls.certificate)
    peer_address = f"127.0.0.1:{peer_port}"
    home.config.write_text(config_template(name, f"127.0.0.1:{client_port}", peer_address))
    return Member(name, "utility", wallet.public_key, 1, peer_address, tls.certificate)


@dataclass(frozen=True)
class Localnet:
    genesis: Genesis
    homes: tuple[Path, ...]

    @classmethod
    def make(cls, folder: Path, count: int) -> Localnet:
        ports = free_ports(2 * count)
        homes = tuple(folder / f"node-{n}" for n in range(count))
        members = tuple(make_home(h, h.name, ports[2 * n], ports[2 * n + 1]) for n, h in enumerate(homes))
        now_ms = time.time_ns() // 1_000_000
        genesis = build_genesis("test", now_ms, "EUR", members, ChainParams(), (("counter", CONTRACT),), ())
        for home in homes:
            Home(home).genesis.write_text(dump_genesis(genesis))
        return cls(genesis, homes)

    def tx(self, wallet: Wallet, nonce: int, amount: int = 1, **changed: Any) -> bytes:
        body: dict[str, Any] = {
            "chain_id": self.genesis.chain_id,
            "nonce": nonce,
            "calls": [TxCall("counter", "add", encode([amount]))],
            "expiry_height": 10_000,
            "gas_limit": 1_000_000,
        }
        return wallet.transaction(**{**body, **changed})


@dataclass
class Running:
    """A node at work; leave it by `stop`, or by `kill`, after which nothing of it was told to end in order."""

    node: Node
    task: asyncio.Task[None]
    stub: Any
    channel: Any

    async def stop(self) -> None:
        self.node.stop()
        await self.channel.close()
        await self.task
        self.node.close()

    async def status(self) -> pb.StatusResponse:
        response: pb.StatusResponse = await self.stub.Status(pb.StatusRequest())
        return response


async def start(home: Path, **changed: Any) -> Running:
    return await start_release(home, SPEECH, KNOWN, **changed)


async def start_release(home: Path, speech: Speech, protocols: frozenset[int], **changed: Any) -> Running:
    """As if it were another release of the program."""
    loaded = load_home(home)
    node = Node(replace(loaded, config=replace(loaded.config, **changed)), speech, protocols)
    task = asyncio.create_task(node.run())
    channel: Any = grpc.aio.insecure_channel(loaded.config.client_address)
    running = Running(node, task, client_pb2_grpc.LedgerServiceStub(channel), channel)
    await until(lambda: node.serving or task.done())
    if task.done():
        await channel.close()
        try:
            await task
        finally:
            node.close()
    return running


@contextlib.asynccontextmanager
async def running(*homes: Path, **changed: Any) -> AsyncIterator[list[Running]]:
    """All of them at work; what has not stopped by itself is stopped at the end."""
    nodes = [await start(home, **changed) for home in homes]
    try:
        yield nodes
    finally:
        await asyncio.gather(*[n.stop() for n in nodes if not n.task.done()])


async def until(condition: Callable[[], bool]) -> None:
    """Polls what has no event of its own; the deadline only ends a test that fails."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.01)
