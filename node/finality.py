"""Who waits for what the chain brings: the next height, or a transaction's receipt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from chain.tx import Tx


class Tip:
    """The height of the last applied block, for those who follow it."""

    def __init__(self, height: int) -> None:
        self.height = height
        self._moved = asyncio.Event()

    def advance(self, height: int) -> None:
        self.height = height
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def reach(self, height: int) -> None:
        """Returns once a block at `height` or above is applied."""
        while self.height < height:
            await self._moved.wait()


class ReceiptWaiters:
    """Futures by transaction id. A transaction that nobody waits for costs one look-up in a dict, or nothing."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, list[asyncio.Future[bytes]]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def expect(self, tx_id: bytes) -> asyncio.Future[bytes]:
        """Gives the encoded receipt; hand it to `forget` when it is not awaited any more."""
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tx_id, []).append(future)
        return future

    def forget(self, tx_id: bytes, future: asyncio.Future[bytes]) -> None:
        futures = self._waiting.get(tx_id, [])
        if future in futures:
            futures.remove(future)
            if not futures:
                del self._waiting[tx_id]

    def applied(self, txs: Sequence[Tx], receipts: Callable[[], Sequence[bytes]]) -> None:
        """`receipts` reads those of the block, in its order; called only if somebody waits for one."""
        if not self._waiting:
            return
        places = [index for index, tx in enumerate(txs) if tx.id in self._waiting]
        if not places:
            return
        encoded = receipts()
        for index in places:
            for future in self._waiting.pop(txs[index].id, []):
                if not future.done():
                    future.set_result(encoded[index])
