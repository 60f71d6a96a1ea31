"""A node's folder: what is missing or wrong is one sentence, and one process uses it at a time."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gridbft.passphrase import find_passphrase
from gridbft.sealing import Cost
from gridbft.wallet import Wallet
from node.certs import CertificateError, certificate_digest, make_tls_identity, utc_now
from node.config import ConfigError
from node.home import Home, HomeError, HomeLock, load_home, write_secret
from tests.node.localnet import Localnet

PATIENCE_S = 20


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(Localnet.make(tmp_path, 1).homes[0])


def test_a_home_is_loaded_with_its_place_among_the_members(home: Home) -> None:
    loaded = load_home(home.path)
    assert loaded.member is not None
    assert loaded.member.public_key == loaded.wallet.public_key
    assert loaded.config.name == "node-0"


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


BREAKAGES: list[tuple[Callable[[Home], object], str]] = [
    (lambda home: home.config.unlink(), "it has no config.toml; make one with `gridbft init`"),
    (lambda home: home.genesis.unlink(), "genesis.json cannot be read"),
    (_edit_genesis, "genesis.json: chain_id: expected it to end in .*: the file was changed"),
    (lambda home: home.key.unlink(), "node.key cannot be read"),
    (lambda home: home.tls_key.unlink(), "tls.key cannot be read"),
    (lambda home: home.tls_certificate.write_text("x"), "tls.crt: this text is no PEM certificate"),
    (_change_certificate, "is not the certificate that the genesis pins for node-0"),
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


def test_secrets_are_the_owners_only_and_never_overwritten(tmp_path: Path) -> None:
    write_secret(tmp_path / "key", "secret")
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0
    with pytest.raises(FileExistsError):
        write_secret(tmp_path / "key", "other")


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


def test_an_encrypted_node_key_is_unlocked_by_the_file_that_the_configuration_names(home: Home) -> None:
    wallet = Wallet.load(home.key)
    wallet.save(home.key, "of the node", Cost(1, 8192), replace=True)
    with pytest.raises(HomeError, match="is encrypted: give --passphrase-file"):
        load_home(home.path, lambda file: find_passphrase(file, {}))
    (home.path / "words").write_text("of the node\n")
    (home.path / "words").chmod(0o600)
    home.config.write_text(home.config.read_text().replace('passphrase_file = ""', 'passphrase_file = "words"'))
    assert load_home(home.path, lambda file: find_passphrase(file, {})).wallet.public_key == wallet.public_key
