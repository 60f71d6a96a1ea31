"""The metrics port: `GET /metrics` over HTTP/1.1, one answer for each connection, small and short of patience."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from node.metrics import CONTENT_TYPE
from node.peers import PortTakenError

REQUEST_BYTES = 8_192
PATIENCE_SECONDS = 5.0
CONNECTIONS = 16

log = structlog.get_logger("metrics")


class MetricsServer:
    """`read` gives the text to answer with. Serves from `start` to `stop`."""

    def __init__(self, read: Callable[[], Awaitable[bytes]]) -> None:
        self._read = read
        self._server: asyncio.Server | None = None
        self._open = 0

    async def start(self, address: str) -> int:
        """The port. Raises PortTakenError."""
        host, _, port = address.rpartition(":")
        try:
            self._server = await asyncio.start_server(
                self._serve, host.strip("[]"), int(port), limit=REQUEST_BYTES, reuse_port=False
            )
        except OSError as error:
            raise PortTakenError(
                f"metrics_address {address} cannot be used ({error.strerror or error}): is another process listening there?"
            ) from error
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= CONNECTIONS:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    writer.write(await self._answer(reader))
                    await writer.drain()
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            log.debug("no_request", error=repr(error))
            writer.transport.abort()  # whoever takes no answer must not hold the connection open, nor the server at its end
        finally:
            self._open -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        request = await reader.readuntil(b"\r\n\r\n")
        line = request.split(b"\r\n", 1)[0].split(b" ")
        if len(line) != 3 or line[0] != b"GET":
            return _response("405 Method Not Allowed", b"only GET is answered here\n")
        if line[1].split(b"?")[0] not in (b"/metrics", b"/"):
            return _response("404 Not Found", b"the metrics are under /metrics\n")
        return _response("200 OK", await self._read(), CONTENT_TYPE)


def _response(status: str, body: bytes, kind: str = "text/plain; charset=utf-8") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode("ascii") + body
