"""The flooder speaks HTTP/2 well enough to be let in, and what it sends does not keep others out."""

from __future__ import annotations

import asyncio

import pytest

from devnet.flooder import bad_requests, flood, frame, header_block
from gridbft import Client
from gridbft.v1 import client_pb2
from node import gate
from node.allowance import ClientLimits
from tests.node.test_gate import serving


def test_a_frame_tells_its_length_kind_flags_and_stream() -> None:
    assert frame(1, 4, 5, b"abc") == b"\x00\x00\x03\x01\x04\x00\x00\x00\x05abc"
    assert header_block("/x", "h:1").startswith(b"\x83\x86\x04\x02/x\x01\x03h:1")


def test_every_request_of_the_flood_is_bad_and_most_are_wrongly_signed() -> None:
    requests = bad_requests("chain")
    signed = [raw for method, raw in requests if method == "Submit" and len(raw) > 150]
    assert len(signed) > len(requests) // 2
    assert len({client_pb2.SubmitRequest.FromString(raw).tx for raw in signed}) == len(signed)


def test_an_honest_client_is_served_while_another_address_floods(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "HELD_SECONDS", 0.5)

    async def play() -> None:
        limits = ClientLimits(faults_per_second=10, calls_at_once=50)
        async with serving(limits) as (address, ledger, door):
            flooding = asyncio.create_task(flood("127.0.0.2", 3_000, 2.0, "test", [address]))
            asked = 0
            async with Client(address) as client:
                while not flooding.done():
                    assert (await client.status()).name == "utility-1"
                    asked += 1
            report = await flooding
        assert asked > 20
        assert report["sent"] > 1_000
        assert report["answered"] + report["reset"] > 0
        assert ledger.seen - asked < 200  # of the flood, little reaches the ledger at all
        assert sum(door.refused.values()) > 0

    asyncio.run(play())
