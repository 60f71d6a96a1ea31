"""The whole node, from its folder to its answers: one validator that decides alone, and four that must agree."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from chain import merkle
from chain.block import decode_block, decode_header
from chain.hashes import ZERO_HASH
from chain.merkle import ListProof
from chain.refusal import Code
from chain.stateproof import StateProof, verify_absent, verify_present
from chain.tx import TxCall, tx_id
from chain.wire import decode_commit
from consensus.commits import verify_commit
from contracts.runtime.codec import decode, encode
from gridbft.v1 import chain_pb2
from gridbft.v1 import client_pb2 as pb
from gridbft.wallet import Wallet
from node import ed25519
from node.events import Effect, Event, TimerFired
from node.home import HomeError, load_home
from node.peers import PortTakenError
from node.process import Node
from node.replica import TICK
from node.server import SERVICE
from tests.node.localnet import Localnet, Running, running, start, until

ALICE = Wallet.from_seed(b"\x0a" * 32, "alice")
BOB = Wallet.from_seed(b"\x0b" * 32, "bob")


def _alone(folder: Path, scenario: Callable[[Localnet, Running], Awaitable[None]], **config: Any) -> None:
    """Runs a scenario against one validator that decides alone."""

    async def run() -> None:
        net = Localnet.make(folder, 1)
        async with running(*net.homes, **config) as nodes:
            await scenario(net, nodes[0])

    asyncio.run(run())


async def _final(node: Running, raw: bytes) -> chain_pb2.Receipt:
    response = await node.stub.Submit(pb.SubmitRequest(tx=raw, wait=True))
    assert not response.verdict.code, response.verdict
    return chain_pb2.Receipt.FromString(response.receipt)


async def _refused(call: Awaitable[Any]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details() or ""


def _id(raw: bytes) -> bytes:
    return tx_id(chain_pb2.Tx.FromString(raw).body)


# --- transactions -------------------------------------------------------------------------------------------------------


def test_a_transaction_is_final_when_submit_with_wait_returns(tmp_path: Path) -> None:
    async def scenario(net: Localnet, node: Running) -> None:
        receipt = await _final(node, net.tx(ALICE, 0, amount=5))
        assert (receipt.ok, decode(receipt.results[0])) == (True, 5)
        assert [e.name for e in receipt.events] == ["Added"]
        failed = await _final(node, net.tx(ALICE, 1, amount=-1))
        assert (failed.ok, failed.code) == (False, "NOT_POSITIVE")
        query = pb.QueryRequest(contract="counter", view="count", args=encode([ALICE.address]))
        answer = await node.stub.Query(query)
        assert (answer.ok, decode(answer.result)) == (True, 5)
        account = await node.stub.GetAccount(pb.GetAccountRequest(address=ALICE.address_bytes))
        assert (account.nonce, account.pending_nonce) == (2, 2)

    _alone(tmp_path, scenario)


def test_each_bad_transaction_gets_its_own_code_and_stops_nothing(tmp_path: Path) -> None:
    async def scenario(net: Localnet, node: Running) -> None:
        await until(lambda: node.node.host.tip.height >= 3)
        good = net.tx(ALICE, 0)
        await _final(node, good)
        forged = net.tx(ALICE, 1)
        bad = {
            Code.MALFORMED: b"\x00\x01\x02",
            Code.TOO_LARGE: bytes(200_000),
            Code.BAD_SIGNATURE: forged[:-1] + bytes([forged[-1] ^ 1]),
            Code.WRONG_CHAIN: net.tx(ALICE, 1, chain_id="another"),
            Code.NO_CALLS: net.tx(ALICE, 1, calls=[]),
            Code.GAS_LIMIT: net.tx(ALICE, 1, gas_limit=2**40),
            Code.EXPIRED: net.tx(ALICE, 1, expiry_height=1),
            Code.EXPIRY_TOO_FAR: net.tx(ALICE, 1, expiry_height=10**9),
            Code.NONCE_USED: net.tx(ALICE, 0, amount=2),
            Code.NONCE_TOO_FAR: net.tx(ALICE, 10**6),
            Code.ALREADY_FINAL: good,
            Code.UNKNOWN_CONTRACT: net.tx(ALICE, 1, calls=[TxCall("nothing", "add", encode([1]))]),
            Code.UNKNOWN_FUNCTION: net.tx(ALICE, 1, calls=[TxCall("counter", "nothing", encode([1]))]),
        }
        for code, raw in bad.items():
            verdict = (await node.stub.Submit(pb.SubmitRequest(tx=raw))).verdict
            assert (verdict.code, bool(verdict.message)) == (code, True)
        replayed = await node.stub.Submit(pb.SubmitRequest(tx=good, wait=True))
        assert chain_pb2.Receipt.FromString(replayed.receipt).tx_id == _id(good)
        assert (await _final(node, net.tx(ALICE, 1))).ok

    _alone(tmp_path, scenario)


def test_a_stream_of_batches_gets_verdicts_in_its_order(tmp_path: Path) -> None:
    async def scenario(net: Localnet, node: Running) -> None:
        await until(lambda: node.node.host.tip.height >= 3)
        raws = [net.tx(ALICE, n) for n in range(30)]
        raws[7] = b"nonsense"

        async def batches() -> Any:
            for at in range(0, 30, 10):
                yield pb.SubmitBatchRequest(txs=raws[at : at + 10])

        answers = [r.verdicts async for r in node.stub.SubmitBatch(batches())]
        verdicts = [v for answer in answers for v in answer]
        assert [len(a) for a in answers] == [10, 10, 10]
        assert [v.tx_id for v in verdicts] == [b"" if n == 7 else _id(raw) for n, raw in enumerate(raws)]
        assert [n for n, v in enumerate(verdicts) if v.code] == [7]
        await _final(node, net.tx(ALICE, 7))
        found = await node.stub.GetReceipt(pb.GetReceiptRequest(tx_id=_id(raws[29]), wait=True))
        assert chain_pb2.Receipt.FromString(found.receipt).ok

    _alone(tmp_path, scenario)


def test_waiting_ends_with_a_sentence_before_the_callers_deadline(tmp_path: Path) -> None:
    async def scenario(net: Localnet, node: Running) -> None:
        early = node.stub.Submit(pb.SubmitRequest(tx=net.tx(ALICE, 5), wait=True), timeout=0.5)
        code, message = await _refused(early)
        assert code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert "admitted, but not final yet" in message
        assert len(node.node.host.receipts) == 0

    _alone(tmp_path, scenario)


# --- proofs ---------------------------------------------------------------------------------------------------------------


def test_receipts_and_queries_come_with_proofs_that_a_light_client_can_check(tmp_path: Path) -> None:
    async def scenario(net: Localnet, node: Running) -> None:
        raw = net.tx(ALICE, 0, amount=5)
        await _final(node, raw)
        found = await node.stub.GetReceipt(pb.GetReceiptRequest(tx_id=_id(raw), prove=True))
        header = _vouched(net, found.header, found.commit)
        proof = ListProof(found.proof.index, found.proof.size, tuple(found.proof.path))
        assert merkle.verify(header.receipt_root, found.receipt, proof)

        for who, expected in ((ALICE, 5), (BOB, 0)):
            query = pb.QueryRequest(contract="counter", view="count", args=encode([who.address]), prove=True)
            answer = await node.stub.Query(query)
            assert decode(answer.result) == expected
            header = _vouched(net, answer.header, answer.commit)
            assert header.height == answer.height + 1
            assert answer.reads
            for read in answer.reads:
                way = answer.proofs[read.proof]
                state_proof = StateProof(tuple(way.siblings), way.records)
                if read.present:
                    assert verify_present(header.state_root, read.key, read.value, state_proof)
                else:
                    assert verify_absent(header.state_root, read.key, state_proof)

    _alone(tmp_path, scenario, proof_block_ms=50)


def _vouched(net: Localnet, header_bytes: bytes, commit_bytes: bytes) -> Any:
    """The header, once the validators' commit of it is checked."""
    header, commit = decode_header(header_bytes), decode_commit(commit_bytes)
    fault = verify_commit(
        commit, net.genesis.chain_id, net.genesis.validators, header.height, commit.block_id, ed25519.verify
    )
    assert fault is None
    return header


