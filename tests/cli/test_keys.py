"""`gridbft keys`: made, listed, exported and rotated, with passphrases from files and the environment."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gridbft.sealing import Cost
from gridbft.wallet import OPEN_MARK, Keyring, Wallet, key_info
from node.certs import make_tls_identity, utc_now
from node.checkup import examine
from node.cli import main
from node.home import Home, HomeLock, load_home
from node.tlskey import load_tls_key, save_tls_key, tls_key_info
from tests.node.localnet import Localnet

Run = Callable[..., Result]
CHEAP = Cost(1, 8192)


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    for variable in ("GRIDBFT_PASSPHRASE", "GRIDBFT_PASSPHRASE_FILE", "GRIDBFT_NEW_PASSPHRASE", "GRIDBFT_KEYS"):
        monkeypatch.delenv(variable, raising=False)
    for name, words in (("old", "old words\n"), ("new", "new words\n")):
        (tmp_path / name).write_text(words)
        (tmp_path / name).chmod(0o600)

    def run(*words: str, **variables: str) -> Result:
        result = CliRunner().invoke(
            main, ["keys", *words, "--keys", str(tmp_path / "ring"), "--json"], env=dict(variables)
        )
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


def last(result: Result) -> Any:
    return json.loads(result.stdout.strip().splitlines()[-1])


def test_a_new_key_is_encrypted_and_listed_without_its_passphrase(keys: Run, tmp_path: Path) -> None:
    made = last(keys("new", "alice", "--passphrase-file", str(tmp_path / "old")))
    assert made["encrypted"] is True
    assert last(keys("list"))["keys"] == [made]
    assert Wallet.load(tmp_path / "ring" / "alice.json", "old words").address == made["address"]


def test_the_environment_gives_a_passphrase_too(keys: Run, tmp_path: Path) -> None:
    keys("new", "alice", GRIDBFT_PASSPHRASE="of the environment")
    assert Wallet.load(tmp_path / "ring" / "alice.json", "of the environment")


def test_without_any_passphrase_no_key_is_made_unless_the_user_or_the_folder_says_so(keys: Run, tmp_path: Path) -> None:
    refused = keys("new", "alice")
    assert refused.exit_code == 2
    assert "--unencrypted" in last(refused)["message"]
    assert last(keys("new", "alice", "--unencrypted"))["encrypted"] is False
    (tmp_path / "ring" / OPEN_MARK).touch()
    assert last(keys("new", "bob"))["encrypted"] is False


def test_rotation_changes_the_passphrase_and_not_the_key(keys: Run, tmp_path: Path) -> None:
    old, new = str(tmp_path / "old"), str(tmp_path / "new")
    address = last(keys("new", "alice", "--passphrase-file", old))["address"]
    assert keys("rotate", "alice", "--passphrase-file", old, "--new-passphrase-file", new).exit_code == 0
    assert Keyring(tmp_path / "ring", "new words").get("alice").address == address
    wrong = keys("rotate", "alice", "--passphrase-file", old, "--new-passphrase-file", new)
    assert (wrong.exit_code, last(wrong)["error"]) == (2, "BAD_KEY")


def test_export_shows_the_public_part_and_copies_the_key_under_its_own_passphrase(keys: Run, tmp_path: Path) -> None:
    old, copy = str(tmp_path / "old"), tmp_path / "copy.json"
    made = last(keys("new", "alice", "--passphrase-file", old))
    assert last(keys("export", "alice")) == made
    keys("export", "alice", "-o", str(copy), "--passphrase-file", old, GRIDBFT_NEW_PASSPHRASE="of the copy")
    assert Wallet.load(copy, "of the copy").address == made["address"]
    again = keys("export", "alice", "-o", str(copy), "--passphrase-file", old, "--unencrypted")
    assert "exists already" in last(again)["message"]


# --- a node's own keys ------------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A validator's home whose keys are open, as a development network's."""
    return Home(Localnet.make(tmp_path / "net", 1).homes[0])


def on_home(*words: str, **variables: str) -> Result:
    result = CliRunner().invoke(main, ["keys", *words, "--json"], env=dict(variables))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def kept(home: Home) -> tuple[bool, str]:
    return key_info(home.key).encrypted, tls_key_info(home.tls_key).kept


