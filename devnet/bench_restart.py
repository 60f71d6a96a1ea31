"""How soon a node with a long chain serves again: `python -m devnet.bench_restart --blocks 100000`.

Makes a chain of so many blocks in the home of a single validator, each with a transfer, by the ledger itself and without
waiting for the disk, then starts the real process several times, half of them after SIGKILL. `seconds` is from the start of the
process to its first answer through the client API; prints one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median

from chain.block import Block
from chain.genesis import load_genesis
from chain.ledger import Ledger
from chain.leveldb import LevelKV
from chain.refusal import Refusal
from chain.tx import Tx, TxCall, decode_tx
from consensus.signbytes import vote_sign_bytes
from consensus.types import Commit, CommitEntry, CommitStatus, Round, ValidatorId, Vote, VoteKind
from contracts.runtime.engine import MeteredRuntime
from devnet.bench.gauges import cpu_us
from devnet.bench.run import free_ports
from devnet.bench.town import account, genesis_calls, wallet
from devnet.network import Network, create_network
from devnet.processes import running_pid, start_node, stop_nodes
from devnet.up import wait_ready
from gridbft.requests import make_call
from node import ed25519
from node.home import load_home
from node.signer import FileSigner

ACCOUNTS = 1_000
GAS = 200_000


class Unsynced(LevelKV):
    """Fills the store fast: who makes a chain for a measurement can make it again."""

    def write(self, puts: Iterable[tuple[bytes, bytes]], deletes: Iterable[bytes] = (), *, sync: bool = True) -> None:
        super().write(puts, deletes, sync=False)


def fill(network: Network, blocks: int) -> None:
    """Leaves the home as a validator does that stopped after `blocks` heights."""
    loaded = load_home(network.nodes[0].home)
    me = ValidatorId(loaded.wallet.address_bytes)
    kv = Unsynced(loaded.home.db)
    genesis = load_genesis(loaded.home.genesis.read_text())  # whole: the chain begins here
    ledger = Ledger(kv, MeteredRuntime(ed25519.verify), genesis, ed25519.verify)
    signer = FileSigner.open(network.chain_id, loaded.wallet.sign, loaded.home.guard, has_chain=False)
    try:
        for number in range(blocks):
            block = ledger.propose([_transfer(network.chain_id, number)], (), ledger.head.time_ms + 1, me)
            vote = Vote(VoteKind.PRECOMMIT, block.header.height, Round(0), block.id, me)
            if number < blocks - 1:
                signature = loaded.wallet.sign(vote_sign_bytes(network.chain_id, vote))
            else:  # the guard remembers the last one
                signed = signer.sign(vote)
                assert isinstance(signed, Vote)
                signature = signed.signature
            ledger.apply(block, _commit(block, me, signature))
    finally:
        signer.close()
        kv.close()


def _transfer(chain_id: str, number: int) -> Tx:
    source, nonce = number % ACCOUNTS, number // ACCOUNTS
    call: TxCall = make_call("payments", "transfer", account((source + 1) % ACCOUNTS), 1)
    raw, _ = wallet(source).signed(chain_id, nonce, (call,), number + 1_000, GAS)
    decoded = decode_tx(raw, chain_id)
    assert not isinstance(decoded, Refusal)
    return decoded[0]


def _commit(block: Block, me: ValidatorId, signature: bytes) -> Commit:
    return Commit(block.header.height, Round(0), block.id, (CommitEntry(CommitStatus.COMMIT, me, signature),))


def start_s(network: Network, blocks: int) -> tuple[float, float]:
    """(seconds from the start of the process to its first answer, which says a height of at least `blocks`; its processor
    time until then, which does not depend on what else runs)."""
    begun = time.perf_counter()
    pid = start_node(network.nodes[0])
    asyncio.run(wait_ready(network, height=blocks))
    return time.perf_counter() - begun, cpu_us(pid) / 1e6


def run(blocks: int, starts: int, folder: Path) -> dict[str, object]:
    network = create_network(folder / "net", 1, free_ports(1), genesis_calls("transfer", ACCOUNTS))
    begun = time.perf_counter()
    fill(network, blocks)
    filled_s = time.perf_counter() - begun
    starts_s: list[tuple[float, float]] = []
    for turn in range(starts):
        try:
            starts_s.append(start_s(network, blocks))
            if turn % 2:
                pid = running_pid(network.nodes[0])
                assert pid is not None
                os.kill(pid, signal.SIGKILL)
        finally:
            stop_nodes(network.nodes)
    size = sum(file.stat().st_size for file in (network.nodes[0].home / "db").iterdir())
    return {
        "blocks": blocks,
        "seconds": round(median(wall for wall, _ in starts_s), 2),
        "worst_seconds": round(max(wall for wall, _ in starts_s), 2),
        "cpu_seconds": round(median(cpu for _, cpu in starts_s), 2),
        "store_mb": size // 1_000_000,
        "filled_s": round(filled_s, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="How soon a node with a long chain serves again.")
    parser.add_argument("--blocks", type=int, default=100_000)
    parser.add_argument("--starts", type=int, default=4)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gridbft-restart-") as folder:
        print(json.dumps(run(given.blocks, given.starts, Path(folder))))


if __name__ == "__main__":
    main()
