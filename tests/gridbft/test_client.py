"""The async client against a whole ledger in this process, served over real connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, TypeVar

import grpc
import pytest

from chain.tx import TxCall
from gridbft import Client, Wallet
from gridbft.errors import (
    ClientError,
    NodeUnavailable,
    NotFinal,
    NotFound,
    QueryFailed,
    TransactionFailed,
    TransactionRefused,
    VerificationError,
)
from gridbft.records import Receipt, Verdict
from gridbft.requests import Limits, make_call, status_error
from gridbft.v1 import client_pb2 as wire
from tests.gridbft.fake_bank import NAME, BankRuntime
from tests.gridbft.fake_ledger import CHAIN_ID, FakeLedger, FakeNode
from tests.patience import run_within

T = TypeVar("T")
ALICE = Wallet.from_seed(bytes(32), "alice")
QUICK = Limits(request_s=3.0, final_s=3.0, poll_s=0.3, reconnect_s=3.0, silence_s=2.0)
# A port that nothing listens on: reserved, and never given out by the system.
NOBODY = "127.0.0.1:1"


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    return run_within(20, coroutine)


async def until(true: Callable[[], bool]) -> None:
    """The node's threads know no asyncio, so what they did can only be looked at."""
    while not true():  # noqa: ASYNC110
        await asyncio.sleep(0)


@pytest.fixture
def ledger() -> FakeLedger:
    return FakeLedger()


@pytest.fixture
def node(ledger: FakeLedger) -> Iterator[FakeNode]:
    with FakeNode(ledger) as started:
        yield started


def client_of(*nodes: FakeNode | str, wallet: Wallet | None = ALICE, **options: Any) -> Client:
    addresses = [n if isinstance(n, str) else n.address for n in nodes]
    return Client(addresses, wallet, limits=options.pop("limits", QUICK), **options)


def mints(count: int, first_nonce: int = 0) -> list[bytes]:
    """Signed transactions that each mint another amount to alice."""
    calls = [make_call(NAME, "mint", ALICE.address, i + 1) for i in range(count)]
    return [ALICE.transaction(CHAIN_ID, first_nonce + i, [c], 1_000, 1_000) for i, c in enumerate(calls)]


# -- one transaction


def test_a_call_waits_for_its_receipt_and_gives_decoded_results_and_events(node: FakeNode) -> None:
    async def scenario() -> tuple[Receipt, Receipt]:
        async with client_of(node) as client:
            return await client.call(NAME, "mint", ALICE.address, 2**70), await client.call(NAME, "transfer", "bob", 3)

    minted, moved = run(scenario())
    assert moved.ok
    assert moved.result == 2**70 - 3
    (event,) = moved.events
    assert (event.contract, event.name) == (NAME, "Transferred")
    assert event.fields == {"amount_micros": 3, "source": ALICE.address, "to": "bob"}
    assert moved.height == minted.height + 1


def test_a_reverted_call_raises_with_its_code_and_receipt(node: FakeNode) -> None:
    async def scenario() -> None:
        async with client_of(node) as client:
            await client.call(NAME, "transfer", "bob", 3)

    with pytest.raises(TransactionFailed) as caught:
        run(scenario())
    assert caught.value.code == "INSUFFICIENT_BALANCE"
    assert not caught.value.receipt.ok


def test_calls_of_one_transaction_happen_all_or_none(node: FakeNode) -> None:
    async def scenario() -> tuple[Receipt, int]:
        async with client_of(node) as client:
            calls = [make_call(NAME, "mint", ALICE.address, 5), make_call(NAME, "transfer", "bob", 6)]
            return await client.submit(calls, wait=True), await client.query(NAME, "balance", ALICE.address)

    receipt, balance = run(scenario())
    assert (receipt.ok, receipt.failed_call, balance) == (False, 1, 0)


