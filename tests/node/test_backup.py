"""A backup of a running node is whole, proves itself, and brings a validator back without letting it sign twice."""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.leveldb import LevelKV
from chain.memory import MemoryKV
from chain.statetree import StateTree
from chain.store import HEAD, BlockStore, encode_head
from consensus.types import ValidatorId
from node.backup import LAST_KEY, BackupError, Reader, frames, restore, write_file
from node.cli import main
from node.control import SOCKET
from node.home import Home, load_home
from tests.chain.network import Chain, genesis, pay
from tests.node.localnet import Localnet, running, start, until
from tests.node.test_members import FAST, height, keep_busy, signs

NOW = 1_700_000_000_000


def gridbft(*words: str) -> Result:
    result = CliRunner().invoke(main, list(words))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def quiet(text: str) -> None:
    return None


@pytest.fixture(scope="module")
def chain() -> Chain:
    c = Chain(genesis())
    for _ in range(4):
        c.grow(c.tx("alice", pay("bob", 10)))
    return c


@pytest.fixture(scope="module")
def backup(chain: Chain) -> bytes:
    return b"".join(frames(chain.kv, chain.genesis.chain_id, NOW))


def restored(raw: bytes, folder: Path, chain: Chain) -> Home:
    """A home with nothing but a chain, in a folder that is made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "file").write_bytes(raw)
    home = Home(folder / "home")
    home.path.mkdir()
    restore(folder / "file", home, chain.genesis, False, quiet)
    return home


def test_a_running_nodes_backup_brings_a_wiped_validator_back_which_is_silent_until_it_is_safe(tmp_path: Path) -> None:
    async def scenario() -> None:
        net = Localnet.make(tmp_path, 4)
        lost = Home(net.homes[3])
        me = load_home(lost.path).wallet.address_bytes
        file = tmp_path / "backup"
        async with running(*net.homes, **FAST) as nodes:
            traffic = asyncio.create_task(keep_busy(net, nodes[0]))
            await until(lambda: height(nodes[3]) > 5)
            words = ["backup", "--home", str(lost.path), "--to", str(file), "--json"]
            taken = await asyncio.to_thread(gridbft, *words)
            assert taken.exit_code == 0, taken.output
            at = json.loads(taken.output.splitlines()[-1])["height"]
            assert at >= 5
            await until(lambda: height(nodes[3]) > at + 3)

            await nodes[3].stop()
            shutil.rmtree(lost.db)
            lost.wal.unlink()
            lost.guard.unlink()
            back = await asyncio.to_thread(gridbft, "restore", str(file), "--home", str(lost.path), "--json")
            assert back.exit_code == 0, back.output
            assert json.loads(back.output.splitlines()[-1])["height"] == at
            assert lost.guard.read_bytes() == b""  # this disk remembers nothing, and says so

            nodes[3] = await start(lost.path, **FAST)
            assert height(nodes[3]) >= at
            assert not nodes[3].node.host.replica.is_voting
            await until(lambda: nodes[3].node.host.replica.is_voting and signs(nodes[0], ValidatorId(me)))
            traffic.cancel()
            await asyncio.gather(traffic, return_exceptions=True)

    asyncio.run(scenario())


def test_a_stopped_nodes_backup_is_taken_from_its_files_and_never_overwrites_another(tmp_path: Path) -> None:
    async def scenario() -> Localnet:
        net = Localnet.make(tmp_path, 1)
        async with running(*net.homes, **FAST) as nodes:
            await until(lambda: height(nodes[0]) >= 3)
        return net

    home = str(asyncio.run(scenario()).homes[0])
    first = gridbft("backup", "--home", home, "--to", str(tmp_path / "one"))
    assert first.exit_code == 0, first.output
    second = gridbft("backup", "--home", home, "--to", str(tmp_path / "one"))
    assert second.exit_code == 2
    assert "exists already" in second.output
    held = gridbft("restore", str(tmp_path / "one"), "--home", home)
    assert held.exit_code == 1
    assert "holds a chain already" in held.output


def test_what_is_restored_is_the_store_that_was_backed_up(chain: Chain, backup: bytes, tmp_path: Path) -> None:
    home = restored(backup, tmp_path / "r", chain)
    kv = LevelKV(home.db)
    try:
        assert dict(kv.scan(b"", LAST_KEY)) == dict(chain.kv.scan(b"", LAST_KEY))
    finally:
        kv.close()


def test_a_guard_that_is_there_is_never_replaced(chain: Chain, backup: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(backup)
    home = Home(tmp_path)
    home.guard.write_bytes(b"what was signed")
    restore(tmp_path / "file", home, chain.genesis, False, quiet)
    assert home.guard.read_bytes() == b"what was signed"


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_backup_is_refused_and_leaves_nothing(
    data: st.DataObject, chain: Chain, backup: bytes, tmp_path_factory: Any
) -> None:
    at = data.draw(st.integers(0, len(backup) - 1))
    kind = data.draw(st.sampled_from(["flip", "cut", "more"]))
    bad = {
        "flip": backup[:at] + bytes([backup[at] ^ data.draw(st.integers(1, 255))]) + backup[at + 1 :],
        "cut": backup[:at],
        "more": backup + b"x",
    }[kind]
    folder = tmp_path_factory.getbasetemp() / "damaged"
    with pytest.raises(BackupError):
        restored(bad, folder, chain)
    assert sorted(f.name for f in (folder / "home").iterdir()) == []


@pytest.mark.parametrize(("by_last_block", "reason"), [(False, "what undoes block 4"), (True, "gives another state")])
def test_money_that_was_added_to_a_backup_is_found(
    by_last_block: bool, reason: str, chain: Chain, tmp_path: Path
) -> None:
    """The forger keeps every root of its own right: only what the validators signed gives it away."""
    kv = MemoryKV()
    kv.write(chain.kv.scan(b"", LAST_KEY))
    head = BlockStore(kv).head()
    assert head is not None
    touched = dict(BlockStore(kv).undo(head.height) or ())
    key, value = next(
        (k, v)
        for k, v in BlockStore(kv).state_entries()
        if k.startswith(b"payments") and (k in touched) == by_last_block
    )
    change = StateTree(kv, head.state_root).plan({key: value + b"\x00"})
    kv.write([*change.puts, (HEAD, encode_head(replace(head, state_root=change.root)))], change.deletes)
    raw = b"".join(frames(kv, chain.genesis.chain_id, NOW))
    with pytest.raises(BackupError, match=reason):
        restored(raw, tmp_path / "r", chain)


def test_a_backup_of_another_chain_is_refused(backup: bytes, tmp_path: Path) -> None:
    other = Chain(genesis(contracts=()))
    with pytest.raises(BackupError, match="the file is of chain test-"):
        restored(backup, tmp_path / "r", other)


def test_a_chain_of_other_validators_under_this_chains_name_is_refused(chain: Chain, tmp_path: Path) -> None:
    """All signatures fit, but nobody of the genesis made them."""
    others = replace(chain.genesis, members=chain.genesis.members[:3])
    forged = Chain(others)
    forged.grow()
    forged.grow()
    raw = b"".join(frames(forged.kv, chain.genesis.chain_id, NOW))
    with pytest.raises(BackupError, match="validators that the chain had then"):
        restored(raw, tmp_path / "r", chain)


def test_there_is_nothing_to_back_up_before_the_first_block() -> None:
    fresh = Chain(genesis())
    with pytest.raises(BackupError, match="stands at its genesis"):
        frames(fresh.kv, fresh.genesis.chain_id, NOW)


def test_a_backup_shows_the_store_as_it_stood_when_it_began(tmp_path: Path) -> None:
    c = Chain(genesis())
    c.grow()
    pieces = frames(c.kv, c.genesis.chain_id, NOW)
    c.grow(c.tx("alice", pay("bob", 10)))
    write_file(pieces, tmp_path / "file")
    with (tmp_path / "file").open("rb") as file:
        assert Reader(file).about.height == 1
    assert restore(tmp_path / "file", Home(tmp_path), c.genesis, False, quiet).height == 1


def test_a_file_that_could_not_be_written_whole_is_not_there(tmp_path: Path) -> None:
    def pieces() -> Any:
        yield b"begun"
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_file(pieces(), tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_only_the_nodes_own_user_may_ask_it_and_whatever_else_is_asked_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        net = Localnet.make(tmp_path, 1)
        async with running(*net.homes, **FAST):
            control = net.homes[0] / SOCKET
            assert control.stat().st_mode & 0o777 == 0o600
            reader, writer = await asyncio.open_unix_connection(str(control))
            writer.write(b"keys\n")
            assert await reader.read() == b"error: the node knows only the request `backup`"
            writer.close()
        assert not control.exists()

    asyncio.run(scenario())


def test_a_home_on_a_file_system_without_sockets_is_served_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: object) -> None:
        raise OSError(95, "Operation not supported")

    async def scenario() -> None:
        net = Localnet.make(tmp_path, 1)
        monkeypatch.setattr("node.control.ControlServer._listener", refuse)
        async with running(*net.homes, **FAST) as nodes:
            await until(lambda: height(nodes[0]) > 2)
            taken = await asyncio.to_thread(gridbft, "backup", "--home", str(net.homes[0]), "--to", str(tmp_path / "b"))
            assert taken.exit_code == 1
            assert "stop it first" in taken.output
            assert not (tmp_path / "b").exists()

    asyncio.run(scenario())
