"""The load, signed before the clock runs: for each node the transactions that it will be given, in their order.

A sender always speaks to the same node, so that its nonces arrive in order.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import count
from multiprocessing import get_context

from chain.tx import TxCall
from devnet.bench.options import Workload
from devnet.bench.orders import calls as order_calls
from devnet.bench.readings import calls as reading_calls
from devnet.bench.town import METER_OPERATORS, SENDERS, account, meter_operator, operator, wallet
from gridbft.requests import make_call
from gridbft.wallet import Wallet

EXPIRY_HEIGHT = 50_000
GAS = 200_000
BIG_GAS = 100_000_000
SIGNED_AT_ONCE = 500

Signed = tuple[bytes, bytes]  # an encoded Tx, and its id


@dataclass(frozen=True, slots=True)
class Planned:
    """One transaction before it is signed. `sender` names a key: see `_key`."""

    sender: tuple[str, int]
    nonce: int
    call: TxCall
    gas: int


def plan(workload: Workload, accounts: int, transactions: int, seed: int = 1, orders_per_tx: int = 1) -> list[Planned]:
    """The same for the same arguments."""
    draw = random.Random(seed)
    makers = {
        "transfer": lambda: _transfers(accounts, draw),
        "orders": lambda: _orders(accounts, draw, orders_per_tx),
        "meter": lambda: _readings(accounts, draw),
    }
    nonces: defaultdict[tuple[str, int], count[int]] = defaultdict(count)
    planned = []
    for sender, call, gas in makers[workload]():
        planned.append(Planned(sender, next(nonces[sender]), call, gas))
        if len(planned) == transactions:
            break
    return planned


def _transfers(accounts: int, draw: random.Random) -> Iterator[tuple[tuple[str, int], TxCall, int]]:
    senders = min(accounts, SENDERS)
    while True:
        source = draw.randrange(senders)
        to = draw.randrange(accounts)
        if to != source:
            yield ("account", source), make_call("payments", "transfer", account(to), 1 + draw.randrange(100)), GAS


def _orders(accounts: int, draw: random.Random, orders_per_tx: int) -> Iterator[tuple[tuple[str, int], TxCall, int]]:
    for sender, call in order_calls(accounts, orders_per_tx, draw):
        yield sender, call, BIG_GAS if call.function == "clear" else GAS + GAS // 2 * orders_per_tx


def _readings(accounts: int, draw: random.Random) -> Iterator[tuple[tuple[str, int], TxCall, int]]:
    """Meter operators take turns; `accounts` is how many meters there are."""
    for batch, call in enumerate(reading_calls(accounts, draw)):
        yield ("meter", batch % METER_OPERATORS), call, BIG_GAS


def sign(chain_id: str, planned: list[Planned], processes: int) -> list[Signed]:
    """Signs in several processes."""
    parts = [planned[at : at + SIGNED_AT_ONCE] for at in range(0, len(planned), SIGNED_AT_ONCE)]
    with ProcessPoolExecutor(processes, get_context("fork")) as pool:
        signed = pool.map(_sign_part, [chain_id] * len(parts), parts)
        return [one for part in signed for one in part]


def lanes(planned: list[Planned], signed: list[Signed], nodes: int) -> list[list[tuple[int, bytes, bytes]]]:
    """(place in the load, encoded Tx, id) for each node, by the sender's number."""
    found: list[list[tuple[int, bytes, bytes]]] = [[] for _ in range(nodes)]
    for place, (plan_, (raw, tx_id)) in enumerate(zip(planned, signed, strict=True)):
        found[plan_.sender[1] % nodes].append((place, raw, tx_id))
    return found


def _key(sender: tuple[str, int]) -> Wallet:
    kind, number = sender
    return {"account": wallet, "meter": meter_operator, "operator": operator}[kind](number)


def _sign_part(chain_id: str, part: list[Planned]) -> list[Signed]:
    return [_key(p.sender).signed(chain_id, p.nonce, (p.call,), EXPIRY_HEIGHT, p.gas) for p in part]