def test_a_refused_transaction_raises_with_the_door_s_code_and_sentence(node: FakeNode) -> None:
    async def scenario() -> None:
        async with client_of(node) as client:
            await client.submit_tx(ALICE.transaction("another-chain", 0, [make_call(NAME, "mint", "a", 1)], 9, 9))

    with pytest.raises(TransactionRefused) as caught:
        run(scenario())
    assert caught.value.code == "WRONG_CHAIN"
    assert CHAIN_ID in caught.value.message


def test_a_client_without_a_wallet_says_that_it_cannot_sign(node: FakeNode) -> None:
    async def scenario() -> None:
        async with client_of(node, wallet=None) as client:
            await client.call(NAME, "mint", "a", 1)

    with pytest.raises(ClientError, match="no wallet"):
        run(scenario())


def test_a_transaction_that_no_block_takes_is_not_final(ledger: FakeLedger, node: FakeNode) -> None:
    ledger.auto = False

    async def scenario() -> bool:
        async with client_of(node) as client:
            verdict = await client.submit(make_call(NAME, "mint", "a", 1))
            with pytest.raises(NotFound):
                await client.receipt(verdict.tx_id)
            with pytest.raises(NotFinal):
                await client.wait(verdict.tx_id, timeout_s=0.5)
            ledger.make_block()
            return (await client.wait(verdict.tx_id)).tx_id == verdict.tx_id

    assert run(scenario())


def test_a_wait_outlasts_several_polls(ledger: FakeLedger, node: FakeNode) -> None:
    ledger.auto = False

    async def scenario() -> Receipt:
        async with client_of(node, limits=Limits(poll_s=0.05, final_s=10)) as client:
            task = asyncio.create_task(client.call(NAME, "mint", "a", 1))
            await until(lambda: node.requests.count("GetReceipt") >= 3)
            ledger.make_block()
            return await task

    assert run(scenario()).ok


def test_simulate_writes_nothing(ledger: FakeLedger, node: FakeNode) -> None:
    async def scenario() -> Receipt:
        async with client_of(node) as client:
            return await client.simulate(make_call(NAME, "mint", ALICE.address, 5))

    before = ledger.state
    assert run(scenario()).ok
    assert ledger.state == before


# -- nonces


def test_concurrent_calls_each_get_a_nonce_of_their_own(ledger: FakeLedger, node: FakeNode) -> None:
    async def scenario() -> list[Receipt]:
        async with client_of(node) as client:
            return await asyncio.gather(*(client.call(NAME, "mint", "a", i) for i in range(1, 41)))

    receipts = run(scenario())
    assert len({r.tx_id for r in receipts}) == 40
    assert node.requests.count("GetAccount") == 1
    assert len(ledger.places) == 40


def test_a_nonce_that_another_program_took_is_replaced(ledger: FakeLedger, node: FakeNode) -> None:
    async def scenario() -> None:
        async with client_of(node) as first, client_of(node) as second:
            await first.call(NAME, "mint", "a", 1)
            await second.call(NAME, "mint", "a", 2)
            await second.call(NAME, "mint", "a", 4)
            await first.call(NAME, "mint", "a", 8)

    run(scenario())
    assert len(ledger.places) == 4


def test_a_refusal_leaves_no_gap_in_the_nonces(ledger: FakeLedger, node: FakeNode) -> None:
    async def scenario() -> Receipt:
        async with client_of(node) as client:
            await client.call(NAME, "mint", "a", 1)
            with pytest.raises(TransactionRefused, match="TOO_LARGE"):
                await client.call(NAME, "mint", "a" * 200_000, 1)
            return await client.call(NAME, "mint", "a", 2)

    assert run(scenario()).ok


def test_a_lost_answer_does_not_make_a_call_happen_twice(ledger: FakeLedger, node: FakeNode) -> None:
    with FakeNode(ledger) as second:
        node.lose_next_answer = True

        async def scenario() -> tuple[Receipt, int]:
            async with client_of(node, second) as client:
                return await client.call(NAME, "mint", "a", 5), await client.query(NAME, "balance", "a")

        receipt, balance = run(scenario())
    assert receipt.ok
    assert balance == 5


