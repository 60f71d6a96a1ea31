"""One run: a fresh network in a temporary folder, the load, the figures."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import msgpack

from chain.genesis import load_genesis
from chain.ledger import Ledger
from chain.leveldb import LevelKV
from contracts.runtime.engine import MeteredRuntime
from devnet.bench.figures import Measured
from devnet.bench.gauges import folder_bytes, rss_mb, verify_us
from devnet.bench.load import RESULT, SIGNED, SPEC, Lane
from devnet.bench.options import Options
from devnet.bench.orders import counted as orders_counted
from devnet.bench.readings import READINGS_PER_BATCH, Batch, ask_for_some, batch_of, counted
from devnet.bench.town import genesis_calls
from devnet.bench.workload import lanes, plan, sign
from devnet.network import PEER_PORT_OFFSET, Network, NetworkError, create_network
from devnet.processes import is_free, running_pid, start_node, stop_nodes
from devnet.up import wait_ready
from gridbft import Client
from gridbft.errors import ClientError
from gridbft.records import Receipt
from node import ed25519
from node.cli.network import Network as Known
from node.cli.network import NodeEntry
from node.cli.status import agree, survey
from node.home import Home

BEFOREHAND = 20_000  # accounts from which on the genesis is executed once and copied, not once by each node
MOST_OF_BOUND = 0.75  # no more is signed beforehand than this share of what signature checks alone allow
BATCHES_PER_SECOND = 40  # of readings: no more are signed beforehand
LOOKED_UP = 200
READY_S = 300.0
CATCH_UP_S = 60.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Checked:
    """After the load: how many of the final transactions another node gave back, and whether all nodes hold one state."""

    found_elsewhere: int
    looked_up: int
    agree: bool
    readings: int = 0
    orders: int = 0
    orders_cleared: int = 0


def run(options: Options, say: Say) -> Measured:
    """Raises NetworkError or ClientError."""
    with loaded(options, say) as (_, measured):
        return measured


@contextmanager
def loaded(options: Options, say: Say) -> Iterator[tuple[Network, Measured]]:
    """The network after its load, still running, and the figures. Raises as `run` does."""
    price_us = verify_us()
    say(f"a signature check takes {price_us:.1f} us here")
    with tempfile.TemporaryDirectory(prefix="gridbft-bench-") as name:
        folder = Path(name)
        say(f"making {options.nodes} nodes and {options.accounts} accounts")
        network = create_network(
            folder / "net", options.nodes, free_ports(options.nodes), genesis_calls(options.workload, options.accounts)
        )
        if options.accounts >= BEFOREHAND:
            _begin_chain_once(network)
        kept = _write_load(options, network, folder, price_us, say)
        with _running(network):
            asyncio.run(wait_ready(network, patience_s=READY_S))
            say("running")
            measured = _measure(options, network, folder, price_us, kept, say)
            # The machine may have become slower or faster since: what the run is compared with is the mean of before and after.
            yield network, replace(measured, verify_us=(price_us + verify_us()) / 2)


def _write_load(options: Options, network: Network, folder: Path, price_us: float, say: Say) -> list[Lane]:
    cores = os.cpu_count() or 1
    rate = options.rate or MOST_OF_BOUND * cores / (options.nodes * price_us * 1e-6)
    if options.workload == "meter" and options.rate is None:
        rate = BATCHES_PER_SECOND
    count = int(rate * options.seconds) + 1
    if options.readings is not None:
        count = -(-options.readings // min(options.accounts, READINGS_PER_BATCH))
    planned = plan(options.workload, options.accounts, count, orders_per_tx=options.orders_per_tx)
    say(f"signing {len(planned)} transactions")
    kept = lanes(planned, sign(network.chain_id, planned, cores), options.nodes)
    (folder / SIGNED).write_bytes(msgpack.packb(kept))
    return kept


def _measure(options: Options, network: Network, folder: Path, price_us: float, kept: list[Lane], say: Say) -> Measured:
    pids = [running_pid(node) or 0 for node in network.nodes]
    killed = next((i for i, node in enumerate(network.nodes) if node.name == options.kill), None)
    spec = {
        "options": options.to_json(),
        "addresses": list(network.addresses),
        "pids": pids,
        "kill_pid": None if killed is None else pids[killed],
    }
    (folder / SPEC).write_bytes(msgpack.packb(spec))
    bytes_before = folder_bytes(network.folder)
    done = subprocess.run(
        [sys.executable, "-m", "devnet.bench.load", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NetworkError(f"the load stopped: {done.stderr.strip()[-2_000:]}")
    result: dict[str, Any] = msgpack.unpackb((folder / RESULT).read_bytes(), strict_map_key=False)
    say("looking every receipt up on another node")
    alive = [i for i in range(len(pids)) if i != killed]
    checked = asyncio.run(_look_up(network, alive, kept, result))
    return Measured(
        options=options,
        cores=os.cpu_count() or 1,
        verify_us=price_us,
        result=result,
        alive=tuple(alive),
        rss_mb=tuple(rss_mb(pids[i]) for i in alive),
        stored_bytes=(folder_bytes(network.folder) - bytes_before) // options.nodes,
        found_elsewhere=checked.found_elsewhere,
        looked_up=checked.looked_up,
        agree=checked.agree,
        readings=checked.readings,
        orders=checked.orders,
        orders_cleared=checked.orders_cleared,
    )


async def _look_up(network: Network, alive: list[int], kept: list[Lane], result: dict[str, Any]) -> Checked:
    """Reads all blocks of the load again, from a node that was not followed, and asks for some receipts one by one."""
    wanted = {tx_id.hex(): raw for lane in kept for place, raw, tx_id in lane if place in result["final"]}
    address = network.addresses[alive[-1]]
    found: dict[str, Receipt] = {}
    async with Client(address) as client:
        async with asyncio.timeout(CATCH_UP_S):
            async for block in client.subscribe(from_height=result["first_height"]):
                found |= {receipt.tx_id: receipt for receipt in block.receipts if receipt.tx_id in wanted}
                if len(found) == len(wanted):
                    break
        some = Random(1).sample(sorted(found), min(LOOKED_UP, len(found)))
        looked_up = 0
        for tx_id in some:
            looked_up += (await client.receipt(tx_id)).tx_id == tx_id
        readings, as_sent = await _look_at_readings(client, network.chain_id, found, wanted)
    known = Known(tuple(NodeEntry(network.nodes[i].name, network.addresses[i]) for i in alive), None, None)
    rows, _ = await survey(known)
    there = len(found) == len(wanted) and looked_up == len(some) and as_sent
    return Checked(len(found), looked_up, agree(rows) and there, readings, *orders_counted(found.values()))


async def _look_at_readings(
    client: Client, chain_id: str, found: dict[str, Receipt], sent: dict[str, bytes]
) -> tuple[int, bool]:
    """(readings in receipts with the hash of what was signed, whether those and the ones asked for are all as sent)."""
    readings, batches = 0, list[Batch]()
    as_sent = True
    for tx_id, receipt in found.items():
        if receipt.ok and any(event.name == "Packed" for event in receipt.events):
            batch = batch_of(sent[tx_id], chain_id)
            readings += counted(batch, receipt.events)
            as_sent = as_sent and counted(batch, receipt.events) > 0
            batches.append(batch)
    right, asked = await ask_for_some(client, batches)
    return readings, as_sent and right == asked


def _begin_chain_once(network: Network) -> None:
    """The chain's state at height 0 is the same for all: it is made in the first home and copied to the others."""
    first, *others = [Home(node.home) for node in network.nodes]
    kv = LevelKV(first.db)
    try:
        Ledger(kv, MeteredRuntime(ed25519.verify), load_genesis(first.genesis.read_text()), ed25519.verify)
        kv.compact(b"", b"\xff")  # else sorting what a million accounts wrote at once would be measured with the load
    finally:
        kv.close()
    for other in others:
        shutil.copytree(first.db, other.db)


@contextmanager
def _running(network: Network) -> Iterator[None]:
    try:
        for node in network.nodes:
            start_node(node)
        yield
    finally:
        stop_nodes(network.nodes)


def free_ports(count: int) -> int:
    """The first of `count` ports, free with as many for the peers."""
    for first in range(30_101, 60_000, 200):
        if all(is_free(f"127.0.0.1:{first + offset + n}") for offset in (0, PEER_PORT_OFFSET) for n in range(count)):
            return first
    raise NetworkError("no free ports on this machine")


__all__ = ["ClientError", "Measured", "run"]
