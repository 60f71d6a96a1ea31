"""The signer as a process of its own: it holds the consensus key and the guard, and answers on a Unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

import structlog

from chain.genesis import GenesisError, load_genesis
from chain.hashes import address
from gridbft.errors import WalletError
from gridbft.sealing import Passphrase
from gridbft.wallet import Wallet
from node.hello import hello_sign_bytes
from node.home import Home, HomeError, HomeLock
from node.signer import FileSigner, Refused
from node.signerwire import (
    LENGTH,
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
    decode_request,
    encode_reply,
    framed,
)

MAX_CONNECTIONS = 8
FRAME_SECONDS = 2.0  # from a frame's first byte to its last, and for an answer to be taken

log = structlog.get_logger("signer")


@dataclass(frozen=True, slots=True)
class Vault:
    """The key, its guard and its chain: answers requests, one after the other."""

    wallet: Wallet
    chain_id: str
    signer: FileSigner

    def answer(self, request: Request) -> Reply:
        """An OSError of the guard's disk must end the process: what was promised is then unknown."""
        match request:
            case WhoAreYou():
                return Identity(self.wallet.public_key, self.chain_id, self.signer.last)
            case SignMessage(message):
                signed = self.signer.sign(message)
                return No(signed.reason) if isinstance(signed, Refused) else Signature(signed.signature)
            case SignHello(certificate):
                own = address(self.wallet.public_key)
                return Signature(self.wallet.sign(hello_sign_bytes(self.chain_id, own, certificate)))
            case _:
                assert_never(request)


def open_vault(home: Home, passphrase: Passphrase | None, new_guard: bool, undo: contextlib.ExitStack) -> Vault:
    """Raises HomeError or GuardError. `new_guard`: the key has never signed on this chain."""
    if not home.path.is_dir():
        raise HomeError(f"{home.path} is no folder: a signer's home holds node.key, genesis.json and signer.log")
    undo.callback(HomeLock(home).release)
    try:
        chain_id = load_genesis(home.genesis.read_text(encoding="utf-8")).chain_id
        wallet = Wallet.load(home.key, passphrase)
    except (OSError, UnicodeDecodeError) as error:
        raise HomeError(f"{home.genesis} cannot be read: {error}") from error
    except (GenesisError, WalletError) as error:
        raise HomeError(str(error)) from error
    if new_guard and home.guard.exists():
        raise HomeError(f"{home.guard} stands already: this key may have signed; leave --new-guard out")
    if not new_guard and not home.guard.exists():
        raise HomeError(
            f"{home.guard} is missing. If this key has signed on {chain_id}, move the file here from where it signed; "
            "if it never has, say --new-guard once"
        )
    signer = FileSigner.open(chain_id, wallet.sign, home.guard, has_chain=not new_guard)
    undo.callback(signer.close)
    return Vault(wallet, chain_id, signer)


def bind(path: Path, group: str | None) -> socket.socket:
    """A socket that only this user may connect to, or this user and a group. Raises HomeError."""
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
        if group is not None:
            shutil.chown(path, group=group)
            path.chmod(0o660)
    except (OSError, LookupError) as error:
        listener.close()
        raise HomeError(f"socket {path} cannot be made: {error}") from error
    finally:
        os.umask(before)
    return listener


def _remove_stale(path: Path) -> None:
    """A killed signer leaves its socket behind; a living one answers on it."""
    if not path.exists():
        return
    if not path.is_socket():
        raise HomeError(f"{path} is no socket: nothing was removed, choose another --socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        except OSError as error:
            raise HomeError(f"socket {path} cannot be used: {error.strerror}") from error
        else:
            raise HomeError(f"socket {path} is served by another process: stop that one first")


class SignerServer:
    """Serves until `stop`; a fault of the vault's disk ends `run` with it."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._connections: set[asyncio.Task[None]] = set()
        self.refused = 0
        self.malformed = 0

    async def run(self, listener: socket.socket) -> None:
        server = await asyncio.start_unix_server(self._connected, sock=listener, limit=2 * MAX_FRAME_BYTES)
        try:
            await self._over
        finally:
            server.close()
            for task in self._connections:
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    def stop(self) -> None:
        if not self._over.done():
            self._over.set_result(None)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._connections) >= MAX_CONNECTIONS:
            self.refused += 1
            log.warning("too_many_connections", most=MAX_CONNECTIONS)
            writer.close()
            return
        self._connections.add(task)
        try:
            await self._converse(reader, writer)
        except (TimeoutError, MalformedError, ConnectionError, asyncio.IncompleteReadError) as error:
            if not isinstance(error, asyncio.IncompleteReadError) or error.partial:
                self.malformed += 1
                log.warning("connection_dropped", reason=str(error) or type(error).__name__)
        except OSError as error:
            if not self._over.done():
                self._over.set_exception(error)
        finally:
            self._connections.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            first = await reader.readexactly(1)  # a node may be quiet for as long as it likes
            async with asyncio.timeout(FRAME_SECONDS):
                (length,) = LENGTH.unpack(first + await reader.readexactly(1))
                if not 0 < length <= MAX_FRAME_BYTES:
                    raise MalformedError(f"a frame of {length} bytes")
                body = await reader.readexactly(length)
            reply = self._vault.answer(decode_request(body))
            if isinstance(reply, No):
                log.warning("refused", reason=reply.reason)
            async with asyncio.timeout(FRAME_SECONDS):
                writer.write(framed(encode_reply(reply)))
                await writer.drain()
