"""The commands against a fake ledger: what programs read, what people read, and the exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gridbft.requests import make_call
from gridbft.wallet import OPEN_MARK, Keyring
from node.cli import main
from tests.gridbft.fake_bank import NAME
from tests.gridbft.fake_ledger import CHAIN_ID, FakeLedger, FakeNode

NOBODY = "127.0.0.1:1"


@pytest.fixture
def ledger() -> FakeLedger:
    return FakeLedger()


@pytest.fixture
def nodes(ledger: FakeLedger) -> Iterator[list[FakeNode]]:
    with FakeNode(ledger, "utility-1") as first, FakeNode(ledger, "dso-1") as second:
        yield [first, second]


@pytest.fixture
def folder(tmp_path: Path, nodes: list[FakeNode], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory below one with a network file, and a key named alice."""
    record = {
        "chain_id": CHAIN_ID,
        "genesis": "genesis.json",
        "nodes": [{"name": n.name, "role": "validator", "client_address": n.address} for n in nodes],
        "keys": "keys",
    }
    (tmp_path / ".devnet").mkdir()
    (tmp_path / ".devnet" / "network.json").write_text(json.dumps(record))
    Keyring(tmp_path / ".devnet" / "keys").new("alice", seed=bytes(32))
    (tmp_path / ".devnet" / "keys" / OPEN_MARK).touch()
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    monkeypatch.delenv("GRIDBFT_NETWORK", raising=False)
    monkeypatch.delenv("GRIDBFT_KEYS", raising=False)
    return tmp_path


def gridbft(*words: str) -> Result:
    result = CliRunner().invoke(main, list(words))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception  # an expected fault never ends in a traceback
    return result


def last_json(result: Result) -> Any:
    return json.loads(result.stdout.strip().splitlines()[-1])


# -- status


def test_status_shows_every_node_and_that_they_agree(folder: Path, ledger: FakeLedger) -> None:
    result = gridbft("status", "--json")
    report = last_json(result)
    assert result.exit_code == 0
    assert report["agree"] is True
    assert [n["name"] for n in report["nodes"]] == ["utility-1", "dso-1"]
    assert set(report["nodes"][0]) == {"name", "address", "height", "block_id", "state_root", "peers", "mempool"}
    assert report["nodes"][0]["state_root"] == ledger.blocks[-1].state_root.hex()


def test_a_dead_node_is_a_row_that_says_so(folder: Path, nodes: list[FakeNode]) -> None:
    nodes[1].stop()
    result = gridbft("status", "--json")
    alive, dead = last_json(result)["nodes"]
    assert "error" not in alive
    assert (dead["name"], dead["height"]) == ("dso-1", None)
    assert f"no answer from {nodes[1].address}" in dead["error"]
    assert last_json(result)["agree"] is True
    readable = gridbft("status")
    assert "dso-1" in readable.stdout
    assert "no answer from" in readable.stdout


def test_nodes_at_different_heights_are_compared_where_both_have_been(
    folder: Path, ledger: FakeLedger, nodes: list[FakeNode]
) -> None:
    mint(ledger, 3)
    nodes[1].lag = 2
    report = last_json(gridbft("status", "--json"))
    assert [n["height"] for n in report["nodes"]] == [4, 2]
    assert (report["common_height"], report["agree"]) == (2, True)


@pytest.mark.parametrize("lag", [0, 1])
def test_different_roots_at_the_common_height_do_not_agree(
    folder: Path, ledger: FakeLedger, nodes: list[FakeNode], lag: int
) -> None:
    mint(ledger, 3)
    nodes[1].lag = lag
    nodes[1].ledger = other = FakeLedger()
    mint(other, 3, amount=9)
    result = gridbft("status", "--json")
    assert last_json(result)["agree"] is False
    assert result.exit_code == 1
    assert "DO NOT AGREE" in gridbft("status").stdout


