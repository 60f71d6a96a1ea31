"""The blocking client: the same answers, one request at a time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gridbft import BlockingClient, Wallet
from gridbft.errors import (
    ClientError,
    NodeUnavailable,
    NotFinal,
    NotFound,
    QueryFailed,
    TransactionFailed,
    TransactionRefused,
)
from gridbft.requests import Limits, make_call
from tests.gridbft.fake_bank import NAME, BankRuntime
from tests.gridbft.fake_ledger import FakeLedger, FakeNode

ALICE = Wallet.from_seed(bytes(32), "alice")
NOBODY = "127.0.0.1:1"
QUICK = Limits(request_s=3.0, final_s=1.0, poll_s=0.2)


@pytest.fixture
def ledger() -> FakeLedger:
    return FakeLedger()


@pytest.fixture
def node(ledger: FakeLedger) -> Iterator[FakeNode]:
    with FakeNode(ledger) as started:
        yield started


def test_calls_follow_one_another(node: FakeNode) -> None:
    with BlockingClient(node.address, ALICE) as client:
        client.call(NAME, "mint", ALICE.address, 9)
        receipt = client.call(NAME, "transfer", "bob", 4)
        assert receipt.result == 5
        assert client.receipt(receipt.tx_id) == receipt
        assert client.block(receipt.height).receipts == (receipt,)
        assert client.query(NAME, "balance", "bob") == 4
        assert client.status().height == receipt.height
        assert [c.name for c in client.contracts()] == [NAME]


def test_faults_are_the_same_exceptions_as_the_async_client_s(node: FakeNode) -> None:
    with BlockingClient(node.address, ALICE, limits=QUICK) as client:
        with pytest.raises(TransactionFailed, match="INSUFFICIENT_BALANCE"):
            client.call(NAME, "transfer", "bob", 4)
        with pytest.raises(TransactionRefused, match="TOO_LARGE"):
            client.call(NAME, "mint", "a" * 200_000, 4)
        with pytest.raises(QueryFailed, match="UNKNOWN_FUNCTION"):
            client.query(NAME, "nothing")
        with pytest.raises(NotFound):
            client.receipt(bytes(32))
        with pytest.raises(NotFinal):
            client.wait(bytes(32), timeout_s=0.3)
    with BlockingClient(node.address) as reader, pytest.raises(ClientError, match="no wallet"):
        reader.call(NAME, "mint", "a", 1)


def test_the_next_node_is_asked_when_one_does_not_answer(node: FakeNode) -> None:
    with BlockingClient([NOBODY, node.address], ALICE) as client:
        assert client.call(NAME, "mint", "a", 1).ok
        assert client.status().address == node.address
    with BlockingClient(NOBODY) as alone, pytest.raises(NodeUnavailable):
        alone.status()
    with BlockingClient(NOBODY) as alone, pytest.raises(NodeUnavailable):
        alone.wait(bytes(32))


def test_a_lost_answer_does_not_make_a_call_happen_twice(ledger: FakeLedger, node: FakeNode) -> None:
    with FakeNode(ledger) as second, BlockingClient([node.address, second.address], ALICE) as client:
        node.lose_next_answer = True
        assert client.call(NAME, "mint", "a", 5).ok
        assert client.query(NAME, "balance", "a") == 5


def test_proofs_are_checked(ledger: FakeLedger, node: FakeNode) -> None:
    with BlockingClient(node.address, ALICE, trust=ledger.trust, runtime=BankRuntime()) as client:
        receipt = client.call(NAME, "mint", "a", 5)
        assert client.receipt(receipt.tx_id, prove=True) == receipt
        assert client.query(NAME, "balance", "a", prove=True) == 5


def test_several_calls_are_one_transaction(node: FakeNode) -> None:
    with BlockingClient(node.address, ALICE) as client:
        calls = [make_call(NAME, "mint", ALICE.address, 5), make_call(NAME, "transfer", "bob", 6)]
        receipt = client.submit(calls)
        assert (receipt.ok, receipt.failed_call) == (False, 1)
