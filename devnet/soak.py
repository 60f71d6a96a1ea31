"""A long run under a steady load: `python -m devnet.soak --minutes 30 --rate 1000 --json`. Memory and file descriptors of every node
are read off all the time and must stay where they are; nothing that was sent may be lost."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from devnet.bench.gauges import cpu_us, percentile, rss_mb
from devnet.bench.run import free_ports
from devnet.bench.town import genesis_calls
from devnet.flatness import Trend, is_flat, trend
from devnet.network import Network, NetworkError, create_network
from devnet.processes import log_tail, running_pid, start_node, stop_nodes
from devnet.steady import ClientError, Say, Steady, accounts_for
from devnet.up import wait_ready
from node.cli.network import Network as Known
from node.cli.network import NodeEntry
from node.cli.status import agree, survey

SAMPLES = 240
LEAST_PAUSE_S = 0.5
SETTLE_S = 60.0
READY_S = 120.0
MEMORY_SHARE, MEMORY_ROOM_MB = 0.05, 8.0
FILES_SHARE, FILES_ROOM = 0.05, 4.0


@dataclass
class Series:
    """Of one node, from its process."""

    name: str
    pid: int
    times_s: list[float] = field(default_factory=list)
    rss_mb: list[float] = field(default_factory=list)
    files: list[float] = field(default_factory=list)

    def sample(self, at_s: float) -> None:
        """Raises NetworkError where the process is gone."""
        memory = rss_mb(self.pid)
        if memory == 0.0:
            raise NetworkError(f"{self.name} has stopped")
        self.times_s.append(at_s)
        self.rss_mb.append(memory)
        self.files.append(float(len(os.listdir(f"/proc/{self.pid}/fd"))))


def figures(series: Sequence[Series], load: Steady, seconds: float, blocks: int, agreed: bool) -> dict[str, Any]:
    nodes = {s.name: (trend(s.times_s, s.rss_mb), trend(s.times_s, s.files)) for s in series}
    memory_flat = all(is_flat(m, MEMORY_SHARE, MEMORY_ROOM_MB) for m, _ in nodes.values())
    files_flat = all(is_flat(f, FILES_SHARE, FILES_ROOM) for _, f in nodes.values())
    ordered = sorted(load.latencies_s)
    return {
        "minutes": round(seconds / 60, 2),
        "rate": load.rate,
        "tps": round(load.final / seconds, 1),
        "sent": load.sent,
        "final": load.final,
        "lost": load.under_way,
        "failed": dict(load.failed),
        "refused": dict(load.refused),
        "blocks": blocks,
        "p50_ms": _ms(percentile(ordered, 0.5)),
        "p99_ms": _ms(percentile(ordered, 0.99)),
        "samples": len(series[0].times_s),
        "memory_mb": {name: _rounded(m) for name, (m, _) in nodes.items()},
        "files": {name: _rounded(f) for name, (_, f) in nodes.items()},
        "memory_flat": memory_flat,
        "files_flat": files_flat,
        "agree": agreed,
        "ok": memory_flat and files_flat and agreed and load.under_way == 0 and not load.failed,
    }


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1_000)


def _rounded(found: Trend) -> dict[str, float]:
    return {name: round(value, 2) for name, value in asdict(found).items()}


async def soak(network: Network, minutes: float, rate: float, say: Say) -> dict[str, Any]:
    """On a running network whose genesis gave money to `accounts_for` it."""
    series = [Series(node.name, running_pid(node) or 0) for node in network.nodes]
    load = Steady(list(network.addresses), network.chain_id, rate, accounts_for(len(network.nodes)))
    begun = monotonic()
    pause_s = max(LEAST_PAUSE_S, minutes * 60 / SAMPLES)
    async with load.running():
        first_height = load.height
        while (at_s := monotonic() - begun) < minutes * 60:
            for one in series:
                one.sample(at_s)
            say(f"{at_s / 60:5.1f} min, height {load.height}, {load.final} final, {load.under_way} under way, "
                + ", ".join(f"{one.rss_mb[-1]:.0f} MB {one.files[-1]:.0f} files" for one in series))  # fmt: skip
            await asyncio.sleep(pause_s)
        seconds = monotonic() - begun
        blocks = load.height - first_height
        await load.settled(SETTLE_S)
    return figures(series, load, seconds, blocks, await agreed(network))


async def agreed(network: Network) -> bool:
    rows, _ = await survey(Known(tuple(NodeEntry(n.name, n.client_address) for n in network.nodes), None, None))
    return agree(rows)


def run(minutes: float, rate: float, nodes: int, say: Say) -> dict[str, Any]:
    """In a folder of its own. Raises NetworkError or ClientError."""
    with tempfile.TemporaryDirectory(prefix="gridbft-soak-") as name:
        calls = genesis_calls("transfer", accounts_for(nodes))
        network = create_network(Path(name) / "net", nodes, free_ports(nodes), calls)
        try:
            for node in network.nodes:
                start_node(node)
            asyncio.run(wait_ready(network, patience_s=READY_S))
            before = sum(cpu_us(running_pid(node) or 0) for node in network.nodes)
            result = asyncio.run(soak(network, minutes, rate, say))
            after = sum(cpu_us(running_pid(node) or 0) for node in network.nodes)
            spent = (after - before) / max(result["final"], 1) / nodes
            return {"nodes": nodes, "cores": os.cpu_count(), **result, "cpu_us_per_tx_and_node": round(spent, 1)}
        except* (NetworkError, ClientError) as group:
            tails = "\n".join(log_tail(node) for node in network.nodes if running_pid(node) is None)
            raise NetworkError(f"{group.exceptions[0]}\n{tails}") from group
        finally:
            stop_nodes(network.nodes)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m devnet.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=500.0, help="transactions a second over all nodes (default 500)")
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--json", action="store_true", help="only one JSON object on the last line")
    options = parser.parse_args(arguments)
    say: Say = (lambda text: None) if options.json else (lambda text: print(text, flush=True))
    try:
        result = run(options.minutes, options.rate, options.nodes, say)
    except NetworkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(result, indent=None if options.json else 1))
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
