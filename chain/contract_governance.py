"""Deploying, upgrading, pausing and resuming contracts: what governance may do to code, checked and enacted.

The source bytes are in the state under their hash. A version only grows. An upgrade runs the new code's
`migrate(old_version)`, if it has one, in the same step: when that fails, the old code stays.
"""

from __future__ import annotations

from typing import Any

from chain.overlay import Overlay
from contracts.runtime.abi import contract_abi
from contracts.runtime.api import Call, Event, Runtime
from contracts.runtime.codec import encode
from contracts.runtime.deploy import contracts_writes, deploy_writes, deployed, list_contracts
from contracts.runtime.keys import code_key
from contracts.runtime.machine import GOVERNANCE, MIGRATE

MIGRATION_GAS = 1_000_000_000
FOR_EVER = 2**62
EMERGENCY_HEIGHTS = 5_000  # then an emergency pause ends by itself
RESERVED = frozenset({GOVERNANCE, "genesis"})


def deploy_fault(state: Overlay, subject: dict[str, Any]) -> str | None:
    """The code of why a deployment or an upgrade cannot be, or None."""
    name, known = subject["name"], _known(state, subject["name"])
    if subject["upgrade"] != (known is not None):
        return "UNKNOWN_CONTRACT" if subject["upgrade"] else "CONTRACT_EXISTS"
    if name in RESERVED:
        return "NAME_RESERVED"
    try:
        deploy_writes(name, subject["source"].encode())
    except ValueError:
        return "BAD_SOURCE"
    return None


def enact_deploy(
    runtime: Runtime, state: Overlay, subject: dict[str, Any], height: int, time_ms: int
) -> tuple[str, tuple[Event, ...]]:
    """Puts the code in place, all or nothing. Returns "" or the code of the migration's failure, and its events."""
    name, source = subject["name"], subject["source"].encode()
    known = deployed(state, name)
    old_version, paused_until = (0, 0) if known is None else (known[0], known[2])
    scratch = Overlay(state)
    scratch.writes.update(deploy_writes(name, source, old_version + 1, paused_until))
    scratch.writes.update(contracts_writes(sorted({*list_contracts(state), name})))
    events: tuple[Event, ...] = ()
    if known is not None and any(f.name == MIGRATE and not f.view for f in contract_abi(source)):
        call = Call(name, MIGRATE, encode([old_version]), GOVERNANCE, height, time_ms)
        outcome = runtime.execute(call, scratch, MIGRATION_GAS)
        if not outcome.ok:
            return outcome.code, ()
        scratch.writes.update(outcome.writes)
        events = outcome.events
    state.writes.update(scratch.writes)
    return "", events


def pause_fault(state: Overlay, subject: dict[str, Any]) -> str | None:
    return None if _known(state, subject["name"]) is not None else "UNKNOWN_CONTRACT"


def _known(state: Overlay, name: str) -> tuple[int, bytes, int] | None:
    """The code record of whatever text a proposal names: no contract's name goes beyond ASCII, and none has a key there."""
    return deployed(state, name) if name.isascii() else None


def set_pause(state: Overlay, name: str, until_height: int) -> None:
    known = deployed(state, name)
    assert known is not None, "checked before"
    state.writes[code_key(name)] = encode([known[0], known[1], until_height])
