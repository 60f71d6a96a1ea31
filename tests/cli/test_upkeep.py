"""Commands on a stopped node's files, and a validator's own: on real homes of a network of one."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from chain.leveldb import LevelKV
from chain.receipt import pack_list
from chain.stateproof import PAGE_RECORDS
from chain.staterecord import STATE, TREE, encode_record, record_key
from chain.store import BLOCK, COMMIT, RECEIPTS, at_height
from gridbft.v1 import client_pb2 as pb
from gridbft.wallet import Wallet
from node.cli import main
from node.home import Home
from node.snapshots import SnapshotFolder
from tests.node.localnet import Localnet, Running, running, until

ALICE = Wallet.from_seed(b"\x0a" * 32, "alice")
CONFIG = {"proof_block_ms": 5, "heartbeat_ms": 100, "snapshot_interval": 4}


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(w) for w in words])


def answer(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


async def grow(net: Localnet, node: Running, height: int) -> None:
    nonce = (await node.stub.GetAccount(pb.GetAccountRequest(address=ALICE.address_bytes))).nonce
    while node.node.host.ledger.head.height < height:
        response = await node.stub.Submit(pb.SubmitRequest(tx=net.tx(ALICE, nonce), wait=True))
        assert not response.verdict.code, response.verdict
        nonce += 1


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A node that decided some blocks, and stopped."""
    net = Localnet.make(tmp_path, 1)

    async def play() -> None:
        async with running(*net.homes, **CONFIG) as nodes:
            await grow(net, nodes[0], 12)
            await until(lambda: bool(SnapshotFolder(Home(net.homes[0]).snapshots).heights()))

    asyncio.run(play())
    return net.homes[0]


def test_the_doctor_finds_nothing_in_a_sound_home_and_it_is_sound_after_pruning_and_rolling_back(home: Path) -> None:
    first = run("doctor", "--home", home, "--json")
    assert first.exit_code == 0, first.output
    assert answer(first)["ok"]
    pruned = answer(run("prune", "--home", home, "--keep", "5", "--json"))
    assert pruned["blocks"] >= 7
    rolled = answer(run("rollback", "--home", home, "--json"))
    assert rolled["height"] == pruned["earliest_height"] + 3
    again = run("doctor", "--home", home, "--json")
    assert again.exit_code == 0, again.output

    async def start_again() -> int:
        async with running(home, **CONFIG) as nodes:
            ledger = nodes[0].node.host.ledger
            await until(lambda: ledger.head.height > rolled["height"])
            return ledger.head.height

    assert asyncio.run(start_again()) > rolled["height"]


def _store(change: Callable[[LevelKV], None]) -> Callable[[Home], None]:
    def damage(home: Home) -> None:
        kv = LevelKV(home.db)
        change(kv)
        kv.close()

    return damage


