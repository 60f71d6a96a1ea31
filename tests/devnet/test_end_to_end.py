"""Four real processes: what a user does with them, what an enemy does to them, and what a crash leaves."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import grpc.aio
import pytest

from chain.tx import MAX_TX_BYTES
from devnet.day import DATA, DEFAULT_DAY, one_state, read_files
from devnet.network import BASE_PORT_VARIABLE, NETWORK_FILE, PEER_PORT_OFFSET, Network, Node, load_network
from devnet.processes import running_pid, stop_nodes
from devnet.up import start_missing, wait_ready
from gridbft import Client, Wallet
from gridbft.errors import ClientError, TransactionFailed, TransactionRefused
from gridbft.records import EventRecord, Receipt
from gridbft.requests import Limits, make_call
from tests.patience import run_within

SLOTS = (40, 52)  # around noon: orders, trades and certificates in each
PATIENCE_S = 90.0

Result = TypeVar("Result")


def free_base_port(count: int) -> int:
    """A port whose successors are free too, for clients and for peers."""
    for base in range(20_101, 40_000, 300):
        ports = [base + offset + place for offset in (0, PEER_PORT_OFFSET) for place in range(count)]
        if all(is_free(port) for port in ports):
            return base
    raise AssertionError("no free ports on this machine")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return probe.connect_ex(("127.0.0.1", port)) != 0


def command(module: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def wait_for(work: Coroutine[Any, Any, Result]) -> Result:
    return run_within(PATIENCE_S, work)


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    folder = tmp_path_factory.mktemp("four") / "net"
    up = command("devnet.up", "--no-page", "--folder", str(folder), **{BASE_PORT_VARIABLE: str(free_base_port(4))})
    network = load_network(folder)
    assert network is not None, up.stdout + up.stderr
    try:
        assert up.returncode == 0, up.stdout + up.stderr
        assert all(node.client_address in up.stdout for node in network.nodes)
        yield network
    finally:
        stop_nodes(network.nodes)


@pytest.fixture
def network(four: Network) -> Network:
    """All four running, whatever the test before did to them."""
    start_missing(four)
    wait_for(wait_ready(four))
    return four


def kill(node: Node) -> None:
    pid = running_pid(node)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def client_of(network: Network, wallet: Wallet | None = None) -> Client:
    return Client(network.addresses, wallet=wallet, limits=Limits(request_s=5.0, final_s=20.0))


async def roots_of(network: Network) -> set[str]:
    """All four answer, at one height."""
    roots, silent = await one_state(network)
    assert not silent
    return set(roots.values())


def test_starting_again_is_harmless(network: Network) -> None:
    before = [running_pid(node) for node in network.nodes]
    up = command("devnet.up", "--no-page", "--folder", str(network.folder))
    assert up.returncode == 0, up.stdout + up.stderr
    assert [running_pid(node) for node in network.nodes] == before
    assert None not in before


def test_a_transaction_is_final_on_all_four(network: Network) -> None:
    async def first_transaction() -> None:
        operator = network.keyring.get("operator")
        async with client_of(network, operator) as client:
            before = await client.query("payments", "balance", network.keyring.get("issuer").address)
            receipt = await client.call("payments", "mint", network.keyring.get("issuer").address, 77, "a deposit")
            assert [event.name for event in receipt.events] == ["Minted"]
            assert await client.query("payments", "balance", network.keyring.get("issuer").address) == before + 77
        for address in network.addresses:
            async with Client(address) as one:
                assert (await one.wait(receipt.tx_id)).height == receipt.height
        assert len(await roots_of(network)) == 1

    wait_for(first_transaction())


def test_each_bad_transaction_gets_its_own_code_and_changes_nothing(network: Network) -> None:
    async def refusals() -> dict[str, str]:
        operator = network.keyring.get("operator")
        to = network.keyring.get("issuer").address
        mint = (make_call("payments", "mint", to, 1, "x"),)
        found: dict[str, str] = {}
        async with client_of(network, operator) as client:
            chain_id = network.chain_id
            height = (await client.status()).height
            nonce = await client.next_nonce()
            client.forget_nonce()
            far = height + 100
            good = operator.transaction(chain_id, nonce, mint, far, 1_000_000)
            await client.submit_tx(good, wait=True)
            before = await client.query("payments", "balance", to)
            stranger = Wallet.generate()
            wrong_key = bytearray(operator.transaction(chain_id, nonce + 1, mint, far, 1_000_000))
            wrong_key[-1] ^= 1
            unknown_contract = (make_call("nothing", "mint"),)
            unknown_function = (make_call("payments", "print_money"),)
            large = (make_call("payments", "mint", to, 1, "x" * MAX_TX_BYTES),)
            attempts = {
                "malformed": b"\xff\xff\xff",
                "wrongly signed": bytes(wrong_key),
                "of another chain": operator.transaction("another-chain", nonce + 1, mint, far, 1_000_000),
                "replayed": operator.transaction(chain_id, nonce, mint, far + 1, 1_000_000),
                "expired": operator.transaction(chain_id, nonce + 1, mint, height - 1, 1_000_000),
                "too large": operator.transaction(chain_id, nonce + 1, large, far, 1_000_000),
                "no such contract": operator.transaction(chain_id, nonce + 1, unknown_contract, far, 1_000_000),
                "no such function": operator.transaction(chain_id, nonce + 1, unknown_function, far, 1_000_000),
                "out of gas": operator.transaction(chain_id, nonce + 1, mint, far, 200),
                "not allowed": stranger.transaction(chain_id, 0, mint, far, 1_000_000),
            }
            sentences: list[str] = []
            for what, raw in attempts.items():
                try:
                    receipt = await client.submit_tx(raw, wait=True)
                    assert not receipt.ok, what
                    found[what] = receipt.code
                except TransactionRefused as refusal:
                    found[what] = refusal.code
                    sentences.append(refusal.message)
            assert await client.query("payments", "balance", to) == before
            assert all(len(sentence.split()) > 3 for sentence in sentences), sentences
            with pytest.raises(TransactionRefused, match="ALREADY_FINAL"):
                await client.submit_tx(good, wait=True)
            assert await client.query("payments", "balance", to) == before
        assert len(await roots_of(network)) == 1
        return found

    found = wait_for(refusals())
    assert len(set(found.values())) == len(found), found
    assert found["out of gas"] == "OUT_OF_GAS"


def test_random_bytes_on_either_port_change_nothing_and_stop_nothing(network: Network) -> None:
    source = random.Random(7)

    async def transactions_since(height: int) -> tuple[int, list[str]]:
        async with client_of(network) as client:
            head = (await client.status()).height
            return head, [tx for h in range(height + 1, head + 1) for tx in (await client.block(h)).tx_ids]

    before, _ = wait_for(transactions_since(10**9))

    def throw(address: str, raw: bytes) -> None:
        host, _, port = address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=5) as stranger:
            stranger.settimeout(0.05)
            try:
                stranger.sendall(raw)
                stranger.recv(4096)
            except OSError:
                return  # cut off, or ignored: both are right

    async def call_with_noise(address: str) -> None:
        """A gRPC client that knows the methods and fills them with noise."""
        answers: set[grpc.StatusCode] = set()
        async with grpc.aio.insecure_channel(address) as channel:
            for method in ("Submit", "Simulate", "Query", "GetBlock", "GetReceipt", "GetAccount", "NoSuchMethod"):
                ask = channel.unary_unary(f"/gridbft.v1.LedgerService/{method}", bytes, bytes)
                for size in (0, 1, 7, 300):
                    try:
                        await ask(source.randbytes(size), timeout=5)
                    except grpc.aio.AioRpcError as error:
                        answers.add(error.code())
        assert grpc.StatusCode.UNAVAILABLE not in answers
        assert grpc.StatusCode.UNIMPLEMENTED in answers

    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    for node in network.nodes:
        for address in (node.client_address, node.peer_address):
            for raw in (
                source.randbytes(64),
                preface + source.randbytes(900),
                source.randbytes(50_000),
                b"\x16\x03\x01",
            ):
                throw(address, raw)
        wait_for(call_with_noise(node.client_address))
    assert len(wait_for(roots_of(network))) == 1
    assert wait_for(transactions_since(before))[1] == [], "blocks may follow, with nothing in them"
    assert all(running_pid(node) for node in network.nodes)


def test_a_killed_node_neither_spoils_the_day_nor_stays_behind(network: Network) -> None:
    first, last = SLOTS
    victim = network.nodes[2]
    day = subprocess.Popen(
        [sys.executable, "-m", "devnet.day", "--json", "--slots", f"{first}:{last}"],
        env={**os.environ, "GRIDBFT_NETWORK": str(network.folder / NETWORK_FILE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    async def kill_in_the_middle() -> None:
        async with client_of(network) as client:
            async for block in client.subscribe(1, contracts=("market",), names=("Cleared",)):
                if block.events:
                    kill(victim)
                    return

    wait_for(kill_in_the_middle())
    out, errors = day.communicate(timeout=PATIENCE_S)
    assert day.returncode == 0, errors[-2000:]
    result = json.loads(out.splitlines()[-1])
    _, data = read_files(DATA, DEFAULT_DAY)
    consumption, generation = data.consumption_wh[first:last], data.generation_wh[first:last]
    assert (result["slots"], result["participants"], result["money_residual_micros"]) == (last - first, 93, 0)
    assert (result["consumption_wh"], result["generation_wh"]) == (sum(consumption), sum(generation))
    assert result["certificates_issued_wh"] == sum(generation)
    assert result["certificates_retired_wh"] == sum(map(min, consumption, generation))
    assert result["traded_wh"] > 0
    assert result["agree"] is True
    assert set(result["state_roots"]) == {node.name for node in network.nodes} - {victim.name}

    assert start_missing(network) == [victim.name]
    decided = wait_for(status_of(network.nodes[0]))
    wait_for(wait_ready(network, decided))
    assert len(wait_for(roots_of(network))) == 1

    again = command("devnet.day", "--slots", f"{first}:{last}", "--network", str(network.folder / NETWORK_FILE))
    assert again.returncode == 1
    assert "on this chain already" in again.stderr


async def status_of(node: Node) -> int:
    async with Client(node.client_address) as client:
        return (await client.status()).height


def test_what_was_acknowledged_is_there_once_after_all_four_were_killed(network: Network) -> None:
    operator = network.keyring.get("operator")
    to = network.keyring.get("issuer").address

    async def mint_until_killed() -> list[Receipt]:
        acknowledged: list[Receipt] = []

        async def mint(client: Client, number: int) -> None:
            acknowledged.append(await client.call("payments", "mint", to, 1, f"numbered {number}"))
            if len(acknowledged) == 20:
                for node in network.nodes:
                    kill(node)

        async with Client(network.addresses, operator, limits=Limits(request_s=2.0, final_s=2.0, poll_s=1.0)) as client:
            results = await asyncio.gather(*(mint(client, number) for number in range(60)), return_exceptions=True)
        unexpected = [r for r in results if isinstance(r, BaseException) and not isinstance(r, ClientError)]
        assert not unexpected
        assert not any(isinstance(result, TransactionFailed) for result in results)
        return acknowledged

    async def minted_by_number() -> list[EventRecord]:
        async with client_of(network) as client:
            height = (await client.status()).height
            events: list[EventRecord] = []
            async for block in client.subscribe(1, contracts=("payments",), names=("Minted",)):
                events += [e for e in block.events if str(e.fields["reference"]).startswith("numbered ")]
                if block.height >= height:
                    return events
        raise AssertionError("a subscription ends only by itself")

    async def receipts(acknowledged: list[Receipt]) -> None:
        for address in network.addresses:
            async with Client(address) as client:
                assert [await client.receipt(receipt.tx_id) for receipt in acknowledged] == acknowledged

    acknowledged = wait_for(mint_until_killed())
    assert len(acknowledged) >= 20
    assert len(start_missing(network)) == 4
    # One that was killed a block before the others is ready before it has that block from them.
    wait_for(wait_ready(network, max(receipt.height for receipt in acknowledged)))
    wait_for(receipts(acknowledged))
    times = Counter(event.fields["reference"] for event in wait_for(minted_by_number()))
    assert set(times.values()) == {1}
    assert len(times) >= len(acknowledged)
    assert len(wait_for(roots_of(network))) == 1
