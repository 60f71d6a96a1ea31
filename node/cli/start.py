"""`gridbft start`: run a validator until it is told to stop."""

from __future__ import annotations

import asyncio
import errno
import signal
import sys
from pathlib import Path

import click
import structlog

from chain.genesis import GenesisError
from chain.kv import StoreError
from chain.protocol import UnknownProtocolError
from chain.store import CorruptStoreError
from gridbft.errors import WalletError
from node.cli.ending import Ending
from node.cli.unlock import passphrase_option, remembered, unlocking
from node.clienttls import ClientTlsError
from node.config import ConfigError
from node.home import Home, HomeError, LoadedHome, load_home
from node.logging import configure_logging
from node.peers import PortTakenError
from node.process import Again, Node, prepare
from node.rotation import change_over, finish
from node.signer import GuardError
from node.tlskey import tls_key_info
from node.walcodec import WalCorruptError

OPERATOR_FAULTS = (
    HomeError,
    ConfigError,
    GenesisError,
    StoreError,
    CorruptStoreError,
    UnknownProtocolError,
    WalCorruptError,
    GuardError,
    PortTakenError,
    ClientTlsError,
    WalletError,
)
"""What an operator can mend: told in one sentence, without a traceback."""

DISK_FAULTS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS})
"""What a disk says that is full, limited, broken or read-only: the operator's to mend too."""

log = structlog.get_logger("node")


@click.command()
@click.option(
    "--home", required=True, type=click.Path(path_type=Path, file_okay=False), help="The validator's home folder."
)
@passphrase_option
def start(home: Path) -> None:
    """Run a validator until SIGTERM or SIGINT. Exits with 1 when it cannot start or stops on a fault of its own.

    \b
    gridbft start --home /var/lib/gridbft --passphrase-file /etc/gridbft/passphrase
    """
    try:
        unlock = remembered(unlocking)  # a key that is replaced while the node runs must not ask again
        finish(Home(home))
        loaded = load_home(home, unlock)
        configure_logging(loaded.config.log_level, loaded.config.log_format)
        if tls_key_info(loaded.home.tls_key).kept == "unmarked":
            log.warning("tls_key_open", todo=f"it is not encrypted: stop, and gridbft keys rotate --home {home}")
        while (again := _run(loaded)) is not None:
            if again is Again.NEXT_KEY:
                change_over(loaded.home)
            loaded = load_home(home, unlock)
    except OPERATOR_FAULTS as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in DISK_FAULTS:
            click.echo(f"Error: {disk_sentence(home, error)}", err=True)
            sys.exit(1)
        log.critical("crash", exc_info=True)
        click.echo("Error: the node stopped on a fault of its own; the log above says where", err=True)
        sys.exit(1)


def disk_sentence(home: Path, error: OSError) -> str:
    """Why a node stopped that could not write, and what to do."""
    reason = (error.strerror or "unknown").lower()
    return (
        f"the disk of {home} cannot be written ({reason}), so the node stopped rather than promise what it cannot keep. "
        "Nothing that it promised before is lost: make room or mend the disk, and start it again"
    )


def _run(loaded: LoadedHome) -> Again | None:
    with Ending() as ending:
        return asyncio.run(_serve(loaded, ending))


async def _serve(loaded: LoadedHome, ending: Ending) -> Again | None:
    """Why it is to begin again; None: it was told to stop."""
    await prepare(loaded)
    node = Node(loaded, ending=ending.begin)

    def stop() -> None:
        ending.begin()
        node.stop()

    try:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        await node.run()
        log.info("stopped", height=node.host.ledger.head.height)
        return node.again
    finally:
        node.close()
