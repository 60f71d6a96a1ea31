"""One subscription to the chain for the whole server, however many look at it.

The feed follows the chain through the client library and folds it into the model. Besides, it asks each node once a
second where it stands, for each block (and never more than a few a second) who proposed and signed it, and from time to
time what only a view tells: members, standings, evidence, proposals. Viewers never cause any of this.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from controlroom.model import Model
from gridbft import Client
from gridbft.errors import ClientError, NotFound, RequestRefused
from gridbft.ground import packed_pages, reading_rows
from gridbft.history import asked
from gridbft.inspection import Fault, Standing, account_of, evidence, standings
from gridbft.records import BlockEvents, BlockInfo, NodeStatus
from gridbft.requests import Limits

LOOK_S = 1.0
INSPECT_S = 5.0
RETRY_S = 1.0
DESCRIBED_BLOCKS = 240  # of the past; all later ones are asked for as they come
DESCRIBE_PAUSE_S = 0.15  # between two blocks that are asked for: a busy chain is not asked for all
LISTED_BLOCKS = 24
KEPT_SAMPLES = 180
PAGE = 100


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node as it was seen last. `status` is None where it never answered; `error` is empty where it does."""

    address: str
    status: NodeStatus | None = None
    error: str = ""
    seen_s: float = 0.0  # Unix time of its last answer


@dataclass(frozen=True, slots=True)
class Sample:
    """What was seen at one moment, for the charts over time."""

    time_ms: int
    height: int
    transactions: int  # since the chain's first block
    finality_ms: tuple[int | None, ...]  # of each node, in the order of the addresses
    mempool: tuple[int | None, ...]


@dataclass(slots=True)
class Facts:
    """What views and state told last."""

    members: list[dict[str, Any]] = field(default_factory=list)
    parameters: dict[str, int] = field(default_factory=dict)
    proposals: list[dict[str, Any]] = field(default_factory=list)
    standings: dict[str, Standing] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()


