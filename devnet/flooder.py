"""A bad client that is cheap to be: HTTP/2 frames written by hand, at a steady rate, from an address of its own.

    python -m devnet.flooder SOURCE_ADDRESS RATE SECONDS CHAIN_ID HOST:PORT...

It sends what a stranger can: wrongly signed transactions, transactions and requests that cannot be read, calls of methods
that there are not. It heeds no limit but the receiver's flow-control window, which a sender cannot pass.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from dataclasses import dataclass

from chain.tx import TxCall
from gridbft.v1 import client_pb2
from gridbft.wallet import Wallet

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
FRAME_HEAD = 9
FIRST_WINDOW = 65_535
LAST_STREAM = 2**31 - 1
TICK_S = 0.01
RECONNECT_S = 0.1


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def header_block(path: str, authority: str) -> bytes:
    """HPACK without its tables: POST, http, and literals that nobody remembers."""

    def literal(name: bytes, value: str) -> bytes:
        assert len(value) < 127, "one byte of length"
        return name + bytes([len(value)]) + value.encode()

    return b"".join(
        (
            b"\x83\x86",
            literal(b"\x04", path),
            literal(b"\x01", authority),
            literal(b"\x0f\x10", "application/grpc"),
            literal(b"\x00\x02te", "trailers"),
        )
    )


def request_frames(path: str, authority: str, raw: bytes) -> tuple[bytes, bytes, bytes, int]:
    """What stands before, between and after the two places of a request's stream number; and its size for flow control."""
    block, body = header_block(path, authority), b"\x00" + len(raw).to_bytes(4, "big") + raw
    head = len(block).to_bytes(3, "big") + bytes([HEADERS, END_HEADERS])
    middle = block + len(body).to_bytes(3, "big") + bytes([DATA, END_STREAM])
    return head, middle, body, len(body)


def bad_requests(chain_id: str) -> list[tuple[str, bytes]]:
    """(method, encoded request), each wrong in its own way."""
    wallet = Wallet.generate()
    call = (TxCall("payments", "mint", b"\x90"),)
    found: list[tuple[str, bytes]] = []
    for nonce in range(16):
        raw = bytearray(wallet.transaction(chain_id, nonce, call, 1_000, 100_000))
        raw[-1] ^= 1  # the signature is the envelope's last field
        found.append(("Submit", client_pb2.SubmitRequest(tx=bytes(raw)).SerializeToString()))
    found.append(("Submit", client_pb2.SubmitRequest(tx=b"\xff" * 100).SerializeToString()))
    found.append(("Submit", b"\xff\xff\xff\xff"))
    found.append(("Nothing", b""))
    found.append(("Query", client_pb2.QueryRequest(contract="x" * 60, view="y", args=b"\xc1").SerializeToString()))
    return found


@dataclass(slots=True)
class Flooder:
    """One connection after another to one node."""

    address: str
    source: str
    rate: float
    bodies: list[tuple[str, bytes]]
    sent: int = 0
    connections: int = 0
    answered: int = 0
    resets: int = 0
    _window: int = 0

    async def run(self, until: float) -> None:
        loop = asyncio.get_running_loop()
        host, _, port = self.address.rpartition(":")
        while loop.time() < until:
            try:
                reader, writer = await asyncio.open_connection(host, int(port), local_addr=(self.source, 0))
            except OSError:
                await asyncio.sleep(RECONNECT_S)
                continue
            self.connections += 1
            self._window = FIRST_WINDOW
            writer.write(PREFACE + frame(SETTINGS, 0, 0, b"") + frame(WINDOW_UPDATE, 0, 0, (2**30).to_bytes(4, "big")))
            reading = asyncio.create_task(self._read(reader, writer))
            try:
                await self._send(writer, until, reading)
            except OSError:
                pass  # cut off: the next connection
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
                writer.close()

    async def _send(self, writer: asyncio.StreamWriter, until: float, reading: asyncio.Task[None]) -> None:
        """A tick's worth of requests in one write: what the flooder spends, the nodes do not have."""
        loop = asyncio.get_running_loop()
        kinds = itertools.cycle(
            [request_frames(f"/gridbft.v1.LedgerService/{m}", self.address, r) for m, r in self.bodies]
        )
        begun, here, stream = loop.time(), 0, 1
        while not reading.done() and loop.time() < until and stream < LAST_STREAM - 2 * self.rate:
            wanted = int((loop.time() - begun) * self.rate) - here
            parts: list[bytes] = []
            while len(parts) < 5 * wanted and self._window > FIRST_WINDOW // 8:
                head, middle, tail, size = next(kinds)
                number = stream.to_bytes(4, "big")
                parts += (head, number, middle, number, tail)
                stream += 2
                self._window -= size
            here += len(parts) // 5
            self.sent += len(parts) // 5
            writer.write(b"".join(parts))
            await writer.drain()
            await asyncio.sleep(TICK_S)

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until the other side ends it."""
        held = b""
        while chunk := await reader.read(1 << 18):
            held += chunk
            at = 0
            while len(held) - at >= FRAME_HEAD:
                end = at + FRAME_HEAD + int.from_bytes(held[at : at + 3], "big")
                if end > len(held):
                    break
                if not self._on_frame(held[at:end], writer):
                    return
                at = end
            held = held[at:]

    def _on_frame(self, raw: bytes, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection goes on."""
        kind, flags = raw[3], raw[4]
        if kind == RST_STREAM:
            self.resets += 1
        elif kind == HEADERS:
            self.answered += flags & END_STREAM
        elif kind == WINDOW_UPDATE and raw[5:9] == b"\0\0\0\0":
            self._window += int.from_bytes(raw[9:], "big")
        elif kind == SETTINGS and not flags & ACK:
            writer.write(frame(SETTINGS, ACK, 0, b""))
        elif kind == PING and not flags & ACK:
            writer.write(frame(PING, ACK, 0, raw[9:]))
        return kind != GOAWAY


async def flood(source: str, rate: float, seconds: float, chain_id: str, addresses: list[str]) -> dict[str, int]:
    """Spread over all nodes; ends after `seconds` with what was sent and what came back."""
    bodies = bad_requests(chain_id)
    flooders = [Flooder(a, source, rate / len(addresses), bodies) for a in addresses]
    until = asyncio.get_running_loop().time() + seconds
    await asyncio.gather(*(f.run(until) for f in flooders))
    report = {"sent": sum(f.sent for f in flooders), "connections": sum(f.connections for f in flooders)}
    report["answered"] = sum(f.answered for f in flooders)
    report["reset"] = sum(f.resets for f in flooders)
    report["own_cpu_ms"] = int(time.process_time() * 1_000)
    return report


def main() -> int:
    source, rate, seconds, chain_id, *addresses = sys.argv[1:]
    print(json.dumps(asyncio.run(flood(source, float(rate), float(seconds), chain_id, addresses))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
