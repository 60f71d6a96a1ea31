"""A node's folder: what is missing or wrong is one sentence, and one process uses it at a time."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from chain.genesis import GenesisCall, build_genesis, dump_genesis
from gridbft.passphrase import find_passphrase
from gridbft.sealing import Cost
from gridbft.wallet import Wallet
from node.certs import CertificateError, certificate_digest, make_tls_identity, utc_now
from node.config import ConfigError, read_config
from node.home import Home, HomeError, HomeLock, load_home, whole_genesis
from node.tlskey import load_tls_key, save_tls_key
from tests.node.localnet import Localnet

PATIENCE_S = 20
CHEAP = Cost(1, 8192)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(Localnet.make(tmp_path, 1).homes[0])


def test_a_home_is_loaded_with_its_place_among_the_members(home: Home) -> None:
    loaded = load_home(home.path)
    assert loaded.member is not None
    assert loaded.member.public_key == loaded.wallet.public_key
    assert loaded.config.name == "node-0"


def test_the_calls_of_the_genesis_are_not_kept_but_read_when_a_chain_begins(home: Home) -> None:
    bare = whole_genesis(home)
    calls = (GenesisCall("counter", "add", (1,)),)
    whole = build_genesis("test", bare.time_ms, bare.currency, bare.members, bare.params, bare.contracts, calls)
    home.genesis.write_text(dump_genesis(whole))
    assert load_home(home.path).genesis == replace(whole, calls=())
    assert whole_genesis(home) == whole


def test_a_key_that_is_no_members_makes_an_observer(home: Home) -> None:
    home.key.unlink()
    Wallet.generate("other").save(home.key)
    assert load_home(home.path).member is None


def _edit_genesis(home: Home) -> None:
    genesis = json.loads(home.genesis.read_text())
    genesis["currency"] = "USD"
    home.genesis.write_text(json.dumps(genesis))


def _change_certificate(home: Home) -> None:
    home.tls_certificate.write_text(make_tls_identity("other", utc_now()).certificate)


def _change_tls_key(home: Home) -> None:
    save_tls_key(home.tls_key, make_tls_identity("other", utc_now()).private_key, None, replace=True)


BREAKAGES: list[tuple[Callable[[Home], object], str]] = [
    (lambda home: home.config.unlink(), "it has no config.toml; make one with `gridbft init`"),
    (lambda home: home.genesis.unlink(), "genesis.json cannot be read"),
    (_edit_genesis, "genesis.json: chain_id: expected it to end in .*: the file was changed"),
    (lambda home: home.key.unlink(), "node.key cannot be read"),
    (lambda home: home.tls_key.unlink(), "tls.key cannot be read"),
    (lambda home: home.tls_certificate.write_text("x"), "tls.crt: this text is no PEM certificate"),
    (_change_certificate, "is not the certificate that the genesis pins for node-0"),
    (_change_tls_key, "tls.key is not the key of .*tls.crt: restore both from one copy"),
    (lambda home: home.tls_key.write_text("{}"), "tls.key is no TLS key of version 1"),
]


@pytest.mark.parametrize(("breakage", "sentence"), BREAKAGES)
def test_what_is_wrong_with_a_home_is_one_sentence(
    home: Home, breakage: Callable[[Home], object], sentence: str
) -> None:
    breakage(home)
    with pytest.raises(HomeError, match=sentence) as caught:
        load_home(home.path)
    assert "\n" not in str(caught.value)


def test_a_wrong_configuration_is_told_as_such(home: Home) -> None:
    home.config.write_text("name = 5\n")
    with pytest.raises(ConfigError, match="line 1: name is 5"):
        load_home(home.path)


def test_a_lock_is_held_until_it_is_released(home: Home) -> None:
    lock = HomeLock(home)
    with pytest.raises(HomeError, match=r"is in use by process [0-9]+: stop that one first"):
        HomeLock(home)
    lock.release()
    HomeLock(home).release()


def test_each_certificate_is_its_own() -> None:
    one, two = (make_tls_identity("same name", utc_now()) for _ in range(2))
    assert certificate_digest(one.certificate) != certificate_digest(two.certificate)
    with pytest.raises(CertificateError):
        certificate_digest(one.private_key)


# --- the process ----------------------------------------------------------------------------------------------------------


def _start(home: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from node.cli import main; main()", "start", "--home", str(home)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_process_serves_until_it_is_told_to_stop_and_leaves_in_order(home: Home) -> None:
    with _start(home.path) as process:
        assert process.stdout is not None
        lines: list[str] = []
        for line in process.stdout:
            lines.append(line)
            if "serving" in line:
                break
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, "".join(lines) + err
    assert "stopped" in out


def test_a_process_that_cannot_start_says_why_in_one_sentence(home: Home) -> None:
    lock = HomeLock(home)
    with _start(home.path) as process:
        _, err = process.communicate(timeout=PATIENCE_S)
    lock.release()
    assert process.returncode == 1
    assert err.startswith("Error: ")
    assert "is in use by process" in err
    assert len(err.strip().splitlines()) == 1


def test_encrypted_keys_are_unlocked_by_the_file_that_the_configuration_names(home: Home) -> None:
    wallet, pem = Wallet.load(home.key), load_tls_key(home.tls_key, "")
    wallet.save(home.key, "of the node", CHEAP, replace=True)
    save_tls_key(home.tls_key, pem, "of the node", CHEAP, replace=True)
    with pytest.raises(HomeError, match="is encrypted: give --passphrase-file"):
        load_home(home.path, lambda file: find_passphrase(file, {}))
    (home.path / "words").write_text("of the node\n")
    (home.path / "words").chmod(0o600)
    home.config.write_text(home.config.read_text().replace('passphrase_file = ""', 'passphrase_file = "words"'))
    loaded = load_home(home.path, lambda file: find_passphrase(file, {}))
    assert (loaded.wallet.public_key, loaded.tls.private_key) == (wallet.public_key, pem)


def test_handshakes_that_fail_write_nothing_anywhere_that_could_fill_a_disk(home: Home) -> None:
    host, _, port = read_config(home.config).peer_address.rpartition(":")
    with _start(home.path) as process:
        assert process.stdout is not None
        assert any("serving" in line for line in process.stdout)
        for _ in range(20):
            with socket.create_connection((host, int(port)), PATIENCE_S) as stranger:
                stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
                with suppress(ConnectionResetError):
                    assert stranger.recv(100) == b""  # refused
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert "Handshake" not in out + err


def test_one_passphrase_is_asked_for_once_and_opens_both_keys_or_says_which_stays_locked(home: Home) -> None:
    pem, asked = load_tls_key(home.tls_key, ""), list[str]()

    def words(what: str) -> str:
        asked.append(what)
        return "of the node"

    Wallet.load(home.key).save(home.key, "of the node", CHEAP, replace=True)
    save_tls_key(home.tls_key, pem, "of the node", CHEAP, replace=True)
    load_home(home.path, lambda file: words)
    assert asked == [f"key file {home.key}"]
    save_tls_key(home.tls_key, pem, "something else", CHEAP, replace=True)
    with pytest.raises(HomeError, match=r"tls\.key stays locked: the passphrase is wrong"):
        load_home(home.path, lambda file: words)


def test_a_home_of_the_first_release_starts_and_says_that_its_tls_key_is_open(home: Home) -> None:
    home.tls_key.write_text(load_tls_key(home.tls_key, ""))
    with _start(home.path) as process:
        assert process.stdout is not None
        lines: list[str] = []
        for line in process.stdout:
            lines.append(line)
            if "serving" in line:
                break
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_S)
    assert any("tls_key_open" in line and f"gridbft keys rotate --home {home.path}" in line for line in lines)


def test_a_node_whose_keys_are_encrypted_serves_with_them_and_leaves_them_so(home: Home) -> None:
    words = home.path / "words"
    words.write_text("of the node\n")
    words.chmod(0o600)
    Wallet.load(home.key).save(home.key, "of the node", CHEAP, replace=True)
    save_tls_key(home.tls_key, load_tls_key(home.tls_key, ""), "of the node", CHEAP, replace=True)
    home.config.write_text(home.config.read_text().replace('passphrase_file = ""', 'passphrase_file = "words"'))
    with _start(home.path) as process:
        assert process.stdout is not None
        served = any("serving" in line for line in process.stdout)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_S)
    assert served
    kept = [file.read_bytes() for file in home.path.rglob("*") if file.is_file() and file.name != "genesis.json"]
    assert not any(b"PRIVATE KEY" in data for data in kept)