def test_a_lost_answer_to_given_bytes_ends_in_their_receipt(ledger: FakeLedger, node: FakeNode) -> None:
    with FakeNode(ledger) as second:
        node.lose_next_answer = True

        async def scenario() -> Receipt:
            async with client_of(node, second) as client:
                return await client.submit_tx(mints(1)[0], wait=True)

        assert run(scenario()).ok


def test_given_bytes_sent_twice_are_refused_as_final(node: FakeNode) -> None:
    async def scenario() -> None:
        async with client_of(node) as client:
            await client.submit_tx(mints(1)[0], wait=True)
            await client.submit_tx(mints(1)[0])

    with pytest.raises(TransactionRefused, match="ALREADY_FINAL"):
        run(scenario())


def test_the_same_call_by_two_programs_with_one_key_happens_twice(ledger: FakeLedger, node: FakeNode) -> None:
    async def scenario() -> set[str]:
        async with client_of(node) as first, client_of(node) as second:
            for client in (first, second):
                ledger.auto = True
                await client.call(NAME, "mint", "a", 1)  # from here on each keeps its own count of nonces
            ledger.auto = False
            first._nonce = second._nonce = 2  # both believe that the next one is free
            call = make_call(NAME, "mint", "a", 1)
            return {(await c.submit(call)).tx_id for c in (first, second)}

    assert len(run(scenario())) == 2
    assert len(ledger.mempool) == 2


# -- several nodes


def test_another_node_is_asked_when_one_does_not_answer(node: FakeNode) -> None:
    async def scenario() -> str:
        async with client_of(NOBODY, node) as client:
            return (await client.status()).address

    assert run(scenario()) == node.address


def test_no_node_at_all_is_an_error_that_names_them() -> None:
    async def scenario() -> None:
        async with client_of(NOBODY, "127.0.0.1:2") as client:
            await client.status()

    with pytest.raises(NodeUnavailable) as caught:
        run(scenario())
    assert caught.value.address == f"{NOBODY}, 127.0.0.1:2"


def test_a_node_of_its_own_is_asked_and_no_other(node: FakeNode) -> None:
    async def scenario() -> None:
        async with client_of(NOBODY, node) as client:
            assert (await client.status(node.address)).name == "node"
            await client.status(NOBODY)

    with pytest.raises(NodeUnavailable):
        run(scenario())


# -- many transactions


async def collect(stream: AsyncIterator[T]) -> list[T]:
    return [item async for item in stream]


@pytest.mark.parametrize(("batch", "window"), [(1, 1), (1, 8), (7, 3), (256, 8)])
def test_verdicts_come_one_for_each_transaction_in_its_order(node: FakeNode, batch: int, window: int) -> None:
    txs = mints(60)
    txs[20] = b"garbage"
    txs[40] = txs[3]

    async def scenario() -> list[Verdict]:
        async with client_of(node) as client:
            return await collect(client.submit_many(txs, batch=batch, window=window))

    verdicts = run(scenario())
    codes = ["MALFORMED" if i == 20 else "ALREADY_FINAL" if i == 40 else "" for i in range(60)]
    # From the garbage on there is a gap in the nonces, so what follows is admitted but waits.
    assert [v.code for v in verdicts] == codes
    assert [v.tx_id for v in verdicts[:3]] == [wire.Verdict(tx_id=tx_id).tx_id.hex() for tx_id in ids(txs[:3])]


def ids(txs: list[bytes]) -> list[bytes]:
    from chain.tx import decode_tx

    decoded = [decode_tx(tx, CHAIN_ID) for tx in txs]
    return [d[0].id for d in decoded if isinstance(d, tuple)]


def test_no_transactions_give_no_verdicts(node: FakeNode) -> None:
    async def scenario() -> list[Verdict]:
        async with client_of(node) as client:
            return await collect(client.submit_many([]))

    assert run(scenario()) == []


