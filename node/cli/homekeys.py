"""`gridbft keys rotate --home` and `gridbft keys export --home`: the keys of a node's own home, all under one passphrase."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from gridbft.errors import WalletError
from gridbft.passphrase import asked_once
from gridbft.sealing import MODERATE, Passphrase
from gridbft.wallet import Wallet
from node.cli.output import FAILURE, InputError, fail, print_facts, print_json
from node.cli.unlock import NEW_VARIABLE, new_passphrase, unlocking
from node.config import ConfigError, read_config
from node.files import sync_folder
from node.home import Home, HomeError, HomeLock
from node.rotation import next_key
from node.tlskey import load_tls_key, save_tls_key


def reseal_home(folder: Path, new_file: Path | None, is_open: bool, as_json: bool) -> None:
    """Puts every key of the home (or of a signer's folder) under a new passphrase. May be said again after a crash."""
    home = Home(folder)
    with _not_running(home, as_json):
        old = asked_once(unlocking(_passphrase_file(home)))
        files = key_files(home)
        new = None if is_open else new_passphrase(f"the keys of {folder}", new_file, NEW_VARIABLE)
        for file in files:
            reseal(file, file, old, new)
        sync_folder(folder)
    _report("rotated", [file.name for file in files], folder, is_open, as_json)


def export_home(folder: Path, output: Path, new_file: Path | None, is_open: bool, as_json: bool) -> None:
    """Copies what no backup holds (keys, certificate, genesis) to a new folder, the keys under a passphrase of their own."""
    home = Home(folder)
    if output.exists():
        raise InputError(f"{output} exists already: a copy of keys never overwrites anything")
    files = key_files(home)
    old = asked_once(unlocking(_passphrase_file(home)))
    new = None if is_open else new_passphrase(str(output), new_file, NEW_VARIABLE)
    try:
        output.mkdir(mode=0o700)
        for file in files:
            reseal(file, output / file.name, old, new)
        public = [f for f in (home.tls_certificate, home.genesis, home.config, folder / "member.json") if f.is_file()]
        for file in public:
            shutil.copyfile(file, output / file.name)
    except OSError as error:
        fail(FAILURE, "NOT_WRITTEN", f"{output} cannot be written: {error.strerror}", as_json)
    _report("copied", [file.name for file in (*files, *public)], output, is_open, as_json)


def key_files(home: Home) -> list[Path]:
    """Those that there are: a node with a remote signer has tls.key only, its signer node.key only. Raises InputError."""
    found = [file for file in (home.key, next_key(home), home.tls_key) if file.is_file()]
    if not found:
        raise InputError(f"{home.path} holds neither node.key nor tls.key: it is no node's home and no signer's folder")
    return found


def reseal(file: Path, target: Path, old: Passphrase, new: str | None) -> None:
    """One key under the new passphrase. In place it may have been done before: then the new words open it, and it stays.

    Raises WalletError."""
    in_place = file == target
    try:
        _save(file, target, old, new, in_place)
    except WalletError:
        if new is None or not in_place or not _opens(file, new):
            raise


def _save(file: Path, target: Path, old: Passphrase, new: str | None, replace: bool) -> None:
    if file.name == "tls.key":
        save_tls_key(target, load_tls_key(file, old), new, MODERATE, replace)
    else:
        Wallet.load(file, old).save(target, new, MODERATE, replace)


def _opens(file: Path, words: str) -> bool:
    try:
        _ = load_tls_key(file, words) if file.name == "tls.key" else Wallet.load(file, words)
    except WalletError:
        return False
    return True


@contextmanager
def _not_running(home: Home, as_json: bool) -> Iterator[None]:
    """A running node would ask for the old words when it changes over to its next key."""
    try:
        lock = HomeLock(home)
    except HomeError as error:
        fail(FAILURE, "IN_USE", str(error), as_json)
    try:
        yield
    finally:
        lock.release()


def _passphrase_file(home: Home) -> Path | None:
    """That of the configuration; a signer's folder has none."""
    if not home.config.is_file():
        return None
    try:
        named = read_config(home.config).passphrase_file
    except ConfigError as error:
        raise InputError(str(error)) from error
    return home.path / named if named else None


def _report(done: str, names: list[str], folder: Path, is_open: bool, as_json: bool) -> None:
    if as_json:
        print_json({"ok": True, "folder": os.fspath(folder), done: names, "encrypted": not is_open})
        return
    print_facts(((done, ", ".join(names)), ("folder", str(folder)), ("keys", "open" if is_open else "encrypted")))
    if done == "rotated" and not is_open:
        click.echo("From the next start on the new passphrase unlocks them: put it where the old one is.")
