"""Viewers are told what changed, once, and never wait for each other."""

from __future__ import annotations

import asyncio
import json

from controlroom.feed import Feed
from controlroom.hub import Hub, Viewer
from controlroom.room import BadRequest, Params, Room, View


class Slow:
    """A socket that takes a message only when it is allowed to."""

    def __init__(self) -> None:
        self.got: list[object] = []
        self.free = asyncio.Event()
        self.free.set()

    async def send_text(self, data: str, /) -> None:
        await self.free.wait()
        self.got.append(json.loads(data).get("data"))


class Counting:
    """A view that shows how often the feed has changed, in steps of ten, and counts how often it is computed."""

    def __init__(self) -> None:
        self.computed = 0

    def __call__(self, room: Room, params: Params) -> View:
        self.computed += 1
        if "bad" in params:
            raise BadRequest("no")
        return {"tens": room.feed.revision // 10}


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_an_answer_is_computed_once_for_all_and_sent_only_when_it_differs() -> None:
    async def run() -> None:
        view = Counting()
        feed = Feed(["127.0.0.1:1"])
        hub = Hub(Room(feed), {"tens": view}, {"tens"})
        viewers = [Viewer(Slow()) for _ in range(50)]
        tasks = [asyncio.create_task(hub.serve(viewer)) for viewer in viewers]
        for viewer in viewers:
            hub.watch(viewer, ["tens", "tens?x=1"])
        await settle()
        assert view.computed == 2
        feed.revision = 5
        for viewer in viewers:
            viewer.news.set()
        await settle()
        assert view.computed == 4
        for viewer in viewers:
            assert isinstance(viewer.socket, Slow)
            assert viewer.socket.got == [{"tens": 0}, {"tens": 0}]  # one for each key; nothing new since
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())


def test_a_slow_viewer_misses_what_was_between_and_holds_up_nobody() -> None:
    async def run() -> None:
        feed = Feed(["127.0.0.1:1"])
        hub = Hub(Room(feed), {"tens": Counting()}, {"tens"})
        slow, quick = Viewer(Slow()), Viewer(Slow())
        tasks = [asyncio.create_task(hub.serve(viewer)) for viewer in (slow, quick)]
        for viewer in (slow, quick):
            hub.watch(viewer, ["tens"])
        await settle()
        assert isinstance(slow.socket, Slow)
        assert isinstance(quick.socket, Slow)
        slow.socket.free.clear()
        for revision in (10, 20, 30):
            feed.revision = revision
            for viewer in (slow, quick):
                viewer.news.set()
            await settle()
        slow.socket.free.set()
        await settle()
        assert quick.socket.got == [{"tens": n} for n in (0, 1, 2, 3)]
        assert slow.socket.got == [{"tens": n} for n in (0, 1, 3)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())


def test_what_cannot_be_asked_is_answered_with_why() -> None:
    hub = Hub(Room(Feed(["127.0.0.1:1"])), {"tens": Counting()})
    assert json.loads(hub.text("tens?bad=1"))["error"] == "BAD_REQUEST"
    assert json.loads(hub.text("nothing"))["error"] == "UNKNOWN_VIEW"
    assert json.loads(hub.text("tens?" + "x" * 400))["error"] == "UNKNOWN_VIEW"


def test_a_model_that_stands_still_is_not_computed_again_for_a_view_of_its_past() -> None:
    view = Counting()
    feed = Feed(["127.0.0.1:1"])
    hub = Hub(Room(feed), {"past": view})
    hub.text("past")
    feed.revision += 1
    hub.text("past")
    assert view.computed == 1
    feed.model.revision += 1
    hub.text("past")
    assert view.computed == 2
