"""Metrics: one catalogue, served by a live node; what reads it names nothing else."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from gridbft.v1 import client_pb2 as pb
from gridbft.wallet import Wallet
from node.cli import COMMANDS
from node.config import ConfigError, parse_config
from node.meters import Histogram
from node.metrics import BY_NAME, CATALOGUE, as_markdown
from node.metricsserver import MetricsServer
from tests.node.localnet import Localnet, free_ports, running, until

ROOT = Path(__file__).parents[2]
OPS = ROOT / "node" / "ops"
PROMTOOL = shutil.which("promtool")
ADDRESSES = 'name = "a"\nclient_address = "127.0.0.1:7101"\npeer_address = "127.0.0.1:7201"\n'


async def get(port: int, request: bytes = b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n") -> tuple[bytes, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.split(b"\r\n")[0], body


def samples(text: bytes) -> dict[str, dict[tuple[str, ...], float]]:
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def test_a_live_node_serves_the_whole_catalogue_and_the_figures_are_its_own(tmp_path: Path) -> None:
    async def scenario() -> tuple[dict[str, dict[tuple[str, ...], float]], bytes]:
        net = Localnet.make(tmp_path, 1)
        port = free_ports(1)[0]
        async with running(*net.homes, metrics_address=f"127.0.0.1:{port}", proof_block_ms=10) as nodes:
            wallet = Wallet.from_seed(b"\x0a" * 32)
            for nonce in range(3):
                await nodes[0].stub.Submit(pb.SubmitRequest(tx=net.tx(wallet, nonce), wait=True), timeout=20)
            status, body = await get(port)
            assert status == b"HTTP/1.1 200 OK"
            assert samples(body)["gridbft_height"][()] <= nodes[0].node.host.ledger.head.height
            return samples(body), body

    found, body = asyncio.run(scenario())
    families = {
        f"{f.name}_total" if f.type == "counter" else f.name for f in text_string_to_metric_families(body.decode())
    }
    assert families == set(BY_NAME)
    if PROMTOOL is not None:
        linted = subprocess.run([PROMTOOL, "check", "metrics"], input=body, capture_output=True)
        assert linted.returncode == 0, linted.stderr.decode()
    assert found["gridbft_transactions_total"][()] == 3
    assert found["gridbft_blocks_total"][()] == found["gridbft_height"][()] >= 3
    assert found["gridbft_finality_seconds_count"][()] == found["gridbft_apply_seconds_count"][()] >= 3
    assert found["gridbft_signatures_checked_total"][()] >= 3
    assert found["gridbft_voting"][()] == found["gridbft_ready"][()] == 1
    assert found["gridbft_validator_signed"] == {("node-0",): 1.0}
    assert found["gridbft_validator_missed_proposals"] == {("node-0",): 0.0}
    assert found["gridbft_disk_used_bytes"][("store",)] > 0
    assert found["gridbft_stage_cpu_seconds_total"][("execute",)] > 0
    assert found["gridbft_resident_bytes"][()] > 10_000_000


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"HTTP/1.1 405 Method Not Allowed"),
        (b"GET /secrets HTTP/1.1\r\n\r\n", b"HTTP/1.1 404 Not Found"),
        (b"nonsense\r\n\r\n", b"HTTP/1.1 405 Method Not Allowed"),
        (b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n", b""),
    ],
)
def test_whatever_else_is_asked_of_the_port_is_answered_or_cut_off(request_: bytes, status: bytes) -> None:
    async def scenario() -> None:
        async def read() -> bytes:
            return b"gridbft_height 1\n"

        server = MetricsServer(read)
        port = await server.start(f"127.0.0.1:{free_ports(1)[0]}")
        try:
            try:
                assert (await get(port, request_))[0] == status
            except ConnectionError:
                assert not status
            assert (await get(port))[1] == b"gridbft_height 1\n"
        finally:
            await server.stop()

    asyncio.run(scenario())


def test_who_takes_no_answer_is_cut_off_and_holds_up_no_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.metricsserver.PATIENCE_SECONDS", 0.05)

    async def scenario() -> None:
        async def read() -> bytes:
            return bytes(50_000_000)  # more than the system's buffers hold

        server = MetricsServer(read)
        port = await server.start(f"127.0.0.1:{free_ports(1)[0]}")
        with socket.create_connection(("127.0.0.1", port)) as deaf:
            deaf.setblocking(False)
            await asyncio.get_running_loop().sock_sendall(deaf, b"GET /metrics HTTP/1.1\r\n\r\n")
            await until(lambda: server._open == 1)
            await until(lambda: server._open == 0)
            received = 0
            while part := await asyncio.get_running_loop().sock_recv(deaf, 1 << 20):
                received += len(part)
            assert 0 < received < 50_000_000
        async with asyncio.timeout(20):
            await server.stop()

    asyncio.run(scenario())


def test_metrics_are_off_unless_an_address_is_given_and_need_a_port_of_their_own() -> None:
    assert parse_config(ADDRESSES).metrics_address == ""
    assert parse_config('metrics_address = "127.0.0.1:7301"\n' + ADDRESSES).metrics_address == "127.0.0.1:7301"
    with pytest.raises(
        ConfigError, match=r"line 1: metrics_address is '127\.0\.0\.1:7101', expected a port of its own"
    ):
        parse_config('metrics_address = "127.0.0.1:7101"\n' + ADDRESSES)


@given(st.lists(st.floats(0, 100), max_size=50))
def test_a_histogram_counts_every_value_once_and_up_to_its_bound(values: list[float]) -> None:
    histogram = Histogram((0.5, 2.0, 10.0))
    for value in values:
        histogram.observe(value)
    assert histogram.cumulative() == [
        ("0.5", sum(v <= 0.5 for v in values)),
        ("2.0", sum(v <= 2.0 for v in values)),
        ("10.0", sum(v <= 10.0 for v in values)),
        ("+Inf", len(values)),
    ]
    assert histogram.total == sum(values)


def test_the_page_of_metrics_is_the_catalogue() -> None:
    assert (ROOT / "docs" / "metrics.md").read_text() == as_markdown()


def test_counters_say_so_in_their_names_and_nothing_is_named_twice() -> None:
    assert len(BY_NAME) == len(CATALOGUE)
    assert all(e.name.endswith("_total") == (e.kind == "counter") for e in CATALOGUE)


def named_in(text: str) -> set[str]:
    suffixes = re.compile(r"_(bucket|count|sum)$")
    names = set(re.findall(r"\bgridbft_[a-z_]+", text))
    return {suffixes.sub("", n) if BY_NAME.get(suffixes.sub("", n)) else n for n in names}


@pytest.mark.parametrize("name", ["prometheus-alerts.yml", "grafana-dashboard.json"])
def test_alerts_and_dashboard_name_only_metrics_that_exist(name: str) -> None:
    assert named_in((OPS / name).read_text()) <= set(BY_NAME)
    assert len(named_in((OPS / name).read_text())) > 10


def test_every_panel_of_the_dashboard_asks_something() -> None:
    dashboard: dict[str, Any] = json.loads((OPS / "grafana-dashboard.json").read_text())
    assert dashboard["uid"] == "gridbft"
    assert len({p["id"] for p in dashboard["panels"]}) == len(dashboard["panels"]) >= 15
    for panel in dashboard["panels"]:
        assert panel["title"]
        assert panel["targets"]
        assert all(t["expr"] for t in panel["targets"])


def test_every_alert_says_what_to_do_and_the_operators_page_knows_it() -> None:
    text = (OPS / "prometheus-alerts.yml").read_text()
    alerts = re.findall(r"- alert: (\w+)", text)
    assert len(set(alerts)) == len(alerts) >= 10
    for keyword in ("expr:", "severity:", "summary:", "todo:"):
        assert len(re.findall(rf"\b{keyword}", text)) == len(alerts)


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not on this machine")
def test_promtool_accepts_the_alerts() -> None:
    assert PROMTOOL is not None
    ran = subprocess.run(
        [PROMTOOL, "check", "rules", str(OPS / "prometheus-alerts.yml")], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not on this machine")
def test_alerts_fire_when_they_should_and_only_then() -> None:
    assert PROMTOOL is not None
    ran = subprocess.run(
        [PROMTOOL, "test", "rules", str(Path(__file__).parent / "alerts.test.yml")], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_commands_that_an_alert_tells_to_run_exist() -> None:
    text = (OPS / "prometheus-alerts.yml").read_text()
    named = set(re.findall(r"(?<![-_/])\bgridbft ([a-z]+)", text)) - {"validator"}
    assert named <= set(COMMANDS)
    assert named
