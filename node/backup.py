"""A node's chain in one file: taken of a running node at one moment, and restored only where everything in it is proved.

MAGIC, then frames {length u32, zlib}: the first holds what the file is about (JSON), the others the store's entries in key
order as `chain.snapshot.chunks_of` cuts them. A frame of length 0 ends them; then comes the SHA-256 of all before it. Keys of
the validator, its log and its signer's guard are never in it: a guard that is older than its signatures is worth less than none.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from chain.block import decode_block
from chain.evidence import validators_at
from chain.genesis import Genesis
from chain.kv import KV
from chain.ledger import Ledger
from chain.leveldb import LevelKV
from chain.pruning import roll_back
from chain.snapshot import CHUNK_BYTES, MAX_PART_BYTES, SnapshotError, chunks_of, entries_in
from chain.store import BlockStore, CorruptStoreError, Head, StateReader
from chain.wire import validators_hash
from consensus.types import CommitStatus
from contracts.runtime.api import StateView
from contracts.runtime.engine import MeteredRuntime
from node import ed25519
from node.checkup import commit_fault, examine_store
from node.files import OS_DISK, sync_folder
from node.home import Home

MAGIC = b"gridbft/backup/v1\x00"
MAX_FRAME_BYTES = CHUNK_BYTES + MAX_PART_BYTES
ENTRIES_PER_BATCH = 20_000
LAST_KEY = b"\xff" * 64
"""Above every key of the store."""

_LENGTH_BYTES = 4


class BackupError(Exception):
    """The file or the store is not what it should be; a sentence that says why and what to do."""


@dataclass(frozen=True, slots=True)
class About:
    """The head's height and block id (hexadecimal), and which chain it is."""

    chain_id: str
    height: int
    block_id: str
    made_ms: int


# --- taking -----------------------------------------------------------------------------------------------------------


def frames(kv: KV, chain_id: str, now_ms: int) -> Iterator[bytes]:
    """The file, piece by piece, of the store as it stands at this call: later blocks do not show.

    Raises BackupError where there is no chain yet; the pieces raise StoreError when the store is closed meanwhile.
    """
    head = BlockStore(kv).head()
    if head is None or head.height == 0:
        raise BackupError("there is nothing to back up yet: the chain stands at its genesis, which you have")
    entries = kv.scan(b"", LAST_KEY)
    about = About(chain_id, head.height, head.block_id.hex(), now_ms)
    return _framed([json.dumps(asdict(about)).encode()], chunks_of(entries))


def _framed(first: Iterable[bytes], chunks: Iterable[bytes]) -> Iterator[bytes]:
    total = sha256(MAGIC)
    yield MAGIC
    for group in (first, chunks):
        for raw in group:
            packed = zlib.compress(raw, 1)
            frame = len(packed).to_bytes(_LENGTH_BYTES, "big") + packed
            total.update(frame)
            yield frame
    end = bytes(_LENGTH_BYTES)
    total.update(end)
    yield end + total.digest()


def write_file(pieces: Iterable[bytes], to: Path) -> int:
    """Its size. The file is whole and on the disk, or not there at all. Raises OSError."""
    draft = to.with_name(to.name + ".part")
    size = 0
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            for piece in pieces:
                file.write(piece)
                size += len(piece)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(to)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(to.parent)
    return size


# --- reading ----------------------------------------------------------------------------------------------------------


