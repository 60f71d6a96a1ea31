"""What is read off the machine: processor time and memory of a process, bytes of a folder, the price of a signature check."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import thread_time

from chain.tx import SignedBytes
from gridbft.wallet import Wallet
from node.ed25519 import verify_all

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
CHECKED_AT_ONCE = 500
ROUNDS = 7
MESSAGE_BYTES = 200  # about a transfer's body


def cpu_us(pid: int) -> int:
    """User and system time of a process and all its threads; 0 where it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return (int(fields[11]) + int(fields[12])) * 1_000_000 // TICKS_PER_SECOND


def rss_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), 0.0)


def folder_bytes(folder: Path) -> int:
    """Files that go while this looks do not count."""
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.stat().st_size if file.is_file() else 0
        except OSError:
            continue
    return total


def verify_us() -> float:
    """Microseconds for one signature check on one core of this machine, by the function that the nodes use."""
    key = Wallet.generate()
    messages = [i.to_bytes(8, "big") * (MESSAGE_BYTES // 8) for i in range(CHECKED_AT_ONCE)]
    items = [SignedBytes(key.public_key, message, key.sign(message)) for message in messages]
    rounds = []
    for _ in range(ROUNDS):
        begun = thread_time()
        assert all(verify_all(items))
        rounds.append((thread_time() - begun) / CHECKED_AT_ONCE * 1e6)
    return median(rounds)


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """The smallest value that at least `share` of them do not exceed; None without values."""
    if not ordered:
        return None
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]