# --- asking ---------------------------------------------------------------------------------------------------------------


def test_a_subscription_gives_every_height_once_past_and_live(tmp_path: Path) -> None:
    async def scenario(net: Localnet, node: Running) -> None:
        await _final(node, net.tx(ALICE, 0))
        seen: list[pb.SubscribeResponse] = []

        async def follow(request: pb.SubscribeRequest, enough: int) -> None:
            async for response in node.stub.Subscribe(request):
                seen.append(response)
                if sum(len(r.receipts) for r in seen) >= enough:
                    return

        following = asyncio.create_task(follow(pb.SubscribeRequest(from_height=1), 6))
        for nonce in range(1, 6):
            await _final(node, net.tx(ALICE, nonce))
        await following
        assert [r.height for r in seen] == list(range(1, len(seen) + 1))
        receipts = [chain_pb2.Receipt.FromString(raw) for r in seen for raw in r.receipts]
        assert [r.tx_id for r in receipts] == [_id(net.tx(ALICE, n)) for n in range(6)]
        assert sum(r.transactions for r in seen) == 6

        seen.clear()
        silent = pb.SubscribeRequest(from_height=1, names=["Other"])
        async for response in node.stub.Subscribe(silent):
            seen.append(response)
            if response.height == 3:
                break
        assert [r.height for r in seen] == [1, 2, 3]
        assert not any(r.receipts for r in seen)

    _alone(tmp_path, scenario)


