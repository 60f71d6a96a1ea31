"""Runs the corpus, random programs and an energy flow on whatever interpreter this is, and prints one digest for each part.

`python -m tests.contracts.runtime.replay` needs nothing but this checkout and msgpack: the determinism test starts it under every
interpreter that it finds, with different hash seeds.
"""

from __future__ import annotations

from hashlib import sha256

from contracts.energy import DEPLOYMENT_ORDER, SOURCES, genesis_calls
from contracts.runtime.api import Call, Outcome
from contracts.runtime.checker import check
from contracts.runtime.codec import encode
from contracts.runtime.deploy import deploy_writes
from contracts.runtime.engine import MeteredRuntime
from tests.contracts.runtime.corpus import (
    BOMBS,
    REFUSED_EXPRESSIONS,
    REFUSED_MODULES,
    REFUSED_STATEMENTS,
    body,
    module,
)
from tests.contracts.runtime.programs import OTHER, program

PROGRAMS = 60
GAS_LIMIT = 300_000


def seen(outcome: Outcome) -> bytes:
    """All of an outcome that reaches a receipt or the state, in the order in which it came."""
    events = [(event.contract, event.name, event.fields) for event in outcome.events]
    whole = (outcome.ok, outcome.code, outcome.gas_used, outcome.result, events, list(outcome.writes.items()))
    return repr(whole).encode()


def run(state: dict[bytes, bytes], *calls: Call, gas_limit: int = GAS_LIMIT) -> bytes:
    """The digest of calls one after the other on the state."""
    runtime, digest = MeteredRuntime(lambda *_: True), sha256()
    for call in calls:
        outcome = runtime.execute(call, state, gas_limit)
        digest.update(seen(outcome))
        for key, raw in outcome.writes.items():
            if raw is None:
                state.pop(key)
            else:
                state[key] = raw
    return digest.digest()


def refusals() -> bytes:
    texts = [body(f"x = {text}") for text, _ in REFUSED_EXPRESSIONS]
    texts += [body(text) for text, _ in REFUSED_STATEMENTS]
    texts += [module(text) for text, code in REFUSED_MODULES if "_OR_" not in code]  # syntax newer than 3.11
    return repr([[(e.line, e.code) for e in check(text.encode())[1]] for text in texts]).encode()


def bombs() -> bytes:
    calls = [(body(text).encode(), Call("c", "f", encode([0]), "a" * 40, 1, 1)) for text, _ in BOMBS]
    return b"".join(run(deploy_writes("c", source), call) for source, call in calls)


def programs() -> bytes:
    calls = [Call("c", "f", encode([n]), "a" * 40, 5, 5) for n in (4, 17, -3)]
    other = deploy_writes("other", OTHER.encode())
    return b"".join(run(deploy_writes("c", program(seed).encode()) | other, *calls) for seed in range(PROGRAMS))


def energy() -> bytes:
    """Orders of forty participants, the auction, readings."""
    state: dict[bytes, bytes] = {}
    for name in DEPLOYMENT_ORDER:
        state |= deploy_writes(name, SOURCES[name])
    people = [f"{number:040x}" for number in range(40)]
    operator = "f" * 40
    calls = [("genesis", *call) for call in genesis_calls(operator, operator, operator)]
    for number, account in enumerate(people):
        calls.append((operator, "registry", "register_participant", (account, f"house {number}", "")))
        calls.append((operator, "payments", "mint", (account, 10**9, "deposit")))
    for turn, account in enumerate(people * 3):
        side, limit = ("buy", 90_000 + turn * 997 % 60_000) if turn % 2 else ("sell", 70_000 + turn * 787 % 60_000)
        calls.append((account, "market", "place_order", ("zone", 1_627_000, side, 100 + turn * 31 % 400, limit)))
    calls.append((operator, "market", "clear", ("zone", 1_627_000)))
    encoded = [Call(name, function, encode(args), sender, 1, 1) for sender, name, function, args in calls]
    return run(state, *encoded, gas_limit=50_000_000) + repr(sorted(state.items())).encode()


def main() -> None:
    for part in (refusals, bombs, programs, energy):
        print(part.__name__, sha256(part()).hexdigest())


if __name__ == "__main__":
    main()
