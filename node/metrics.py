"""What a node tells Prometheus. `CATALOGUE` names every metric once: docs/metrics.md, the alert rules and the dashboard are
checked against it. Values are read when they are asked for; nothing here costs anything in between.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from chain.system import EVIDENCE_COUNT
from consensus.proposer import GOOD
from consensus.types import CommitStatus, ValidatorId
from gridbft.v1 import client_pb2
from node.connections import Connections
from node.home import Home
from node.host import Host
from node.meters import Histogram
from node.stages import PROCESS

Kind = Literal["gauge", "counter", "histogram"]
Sample = tuple[tuple[str, ...], float]
"""Label values in the metric's order, and the value."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Entry:
    """A counter's name ends in _total; units are in the name. `labels` are few and bounded."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


CATALOGUE = (
    Entry("gridbft_info", "gauge", "Always 1; says who this node is.", ("node", "version", "chain")),
    Entry("gridbft_height", "gauge", "Height of the last block that this node applied."),
    Entry("gridbft_round", "gauge", "Round of the height being decided; above 0 a proposer did not get through."),
    Entry("gridbft_block_timestamp_seconds", "gauge", "Unix time of the last applied block."),
    Entry("gridbft_halt_height", "gauge", "The height after which the chain halts by governance; 0: none."),
    Entry("gridbft_protocol_version", "gauge", "Version of the chain's rules that the next block follows."),
    Entry(
        "gridbft_upgrade_needed_height",
        "gauge",
        "From this height on the rules are newer than this program, which then stops; 0: nothing of that kind is decided.",
    ),
    Entry("gridbft_blocks_total", "counter", "Blocks applied since the start."),
    Entry("gridbft_transactions_total", "counter", "Transactions in blocks applied since the start."),
    Entry("gridbft_block_bytes_total", "counter", "Encoded bytes of blocks applied since the start."),
    Entry("gridbft_late_rounds_total", "counter", "Rounds beyond the first that applied heights needed."),
    Entry(
        "gridbft_finality_seconds",
        "histogram",
        "From a block's own time to when it was durable here, by this node's clock; fetched blocks do not count.",
    ),
    Entry("gridbft_apply_seconds", "histogram", "What executing a block and making it durable took."),
    Entry("gridbft_stage_cpu_seconds_total", "counter", "Processor time by what it was spent on.", ("stage",)),
    Entry("gridbft_cpu_seconds_total", "counter", "Processor time of the whole process."),
    Entry("gridbft_signatures_checked_total", "counter", "Signatures verified: of transactions, votes and proposals."),
    Entry("gridbft_mempool_transactions", "gauge", "Transactions that wait for a block."),
    Entry("gridbft_transactions_dropped_total", "counter", "Passed on by peers and dropped, because too much waited."),
    Entry("gridbft_peers_known", "gauge", "Other members that this node may speak to."),
    Entry("gridbft_peers_connected", "gauge", "Other members with a stream."),
    Entry("gridbft_peer_connected", "gauge", "1 with a stream, else 0.", ("peer",)),
    Entry("gridbft_peer_height", "gauge", "The last height that the peer said it holds.", ("peer",)),
    Entry(
        "gridbft_tls_connections_total",
        "counter",
        "Connections that came to a port with TLS (peers, clients), counted before the handshake.",
        ("port",),
    ),
    Entry(
        "gridbft_tls_connections_without_call_total",
        "counter",
        "At least so many of them were refused by TLS, no TLS at all, or given up before a call; starting members make a few.",
        ("port",),
    ),
    Entry(
        "gridbft_strangers_refused_total",
        "counter",
        "Connections to the peer port that came past TLS and got no stream.",
    ),
    Entry(
        "gridbft_client_requests_refused_total",
        "counter",
        "Clients' requests refused at the gate, by limit.",
        ("limit",),
    ),
    Entry("gridbft_validators", "gauge", "Validators of the next height."),
    Entry(
        "gridbft_voting",
        "gauge",
        "1: this node votes; 0: an observer, no validator now, or silent after a loss of memory.",
    ),
    Entry("gridbft_ready", "gauge", "1: enough members are connected to decide, and this node is not far behind them."),
    Entry("gridbft_validator_signed", "gauge", "1: the validator signed the commit of the last block.", ("validator",)),
    Entry(
        "gridbft_validator_missed_proposals",
        "gauge",
        "Turns that a validator let pass since it last proposed a decided block.",
        ("validator",),
    ),
    Entry("gridbft_evidence", "gauge", "Pieces of evidence on the chain: validators that signed twice."),
    Entry("gridbft_clock_offset_seconds", "gauge", "Other proposers' clocks minus this one, as far as known; else 0."),
    Entry("gridbft_snapshot_height", "gauge", "Height of the newest snapshot on this node's disk; 0: none."),
    Entry("gridbft_disk_used_bytes", "gauge", "Bytes that this node keeps.", ("part",)),
    Entry("gridbft_disk_free_bytes", "gauge", "Bytes free to this node on the disk of its home."),
    Entry("gridbft_resident_bytes", "gauge", "Memory of the process."),
    Entry("gridbft_open_files", "gauge", "File descriptors in use, sockets among them."),
    Entry("gridbft_start_time_seconds", "gauge", "Unix time at which the process began to serve."),
)
BY_NAME = {entry.name: entry for entry in CATALOGUE}


@dataclass(frozen=True, slots=True)
class Disk:
    """Bytes; read apart from everything else, because it may be slow."""

    used: dict[str, int]
    free: int
    snapshot_height: int


def read_disk(home: Home) -> Disk:
    """Files that go while this looks do not count."""
    parts = {"store": home.db, "log": home.wal, "snapshots": home.snapshots, "guard": home.guard}
    free = os.statvfs(home.path)
    heights = [int(f.name) for f in _entries(home.snapshots) if f.name.isdecimal()]
    used = {name: _bytes_of(path) for name, path in parts.items()}
    return Disk(used, free.f_bavail * free.f_frsize, max(heights, default=0))


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _bytes_of(path: Path) -> int:
    total = 0
    for file in [path, *path.rglob("*")]:
        try:
            total += file.stat().st_size if file.is_file() else 0
        except FileNotFoundError:
            continue
    return total


@dataclass(frozen=True, slots=True)
class Outside:
    """What the host does not know, but the process does."""

    name: str
    version: str
    peers: Iterable[client_pb2.PeerInfo]
    strangers: int
    connections: dict[str, Connections]  # by port
    refused: dict[str, int]
    dropped_txs: int
    disk: Disk
    started_s: float


def exposition(host: Host, outside: Outside) -> bytes:
    """All of the catalogue in Prometheus' text format. To be called where the host runs: it reads the ledger."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(host, outside))
    return generate_latest(registry)