def test_a_slow_source_is_answered_as_it_goes(node: FakeNode) -> None:
    txs = mints(5)

    async def scenario() -> list[Verdict]:
        answered = asyncio.Event()

        async def source() -> AsyncIterator[bytes]:
            for tx in txs:
                yield tx
                await answered.wait()  # the next one exists only once this one has its verdict
                answered.clear()

        verdicts = []
        async with client_of(node) as client:
            async for verdict in client.submit_many(source(), batch=100):
                verdicts.append(verdict)
                answered.set()
        return verdicts

    assert [v.admitted for v in run(scenario())] == [True] * 5


def test_what_is_refused_for_now_only_says_so(ledger: FakeLedger, node: FakeNode) -> None:
    far_ahead = mints(1, first_nonce=50_000)

    async def scenario() -> list[Verdict]:
        async with client_of(node) as client:
            return await collect(client.submit_many([*far_ahead, b"garbage"]))

    assert [(v.admitted, v.retryable) for v in run(scenario())] == [(False, True), (False, False)]


@pytest.mark.parametrize("answered", [0, 1, 3])
def test_a_cut_batch_stream_goes_on_at_the_next_node_without_losing_a_verdict(
    ledger: FakeLedger, node: FakeNode, answered: int
) -> None:
    txs = mints(50)
    node.batches_until_cut = answered
    with FakeNode(ledger) as second:

        async def scenario() -> list[Verdict]:
            async with client_of(node, second) as client:
                return await collect(client.submit_many(txs, batch=5, window=3))

        verdicts = run(scenario())
        assert second.requests.count("SubmitBatch") == 1
    assert [v.tx_id for v in verdicts] == [i.hex() for i in ids(txs)]
    # The cut batch was admitted before its answer was lost, so it is final when it comes again.
    assert {v.code for v in verdicts} <= {"", "ALREADY_FINAL"}
    assert set(ledger.places) == set(ids(txs))


def test_batches_to_nobody_end_in_an_error() -> None:
    async def scenario() -> None:
        async with client_of(NOBODY) as client:
            await collect(client.submit_many(mints(3)))

    with pytest.raises(NodeUnavailable):
        run(scenario())


def test_large_transactions_go_out_in_smaller_batches(node: FakeNode) -> None:
    sizes: list[int] = []

    def count(answer: Any) -> Any:
        if isinstance(answer, wire.SubmitBatchResponse):
            sizes.append(len(answer.verdicts))
        return answer

    node.tamper = count
    txs = [bytes(300_000)] * 7

    async def scenario() -> list[Verdict]:
        async with client_of(node) as client:
            return await collect(client.submit_many(txs))

    assert {v.code for v in run(scenario())} == {"TOO_LARGE"}
    assert sum(sizes) == 7
    assert max(sizes) == 3


def test_a_source_s_own_error_reaches_the_caller(node: FakeNode) -> None:
    def source() -> Iterator[bytes]:
        yield mints(1)[0]
        raise LookupError("the file is damaged")

    async def scenario() -> None:
        async with client_of(node) as client:
            await collect(client.submit_many(source()))

    with pytest.raises(LookupError, match="damaged"):
        run(scenario())


def test_a_batch_answer_of_another_length_is_refused(node: FakeNode) -> None:
    def shorten(answer: Any) -> Any:
        if isinstance(answer, wire.SubmitBatchResponse):
            del answer.verdicts[-1]
        return answer

    node.tamper = shorten

    async def scenario() -> None:
        async with client_of(node) as client:
            await collect(client.submit_many(mints(3)))

    with pytest.raises(VerificationError, match="BAD_VERDICTS"):
        run(scenario())


# -- following


async def heights_of(client: Client, count: int, each: Callable[[int], None], **filters: Any) -> list[int]:
    found: list[int] = []
    async for block in client.subscribe(1, **filters):
        found.append(block.height)
        each(block.height)
        if len(found) == count:
            return found
    return found


