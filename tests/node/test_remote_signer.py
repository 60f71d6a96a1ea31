"""The remote signer: real processes, its own guard, and a node that is silent without it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from consensus.types import BlockId, Height, Proposal, Round, ValidatorId, Vote, VoteKind
from node import ed25519
from node.certs import certificate_digest
from node.cli import main
from node.config import read_config
from node.home import Home, HomeError, load_home
from node.recovery import FORGOTTEN
from node.remotesigner import RemoteSigner, SignerLostError, recall
from node.signer import Refused, sign_bytes_of
from node.signerwire import (
    MAX_FRAME_BYTES,
    Identity,
    MalformedError,
    No,
    Reply,
    Request,
    Signature,
    SignHello,
    SignMessage,
    WhoAreYou,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
)
from tests.node.localnet import Localnet, running, until

PATIENCE_S = 20.0
NOBODY = ValidatorId(b"")
ONE, TWO = BlockId(b"\x01" * 32), BlockId(b"\x02" * 32)

ids = st.binary(min_size=32, max_size=32).map(BlockId)
heights = st.integers(1, 2**63 - 1).map(Height)
rounds = st.integers(1, 2**31 - 1)
votes = st.builds(Vote, st.sampled_from(VoteKind), heights, rounds.map(Round), st.none() | ids, st.just(NOBODY))
proposals = rounds.flatmap(
    lambda r: st.builds(Proposal, heights, st.just(Round(r)), ids, st.integers(-1, r - 1).map(Round), st.just(NOBODY))
)
requests = st.just(WhoAreYou()) | st.builds(SignMessage, votes | proposals) | st.builds(SignHello, ids)
replies = (
    st.builds(Identity, ids, st.text(min_size=1, max_size=40), st.tuples(heights, rounds, st.integers(1, 3)))
    | st.builds(Signature, st.binary(min_size=64, max_size=64))
    | st.builds(No, st.text(max_size=80))
)


def _vote(height: int, block_id: BlockId | None = ONE, kind: VoteKind = VoteKind.PREVOTE) -> Vote:
    return Vote(kind, Height(height), Round(0), block_id, NOBODY)


@given(requests)
def test_a_request_is_read_as_it_was_written(request: Request) -> None:
    raw = encode_request(request)
    assert len(raw) <= MAX_FRAME_BYTES
    assert decode_request(raw) == request


@given(replies)
def test_a_reply_is_read_as_it_was_written(reply: Reply) -> None:
    assert decode_reply(encode_reply(reply)) == reply


@given(st.binary(max_size=120), st.sampled_from([b"", b"\x01", b"\x02", b"\x03", b"\x04"]))
def test_any_bytes_are_a_request_or_malformed(raw: bytes, kind: bytes) -> None:
    with suppress(MalformedError):
        assert len(encode_request(decode_request(kind + raw))) <= MAX_FRAME_BYTES
    with suppress(MalformedError):
        assert len(encode_reply(decode_reply(kind + raw))) <= MAX_FRAME_BYTES


@contextmanager
def served(home: Path, path: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    program = Path(sys.executable).parent / "gridbft"
    command = [sys.executable, str(program), "signer", "--home", str(home), "--socket", str(path), *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        wait(lambda: answers(path) or process.poll() is not None)
        yield process
    finally:
        process.kill()
        process.communicate()


def answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def split(tmp_path: Path) -> tuple[Localnet, Path, Path]:
    """A network of one whose key stands in a signer's folder: the network, that folder, the socket."""
    net = Localnet.make(tmp_path, 1)
    vault, path = tmp_path / "vault", tmp_path / "s"
    _split(Home(net.homes[0]), vault, path)
    return net, vault, path


def _split(home: Home, vault: Path, path: Path) -> None:
    vault.mkdir()
    home.key.rename(vault / "node.key")
    (vault / "genesis.json").write_text(home.genesis.read_text())
    home.config.write_text(home.config.read_text().replace('signer = ""', f'signer = "unix:{path}"'))


def test_a_signature_of_the_other_process_is_the_keys(split: tuple[Localnet, Path, Path]) -> None:
    net, vault, path = split
    with served(vault, path, "--new-guard"):
        signer = RemoteSigner(path, net.genesis.chain_id)
        for message in (
            Proposal(Height(3), Round(0), ONE, Round(-1), NOBODY),
            _vote(3),
            _vote(3, None, VoteKind.PRECOMMIT),
        ):
            signed = signer.sign(message)
            assert not isinstance(signed, Refused)
            wanted = sign_bytes_of(net.genesis.chain_id, message)
            assert ed25519.verify(net.genesis.members[0].public_key, wanted, signed.signature)
        signer.close()


