"""How long a vote's signature takes: by the signer in the node's process, and by one in a process of its own.

python -m devnet.bench_signer --votes 2000 --json
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from consensus.types import BlockId, Height, Round, ValidatorId, Vote, VoteKind
from devnet.network import create_network
from gridbft.wallet import Wallet
from node.home import Home
from node.remotesigner import RemoteSigner, SignerLostError
from node.signer import FileSigner, Signer

START_S = 10.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m devnet.bench_signer", description=__doc__.splitlines()[0])
    parser.add_argument("--votes", type=int, default=2_000, help="signatures of each kind (default 2000)")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as undo:
        network = create_network(Path(folder) / "net", 1, 7101)
        home = Home(network.nodes[0].home)
        own = FileSigner.open(network.chain_id, Wallet.load(home.key).sign, Path(folder) / "log", has_chain=False)
        undo.callback(own.close)
        report = {"votes": options.votes, "own_process": measure(own, options.votes)}
        remote = started(home, network.chain_id, Path(folder) / "signer.sock", undo)
        report["remote_process"] = measure(remote, options.votes)
    if options.json:
        print(json.dumps(report))
    else:
        for name in ("own_process", "remote_process"):
            print(f"{name:<16} {report[name]}")
    return 0


def started(home: Home, chain_id: str, path: Path, undo: contextlib.ExitStack) -> RemoteSigner:
    program = Path(sys.executable).parent / "gridbft"
    command = [sys.executable, str(program), "signer", "--home", str(home.path), "--socket", str(path), "--new-guard"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    undo.callback(process.wait)
    undo.callback(process.terminate)
    signer = RemoteSigner(path, chain_id)
    deadline = time.monotonic() + START_S
    while True:
        try:
            signer.identity()
        except SignerLostError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
            continue
        undo.callback(signer.close)
        return signer


def measure(signer: Signer, votes: int) -> dict[str, float]:
    """Microseconds, fsync of the guard included."""
    took: list[float] = []
    for height in range(1, votes + 1):
        vote = Vote(VoteKind.PREVOTE, Height(height), Round(0), BlockId(height.to_bytes(32, "big")), ValidatorId(b""))
        took.append(timed(lambda vote=vote: signer.sign(vote)))  # type: ignore[misc]
    cuts = statistics.quantiles(took, n=100)
    return {"p50_us": round(cuts[49], 1), "p99_us": round(cuts[98], 1)}


def timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    answer = work()
    assert isinstance(answer, Vote), answer
    return (time.perf_counter() - begun) * 1e6


if __name__ == "__main__":
    sys.exit(main())
