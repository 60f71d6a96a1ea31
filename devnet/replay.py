"""A chain's blocks executed again from the genesis, in memory: `python -m devnet.replay --home DIR | --blocks FILE`.

Every block is checked as a node checks it when it syncs (its commit, its transactions' signatures, the roots in its header), so a
replay that ends has computed what the validators agreed on. `--export FILE` writes the genesis and the blocks of a stopped node's
home into one file, which any interpreter replays that has msgpack and protobuf; a home needs LevelDB too.

Ends with one JSON object on standard output: height, state_root (after the last block), receipts (a digest over all of them), ...
"""

from __future__ import annotations

import argparse
import ctypes
import json
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgpack

from chain.block import decode_block
from chain.genesis import Genesis, GenesisError, load_genesis
from chain.kv import KV, StoreError
from chain.ledger import Ledger
from chain.memory import MemoryKV
from chain.receipt import decode_receipt
from chain.store import BlockStore, CorruptStoreError
from chain.tx import Verify
from chain.wire import decode_commit
from contracts.runtime.engine import MeteredRuntime

MAGIC = "gridbft blocks 1"
Pair = tuple[bytes, bytes]
"""A block and the commit that decided it, as their bytes."""


class ReplayError(Exception):
    """Why the chain cannot be replayed, in a sentence."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """`receipts` and `blocks` are SHA-256 over all receipts and all block ids in order; `state` over all state entries."""

    ok: bool
    chain_id: str
    height: int
    state_root: str
    receipt_root: str
    receipts: str
    blocks: str
    state: str
    transactions: int
    reverted: int
    gas: int
    python: str
    verifier: str
    seconds: float


# --- where blocks come from


def stored_blocks(kv: KV) -> Iterator[Pair]:
    """All blocks of a store. Raises ReplayError where some were pruned."""
    store = BlockStore(kv)
    head = store.head()
    for height in range(1, (head.height if head is not None else 0) + 1):
        block, commit = store.block_bytes(height), store.commit_bytes(height)
        if block is None or commit is None:
            raise ReplayError(f"the block of height {height} is not kept here: replay a node that keeps all blocks")
        yield block, commit


def write_blocks(file: Path, genesis: str, blocks: Iterable[Pair]) -> int:
    """A msgpack stream: the magic, the genesis text, then one [block, commit] for each height. Returns how many."""
    count = 0
    with file.open("wb") as out:
        out.write(msgpack.packb(MAGIC) + msgpack.packb(genesis))
        for pair in blocks:
            out.write(msgpack.packb(pair))
            count += 1
    return count


def read_blocks(file: Path) -> tuple[str, Iterator[Pair]]:
    """The genesis text and the blocks. Raises ReplayError for another kind of file."""
    try:
        stream = msgpack.Unpacker(file.open("rb"), max_buffer_size=2**30)
    except OSError as error:
        raise ReplayError(f"{file} cannot be read: {error.strerror}") from error
    try:
        magic, genesis = next(stream, None), next(stream, None)
    except (ValueError, msgpack.UnpackException):
        magic = genesis = None
    if magic != MAGIC or not isinstance(genesis, str):
        raise ReplayError(f"{file} is not what `python -m devnet.replay --home DIR --export FILE` writes")
    return genesis, _pairs(stream)


def _pairs(stream: Iterator[Any]) -> Iterator[Pair]:
    """Raises ReplayError where the file ends in the middle, or holds something else."""
    while True:
        try:
            found = next(stream, None)
        except (ValueError, msgpack.UnpackException) as error:
            raise ReplayError(f"the file of blocks is damaged: {error}") from error
        match found:
            case None:
                return
            case [bytes() as block, bytes() as commit]:
                yield block, commit
            case _:
                raise ReplayError("the file of blocks is damaged")


# --- replaying


def replay(genesis: Genesis, blocks: Iterable[Pair], verify: Verify, verifier: str = "") -> Replayed:
    """Raises ReplayError at the first block that this machine would not have accepted."""
    started = time.monotonic()
    kv = MemoryKV()
    ledger = Ledger(kv, MeteredRuntime(verify), genesis, verify)
    receipts, ids = sha256(), sha256()
    transactions = reverted = gas = 0
    for raw, commit_raw in blocks:
        height = ledger.head.height + 1
        try:
            block, signed = decode_block(raw, genesis.chain_id)
            commit = decode_commit(commit_raw)
        except ValueError as error:
            raise ReplayError(f"block {height} is damaged: {error}") from error
        forged = next((item for item in signed if not verify(*item)), None)
        fault = "a transaction's signature is wrong" if forged else ledger.decided_fault(block, commit)
        if fault is not None:
            raise ReplayError(f"block {height} is refused: {fault}")
        ledger.apply(block, commit)
        ids.update(block.id)
        for receipt_raw in ledger.store.receipts(height) or []:
            receipt = decode_receipt(receipt_raw)
            receipts.update(len(receipt_raw).to_bytes(4, "big") + receipt_raw)
            transactions, gas, reverted = transactions + 1, gas + receipt.gas_used, reverted + (not receipt.ok)
    head = ledger.head
    return Replayed(
        ok=True,
        chain_id=genesis.chain_id,
        height=head.height,
        state_root=head.state_root.hex(),
        receipt_root=head.receipt_root.hex(),
        receipts=receipts.hexdigest(),
        blocks=ids.hexdigest(),
        state=_state_digest(ledger.store),
        transactions=transactions,
        reverted=reverted,
        gas=gas,
        python="{}.{}.{}".format(*sys.version_info[:3]),
        verifier=verifier,
        seconds=round(time.monotonic() - started, 3),
    )


def _state_digest(store: BlockStore) -> str:
    digest = sha256()
    for key, value in store.state_entries():
        digest.update(len(key).to_bytes(4, "big") + key + len(value).to_bytes(4, "big") + value)
    return digest.hexdigest()


# --- the verifier


def find_verifier() -> tuple[Verify, str]:
    """The node's own verifier; where PyNaCl cannot be imported (it is built for one interpreter), the very libsodium that it
    carries, called directly. Raises ReplayError where there is neither."""
    try:
        from node.ed25519 import verify
    except ImportError:
        return _libsodium(), "libsodium"
    return verify, "PyNaCl"


def _libsodium() -> Verify:
    spec = find_spec("nacl")
    folder = Path(spec.origin).parent if spec is not None and spec.origin is not None else None
    library = next(iter(sorted(folder.glob("_sodium*"))), None) if folder is not None else None
    if library is None:
        raise ReplayError("signatures cannot be checked here: install pynacl for this interpreter")
    try:
        check = ctypes.CDLL(str(library)).crypto_sign_ed25519_verify_detached
    except (OSError, AttributeError) as error:
        raise ReplayError(f"signatures cannot be checked here: {library.name} cannot be used: {error}") from error
    check.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulonglong, ctypes.c_char_p)
    check.restype = ctypes.c_int

    def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
        right_size = len(public_key) == 32 and len(signature) == 64
        return right_size and check(signature, message, len(message), public_key) == 0

    return verify


# --- the command


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Execute a chain's blocks again and print its roots as JSON.")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--home", type=Path, metavar="DIR", help="a stopped node's home")
    source.add_argument("--blocks", type=Path, metavar="FILE", help="what --export wrote")
    parser.add_argument("--export", type=Path, metavar="FILE", help="with --home: write the blocks, replay nothing")
    options = parser.parse_args(arguments)
    if options.export and not options.home:
        parser.error("--export writes a home's blocks: give --home")
    try:
        print(json.dumps(_run(options)))
    except (ReplayError, CorruptStoreError, GenesisError) as error:
        print(f"error: {error}", file=sys.stderr)
        print(json.dumps({"ok": False, "error": str(error)}))
        return 1
    return 0


def _run(options: argparse.Namespace) -> dict[str, object]:
    if options.blocks is not None:
        text, blocks = read_blocks(options.blocks)
        return asdict(replay(load_genesis(text), blocks, *find_verifier()))
    text = _genesis_text(options.home)
    kv = _open(options.home / "db")
    try:
        if options.export is not None:
            return {
                "ok": True,
                "file": str(options.export),
                "blocks": write_blocks(options.export, text, stored_blocks(kv)),
            }
        return asdict(replay(load_genesis(text), stored_blocks(kv), *find_verifier()))
    finally:
        kv.close()


def _genesis_text(home: Path) -> str:
    try:
        return (home / "genesis.json").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ReplayError(f"{home} is no node's home: {error}") from error


def _open(folder: Path) -> KV:
    """LevelDB is imported here only: a blocks file needs none."""
    if not folder.is_dir():
        raise ReplayError(f"{folder} does not exist: this node never started")
    from chain.leveldb import LevelKV

    try:
        return LevelKV(folder)
    except StoreError as error:
        raise ReplayError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
