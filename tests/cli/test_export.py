"""`export`: Parquet files that grow with the chain and say what the chain says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from gridbft.blocking import BlockingClient
from gridbft.parquet import ExportState, arrow_schema, read_state, write_stretch
from gridbft.tables import TABLES, empty_rows
from node.cli import main
from tests.chain.network import Chain, genesis
from tests.gridbft.chain_node import ChainNode
from tests.gridbft.energy_chain import ALICE, BOB, SLOT, market_chain, varied_chain


@pytest.fixture(scope="module")
def node() -> Iterator[ChainNode]:
    with ChainNode(market_chain()) as serving:
        yield serving


def export(address: str, folder: Path, *words: str) -> Result:
    result = CliRunner().invoke(main, ["export", "--to", str(folder), "--nodes", address, "--json", *words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def table(folder: Path, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(folder / name).to_pylist()
    return rows


def test_every_table_says_what_the_chain_says(tmp_path: Path, node: ChainNode) -> None:
    result = export(node.address, tmp_path / "out")
    report = json.loads(result.stdout)
    height = node.ledger.head.height
    assert (report["first_height"], report["next_height"]) == (1, height + 1)
    out = tmp_path / "out"
    assert [r["height"] for r in table(out, "blocks")] == list(range(1, height + 1))
    trades = table(out, "trades")
    assert sum(t["quantity_wh"] for t in trades) == 2 * 1_501
    assert all(t["price_micros_per_kwh"] * t["quantity_wh"] // 1000 == t["amount_micros"] for t in trades)
    readings = table(out, "readings")
    assert len(readings) == 6
    assert {(r["slot"], r["import_wh"]) for r in readings if r["meter"] == "load-bob"} == {
        (SLOT, 1_403),
        (SLOT + 1, 1_403),
    }
    assert readings[0]["slot_start"].timestamp() == SLOT * 900
    imbalances = table(out, "imbalances")
    assert {(r["slot"], r["account"]) for r in imbalances} == {(s, a) for s in (SLOT, SLOT + 1) for a in (ALICE, BOB)}
    assert [r["event"] for r in table(out, "certificates")] == ["Issued", "Transferred", "Retired", "Retired"]
    with BlockingClient(node.address) as client:
        for row in table(out, "balances"):
            assert client.query("payments", "balance", row["account"]) == row["balance_micros"]
    assert sum(r["balance_micros"] + r["held_micros"] for r in table(out, "balances")) == 2 * 1_000_000  # two were seen


def test_the_files_have_the_documented_schema(tmp_path: Path, node: ChainNode) -> None:
    with ChainNode(varied_chain()) as other:  # it has flexibility and no certificates
        for serving in (node, other):
            export(serving.address, tmp_path / str(serving is node))
    documented = json.loads((tmp_path / "True" / "schema.json").read_text())["tables"]
    assert set(documented) == set(TABLES)
    for name, columns in documented.items():
        found = pq.read_schema(next(tmp_path.glob(f"*/{name}/*.parquet")))
        assert found.names == [c["name"] for c in columns]
        assert found.equals(arrow_schema(name))
        assert [f.metadata[b"meaning"].decode() for f in found] == [c["meaning"] for c in columns]


def test_an_export_goes_on_where_it_ended(tmp_path: Path) -> None:
    chain = Chain(genesis(contracts=("registry", "payments")))
    with ChainNode(chain) as node:
        for expected in (3, 5):
            while chain.ledger.head.height < expected:
                chain.grow()
            assert json.loads(export(node.address, tmp_path).stdout)["next_height"] == expected + 1
        again = json.loads(export(node.address, tmp_path).stdout)
        assert set(again["rows"].values()) == {0}
    assert [r["height"] for r in table(tmp_path, "blocks")] == [1, 2, 3, 4, 5]
    assert sorted(f.name for f in (tmp_path / "blocks").iterdir()) == [
        "000000000001-000000000003.parquet",
        "000000000004-000000000005.parquet",
    ]


def test_a_run_that_ended_before_it_said_so_is_written_again(tmp_path: Path) -> None:
    rows = empty_rows()
    rows["blocks"].append({"height": 1, "time": 0, "block_id": "", "transactions": 0})
    state = write_stretch(tmp_path, ExportState("c", 1, 1), 1, rows)
    before = (tmp_path / "export.json").read_bytes()
    write_stretch(tmp_path, state, 3, rows)
    (tmp_path / "export.json").write_bytes(before)  # as if the process had ended just before
    (tmp_path / "blocks" / ".x.part").write_bytes(b"torn")
    found = read_state(tmp_path)
    assert found == state
    write_stretch(tmp_path, state, 2, rows)
    assert sorted(f.name[:25] for f in (tmp_path / "blocks").iterdir()) == [
        "000000000001-000000000001",
        "000000000002-000000000002",
    ]


def test_from_height_begins_an_export_and_does_not_change_one(tmp_path: Path, node: ChainNode) -> None:
    assert json.loads(export(node.address, tmp_path, "--from-height", "9").stdout)["first_height"] == 9
    assert table(tmp_path, "blocks")[0]["height"] == 9
    refused = export(node.address, tmp_path, "--from-height", "3")
    assert refused.exit_code == 2
    assert "holds heights 9 to " in refused.stderr


def test_a_folder_of_another_chain_is_refused(tmp_path: Path, node: ChainNode) -> None:
    write_stretch(tmp_path, ExportState("other-chain", 1, 1), 1, empty_rows())
    result = export(node.address, tmp_path)
    assert (result.exit_code, "holds an export of other-chain" in result.stderr) == (2, True)
    (tmp_path / "export.json").write_text("{")
    assert "is no export's" in export(node.address, tmp_path).stderr


def test_packed_readings_are_rows_like_all_others(tmp_path: Path, node: ChainNode) -> None:
    with ChainNode(market_chain(packed=True)) as packed:
        assert export(packed.address, tmp_path / "packed").exit_code == 0
    assert export(node.address, tmp_path / "single").exit_code == 0
    kinds = ("height", "slot", "meter", "import_wh", "export_wh", "quality", "sender")
    found, single = (
        sorted(tuple(row[kind] for kind in kinds) for row in table(tmp_path / name, "readings"))
        for name in ("packed", "single")
    )
    assert found == single
    assert len(found) == 6