def _flip(key: bytes) -> Callable[[LevelKV], None]:
    def change(kv: LevelKV) -> None:
        raw = bytearray(kv.get(key) or b"")
        raw[len(raw) // 2] ^= 1
        kv.write([(key, bytes(raw))])

    return change


def _append(home: Home) -> None:
    home.guard.write_bytes(home.guard.read_bytes()[:-1] + b"\x00")
    data = bytearray(home.guard.read_bytes())
    data[3] ^= 1
    home.guard.write_bytes(bytes(data))


DAMAGE: dict[str, tuple[Callable[[Home], object], str, str]] = {
    "config": (lambda h: h.config.write_text("name = 5\n"), "config.toml", "expected"),
    "genesis": (lambda h: h.genesis.write_text("{}"), "genesis.json", "another member"),
    "key": (lambda h: h.key.write_text("{}"), "node.key", "backup"),
    "open key": (lambda h: h.key.chmod(0o644), "node.key", "chmod 600"),
    "certificate": (lambda h: h.tls_certificate.write_text("x"), "tls.crt", "restore"),
    "log": (lambda h: h.wal.write_bytes(b"nonsense" * 20), "wal", "another file"),
    "guard": (_append, "signer.log", "damaged"),
    "no guard": (lambda h: h.guard.unlink(), "signer.log", "missing"),
    "block": (_store(_flip(at_height(BLOCK, 3))), "db", "block 3"),
    "commit": (_store(_flip(at_height(COMMIT, 4))), "db", "block 4"),
    "receipts": (
        _store(lambda kv: kv.write([(at_height(RECEIPTS, 2), pack_list([b"x"]))])),
        "db",
        "block 2: its receipts",
    ),
    "lost block": (_store(lambda kv: kv.write([], [at_height(BLOCK, 5)])), "db", "block 5: it is missing"),
    "state": (
        _store(lambda kv: kv.write([(record_key(b"$params"), encode_record(b"$params", b"other"))])),
        "db",
        "root",
    ),
    "record of the state": (
        _store(lambda kv: kv.write([], [next(kv.scan(STATE, STATE + b"\xff"))[0]])),
        "db",
        "state",
    ),
    "row of the tree": (_store(lambda kv: kv.write([(TREE, b"other")])), "db", "state"),
    "head": (_store(_flip(b"mhead")), "db", "head"),
    "snapshot": (
        # A whole one: the node may have stopped while it wrote another, which lies in a folder of another name.
        lambda h: (h.snapshots / str(SnapshotFolder(h.snapshots).heights()[0]) / "0").write_bytes(b"other"),
        "snapshots/",
        "chunk 0",
    ),
}


@pytest.mark.parametrize("kind", list(DAMAGE))
def test_the_doctor_names_what_is_damaged_and_says_what_to_do(sound: Path, tmp_path: Path, kind: str) -> None:
    damage, part, words = DAMAGE[kind]
    home = Home(_copy(sound, tmp_path / "copy"))
    damage(home)
    result = run("doctor", "--home", home.path, "--json")
    assert result.exit_code == 1, result.output
    wrong = [f for f in answer(result)["findings"] if f["wrong"]]
    assert any(f["part"].startswith(part) and words in f["text"] for f in wrong), wrong


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One sound home for all tests that damage a copy of it, with more state than a page of the tree holds."""
    net = Localnet.make(tmp_path_factory.mktemp("sound"), 1)
    wallets = [Wallet.from_seed(number.to_bytes(32, "big"), "one of many") for number in range(PAGE_RECORDS)]

    async def play() -> None:
        async with running(*net.homes, **CONFIG) as nodes:
            await asyncio.gather(*[nodes[0].stub.Submit(pb.SubmitRequest(tx=net.tx(w, 0), wait=True)) for w in wallets])
            await grow(net, nodes[0], 6)
            await until(lambda: bool(SnapshotFolder(Home(net.homes[0]).snapshots).heights()))

    asyncio.run(play())
    return net.homes[0]


def _copy(home: Path, to: Path) -> Path:
    shutil.copytree(home, to)
    return to


def test_commands_for_stopped_nodes_refuse_a_running_one_and_an_empty_folder(tmp_path: Path) -> None:
    net = Localnet.make(tmp_path, 1)

    async def play() -> list[Result]:
        async with running(*net.homes, **CONFIG):
            words = (("prune", "--keep", "10"), ("rollback",), ("doctor",))
            return [await asyncio.to_thread(run, *w, "--home", net.homes[0], "--json") for w in words]

    for result in asyncio.run(play()):
        assert result.exit_code == 1
        assert "stop that one first" in answer(result)["message"]
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run("rollback", "--home", empty).exit_code == 1
    assert "no node's home" in run("doctor", "--home", empty).output


def test_a_validator_proposes_votes_looks_and_halts_the_chain(tmp_path: Path) -> None:
    net = Localnet.make(tmp_path, 1)

    async def play() -> None:
        async with running(*net.homes, **CONFIG) as nodes:

            async def ask(*words: str) -> dict[str, Any]:
                result = await asyncio.to_thread(run, *words, "--home", net.homes[0], "--json")
                assert result.exit_code == 0, result.output
                return answer(result)

            assert (await ask("gov", "propose", "parameter", "max_block_transactions", "77"))["result"] == 1
            listed = (await ask("gov", "list"))["proposals"]
            assert [(p["id"], p["kind"], p["status"]) for p in listed] == [(1, "parameter", "passed")]
            assert (await ask("gov", "show", "1"))["proposal"]["subject"]["value"] == 77
            assert (await ask("evidence"))["evidence"] == []
            closed = await asyncio.to_thread(run, "gov", "vote", "1", "--yes", "--home", net.homes[0], "--json")
            assert closed.exit_code == 1
            assert "PROPOSAL_CLOSED" in closed.output
            ledger = nodes[0].node.host.ledger
            height = ledger.head.height + 4
            assert (await ask("halt", "--height", str(height)))["ok"]
            await until(lambda: ledger.head.height == height)
            assert ledger.system.halt_height == height
            nobody = await asyncio.to_thread(run, "halt", "--height", "9", "--nodes", "127.0.0.1:1")
            assert nobody.exit_code == 2

    asyncio.run(play())
