"""`gridbft keys`: made, listed, exported and rotated, with passphrases from files and the environment."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gridbft.wallet import OPEN_MARK, Keyring, Wallet
from node.cli import main

Run = Callable[..., Result]


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
