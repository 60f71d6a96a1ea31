"""A whole day on a ledger whose market changes at noon, and the same day computed again on every interpreter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgpack
import pytest

from chain.genesis import dump_genesis
from chain.leveldb import LevelKV
from chain.memory import MemoryKV
from contracts.runtime.deploy import deployed
from devnet.replay import _libsodium, main, read_blocks, stored_blocks, write_blocks
from devnet.report import differences, totals
from node.ed25519 import verify
from tests.chain.network import call
from tests.chain.txs import key_of
from tests.contracts.runtime.interpreters import announce, run_on_each
from tests.contracts.runtime.town import NOON, ChainTown


@pytest.fixture(scope="module")
def town() -> ChainTown:
    played = ChainTown.new(0, 96)
    played.play_day()
    return played


@pytest.fixture(scope="module")
def blocks(town: ChainTown, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("day") / "blocks"
    assert town.write_blocks(file) == town.chain.ledger.head.height
    return file


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    code = main(list(words))
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] == (code == 0)
    return found


# --- noon


def test_a_market_that_changes_at_noon_ends_the_day_with_the_meters_sums_and_all_its_money(town: ChainTown) -> None:
    book = town.book
    found = totals(book)
    assert differences(found, town.day.data, 0, 96) == []
    assert found.traded_wh > 0
    accounts = sorted({*book.money_accounts, *book.participants, "neutrality", "market", "imbalance"})
    money = sum(sum(town.view("payments", view, accounts)) for view in ("balances", "helds"))
    minted, burned = town.view("payments", "supply")
    assert money == minted - burned > 0


def test_the_upgrade_ran_its_migration_once_and_kept_the_state(town: ChainTown) -> None:
    found = deployed(town.chain.ledger.view, "market")
    assert found is not None
    assert found[0] == 2
    assert town.view("market", "current_edition") == 2
    assert town.view("governance", "proposal", 1)["status"] == "enacted"
    again = town.chain.ledger.simulate("a" * 40, [call("market", "migrate", 1)], 1_000_000)
    assert (again.ok, again.code) == (False, "NOT_GOVERNANCE")


def test_the_new_rule_holds_from_noon_and_not_before(town: ChainTown) -> None:
    other = ChainTown.new(0, 96)
    other.play_day(upgrade=False)
    before, after = prices(other), prices(town)
    first = town.day.slots.start + NOON - 1  # the gate of the slot before noon closes just after the change
    morning = {slot: price for slot, price in before.items() if slot < first}
    assert morning == {slot: price for slot, price in after.items() if slot < first} != {}
    afternoon = [slot for slot in before if slot >= first]
    assert all(after[slot] <= before[slot] for slot in afternoon)
    assert (
        sum(after[slot] < before[slot] for slot in afternoon) > 5
    )  # else a rejected bid or the margin itself sets the price


def prices(played: ChainTown) -> dict[int, int]:
    return {trade.slot: trade.price_micros_per_kwh for trade in played.book.trades}


# --- replay


def test_the_whole_day_gives_the_same_roots_receipts_and_gas_on_every_interpreter(
    town: ChainTown, blocks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = run_on_each(tmp_path, "devnet.replay", "--blocks", str(blocks))
    with capsys.disabled():
        print(f"\na whole day: {announce(outputs)}")
    reports = {name: json.loads(output) for name, output in outputs.items()}
    agreed = {
        json.dumps({k: v for k, v in report.items() if k not in ("python", "seconds", "verifier")})
        for report in reports.values()
    }
    assert len(agreed) == 1, reports
    report = json.loads(agreed.pop())
    _, pairs = read_blocks(blocks)
    assert report["height"] == len(list(pairs)) >= 100
    assert (report["transactions"] > 2_000, report["reverted"]) == (True, 0)
    assert {report["python"][:4] for report in reports.values()} == {name[:4] for name in outputs}


@pytest.fixture(scope="module")
def morning() -> ChainTown:
    played = ChainTown.new(40, 42)
    played.play_day()
    return played


def home_of(played: ChainTown, folder: Path) -> Path:
    """What a node's home holds of the chain."""
    (folder / "genesis.json").write_text(dump_genesis(played.chain.genesis))
    kv = LevelKV(folder / "db")
    assert isinstance(played.chain.kv, MemoryKV)
    kv.write(played.chain.kv.scan(b"", b"\xff" * 8))
    kv.close()
    return folder


def test_a_home_and_its_exported_blocks_replay_to_the_head_of_the_node(
    morning: ChainTown, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, file = home_of(morning, tmp_path), tmp_path / "blocks"
    exported = answer(capsys, "--home", str(home), "--export", str(file))
    head = morning.chain.ledger.head
    assert exported["blocks"] == head.height
    first = answer(capsys, "--home", str(home))
    second = answer(capsys, "--blocks", str(file))
    assert first["state_root"] == head.state_root.hex()
    assert {**first, "seconds": 0} == {**second, "seconds": 0}


def spoiled(morning: ChainTown, file: Path, change: Any) -> Path:
    pairs = list(stored_blocks(morning.chain.kv))
    write_blocks(file, dump_genesis(morning.chain.genesis), change(pairs))
    return file


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda pairs: [pairs[0], *pairs[2:]], "block 2 is refused"),
        (lambda pairs: [(pairs[0][0], pairs[1][1]), *pairs[1:]], "block 1 is refused"),
        (lambda pairs: [(pairs[0][0][:-1], pairs[0][1])], "block 1 is damaged"),
        (lambda pairs: [(pairs[0][0], pairs[0][1][:-3])], "block 1 is damaged"),
        (lambda pairs: [("text", 5)], "the file of blocks is damaged"),
    ],
)
def test_a_chain_that_was_changed_is_refused_at_the_block(
    morning: ChainTown, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Any, what: str
) -> None:
    found = answer(capsys, "--blocks", str(spoiled(morning, tmp_path / "blocks", change)))
    assert found["error"].startswith(what)


def test_another_file_or_folder_is_refused_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file"
    for content in (b"", b"\xc1", msgpack.packb("something"), b"text"):
        file.write_bytes(content)
        assert "--export" in answer(capsys, "--blocks", str(file))["error"]
    assert "no node's home" in answer(capsys, "--home", str(tmp_path))["error"]
    (tmp_path / "genesis.json").write_text("{}")
    assert "never started" in answer(capsys, "--home", str(tmp_path))["error"]


def test_libsodium_called_directly_judges_signatures_as_the_node_does() -> None:
    direct, key = _libsodium(), key_of("alice")
    public_key = key.verify_key.encode()
    for message in (b"", b"message", bytes(300)):
        signature = key.sign(message).signature
        for wrong in (signature, signature[:-1], bytes(64), signature[:63] + b"\x10"):
            for pub in (public_key, bytes(32), public_key[:31]):
                assert direct(pub, message, wrong) == verify(pub, message, wrong)
        assert direct(public_key, message, signature)
