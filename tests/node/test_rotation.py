"""A validator's key changes over: crash-safe on the disk, and in a running network without a stop."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from devnet.chaos_site import free_first_port
from devnet.network import Network, create_network
from devnet.processes import log_tail, running_pid, start_node, stop_nodes
from devnet.up import wait_ready
from gridbft import Client, Wallet
from gridbft.errors import WalletError
from node.home import Home
from node.rotation import MARK, change_over, finish, is_due, next_key
from node.signer import FileSigner
from tests.node.localnet import Localnet

PATIENCE_S = 60.0


@pytest.fixture
def home(tmp_path: Path) -> Home:
    found = Home(Localnet.make(tmp_path, 1).homes[0])
    found.guard.write_bytes(b"")
    found.wal.write_bytes(b"what the old key promised")
    Wallet.generate("next").save(next_key(found))
    return found


def test_a_key_is_due_when_it_is_a_member_no_longer_and_another_lies_ready(home: Home) -> None:
    own = Wallet.load(home.key).public_key
    assert is_due(home, own, ())
    next_key(home).unlink()
    assert not is_due(home, own, ())


def test_after_the_change_over_the_new_key_stands_with_an_empty_guard_and_the_old_ones_files_beside(home: Home) -> None:
    old, new = Wallet.load(home.key), Wallet.load(next_key(home))
    change_over(home)
    assert Wallet.load(home.key).address == new.address
    assert Wallet.load(home.path / f"node.key.{old.address}").address == old.address
    assert (home.path / f"wal.{old.address}").read_bytes() == b"what the old key promised"
    assert (home.path / f"signer.log.{old.address}").exists()
    signer = FileSigner.open("c", new.sign, home.guard, has_chain=True)
    assert signer.last == (0, 0, 0)
    signer.close()
    assert not finish(home)


@pytest.mark.parametrize("steps", range(5))
def test_a_change_over_that_was_cut_off_is_finished_at_the_start(
    home: Home, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Power goes after any number of renames."""
    new = Wallet.load(next_key(home))
    left = [steps]

    def cut(real: Any) -> Any:
        def guarded(*words: Any) -> Any:
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
            return real(*words)

        return guarded

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", cut(Path.rename))
        patched.setattr("os.replace", cut(shutil.os.replace))  # type: ignore[attr-defined]
        try:
            change_over(home)
        except KeyboardInterrupt:
            assert (home.path / MARK).exists()
    finish(home)
    assert Wallet.load(home.key).address == new.address
    assert home.guard.read_bytes() == b""
    assert not home.wal.exists()
    assert not (home.path / MARK).exists()


def test_a_damaged_mark_stops_the_start(home: Home) -> None:
    (home.path / MARK).write_text("../../x")
    with pytest.raises(WalletError, match="is damaged"):
        finish(home)
    assert home.key.is_file()


def _gridbft(*words: object) -> Any:
    program = Path(sys.executable).parent / "gridbft"
    command = [sys.executable, str(program), *map(str, words), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_a_running_validator_changes_its_key_and_signs_with_the_new_one_while_the_network_decides(
    tmp_path: Path,
) -> None:
    network = create_network(tmp_path / "net", 4, free_first_port(4))
    try:
        for node in network.nodes:
            start_node(node)
        asyncio.run(wait_ready(network))
        first = network.nodes[0]
        pid = running_pid(first)
        made = _gridbft("keys", "rotate", "--consensus", "--home", first.home, "--new-name", "utility-1b")
        for node in network.nodes[1:3]:
            _gridbft("gov", "vote", *made["proposals"], "--yes", "--home", node.home)
        asyncio.run(_until_it_signs(network, bytes.fromhex(made["address"])))
        assert running_pid(first) == pid  # it never went away
        assert Wallet.load(Home(first.home).key).address == made["address"]
    finally:
        stop_nodes(network.nodes)


async def _until_it_signs(network: Network, address: bytes) -> None:
    """Transactions go on through the others; the new key's signature is in a commit at last."""
    from chain.wire import decode_commit
    from consensus.types import CommitStatus

    deadline = time.monotonic() + PATIENCE_S
    operator = network.keyring.get("operator")
    async with Client(network.addresses[1:], operator) as client:
        while True:
            assert time.monotonic() < deadline, log_tail(network.nodes[0])
            receipt = await client.call("payments", "mint", operator.address, 1, "meanwhile")
            assert receipt.ok
            commit = decode_commit((await client.block()).commit_bytes)
            if any(e.validator == address and e.status is CommitStatus.COMMIT for e in commit.entries):
                return
