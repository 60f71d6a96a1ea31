"""A short market on the production ledger: two houses, two slots, trades, settlement, certificates and retirements."""

from __future__ import annotations

from functools import cache

from chain.tx import TxCall
from contracts.energy import DEPLOYMENT_ORDER
from contracts.energy.metering import NO_READING
from contracts.host import pack_column
from tests.chain.network import Chain, call, genesis
from tests.chain.txs import address_of

ALICE, BOB = address_of("alice"), address_of("bob")
SLOT = 1_888_900
ZONE = "feeder-1"


def act(chain: Chain, sender: str, *calls: TxCall) -> None:
    """One block with one transaction, which must work."""
    outcome = chain.grow(chain.tx(sender, *calls))
    assert outcome == [(True, "")], outcome


@cache
def market_chain(packed: bool = False) -> Chain:
    """`packed`: Alice's readings come in columns; all else is the same at the same heights."""
    chain = Chain(genesis(contracts=DEPLOYMENT_ORDER))
    listed = ["pv-alice", "load-alice", "load-bob"]
    roster = [call("rosters", "open_roster"), call("rosters", "enlist", 1, listed)] if packed else []
    act(
        chain,
        "operator",
        call("registry", "register_participant", ALICE, "Alice", ""),
        call("registry", "register_participant", BOB, "Bob", ""),
        call("registry", "register_meter", "pv-alice", ALICE, "pv", "bus-1", 20_000),
        call("registry", "register_meter", "load-alice", ALICE, "household", "bus-1", 11_000),
        call("registry", "register_meter", "load-bob", BOB, "household", "bus-2", 11_000),
        *roster,
    )
    for number, slot in enumerate((SLOT, SLOT + 1)):
        act(chain, "alice", call("market", "place_order", ZONE, slot, "sell", 1_000 + number, 50_001))
        act(chain, "alice", call("market", "place_order", ZONE, slot, "sell", 700, 60_003))
        act(chain, "bob", call("market", "place_order", ZONE, slot, "buy", 1_501, 90_007))
        act(chain, "operator", call("market", "clear", ZONE, slot))
        rows = [("pv-alice", slot, 0, 1_777, "DIRECT"), ("load-alice", slot, 123, 0, "DIRECT")]
        estimated = ("load-bob", slot, 1_403, 0, "ESTIMATED")
        if packed:
            imports, exports = pack_column([0, 123, NO_READING]), pack_column([1_777, 0, NO_READING])
            columns = call("metering", "submit_packed", 1, slot, 0, [imports], [exports])
            act(chain, "operator", columns, call("metering", "submit", [estimated]))
        else:
            act(chain, "operator", call("metering", "submit", [*rows, estimated]))
        act(chain, "operator", call("imbalance", "post_price", slot, 71_119), call("imbalance", "settle", slot))
    act(chain, "operator", call("certificates", "issue", "pv-alice", SLOT, 1_700))
    act(chain, "alice", call("certificates", "transfer", 1, 900, BOB))
    act(chain, "bob", call("certificates", "retire", 2, 600, BOB, "home", SLOT))
    act(chain, "bob", call("certificates", "retire", 2, 300, BOB, "the rest", SLOT))
    for _ in range(5):
        chain.grow()
    return chain


@cache
def varied_chain() -> Chain:
    """Grid fees, a continuous trade, a bilateral one, flexibility, a balance group and a corrected reading."""
    chain = Chain(genesis(contracts=DEPLOYMENT_ORDER))
    brp = address_of("carol")
    act(
        chain,
        "operator",
        call("registry", "grant", brp, "BRP"),
        call("registry", "register_participant", ALICE, "Alice", brp),
        call("registry", "register_participant", BOB, "Bob", brp),
        call("registry", "register_meter", "pv-alice", ALICE, "pv", "bus-1", 20_000),
        call("registry", "register_meter", "load-bob", BOB, "household", "bus-2", 11_000),
        call("grid", "set_fee", "zone", 10_007, 30_000),
    )
    act(chain, "alice", call("bilateral", "offer", ZONE, SLOT, BOB, 333, 40_003, 2_000_000_000_000))
    act(chain, "bob", call("bilateral", "accept", 1))
    act(chain, "alice", call("market", "place_order", ZONE, SLOT, "sell", 1_000, 50_001))
    act(chain, "bob", call("market", "place_order", ZONE, SLOT, "buy", 900, 90_007))
    act(chain, "operator", call("market", "clear", ZONE, SLOT))
    act(chain, "operator", call("balancing", "activate", ALICE, SLOT, 77, 120_011, "up"))
    rows = [("pv-alice", SLOT, 0, 1_777, "DIRECT"), ("load-bob", SLOT, 1_403, 0, "ESTIMATED")]
    act(chain, "operator", call("metering", "submit", rows))
    settle = call("imbalance", "settle", SLOT)
    act(chain, "operator", call("imbalance", "post_price", SLOT, 71_119), settle)
    act(chain, "operator", call("metering", "submit", [("load-bob", SLOT, 2_003, 0, "CORRECTED")]), settle)
    chain.grow()
    return chain