def test_no_node_at_all_is_no_agreement(folder: Path) -> None:
    result = gridbft("status", "--json", "--nodes", NOBODY)
    assert (result.exit_code, last_json(result)["agree"]) == (1, False)


def mint(ledger: FakeLedger, count: int, amount: int = 5) -> None:
    from gridbft.wallet import Wallet

    wallet = Wallet.from_seed(bytes(32))
    for nonce in range(count):
        ledger.admit(wallet.transaction(CHAIN_ID, nonce, [make_call(NAME, "mint", "a", amount)], 99, 99))


# -- tx, query, receipt, block


def test_a_transaction_is_signed_sent_and_shown(folder: Path) -> None:
    minted = gridbft("tx", "bank", "mint", "@alice", "1_000_000", "--from", "alice", "--json")
    assert minted.exit_code == 0
    moved = last_json(gridbft("tx", "bank", "transfer", "bob", "250", "--from", "alice", "--json"))
    assert (moved["ok"], moved["final"], moved["results"]) == (True, True, [999_750])
    assert moved["events"][0]["fields"]["to"] == "bob"
    assert last_json(gridbft("query", "bank", "balance", "@alice", "--json"))["result"] == 999_750
    assert gridbft("query", "bank", "balance", "bob").stdout == "250\n"
    again = last_json(gridbft("receipt", moved["tx_id"], "--json"))
    assert {**again, "proved": None} == {**moved, "proved": None}
    block = last_json(gridbft("block", str(moved["height"]), "--json"))
    assert block["transactions"] == [moved["tx_id"]]
    for words in (["receipt", moved["tx_id"]], ["block", "0"]):
        assert moved["tx_id"] in gridbft(*words).stdout


def test_records_are_shown_with_their_field_names(folder: Path) -> None:
    result = last_json(gridbft("query", "bank", "statement", '["x"]', "--json"))
    assert result["result"] == [{"account": "x", "balance_micros": 0}]


def test_no_wait_gives_the_id_at_once(folder: Path, ledger: FakeLedger) -> None:
    ledger.auto = False
    result = last_json(gridbft("tx", "bank", "mint", "a", "1", "--from", "alice", "--no-wait", "--json"))
    assert (result["ok"], result["final"]) == (True, False)
    missing = gridbft("receipt", result["tx_id"], "--json")
    assert (missing.exit_code, last_json(missing)["error"]) == (1, "NOT_FOUND")
    ledger.make_block()
    assert last_json(gridbft("receipt", result["tx_id"], "--json"))["ok"] is True


def test_a_reverted_transaction_exits_with_1_and_shows_its_receipt(folder: Path) -> None:
    result = gridbft("tx", "bank", "transfer", "bob", "250", "--from", "alice", "--json")
    assert result.exit_code == 1
    assert last_json(result)["code"] == "INSUFFICIENT_BALANCE"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["tx", "bank", "mint", "a", "many", "--from", "alice"], "amount_micros: expected a whole number"),
        (["tx", "bank", "mint", "a", "--from", "alice"], "expected 2 arguments, found 1"),
        (["tx", "bonk", "mint", "--from", "alice"], "no contract 'bonk'; there are: bank"),
        (["tx", "bank", "balance", "a", "--from", "alice"], "it is a view"),
        (["tx", "bank", "mint", "a", "1", "--from", "nobody"], "no key named 'nobody'"),
        (["tx", "bank", "mint", "a", "1"], "--from KEYNAME"),
        (["tx", "bank", "mint", "@nobody", "1", "--from", "alice"], "no key named 'nobody'"),
        (["tx", "bank"], "which function of bank"),
        (["query", "bank"], "which view of bank"),
        (["receipt", "xyz"], "hexadecimal"),
        (["receipt", "00"], "32 bytes"),
        (["status", "--nodes", "nonsense"], "is no address of a node"),
        (["keys", "new", "../alice"], "is no key name"),
        (["keys", "new", "alice"], "exists already"),
        (["contracts", "bonk"], "no contract 'bonk'"),
    ],
)
def test_bad_input_is_answered_with_a_sentence(folder: Path, words: list[str], sentence: str) -> None:
    result = gridbft(*words)
    assert sentence in result.stderr
    assert result.exit_code == 2
    assert last_json(gridbft(*words, "--json"))["ok"] is False


