"""Examines a stopped node's files: what is wrong with each, in a sentence, and what to do about it. Changes nothing that
matters: LevelDB itself may tidy up its own log when it is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from chain import merkle
from chain.block import decode_block
from chain.evidence import validators_at
from chain.genesis import Genesis, GenesisError, load_genesis
from chain.hashes import digest
from chain.kv import KV, StoreError
from chain.leveldb import LevelKV
from chain.memory import MemoryKV
from chain.overlay import Writes
from chain.snapshot import CHUNK_BYTES, decode_offer
from chain.statetree import StateTree
from chain.store import GENESIS, RESTORING, BlockStore, CorruptStoreError, Head, StateReader
from consensus.commits import verify_commit
from consensus.types import Height
from contracts.runtime.api import StateView
from gridbft.errors import WalletError
from gridbft.wallet import key_info
from node import ed25519
from node.certs import CertificateError, certificate_digest
from node.config import ConfigError, read_config
from node.home import Home, HomeLock
from node.signer import GuardError, decode_guard
from node.snapshots import SnapshotFolder
from node.tlskey import public_digest_of_certificate, tls_key_info
from node.walcodec import HEADER_BYTES, WalCorruptError, scan

RESYNC = "stop, move db/ away and start: the node fetches the chain again; keep signer.log where it is"
ENTRIES_AT_ONCE = 20_000


@dataclass(frozen=True, slots=True)
class Finding:
    """`part` is the file or the folder; `is_wrong` False: worth knowing, and nothing to do."""

    part: str
    is_wrong: bool
    text: str


def examine(home: Home) -> list[Finding]:
    """Everything that can be found without the network. Raises HomeError only where the folder cannot be examined now
    (a node runs in it)."""
    if not home.config.is_file():
        return [_wrong("config.toml", "missing: this folder is no node's home; make one with `gridbft init`")]
    lock = HomeLock(home)
    try:
        return [finding for check in CHECKS for finding in check(home)]
    finally:
        lock.release()


def _wrong(part: str, text: str) -> Finding:
    return Finding(part, True, text)


def _fine(part: str, text: str) -> Finding:
    return Finding(part, False, text)


# --- files ------------------------------------------------------------------------------------------------------------


def _config(home: Home) -> Iterator[Finding]:
    try:
        read_config(home.config)
    except ConfigError as error:
        yield _wrong("config.toml", f"{error}: correct that line")


def _genesis(home: Home) -> Iterator[Finding]:
    if _read_genesis(home) is None:
        try:
            load_genesis(home.genesis.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, GenesisError) as error:
            yield _wrong("genesis.json", f"{error}: copy the file from another member; all have the same")


def _read_genesis(home: Home) -> Genesis | None:
    try:
        return load_genesis(home.genesis.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, GenesisError):
        return None


def _keys(home: Home) -> Iterator[Finding]:
    """Without its passphrase: the public half must be a member's, and the file nobody else's to read."""
    genesis = _read_genesis(home)
    try:
        remote = bool(read_config(home.config).signer)
    except ConfigError:
        remote = False
    if not remote:
        try:
            key = key_info(home.key)
        except WalletError as error:
            yield _wrong("node.key", f"{error}: restore the file from your backup of keys")
        else:
            if home.key.stat().st_mode & 0o077:
                yield _wrong("node.key", "others on this machine may read it: chmod 600 it, and think of a new key")
            if genesis is not None and key.public_key not in {m.public_key.hex() for m in genesis.members}:
                yield _fine("node.key", "no validator of the genesis: an observer, or added by governance later")
    yield from _tls(home)


def _tls(home: Home) -> Iterator[Finding]:
    """The certificate, and whether tls.key is its key, without the passphrase."""
    try:
        certificate = home.tls_certificate.read_text(encoding="utf-8")
        certificate_digest(certificate)
    except (OSError, UnicodeDecodeError, CertificateError) as error:
        yield _wrong("tls.crt", f"{error}: restore tls.crt and tls.key, which the other members pin")
        return
    try:
        key = tls_key_info(home.tls_key)
    except WalletError as error:
        yield _wrong("tls.key", f"{error}: restore it from your copy of the keys; it belongs to tls.crt")
        return
    if key.public_digest != public_digest_of_certificate(certificate):
        yield _wrong("tls.key", "it is not the key of tls.crt: restore both from one copy")
    if home.tls_key.stat().st_mode & 0o077:
        yield _wrong("tls.key", "others on this machine may read it: chmod 600 it, and think of a new one")
    if key.kept == "unmarked":
        yield _wrong("tls.key", f"it is not encrypted: `gridbft keys rotate --home {home.path}` encrypts it")


def _log(home: Home) -> Iterator[Finding]:
    data = home.wal.read_bytes() if home.wal.is_file() else b""
    if len(data) < HEADER_BYTES:
        return
    try:
        torn = len(data) - scan(data).good_bytes
    except WalCorruptError as error:
        yield _wrong("wal", f"{error}: restore it from the disk's own copy, or move the validator to a new key")
        return
    if torn:
        yield _fine("wal", f"its last {torn} bytes were cut off by a crash: the next start drops them")


def _guard(home: Home) -> Iterator[Finding]:
    if not home.guard.is_file():
        if home.db.is_dir() and home.wal.is_file():
            yield _wrong("signer.log", "missing beside a chain: restore it, or move the validator to a new key")
        return
    try:
        decode_guard(home.guard.read_bytes(), "signer.log")
    except GuardError as error:
        yield _wrong("signer.log", str(error))


def _snapshots(home: Home) -> Iterator[Finding]:
    folder = SnapshotFolder(home.snapshots)
    for height in folder.heights():
        try:
            offer = decode_offer(folder.offer(height))
            chunks = [folder.chunk(height, n) for n in range(len(offer.chunk_hashes))]
        except (OSError, ValueError) as error:
            yield _wrong(f"snapshots/{height}", f"{error}: delete that folder; the next snapshot replaces it")
            continue
        hashes = zip(chunks, offer.chunk_hashes, strict=True)
        bad = [n for n, (c, h) in enumerate(hashes) if c is None or len(c) > CHUNK_BYTES or digest(c) != h]
        if bad:
            yield _wrong(f"snapshots/{height}", f"chunk {bad[0]} is damaged or missing: delete that folder")


# --- the store --------------------------------------------------------------------------------------------------------


def _store(home: Home) -> Iterator[Finding]:
    if not home.db.is_dir():
        yield _fine("db", "no chain yet: the first start makes one")
        return
    try:
        kv = LevelKV(home.db)
    except StoreError as error:
        yield _wrong("db", f"{error} If that does not help: {RESYNC}.")
        return
    try:
        yield from examine_store(kv, _read_genesis(home))
    except StoreError as error:
        yield _wrong("db", f"{error} What to do: {RESYNC}.")
    finally:
        kv.close()


def examine_store(kv: KV, genesis: Genesis | None) -> Iterator[Finding]:
    """Head, every kept block against its commit, and whether the state's entries make the head's root."""
    store = BlockStore(kv)
    if kv.get(RESTORING) is not None:
        yield _fine("db", "a snapshot was being restored when the node stopped: the next start begins anew")
        return
    try:
        head = store.head()
    except CorruptStoreError as error:
        yield _wrong("db", f"{error}; {RESYNC}")
        return
    if head is None:
        yield _fine("db", "no chain yet: the first start makes one")
        return
    if genesis is not None and kv.get(GENESIS) != genesis.chain_id.encode():
        yield _wrong("db", "it holds another network's chain: put the right genesis.json, or move db/ away")
        return
    for height in range(store.earliest(), head.height + 1):
        fault = block_fault(store, StateReader(kv), height, head)
        if fault is not None:
            yield _wrong("db", f"block {height}: {fault}; {RESYNC}")
    root = state_root(store)
    if root != head.state_root:
        yield _wrong("db", f"the state's entries do not have the root of height {head.height}; {RESYNC}")
    try:
        StateTree(kv, head.state_root).warm()
    except StoreError as error:
        yield _wrong("db", f"{error} {RESYNC}")
    yield _fine("db", f"the chain stands at height {head.height}; blocks are kept from {store.earliest()} on")


def block_fault(store: BlockStore, view: StateView, height: int, head: Head) -> str | None:
    """What is wrong with a kept block, or None: its bytes, its lists, its commit, its parent, its receipts."""
    try:
        raw, header, receipts = store.block_bytes(height), store.header(height), store.receipts(height)
        if raw is None or header is None or receipts is None:
            return "it is missing, or its receipts are"
        decode_block(raw, header[0].chain_id)
        following = store.header(height + 1) if height < head.height else None
    except (CorruptStoreError, ValueError) as error:
        return str(error)
    fault = commit_fault(store, view, height, header[0].chain_id)
    if fault is not None:
        return fault
    if height == head.height and _id_of(store, height) != head.block_id:
        return "it is not the block that the head names"
    if following is not None and following[0].parent != _id_of(store, height):
        return "the next block does not follow it"
    expected = following[0].receipt_root if following is not None else head.receipt_root
    return None if merkle.root(receipts) == expected else "its receipts are not those that were agreed on"


def commit_fault(store: BlockStore, view: StateView, height: int, chain_id: str) -> str | None:
    """Why the commit does not prove the block, or None; every signature is checked."""
    commit, validators = store.commit(height), validators_at(view, height)
    if commit is None or validators is None:
        return "its commit is missing"
    error = verify_commit(commit, chain_id, validators, Height(height), commit.block_id, ed25519.verify)
    return None if error is None else f"its commit proves nothing: {error.detail}"


def _id_of(store: BlockStore, height: int) -> bytes | None:
    commit = store.commit(height)
    return None if commit is None else commit.block_id


def state_root(store: BlockStore) -> bytes:
    """The root of all state entries, computed anew."""
    scratch = MemoryKV()
    tree = StateTree(scratch)
    entries = store.state_entries()
    while batch := list(islice(entries, ENTRIES_AT_ONCE)):
        writes: Writes = dict(batch)
        change = tree.plan(writes)
        scratch.write(change.puts, change.deletes)
        tree.adopt(change)
    return tree.root


CHECKS: tuple[Callable[[Home], Iterator[Finding]], ...] = (_config, _genesis, _keys, _log, _guard, _store, _snapshots)
