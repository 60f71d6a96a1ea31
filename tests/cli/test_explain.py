"""`explain bill`: a tree whose leaves are the chain's postings and add up to the bill."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from chain.genesis import build_genesis, dump_genesis
from chain.pruning import prune
from gridbft.blocking import BlockingClient
from node.cli import main
from tests.gridbft.chain_node import ChainNode
from tests.gridbft.energy_chain import ALICE, BOB, SLOT, market_chain, varied_chain


@pytest.fixture(scope="module")
def node() -> Iterator[ChainNode]:
    with ChainNode(market_chain()) as serving:
        yield serving


@pytest.fixture
def folder(tmp_path: Path, node: ChainNode, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "genesis.json").write_text(dump_genesis(node.chain.genesis))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GRIDBFT_NETWORK", raising=False)
    return tmp_path


def bill(node: ChainNode, *words: str) -> Result:
    options = ["--nodes", node.address, "--genesis", "genesis.json"]
    result = CliRunner().invoke(main, ["explain", "bill", *words, *options])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def record(node: ChainNode, *words: str) -> Any:
    result = bill(node, *words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout.strip().splitlines()[-1])


def leaves(item: dict[str, Any]) -> list[dict[str, Any]]:
    if "parts" not in item:
        return [item]
    assert sum(part["amount_micros"] for part in item["parts"]) == item["amount_micros"]
    return [leaf for part in item["parts"] for leaf in leaves(part)]


@pytest.mark.parametrize("account", [ALICE, BOB])
def test_the_leaves_add_up_to_the_bill_and_the_bill_to_the_money(folder: Path, node: ChainNode, account: str) -> None:
    found = record(node, account)
    assert sum(leaf["amount_micros"] for leaf in leaves(found)) == found["amount_micros"]
    assert [part["slot"] for part in found["parts"]] == [SLOT, SLOT + 1]
    with BlockingClient(node.address) as client:
        money = client.query("payments", "balance", account) + client.query("payments", "held", account)
    assert found["money"] == {"checked": True, "balance_and_holds_micros": money}
    assert found["amount_micros"] == money - 1_000_000  # what the genesis gave


def test_a_leaf_is_traced_to_its_trade_and_an_imbalance_to_its_readings_and_its_price(
    folder: Path, node: ChainNode
) -> None:
    found = record(node, BOB, "--slot", str(SLOT))
    bought = [leaf for leaf in leaves(found) if leaf["label"] == "bought"]
    assert sum(t["quantity_wh"] for t in bought) == 1_501
    assert {t["with"] for t in bought} == {ALICE}
    assert all(-t["amount_micros"] == t["price_micros_per_kwh"] * t["quantity_wh"] // 1000 for t in bought)
    imbalance = leaves(found)[-1]
    assert (imbalance["label"], imbalance["imbalance_wh"]) == ("imbalance", 1_501 - 1_403)
    metered, price = imbalance["because"]
    assert (metered["import_wh"], metered["because"][0]["label"]) == (1_403, "reading of load-bob")
    assert metered["because"][0]["quality"] == "ESTIMATED"
    assert price["because"][0]["price_micros_per_kwh"] == 71_119
    assert len(metered["because"][0]["tx_id"]) == 64


def test_people_see_a_tree(folder: Path, node: ChainNode) -> None:
    shown = bill(node, BOB, "--slot", str(SLOT)).stdout
    assert f"bill of {BOB}" in shown
    for what in ("trades", "bought", "imbalance", "reading of load-bob", "reference price", "as all events say"):
        assert what in shown


def test_a_day_has_its_slots_and_no_others(folder: Path, node: ChainNode) -> None:
    day = datetime.fromtimestamp(SLOT * 900, UTC).date().isoformat()
    assert record(node, BOB, "--day", day)["amount_micros"] == record(node, BOB)["amount_micros"]
    other = bill(node, BOB, "--day", "2001-01-01")
    assert other.exit_code == 2
    assert "there is no bill" in other.stderr
    assert bill(node, BOB, "--day", "yesterday").exit_code == 2
    assert bill(node, BOB, "--day", day, "--slot", "1").exit_code == 2


def test_without_the_genesis_the_balance_is_not_checked_and_that_is_said(folder: Path, node: ChainNode) -> None:
    (folder / "genesis.json").unlink()
    assert record(node, BOB)["money"] == {"checked": False}
    assert "was not checked" in bill(node, BOB).stdout


def test_an_account_without_postings_has_no_bill(folder: Path, node: ChainNode) -> None:
    result = bill(node, "0" * 40)
    assert (result.exit_code, "there is no bill" in result.stderr) == (2, True)


def test_a_genesis_that_gives_the_account_other_money_does_not_add_up(folder: Path, node: ChainNode) -> None:
    genesis = node.chain.genesis
    calls = tuple(
        replace(c, args=(BOB, 999_999, "genesis")) if c.function == "mint" and c.args[0] == BOB else c
        for c in genesis.calls
    )
    other = build_genesis(
        "test", genesis.time_ms, genesis.currency, genesis.members, genesis.params, genesis.contracts, calls
    )
    (folder / "genesis.json").write_text(dump_genesis(other))
    result = bill(node, BOB)
    assert result.exit_code == 1
    assert "the account should have" in result.stderr


@pytest.mark.parametrize("account", [ALICE, BOB])
def test_fees_flexibility_groups_and_re_settlements_add_up_to_the_money_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch, account: str
) -> None:
    chain = varied_chain()
    (folder / "genesis.json").write_text(dump_genesis(chain.genesis))
    with ChainNode(chain) as node, BlockingClient(node.address) as client:
        found = record(node, account)
        money = client.query("payments", "balance", account) + client.query("payments", "held", account)
    assert found["money"] == {"checked": True, "balance_and_holds_micros": money}
    assert sum(leaf["amount_micros"] for leaf in leaves(found)) == found["amount_micros"] == money - 1_000_000
    labels = [leaf["label"] for leaf in leaves(found)]
    assert "imbalance" in labels
    if account == BOB:
        assert labels.count("grid fee") == labels.count("losses") == labels.count("bought") == 2
        assert "re-settlement 1" in labels
        again = leaves(found)[-1]
        assert again["because"][0]["because"][0]["quality"] == "CORRECTED"
        assert [reason["label"] for reason in again["because"]] == ["metered", "price", "balance group"]
    else:
        assert "activated" in labels


def test_fees_are_told_with_the_grid_s_rates_and_deposits_beside_the_bill(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ChainNode(varied_chain()) as node:
        found = record(node, BOB)
        fees = [leaf for leaf in leaves(found) if leaf["label"] == "grid fee"]
        assert {fee["fee_micros_per_kwh"] for fee in fees} == {10_007}
        assert found["besides"]["amount_micros"] == 0  # the genesis' deposits are no events
        grid = record(node, "grid")
        assert grid["amount_micros"] == -sum(
            leaf["amount_micros"] for leaf in leaves(found) if leaf["label"] in ("grid fee", "losses")
        )
        assert record(node, "neutrality")["money"]["checked"]


def test_a_node_that_pruned_explains_what_it_keeps_and_says_what_is_missing(folder: Path) -> None:
    chain = market_chain.__wrapped__()
    height = chain.ledger.head.height
    with ChainNode(chain) as node:
        whole = {account: leaves(record(node, account)) for account in (ALICE, BOB)}
        explained = 0
        for first in range(2, height - 3):
            prune(chain.kv, keep=height - first + 1)
            for account in (ALICE, BOB):
                kept = [leaf["amount_micros"] for leaf in whole[account] if leaf["height"] >= first]
                result = bill(node, account, "--json")
                if not kept:
                    assert (result.exit_code, "there is no bill" in result.stderr) == (2, True)
                    continue
                explained += 1
                found = json.loads(result.stdout.strip().splitlines()[-1])
                assert (found["from_height"], found["money"]) == (first, {"checked": False})
                assert [leaf["amount_micros"] for leaf in leaves(found)] == kept
                assert found["because"][0] == {
                    "label": "missing",
                    "before_height": first,
                    "what": "whatever happened before this height: the node keeps no earlier block",
                }
                if first % 5 == 0:
                    assert f"keeps no block before height {first}" in bill(node, account).stdout
        assert explained > 10


@pytest.mark.parametrize("account", [ALICE, BOB])
def test_packed_readings_explain_a_bill_as_single_ones_do(folder: Path, node: ChainNode, account: str) -> None:
    with ChainNode(market_chain(packed=True)) as packed:
        (folder / "genesis.json").write_text(dump_genesis(packed.chain.genesis))
        found = record(packed, account)
    (folder / "genesis.json").write_text(dump_genesis(node.chain.genesis))
    assert without_ids(found) == without_ids(record(node, account))
    assert "reading of load-" in json.dumps(found)


def without_ids(item: Any) -> Any:
    """Transactions that say the same otherwise have other ids."""
    if isinstance(item, dict):
        return {key: without_ids(value) for key, value in item.items() if key != "tx_id"}
    return [without_ids(one) for one in item] if isinstance(item, list) else item
