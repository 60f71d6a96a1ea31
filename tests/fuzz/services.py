"""Both services of a real node over real sockets, under inputs that nobody should send; and what the node makes of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from gridbft import Client, Wallet
from gridbft.errors import ClientError
from gridbft.requests import Limits
from gridbft.v1 import chain_pb2
from gridbft.v1 import client_pb2 as pb
from node.certs import TLS_NAME
from node.events import PeerId
from node.hello import Self, make_hello
from node.peers import METHOD, SERVICE
from tests.fuzz.mutate import Mutator
from tests.fuzz.town import Guest, Town

STALL_S = 10.0  # an honest client's answer takes no longer, and the chain does not stand still for longer
AT_ONCE = 8
PER_STREAM = 40
CALL_S = 1.0
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
STREAMS = ("SubmitBatch", "Subscribe")
UNARY = tuple(m for m in pb.DESCRIPTOR.services_by_name["LedgerService"].methods_by_name if m not in STREAMS)


@dataclass
class Watched:
    """`findings`: what a node must not do. Memory is resident, in MB."""

    inputs: dict[str, int] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    rss_mb: list[float] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)
    slowest_answer_s: float = 0.0
    heights: list[int] = field(default_factory=list)

    def count(self, what: str, times: int = 1) -> None:
        self.inputs[what] = self.inputs.get(what, 0) + times


async def fuzz_services(town: Town, seeds: Mapping[str, list[bytes]], seconds: float, seed: int) -> Watched:
    """Raises nothing of the node's: what it does wrong is in `findings`."""
    watched = Watched()
    until = time.monotonic() + seconds
    work = [
        _client_calls(town, seeds, until, seed, watched),
        _peer_streams(town, seeds, until, seed + 1, watched),
        _raw_bytes(town, until, seed + 2, watched),
        _honest(town, until, watched),
    ]
    await asyncio.gather(*work)
    _judge(town, watched)
    return watched


def _requests(seeds: Mapping[str, list[bytes]]) -> dict[str, list[bytes]]:
    tx = seeds["tx"][0]
    query = pb.QueryRequest(contract="counter", view="count", args=b"\x91\xa1x", prove=True)
    call = chain_pb2.Call(contract="counter", function="add", args=b"\x91\x01")
    return {
        "Submit": [pb.SubmitRequest(tx=tx).SerializeToString()],
        "Simulate": [pb.SimulateRequest(sender=bytes(20), calls=[call], gas_limit=10**6).SerializeToString()],
        "Query": [query.SerializeToString()],
        "GetBlock": [pb.GetBlockRequest(height=2).SerializeToString()],
        "GetState": [pb.GetStateRequest(key=b"k", prove=True).SerializeToString()],
        "GetReceipt": [pb.GetReceiptRequest(tx_id=bytes(32), prove=True).SerializeToString()],
        "Status": [b""],
        "ListContracts": [b""],
        "GetAccount": [pb.GetAccountRequest(address=bytes(20)).SerializeToString()],
        "ListEvidence": [pb.ListEvidenceRequest(start=1, count=5).SerializeToString()],
        "GetGenesis": [b""],
        "SubmitBatch": [pb.SubmitBatchRequest(txs=seeds["tx"][:4]).SerializeToString()],
        "Subscribe": [pb.SubscribeRequest(from_height=1, contracts=["counter"]).SerializeToString()],
    }


async def _client_calls(
    town: Town, seeds: Mapping[str, list[bytes]], until: float, seed: int, watched: Watched
) -> None:
    mutators = {name: Mutator(seed, corpus) for name, corpus in _requests(seeds).items()}
    choose = random.Random(seed)

    async def one(channel: Any) -> None:
        name = choose.choice(UNARY + STREAMS)
        path, raw = f"/gridbft.v1.LedgerService/{name}", mutators[name].next()
        watched.count(f"client {name}")
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            if name in UNARY:
                await channel.unary_unary(path, None, None)(raw, timeout=CALL_S)
            elif name == "Subscribe":
                async for _ in channel.unary_stream(path, None, None)(raw, timeout=CALL_S / 5):
                    pass
            else:
                stream = channel.stream_stream(path, None, None)(timeout=CALL_S)
                for _ in range(3):
                    await stream.write(mutators[name].next())
                    watched.count(f"client {name}")
                await stream.done_writing()
                async for _ in stream:
                    pass

    async with _plain(town.client_address) as channel:
        while time.monotonic() < until:
            await asyncio.gather(*(one(channel) for _ in range(AT_ONCE)))


