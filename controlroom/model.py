"""The read model: everything that the pages show of the past, folded from the chain's events.

`absorb` takes one block after the other, in order; `read` takes the readings out of blocks that hold some. Nothing here
asks, waits or knows who looks at it: a view is a pure function of a model.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date

from controlroom.clock import day_of, slots_of
from controlroom.energy import Energy
from controlroom.origin import Origin
from controlroom.people import People
from controlroom.trading import Trading
from gridbft.ground import Row
from gridbft.history import Happened, happened
from gridbft.records import BlockEvents

KEPT_BLOCKS = 600
KEPT_BUSY_BLOCKS = 240
KEPT_TRANSACTIONS = 200
BILLED = frozenset({"Traded", "Served", "Settled", "Resettled", "SlotSettled", "Activated"})
"""Events with a slot that lines of a bill stand on."""
AHEAD = frozenset({"OrderPlaced", "OrderCancelled", "OrderEnded", "Offered", "OfferWithdrawn"})
SLOT_MS = 900_000
KEPT_DAYS = 14
"""Days whose market, readings and bills can be looked at; certificates are kept longer (see `origin.MAX_EVENTS`)."""
KEPT_AHEAD = 7
"""Days beside them for which there are orders only: nobody pushes others' days out by ordering for far ones."""


@dataclass(slots=True)
class Block:
    """The fields from `proposer` on come from the block itself, a moment after its events; None until then."""

    height: int
    time_ms: int
    block_id: str
    transactions: int
    events: int
    proposer: str | None = None
    round: int | None = None
    signers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Transaction:
    tx_id: str
    height: int
    ok: bool
    code: str
    what: str  # its first event, contract.Name


@dataclass(slots=True)
class Model:
    """A chain from `first_height` on; 1 unless the node has pruned its beginning."""

    first_height: int = 1
    revision: int = 0  # grows with everything but blocks and payments, which no day's page shows
    height: int = 0
    time_ms: int = 0
    transactions: int = 0
    unread: int = 0  # events that a newer contract words otherwise: the pages are incomplete from there on
    blocks: deque[Block] = field(default_factory=lambda: deque(maxlen=KEPT_BLOCKS))
    busy: deque[Block] = field(default_factory=lambda: deque(maxlen=KEPT_BUSY_BLOCKS))  # those that hold transactions
    recent: deque[Transaction] = field(default_factory=lambda: deque(maxlen=KEPT_TRANSACTIONS))
    people: People = field(default_factory=People)
    trading: Trading = field(default_factory=Trading)
    energy: Energy = field(default_factory=Energy)
    origin: Origin = field(default_factory=Origin)
    by_slot: dict[int, list[Happened]] = field(default_factory=dict)  # the events that bills stand on
    governance: deque[Happened] = field(default_factory=lambda: deque(maxlen=KEPT_BLOCKS))
    days: dict[date, int] = field(default_factory=dict)  # local day -> its newest slot that something happened in
    last_gate: int | None = None  # the slot whose gate closed last
    begun: set[date] = field(default_factory=set)  # those of them in which something was cleared, metered or settled
    pending_readings: set[int] = field(default_factory=set)  # heights of blocks whose readings were not read yet

    def absorb(self, block: BlockEvents) -> None:
        """The next block. Raises ValueError where it is not the next one."""
        if self.height and block.height != self.height + 1:
            raise ValueError(f"block {block.height} does not follow {self.height}")
        events = tuple(happened(block))
        self.height, self.time_ms = block.height, block.time_ms
        self.transactions += block.transactions
        kept = Block(block.height, block.time_ms, block.block_id, block.transactions, len(events))
        self.blocks.append(kept)
        if kept.transactions:
            self.busy.append(kept)
        for receipt in block.receipts:
            first = receipt.events[0] if receipt.events else None
            what = f"{first.contract}.{first.name}" if first else ""
            self.recent.append(Transaction(receipt.tx_id, block.height, receipt.ok, receipt.code, what))
        for place, event in enumerate(events):
            try:
                self._event(event)
                if event.kind == ("imbalance", "SlotSettled"):
                    self._arrears(events[:place], event)
            except (KeyError, TypeError):
                self.unread += 1  # a contract was upgraded, and tells of other fields than those known here

    def read(self, height: int, rows: Iterable[Row]) -> None:
        """The readings of the block at a height that was pending."""
        self.pending_readings.discard(height)
        self.energy.read(rows)
        self.revision += 1

    def describe(self, height: int, proposer: str, round_: int, signers: tuple[str, ...]) -> None:
        """Who proposed a kept block, in which round, and who signed it."""
        for kept in (self.blocks, self.busy):
            for block in kept:
                if block.height == height:
                    block.proposer, block.round, block.signers = proposer, round_, signers

    def _event(self, event: Happened) -> None:
        f = event.fields
        self.revision += event.contract != "payments"
        self.people.absorb(event)
        self.trading.absorb(event)
        self.energy.absorb(event)
        self.origin.absorb(event)
        if event.kind == ("market", "Cleared"):
            self.last_gate = f["slot"]
        if "slot" in f and event.contract in ("market", "continuous", "bilateral", "resort", "imbalance", "balancing"):
            self._seen(f["slot"], event.name not in AHEAD)
            if event.name in BILLED:
                self.by_slot.setdefault(f["slot"], []).append(event)
        elif event.kind == ("certificates", "Sold"):
            self.by_slot.setdefault(event.time_ms // SLOT_MS, []).append(event)  # as `gridbft explain` has it
        elif event.kind == ("metering", "Metered"):
            self.pending_readings.add(event.height)
            self._seen(f["last_slot"], True)
        elif event.kind == ("metering", "Corrected"):
            self.pending_readings.add(event.height)
        elif event.contract == "governance":
            self.governance.append(event)

    def _arrears(self, before: tuple[Happened, ...], settled: Happened) -> None:
        """What the settlement left unpaid is told before its end, in the same transaction; it belongs to its slot."""
        of_slot = self.by_slot[settled.fields["slot"]]
        place = len(of_slot) - 1
        told = [
            e
            for e in before
            if e.tx_id == settled.tx_id
            and (e.kind == ("imbalance", "ArrearsChanged") or e.kind == ("payments", "Moved"))
        ]
        of_slot[place:place] = told

    @property
    def newest_day(self) -> date | None:
        """The one to look at first: where the last gate closed. Corrections of days before do not turn back to them."""
        if self.last_gate is not None and (day := day_of(self.last_gate)) in self.days:
            return day
        return max(self.begun, default=max(self.days, default=None))

    def _seen(self, slot: int, begins: bool) -> None:
        day = day_of(slot)
        self.days[day] = max(slot, self.days.get(day, slot))
        if begins:
            self.begun.add(day)
        if len(self.begun) > KEPT_DAYS:
            self._forget(min(self.begun))
        if len(self.days) - len(self.begun) > KEPT_AHEAD:
            self._forget(max(self.days.keys() - self.begun))

    def _forget(self, day: date) -> None:
        slots = slots_of(day)
        del self.days[day]
        self.begun.discard(day)
        self.trading.forget(slots)
        self.energy.forget(slots)
        for slot in slots:
            self.by_slot.pop(slot, None)