class _Once:
    def __init__(self, host: Host, outside: Outside) -> None:
        self._host = host
        self._outside = outside

    def describe(self) -> Iterator[Metric]:
        return iter(())

    def collect(self) -> Iterator[Metric]:
        meter = self._host.meter
        values = _values(self._host, self._outside)
        histograms = {"gridbft_finality_seconds": meter.finality, "gridbft_apply_seconds": meter.apply}
        for entry in CATALOGUE:
            if entry.kind == "histogram":
                yield _histogram(entry, histograms[entry.name])
            else:
                yield _family(entry, values[entry.name])


def _family(entry: Entry, samples: list[Sample]) -> Metric:
    kind = CounterMetricFamily if entry.kind == "counter" else GaugeMetricFamily
    family = kind(entry.name, entry.help, labels=entry.labels)
    for labels, value in samples:
        family.add_metric(labels, value)
    return family


def _histogram(entry: Entry, histogram: Histogram) -> Metric:
    family = HistogramMetricFamily(entry.name, entry.help)
    family.add_metric([], buckets=histogram.cumulative(), sum_value=histogram.total)
    return family


def _one(value: float) -> list[Sample]:
    return [((), float(value))]


def _values(host: Host, outside: Outside) -> dict[str, list[Sample]]:
    return {**_chain_values(host), **_block_values(host), **_peer_values(outside), **_process_values(outside)} | {
        "gridbft_info": [((outside.name, outside.version, host.ledger.chain_id), 1.0)],
        "gridbft_mempool_transactions": _one(len(host.replica.mempool)),
        "gridbft_clock_offset_seconds": _one((host.replica.clock_offset_ms or 0) / 1_000),
    }