async def _peer_streams(
    town: Town, seeds: Mapping[str, list[bytes]], until: float, seed: int, watched: Watched
) -> None:
    """Guests take turns: whoever is banned comes back later. First messages are fuzzed too."""
    from tests.fuzz.targets import _peer_messages

    mutator = Mutator(seed, _peer_messages(town, seeds))
    choose = random.Random(seed)
    turn = 0
    while time.monotonic() < until:
        guest = town.guests[turn % len(town.guests)]
        turn += 1
        async with _channel(town, guest) as channel:
            call = channel.stream_stream(f"/{SERVICE}/{METHOD}", None, None)(timeout=5.0)
            me = Self(PeerId(guest.wallet.address_bytes), town.genesis.chain_id, guest.wallet.sign, guest.tls)
            first = make_hello(me)
            if choose.random() < 0.2:
                first = Mutator(turn, [first]).next()
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await call.write(first)
                if isinstance(await call.read(), bytes):
                    for _ in range(PER_STREAM):
                        await call.write(mutator.next())
                        watched.count("peer stream message")
            watched.count("peer stream")
            for method in ("GetSnapshot", "GetSnapshotChunk"):
                ask = channel.unary_unary(f"/{SERVICE}/{method}", None, None)
                with contextlib.suppress(grpc.aio.AioRpcError):
                    await ask(Mutator(turn, [b"\x08\x05\x10\x00"]).next(), timeout=CALL_S)
                watched.count("peer request")
            call.cancel()
        await asyncio.sleep(0.02)


def _plain(address: str) -> Any:
    return grpc.aio.insecure_channel(address)


def _channel(town: Town, guest: Guest) -> Any:
    credentials = grpc.ssl_channel_credentials(
        town.genesis.members[0].certificate.encode(), guest.tls.private_key.encode(), guest.tls.certificate.encode()
    )
    options = (("grpc.ssl_target_name_override", TLS_NAME), ("grpc.use_local_subchannel_pool", 1))
    return grpc.aio.secure_channel(town.peer_address, credentials, options)


async def _raw_bytes(town: Town, until: float, seed: int, watched: Watched) -> None:
    """No gRPC at all: noise, broken HTTP/2, half of a TLS greeting."""
    settings = PREFACE + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    headers = b"\x00\x00\x05\x01\x05\x00\x00\x00\x01\x83\x86\x84\x04\x01"
    mutator = Mutator(
        seed, [settings, settings + headers, b"\x16\x03\x01\x00\x40\x01" + bytes(64), b"GET / HTTP/1.1\r\n\r\n"]
    )
    while time.monotonic() < until:
        for address in (town.client_address, town.peer_address):
            host, _, port = address.rpartition(":")
            with contextlib.suppress(OSError, TimeoutError):
                reader, writer = await asyncio.open_connection(host, int(port))
                writer.write(mutator.next())
                await writer.drain()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.02):
                        await reader.read(1_000)
                writer.close()
            watched.count("raw bytes")
        await asyncio.sleep(0.05)


async def _honest(town: Town, until: float, watched: Watched) -> None:
    """A transaction every now and then: it must become final, and soon."""
    async with Client(town.client_address, Wallet.generate(), limits=Limits(request_s=STALL_S)) as client:
        while True:
            begun = time.monotonic()
            try:
                await client.call("counter", "add", 1)
                watched.heights.append((await client.status()).height)
            except ClientError as error:
                watched.findings.append(f"an honest client was not served: {error}")
                client.forget_nonce()
            watched.slowest_answer_s = max(watched.slowest_answer_s, time.monotonic() - begun)
            watched.rss_mb.append(_rss_mb(town.pid))
            watched.descriptors.append(_descriptors(town.pid))
            if begun > until or town.process is None or town.process.poll() is not None:
                return
            await asyncio.sleep(min(1.0, max(0.0, until - time.monotonic())))


def _judge(town: Town, watched: Watched) -> None:
    if town.process is not None and town.process.poll() is not None:
        tail = (Path(town.home.path).parent / "node.log").read_text(errors="replace")[-4_000:]
        watched.findings.append(f"the node ended with {town.process.returncode}: {tail}")
    if watched.slowest_answer_s > STALL_S:
        watched.findings.append(f"an honest transaction took {watched.slowest_answer_s:.1f} s")
    third = max(1, len(watched.rss_mb) // 3)
    if len(watched.rss_mb) > 20:
        early, late = max(watched.rss_mb[:third]), max(watched.rss_mb[-third:])
        if late > 1.5 * early + 64:
            watched.findings.append(f"memory grew from {early:.0f} to {late:.0f} MB")
        first, last = max(watched.descriptors[:third]), max(watched.descriptors[-third:])
        if last > 2 * first + 50:
            watched.findings.append(f"open files grew from {first} to {last}")


def _rss_mb(pid: int) -> float:
    with contextlib.suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return 0.0


def _descriptors(pid: int) -> int:
    with contextlib.suppress(OSError):
        return len(os.listdir(f"/proc/{pid}/fd"))
    return 0
