"""`gridbft prune`, `rollback` and `doctor`: work on a stopped node's files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from chain.genesis import GenesisError, load_genesis
from chain.kv import StoreError
from chain.leveldb import LevelKV
from chain.pruning import LEAST_KEPT, compact, roll_back
from chain.pruning import prune as prune_blocks
from chain.store import CorruptStoreError
from node.checkup import examine
from node.cli.output import FAILURE, fail, json_option, print_json
from node.home import Home, HomeError, HomeLock

_Command = TypeVar("_Command", bound=Callable[..., Any])


def home_option(command: _Command) -> _Command:
    return click.option(
        "--home", required=True, type=click.Path(path_type=Path, file_okay=False), help="The stopped node's folder."
    )(command)


@contextmanager
def stopped_store(home: Home, as_json: bool) -> Iterator[LevelKV]:
    """The store of a node that does not run; faults are told in a sentence."""
    try:
        if not home.db.is_dir():
            raise HomeError(f"{home.path} holds no chain: there is no {home.db.name}/ in it")
        lock = HomeLock(home)
        try:
            kv = LevelKV(home.db)
            try:
                yield kv
            finally:
                kv.close()
        finally:
            lock.release()
    except (HomeError, StoreError, CorruptStoreError, GenesisError, OSError) as error:
        fail(FAILURE, type(error).__name__, str(error), as_json)


@click.command()
@click.option(
    "--keep", required=True, type=click.IntRange(min=LEAST_KEPT), help="How many of the last blocks stay whole."
)
@home_option
@json_option
def prune(keep: int, home: Path, as_json: bool) -> None:
    """Forget old blocks of a stopped node and give the disk space back.

    Headers and commits of all heights stay, and the receipts of retired certificates, so their proofs stay too.

    \b
    gridbft prune --home /var/lib/gridbft --keep 100000
    """
    with stopped_store(Home(home), as_json) as kv:
        before = _size(home)
        done = prune_blocks(kv, keep)
        compact(kv)
    freed = before - _size(home)
    if as_json:
        print_json({"ok": True, "blocks": done.blocks, "earliest_height": done.earliest, "freed_bytes": freed})
    else:
        click.echo(f"{done.blocks} blocks pruned, {freed} bytes freed; whole blocks from height {done.earliest} on")


def _size(home: Path) -> int:
    return sum(f.stat().st_size for f in Home(home).db.iterdir() if f.is_file())


@click.command()
@home_option
@json_option
def rollback(home: Path, as_json: bool) -> None:
    """Take back the last block of a stopped node.

    The node fetches it again when it starts. Its signer.log stays as it is, so it is safe to vote afterwards.

    \b
    gridbft rollback --home /var/lib/gridbft
    """
    with stopped_store(Home(home), as_json) as kv:
        genesis = load_genesis(Home(home).genesis.read_text(encoding="utf-8"))
        head = roll_back(kv, genesis)
    if as_json:
        print_json({"ok": True, "height": head.height, "state_root": head.state_root})
    else:
        click.echo(f"the chain stands at height {head.height} now")


@click.command()
@home_option
@json_option
def doctor(home: Path, as_json: bool) -> None:
    """Examine a stopped node's files; say in a sentence what is wrong and what to do. Exits with 1 if anything is.

    \b
    gridbft doctor --home /var/lib/gridbft
    """
    try:
        findings = examine(Home(home))
    except HomeError as error:
        fail(FAILURE, "HomeError", str(error), as_json)
    wrong = [f for f in findings if f.is_wrong]
    for finding in findings:
        click.echo(f"{'WRONG' if finding.is_wrong else 'ok   '}  {finding.part}: {finding.text}")
    if as_json:
        print_json(
            {"ok": not wrong, "findings": [{"part": f.part, "wrong": f.is_wrong, "text": f.text} for f in findings]}
        )
    elif not wrong:
        click.echo("nothing is wrong")
    if wrong:
        sys.exit(FAILURE)