def test_simulation_leaves_no_trace(tmp_path: Path) -> None:
    async def scenario(net: Localnet, node: Running) -> None:
        call = chain_pb2.Call(contract="counter", function="add", args=encode([3]))
        for _ in range(2):
            answer = await node.stub.Simulate(pb.SimulateRequest(sender=ALICE.address_bytes, calls=[call]))
            assert (answer.receipt.ok, decode(answer.receipt.results[0])) == (True, 3)
            assert answer.receipt.gas_used > 0

    _alone(tmp_path, scenario)


def test_status_blocks_and_contracts_are_served(tmp_path: Path) -> None:
    async def scenario(net: Localnet, node: Running) -> None:
        raw = net.tx(ALICE, 0)
        receipt = await _final(node, raw)
        status = await node.status()
        assert (status.name, status.chain_id) == ("node-0", net.genesis.chain_id)
        assert status.height >= receipt.height
        found = await node.stub.GetBlock(pb.GetBlockRequest(height=receipt.height))
        block, _ = decode_block(found.block, net.genesis.chain_id)
        assert (block.id, [tx.raw for tx in block.txs]) == (found.block_id, [raw])
        assert decode_commit(found.commit).block_id == block.id
        assert len(found.receipts) == 1
        latest = await node.stub.GetBlock(pb.GetBlockRequest())
        assert decode_commit(latest.commit).height >= receipt.height
        contracts = (await node.stub.ListContracts(pb.ListContractsRequest())).contracts
        counter = next(c for c in contracts if c.name == "counter")
        assert (counter.version, [f.name for f in counter.functions]) == (1, ["add", "count"])
        assert [(p.name, p.type) for p in counter.functions[0].params] == [("amount", "int")]

    _alone(tmp_path, scenario)


def test_malformed_requests_get_a_status_and_a_sentence(tmp_path: Path) -> None:
    async def scenario(net: Localnet, node: Running) -> None:
        stub, invalid = node.stub, grpc.StatusCode.INVALID_ARGUMENT
        long = "x" * 100
        calls = [
            (stub.GetReceipt(pb.GetReceiptRequest(tx_id=b"short")), invalid, "tx_id has 5 bytes, expected 32"),
            (stub.GetReceipt(pb.GetReceiptRequest(tx_id=bytes(32))), grpc.StatusCode.NOT_FOUND, "no final transaction"),
            (stub.GetAccount(pb.GetAccountRequest(address=b"1")), invalid, "address has 1 bytes, expected 20"),
            (stub.GetBlock(pb.GetBlockRequest(height=10**6)), grpc.StatusCode.NOT_FOUND, "no block of height 1000000"),
            (stub.GetBlock(pb.GetBlockRequest(height=2**64 - 1)), grpc.StatusCode.NOT_FOUND, "no block of height"),
            (stub.Simulate(pb.SimulateRequest(sender=b"x")), invalid, "sender has 1 bytes, expected 20"),
            (stub.Simulate(pb.SimulateRequest(sender=bytes(20))), invalid, "1 to 64 calls"),
            (stub.Query(pb.QueryRequest(contract=long, view="count")), invalid, "too long"),
        ]
        for call, code, sentence in calls:
            found_code, message = await _refused(call)
            assert (found_code, sentence in message) == (code, True), message
        far = stub.Subscribe(pb.SubscribeRequest(from_height=2**64 - 1))
        assert (await _refused(far.read()))[0] is invalid
        for query, code_name in (
            (pb.QueryRequest(contract="nothing", view="count"), "UNKNOWN_CONTRACT"),
            (pb.QueryRequest(contract="counter", view="nothing"), "UNKNOWN_FUNCTION"),
            (pb.QueryRequest(contract="counter", view="count", args=b"\xff"), "BAD_ARGUMENTS"),
        ):
            answer = await stub.Query(query)
            assert (answer.ok, answer.code, bool(answer.message)) == (False, code_name, True)

    _alone(tmp_path, scenario)


