"""The web server: one page, its parts, what it watches, what it asks, and what the owner of a key may do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from controlroom.hub import Hub, Viewer
from controlroom.lookups import Desk, Missing
from controlroom.owner import COOKIE, NotYours, Owner, Refused, is_local
from controlroom.proofs import MAX_PROOF_BYTES, Notary
from controlroom.room import BadRequest, Room, View
from gridbft.errors import ClientError, VerificationError
from gridbft.ground import ExplainError

STATIC = Path(__file__).parent / "static"
MAX_VIEWERS = 500
MAX_WISH_BYTES = 10_000
LOCK_ROUND_S = 30.0
HEADERS = {
    # Nothing is ever loaded from elsewhere, and no other page may frame or read this one.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Services:
    room: Room
    owner: Owner
    notary: Notary
    desk: Desk
    hub: Hub


def build(services: Services, on_failure: Callable[[], None] = lambda: None) -> Starlette:
    """The application. It follows the chain while it runs; `on_failure` is called should that ever end."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        works = [services.room.feed.run(), services.hub.beat(), _lock_idle(services.owner)]
        tasks = [asyncio.create_task(work) for work in works]
        for task in tasks:
            task.add_done_callback(lambda done: None if done.cancelled() else on_failure())
        yield
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        await services.owner.close()
        for failure in ended:
            if isinstance(failure, Exception):
                raise failure

    asked = {f"/api/{name}": _asked(answer) for name, answer in services.desk.lookups().items()}
    routes = [
        Route("/", lambda request: FileResponse(STATIC / "index.html")),
        Route("/api/key", _guarded(_key(services.owner))),
        Route("/api/unlock", _guarded(_unlock(services.owner)), methods=["POST"]),
        Route("/api/lock", _guarded(_lock(services.owner)), methods=["POST"]),
        *(Route(f"/api/{name}", _guarded(_owned(work))) for name, work in _limits(services.owner).items()),
        *(
            Route(f"/api/{name}", _guarded(_wished(work)), methods=["POST"])
            for name, work in _wishes(services.owner).items()
        ),
        Route("/api/proof/{number:int}", _guarded(_proof(services.notary))),
        Route("/api/verify", _guarded(_verify(services.notary)), methods=["POST"]),
        Route("/api/view/{name:path}", _guarded(_view(services.hub))),
        *(Route(path, _guarded(handler)) for path, handler in asked.items()),
        WebSocketRoute("/live", live(services.hub)),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    app = Starlette(routes=routes, lifespan=lifespan)
    app.add_middleware(Sealed)
    return app


class Sealed:
    """Puts the headers on every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self.app(scope, receive, sealed if scope["type"] == "http" else send)


def _guarded(handler: Handler) -> Handler:
    """Faults as answers: the viewer's own, the chain's, and what the nodes do not give."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except BadRequest as error:
            return _fault(400, "BAD_REQUEST", str(error))
        except Missing as error:
            return _fault(404, "NOT_FOUND", str(error))
        except NotYours as error:
            return _fault(403, "NOT_YOURS", str(error))
        except Refused as error:
            return _fault(409, error.code, str(error))
        except ExplainError as error:
            return _fault(500, "DOES_NOT_ADD_UP", str(error))
        except VerificationError as error:
            return _fault(502, error.reason, str(error))
        except ClientError as error:
            return _fault(503, "NODES_DO_NOT_ANSWER", str(error))

    return answer


def _fault(status: int, code: str, message: str) -> Response:
    return JSONResponse({"error": code, "message": message}, status)


def _asked(answer: Callable[[Any], Awaitable[View]]) -> Handler:
    async def handler(request: Request) -> Response:
        return JSONResponse(await answer(dict(request.query_params)))

    return handler


def _view(hub: Hub) -> Handler:
    """A view once, for programs; a page watches it."""

    async def handler(request: Request) -> Response:
        query = request.url.query
        key = request.path_params["name"] + (f"?{query}" if query else "")
        answer = json.loads(hub.text(key))
        return JSONResponse(answer["data"]) if "data" in answer else JSONResponse(answer, 400)

    return handler


# -- the owner of a key


def _local(request: HTTPConnection) -> bool:
    headers: Headers = request.headers
    return is_local(request.client.host if request.client else "", headers.get("host", ""), headers.get("origin"))


def _token(request: Request, *, acts: bool = True) -> str:
    """The session's token. What acts must come from a script of our own page, which a form of another site is not."""
    if not _local(request) or (acts and request.headers.get("x-control-room") != "1"):
        raise NotYours("keys are only used by viewers on the machine that serves the page, at a loopback address")
    return request.cookies.get(COOKIE, "")


async def _wish(request: Request) -> dict[str, Any]:
    raw = await _body(request, MAX_WISH_BYTES)
    try:
        wish = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadRequest("expected a JSON object") from error
    if not isinstance(wish, dict):
        raise BadRequest("expected a JSON object")
    return wish


async def _body(request: Request, most: int) -> bytes:
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > most:
            raise BadRequest(f"too large: expected at most {most} bytes")
    return bytes(raw)


def _key(owner: Owner) -> Handler:
    async def handler(request: Request) -> Response:
        local = _local(request)
        return JSONResponse(owner.keys(request.cookies.get(COOKIE, ""), local))

    return handler


def _unlock(owner: Owner) -> Handler:
    async def handler(request: Request) -> Response:
        before = _token(request)
        wish = await _wish(request)
        token = await owner.unlock(str(wish.get("name", "")), str(wish.get("passphrase", "")))
        await owner.lock(before)
        response = JSONResponse(owner.keys(token, True))
        response.set_cookie(COOKIE, token, httponly=True, samesite="strict", path="/api")
        return response

    return handler


def _lock(owner: Owner) -> Handler:
    async def handler(request: Request) -> Response:
        await owner.lock(_token(request))
        response = JSONResponse(owner.keys("", True))
        response.delete_cookie(COOKIE, path="/api", httponly=True, samesite="strict")
        return response

    return handler


def _limits(owner: Owner) -> dict[str, Callable[[str, Any], Awaitable[View]]]:
    return {"order-limits": owner.order_limits, "retire-limits": owner.retire_limits}


def _wishes(owner: Owner) -> dict[str, Callable[[str, Any], Awaitable[View]]]:
    return {"order": owner.place, "cancel": owner.cancel, "retire": owner.retire}


def _owned(work: Callable[[str, Any], Awaitable[View]]) -> Handler:
    async def handler(request: Request) -> Response:
        return JSONResponse(await work(_token(request, acts=False), dict(request.query_params)))

    return handler


def _wished(work: Callable[[str, Any], Awaitable[View]]) -> Handler:
    async def handler(request: Request) -> Response:
        return JSONResponse(await work(_token(request), await _wish(request)))

    return handler


async def _lock_idle(owner: Owner) -> None:
    while True:
        await asyncio.sleep(LOCK_ROUND_S)
        await owner.lock_idle()


# -- proofs


def _proof(notary: Notary) -> Handler:
    async def handler(request: Request) -> Response:
        number = request.path_params["number"]
        disposition = {"content-disposition": f'attachment; filename="retirement-{number}.proof"'}
        return Response(await notary.prove(number), media_type="application/octet-stream", headers=disposition)

    return handler


def _verify(notary: Notary) -> Handler:
    async def handler(request: Request) -> Response:
        return JSONResponse(await notary.check(await _body(request, MAX_PROOF_BYTES)))

    return handler


# -- live


def live(hub: Hub) -> Callable[[WebSocket], Awaitable[None]]:
    """The handler of `/live`: a viewer sends what it watches, and is sent that whenever it changes."""

    async def handler(socket: WebSocket) -> None:
        origin = socket.headers.get("origin")
        foreign = origin is not None and origin.partition("://")[2] != socket.headers.get("host", "")
        if foreign or len(hub.viewers) >= MAX_VIEWERS:
            await socket.close(1008)
            return
        await socket.accept()
        viewer = Viewer(socket)
        hub.viewers.add(viewer)
        tasks = [asyncio.create_task(hub.serve(viewer)), asyncio.create_task(_listen(socket, hub, viewer))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hub.viewers.discard(viewer)
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(WebSocketDisconnect, RuntimeError):  # most viewers leave without a word
            await socket.close()
        for failure in ended:
            if isinstance(failure, Exception) and not isinstance(failure, WebSocketDisconnect):
                raise failure  # a view that fails is our own bug: the page asks again, and the log has it

    return handler


async def _listen(socket: WebSocket, hub: Hub, viewer: Viewer) -> None:
    """Until the viewer goes away, or speaks another language."""
    with suppress(WebSocketDisconnect, ValueError, RecursionError, KeyError):  # KeyError: bytes instead of text
        while True:
            keys = json.loads(await socket.receive_text())
            if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
                return
            hub.watch(viewer, keys)
