"""After the faults: is everything that was promised on every node, once, and do all nodes hold one chain?"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from devnet.chaos_traffic import Place, Traffic, place_of
from gridbft import Client
from gridbft.errors import NodeUnavailable, NotFound
from gridbft.v1 import chain_pb2

AT_ONCE = 24  # questions on their way to one node
TRIES = 5

Key = TypeVar("Key")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Chain:
    """One node's: block ids from height `first` on, and every place at which a transaction stands.

    `first` is above 1 where a wiped node began again from a snapshot: then it holds the state that earlier transactions
    left, but neither their blocks nor their receipts.
    """

    first: int
    block_ids: tuple[str, ...]
    places: Mapping[str, tuple[tuple[int, int], ...]]
    accusing: tuple[int, ...] = ()  # heights of blocks with evidence of double signing

    def block_id(self, height: int) -> str | None:
        at = height - self.first
        return self.block_ids[at] if 0 <= at < len(self.block_ids) else None


@dataclass(frozen=True, slots=True)
class Findings:
    """`lost`, `doubled`: tx ids, or a payee whose balance says so; `forks`: heights with more than one block; `accusing`:
    heights of blocks with evidence that a validator signed twice, which none of ours may do, whatever happened to it."""

    lost: tuple[str, ...]
    doubled: tuple[str, ...]
    forks: tuple[int, ...]
    accusing: tuple[int, ...] = ()


async def check(clients: Sequence[Client], traffic: Traffic, height: int) -> Findings:
    """Asks every node for every block up to `height` and for the receipt of every acknowledged transaction.

    All nodes stand at `height` or above and nothing is sent any more. Raises NodeUnavailable where one stays silent.
    """
    chains = await asyncio.gather(*(read_chain(client, height) for client in clients))
    receipts = await asyncio.gather(*(_receipts(client, traffic.acknowledged) for client in clients))
    balances = await asyncio.gather(*(_balances(client, [a.sink for a in traffic.accounts]) for client in clients))
    lost = lost_of(traffic.acknowledged, chains, receipts)
    doubled = doubled_of(traffic.acknowledged, chains, receipts) | set(traffic.moved)
    too_low, too_high = wrong_balances(expected_balances(traffic, min(chains, key=lambda chain: chain.first)), balances)
    return Findings(
        tuple(sorted(lost | too_low)),
        tuple(sorted(doubled | too_high)),
        forks_of(chains, traffic.announced),
        tuple(sorted({at for chain in chains for at in chain.accusing})),
    )


def lost_of(
    acknowledged: Mapping[str, Place], chains: Sequence[Chain], receipts: Sequence[Mapping[str, Place]]
) -> set[str]:
    """Acknowledged, and missing in the chain or among the receipts of a node that holds its height, or held by none."""
    lost = set()
    for tx_id, place in acknowledged.items():
        holders = [
            tx_id in chain.places and tx_id in found
            for chain, found in zip(chains, receipts, strict=True)
            if chain.first <= place.height
        ]
        if not holders or not all(holders):
            lost.add(tx_id)
    return lost


def doubled_of(
    acknowledged: Mapping[str, Place], chains: Sequence[Chain], receipts: Sequence[Mapping[str, Place]]
) -> set[str]:
    """Twice in a node's chain, or at another place or with another outcome than was acknowledged."""
    twice = {tx_id for chain in chains for tx_id, places in chain.places.items() if len(places) > 1}
    moved = {
        tx_id
        for tx_id, place in acknowledged.items()
        for found, chain in zip(receipts, chains, strict=True)
        if found.get(tx_id, place) != place
        or (place.height, place.index) not in chain.places.get(tx_id, ((place.height, place.index),))
    }
    return twice | moved


def forks_of(chains: Sequence[Chain], announced: Mapping[int, Iterable[str]]) -> tuple[int, ...]:
    """Heights at which two nodes hold different blocks, or one ever announced another."""
    last = max(chain.first + len(chain.block_ids) for chain in chains)
    found = {h: {chain.block_id(h) for chain in chains} | set(announced.get(h, ())) for h in range(1, last)}
    return tuple(height for height, ids in found.items() if len(ids - {None}) > 1)


def expected_balances(traffic: Traffic, chain: Chain) -> dict[str, int]:
    """Payee -> micros, if every transfer in the chain happened exactly once; and those that no chain shows any more."""
    expected: Counter[str] = Counter({account.sink: 0 for account in traffic.accounts})
    earlier = {tx_id for tx_id, place in traffic.acknowledged.items() if place.height < chain.first}
    for tx_id in earlier | (chain.places.keys() & traffic.amounts.keys()):
        expected[traffic.sink_of[tx_id]] += traffic.amounts[tx_id]
    return dict(expected)


def wrong_balances(expected: Mapping[str, int], balances: Sequence[Mapping[str, int]]) -> tuple[set[str], set[str]]:
    """Payees who have too little at some node, and those who have too much."""
    too_low = {sink for found in balances for sink, micros in found.items() if micros < expected[sink]}
    too_high = {sink for found in balances for sink, micros in found.items() if micros > expected[sink]}
    return too_low, too_high


async def read_chain(client: Client, height: int) -> Chain:
    """All that a node holds up to `height`; a block that should be there and is not has the id ""."""
    first = max((await client.status()).earliest_height, 1)
    blocks = await _each(client.block, range(first, height + 1))
    places: dict[str, list[tuple[int, int]]] = {}
    for at, block in blocks.items():
        for index, tx_id in enumerate(block.tx_ids):
            places.setdefault(tx_id, []).append((at, index))
    ids = tuple(blocks[at].block_id if at in blocks else "" for at in range(first, height + 1))
    accusing = tuple(at for at, block in blocks.items() if chain_pb2.Block.FromString(block.raw).evidence)
    return Chain(first, ids, {tx_id: tuple(found) for tx_id, found in places.items()}, accusing)


async def _receipts(client: Client, tx_ids: Iterable[str]) -> dict[str, Place]:
    found = await _each(client.receipt, tx_ids)
    return {tx_id: place_of(receipt) for tx_id, receipt in found.items()}


async def _balances(client: Client, accounts: Sequence[str]) -> dict[str, int]:
    async def ask(account: str) -> int:
        balance = await client.query("payments", "balance", account)
        assert isinstance(balance, int), "the view's type"
        return balance

    return await _each(ask, accounts)


async def _each(ask: Callable[[Key], Awaitable[Answer]], keys: Iterable[Key]) -> dict[Key, Answer]:
    """The answers there are, in the order of the keys; nothing for what the node does not know."""
    answers: dict[Key, Answer] = {}
    upcoming = iter(keys)

    async def worker() -> None:
        for key in upcoming:
            for tries_left in reversed(range(TRIES)):
                try:
                    answers[key] = await ask(key)
                    break
                except NotFound:
                    break
                except NodeUnavailable:
                    if not tries_left:
                        raise

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    return answers
