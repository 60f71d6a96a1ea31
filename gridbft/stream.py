"""A window of batches on their way over one stream after another, so that a lost connection loses no transaction."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import TYPE_CHECKING, Self

import grpc
import grpc.aio

from gridbft.errors import NodeUnavailable, VerificationError
from gridbft.records import Verdict, verdict_from_wire
from gridbft.requests import status_error
from gridbft.v1 import client_pb2 as wire

if TYPE_CHECKING:
    _Stream = grpc.aio.StreamStreamCall[wire.SubmitBatchRequest, wire.SubmitBatchResponse]


MAX_BATCH_BYTES = 1024 * 1024  # well below what a server takes in one message


class BatchStream:
    """Takes transactions from a source as fast as the window has room for them.

    `waiting` holds what was taken and not yet put in a batch, `unanswered` the batches without an answer, oldest first.
    A batch leaves `unanswered` only when its verdicts are there, so a new stream starts by sending all of them again.

    A batch that is not full waits until those before it are answered, as a small segment does in TCP (RFC 896): so a node that
    has little to do is given each transaction at once, and a busy one, whose answers take longer, fewer and larger messages.
    """

    def __init__(self, source: Iterable[bytes] | AsyncIterable[bytes], batch: int, window: int) -> None:
        """Raises ValueError for a batch or window below 1."""
        if batch < 1 or window < 1:
            raise ValueError("a batch holds at least one transaction and a window one batch")
        self._source = source
        self._batch = batch
        self._window = window
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._unanswered: deque[tuple[bytes, ...]] = deque()
        self._first = 0  # the number of the oldest unanswered batch
        self._exhausted = False
        self._changed = asyncio.Condition()
        self._pump: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._pump = asyncio.create_task(self._take())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)

    @property
    def finished(self) -> bool:
        """Every transaction of the source has its verdict. Raises what the source raised, if it did."""
        if self._pump is not None and self._pump.done() and not self._pump.cancelled():
            self._pump.result()
        return self._exhausted and not self._waiting and not self._unanswered

    async def requests(self) -> AsyncIterator[wire.SubmitBatchRequest]:
        """One stream's messages: first the batches that an earlier stream left unanswered, then new ones."""
        number = self._first
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._has_work(number))  # noqa: B023 - awaited before it changes
            batch = self._batch_number(number)
            if batch is None:
                return
            yield wire.SubmitBatchRequest(txs=batch)
            number += 1

    async def verdicts(self, stream: _Stream, address: str, silence_s: float) -> AsyncIterator[Verdict]:
        """Reads a stream that was opened with `requests()`, until all is answered.

        Raises NodeUnavailable when it is lost before that: the node is gone, or an answer is due for `silence_s`.
        """
        answers = aiter(stream)
        try:
            while True:
                async with asyncio.timeout(silence_s):
                    answer = await anext(answers, None)
                if answer is None:
                    break
                for verdict in await self._answered(answer):
                    yield verdict
            if not self.finished:
                raise NodeUnavailable(address, "the node ended the stream")
        except TimeoutError as error:
            if self._unanswered:  # else the source is slow, not the node
                raise NodeUnavailable(address, f"no answer for {silence_s:g} s", timed_out=True) from error
        except grpc.aio.AioRpcError as error:
            raise status_error(error.code(), error.details(), address) from error
        finally:
            stream.cancel()

    async def _answered(self, answer: wire.SubmitBatchResponse) -> list[Verdict]:
        if not self._unanswered or len(answer.verdicts) != len(self._unanswered[0]):
            raise VerificationError("BAD_VERDICTS", "the node's answer does not have one verdict for each transaction")
        async with self._changed:
            self._unanswered.popleft()
            self._first += 1
            self._changed.notify_all()
        return [verdict_from_wire(v) for v in answer.verdicts]

    async def _take(self) -> None:
        try:
            if isinstance(self._source, AsyncIterable):
                async for tx in self._source:
                    await self._put(tx)
            else:
                for tx in self._source:
                    await self._put(tx)
        finally:
            async with self._changed:
                self._exhausted = True
                self._changed.notify_all()

    async def _put(self, tx: bytes) -> None:
        capacity = self._batch * self._window
        was_full = self._is_full
        self._waiting.append(tx)
        self._waiting_bytes += len(tx)
        if 1 < len(self._waiting) < capacity and was_full == self._is_full:
            return  # the sender knows already that there is something
        async with self._changed:
            self._changed.notify_all()
            await self._changed.wait_for(lambda: len(self._waiting) < capacity)

    def _has_work(self, number: int) -> bool:
        if number < self._first + len(self._unanswered):
            return True
        if self._waiting:
            if not self._unanswered:
                return True
            return len(self._unanswered) < self._window and (self._is_full or self._exhausted)
        return self._exhausted

    @property
    def _is_full(self) -> bool:
        """Whether what waits is enough for a batch."""
        return len(self._waiting) >= self._batch or self._waiting_bytes >= MAX_BATCH_BYTES

    def _batch_number(self, number: int) -> tuple[bytes, ...] | None:
        """Batch `number` of all; a new one is filled with what is at hand. None when there is nothing more to come."""
        place = number - self._first
        if place < len(self._unanswered):
            return self._unanswered[place]
        if not self._waiting:
            return None
        batch = [self._waiting.popleft()]
        size = len(batch[0])
        while self._waiting and len(batch) < self._batch and size + len(self._waiting[0]) <= MAX_BATCH_BYTES:
            batch.append(self._waiting.popleft())
            size += len(batch[-1])
        self._waiting_bytes -= size
        self._unanswered.append(tuple(batch))
        return self._unanswered[-1]