def test_a_subscription_gives_past_and_live_blocks_with_the_events_asked_for(
    ledger: FakeLedger, node: FakeNode
) -> None:
    ledger.admit(mints(1)[0])

    async def scenario() -> list[tuple[int, list[str], int]]:
        async with client_of(node) as client:
            found: list[tuple[int, list[str], int]] = []
            async for block in client.subscribe(1, contracts=[NAME], names=["Transferred"]):
                found.append((block.height, [e.name for e in block.events], block.transactions))
                if block.height == 2:
                    await client.submit(make_call(NAME, "transfer", "bob", 1))
                if block.height == 3:
                    return found
            return found

    assert run(scenario()) == [(1, [], 0), (2, [], 1), (3, ["Transferred"], 1)]


def test_a_subscription_from_zero_begins_at_the_next_block(ledger: FakeLedger, node: FakeNode) -> None:
    async def scenario() -> int:
        async with client_of(node) as client:
            stream = client.subscribe()
            task = asyncio.ensure_future(anext(stream))
            await until(lambda: "Subscribe" in node.requests)
            ledger.make_block()
            return (await task).height

    assert run(scenario()) == 2


def test_a_subscription_goes_on_after_the_node_was_restarted(ledger: FakeLedger, node: FakeNode) -> None:
    for _ in range(5):
        ledger.make_block()

    def restart(height: int) -> None:
        if height in (3, 6):
            node.stop()
            ledger.make_block()
            node.start()

    async def scenario() -> list[int]:
        async with client_of(node, limits=Limits(reconnect_s=15)) as client:
            return await heights_of(client, 8, restart)

    assert run(scenario()) == list(range(1, 9))


def test_a_subscription_goes_on_at_another_node_without_gaps_or_repeats(ledger: FakeLedger, node: FakeNode) -> None:
    for _ in range(5):
        ledger.make_block()
    node.blocks_until_cut = 2
    with FakeNode(ledger) as second:
        second.blocks_until_cut = 2

        async def scenario() -> list[int]:
            async with client_of(node, second) as client:
                return await heights_of(client, 6, lambda _: None)

        assert run(scenario()) == [1, 2, 3, 4, 5, 6]
        assert node.requests.count("Subscribe") == 2
        assert second.requests.count("Subscribe") == 1


def test_a_node_that_leaves_a_block_out_or_repeats_one_is_not_believed(ledger: FakeLedger, node: FakeNode) -> None:
    for _ in range(4):
        ledger.make_block()
    lies = iter([1, 1, 3])  # a repeat, then a gap

    def lie(answer: Any) -> Any:
        if isinstance(answer, wire.SubscribeResponse):
            answer.height = next(lies, answer.height)
        return answer

    node.tamper = lie

    async def scenario() -> list[int]:
        async with client_of(node, limits=Limits(silence_s=60)) as client:
            return await heights_of(client, 5, lambda _: None)

    assert run(scenario()) == [1, 2, 3, 4, 5]


def test_a_subscription_to_nobody_gives_up() -> None:
    async def scenario() -> None:
        async with client_of(NOBODY, limits=Limits(reconnect_s=0.3)) as client:
            await anext(client.subscribe(1))

    with pytest.raises(NodeUnavailable, match="height 1"):
        run(scenario())


# -- asking


def test_a_query_gives_the_view_s_value_or_its_code(node: FakeNode) -> None:
    async def scenario() -> int:
        async with client_of(node) as client:
            await client.call(NAME, "mint", "a", 7)
            value: int = await client.query(NAME, "balance", "a")
            with pytest.raises(QueryFailed, match="UNKNOWN_FUNCTION"):
                await client.query(NAME, "nothing")
            return value

    assert run(scenario()) == 7


def test_a_proved_query_is_the_value_one_block_earlier(ledger: FakeLedger, node: FakeNode) -> None:
    async def scenario() -> tuple[int, int, list[int]]:
        async with client_of(node, trust=ledger.trust, runtime=BankRuntime()) as client:
            await client.call(NAME, "mint", "a", 7)
            before = await client.query(NAME, "balance", "a", prove=True)
            ledger.make_block()
            return (
                before,
                await client.query(NAME, "balance", "a", prove=True),
                await client.query(NAME, "now", prove=True),
            )

    before, after, now = run(scenario())
    assert (before, after) == (0, 7)
    assert now[0] == ledger.height