def test_the_guard_lives_with_the_signer_whoever_asks_and_however_it_died(split: tuple[Localnet, Path, Path]) -> None:
    net, vault, path = split
    signer = RemoteSigner(path, net.genesis.chain_id)
    with served(vault, path, "--new-guard") as process:
        assert isinstance(signer.sign(_vote(5)), Vote)
        other = RemoteSigner(path, net.genesis.chain_id)
        assert signer.sign(_vote(5, TWO)) == Refused("another message was signed at height 5, round 0, prevote")
        assert isinstance(other.sign(_vote(5, TWO)), Refused)
        other.close()
        process.kill()
        process.wait()
        away = signer.sign(_vote(6))
        assert isinstance(away, Refused)
        assert "this node stays silent" in away.reason
    with served(vault, path):
        again = RemoteSigner(path, net.genesis.chain_id)
        assert isinstance(again.sign(_vote(5, TWO)), Refused)
        assert again.last == (5, 0, 2)
        assert isinstance(again.sign(_vote(6)), Vote)
        again.close()


def test_a_lost_signer_is_tried_again_after_a_pause_and_not_before(split: tuple[Localnet, Path, Path]) -> None:
    net, vault, path = split
    clock = [0.0]
    signer = RemoteSigner(path, net.genesis.chain_id, now=lambda: clock[0])
    assert isinstance(signer.sign(_vote(1)), Refused)
    with served(vault, path, "--new-guard"):
        assert signer.sign(_vote(1)) == Refused(f"the signer at {path} is away: this node stays silent")
        clock[0] = 10.0
        assert isinstance(signer.sign(_vote(1)), Vote)
    signer.close()


def test_a_signer_for_another_chain_or_key_is_none(split: tuple[Localnet, Path, Path]) -> None:
    net, vault, path = split
    with served(vault, path, "--new-guard"):
        with pytest.raises(SignerLostError, match="signs for"):
            RemoteSigner(path, "another-chain").identity()
        with pytest.raises(SignerLostError, match="another key"):
            RemoteSigner(path, net.genesis.chain_id, bytes(32)).identity()


@pytest.mark.parametrize(
    "raw", [b"\x00\x00", b"\xff\xff" + b"x" * 600, b"\x00\x01\x09", b"\x00\x05abcde", b"GET / HTTP/1.1\r\n\r\n"]
)
def test_nonsense_on_the_socket_ends_that_connection_only(split: tuple[Localnet, Path, Path], raw: bytes) -> None:
    net, vault, path = split
    with served(vault, path, "--new-guard") as process:
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.settimeout(PATIENCE_S)
            stranger.connect(str(path))
            stranger.sendall(raw)
            with suppress(ConnectionResetError):  # it closed while our bytes were still under way
                assert stranger.recv(100) == b""
        signer = RemoteSigner(path, net.genesis.chain_id)
        assert isinstance(signer.sign(_vote(1)), Vote)
        signer.close()
        assert process.poll() is None


def test_only_its_user_may_connect_and_a_corpse_makes_room(split: tuple[Localnet, Path, Path]) -> None:
    _, vault, path = split
    with served(vault, path, "--new-guard") as process:
        assert path.stat().st_mode & 0o077 == 0
        process.kill()
        process.wait()
    assert path.exists()
    with served(vault, path) as process:
        with served(vault, path) as second:
            assert second.wait(PATIENCE_S) == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    assert not path.exists()


def test_a_missing_guard_stops_the_signer_unless_the_key_is_said_to_be_new(split: tuple[Localnet, Path, Path]) -> None:
    _, vault, path = split
    with served(vault, path) as process:
        _, errors = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 1
        assert b"if it never has, say --new-guard once" in errors
    with served(vault, path, "--new-guard"):
        pass
    with served(vault, path, "--new-guard") as process:
        _, errors = process.communicate(timeout=PATIENCE_S)
        assert b"stands already" in errors


def test_a_node_decides_with_a_remote_signer_is_silent_without_and_goes_on_with_it(
    split: tuple[Localnet, Path, Path],
) -> None:
    net, vault, path = split
    with pytest.raises(HomeError, match="start `gridbft signer --home DIR"):
        load_home(net.homes[0])

    async def play() -> None:
        with served(vault, path, "--new-guard") as process:
            async with running(*net.homes, heartbeat_ms=100, proof_block_ms=0) as (node,):
                await until(lambda: node.node.host.ledger.head.height >= 3)
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                stood = (await node.status()).height  # it still answers
                with served(vault, path):
                    await until(lambda: node.node.host.ledger.head.height >= stood + 3)
                before = node.node.host.ledger.head.height
                assert (await node.status()).height <= before + 1

    asyncio.run(play())
    home = Home(net.homes[0])
    assert not home.key.exists()
    assert not home.guard.exists()
    loaded = load_home(net.homes[0])  # the signer is away: what it said before will do
    assert loaded.wallet.public_key == net.genesis.members[0].public_key
    certificate = certificate_digest(loaded.tls.certificate)
    kept = recall(home.remote_key, net.genesis.chain_id, certificate)
    assert kept is not None
    assert recall(home.remote_key, "another-chain", certificate) is None
    assert replace(kept, hello_signature=bytes(64)) != kept


