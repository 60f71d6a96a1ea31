"""The benchmark: its load, its gauges, its figures, and one short real run."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.refusal import Refusal
from chain.tx import decode_tx
from contracts.energy.metering import export_limit_wh
from contracts.energy.rosters import PAGE
from contracts.host import column_values
from contracts.runtime.codec import decode
from devnet.bench.figures import Measured, figures
from devnet.bench.gauges import cpu_us, folder_bytes, percentile, rss_mb
from devnet.bench.load import Load
from devnet.bench.options import WORKLOADS, Options, Workload
from devnet.bench.orders import ORDERS_PER_PRODUCT, window
from devnet.bench.readings import batch_of, counted
from devnet.bench.run import free_ports
from devnet.bench.town import METER_RATING_W, genesis_calls
from devnet.bench.workload import lanes, plan, sign
from devnet.bench_restart import ACCOUNTS, fill
from devnet.bench_sync import height_of, live_tps
from devnet.network import create_network
from gridbft.readings import PAGES_AT_ONCE
from gridbft.records import EventRecord, Verdict
from node import stages
from node.ed25519 import verify
from node.stages import STAGES, Stages

CHAIN = "bench-chain"
KEYS = [
    "workload",
    "nodes",
    "tps",
    "readings_per_s",
    "p50_ms",
    "p99_ms",
    "verify_us",
    "signature_bound_tps",
    "ratio",
    "cpu_us_per_tx",
    "rss_mb_per_node",
    "disk_bytes_per_tx",
    "cores",
    "agree",
]
NO_PROCESS = 2**22 + 1  # above the greatest pid that Linux gives

OPTIONS = Options(nodes=4, seconds=2.0, workload="transfer", accounts=10, rate=100.0, kill=None, window=10)


def measured(result: dict[str, Any], **changes: Any) -> Measured:
    whole = {
        "due": {},
        "final": {},
        "failed": {},
        "refused": {},
        "sent_again": 0,
        "begun": 0.0,
        "blocks": 1,
        "client_cpu_us": 0,
        "cpu": [dict.fromkeys((*STAGES, "total"), 0)] * 4,
        **result,
    }
    given_: dict[str, Any] = {
        "options": OPTIONS,
        "cores": 2,
        "verify_us": 50.0,
        "result": whole,
        "alive": (0, 1, 2, 3),
        "rss_mb": (10.0, 20.0),
        "stored_bytes": 4_000,
        "found_elsewhere": 0,
        "looked_up": 0,
        "agree": True,
        **changes,
    }
    return Measured(**given_)


# --- load -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_senders_nonces_count_up_from_zero_and_go_to_one_node(workload: Workload) -> None:
    planned = plan(workload, 50, 60)
    places: dict[tuple[str, int], list[int]] = defaultdict(list)
    for place, one in enumerate(planned):
        places[one.sender].append(place)
    assert all([planned[p].nonce for p in found] == list(range(len(found))) for found in places.values())
    split = lanes(planned, [(b"", b"")] * len(planned), 4)
    node_of = {place: node for node, lane in enumerate(split) for place, _, _ in lane}
    assert sorted(node_of) == list(range(len(planned)))
    assert all(len({node_of[p] for p in found}) == 1 for found in places.values())


def test_the_same_arguments_plan_the_same_load() -> None:
    assert plan("transfer", 50, 40) == plan("transfer", 50, 40)
    assert plan("transfer", 50, 40) != plan("transfer", 50, 40, seed=2)


def test_signed_transactions_pass_the_door_and_the_signature_check() -> None:
    planned = plan("transfer", 20, 12)
    for one, (raw, tx_id) in zip(planned, sign(CHAIN, planned, 1), strict=True):
        decoded = decode_tx(raw, CHAIN)
        assert not isinstance(decoded, Refusal)
        tx, signed = decoded
        assert (tx.id, tx.nonce) == (tx_id, one.nonce)
        assert verify(signed.public_key, signed.message, signed.signature)


@pytest.mark.parametrize("orders_per_tx", [1, 16])
def test_a_gate_closes_only_when_no_order_of_its_product_is_under_way_any_more(orders_per_tx: int) -> None:
    last_order: dict[tuple[str, int], int] = {}
    gates: dict[tuple[str, int], int] = {}
    transactions = window(orders_per_tx) + 7 * ORDERS_PER_PRODUCT
    for place, one in enumerate(plan("orders", 500, transactions, orders_per_tx=orders_per_tx)):
        args = decode(one.call.args)
        if one.call.function == "clear":
            gates[args[0], args[1]] = place
        else:
            rows = [args] if orders_per_tx == 1 else args[0]
            assert len(rows) == orders_per_tx
            last_order |= {(zone, slot): place for zone, slot, *_ in rows}
    assert len(gates) >= 2 * orders_per_tx
    assert all(last_order[product] + window(orders_per_tx) < place for product, place in gates.items())


def test_batches_of_readings_fill_slot_after_slot_and_no_page_twice() -> None:
    planned = plan("meter", 17 * PAGE + 3, 6)
    batches = [batch_of(raw, CHAIN) for raw, _ in sign(CHAIN, planned, 1)]
    pages = [(one.slot, one.first_page + n) for one in batches for n in range(len(one.imports))]
    assert pages == [(slot, page) for slot in (1_000, 1_001, 1_002) for page in range(18)]
    assert sum(one.reading_count for one in batches) == 3 * (17 * PAGE + 3)
    assert max(len(one.imports) for one in batches) == PAGES_AT_ONCE
    wh = [value for one in batches for column in one.exports for value in column_values(column)]
    assert max(wh) <= export_limit_wh(METER_RATING_W)


def test_readings_count_only_in_a_receipt_with_the_hash_of_what_was_signed() -> None:
    ((raw, _),) = sign(CHAIN, plan("meter", 50, 1), 1)
    batch = batch_of(raw, CHAIN)
    fields = {"slot": 1_000, "first_page": 0, "reading_count": 50, "columns_hash": batch.columns_hash, "roster": 1}
    assert counted(batch, [EventRecord("metering", "Packed", fields)]) == 50
    for name, other in (("slot", 1_001), ("reading_count", 51), ("columns_hash", bytes(32)), ("first_page", 1)):
        assert counted(batch, [EventRecord("metering", "Packed", {**fields, name: other})]) == 0
    assert counted(batch, []) == 0


def test_every_account_is_funded_from_what_was_minted() -> None:
    calls = list(genesis_calls("transfer", 2_500))
    minted = next(c.args[1] for c in calls if c.function == "mint")
    rows = [row for c in calls if c.function == "charge" for row in c.args[0]]
    assert len({account for account, _ in rows}) == 2_500
    assert sum(amount for _, amount in rows) == minted


# --- gauges ---------------------------------------------------------------------------------------------------------


@given(
    values=st.lists(st.floats(0, 1e6), min_size=1, max_size=60).map(sorted),
    share=st.sampled_from([0.5, 0.9, 0.99, 1.0]),
)
def test_a_percentile_is_the_smallest_value_that_the_share_does_not_exceed(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(v <= found for v in values) >= share * len(values)
    assert sum(v < found for v in values) < share * len(values)


def test_no_values_have_no_percentile() -> None:
    assert percentile([], 0.5) is None


def test_a_process_that_has_ended_costs_nothing_and_holds_nothing() -> None:
    assert (cpu_us(NO_PROCESS), rss_mb(NO_PROCESS)) == (0, 0.0)
    assert rss_mb(os.getpid()) > 1
    assert cpu_us(os.getpid()) > 0


def test_a_folder_weighs_what_its_files_weigh(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "a").write_bytes(bytes(10))
    (tmp_path / "inner" / "b").write_bytes(bytes(32))
    assert folder_bytes(tmp_path) == 42


# --- stages ---------------------------------------------------------------------------------------------------------


def test_time_goes_to_the_stage_that_it_was_measured_for(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0, 5_000, 100_000, 107_000, 120_000])
    monkeypatch.setattr(stages, "thread_time_ns", lambda: next(clock))
    meters = Stages()
    with meters.measured("rpc"):
        pass
    meters.lap(None)
    meters.lap("execute")
    meters.lap("state")
    meters.add("verify", 3_000)
    assert meters.spent_us() == {**dict.fromkeys(STAGES, 0), "rpc": 5, "execute": 7, "state": 13, "verify": 3}


# --- figures --------------------------------------------------------------------------------------------------------


def test_the_line_has_the_agreed_keys_first() -> None:
    assert list(figures(measured({})))[: len(KEYS)] == KEYS


def test_latency_counts_from_the_moment_a_transaction_was_due() -> None:
    found = figures(measured({"due": {0: 1.0, 1: 1.5}, "final": {0: 1.25, 1: 3.5}}))
    assert (found["p50_ms"], found["p99_ms"]) == (250.0, 2_000.0)


def test_throughput_counts_what_was_final_and_did_not_fail() -> None:
    final = {place: 10.0 + place for place in range(101)}
    found = figures(measured({"begun": 10.0, "due": dict.fromkeys(final, 10.0), "final": final, "failed": {"X": 1}}))
    assert found["tps"] == 1.0
    assert found["signature_bound_tps"] == 10_000
    assert found["disk_bytes_per_tx"] == round(4_000 / 101)


def test_the_live_rate_is_that_of_the_time_in_which_all_nodes_ran() -> None:
    halved = replace(OPTIONS, seconds=10.0, kill_after=0.5)
    final = {place: 20.0 + place / 10 for place in range(200)}  # ten a second, long after the kill too
    assert live_tps(measured({"begun": 20.0, "final": final}, options=halved)) == pytest.approx(10.0)
    late = dict.fromkeys(range(200), 26.0)
    assert live_tps(measured({"begun": 20.0, "final": late}, options=halved)) == 0.0


def test_what_was_neither_final_nor_refused_is_lost() -> None:
    found = figures(measured({"due": {0: 0.0, 1: 0.0, 2: 0.0}, "final": {0: 1.0}, "refused": {"MEMPOOL_FULL": 1}}))
    assert found["lost"] == 1


class FullAtFirst:
    """A client of a node that has no room for every third transaction the first time, and never takes the one that is expired."""

    def __init__(self, heard: list[bytes]) -> None:
        self._heard = heard

    def __call__(self, *_: object, **__: object) -> FullAtFirst:
        return self

    async def __aenter__(self) -> FullAtFirst:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def submit_many(
        self, txs: AsyncIterable[bytes] | Iterable[bytes], **_: object
    ) -> AsyncGenerator[Verdict, None]:
        listed = [tx async for tx in txs] if isinstance(txs, AsyncIterable) else list(txs)
        for tx in listed:
            is_full = int(tx) % 3 == 0 and tx not in self._heard
            self._heard.append(tx)
            yield Verdict("", "MEMPOOL_FULL" if is_full else "EXPIRED" if tx == b"7" else "", "")


def test_what_a_node_had_no_room_for_is_sent_again_and_a_final_refusal_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[bytes] = []
    monkeypatch.setattr("devnet.bench.load.Client", FullAtFirst(heard))
    monkeypatch.setattr("devnet.bench.load.AGAIN_S", 0.0)
    load = Load(replace(OPTIONS, rate=1e6), ["one"], [[(n, b"%d" % n, bytes(32)) for n in range(10)]])
    load.begun = monotonic()
    asyncio.run(load._send(0))
    assert [int(tx) for tx in heard] == [*range(10), 0, 3, 6, 9]
    assert (load.sent_again, load.under_way, dict(load.refused)) == (4, 9, {"EXPIRED": 1})


def test_other_is_what_the_stages_leave_of_the_whole_of_the_nodes_that_lived() -> None:
    spent = {**dict.fromkeys(STAGES, 100), "total": 1_000}
    killed = {**dict.fromkeys(STAGES, 9_000), "total": 90_000}
    result = {"cpu": [spent, killed, spent], "final": {0: 1.0, 1: 1.0}, "due": {0: 0.0, 1: 0.0}}
    found = figures(measured(result, alive=(0, 2)))["cpu_us_per_tx"]
    assert found == {**dict.fromkeys(STAGES, 50.0), "other": (1_000 - 100 * len(STAGES)) / 2}


def test_a_home_that_is_filled_for_a_restart_stands_at_the_last_block(tmp_path: Path) -> None:
    network = create_network(tmp_path / "net", 1, free_ports(1), genesis_calls("transfer", ACCOUNTS))
    fill(network, 3)
    assert height_of(network.nodes[0]) == 3


# --- the whole ------------------------------------------------------------------------------------------------------


def test_a_short_run_of_real_processes_loses_nothing_and_agrees() -> None:
    program = Path(sys.executable).parent / "gridbft"
    arguments = ["bench", "--nodes", "2", "--seconds", "1", "--rate", "60", "--accounts", "20", "--json"]
    done = subprocess.run(
        [sys.executable, str(program), *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(KEYS) <= set(found)
    assert (found["agree"], found["lost"], found["failed"], found["refused"]) == (True, 0, {}, {})
    assert found["final"] == found["transactions"] == 60
    assert found["cpu_us_per_tx"]["verify"] > 0


def test_a_short_run_of_packed_readings_counts_each_of_them_in_another_node_s_receipts() -> None:
    program = Path(sys.executable).parent / "gridbft"
    arguments = ["--nodes", "2", "--workload", "meter", "--accounts", "1500", "--readings", "12000", "--json"]
    done = subprocess.run(
        [sys.executable, str(program), "bench", *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["agree"], found["lost"], found["failed"], found["refused"]) == (True, 0, {}, {})
    assert (found["final"], found["readings"]) == (8, 12_000)
    assert found["readings_per_s"] > 0


def test_an_unknown_node_to_kill_is_refused_with_the_names_that_there_are() -> None:
    program = Path(sys.executable).parent / "gridbft"
    done = subprocess.run(
        [sys.executable, str(program), "bench", "--kill", "nobody"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "utility-1" in done.stderr