def test_a_proof_without_a_readable_genesis_is_answered_with_a_sentence(folder: Path) -> None:
    words = ["query", "bank", "balance", "a", "--prove", "--json", "--genesis", "missing.json"]
    result = gridbft(*words)
    assert (result.exit_code, last_json(result)["error"]) == (1, "BAD_GENESIS")
    alone = gridbft("query", "bank", "balance", "a", "--prove", "--nodes", NOBODY)
    assert alone.exit_code == 1  # the network file names a genesis that is not there


def test_a_negative_number_is_an_argument_not_an_option(folder: Path) -> None:
    assert last_json(gridbft("tx", "bank", "mint", "a", "-5", "--from", "alice", "--json"))["ok"] is True


def test_nodes_that_do_not_answer_are_a_sentence(folder: Path) -> None:
    result = gridbft("block", "1", "--nodes", NOBODY, "--json")
    assert result.exit_code == 1
    assert last_json(result)["error"] == "NODE_UNAVAILABLE"
    assert f"no answer from {NOBODY}" in result.stderr


# -- help, keys, contracts, the network file


def test_help_lists_the_contracts_on_the_chain(folder: Path) -> None:
    everything = gridbft("tx", "--help")
    assert everything.exit_code == 0
    assert "transfer(to: str, amount_micros: int) -> int" in everything.stdout
    assert "balance(" not in everything.stdout
    assert "--from KEYNAME" in everything.stdout
    assert "balance(account: str) -> int" in gridbft("query", "bank", "--help").stdout


def test_help_without_a_network_still_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GRIDBFT_NETWORK", raising=False)
    result = gridbft("tx", "--help")
    assert result.exit_code == 0
    assert "--from KEYNAME" in result.stdout
    assert "cannot be listed" in result.stdout


def test_contracts_are_listed_with_their_interfaces(folder: Path) -> None:
    (bank,) = last_json(gridbft("contracts", "--json"))["contracts"]
    assert bank["functions"][0]["params"] == [{"name": "to", "type": "str"}, {"name": "amount_micros", "type": "int"}]
    assert "Makes money." in gridbft("contracts").stdout


def test_keys_are_made_and_listed(folder: Path) -> None:
    made = last_json(gridbft("keys", "new", "bob", "--json"))
    listed = last_json(gridbft("keys", "list", "--json"))["keys"]
    assert [k["name"] for k in listed] == ["alice", "bob"]
    assert listed[1] == made
    assert made["address"] in gridbft("keys", "list").stdout


def test_the_network_file_is_found_by_the_environment(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert gridbft("status").exit_code == 2
    monkeypatch.setenv("GRIDBFT_NETWORK", str(folder / ".devnet" / "network.json"))
    assert gridbft("status").exit_code == 0


@pytest.mark.parametrize("content", ["", "[]", '{"nodes": 3}', '{"nodes": [{"name": "x"}]}'])
def test_a_damaged_network_file_is_answered_with_a_sentence(folder: Path, content: str) -> None:
    (folder / ".devnet" / "network.json").write_text(content)
    result = gridbft("status", "--json")
    assert result.exit_code == 2
    assert "network.json" in last_json(result)["message"]


def test_help_of_the_group_loads_neither_grpc_nor_the_contracts() -> None:
    code = (
        "import sys, click.testing as t, node.cli as c; r = t.CliRunner().invoke(c.main, ['--help']); print(r.stdout)"
    )
    code += "; print(sorted({'grpc', 'rich', 'contracts', 'nacl'} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "status" in shown
    assert shown.strip().endswith("[]")
