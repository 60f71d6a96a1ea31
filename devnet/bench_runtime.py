"""How fast contracts run, and what metering costs: `python -m devnet.bench_runtime [--calls N]`.

A transfer goes through MeteredRuntime.execute (decoding, two balances, event, outcome). "Unmetered" is the same machine and
the same lowered code with every charge left out. A tight loop is compared with the very source under plain CPython.
"""

from __future__ import annotations

import argparse
import ast
import time
from collections.abc import Callable
from typing import Any

from contracts.runtime import compiler, lower, machine
from contracts.runtime.abi import checked
from contracts.runtime.api import Call
from contracts.runtime.codec import encode
from contracts.runtime.deploy import deploy_writes
from contracts.runtime.engine import MeteredRuntime

TOKEN = b"""from contracts.host import Map, ctx, emit, export, require, view
balances: Map[str, int] = Map("balances")
@export
def mint(to: str, amount_micros: int) -> None:
    balances[to] = balances.get(to, 0) + amount_micros
@export
def transfer(to: str, amount_micros: int) -> None:
    require(amount_micros > 0, "AMOUNT_NOT_POSITIVE")
    source = ctx.caller
    require(to != source, "SELF_TRANSFER")
    left = balances.get(source, 0) - amount_micros
    require(left >= 0, "INSUFFICIENT_BALANCE")
    balances[source] = left
    balances[to] = balances.get(to, 0) + amount_micros
    emit("Transferred", source=source, to=to, amount_micros=amount_micros)
@view
def while_loop(n: int) -> int:
    total = 0
    i = 0
    while i < n:
        total += i
        i += 1
    return total
@view
def for_loop(n: int) -> int:
    total = 0
    for i in range(n):
        if i % 3 == 0:
            total += i * i % 7
    return total
@view
def wide_loop(n: int) -> int:
    total = n
    for i in range(n):
        total = total + n
    return total
"""
ALICE, BOB = "a" * 40, "b" * 40
GAS_LIMIT = 10**12


def best_seconds(run: Callable[[], Any], repeats: int = 7) -> float:
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        run()
        best = min(best, time.process_time() - start)
    return best


def funded_runtime() -> tuple[MeteredRuntime, dict[bytes, bytes]]:
    runtime, state = MeteredRuntime(), deploy_writes("token", TOKEN)
    outcome = runtime.execute(Call("token", "mint", encode([ALICE, 10**15]), ALICE, 1, 1), state, GAS_LIMIT)
    state |= {key: value for key, value in outcome.writes.items() if value is not None}
    return runtime, state


def transfer_seconds(calls: int) -> float:
    """Seconds for one transfer."""
    runtime, state = funded_runtime()
    call = Call("token", "transfer", encode([BOB, 5]), ALICE, 1, 1)
    assert runtime.execute(call, state, GAS_LIMIT).ok

    def run() -> None:
        for _ in range(calls):
            runtime.execute(call, state, GAS_LIMIT)

    return best_seconds(run) / calls


def unmetered(run: Callable[[], float]) -> float:
    """Runs with every charge left out: the injected ones and those by size."""
    charge, method, cache = lower.charge, machine.Machine.charge, dict(machine._compiled)
    lower.charge = _no_charge  # type: ignore[assignment]
    machine.Machine.charge = lambda self, units: None  # type: ignore[method-assign]
    machine._compiled.clear()
    try:
        return run()
    finally:
        lower.charge, machine.Machine.charge = charge, method  # type: ignore[method-assign]
        machine._compiled.clear()
        machine._compiled.update(cache)


def _no_charge(cost: int) -> list[ast.stmt]:
    """A mention of the counter keeps it the function's free variable."""
    return [
        ast.If(test=ast.Constant(value=False), body=[ast.Expr(value=ast.Name(id="_gas", ctx=ast.Load()))], orelse=[])
    ]


def loop_seconds(name: str, turns: int) -> tuple[float, float, int]:
    """(plain, metered, gas) for one turn."""
    names: dict[str, Any] = {}
    exec(TOKEN, names)
    runtime, state = funded_runtime()
    call = Call("token", name, encode([turns]), ALICE, 1, 1)
    plain = best_seconds(lambda: names[name](turns)) / turns
    metered = best_seconds(lambda: runtime.execute(call, state, GAS_LIMIT)) / turns
    return plain, metered, runtime.execute(call, state, GAS_LIMIT).gas_used // turns


def compile_seconds(source: bytes) -> float:
    """Checking and compiling."""
    return best_seconds(lambda: compiler.compile_contract(checked(source)))


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of the contract runtime on one core.")
    parser.add_argument("--calls", type=int, default=20_000)
    options = parser.parse_args()
    metered = transfer_seconds(options.calls)
    plain = unmetered(lambda: transfer_seconds(options.calls))
    print(f"{'transfer, metered':24}{1 / metered:12,.0f} per second{metered * 1e6:10.2f} us")
    print(
        f"{'transfer, unmetered':24}{1 / plain:12,.0f} per second{plain * 1e6:10.2f} us   metering costs {metered / plain:.2f}x"
    )
    for name in ("while_loop", "for_loop", "wide_loop"):
        bare, paid, gas = loop_seconds(name, 200_000)
        print(f"{name:24}{paid * 1e9:9.1f} ns a turn, plain {bare * 1e9:.1f} ns: {paid / bare:.2f}x, {gas} gas a turn")
    from contracts.energy import SOURCES

    for name, source in SOURCES.items():
        lines, spent_ms = source.count(b"\n"), compile_seconds(source) * 1e3
        print(
            f"check and compile {name:14}{lines:5} lines{spent_ms:8.1f} ms, {spent_ms * 400 / lines:5.1f} ms for 400 lines"
        )


if __name__ == "__main__":
    main()