def test_the_keys_of_a_home_get_one_passphrase_together_and_stay_the_same_keys(home: Home, tmp_path: Path) -> None:
    before = load_home(home.path)
    done = on_home("rotate", "--home", str(home.path), GRIDBFT_NEW_PASSPHRASE="first")
    assert (done.exit_code, last(done)["rotated"], kept(home)) == (0, ["node.key", "tls.key"], (True, "sealed"))
    words = {"GRIDBFT_PASSPHRASE": "first", "GRIDBFT_NEW_PASSPHRASE": "second"}
    assert on_home("rotate", "--home", str(home.path), **words).exit_code == 0
    after = load_home(home.path, lambda file: "second")
    assert (after.wallet.public_key, after.tls) == (before.wallet.public_key, before.tls)
    wrong = on_home("rotate", "--home", str(home.path), GRIDBFT_PASSPHRASE="first", GRIDBFT_NEW_PASSPHRASE="third")
    assert (wrong.exit_code, last(wrong)["error"]) == (2, "BAD_KEY")
    assert load_home(home.path, lambda file: "second")


def test_a_change_that_was_cut_off_between_two_keys_is_finished_by_saying_it_again(home: Home) -> None:
    on_home("rotate", "--home", str(home.path), GRIDBFT_NEW_PASSPHRASE="first")
    Wallet.load(home.key, "first").save(home.key, "second", CHEAP, replace=True)
    again = {"GRIDBFT_PASSPHRASE": "first", "GRIDBFT_NEW_PASSPHRASE": "second"}
    assert on_home("rotate", "--home", str(home.path), **again).exit_code == 0
    assert load_home(home.path, lambda file: "second")


def test_a_home_in_use_and_a_folder_that_is_none_keep_their_keys(home: Home, tmp_path: Path) -> None:
    lock = HomeLock(home)
    busy = on_home("rotate", "--home", str(home.path), GRIDBFT_NEW_PASSPHRASE="first")
    lock.release()
    assert (busy.exit_code, last(busy)["error"], kept(home)) == (1, "IN_USE", (False, "open"))
    assert "neither node.key nor tls.key" in last(on_home("export", "--home", str(tmp_path), "-o", "x"))["message"]
    assert "--unencrypted" in last(on_home("rotate", "--home", str(home.path)))["message"]


def test_a_signers_folder_and_a_node_without_its_key_get_a_new_passphrase_too(home: Home, tmp_path: Path) -> None:
    vault = tmp_path / "vault"
    vault.mkdir()
    home.key.rename(vault / "node.key")
    for folder, names in ((vault, ["node.key"]), (home.path, ["tls.key"])):
        done = on_home("rotate", "--home", str(folder), GRIDBFT_NEW_PASSPHRASE="first")
        assert last(done)["rotated"] == names
    assert Wallet.load(vault / "node.key", "first")


def test_a_copy_of_a_homes_keys_has_its_own_passphrase_and_makes_a_home_that_starts(home: Home, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    done = on_home("export", "--home", str(home.path), "-o", str(copy), GRIDBFT_NEW_PASSPHRASE="of the copy")
    assert {"node.key", "tls.key", "tls.crt", "genesis.json", "config.toml"} <= set(last(done)["copied"])
    assert copy.stat().st_mode & 0o077 == 0
    assert load_home(copy, lambda file: "of the copy").tls == load_home(home.path).tls
    assert kept(home) == (False, "open")
    again = on_home("export", "--home", str(home.path), "-o", str(copy), "--unencrypted")
    assert "exists already" in last(again)["message"]


@pytest.mark.parametrize("words", [("rotate",), ("rotate", "a", "--home", "h"), ("export",), ("export", "--home", "h")])
def test_what_is_missing_is_asked_for(words: tuple[str, ...]) -> None:
    assert on_home(*words).exit_code == 2


def test_the_doctor_tells_a_tls_key_that_is_open_without_saying_so_or_of_another_certificate(home: Home) -> None:
    def wrong() -> list[str]:
        return [f.text for f in examine(home) if f.is_wrong and f.part == "tls.key"]

    assert wrong() == []
    on_home("rotate", "--home", str(home.path), GRIDBFT_NEW_PASSPHRASE="first")
    assert wrong() == []
    pem = load_tls_key(home.tls_key, "first")
    home.tls_key.write_text(pem)
    assert wrong() == [f"it is not encrypted: `gridbft keys rotate --home {home.path}` encrypts it"]
    save_tls_key(home.tls_key, make_tls_identity("other", utc_now()).private_key, None, replace=True)
    assert wrong() == ["it is not the key of tls.crt: restore both from one copy"]
    home.tls_key.chmod(0o644)
    assert len(wrong()) == 2
    home.tls_key.unlink()
    assert "restore it from your copy of the keys" in wrong()[0]
