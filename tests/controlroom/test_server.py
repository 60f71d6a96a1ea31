"""Viewers come and go; what the server says of it, and to whom."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from starlette.types import Message
from starlette.websockets import WebSocket

from controlroom.feed import Feed
from controlroom.hub import Hub
from controlroom.room import Params, Room, View
from controlroom.server import live

JOIN: Message = {"type": "websocket.connect"}
LEAVE: Message = {"type": "websocket.disconnect", "code": 1005}


def says(what: object) -> Message:
    return {"type": "websocket.receive", "text": json.dumps(what)}


class Line:
    """One viewer's connection: what it says in turn, and what reaches it. Once it has left, nothing does."""

    def __init__(self, *said: Message) -> None:
        self.said = [JOIN, *said]
        self.heard: list[Message] = []
        self.gone = False

    async def receive(self) -> Message:
        if not self.said:
            await asyncio.Event().wait()  # it looks on, and says nothing more
        told = self.said.pop(0)
        if told is LEAVE:
            await asyncio.sleep(0)
            self.gone = True
        return told

    async def send(self, message: Message) -> None:
        if self.gone:
            raise OSError("the viewer is gone")  # as an ASGI server tells it
        self.heard.append(message)


def shown(room: Room, params: Params) -> View:
    return {"height": room.model.height}


def broken(room: Room, params: Params) -> View:
    raise ZeroDivisionError


def visit(line: Line, **headers: str) -> Hub:
    """The hub after the visit. Raises what the visit raised."""
    hub = Hub(Room(Feed(["127.0.0.1:1"])), {"shown": shown, "broken": broken})
    scope: dict[str, Any] = {
        "type": "websocket",
        "path": "/live",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }

    async def run() -> None:
        async with asyncio.timeout(30):
            await live(hub)(WebSocket(scope, line.receive, line.send))

    asyncio.run(run())
    return hub


def kinds(line: Line) -> list[str]:
    return [message["type"] for message in line.heard]


def test_a_viewer_that_leaves_without_a_word_is_no_failure() -> None:
    line = Line(says(["shown"]), LEAVE)
    hub = visit(line)
    assert hub.viewers == set()
    assert kinds(line)[0] == "websocket.accept"


def test_a_view_that_fails_ends_the_visit_and_is_told_to_the_log() -> None:
    """Else the page would look live and never change again."""
    line = Line(says(["broken"]))
    with pytest.raises(ZeroDivisionError):
        visit(line)
    assert kinds(line) == ["websocket.accept", "websocket.close"]


@pytest.mark.parametrize(
    "said",
    [says({"shown": 1}), says([1]), {"type": "websocket.receive", "text": "{"}, {"type": "websocket.receive", "bytes": b"x"}],
)  # fmt: skip
def test_who_speaks_another_language_is_shown_out(said: Message) -> None:
    line = Line(said)
    assert visit(line).viewers == set()
    assert kinds(line) == ["websocket.accept", "websocket.close"]


def test_a_page_of_another_site_sees_nothing() -> None:
    line = Line(says(["shown"]))
    visit(line, origin="http://example.org", host="127.0.0.1:7100")
    assert kinds(line) == ["websocket.close"]