class Reader:
    """Reads a backup from its beginning; what it yields is final only when `chunks` ended without BackupError."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._total = sha256(MAGIC)
        if file.read(len(MAGIC)) != MAGIC:
            raise BackupError("the file is no backup of gridbft, or one of another release")
        raw = self._frame()
        try:
            self.about = About(**json.loads(raw or b""))
        except (ValueError, TypeError) as error:
            raise BackupError("the file's beginning is damaged: take another backup") from error

    def chunks(self) -> Iterator[bytes]:
        while (raw := self._frame()) is not None:
            yield raw
        if self._file.read(32) != self._total.digest() or self._file.read(1):
            raise BackupError("the file's end does not fit the rest: it was damaged or changed; take another backup")

    def _frame(self) -> bytes | None:
        prefix = self._file.read(_LENGTH_BYTES)
        size = int.from_bytes(prefix, "big")
        packed = self._file.read(size) if size <= MAX_FRAME_BYTES else b""
        if len(prefix) != _LENGTH_BYTES or len(packed) != size:
            raise BackupError("the file is cut short: copy it again, or take another backup")
        self._total.update(prefix)
        if size == 0:
            return None
        self._total.update(packed)
        unpacker = zlib.decompressobj()
        try:
            raw = unpacker.decompress(packed, MAX_FRAME_BYTES)
        except zlib.error as error:
            raise BackupError("the file is damaged: copy it again, or take another backup") from error
        if unpacker.unconsumed_tail:
            raise BackupError("the file is damaged: a piece of it is too large")
        return raw


# --- restoring --------------------------------------------------------------------------------------------------------


def restore(path: Path, home: Home, genesis: Genesis, remote_signer: bool, say: Callable[[str], None]) -> Head:
    """Puts the chain of a backup into a home that has none, after proving all of it against the genesis.

    The signer's guard is not touched; where there is none, an empty one is made, which says that this disk remembers
    nothing: the validator then stays silent until it is safe (see node/caution.py). Raises BackupError, StoreError or
    OSError; the home then has no chain, as before.
    """
    if home.db.exists():
        raise BackupError(f"{home.db} holds a chain already: move it away first, if it is to be replaced")
    draft = home.db.with_name(home.db.name + ".restoring")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        with path.open("rb") as file:
            reader = Reader(file)
            if reader.about.chain_id != genesis.chain_id:
                raise BackupError(f"the file is of chain {reader.about.chain_id}, this home of {genesis.chain_id}")
            kv = LevelKV(draft)
            try:
                say("reading")
                _write(kv, reader)
                say("checking every header, commit and block, and executing the last block again")
                head = proved_head(kv, genesis, reader.about)
            finally:
                kv.close()
        if not remote_signer and not home.guard.exists():
            OS_DISK.replace(home.guard, b"")
        draft.rename(home.db)
        sync_folder(home.path)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return head


def _write(kv: KV, reader: Reader) -> None:
    try:
        entries = entries_in(reader.chunks(), place=bytes)
        while batch := list(islice(entries, ENTRIES_PER_BATCH)):
            kv.write(batch, sync=False)
        kv.write((), sync=True)
    except SnapshotError as error:
        raise BackupError(f"the file's entries are damaged ({error}): take another backup") from error


def proved_head(kv: KV, genesis: Genesis, about: About) -> Head:
    """The head of a store, if everything in it follows from the genesis. Raises BackupError.

    The state after the head is vouched for by no header yet; so the last block is taken back, the state before it proved by
    that block's own header, and the block executed again.
    """
    try:
        store = BlockStore(kv)
        head = store.head()
        if head is None or (head.height, head.block_id.hex()) != (about.height, about.block_id):
            raise BackupError("the file does not hold the chain that it says it holds")
        wrong = [f.text for f in examine_store(kv, genesis) if f.is_wrong]
        fault = wrong[0] if wrong else chain_fault(store, StateReader(kv), genesis, head)
        if fault is not None:
            raise BackupError(f"the backup is not proved by the genesis: {fault}")
        raw, commit = store.block_bytes(head.height), store.commit(head.height)
        if raw is None or commit is None:
            raise BackupError(f"block {head.height} is not in the backup: take another one after the next block")
        roll_back(kv, genesis)
        ledger = Ledger(kv, MeteredRuntime(ed25519.verify), genesis, ed25519.verify)
        again = ledger.apply(decode_block(raw, genesis.chain_id)[0], commit)
    except (CorruptStoreError, ValueError) as error:
        raise BackupError(f"the backup is damaged: {error}") from error
    if again != head:
        raise BackupError(f"executing block {head.height} again gives another state: the backup was changed")
    return head


def chain_fault(store: BlockStore, view: StateView, genesis: Genesis, head: Head) -> str | None:
    """Why the headers and commits do not lead from the genesis to the head, or None. Each header names the validators of the
    next height and is signed by its own. A chain that begins with a snapshot is proved like the snapshot: by validators of
    the genesis with more than a third of its power."""
    first = next((h for h in range(1, head.height + 1) if store.header(h) is not None), None)
    if first is None:
        return "there is no header"
    expected = validators_hash(genesis.validators) if first == 1 else None
    for height in range(first, head.height + 1):
        found, validators = store.header(height), validators_at(view, height)
        if found is None or validators is None:
            return f"header {height} is missing"
        header = found[0]
        if header.chain_id != genesis.chain_id or header.height != height:
            return f"header {height} is of another chain"
        if header.validators_hash != validators_hash(validators) or expected not in (None, header.validators_hash):
            return f"header {height} was not made by the validators that the chain had then"
        fault = commit_fault(store, view, height, genesis.chain_id)
        if fault is not None:
            return f"height {height}: {fault}"
        if height > first and header.parent != _block_id(store, height - 1):
            return f"header {height} does not follow the one before it"
        expected = header.next_validators_hash
    return None if first == 1 else _too_few_signed(store, genesis, head.height)


def _block_id(store: BlockStore, height: int) -> bytes | None:
    commit = store.commit(height)
    return None if commit is None else commit.block_id


def _too_few_signed(store: BlockStore, genesis: Genesis, height: int) -> str | None:
    commit = store.commit(height)
    assert commit is not None, "its signatures were checked just now"
    known = sum(genesis.validators.power_of(e.validator) for e in commit.entries if e.status is CommitStatus.COMMIT)
    return None if genesis.validators.is_third(known) else "too few of the genesis's validators signed its end"
