"""When a client's transactions go out, and how many at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine

from gridbft.stream import MAX_BATCH_BYTES, BatchStream
from gridbft.v1 import client_pb2 as wire

BATCH, WINDOW = 3, 4
TURNS = 20  # of the loop: more than anything here needs to happen that can happen


class Desk:
    """A source that is fed by hand, and a node that answers when it is told to."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, ...]] = []
        self._source: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.stream = BatchStream(self._txs(), BATCH, WINDOW)

    async def _txs(self) -> AsyncIterator[bytes]:
        while (tx := await self._source.get()) is not None:
            yield tx

    async def sending(self) -> None:
        async for request in self.stream.requests():
            self.sent.append(tuple(request.txs))

    async def give(self, *txs: bytes | None) -> None:
        """None: there are no more."""
        for tx in txs:
            self._source.put_nowait(tx)
        await self.settle()

    async def answer(self) -> None:
        oldest = self.stream._unanswered[0]
        await self.stream._answered(wire.SubmitBatchResponse(verdicts=[wire.Verdict() for _ in oldest]))
        await self.settle()

    async def settle(self) -> None:
        for _ in range(TURNS):
            await asyncio.sleep(0)


def at_the_desk(story: Callable[[Desk], Coroutine[None, None, None]]) -> None:
    async def told() -> None:
        desk = Desk()
        async with desk.stream, asyncio.TaskGroup() as group:
            sending = group.create_task(desk.sending())
            await story(desk)
            sending.cancel()

    asyncio.run(told())


def test_an_idle_node_is_given_each_transaction_at_once_and_a_busy_one_what_gathered_meanwhile() -> None:
    async def story(desk: Desk) -> None:
        await desk.give(b"a")
        assert desk.sent == [(b"a",)]
        await desk.give(b"b")
        await desk.give(b"c")
        assert desk.sent == [(b"a",)]
        await desk.answer()
        assert desk.sent == [(b"a",), (b"b", b"c")]
        await desk.answer()
        await desk.give(b"d")
        assert desk.sent[2:] == [(b"d",)]

    at_the_desk(story)


def test_a_full_batch_goes_out_whatever_is_unanswered_as_far_as_the_window_reaches() -> None:
    async def story(desk: Desk) -> None:
        await desk.give(b"a")
        for _ in range(2 * WINDOW):
            await desk.give(*[b"f"] * BATCH)
        assert desk.sent == [(b"a",)] + [(b"f",) * BATCH] * (WINDOW - 1)
        await desk.answer()
        assert len(desk.sent) == WINDOW + 1

    at_the_desk(story)


def test_a_batch_of_few_large_transactions_is_full_by_its_bytes() -> None:
    large = bytes(MAX_BATCH_BYTES // 2)

    async def story(desk: Desk) -> None:
        await desk.give(b"a")
        await desk.give(large)
        assert desk.sent == [(b"a",)]
        await desk.give(large)
        assert desk.sent == [(b"a",), (large, large)]
        await desk.give(large)
        assert len(desk.sent) == 2

    at_the_desk(story)


def test_the_last_transactions_wait_for_no_answer() -> None:
    async def story(desk: Desk) -> None:
        await desk.give(b"a")
        await desk.give(b"b", None)
        assert desk.sent == [(b"a",), (b"b",)]

    at_the_desk(story)
