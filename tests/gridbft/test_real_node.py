"""Proof files from a node as it runs in production: its own ports, its own blocks, its own signatures."""

from __future__ import annotations

import asyncio
from pathlib import Path

from chain.genesis import dump_genesis
from contracts.runtime.codec import decode
from contracts.runtime.keys import state_key
from gridbft.blocking import BlockingClient
from gridbft.requests import make_call
from gridbft.verify import ProvedEvent, ProvedValue, Trust, verify
from gridbft.wallet import Wallet
from node.home import load_home
from tests.node.localnet import Localnet, running

ALICE = Wallet.from_seed(bytes(32), "alice")


def prove_both(address: str, genesis: str) -> tuple[bytes, bytes]:
    with BlockingClient(address, ALICE, trust=Trust.read(genesis)) as client:
        receipt = client.submit(make_call("counter", "add", 41))
        return client.prove_event(receipt.tx_id, 0), client.prove_state(state_key("counter", "counts", ALICE.address))


def test_a_running_node_gives_proofs_of_events_and_of_state(tmp_path: Path) -> None:
    async def scenario() -> None:
        net = Localnet.make(tmp_path, 1)
        genesis, address = dump_genesis(net.genesis), load_home(net.homes[0]).config.client_address
        async with running(*net.homes) as (node,):
            assert node.node.serving
            event, state = await asyncio.to_thread(prove_both, address, genesis)
        proved = verify(event, genesis).claim
        assert isinstance(proved, ProvedEvent)
        assert (proved.event.name, proved.event.fields) == ("Added", {"who": ALICE.address, "amount": 41})
        value = verify(state, genesis).claim
        assert isinstance(value, ProvedValue)
        assert value.value is not None
        assert decode(value.value) == 41

    asyncio.run(scenario())
