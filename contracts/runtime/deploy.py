"""Contracts on the chain: the writes that put one there, and the list of those that are there."""

from __future__ import annotations

import re
from hashlib import sha256

from contracts.runtime.abi import FunctionAbi, checked, contract_abi
from contracts.runtime.api import StateView
from contracts.runtime.codec import decode_trusted, encode
from contracts.runtime.keys import CONTRACTS_KEY, code_key, source_key

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


def deploy_writes(name: str, source: bytes, version: int = 1, paused_until_height: int = 0) -> dict[bytes, bytes]:
    """The state writes that put a contract on the chain; `contracts_writes` adds it to the list.

    Raises ValueError for a bad name and abi.NotAContract (a ValueError) for a source that the checker refuses.
    """
    if not _NAME.fullmatch(name):
        raise ValueError("a contract's name has at most 32 lower-case letters, digits and underscores")
    checked(source)
    code_hash = sha256(source).digest()
    return {
        code_key(name): encode([version, code_hash, paused_until_height]),
        source_key(code_hash): source,
    }


def contracts_writes(names: list[str]) -> dict[bytes, bytes]:
    """The list of all contracts, sorted."""
    return {CONTRACTS_KEY: encode(sorted(names))}


def list_contracts(view: StateView) -> list[str]:
    raw = view.get(CONTRACTS_KEY)
    names: list[str] = [] if raw is None else decode_trusted(raw)
    return names


def deployed(view: StateView, name: str) -> tuple[int, bytes, int] | None:
    """(version, code hash, paused until height), or None."""
    raw = view.get(code_key(name))
    if raw is None:
        return None
    version, code_hash, paused_until_height = decode_trusted(raw)
    return version, code_hash, paused_until_height


def deployed_abi(view: StateView, name: str) -> list[FunctionAbi] | None:
    """The interface of a contract on the chain, or None."""
    found = deployed(view, name)
    source = None if found is None else view.get(source_key(found[1]))
    return None if source is None else contract_abi(source)
