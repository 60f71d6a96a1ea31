"""The gate of the client port: who may come in, how much each may ask, and who is next.

A client beyond its allowance is kept waiting for what it owes, and told what to do when that is too long. Waiting is
what protects the node: a flood backs up in the flooder's own connection instead of being worked off here.
"""

from __future__ import annotations

import asyncio
import inspect
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import unquote

import grpc
import structlog
from google.protobuf.message import DecodeError

from chain.refusal import Code
from gridbft.v1 import client_pb2
from node.allowance import Account, Accounts, ClientLimits, Rota
from node.certs import CertificateError, certificate_digest
from node.connections import Connections

PATIENCE_SECONDS = 2.0  # longer debts end in a refusal
HELD_SECONDS = 20.0  # and that comes late, so that asking again and again is no use
ANSWER_SECONDS = 0.25  # left of a caller's deadline, so that it gets the sentence
CHECKED_AT_ONCE = 4  # batches whose signatures are checked; further ones wait for their client's turn
FAULTS = frozenset({Code.MALFORMED.name, Code.BAD_SIGNATURE.name})

if TYPE_CHECKING:
    _Interceptor = grpc.aio.ServerInterceptor[Any, Any]
else:
    _Interceptor = grpc.aio.ServerInterceptor

Pinned = Callable[[], frozenset[bytes] | None]
"""SHA-256 of the client certificates that are let in; None: whoever TLS let in."""

log = structlog.get_logger("clients")


