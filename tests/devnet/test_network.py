"""A local network's folder: who is in it, what others may read of it, and what is refused."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from chain.genesis import load_genesis
from devnet.network import (
    NetworkError,
    base_port,
    create_network,
    load_network,
    node_names,
    participant_wallet,
)
from devnet.processes import running_pid, start_node
from devnet.up import prepare, wipe
from gridbft.wallet import OPEN_MARK
from node.home import load_home


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "net"


@pytest.mark.parametrize("count", [1, 2, 4, 5, 9])
def test_node_names_are_different_and_begin_with_the_four(count: int) -> None:
    names = [name for name, _ in node_names(count)]
    assert len(set(names)) == count
    assert names[:4] == ["utility-1", "utility-2", "dso-1", "dso-2"][:count]
    assert names[4:6] == ["utility-3", "dso-3"][: max(count - 4, 0)]
    assert all(name.startswith(role) for name, role in node_names(count))


def test_every_home_is_a_member_of_the_one_genesis(folder: Path) -> None:
    network = create_network(folder, 3, 7101)
    genesis = load_genesis((folder / "genesis.json").read_text(encoding="utf-8"))
    assert [member.name for member in genesis.members] == [node.name for node in network.nodes]
    for node in network.nodes:
        home = load_home(node.home)
        assert home.genesis == genesis.without_calls()
        assert home.member is not None
        assert (home.member.name, home.config.client_address) == (node.name, node.client_address)
    assert load_network(folder) == network


def test_secrets_are_readable_by_their_owner_only(folder: Path) -> None:
    network = create_network(folder, 1, 7101)
    home = network.nodes[0].home
    secret = [home / "node.key", home / "tls.key", *(f for f in (folder / "keys").iterdir() if f.name != OPEN_MARK)]
    assert len(secret) == 6
    assert {file.stat().st_mode & 0o077 for file in secret} == {0}


def test_participants_keys_follow_from_the_networks_own_secret(folder: Path) -> None:
    network = create_network(folder, 1, 7101)
    assert network.participant("7").address == network.participant("7").address
    assert network.participant("7").address != network.participant("8").address
    assert participant_wallet("00" * 32, "7").address != participant_wallet("01" * 32, "7").address


def test_a_standing_network_is_kept_and_another_size_needs_fresh(folder: Path) -> None:
    network = prepare(folder, 2, fresh=False)
    assert prepare(folder, None, fresh=False) == network
    assert prepare(folder, 2, fresh=False) == network
    with pytest.raises(NetworkError, match="--fresh --nodes 3"):
        prepare(folder, 3, fresh=False)
    assert prepare(folder, None, fresh=True).chain_id != network.chain_id


def test_a_network_that_was_never_finished_is_made_anew(folder: Path) -> None:
    prepare(folder, 1, fresh=False)
    (folder / "network.json").unlink()
    assert len(prepare(folder, 1, fresh=False).nodes) == 1


def test_a_folder_of_something_else_is_never_removed(folder: Path) -> None:
    folder.mkdir()
    (folder / "thesis.txt").write_text("ten years", encoding="utf-8")
    with pytest.raises(NetworkError, match="not a network's folder"):
        wipe(folder)
    assert (folder / "thesis.txt").exists()


def test_a_damaged_network_file_is_told_in_a_sentence(folder: Path) -> None:
    create_network(folder, 1, 7101)
    (folder / "network.json").write_text('{"nodes": 7}', encoding="utf-8")
    with pytest.raises(NetworkError, match=r"up\.sh --fresh"):
        load_network(folder)


def test_a_taken_port_is_told_in_a_sentence(folder: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        node = create_network(folder, 1, other.getsockname()[1]).nodes[0]
        with pytest.raises(NetworkError, match="another program uses that port"):
            start_node(node)
    assert running_pid(node) is None


def test_a_pid_that_another_program_took_over_is_not_ours(folder: Path) -> None:
    node = create_network(folder, 1, 7101).nodes[0]
    (node.home / "node.pid").write_text("1\n", encoding="ascii")
    assert running_pid(node) is None
    (node.home / "node.pid").write_text("nonsense", encoding="ascii")
    assert running_pid(node) is None


@pytest.mark.parametrize("value", ["", "x", "80", "65500", "-1"])
def test_an_impossible_base_port_is_told_in_a_sentence(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRIDBFT_BASE_PORT", value)
    with pytest.raises(NetworkError, match="GRIDBFT_BASE_PORT"):
        base_port()
