"""The feed follows a chain through whatever nodes do: they go, come back, have pruned, or are another chain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from controlroom.feed import Feed
from gridbft import Client
from gridbft.errors import NodeUnavailable, NotFound, RequestRefused
from gridbft.records import BlockEvents, BlockInfo, NodeStatus
from tests.controlroom.chains import block

PATIENCE_S = 30.0


@dataclass
class Node:
    """A chain as one node has it; `up` says whether it answers."""

    chain_id: str = "one"
    blocks: list[BlockEvents] = field(default_factory=list)
    earliest: int = 1
    up: bool = True
    subscriptions: list[int] = field(default_factory=list)  # the heights that were asked for
    asked_blocks: list[int] = field(default_factory=list)

    def grow(self, count: int = 1) -> None:
        for _ in range(count):
            self.blocks.append(block(len(self.blocks) + 1, [[]]))


class Asking(Client):
    """A client of that node. Every stream breaks where the node's blocks end, as a lost connection does."""

    def __init__(self, node: Node) -> None:
        super().__init__(["127.0.0.1:1"])
        self.node = node

    def _answers(self) -> None:
        if not self.node.up:
            raise NodeUnavailable("127.0.0.1:1")

    async def status(self, address: str | None = None) -> NodeStatus:
        self._answers()
        height = len(self.node.blocks)
        return NodeStatus("n", "127.0.0.1:1", self.node.chain_id, height, "", "", 0, 0, 0, (), "", self.node.earliest)

    async def subscribe(
        self, from_height: int = 0, contracts: Sequence[str] = (), names: Sequence[str] = ()
    ) -> AsyncIterator[BlockEvents]:
        self._answers()
        self.node.subscriptions.append(from_height)
        if from_height < self.node.earliest:
            raise RequestRefused("OUT_OF_RANGE", "pruned")
        for one in self.node.blocks[from_height - 1 :]:
            yield one
        raise NodeUnavailable("127.0.0.1:1")

    async def query(self, contract: str, view: str, *args: Any, prove: bool = False, sender: str = "") -> Any:
        self._answers()
        return {"members": [], "parameters": {}, "proposals": []}[view]

    async def state(self, key: bytes) -> bytes | None:
        self._answers()
        return None

    async def block(self, height: int = 0) -> BlockInfo:
        self.node.asked_blocks.append(height)
        raise NotFound("gone")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOOK_S", "INSPECT_S", "RETRY_S", "DESCRIBE_PAUSE_S"):
        monkeypatch.setattr(f"controlroom.feed.{name}", 0.005)


async def until(feed: Feed, reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not reached():
            await feed.changed(0.05)


def follow(node: Node, story: Callable[[Feed], Any]) -> None:
    async def run() -> None:
        feed = Feed(["127.0.0.1:1"], lambda addresses: Asking(node))
        task = asyncio.create_task(feed.run())
        try:
            await story(feed)
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())


def test_a_broken_subscription_goes_on_where_it_broke_and_takes_each_block_once() -> None:
    node = Node()
    node.grow(5)

    async def story(feed: Feed) -> None:
        await until(feed, lambda: feed.caught_up and feed.model.height == 5)
        node.up = False
        node.grow(3)
        await until(feed, lambda: bool(feed.nodes[0].error))
        node.up = True
        await until(feed, lambda: feed.model.height == 8)
        assert feed.model.transactions == 8
        assert node.subscriptions[0] == 1
        assert set(node.subscriptions) <= {1, 6, 9}

    follow(node, story)


def test_another_chain_at_the_same_address_is_followed_from_its_beginning() -> None:
    node = Node()
    node.grow(6)

    async def story(feed: Feed) -> None:
        await until(feed, lambda: feed.model.height == 6)
        node.chain_id, node.blocks = "two", []
        node.grow(2)
        await until(feed, lambda: feed.chain_id == "two" and feed.model.height == 2)
        assert feed.model.transactions == 2

    follow(node, story)


def test_of_a_pruned_node_the_feed_begins_where_the_node_does() -> None:
    node = Node(earliest=4)
    node.grow(7)

    async def story(feed: Feed) -> None:
        await until(feed, lambda: feed.model.height == 7)
        assert feed.model.first_height == 4
        assert feed.model.transactions == 4

    follow(node, story)


def test_readings_that_no_node_keeps_any_more_are_asked_for_once() -> None:
    node = Node()
    node.blocks.append(block(1, [[("metering", "Metered", {"last_slot": 5, "first_slot": 5})]]))

    async def story(feed: Feed) -> None:
        await until(feed, lambda: feed.model.height == 1 and not feed.model.pending_readings)
        assert node.asked_blocks.count(1) <= 2  # once for the readings, once for who proposed it

    follow(node, story)
