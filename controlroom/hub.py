"""Sends viewers what they look at, whenever it has changed: computed once for all who look at the same thing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import parse_qsl

from controlroom.room import BadRequest, Params, Room, View

BEAT_S = 1.0
"""A viewer is told of changes this often at most."""
MAX_WATCHED = 12
MAX_KEY_CHARACTERS = 300
MAX_KEPT = 400


class Socket(Protocol):
    async def send_text(self, data: str, /) -> None: ...


@dataclass(slots=True, eq=False)
class Viewer:
    """`watched` maps a key (a view and its parameters, as in a URL) to the text that was sent last."""

    socket: Socket
    watched: dict[str, str] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)


class Hub:
    """A slow viewer holds up nobody: each has a task of its own that sends the newest state and leaves out what was between."""

    def __init__(
        self, room: Room, views: Mapping[str, Callable[[Room, Params], View]], lively: Collection[str] = ()
    ) -> None:
        """`lively`: the views that show more than the model's past, such as where the nodes stand now."""
        self.room = room
        self.viewers: set[Viewer] = set()
        self._views = views
        self._lively = lively
        self._texts: dict[str, tuple[object, str]] = {}

    def text(self, key: str) -> str:
        """The answer to a key as it is sent, with the key in it."""
        feed = self.room.feed
        revision = feed.revision if key.partition("?")[0] in self._lively else (id(feed.model), feed.model.revision)
        found = self._texts.get(key)
        if found is None or found[0] != revision:
            if len(self._texts) >= MAX_KEPT:
                self._texts.clear()  # somebody walks through all slots; what is looked at comes back at once
            found = (revision, json.dumps({"key": key, **self._answer(key)}, separators=(",", ":")))
            self._texts[key] = found
        return found[1]

    def _answer(self, key: str) -> View:
        name, _, query = key.partition("?")
        view = self._views.get(name)
        if view is None or len(key) > MAX_KEY_CHARACTERS:
            return {"error": "UNKNOWN_VIEW", "message": "there is no such view"}
        try:
            return {"data": view(self.room, dict(parse_qsl(query)))}
        except BadRequest as error:
            return {"error": "BAD_REQUEST", "message": str(error)}

    def watch(self, viewer: Viewer, keys: list[str]) -> None:
        """From now on the viewer is told of these and of no others."""
        kept = {key: viewer.watched.get(key, "") for key in keys[:MAX_WATCHED]}
        viewer.watched = kept
        viewer.news.set()

    async def serve(self, viewer: Viewer) -> None:
        """Sends until the connection breaks or the task is cancelled."""
        while True:
            await viewer.news.wait()
            viewer.news.clear()
            for key in list(viewer.watched):
                text = self.text(key)
                if viewer.watched.get(key) not in (text, None):
                    viewer.watched[key] = text
                    await viewer.socket.send_text(text)

    async def beat(self) -> None:
        """Wakes viewers after each change, at most once a beat."""
        while True:
            await self.room.feed.changed(60.0)
            for viewer in self.viewers:
                viewer.news.set()
            await asyncio.sleep(BEAT_S)