def test_random_bytes_on_the_client_port_change_nothing(tmp_path: Path) -> None:
    async def scenario(net: Localnet, node: Running) -> None:
        host, _, port = node.node.config.client_address.rpartition(":")
        for noise in (
            b"\x00" * 500,
            b"GET / HTTP/1.1\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(range(256)),
        ):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(noise)
            await writer.drain()
            writer.close()
        assert (await _final(node, net.tx(ALICE, 0))).ok

    _alone(tmp_path, scenario)


def test_a_node_is_ready_only_while_enough_members_are_connected_to_decide(tmp_path: Path) -> None:
    async def scenario() -> None:
        net = Localnet.make(tmp_path, 4)

        async def says(node: Running, service: str) -> Any:
            health = health_pb2_grpc.HealthStub(node.channel)
            return (await health.Check(health_pb2.HealthCheckRequest(service=service))).status

        async def turns(node: Running, status: Any) -> None:
            async with asyncio.timeout(20):
                while await says(node, SERVICE) != status:  # noqa: ASYNC110 - polled over the network
                    await asyncio.sleep(0.05)

        answers = health_pb2.HealthCheckResponse
        async with running(*net.homes[:2]) as nodes:
            assert await says(nodes[0], "") == answers.SERVING
            assert await says(nodes[0], SERVICE) == answers.NOT_SERVING
            third = await start(net.homes[2])
            await turns(nodes[0], answers.SERVING)
            replica = nodes[0].node.host.replica
            one, two = replica.peers
            state = replica.peers[one]
            assert state is not None
            replica.peers[one] = replace(state, height=state.height + 1_000)
            assert replica.is_ready  # a single member may claim what it likes
            replica.peers[two] = replica.peers[one]
            assert not replica.is_ready
            await third.stop()
            await turns(nodes[0], answers.NOT_SERVING)

    asyncio.run(scenario())


def test_health_and_reflection_answer_generic_clients(tmp_path: Path) -> None:
    async def scenario(net: Localnet, node: Running) -> None:
        health = health_pb2_grpc.HealthStub(node.channel)
        for service in ("", "gridbft.v1.LedgerService"):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING

        async def ask() -> Any:
            yield reflection_pb2.ServerReflectionRequest(list_services="")

        stub = reflection_pb2_grpc.ServerReflectionStub(node.channel)
        async for answer in stub.ServerReflectionInfo(ask()):
            names = {s.name for s in answer.list_services_response.service}
            assert "gridbft.v1.LedgerService" in names

    _alone(tmp_path, scenario)


# --- stopping and starting ------------------------------------------------------------------------------------------------


def test_an_idle_chain_rests_even_while_transactions_wait_for_a_missing_nonce(tmp_path: Path) -> None:
    async def scenario(net: Localnet, node: Running) -> None:
        await until(lambda: node.node.host.tip.height == 3)
        for nonce in (1, 2):
            verdict = (await node.stub.Submit(pb.SubmitRequest(tx=net.tx(ALICE, nonce)))).verdict
            assert not verdict.code
        ticks = _count_ticks(node)
        await until(lambda: len(ticks) >= 2)
        assert node.node.host.tip.height == 3
        assert (await _final(node, net.tx(ALICE, 0))).height == 4
        assert (await node.status()).mempool == 0

    _alone(tmp_path, scenario)


