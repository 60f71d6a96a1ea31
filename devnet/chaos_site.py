"""Four real processes, the wires between them, and the faults done to them. Every process is signalled by its own id."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import shutil
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from chain.genesis import load_genesis
from devnet.chaos_plan import Fault, Kind, Span
from devnet.network import GENESIS_FILE, PEER_PORT_OFFSET, Network, NetworkError, Node, create_network
from devnet.processes import log_file, log_tail, pid_file, running_pid, start_node, stop_nodes
from devnet.proxy import Way, Wires
from gridbft import Client
from gridbft.errors import ClientError
from gridbft.requests import Limits
from node.home import Home

ANSWER_S = 90.0  # a machine with nothing to spare may take long to start a process; the stall is measured apart
POLL_S = 0.2
WATCH_S = 0.5
FIRST_PORTS = range(12_000, 31_000, 10)  # below the ports that systems give out by themselves
UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


@dataclass(frozen=True, slots=True)
class Death:
    """A node that ended by itself while nothing was done to it."""

    name: str
    log: str


class Site:
    """Use as an async context manager: whatever happens, no process stays behind."""

    def __init__(self, folder: Path) -> None:
        self.network: Network = create_network(folder, 4, free_first_port(4))
        self.nodes = self.network.nodes
        self.wires = Wires({node.name: node.peer_address for node in self.nodes})
        self.clients = [
            Client(node.client_address, limits=Limits(request_s=2.0, silence_s=12.0, reconnect_s=5.0))
            for node in self.nodes
        ]
        self.deaths: list[Death] = []
        self.spans: list[Span] = []
        self._expected: set[int] = set()  # the nodes that have no reason not to run
        self._watch: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Site:
        await self.wires.__aenter__()
        for place in range(len(self.nodes)):
            await self.start(place)
        self._watch = asyncio.create_task(self._bury())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.kill_all()
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await asyncio.gather(*(client.close() for client in self.clients), return_exceptions=True)
        await self.wires.__aexit__()
        self.kill_all()  # one may have been on its way up
        await asyncio.to_thread(stop_nodes, self.nodes)  # a busy machine buries its dead slowly

    def kill_all(self) -> None:
        self._expected.clear()
        for place in range(len(self.nodes)):
            self.signal(place, signal.SIGKILL)

    # -- one node

    def pid(self, place: int) -> int | None:
        return running_pid(self.nodes[place])

    def signal(self, place: int, number: signal.Signals) -> None:
        pid = self.pid(place)
        if pid is not None:
            os.kill(pid, number)

    async def start(self, place: int) -> None:
        node = self.nodes[place]
        await asyncio.to_thread(start_node, node, self.wires.environment(node.name))
        self._expected.add(place)

    async def kill(self, place: int) -> None:
        self._expected.discard(place)
        self.signal(place, signal.SIGKILL)
        while self.pid(place) is not None:  # noqa: ASYNC110 - the end of a process is no event of this loop
            await asyncio.sleep(POLL_S / 4)

    async def height(self, place: int) -> int | None:
        """None where it does not answer."""
        try:
            return (await self.clients[place].status()).height
        except ClientError:
            return None

    async def answers(self, place: int, height: int = 0) -> None:
        """Waits until the node answers at `height` or above. Raises NetworkError after 90 s."""
        deadline = time.monotonic() + ANSWER_S
        while (found := await self.height(place)) is None or found < height:
            if time.monotonic() > deadline:
                node = self.nodes[place]
                raise NetworkError(
                    f"{node.name} stands at {found} and not at {height} after {ANSWER_S:.0f} s; the end of its log:\n"
                    f"{log_tail(node)}"
                )
            await asyncio.sleep(POLL_S)

    async def level(self) -> int:
        """Waits until every node is where the first of them is now; that height."""
        heights = [found for place in range(len(self.nodes)) if (found := await self.height(place)) is not None]
        highest = max(heights, default=0)
        await asyncio.gather(*(self.answers(place, highest) for place in range(len(self.nodes))))
        return highest

    async def all_sign(self, height: int, patience_s: float) -> list[str]:
        """Reads the blocks above `height` until each validator has signed one. Names of those that did not in time."""
        genesis = load_genesis((self.network.folder / GENESIS_FILE).read_text(encoding="utf-8"))
        silent = {member.id.hex(): member.name for member in genesis.members}
        deadline = time.monotonic() + patience_s
        while silent and time.monotonic() < deadline:
            try:
                signers = (await self.clients[0].block(height + 1)).signers
            except ClientError:  # not decided yet
                await asyncio.sleep(POLL_S)
                continue
            height += 1
            for signer in signers:
                silent.pop(signer, None)
        return sorted(silent.values())

    async def _bury(self) -> None:
        """Notes who ended by itself, and starts it again: the run goes on and tells of all of them."""
        while True:
            await asyncio.sleep(WATCH_S)
            for place in sorted(self._expected):
                if self.pid(place) is None and place in self._expected:
                    node = self.nodes[place]
                    self.deaths.append(Death(node.name, log_tail(node)))
                    begin = time.monotonic()
                    await self.start(place)
                    self.spans.append(Span(begin - WATCH_S, time.monotonic() + WATCH_S))

    # -- faults

    async def strike(self, fault: Fault) -> None:
        """Does it, waits, takes it back, and waits until the node answers; notes when it was faulty."""
        begin = time.monotonic()
        await _DOING[fault.kind](self, fault)
        self.spans.append(Span(begin, time.monotonic()))

    async def _kill_for(self, fault: Fault) -> None:
        await self.kill(fault.node)
        await asyncio.sleep(fault.seconds)
        await self.start(fault.node)
        await self.answers(fault.node)

    async def _stop_for(self, fault: Fault) -> None:
        self.signal(fault.node, signal.SIGSTOP)
        await asyncio.sleep(fault.seconds)
        self.signal(fault.node, signal.SIGCONT)

    async def _cut_for(self, fault: Fault) -> None:
        me, others = self.nodes[fault.node].name, [self.nodes[other].name for other in fault.others]
        ways: set[Way] = set()
        if fault.inward:
            ways |= {(other, me) for other in others}
        if fault.outward:
            ways |= {(me, other) for other in others}
        self.wires.cut(ways, refuse=fault.refuse)
        await asyncio.sleep(fault.seconds)
        self.wires.heal(ways)

    async def _wipe_for(self, fault: Fault) -> None:
        await self.kill(fault.node)
        wipe_disk(self.nodes[fault.node])
        await asyncio.sleep(fault.seconds)
        goal = max([found for place in range(4) if (found := await self.height(place)) is not None], default=0)
        await self.start(fault.node)
        await self.answers(fault.node, goal)

    async def _fill_for(self, fault: Fault) -> None:
        """A limit on the size of files makes writes fail in the middle, as a full disk does (EFBIG in place of ENOSPC),
        on any machine and without a file system of its own. A node may stop on it; later it has to come back."""
        pid = self.pid(fault.node)
        self._expected.discard(fault.node)
        if pid is not None:
            wal = Home(self.nodes[fault.node].home).wal
            size = wal.stat().st_size if fault.room_bytes else 0
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size + fault.room_bytes, resource.RLIM_INFINITY))
        await asyncio.sleep(fault.seconds)
        pid = self.pid(fault.node)
        if pid is not None:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, UNLIMITED)
            await self.kill(fault.node)  # an operator who made room starts the node again
        await self.start(fault.node)
        await self.answers(fault.node)


_DOING: dict[Kind, Callable[[Site, Fault], Awaitable[None]]] = {
    Kind.KILL: Site._kill_for,
    Kind.STOP: Site._stop_for,
    Kind.CUT: Site._cut_for,
    Kind.WIPE: Site._wipe_for,
    Kind.FULL: Site._fill_for,
}


def wipe_disk(node: Node) -> None:
    """Removes all that the node ever wrote; what its operator put there stays."""
    home = Home(node.home)
    stays = {home.config, home.genesis, home.key, home.tls_key, home.tls_certificate, log_file(node), pid_file(node)}
    for path in node.home.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path not in stays:
            path.unlink()


def free_first_port(count: int) -> int:
    """A port whose successors are free too, for clients and for peers. Raises NetworkError."""
    for first in random.SystemRandom().sample(FIRST_PORTS, 200):
        if all(_is_free(first + offset + place) for offset in (0, PEER_PORT_OFFSET) for place in range(count)):
            return first
    raise NetworkError("no free ports between 12000 and 31000 on this machine")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return probe.connect_ex(("127.0.0.1", port)) != 0
