"""One node, put together: from a loaded home to a running host, and down again."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from enum import Enum
from importlib.metadata import version
from pathlib import Path

import structlog

from chain.kv import KV
from chain.ledger import Ledger
from chain.leveldb import LevelKV
from chain.protocol import KNOWN
from chain.store import BlockStore
from chain.system import MEMBERS, read_members
from consensus.timeouts import Timeouts
from consensus.types import ValidatorId
from contracts.runtime.engine import MeteredRuntime
from gridbft.v1 import client_pb2
from node import ed25519
from node.admission import Door
from node.backup import frames
from node.certs import TlsIdentity
from node.clienttls import ClientTls, fingerprints
from node.clockwatch import Jumps
from node.collector import calm_collector
from node.config import Config
from node.control import ControlServer
from node.events import PeerId
from node.files import OS_DISK
from node.gate import Pinned
from node.hello import SPEECH, Self, Speech
from node.home import Home, HomeError, HomeLock, LoadedHome, whole_genesis
from node.host import Host, Network
from node.inbox import Inbox
from node.metrics import Outside, exposition, read_disk
from node.metricsserver import MetricsServer
from node.outbox import Lane
from node.peers import Peers
from node.pruner import Pruner
from node.recovery import remembered_height, started
from node.remotesigner import RemoteSigner, SignerLostError
from node.replica import Replica, ReplicaConfig
from node.rotation import is_due
from node.rpc import LedgerRpc, StatusSource
from node.server import ClientServer
from node.signer import FileSigner, Signer
from node.snapshots import SnapshotFolder, SnapshotTaker, answers
from node.snapsync import begin_from_snapshot
from node.wal import WriteAheadLog

CLOCK_LOOK_SECONDS = 5.0
READY_LOOK_SECONDS = 0.5
SIGNER_LOOK_SECONDS = 0.5
CONNECTIONS_LOOK_SECONDS = 5.0
LOOKS_BEFORE_WARNING, LOOKS_BETWEEN_WARNINGS = 3, 12  # that nobody is connected is told after 10 s, then once a minute
VERIFY_THREADS = max(1, min(4, os.cpu_count() or 1))

log = structlog.get_logger("node")


class Again(Enum):
    """Why a node that has stopped is to be made anew, in the same process."""

    NEXT_KEY = "next key"  # its old key is a member no longer, and another one lies ready (see node/rotation.py)
    SIGNER_ANSWERS = "signer answers"  # it began without its remote signer, which answers now


def replica_config(config: Config) -> ReplicaConfig:
    timeouts = Timeouts(config.propose_ms, config.prevote_ms, config.precommit_ms, config.delta_ms, config.cap_ms)
    return ReplicaConfig(
        timeouts=timeouts,
        heartbeat_ms=config.heartbeat_ms,
        proof_block_ms=config.proof_block_ms,
        caution_ms=config.caution_ms,
    )


def client_access(home: Home, config: Config, own: TlsIdentity) -> tuple[ClientTls | None, Pinned]:
    """Raises ClientTlsError where a file that the configuration names is missing or wrong."""
    if not config.client_tls:
        return None, lambda: None

    def named(name: str, otherwise: str) -> Path | bytes:
        return home.path / name if name else otherwise.encode()

    clients = home.path / config.client_ca if config.client_ca else None
    certificate = named(config.client_certificate, own.certificate)
    tls = ClientTls(certificate, named(config.client_key, own.private_key), clients)
    tls.credentials()  # now, not when the first client comes
    listed = config.client_fingerprints
    return tls, fingerprints(home.path / listed) if listed else lambda: None


async def prepare(loaded: LoadedHome) -> int | None:
    """Before a node with an empty store is made: a snapshot of the members', if that saves enough. The height it
    stands at then; None where the chain begins at its genesis, or has begun. Raises HomeError or StoreError."""
    home, gap = loaded.home, loaded.config.snapshot_min_gap
    with ExitStack() as undo:
        undo.callback(HomeLock(home).release)
        kv = LevelKV(home.db)
        undo.callback(kv.close)
        try:
            if not loaded.config.signer and BlockStore(kv).head() is None and not home.guard.exists():
                OS_DISK.replace(home.guard, b"")  # no chain and no guard: this disk remembers nothing, and says so
            return await begin_from_snapshot(
                kv, loaded.genesis, loaded.wallet.address_bytes, loaded.tls, gap, home.path
            )
        except OSError as error:
            raise HomeError(f"{home.path} cannot be prepared: {error.strerror or error}") from error


class Node:
    """Opens everything when it is made (on a running loop); `run` serves until `stop`; `close` lets go of the files.

    Raises HomeError, ConfigError, StoreError, CorruptStoreError, WalCorruptError, GuardError, GenesisError,
    PortTakenError or UnknownProtocolError, each with a sentence for the operator. `ending` is told when `run` begins to end.
    """

    def __init__(
        self,
        loaded: LoadedHome,
        speech: Speech = SPEECH,
        protocols: frozenset[int] = KNOWN,
        ending: Callable[[], None] = lambda: None,
    ) -> None:
        self._ending = ending
        with ExitStack() as undo:
            self._build(loaded, undo, speech, protocols)
            self._undo = undo.pop_all()

    def _build(self, loaded: LoadedHome, undo: ExitStack, speech: Speech, protocols: frozenset[int]) -> None:
        home, genesis, config = loaded.home, loaded.genesis, loaded.config
        self.config = config
        self.again: Again | None = None
        self._home, self._public_key = home, loaded.wallet.public_key
        self.serving = False
        undo.callback(HomeLock(home).release)
        kv: KV = LevelKV(home.db)
        undo.callback(kv.close)
        begins = BlockStore(kv).head() is None
        beginning = whole_genesis(home) if begins else genesis
        ledger = Ledger(kv, MeteredRuntime(ed25519.verify), beginning, ed25519.verify, protocols)
        del beginning
        wal, recovered = WriteAheadLog.open(home.wal)
        undo.callback(wal.close)
        if recovered.torn_bytes:
            log.warning("log_tail_torn", bytes=recovered.torn_bytes, kept_records=len(recovered.records))
        # Whoever may become a validator needs its guard from the start; until then the machine signs nothing by itself.
        me = None if config.observer else ValidatorId(loaded.wallet.address_bytes)
        signer: Signer | None = None
        last_signed: int | None = None
        self._awaited: RemoteSigner | None = None
        if loaded.remote is not None:
            undo.callback(loaded.remote.close)
            if me is not None and loaded.remote.last is None:
                # What it signed last is not known, so neither is whether this disk remembers it: nothing is asked of it.
                self._awaited, me = loaded.remote, None
            elif me is not None and loaded.remote.last is not None:
                signer = loaded.remote
                last_signed = remembered_height(loaded.remote.last, recovered.records, ledger.head.height + 1)
        elif me is not None:
            has_chain = ledger.head.height > 0 or bool(recovered.records)
            own = FileSigner.open(genesis.chain_id, loaded.wallet.sign, home.guard, has_chain=has_chain)
            undo.callback(own.close)
            signer, last_signed = own, remembered_height(own.last, recovered.records, ledger.head.height + 1)
        replica = Replica(ledger, me, replica_config(config), last_signed)
        pool = ThreadPoolExecutor(VERIFY_THREADS, thread_name_prefix="verify")
        undo.callback(pool.shutdown, wait=True, cancel_futures=True)
        self.host = Host(replica, ledger, signer, wal, Network(self._send, self._penalise, self._applied))
        self._started = started(recovered.records, ledger.head.height + 1)
        door = Door(genesis.chain_id, replica.known_tx, replica.validators_at, pool)
        self.inbox = Inbox(door, self.host, ledger.store, self._send, self._penalise)
        identity = Self(PeerId(loaded.wallet.address_bytes), genesis.chain_id, loaded.wallet.sign, loaded.tls, speech)
        folder = SnapshotFolder(home.snapshots)
        self._members = ledger.view.get(MEMBERS)
        self.peers = Peers(identity, read_members(ledger.view), self.inbox, answers(folder))
        self._snapshots = SnapshotTaker(folder, ledger, self.host.tip, config.snapshot_interval)
        self._pruner = Pruner(kv, config.keep_blocks)
        status = StatusSource(config.name, version("gridbft"), self._peer_infos, home.genesis)
        tls, pinned = client_access(home, config, loaded.tls)
        self._upgrade: tuple[int, int] | None = None
        self._home = home
        self._started_s = time.time()
        self._metrics = MetricsServer(self.metrics)
        self._control = ControlServer(home, lambda: frames(kv, genesis.chain_id, time.time_ns() // 1_000_000))
        self._server = ClientServer(LedgerRpc(self.host, door, status), config.limits, tls, pinned)

    def _send(self, to: PeerId | None, lane: Lane, raw: bytes) -> None:
        self.peers.send(to, lane, raw)

    def _penalise(self, peer: PeerId, reason: str) -> None:
        self.peers.penalise(peer, reason)

    def _applied(self, height: int) -> None:
        """Members come and go by governance; what is kept follows the head."""
        members = self.host.ledger.view.get(MEMBERS)
        if members != self._members:
            self._members = members
            listed = read_members(self.host.ledger.view)
            self.peers.set_members(listed)
            if is_due(self._home, self._public_key, listed):
                log.info("key_changes_over", height=height)
                self._begin_again(Again.NEXT_KEY)
        self._look_for_upgrade()
        self._snapshots.applied(height)
        self._pruner.applied(height)

    def _look_for_upgrade(self) -> None:
        """Operators hear of new rules that this program does not know when they are decided, not when they begin."""
        required = self.host.ledger.system.protocol.required()
        if required is not None and required != self._upgrade:
            log.warning("upgrade_needed", version=required[0], from_height=required[1], todo="install a newer release")
        self._upgrade = required

    def _peer_infos(self) -> list[client_pb2.PeerInfo]:
        connected = self.peers.connected
        return [
            client_pb2.PeerInfo(name=m.name, connected=peer in connected, height=self.inbox.heights.get(peer, 0))
            for peer, m in self.peers.members.items()
        ]

    async def metrics(self) -> bytes:
        """Prometheus' text. The disk is looked at in a thread, everything else between two events of the host."""
        disk = await asyncio.to_thread(read_disk, self._home)
        outside = Outside(
            name=self.config.name,
            version=version("gridbft"),
            peers=self._peer_infos(),
            strangers=self.peers.strangers,
            connections={"peers": self.peers.connections, "clients": self._server.connections},
            refused=self._server.gate.refused,
            dropped_txs=self.inbox.dropped_txs,
            disk=disk,
            started_s=self._started_s,
        )
        return exposition(self.host, outside)

    async def run(self) -> None:
        """Serves until `stop`. Raises what went wrong in our own code, or PortTakenError."""
        calm_collector()
        running = asyncio.create_task(self.host.run(self._started), name="host")
        beside = [
            asyncio.create_task(self._check_transactions(), name="transactions"),
            asyncio.create_task(_watch_clock(), name="clock"),
            asyncio.create_task(self._watch_connections(), name="connections"),
            asyncio.create_task(self._tell_readiness(), name="readiness"),
        ]
        if self._awaited is not None:
            beside.append(asyncio.create_task(self._await_signer(self._awaited), name="signer"))
        try:
            await self.peers.start(self.config.peer_address)
            await self._server.start(self.config.client_address)
            await self._server.set_ready(self.host.replica.is_ready)
            if self.config.metrics_address:
                await self._metrics.start(self.config.metrics_address)
            await self._control.start()
            self.serving = True
            log.info(
                "serving",
                name=self.config.name,
                chain=self.host.ledger.chain_id,
                height=self.host.ledger.head.height,
                clients=self.config.client_address,
                peers=self.config.peer_address,
            )
            await running
        finally:
            self._ending()
            self.host.stop()
            for task in beside:
                task.cancel()
            await asyncio.gather(running, *beside, return_exceptions=True)
            await asyncio.gather(
                self._server.stop(),
                self._metrics.stop(),
                self._control.stop(),
                self.peers.stop(),
                self._snapshots.stop(),
                self._pruner.stop(),
            )

    async def _check_transactions(self) -> None:
        try:
            await self.inbox.work()
        except Exception as error:  # noqa: BLE001 - handed to the host's task, which stops the node with it
            self.host.crashed(error)

    async def _tell_readiness(self) -> None:
        """Begins when the client port serves."""
        told: bool | None = None
        while True:
            ready = self.serving and self.host.replica.is_ready
            if ready != told and self.serving:
                await self._server.set_ready(ready)
                log.info("ready" if ready else "not_ready", peers=len(self.peers.connected))
                told = ready
            await asyncio.sleep(READY_LOOK_SECONDS)

    def _begin_again(self, why: Again) -> None:
        self.again = why
        self.host.stop()

    async def _await_signer(self, signer: RemoteSigner) -> None:
        """This node began without its signer and follows the chain; it begins again, as a validator, when that answers."""
        log.error("signer_away", what="this node follows as an observer until its signer answers")
        while True:
            await asyncio.sleep(SIGNER_LOOK_SECONDS)
            try:
                await asyncio.to_thread(signer.identity)
            except SignerLostError:
                continue
            log.info("signer_answers", last=signer.last)
            self._begin_again(Again.SIGNER_ANSWERS)
            return

    async def _watch_connections(self) -> None:
        looks_alone = 0
        while True:
            for connections in (self.peers.connections, self._server.connections):
                connections.look(time.monotonic())
            looks_alone = looks_alone + 1 if self.peers.members and not self.peers.connected else 0
            if looks_alone % LOOKS_BETWEEN_WARNINGS == LOOKS_BEFORE_WARNING:
                todo = "a node that is not voted in is refused by all; else see to the network and to peer_address"
                log.warning("no_peers", members=len(self.peers.members), todo=todo)
            await asyncio.sleep(CONNECTIONS_LOOK_SECONDS)

    def stop(self) -> None:
        self.host.stop()

    def close(self) -> None:
        self._undo.close()


async def _watch_clock() -> None:
    """A clock that is set is survived, but not passed over in silence: what this node proposes and accepts hangs on it."""
    jumps = Jumps(*_clocks_ms())
    while True:
        await asyncio.sleep(CLOCK_LOOK_SECONDS)
        by_ms = jumps.seen(*_clocks_ms())
        if by_ms is not None:
            log.warning("clock_set", by_ms=by_ms, todo="find out who sets this machine's clock by jumps")


def _clocks_ms() -> tuple[int, int]:
    return time.time_ns() // 1_000_000, time.monotonic_ns() // 1_000_000