class Gate(_Interceptor):
    """Stands before every handler of the client port; `refused` counts requests that ended here, by limit. `connections`
    are those of a port with TLS, and hear of each call."""

    def __init__(
        self, limits: ClientLimits, pinned: Pinned = lambda: None, connections: Connections | None = None
    ) -> None:
        self._connections = connections
        self._accounts = Accounts(limits)
        self._limits = limits
        self._pinned = pinned
        self._rota: Rota[asyncio.Future[None]] = Rota()
        self._checking = 0
        self.refused: dict[str, int] = {}

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        handler = await continuation(details)
        if handler is None:
            return grpc.stream_stream_rpc_method_handler(self._unknown)
        read = _sized(handler.request_deserializer)
        write = handler.response_serializer
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(self._one(handler.unary_unary), read, write)
        if handler.unary_stream:
            follow = self._following if inspect.isasyncgenfunction(handler.unary_stream) else self._writing
            return grpc.unary_stream_rpc_method_handler(follow(handler.unary_stream), read, write)
        if handler.stream_stream:
            return grpc.stream_stream_rpc_method_handler(self._batches(handler.stream_stream), read, write)
        return handler

    # --- the three kinds of calls -----------------------------------------------------------------------------------

    def _one(self, inner: Callable[..., Awaitable[Any]]) -> Any:
        async def handle(sized: tuple[Any, int], context: Any) -> Any:
            request, size = sized
            account, _ = await self._account(context)
            with self._call(account):
                txs = 1 if isinstance(request, client_pb2.SubmitRequest) else 0
                await self._pay(account, context, size, request, txs)
                response = await inner(request, context)
            if isinstance(response, client_pb2.SubmitResponse) and response.verdict.code in FAULTS:
                account.faults.take(1, _now())
            return response

        return handle

    def _following(self, inner: Callable[..., AsyncIterator[Any]]) -> Any:
        async def handle(sized: tuple[Any, int], context: Any) -> AsyncIterator[Any]:
            request, size = sized
            account, _ = await self._account(context)
            with self._call(account), self._subscription(account) as is_free:
                if not is_free:
                    await self._refuse(context, account, "subscriptions", 0.0)
                await self._pay(account, context, size, request, 0)
                async for response in inner(request, context):
                    yield response

        return handle

    def _batches(self, inner: Callable[..., AsyncIterator[Any]]) -> Any:
        async def handle(requests: AsyncIterator[tuple[Any, int]], context: Any) -> AsyncIterator[Any]:
            account, client = await self._account(context)
            turn = _Turn(self, client)

            async def admitted() -> AsyncIterator[Any]:
                async for request, size in requests:
                    txs = len(getattr(request, "txs", ()))
                    if txs > self._limits.batch_transactions:
                        await self._refuse(context, account, "batch_transactions", 0.0)
                    await self._pay(account, context, size, request, txs)
                    await turn.take()
                    yield request

            with self._call(account):
                try:
                    async for response in inner(admitted(), context):
                        turn.give_back()
                        if isinstance(response, client_pb2.SubmitBatchResponse):
                            faults = sum(v.code in FAULTS for v in response.verdicts)
                            if faults:
                                account.faults.take(faults, _now())
                        yield response
                finally:
                    turn.give_back()

        return handle

    def _writing(self, inner: Callable[..., Awaitable[Any]]) -> Any:
        """A stream whose handler writes through the context, as the standard health service does."""

        async def handle(sized: tuple[Any, int], context: Any) -> None:
            request, size = sized
            account, _ = await self._account(context)
            with self._call(account), self._subscription(account) as is_free:
                if not is_free:
                    await self._refuse(context, account, "subscriptions", 0.0)
                await self._pay(account, context, size, request, 0)
                await inner(request, context)

        return handle

    async def _unknown(self, requests: Any, context: Any) -> None:
        """A method that there is not costs a request like any other."""
        account, _ = await self._account(context)
        with self._call(account):
            await self._pay(account, context, 0, b"", 0)
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "this node has no such method")

    # --- allowances -------------------------------------------------------------------------------------------------

    async def _account(self, context: Any) -> tuple[Account, str]:
        """The caller's, once it is let in at all."""
        if self._connections is not None:
            self._connections.called(context.peer(), _now())
        pinned = self._pinned()
        certificate = _certificate(context)
        if pinned is not None and certificate not in pinned:
            self._count("client_fingerprints")
            shown = "none" if certificate is None else certificate.hex()
            await context.abort(
                grpc.StatusCode.PERMISSION_DENIED,
                f"this node lets in clients by their certificates, and yours ({shown}) is not among them: "
                "ask its operator to add the fingerprint",
            )
        client = client_of(context.peer()) if certificate is None else certificate.hex()
        account = self._accounts.of(client, _now())
        if account.calls >= self._limits.calls_at_once:
            await self._refuse(context, account, "calls_at_once", 0.0)
        return account, client

    @contextmanager
    def _call(self, account: Account) -> Iterator[None]:
        account.calls += 1
        try:
            yield
        finally:
            account.calls -= 1

    @contextmanager
    def _subscription(self, account: Account) -> Iterator[bool]:
        """Whether there is room for one more."""
        is_free = account.subscriptions < self._limits.subscriptions
        account.subscriptions += 1
        try:
            yield is_free
        finally:
            account.subscriptions -= 1

    async def _pay(self, account: Account, context: Any, size: int, request: Any, txs: int) -> None:
        """Takes from the allowance, and waits for what is owed. Ends the call where that is too long, and where the
        request cannot be read at all."""
        if size > self._limits.message_bytes:
            await self._refuse(context, account, "message_bytes", 0.0)
        now = _now()
        debt, name = account.debt(now)  # of earlier requests: one big batch may overdraw, the next one waits
        if debt > PATIENCE_SECONDS:
            await self._refuse(context, account, name, debt)
        account.requests.take(1, now)
        account.received.take(size, now)
        if txs:
            account.transactions.take(txs, now)
        if request is None:
            account.faults.take(1, now)
            self._count("unreadable")
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the request is no message of this method")
        if debt > 0:
            await asyncio.sleep(debt)

    async def _refuse(self, context: Any, account: Account, limit: str, wait_s: float) -> NoReturn:
        self._count(limit)
        account.fine(limit, _now())
        left = context.time_remaining()
        await asyncio.sleep(min(wait_s, HELD_SECONDS, wait_s if left is None else max(0.0, left - ANSWER_SECONDS)))
        allowed = getattr(self._limits, limit)
        when = f"wait {wait_s:.0f} s and send less" if wait_s else "send smaller or fewer ones"
        await context.abort(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            f"you have met this node's limit {limit} = {allowed}: {when}, ask another node too, or ask the operator "
            f"for more ([limits] {limit} in its config.toml)",
        )
        raise AssertionError("abort raises")

    def _count(self, limit: str) -> None:
        before = self.refused.get(limit, 0)
        self.refused[limit] = before + 1
        if (before & (before + 1)) == 0:  # the first, third, seventh, ...: a flood must not fill the log
            log.warning("clients_refused", limit=limit, times=before + 1)

    # --- turns ------------------------------------------------------------------------------------------------------

    async def _begin_check(self, client: str) -> None:
        if self._checking < CHECKED_AT_ONCE:
            self._checking += 1
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._rota.add(client, mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self._end_check()  # it was our turn already
            raise

    def _end_check(self) -> None:
        while (waiting := self._rota.next()) is not None:
            if not waiting.done():
                waiting.set_result(None)  # the place passes on
                return
        self._checking -= 1


class _Turn:
    """One stream's place among the batches that are checked."""

    def __init__(self, gate: Gate, client: str) -> None:
        self._gate = gate
        self._client = client
        self._is_held = False

    async def take(self) -> None:
        await self._gate._begin_check(self._client)
        self._is_held = True

    def give_back(self) -> None:
        if self._is_held:
            self._is_held = False
            self._gate._end_check()


def client_of(peer: str) -> str:
    """`ipv4:10.0.0.1:5000` is 10.0.0.1; of an IPv6 address the /64 counts, which belongs to one customer."""
    return _client_of_host(peer.rpartition(":")[0])


@lru_cache(maxsize=4_096)
def _client_of_host(host: str) -> str:
    kind, _, text = unquote(host).partition(":")
    try:
        address = ipaddress.ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped) if mapped is not None else str(ipaddress.ip_network((address, 64), strict=False))
    return str(address) if kind == "ipv4" else host


def _certificate(context: Any) -> bytes | None:
    pem = context.auth_context().get("x509_pem_cert")
    if not pem:
        return None
    try:
        return _digest(pem[0])
    except CertificateError:
        return None


_digest = lru_cache(maxsize=1_024)(certificate_digest)


def _sized(deserializer: Any) -> Callable[[bytes], tuple[Any, int]]:
    """The message with its size; None where it cannot be read, so that this too is answered and counted."""

    def read(raw: bytes) -> tuple[Any, int]:
        try:
            return deserializer(raw) if deserializer is not None else raw, len(raw)
        except DecodeError:
            return None, len(raw)

    return read


def _now() -> float:
    return asyncio.get_running_loop().time()
