"""What the machine's own operator may ask of a running node: a socket in its home that only the node's user can open.

One request a connection: a line, then the answer until its end. `backup` is answered with a backup file.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from chain.kv import StoreError
from node.backup import BackupError
from node.home import Home, HomeError

SOCKET = "control"
LINE_BYTES = 1_024
PATIENCE_SECONDS = 10.0
READ_BYTES = 1 << 20
FAULT = b"error: "

log = structlog.get_logger("control")


class ControlServer:
    """`backup` begins one: its pieces, of the store as it stands at the call."""

    def __init__(self, home: Home, backup: Callable[[], Iterator[bytes]]) -> None:
        self._home = home
        self._backup = backup
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """A file system that knows no sockets does not keep a node from its work: it is backed up while it is stopped."""
        try:
            listener = self._listener()
        except OSError as error:
            log.warning("no_control_socket", reason=str(error), todo="stop the node to back it up")
            return
        self._server = await asyncio.start_unix_server(self._connected, sock=listener, limit=LINE_BYTES)

    def _listener(self) -> socket.socket:
        (self._home.path / SOCKET).unlink(missing_ok=True)  # of a node that was killed: the home's lock is ours
        listener = socket.socket(socket.AF_UNIX)
        before = os.umask(0o177)
        try:
            with _near(self._home.path) as path:
                listener.bind(path)
        except OSError:
            listener.close()
            raise
        finally:
            os.umask(before)
        return listener

    async def stop(self) -> None:
        """Returns once nothing reads the store any more."""
        if self._server is None:
            return
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        (self._home.path / SOCKET).unlink(missing_ok=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                line = await reader.readline()
            if line.strip() == b"backup":
                await self._send(writer)
            else:
                writer.write(FAULT + b"the node knows only the request `backup`")
            await writer.drain()
        except (TimeoutError, ConnectionError, ValueError) as error:
            log.warning("request_broken_off", error=repr(error))
        finally:
            writer.close()

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        """Read and packed in a thread, one piece after the other as the other side takes them."""
        try:
            pieces = self._backup()
            size = 0
            while True:
                reading = asyncio.ensure_future(asyncio.to_thread(next, pieces, b""))
                try:
                    piece = await asyncio.shield(reading)
                except asyncio.CancelledError:
                    await asyncio.gather(reading, return_exceptions=True)
                    raise
                if not piece:
                    break
                writer.write(piece)
                await writer.drain()
                size += len(piece)
            log.info("backup_taken", bytes=size)
        except (BackupError, StoreError) as error:
            writer.write(FAULT + str(error).encode())


def ask_backup(home: Home) -> Iterator[bytes]:
    """The pieces of a running node's backup. Raises HomeError where it does not answer, BackupError where it refuses."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            with _near(home.path) as path:
                connection.connect(path)
            connection.sendall(b"backup\n")
            first = connection.recv(READ_BYTES)
            if first.startswith(FAULT) or not first:
                rest = b"".join(iter(lambda: connection.recv(READ_BYTES), b""))
                raise BackupError((first + rest).removeprefix(FAULT).decode(errors="replace") or "the node is stopping")
            yield first
            while piece := connection.recv(READ_BYTES):
                yield piece
        except OSError as error:
            raise HomeError(
                f"the node of {home.path} runs, but cannot be asked ({error.strerror or error}): be its user, or stop it first"
            ) from error


@contextmanager
def _near(folder: Path) -> Iterator[str]:
    """A path to the socket that is short enough for the system, however deep the folder lies."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET}"
    finally:
        os.close(descriptor)