def _chain_values(host: Host) -> dict[str, list[Sample]]:
    ledger, replica = host.ledger, host.replica
    system, head = ledger.system, ledger.head
    names = {v.id: v.name or v.id.hex() for v in system.last_validators.validators}
    names |= {v.id: v.name or v.id.hex() for v in system.validators.validators}
    standings: dict[ValidatorId, int] = {
        v.id: system.standings.get(v.id, GOOD).misses for v in system.validators.validators
    }
    commit = ledger.store.commit(head.height) if head.height else None
    signed = {e.validator: e.status is CommitStatus.COMMIT for e in commit.entries} if commit else {}
    return {
        "gridbft_height": _one(head.height),
        "gridbft_round": _one(replica.round),
        "gridbft_block_timestamp_seconds": _one(head.time_ms / 1_000),
        "gridbft_halt_height": _one(system.halt_height or 0),
        "gridbft_protocol_version": _one(system.protocol.at(head.height + 1)),
        "gridbft_upgrade_needed_height": _one((system.protocol.required() or (0, 0))[1]),
        "gridbft_validators": _one(len(system.validators)),
        "gridbft_voting": _one(replica.is_voting),
        "gridbft_ready": _one(replica.is_ready),
        "gridbft_validator_signed": [((names[v],), float(s)) for v, s in signed.items() if v in names],
        "gridbft_validator_missed_proposals": [((names[v],), float(misses)) for v, misses in standings.items()],
        "gridbft_evidence": _one(int.from_bytes(ledger.view.get(EVIDENCE_COUNT) or b"", "big")),
    }


def _block_values(host: Host) -> dict[str, list[Sample]]:
    meter = host.meter
    return {
        "gridbft_blocks_total": _one(meter.blocks),
        "gridbft_transactions_total": _one(meter.transactions),
        "gridbft_block_bytes_total": _one(meter.bytes),
        "gridbft_late_rounds_total": _one(meter.late_rounds),
    }


def _peer_values(outside: Outside) -> dict[str, list[Sample]]:
    peers = list(outside.peers)
    return {
        "gridbft_peers_known": _one(len(peers)),
        "gridbft_peers_connected": _one(sum(p.connected for p in peers)),
        "gridbft_peer_connected": [((p.name,), float(p.connected)) for p in peers],
        "gridbft_peer_height": [((p.name,), float(p.height)) for p in peers],
        "gridbft_tls_connections_total": [((p,), float(c.total)) for p, c in outside.connections.items()],
        "gridbft_tls_connections_without_call_total": [
            ((p,), float(c.without_call)) for p, c in outside.connections.items()
        ],
        "gridbft_strangers_refused_total": _one(outside.strangers),
        "gridbft_client_requests_refused_total": [((k,), float(v)) for k, v in sorted(outside.refused.items())],
        "gridbft_transactions_dropped_total": _one(outside.dropped_txs),
    }


def _process_values(outside: Outside) -> dict[str, list[Sample]]:
    return {
        "gridbft_stage_cpu_seconds_total": [((s,), us / 1e6) for s, us in PROCESS.spent_us().items()],
        "gridbft_cpu_seconds_total": _one(time.process_time()),
        "gridbft_signatures_checked_total": _one(PROCESS.signatures),
        "gridbft_snapshot_height": _one(outside.disk.snapshot_height),
        "gridbft_disk_used_bytes": [((part,), float(size)) for part, size in outside.disk.used.items()],
        "gridbft_disk_free_bytes": _one(outside.disk.free),
        "gridbft_resident_bytes": _one(_resident_bytes()),
        "gridbft_open_files": _one(len(os.listdir("/proc/self/fd"))),
        "gridbft_start_time_seconds": _one(outside.started_s),
    }


def _resident_bytes() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def as_markdown() -> str:
    """docs/metrics.md, whole."""
    rows = [f"| `{e.name}` | {e.kind} | {', '.join(e.labels) or ''} | {e.help} |" for e in CATALOGUE]
    return "\n".join([INTRODUCTION, "| name | kind | labels | what it says |", "| --- | --- | --- | --- |", *rows, ""])


INTRODUCTION = """\
# Metrics

To let Prometheus read them, name an address in `config.toml` and start the node again:

    metrics_address = "127.0.0.1:7301"

Whoever reaches that port can read the metrics: keep it on the loopback or a network of your own. `curl
http://127.0.0.1:7301/metrics` shows them. Alerts for Prometheus and a dashboard for Grafana lie in `node/ops/`; what to do about
an alert is in [operator.md](operator.md). This page is made by `python -m node.metrics > docs/metrics.md`; a test keeps it true.
"""

if __name__ == "__main__":
    print(as_markdown(), end="")  # noqa: T201 - that is what it is for
