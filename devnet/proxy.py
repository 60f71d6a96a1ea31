"""The wires between the nodes, so that they can be cut: byte by byte, so that the nodes' mutual TLS stays end to end.

Each node dials through an HTTP CONNECT proxy of its own (gRPC's `grpc_proxy`), so a connection tells who called and
whom. A cut holds one direction between two nodes: what was sent waits, as in a network that drops packets and has them
sent again, or the connection is torn down and refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

Way = tuple[str, str]  # (from, to): the names of two nodes

CHUNK_BYTES = 64 * 1024
PROXY_VARIABLE = "grpc_proxy"
ESTABLISHED = b"HTTP/1.1 200 OK\r\n\r\n"
UNREACHABLE = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"

Side = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Accept = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(slots=True, eq=False)
class _Connection:
    caller: str
    callee: str
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def ways(self) -> frozenset[Way]:
        return frozenset({(self.caller, self.callee), (self.callee, self.caller)})

    def tear(self) -> None:
        for writer in self.writers:
            writer.transport.abort()


class Wires:
    """`addresses`: name -> host:port where that node listens for its peers. Use it as an async context manager."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self._addresses = dict(addresses)
        self._names = {address: name for name, address in addresses.items()}
        self._open = {(a, b): _opened() for a in addresses for b in addresses if a != b}
        self._refused: frozenset[Way] = frozenset()
        self._connections: set[_Connection] = set()
        self._servers: dict[str, asyncio.Server] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.ports: dict[str, int] = {}

    async def __aenter__(self) -> Wires:
        for name in self._addresses:
            server = await asyncio.start_server(self._accept(name), "127.0.0.1", 0)
            self._servers[name] = server
            self.ports[name] = server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers.values():
            server.close()
        for connection in self._connections:
            connection.tear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def environment(self, name: str) -> dict[str, str]:
        """What the process of that node needs, so that it dials through its wires."""
        nowhere_else = dict.fromkeys(("no_proxy", "no_grpc_proxy", "NO_PROXY"), "")
        return {PROXY_VARIABLE: f"http://127.0.0.1:{self.ports[name]}", **nowhere_else}

    def cut(self, ways: Iterable[Way], *, refuse: bool = False) -> None:
        """Nothing passes these ways until `heal`. With `refuse` connections over them end at once and new ones are
        turned away; else both ends notice nothing but silence."""
        cut = frozenset(ways)
        for way in cut:
            self._open[way].clear()
        if refuse:
            self._refused |= cut
            for connection in [c for c in self._connections if c.ways & cut]:
                connection.tear()

    def heal(self, ways: Iterable[Way] | None = None) -> None:
        """What waited is delivered. None: all ways."""
        healed = frozenset(self._open if ways is None else ways)
        self._refused -= healed
        for way in healed:
            self._open[way].set()

    # -- within

    def _accept(self, caller: str) -> Accept:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None, "a server calls in a task"
            self._tasks.add(task)
            try:
                await self._serve(caller, (reader, writer))
            except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                return  # one of the two ends is gone, or speaks no HTTP: both see the connection end
            except asyncio.CancelledError:
                return  # only `__aexit__` does that; a server's callback that ends cancelled is reported as a fault
            finally:
                writer.transport.abort()
                self._tasks.discard(task)

        return accept

    async def _serve(self, caller: str, near: Side) -> None:
        request = await near[0].readuntil(b"\r\n\r\n")
        callee = self._callee(request)
        if callee is None or callee == caller:
            near[1].write(UNREACHABLE)
            await near[1].drain()
            return
        connection = _Connection(caller, callee, [near[1]])
        self._connections.add(connection)
        try:
            if connection.ways & self._refused:
                return
            for way in connection.ways:  # a handshake needs both
                await self._open[way].wait()
            await self._join(connection, near)
        finally:
            connection.tear()
            self._connections.discard(connection)

    def _callee(self, request: bytes) -> str | None:
        words = request.split(b"\r\n", 1)[0].decode("ascii", "replace").split(" ")
        return self._names.get(words[1]) if len(words) == 3 and words[0] == "CONNECT" else None

    async def _join(self, connection: _Connection, near: Side) -> None:
        host, _, port = self._addresses[connection.callee].rpartition(":")
        far = await asyncio.open_connection(host, int(port))
        connection.writers.append(far[1])
        near[1].write(ESTABLISHED)
        out = self._pump(near[0], far[1], self._open[connection.caller, connection.callee])
        back = self._pump(far[0], near[1], self._open[connection.callee, connection.caller])
        await _both(out, back)

    @staticmethod
    async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_open: asyncio.Event) -> None:
        """The end of a connection is news too: it waits at a cut like everything else."""
        while data := await reader.read(CHUNK_BYTES):
            await is_open.wait()
            writer.write(data)
            await writer.drain()
        await is_open.wait()
        with suppress(OSError):  # the other end has closed meanwhile
            writer.write_eof()


async def _both(*works: Coroutine[None, None, None]) -> None:
    """Until both have ended; where one fails, the other is ended too."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _opened() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event
