"""The player over fake nodes: what a node forgets is sent again, what is refused or reverted ends the day with its code."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest

from devnet import player as player_module
from devnet.book import DayBook
from devnet.plan import Step
from devnet.player import DayError, Player
from gridbft import Wallet
from gridbft.v1 import client_pb2 as wire
from tests.gridbft.fake_bank import NAME
from tests.gridbft.fake_ledger import FakeLedger, FakeNode
from tests.patience import run_within

ALICE, BOB = (Wallet.from_seed(bytes([number]) * 32) for number in (1, 2))
WALLETS = {"alice": ALICE, "bob": BOB}


class ForgetfulLedger(FakeLedger):
    """Admits the first few transactions and loses them, as a node does that dies before it passed them on."""

    def __init__(self, forget: int) -> None:
        super().__init__()
        self.forget = forget
        self.admitted: list[bytes] = []

    def admit(self, raw: bytes) -> wire.Verdict:
        self.admitted.append(raw)
        if self.forget > 0:
            self.forget -= 1
            return wire.Verdict(tx_id=b"\x00" * 32)
        return super().admit(raw)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(player_module, "RESEND_S", 0.1)
    monkeypatch.setattr(player_module, "GIVE_UP_S", 10.0)


def mint(signer: str, amount_micros: int) -> Step:
    return Step(signer, ((NAME, "mint", (ALICE.address, amount_micros)),), 1_000_000)


def run(nodes: list[FakeNode], steps: list[list[Step]]) -> None:
    async def play() -> None:
        async with Player([node.address for node in nodes], WALLETS, DayBook("zone", range(1), "")) as player:
            for wave in steps:
                await player.play(wave)

    finish(play())


def finish(work: Coroutine[Any, Any, None]) -> None:
    run_within(30, work)


@pytest.mark.parametrize("forget", [0, 1, 5])
def test_what_a_node_forgot_is_sent_again_and_happens_once(forget: int) -> None:
    ledger = ForgetfulLedger(forget)
    with FakeNode(ledger) as first, FakeNode(ledger) as second:
        run([first, second], [[mint("alice", 1), mint("bob", 2)], [mint("alice", 4)]])
    assert len(ledger.places) == 3
    assert len(set(ledger.admitted)) == 3, "the very same bytes"
    assert len(ledger.admitted) >= 3 + min(forget, 3)


def test_a_node_that_is_gone_is_no_matter() -> None:
    ledger = FakeLedger()
    with FakeNode(ledger) as first:
        gone = FakeNode(ledger).start()
        gone.stop()
        run([gone, first], [[mint("alice", 1), mint("bob", 2)], [mint("alice", 4)]])
    assert len(ledger.places) == 3


def test_one_signers_transactions_go_to_one_node_in_their_order() -> None:
    ledger = FakeLedger()
    with FakeNode(ledger) as first, FakeNode(ledger) as second:
        run([first, second], [[mint("alice", amount) for amount in (1, 2, 3)]])
        streams = [node.requests.count("SubmitBatch") for node in (first, second)]
    assert sorted(streams) == [0, 1]
    assert len(ledger.places) == 3


def test_a_reverted_transaction_ends_the_day_with_its_code() -> None:
    with FakeNode(FakeLedger()) as node, pytest.raises(DayError, match="INSUFFICIENT_BALANCE in call 0"):
        run([node], [[Step("bob", ((NAME, "transfer", (ALICE.address, 5)),), 1_000_000)]])


def test_a_refused_transaction_ends_the_day_with_its_sentence() -> None:
    class Closed(FakeLedger):
        def admit(self, raw: bytes) -> wire.Verdict:
            return wire.Verdict(tx_id=b"\x01" * 32, code="GAS_LIMIT", message="the limit is too high: lower it")

    with FakeNode(Closed()) as node, pytest.raises(DayError, match="GAS_LIMIT: the limit is too high"):
        run([node], [[mint("alice", 1)]])


def test_a_chain_that_stands_still_ends_the_day_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(player_module, "GIVE_UP_S", 0.5)
    with FakeNode(FakeLedger(auto=False)) as node, pytest.raises(DayError, match="1 transactions are not final"):
        run([node], [[mint("alice", 1)]])
