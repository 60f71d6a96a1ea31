"""Transactions on their way into a block: admitted, passed on, and taken out again."""

from __future__ import annotations

from chain.block import Block
from chain.ledger import Ledger
from chain.mempool import Limits, Mempool
from chain.refusal import Code, Refusal
from chain.tx import Tx, governs
from node.events import AnswerClient, Effect, PeerId, SendTxs, TxsReceived
from node.room import room_in, unfit

RELAYED_AT_ONCE = 2_000  # transactions in one message


class Intake:
    """The mempool, and what a block may hold as the chain's parameters stand."""

    def __init__(self, ledger: Ledger, limits: Limits, relay_again_ms: int) -> None:
        self._ledger = ledger
        self.mempool = Mempool(ledger.next_nonce, limits)
        self._room = room_in(ledger.system)
        self._relay_again_ms = relay_again_ms
        self._relayed_ms = 0
        self._waited: list[Tx] = []  # what waited when something was last passed on again

    def take(self, event: TxsReceived, height: int) -> tuple[list[Effect], bool]:
        """What to send and to answer, and whether anything is new. `height` is the one at hand."""
        verdicts: list[Refusal | None] = []
        fresh: list[bytes] = []
        self._ledger.expect(event.txs)
        known, room, unknown_call, add = self.mempool.known, self._room, self._ledger.unknown_call, self.mempool.add
        for tx in event.txs:
            if known(tx.key) is not None:
                verdicts.append(None)
                continue
            verdict = unfit(tx, room) or unknown_call(tx) or add(tx, height)
            verdicts.append(verdict)
            if verdict is None:
                fresh.append(tx.raw)
        effects: list[Effect] = []
        if event.peer is None:
            batches = (fresh[at : at + RELAYED_AT_ONCE] for at in range(0, len(fresh), RELAYED_AT_ONCE))
            effects += [SendTxs(None, tuple(batch)) for batch in batches]
        if event.request is not None:
            answer = [verdict and self._explained(tx, verdict) for tx, verdict in zip(event.txs, verdicts, strict=True)]
            effects.append(AnswerClient(event.request, tuple(answer)))
        return effects, bool(fresh)

    def _explained(self, tx: Tx, refusal: Refusal) -> Refusal:
        """A client is told that its transaction is final already. (Peers, who pass on what a block took meanwhile, are told
        nothing, so nothing is looked up for them.)"""
        place = self._ledger.store.find_tx(tx.id) if refusal.code is Code.NONCE_USED else None
        if place is None:
            return refusal
        return Refusal(Code.ALREADY_FINAL, f"it is final at height {place[0]}: ask for its receipt")

    def waiting(self, to: PeerId | None) -> list[Effect]:
        """Passes on what waits here, to a new peer or to all."""
        waiting = self.mempool.first(RELAYED_AT_ONCE)
        return [SendTxs(to, tuple(tx.raw for tx in waiting))] if waiting else []

    def again(self, now_ms: int) -> list[Effect]:
        """Now and then, to all, what waited the last time already: a peer may have lost it. A busy node's transactions are in
        a block before that, and passing them on again would only cost its peers."""
        if 0 <= now_ms - self._relayed_ms < self._relay_again_ms:
            return []
        self._relayed_ms = now_ms
        late = tuple([tx.raw for tx in self._waited if self.mempool.known(tx.key) is not None])
        self._waited = self.mempool.first(RELAYED_AT_ONCE)
        return [SendTxs(None, late)] if late else []

    def block_of(self, only_governance: bool) -> list[Tx]:
        """The transactions of the next block."""
        room = self._room
        return self.mempool.reap(room.bytes, room.gas, room.transactions, governs if only_governance else None)

    def committed(self, block: Block) -> None:
        """A block took some of them, and may have changed how much the next one can hold."""
        self.mempool.committed(block.txs, block.header.height)
        room = room_in(self._ledger.system)
        if room != self._room:
            self._room = room
            self.mempool.drop(lambda tx: unfit(tx, room) is not None)