def test_an_unproved_lie_passes_and_a_proved_one_does_not(ledger: FakeLedger, node: FakeNode) -> None:
    def rich(answer: Any) -> Any:
        if isinstance(answer, wire.QueryResponse):
            answer.result = b"\x7f"
        return answer

    node.tamper = rich

    async def scenario() -> int:
        async with client_of(node, trust=ledger.trust, runtime=BankRuntime()) as client:
            believed: int = await client.query(NAME, "balance", "a")
            with pytest.raises(VerificationError, match="WRONG_RESULT"):
                await client.query(NAME, "balance", "a", prove=True)
            return believed

    assert run(scenario()) == 127


def test_proofs_without_trust_are_an_error_of_the_caller(node: FakeNode) -> None:
    async def scenario() -> None:
        async with client_of(node) as client:
            await client.query(NAME, "balance", "a", prove=True)

    with pytest.raises(VerificationError, match="NO_TRUST"):
        run(scenario())


def test_a_proved_receipt_is_checked(ledger: FakeLedger, node: FakeNode) -> None:
    async def scenario() -> None:
        async with client_of(node, trust=ledger.trust) as client:
            receipt = await client.call(NAME, "mint", "a", 7)
            assert await client.receipt(receipt.tx_id, prove=True) == receipt
            node.tamper = _other_gas
            await client.receipt(receipt.tx_id, prove=True)

    with pytest.raises(VerificationError, match="BAD_RECEIPT_PROOF"):
        run(scenario())


def _other_gas(answer: Any) -> Any:
    if isinstance(answer, wire.GetReceiptResponse):
        answer.receipt = answer.receipt.replace(b"\x30\x64", b"\x30\x65")  # field 6, gas_used: 100 -> 101
    return answer


def test_a_block_lists_its_transactions_receipts_and_signers(ledger: FakeLedger, node: FakeNode) -> None:
    async def scenario() -> None:
        async with client_of(node) as client:
            receipt = await client.call(NAME, "mint", "a", 7)
            block = await client.block(receipt.height)
            assert block.tx_ids == (receipt.tx_id,)
            assert block.receipts == (receipt,)
            assert len(block.signers) == 4
            assert block.state_root_before == ledger.blocks[0].state_root.hex()
            assert (await client.block()).block_id == block.block_id
            with pytest.raises(NotFound):
                await client.block(99)

    run(scenario())


@pytest.mark.parametrize(
    "answer", [wire.GetBlockResponse(), wire.GetBlockResponse(block=b"\xff"), wire.GetBlockResponse(commit=b"\xff")]
)
def test_a_node_that_sends_no_block_is_not_believed(node: FakeNode, answer: wire.GetBlockResponse) -> None:
    node.tamper = lambda _: answer

    async def scenario() -> None:
        async with client_of(node) as client:
            await client.block(1)

    with pytest.raises(VerificationError, match="BAD_BLOCK"):
        run(scenario())


def test_contracts_come_with_their_signatures(node: FakeNode) -> None:
    async def scenario() -> list[str]:
        async with client_of(node) as client:
            (bank,) = await client.contracts()
            return [f.signature() for f in bank.functions if not f.view]

    assert run(scenario()) == [
        "mint(to: str, amount_micros: int) -> None",
        "transfer(to: str, amount_micros: int) -> int",
    ]


def test_arguments_that_no_contract_can_take_are_an_error_of_the_caller() -> None:
    with pytest.raises(ValueError, match="TYPE_ERROR"):
        make_call(NAME, "mint", 1.5)
    assert isinstance(make_call(NAME, "mint", 1), TxCall)


def test_a_connection_that_is_lost_in_the_middle_of_a_write_is_a_lost_node() -> None:
    error = status_error(grpc.StatusCode.INTERNAL, "Internal error from Core", "127.0.0.1:1")
    assert isinstance(error, NodeUnavailable)
    assert not isinstance(status_error(grpc.StatusCode.INTERNAL, "ours", "127.0.0.1:1"), NodeUnavailable)