class Feed:
    """Use `run` as a task. `revision` grows whenever something that a view may show has changed."""

    def __init__(
        self,
        addresses: Sequence[str],
        connect: Callable[[Sequence[str]], Client] | None = None,
        roles: Mapping[str, set[str]] | None = None,
    ) -> None:
        """`roles`: account -> roles that the genesis grants; no event tells of them."""
        make = connect or (lambda to: Client(list(to), limits=Limits(request_s=3.0, reconnect_s=10.0)))
        self.addresses = tuple(addresses)
        self.client = make(self.addresses)  # follows, and asks for blocks
        self._watchers = [make([address]) for address in self.addresses]
        self._roles = roles or {}
        self.model = self._new_model()
        self.facts = Facts()
        self.nodes = [NodeView(address) for address in self.addresses]
        self.samples: deque[Sample] = deque(maxlen=KEPT_SAMPLES)
        self.chain_id = ""
        self.currency = ""
        self.caught_up = False
        self.problem = ""
        self.revision = 0
        self._changed = asyncio.Event()
        self._pages: dict[int, list[str]] = {}  # the meters of rosters' pages, as far as they are known
        self._undescribed: deque[int] = deque(maxlen=DESCRIBED_BLOCKS)
        self._follower: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Until it is cancelled. A chain that begins anew (other nodes at the same addresses) is followed from its start."""
        tasks = [asyncio.create_task(work) for work in (self._look(), self._inspect(), self._describe())]
        try:
            while True:
                self._follower = asyncio.create_task(self._follow())
                await asyncio.wait([self._follower, *tasks], return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    if task.done():
                        task.result()  # our own bug: the process ends with it
                if not self._follower.cancelled():
                    self._follower.result()
        finally:
            running = [*tasks, *([self._follower] if self._follower is not None else [])]
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            await asyncio.gather(self.client.close(), *(client.close() for client in self._watchers))

    async def changed(self, timeout_s: float) -> None:
        """Returns at the next change, or after the time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return

    def _touch(self) -> None:
        self.revision += 1
        waiting, self._changed = self._changed, asyncio.Event()
        waiting.set()

    @property
    def members(self) -> list[dict[str, Any]]:
        """Validators and observers, each with the `address` of its key."""
        return self.facts.members

    # -- the one subscription

    async def _follow(self) -> None:
        """The client goes on at the next node by itself; only when none answers for long it is asked anew here."""
        model = self.model
        while True:
            try:
                first = max(model.height + 1, model.first_height)
                async for block in self.client.subscribe(first):
                    self._take(model, block)
                    await asyncio.sleep(0)
            except RequestRefused as error:
                await self._skip_pruned(model, error)
            except ClientError as error:
                self.problem = str(error)
                self._touch()
            await asyncio.sleep(RETRY_S)

    def _take(self, model: Model, block: BlockEvents) -> None:
        model.absorb(block)
        self.problem = ""
        if block.transactions or self.caught_up:
            self._undescribed.append(block.height)
        heads = [n.status.height for n in self.nodes if n.status is not None and not n.error]
        if heads and block.height >= max(heads) - 1:
            self._arrive()
        if self.caught_up:
            self._touch()

    async def _skip_pruned(self, model: Model, error: RequestRefused) -> None:
        """Where the node keeps no block from the first one on, the model begins where it does, and says so."""
        if error.code != "OUT_OF_RANGE" or model.height:
            self.problem = str(error)
            return
        try:
            model.first_height = max((await self.client.status()).earliest_height, 1)
        except ClientError as gone:
            self.problem = str(gone)

    # -- what no event tells

    async def _look(self) -> None:
        while True:
            await asyncio.gather(*(self._ask_status(place) for place in range(len(self.addresses))))
            chains = {n.status.chain_id for n in self.nodes if n.status is not None and not n.error}
            if len(chains) == 1 and self.chain_id not in ("", *chains):
                self._begin_anew()
            if chains:
                self.chain_id = min(chains)
            if self.caught_up:  # what is read of the past says nothing of how fast the chain is
                self._sample()
            self._touch()
            await asyncio.sleep(LOOK_S)

    def _sample(self) -> None:
        up = [n.status if not n.error else None for n in self.nodes]
        finality = tuple(None if s is None else s.finality_ms for s in up)
        mempool = tuple(None if s is None else s.mempool for s in up)
        model, now_ms = self.model, int(time.time() * 1000)
        self.samples.append(Sample(now_ms, model.height, model.transactions, finality, mempool))

    async def _ask_status(self, place: int) -> None:
        try:
            status = await self._watchers[place].status()
        except ClientError as error:
            self.nodes[place] = replace(self.nodes[place], error=str(error))
        else:
            self.nodes[place] = NodeView(self.addresses[place], status, "", time.time())
            if status.height <= self.model.height:
                self._arrive()

    def _arrive(self) -> None:
        """What was read is the present. Of the blocks that a page lists also the empty ones are asked for, first of all."""
        if not self.caught_up:
            self.caught_up = True
            listed = list(self.model.blocks)[-LISTED_BLOCKS:]
            self._undescribed.extend(b.height for b in listed if not b.transactions)

    def _new_model(self) -> Model:
        model = Model()
        model.people.roles = {account: set(granted) for account, granted in self._roles.items()}
        return model

    def _begin_anew(self) -> None:
        self.model, self.facts, self.caught_up = self._new_model(), Facts(), False
        self.samples.clear()
        self._undescribed.clear()
        self._pages.clear()
        if self._follower is not None:
            self._follower.cancel()

    async def _inspect(self) -> None:
        while True:
            try:
                facts = await self._facts()
            except ClientError:
                facts = None  # the nodes' own tiles tell that they are gone
            if facts is not None and facts != self.facts:
                self.facts = facts
                self._touch()
            await asyncio.sleep(INSPECT_S)

    async def _facts(self) -> Facts:
        ask, state = self.client.query, self.client.state
        proposals: list[dict[str, Any]] = []
        while page := await ask("governance", "proposals", len(proposals) + 1, PAGE):
            proposals += page
        return Facts(
            [{**m, "address": account_of(bytes.fromhex(m["public_key"]))} for m in await ask("governance", "members")],
            await ask("governance", "parameters"),
            proposals,
            await standings(state),
            await evidence(state),
        )

    async def _describe(self) -> None:
        """Blocks with readings first and all of them; of the others the newest."""
        while True:
            model = self.model
            height = min(model.pending_readings, default=None)
            if height is None and self._undescribed and self.caught_up:
                height = self._undescribed.pop()
            if height is None:
                await self.changed(LOOK_S)
                continue
            try:
                await self._put(model, await self.client.block(height))
            except NotFound:
                model.pending_readings.discard(height)  # pruned meanwhile
            except ClientError:
                await asyncio.sleep(RETRY_S)  # readings stay pending; what else a block would have told is left out
            await asyncio.sleep(0 if model.pending_readings else DESCRIBE_PAUSE_S)

    async def _put(self, model: Model, block: BlockInfo) -> None:
        model.describe(block.height, block.proposer, block.round, block.signers)
        if block.height in model.pending_readings:
            places = {r.tx_id: (block.height, r.index) for r in block.receipts if r.ok}
            calls = list(asked(block.raw))
            for number, meter_count in packed_pages(calls).items():
                if len(self._pages.get(number, ())) < meter_count:
                    self._pages[number] = await self.client.query("rosters", "meters_of", number)
            model.read(block.height, reading_rows(calls, places, self._pages))
        self._touch()