def _count_ticks(node: Running) -> list[TimerFired]:
    """Grows with every tick of the replica: each is a chance to begin a height."""
    ticks: list[TimerFired] = []
    replica = node.node.host.replica
    handle = replica.handle

    def watching(event: Event, now_ms: int) -> list[Effect]:
        if isinstance(event, TimerFired) and event.timer.kind == TICK:
            ticks.append(event)
        return handle(event, now_ms)

    replica.handle = watching  # type: ignore[method-assign]
    return ticks


def test_a_restarted_node_has_everything_it_acknowledged(tmp_path: Path) -> None:
    async def run() -> None:
        net = Localnet.make(tmp_path, 1)
        async with running(*net.homes) as (node,):
            receipts = [await _final(node, net.tx(ALICE, n)) for n in range(3)]
            root = node.node.host.ledger.head.state_root
        async with running(*net.homes) as (node,):
            assert node.node.host.ledger.head.state_root == root
            for n, receipt in enumerate(receipts):
                found = await node.stub.GetReceipt(pb.GetReceiptRequest(tx_id=_id(net.tx(ALICE, n))))
                assert chain_pb2.Receipt.FromString(found.receipt) == receipt
            assert (await _final(node, net.tx(ALICE, 3))).ok

    asyncio.run(run())


def test_a_home_is_used_by_one_process_at_a_time(tmp_path: Path) -> None:
    async def scenario(net: Localnet, node: Running) -> None:
        with pytest.raises(HomeError, match="is in use by process"):
            Node(load_home(net.homes[0]))

    _alone(tmp_path, scenario)


def test_a_taken_port_is_one_sentence_and_leaves_the_home_free(tmp_path: Path) -> None:
    async def run() -> None:
        one, two = Localnet.make(tmp_path / "a", 1), Localnet.make(tmp_path / "b", 1)
        async with running(*one.homes) as (node,):
            with pytest.raises(PortTakenError, match="client_address"):
                await start(two.homes[0], client_address=node.node.config.client_address)
        async with running(*two.homes) as (node,):
            assert (await node.status()).chain_id == two.genesis.chain_id

    asyncio.run(run())


def test_a_fault_of_our_own_stops_the_node(tmp_path: Path) -> None:
    async def run() -> None:
        net = Localnet.make(tmp_path, 1)
        node = await start(net.homes[0])

        def broken(*_: object) -> None:
            raise AssertionError("the ledger is not what we think")

        node.node.host.ledger.apply = broken  # type: ignore[method-assign, assignment]
        with pytest.raises(grpc.aio.AioRpcError):
            await _final(node, net.tx(ALICE, 0))
        with pytest.raises(AssertionError, match="not what we think"):
            await node.task
        await node.channel.close()
        node.node.close()

    asyncio.run(run())


# --- several --------------------------------------------------------------------------------------------------------------


def test_four_nodes_agree_and_one_that_was_away_catches_up(tmp_path: Path) -> None:
    async def run() -> None:
        net = Localnet.make(tmp_path, 4)
        async with running(*net.homes) as nodes:
            await until(lambda: all(n.node.host.tip.height >= 3 for n in nodes))
            for nonce in range(4):
                assert (await _final(nodes[nonce % 4], net.tx(ALICE, nonce))).ok
            away = nodes.pop()
            await away.stop()
            for nonce in range(4, 8):
                assert (await _final(nodes[nonce % 3], net.tx(ALICE, nonce))).ok
            nodes.append(await start(net.homes[3]))
            await until(lambda: len({n.node.host.tip.height for n in nodes}) == 1)
            heads = [n.node.host.ledger.head for n in nodes]
            assert len({h.state_root for h in heads}) == 1
            assert heads[0].state_root != ZERO_HASH
            answer = await nodes[3].stub.Query(
                pb.QueryRequest(contract="counter", view="count", args=encode([ALICE.address]))
            )
            assert decode(answer.result) == 8
            await until(lambda: len(nodes[3].node.peers.connected) == 3)
            assert all(p.connected for p in (await nodes[3].status()).peers)

    asyncio.run(run())
