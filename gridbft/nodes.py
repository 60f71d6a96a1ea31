"""Several nodes as one: a channel to each, the one that is asked now, and the turn to the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import grpc
import grpc.aio

from gridbft.errors import NodeUnavailable
from gridbft.requests import addresses_of, status_error
from gridbft.tls import Tls, async_channel
from gridbft.v1.client_pb2_grpc import LedgerServiceStub

if TYPE_CHECKING:
    from gridbft.v1.client_pb2_grpc import LedgerServiceAsyncStub

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")
Method = Callable[["LedgerServiceAsyncStub"], "grpc.aio.UnaryUnaryMultiCallable[_Request, _Response]"]


class Nodes:
    """`current` is the index of the node that is asked first. Channels open when they are needed."""

    def __init__(self, addresses: str | Sequence[str], tls: Tls | None = None) -> None:
        self.addresses = addresses_of(addresses)
        self._tls = tls
        self.current = 0
        self._channels: list[grpc.aio.Channel | None] = [None] * len(self.addresses)

    async def close(self) -> None:
        channels, self._channels = self._channels, [None] * len(self.addresses)
        for channel in channels:
            if channel is not None:
                await channel.close(None)

    def stub(self, index: int) -> LedgerServiceAsyncStub:
        channel = self._channels[index]
        if channel is None:
            channel = async_channel(self.addresses[index], self._tls)
            self._channels[index] = channel
        return LedgerServiceStub(channel)

    def leave(self, index: int) -> None:
        """Turns to the next node, unless a concurrent request has done so already."""
        if self.current == index:
            self.current = (index + 1) % len(self.addresses)

    def nobody(self, detail: str = "") -> NodeUnavailable:
        return NodeUnavailable(", ".join(self.addresses), detail)

    async def ask_one(
        self, index: int, method: Method[_Request, _Response], request: _Request, timeout_s: float
    ) -> _Response:
        """One request to one node. Raises NodeUnavailable, NotFound or RequestRefused."""
        try:
            return await method(self.stub(index))(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise status_error(error.code(), error.details(), self.addresses[index]) from error

    async def ask(
        self, method: Method[_Request, _Response], request: _Request, timeout_s: float, past_deadline: bool = True
    ) -> tuple[_Response, int]:
        """The answer of the current node, or of the first other one that answers, and which one that was.

        `past_deadline`: also asks the next one when a node was reached and its answer did not come in time.
        """
        failures: list[NodeUnavailable] = []
        for _ in self.addresses:
            index = self.current
            try:
                return await self.ask_one(index, method, request, timeout_s), index
            except NodeUnavailable as error:
                self.leave(index)
                if error.timed_out and not past_deadline:
                    raise
                failures.append(error)
        if len(failures) == 1:
            raise failures[0]
        raise self.nobody("; ".join(map(str, failures)))