# --- what was signed, and whether this disk remembers it --------------------------------------------------------------


def _wipe(home: Home) -> None:
    shutil.rmtree(home.db)
    home.wal.unlink()


def test_a_node_with_a_remote_signer_goes_on_at_once_after_a_restart(split: tuple[Localnet, Path, Path]) -> None:
    net, vault, path = split

    async def play() -> None:
        for height in (3, 6):
            async with running(*net.homes, heartbeat_ms=100, proof_block_ms=0) as (node,):
                async with asyncio.timeout(PATIENCE_S):
                    await node.node.host.tip.reach(height)

    with served(vault, path, "--new-guard"), capture_logs() as lines:
        asyncio.run(play())
    assert not any(line["event"] in ("silent", "sign_refused") for line in lines)


def test_a_wiped_node_votes_again_through_its_signer_when_it_is_past_what_it_could_have_signed(tmp_path: Path) -> None:
    """The guard alone would not do: it knows no locks."""
    net = Localnet.make(tmp_path, 4)
    home, vault, path = Home(net.homes[0]), tmp_path / "vault", tmp_path / "s"
    _split(home, vault, path)

    async def play() -> None:
        async with running(*net.homes[1:], heartbeat_ms=100, proof_block_ms=0) as others:
            async with running(home.path, heartbeat_ms=100, proof_block_ms=0) as (node,):
                await until(lambda: (vault / "signer.log").stat().st_size > 0)  # it joined late, and has signed now
            _wipe(home)
            with capture_logs() as lines:
                async with running(home.path, heartbeat_ms=100, proof_block_ms=0) as (node,):
                    await until(lambda: node.node.host.replica.is_voting)
                    tip = others[0].node.host.ledger.head.height
                    await until(lambda: node.node.host.ledger.head.height >= tip + 2)
            silent = [line for line in lines if line["event"] == "silent"]
            assert [line["last_signed"] for line in silent] == [FORGOTTEN]
            assert not any(line["event"] == "sign_refused" for line in lines)

    with served(vault, path, "--new-guard"):
        asyncio.run(play())


def test_a_node_that_begins_without_its_signer_follows_and_becomes_a_validator_when_that_answers(
    split: tuple[Localnet, Path, Path],
) -> None:
    net, vault, path = split
    home = Home(net.homes[0])
    home.config.write_text(home.config.read_text().replace("heartbeat_ms = 10000", "heartbeat_ms = 200"))
    with served(vault, path, "--new-guard"):
        load_home(home.path)  # the node has met its signer once
    command = [sys.executable, str(Path(sys.executable).parent / "gridbft"), "start", "--home", str(home.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        seen: list[str] = []
        try:
            seen += _until_line(process.stdout, "serving")
            assert any("signer_away" in line for line in seen)
            assert not any(" block " in line for line in seen)
            with served(vault, path):
                seen += _until_line(process.stdout, "signer_answers")
                seen += _until_line(process.stdout, " block ")
                process.send_signal(signal.SIGTERM)
                rest, _ = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
    assert process.returncode == 0, "".join(seen) + rest


def _until_line(lines: Iterable[str], word: str) -> list[str]:
    seen: list[str] = []
    for line in lines:
        seen.append(line)
        if word in line:
            return seen
    raise AssertionError("it ended: " + "".join(seen))


def test_governance_is_signed_from_the_signers_folder_and_not_from_the_nodes(
    split: tuple[Localnet, Path, Path],
) -> None:
    net, vault, path = split
    address = read_config(Home(net.homes[0]).config).client_address
    proposal = ("gov", "propose", "parameter", "max_block_bytes", "2000000", "--json")

    def gridbft(*words: str) -> Result:
        return CliRunner().invoke(main, list(words))

    async def play() -> tuple[Result, Result, Result]:
        async with running(*net.homes):
            refused = await asyncio.to_thread(gridbft, *proposal, "--home", str(net.homes[0]))
            lost = await asyncio.to_thread(gridbft, *proposal, "--home", str(vault))
            done = await asyncio.to_thread(gridbft, *proposal, "--home", str(vault), "--nodes", address)
            return refused, lost, done

    with served(vault, path, "--new-guard"):
        refused, lost, done = asyncio.run(play())
    assert (refused.exit_code, f"by --home and this node by --nodes {address}" in refused.output) == (2, True)
    assert (lost.exit_code, "give --nodes HOST:PORT too" in lost.output) == (2, True)
    assert json.loads(done.stdout.splitlines()[-1])["ok"] is True
