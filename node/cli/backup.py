"""`gridbft backup` and `gridbft restore`: the chain of one node as a file, and back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from chain.genesis import Genesis, GenesisError, load_genesis
from chain.kv import StoreError
from chain.leveldb import LevelKV
from chain.protocol import UnknownProtocolError
from chain.store import CorruptStoreError
from node.backup import About, BackupError, Reader, frames, restore, write_file
from node.cli.output import BAD_INPUT, FAILURE, fail, json_option, print_facts, print_json
from node.config import ConfigError, read_config
from node.control import ask_backup
from node.home import Home, HomeError, HomeLock

EXPECTED = (
    BackupError, HomeError, ConfigError, GenesisError, StoreError, CorruptStoreError, UnknownProtocolError, OSError,
)  # fmt: skip


@contextmanager
def _told(as_json: bool) -> Iterator[None]:
    try:
        yield
    except EXPECTED as error:
        fail(FAILURE, type(error).__name__, str(error), as_json)


@click.command()
@click.option("--home", required=True, type=click.Path(path_type=Path, file_okay=False), help="The node's folder.")
@click.option("--to", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The file to write.")
@json_option
def backup(home: Path, to: Path, as_json: bool) -> None:
    """Write a node's chain to a file, while it runs or not.

    It holds blocks, commits, receipts and state as of one moment, and no keys: back those up apart (node.key,
    tls.key, tls.crt). signer.log is left out on purpose: an old one would let the validator sign twice.

    \b
    gridbft backup --home /var/lib/gridbft --to /backup/gridbft-2026-11-20
    """
    with _told(as_json):
        if to.exists():
            fail(BAD_INPUT, "FILE_EXISTS", f"{to} exists already: choose another name", as_json)
        genesis = _genesis(Home(home))
        with _pieces(Home(home), genesis) as pieces:
            size = write_file(pieces, to)
        about = _verified(to)
    if as_json:
        print_json({"ok": True, "file": str(to), "bytes": size, "height": about.height, "chain_id": about.chain_id})
    else:
        print_facts(
            (("file", str(to)), ("bytes", f"{size:,}"), ("height", str(about.height)), ("chain", about.chain_id))
        )


@contextmanager
def _pieces(home: Home, genesis: Genesis) -> Iterator[Iterator[bytes]]:
    """From the node where one runs, else from its files."""
    try:
        lock = HomeLock(home)
    except HomeError:
        yield ask_backup(home)
        return
    try:
        if not home.db.is_dir():
            raise HomeError(f"{home.path} holds no chain: there is no {home.db.name}/ in it")
        kv = LevelKV(home.db)
        try:
            yield frames(kv, genesis.chain_id, time.time_ns() // 1_000_000)
        finally:
            kv.close()
    finally:
        lock.release()


def _verified(file: Path) -> About:
    """Read back from its beginning to its end: a backup that cannot be read is none."""
    with file.open("rb") as opened:
        reader = Reader(opened)
        for _ in reader.chunks():
            continue
        return reader.about


@click.command("restore")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--home", required=True, type=click.Path(path_type=Path, file_okay=False), help="The stopped node's folder."
)
@json_option
def restore_command(file: Path, home: Path, as_json: bool) -> None:
    """Put the chain of a backup FILE into a home that has its keys and genesis, but no chain.

    Everything is checked against the home's genesis: every header and commit, every block, the state, and the last
    block is executed again. If signer.log is missing, the validator stays silent at first, until it is safe to sign.

    \b
    gridbft restore /backup/gridbft-2026-11-20 --home /var/lib/gridbft
    """
    with _told(as_json):
        place = Home(home)
        genesis = _genesis(place)
        remote = bool(read_config(place.config).signer)
        lock = HomeLock(place)
        try:
            say = (lambda text: None) if as_json else (lambda text: click.echo(f"{text} ..."))
            head = restore(file, place, genesis, remote, say)
        finally:
            lock.release()
    if as_json:
        print_json({"ok": True, "height": head.height, "state_root": head.state_root, "block_id": head.block_id})
    else:
        print_facts(
            (
                ("height", str(head.height)),
                ("state root", head.state_root.hex()),
                ("next", f"gridbft start --home {home}"),
            )
        )


def _genesis(home: Home) -> Genesis:
    """The one that the operator trusts: a backup cannot bring its own."""
    try:
        return load_genesis(home.genesis.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise HomeError(
            f"{home.path} has no genesis.json: make the home with gridbft init, then gridbft join"
        ) from None
