"""A validator's key is replaced by governance while its node runs: the new key lies ready, the members decide, and the
node changes over when its old key is a member no longer.

The new key has its own, empty guard, because it has never signed; the old key's guard and log are kept beside it under the
old address, and never used again.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from chain.genesis import Member
from gridbft.errors import WalletError
from gridbft.wallet import key_info
from node.files import sync_folder
from node.home import Home

MARK = "rotating"


def next_key(home: Home) -> Path:
    return home.path / "node.key.next"


def is_due(home: Home, own: bytes, members: Sequence[Member]) -> bool:
    """Whether the members have let go of this node's key (public, 32 bytes), and another one lies ready."""
    return next_key(home).is_file() and all(m.public_key != own for m in members)


def change_over(home: Home) -> None:
    """From the old key to the next one. Begins with a mark, so that a crash anywhere is finished by `finish` at the start.

    Raises OSError or WalletError."""
    old = key_info(home.key).address
    mark = home.path / MARK
    mark.write_text(old + "\n", encoding="ascii")
    sync_folder(home.path)
    finish(home)


def finish(home: Home) -> bool:
    """Does what is left of a change-over; whether there was one. Every step may have been done before."""
    mark = home.path / MARK
    if not mark.is_file():
        return False
    old = mark.read_text(encoding="ascii").strip()
    if len(old) != 40 or not old.isalnum():
        raise WalletError(f"{mark} is damaged: it should hold the address of the key that is replaced")
    for file in (home.guard, home.wal):
        kept = file.with_name(f"{file.name}.{old}")
        if file.exists() and not kept.exists():
            file.rename(kept)
    if next_key(home).is_file():
        if home.key.is_file():
            os.replace(home.key, home.path / f"node.key.{old}")
        os.replace(next_key(home), home.key)
    # A guard that is missing beside a chain stops a node; this one is empty because its key is new.
    if not home.guard.exists():
        home.guard.touch(mode=0o600)
    sync_folder(home.path)
    mark.unlink()
    sync_folder(home.path)
    return True
