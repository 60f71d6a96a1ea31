"""A genesis from a running node: taken where its hash is the one that was told, and from nobody else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from chain.genesis import dump_genesis, load_genesis
from gridbft.v1 import client_pb2 as pb
from gridbft.v1.client_pb2_grpc import add_LedgerServiceServicer_to_server
from node.certs import make_tls_identity, utc_now
from node.cli import main
from node.config import read_config
from node.consortium import genesis_hash
from node.genesisfetch import WrongGenesisError, checked
from node.home import Home, load_home
from tests.gridbft.unserved import Unserved
from tests.node.localnet import Localnet, running


def join(home: Path, *words: str) -> Result:
    result = CliRunner().invoke(main, ["join", "--home", str(home), "--name", "new", "--unencrypted", "--json", *words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def last(result: Result) -> Any:
    return json.loads(result.stdout.strip().splitlines()[-1])


@pytest.mark.parametrize("tls", ["off", "on", "clients must show one"])
def test_a_new_home_takes_the_genesis_of_a_running_node(tmp_path: Path, tls: str) -> None:
    net = Localnet.make(tmp_path, 1)
    node = Home(net.homes[0])
    client = make_tls_identity("client", utc_now())
    (tmp_path / "client.crt").write_text(client.certificate)
    (tmp_path / "client.key").write_text(client.private_key)
    words: list[str] = []
    text = node.config.read_text()
    if tls != "off":
        text, words = text.replace("tls = false", "tls = true"), ["--tls"]
    if tls == "clients must show one":
        text = text.replace('\nca = ""', f'\nca = "{tmp_path / "client.crt"}"')
        words = ["--tls-cert", str(tmp_path / "client.crt"), "--tls-key", str(tmp_path / "client.key")]
    node.config.write_text(text)
    source = read_config(node.config).client_address
    new = Home(tmp_path / "new")
    told = sha256(node.genesis.read_bytes()).hexdigest()

    async def play() -> tuple[Result, Result]:
        async with running(*net.homes):
            lie = await asyncio.to_thread(join, new.path, "--genesis-from", source, "--genesis-hash", "00" * 32, *words)
            assert not new.path.exists()
            return lie, await asyncio.to_thread(
                join, new.path, "--genesis-from", source, "--genesis-hash", told.upper(), *words
            )

    lie, done = asyncio.run(play())
    assert (lie.exit_code, last(lie)["error"]) == (1, "WRONG_GENESIS")
    assert (done.exit_code, last(done)["chain_id"]) == (0, net.genesis.chain_id)
    assert new.genesis.read_bytes() == node.genesis.read_bytes()
    assert load_home(new.path).member is None


class Server(Unserved):
    def __init__(self, answer: bytes | None) -> None:
        self._answer = answer

    def GetGenesis(self, request: pb.GetGenesisRequest, context: grpc.ServicerContext) -> pb.GetGenesisResponse:  # noqa: N802
        if self._answer is None:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "not in this release")
        return pb.GetGenesisResponse(genesis=self._answer)


@contextmanager
def serving(answer: bytes | None) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(1))
    add_LedgerServiceServicer_to_server(Server(answer), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def test_a_node_that_lies_or_is_of_an_older_release_or_away_leaves_no_home(tmp_path: Path) -> None:
    genesis = dump_genesis(Localnet.make(tmp_path / "net", 1).genesis).encode()
    other = dump_genesis(Localnet.make(tmp_path / "other", 1).genesis).encode()
    told = sha256(genesis).hexdigest()
    new = tmp_path / "new"
    for answer, code, sentence in (
        (other, "WRONG_GENESIS", f"not {told}: it is another network's, or the node lies"),
        (genesis + b" ", "WRONG_GENESIS", "nothing was written"),
        (None, "NODE_UNAVAILABLE", "copy the file from a member"),
    ):
        with serving(answer) as address:
            refused = join(new, "--genesis-from", address, "--genesis-hash", told)
            assert (refused.exit_code, last(refused)["error"]) == (1, code)
            assert sentence in last(refused)["message"]
    for words in ((), ("--tls",)):
        away = join(new, "--genesis-from", address, "--genesis-hash", told, *words)
        assert (away.exit_code, last(away)["error"]) == (1, "NODE_UNAVAILABLE")
    assert not new.exists()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_genesis_of_the_hash_that_was_told_or_refused(raw: bytes) -> None:
    with pytest.raises(WrongGenesisError):
        checked(raw, bytes(32), "there")
    with pytest.raises(WrongGenesisError, match="is no genesis"):
        checked(raw, sha256(raw).digest(), "there")


def test_the_hash_is_what_sha256sum_says_of_the_file(tmp_path: Path) -> None:
    net = Localnet.make(tmp_path, 1)
    file = Home(net.homes[0]).genesis
    assert genesis_hash(load_genesis(file.read_text())) == sha256(file.read_bytes()).digest()
    shown = CliRunner().invoke(main, ["genesis", "check", str(file), "--json"])
    assert last(shown)["genesis_hash"] == sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "give the network's genesis by --genesis FILE, or by --genesis-from"),
        (("--genesis", "FILE", "--genesis-from", "a:1"), "give the network's genesis by"),
        (("--genesis-from", "a:1"), "needs --genesis-hash HEX"),
        (("--genesis-from", "a", "--genesis-hash", "00" * 32), "expected HOST:PORT"),
        (("--genesis-from", "a:1", "--genesis-hash", "00"), "expected a SHA-256 of 64 hexadecimal characters"),
    ],
)
def test_what_is_missing_or_wrong_is_told(tmp_path: Path, words: tuple[str, ...], sentence: str) -> None:
    refused = join(tmp_path / "new", *words)
    assert (refused.exit_code, sentence in last(refused)["message"]) == (2, True)


def test_a_file_is_held_to_the_hash_too(tmp_path: Path) -> None:
    file = Home(Localnet.make(tmp_path, 1).homes[0]).genesis
    refused = join(tmp_path / "new", "--genesis", str(file), "--genesis-hash", "00" * 32)
    assert last(refused)["error"] == "WRONG_GENESIS"
    told = sha256(file.read_bytes()).hexdigest()
    assert join(tmp_path / "new", "--genesis", str(file), "--genesis-hash", told).exit_code == 0


def test_a_genesis_larger_than_a_message_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = Localnet.make(tmp_path, 1)
    source = read_config(Home(net.homes[0]).config).client_address
    monkeypatch.setattr("node.rpc.MAX_GENESIS_BYTES", 100)

    async def play() -> Result:
        async with running(*net.homes):
            return await asyncio.to_thread(
                join, tmp_path / "new", "--genesis-from", source, "--genesis-hash", "00" * 32
            )

    refused = asyncio.run(play())
    assert refused.exit_code == 1
    assert "more than a message holds: copy the file from a member" in last(refused)["message"]
