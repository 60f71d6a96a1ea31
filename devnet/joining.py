"""How long a fifth node takes to join a network under load: `python -m devnet.joining --rate 500 --json`.

The members propose it as an observer, it starts with an empty disk and catches up; then they give it a vote, and it signs. The load
runs all the while, and at the end nothing of it may be missing and all five must hold one state.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import grpc.aio

from chain.genesis import Member
from chain.governance import NAME
from chain.wire import decode_commit
from consensus.types import CommitStatus
from devnet.bench.gauges import percentile
from devnet.bench.run import free_ports
from devnet.bench.town import genesis_calls
from devnet.network import PEER_PORT_OFFSET, Network, NetworkError, Node, create_network, node_names
from devnet.processes import log_tail, running_pid, start_node, stop_nodes
from devnet.soak import READY_S, SETTLE_S, agreed
from devnet.steady import ClientError, Say, Steady, accounts_for
from devnet.up import wait_ready
from gridbft import Client, Wallet
from gridbft.requests import Limits
from gridbft.v1 import client_pb2
from gridbft.v1.client_pb2_grpc import LedgerServiceStub
from node.cli.init import create_home
from node.home import Home

PATIENCE_S = 180.0
POLL_S = 0.05
CALM_S = 3.0
"""Under load before anybody joins, and after."""


def make_newcomer(network: Network, first_port: int) -> tuple[Node, Member]:
    """A home of its own, outside of the genesis that the others share."""
    place = len(network.nodes)
    name, role = node_names(place + 1)[place]
    client, peer = f"127.0.0.1:{first_port + place}", f"127.0.0.1:{first_port + PEER_PORT_OFFSET + place}"
    node = Node(name, role, client, peer, network.folder / name)
    member = create_home(node.home, name, role, client, peer)
    text = Home(network.nodes[0].home).genesis.read_text(encoding="utf-8")
    Home(node.home).genesis.write_text(text, encoding="utf-8")
    return node, member


async def decide(network: Network, function: str, *args: Any) -> None:
    """The first member proposes, the others vote until it has passed. Raises ClientError."""
    wallets = [Wallet.load(Home(node.home).key) for node in network.nodes]
    async with Client(list(network.addresses), wallets[0]) as client:
        number = (await client.call(NAME, function, *args)).results[0]
    for wallet in wallets[1:]:
        async with Client(list(network.addresses), wallet) as client:
            if (await client.query(NAME, "proposal", number))["status"] == "open":
                await client.call(NAME, "vote", number, True)


async def _until(what: str, condition: Callable[[], Awaitable[bool]]) -> None:
    deadline = monotonic() + PATIENCE_S
    while not await condition():
        if monotonic() > deadline:
            raise NetworkError(f"not within {PATIENCE_S:.0f} s: {what}")
        await asyncio.sleep(POLL_S)


async def height_of(node: Node) -> int:
    """-1 where it does not answer yet."""
    try:
        async with Client(node.client_address, limits=Limits(request_s=1.0)) as client:
            return (await client.status()).height
    except ClientError:
        return -1


async def signs(address: str, who: bytes) -> bool:
    """Whether a validator signed the last commit that the node at `address` holds."""
    async with grpc.aio.insecure_channel(address) as channel:
        raw = (await LedgerServiceStub(channel).GetBlock(client_pb2.GetBlockRequest(), timeout=5.0)).commit
    return any(e.validator == who and e.status is CommitStatus.COMMIT for e in decode_commit(raw).entries)


async def join(network: Network, newcomer: Node, member: Member, rate: float, say: Say) -> dict[str, Any]:
    load = Steady(list(network.addresses), network.chain_id, rate, accounts_for(len(network.nodes)))
    subject = [member.public_key.hex(), member.name, member.role]
    place = [member.peer_address, member.certificate]
    first = network.nodes[0]
    async with load.running():
        await asyncio.sleep(CALM_S)
        say(f"height {load.height}: proposing {member.name} as an observer")
        begun = monotonic()
        await decide(network, "propose_member", *subject, 0, *place)
        admitted_s = monotonic() - begun
        start_node(newcomer)

        async def caught_up() -> bool:
            return await height_of(newcomer) >= await height_of(first) > 0

        await _until(f"{member.name} caught up", caught_up)
        observing_s, at = monotonic() - begun, load.height
        say(f"height {at}: it observes after {observing_s:.1f} s; proposing its vote")
        promoting = monotonic()
        await decide(network, "propose_member", *subject, 1, *place)
        await _until(f"{member.name} signed", lambda: signs(first.client_address, member.id))
        signing_s, end = monotonic() - promoting, monotonic()
        say(f"height {load.height}: it signs, {signing_s:.1f} s later")
        await asyncio.sleep(CALM_S)
        settled = await load.settled(SETTLE_S)

        async def level() -> bool:
            return await height_of(newcomer) >= load.height

        await _until(f"{member.name} is level at the end", level)
    whole = Network(network.folder, network.chain_id, (*network.nodes, newcomer))
    same = await agreed(whole)
    ordered = sorted(load.latencies_s)
    p99_s = percentile(ordered, 0.99)
    return {
        "rate": rate,
        "admitted_s": round(admitted_s, 2),
        "observer_s": round(observing_s, 2),
        "validator_s": round(signing_s, 2),
        "whole_s": round(end - begun, 2),
        "caught_up_at_height": at,
        "sent": load.sent,
        "final": load.final,
        "lost": load.under_way,
        "failed": dict(load.failed),
        "refused": dict(load.refused),
        "p99_ms": None if p99_s is None else round(p99_s * 1_000),
        "agree": same,
        "ok": settled and same and load.under_way == 0 and not load.failed,
    }


def run(rate: float, nodes: int, say: Say) -> dict[str, Any]:
    """In a folder of its own. Raises NetworkError."""
    with tempfile.TemporaryDirectory(prefix="gridbft-join-") as name:
        port = free_ports(nodes + 1)
        network = create_network(Path(name) / "net", nodes, port, genesis_calls("transfer", accounts_for(nodes)))
        newcomer, member = make_newcomer(network, port)
        everybody: Sequence[Node] = (*network.nodes, newcomer)
        try:
            for node in network.nodes:
                start_node(node)
            asyncio.run(wait_ready(network, patience_s=READY_S))
            return {"nodes": nodes, "cores": os.cpu_count(), **asyncio.run(join(network, newcomer, member, rate, say))}
        except* (NetworkError, ClientError) as group:
            tails = "\n".join(log_tail(node) for node in everybody if running_pid(node) is None)
            raise NetworkError(f"{group.exceptions[0]}\n{tails}") from group
        finally:
            stop_nodes(everybody)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m devnet.joining", description=__doc__)
    parser.add_argument("--rate", type=float, default=500.0, help="transactions a second over all nodes (default 500)")
    parser.add_argument("--nodes", type=int, default=4, help="before the new one (default 4)")
    parser.add_argument("--json", action="store_true", help="only one JSON object on the last line")
    options = parser.parse_args(arguments)
    say: Say = (lambda text: None) if options.json else (lambda text: print(text, flush=True))
    try:
        result = run(options.rate, options.nodes, say)
    except NetworkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(result, indent=None if options.json else 1))
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
