"""`gridbft signer`: a validator's key and its double-sign guard, in a process of their own."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from pathlib import Path

import click
import structlog

from node.cli.unlock import passphrase_option, unlocking
from node.home import Home, HomeError
from node.logging import configure_logging
from node.signer import GuardError
from node.signerserver import SignerServer, Vault, bind, open_vault

log = structlog.get_logger("signer")


@click.command()
@click.option(
    "--home",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The signer's folder: node.key, genesis.json and signer.log.",
)
@click.option(
    "--socket", "path", required=True, type=click.Path(path_type=Path, dir_okay=False), help="Where the node connects."
)
@click.option("--group", help="This group may connect too (the node's, where it runs as another user).")
@click.option("--new-guard", is_flag=True, help="Begin signer.log: only for a key that has never signed on this chain.")
@click.option(
    "--log-format",
    type=click.Choice(["console", "json"]),
    default="console",
    show_default=True,
    help="For people, or for machines.",
)
@passphrase_option
def signer(home: Path, path: Path, group: str | None, new_guard: bool, log_format: str) -> None:
    """Hold a validator's key and its double-sign guard, until SIGTERM or SIGINT.

    Move node.key and signer.log out of the node's home into DIR, copy genesis.json beside them, and set
    `signer = "unix:PATH"` in the node's config.toml. Only the signer's user may connect, or with --group that group's
    members too; the folder of the socket decides who can see it at all.

    \b
    gridbft signer --home /var/lib/gridbft-signer --socket /run/gridbft/signer.sock --group gridbft
    """
    configure_logging("info", log_format)
    with contextlib.ExitStack() as undo:
        try:
            vault = open_vault(Home(home), unlocking(), new_guard, undo)
            listener = bind(path, group)
            undo.callback(path.unlink, missing_ok=True)
        except (HomeError, GuardError) as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(1)
        try:
            asyncio.run(_serve(vault, listener, path))
        except OSError as error:
            click.echo(
                f"Error: the guard {home / 'signer.log'} cannot be written ({error}): nothing is signed", err=True
            )
            sys.exit(1)


async def _serve(vault: Vault, listener: socket.socket, path: Path) -> None:
    server = SignerServer(vault)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    log.info("serving", socket=str(path), address=vault.wallet.address, chain=vault.chain_id, last=vault.signer.last)
    await server.run(listener)
    log.info("stopped", last=vault.signer.last)
