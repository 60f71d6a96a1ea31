"""The client port: the ledger service, the standard health service, and reflection for generic clients."""

from __future__ import annotations

from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from gridbft.v1 import client_pb2, client_pb2_grpc
from node.admission import MAX_MESSAGE_BYTES
from node.allowance import ClientLimits
from node.clienttls import ClientTls
from node.connections import HANDSHAKE_OPTION, Connections
from node.gate import Gate, Pinned
from node.peers import PortTakenError
from node.rpc import LedgerRpc

SERVICE = client_pb2.DESCRIPTOR.services_by_name["LedgerService"].full_name

_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_send_message_length", 4 * MAX_MESSAGE_BYTES),  # a whole block with its receipts
    HANDSHAKE_OPTION,
    ("grpc.so_reuseport", 0),  # a second process on this port must fail, not share it
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
]
DEFAULTS = ClientLimits()


class ClientServer:
    """Serves from `start` to `stop`; without `tls` in plain text. `pinned`: the client certificates that are let in."""

    def __init__(
        self,
        rpc: LedgerRpc,
        limits: ClientLimits = DEFAULTS,
        tls: ClientTls | None = None,
        pinned: Pinned = lambda: None,
    ) -> None:
        self.connections = Connections("clients")
        self.gate = Gate(limits, pinned, None if tls is None else self.connections)
        self._tls = tls
        options = [
            *_OPTIONS,
            # What is only a little too large is read, so that the gate can say what the limit is.
            ("grpc.max_receive_message_length", 2 * limits.message_bytes),
            ("grpc.max_concurrent_streams", limits.calls_at_once),
        ]
        self._server = grpc.aio.server(options=options, interceptors=(self.gate,))
        self._health: Any = health.aio.HealthServicer()  # type: ignore[attr-defined]
        client_pb2_grpc.add_LedgerServiceServicer_to_server(rpc, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)

    async def start(self, address: str) -> int:
        """The port. Raises PortTakenError or ClientTlsError."""
        try:
            if self._tls is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, self._tls.credentials(self.connections.accepted))
        except RuntimeError as error:
            raise PortTakenError(
                f"client_address {address} cannot be used: is another process listening there?"
            ) from error
        await self._server.start()
        for service in ("", SERVICE):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        return int(port)

    async def set_ready(self, ready: bool) -> None:
        """What the health service says of the ledger service; of the process ("") it says SERVING until it stops."""
        status = health_pb2.HealthCheckResponse
        await self._health.set(SERVICE, status.SERVING if ready else status.NOT_SERVING)

    async def stop(self) -> None:
        """Subscribers and waiting clients are told that the node goes away."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace=0.5)
