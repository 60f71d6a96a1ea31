"""Proved views of real contracts: the metered runtime runs them again over nothing but what the node proved."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chain.tx import TxCall
from contracts.runtime import machine
from contracts.runtime.codec import decode, encode
from contracts.runtime.deploy import contracts_writes, deploy_writes
from contracts.runtime.engine import MeteredRuntime
from contracts.runtime.keys import code_key
from gridbft.errors import VerificationError
from gridbft.requests import view_runtime
from gridbft.v1 import client_pb2 as wire
from gridbft.verify import verify_view
from gridbft.wallet import Wallet
from tests.gridbft.fake_ledger import CHAIN_ID, FakeLedger

PURSE = b'''"""Keeps what was put in."""

from contracts.host import Map, NamedTuple, ctx, export, require, view

Line = NamedTuple("Line", [("account", str), ("amount_micros", int)])
amounts: Map[str, int] = Map("amounts")


@export
def put(account: str, amount_micros: int) -> None:
    require(amount_micros > 0, "NOT_POSITIVE")
    amounts[account] = amounts.get(account, 0) + amount_micros


@view
def lines(accounts: list[str]) -> list[Line]:
    return [Line(account, amounts.get(account, 0)) for account in accounts]


@view
def known(account: str) -> int:
    return amounts[account]


@view
def moment() -> tuple[int, int]:
    return (ctx.height, ctx.time_ms)
'''

CLERK = b'''"""Asks another contract."""

from contracts.host import call, view


@view
def twice(account: str) -> int:
    amount: int = call("purse", "known", account)
    return 2 * amount
'''

ALICE = Wallet.from_seed(bytes(32))


@pytest.fixture(scope="module")
def ledger() -> FakeLedger:
    state = {**deploy_writes("purse", PURSE), **deploy_writes("clerk", CLERK), **contracts_writes(["purse", "clerk"])}
    made = FakeLedger(runtime=MeteredRuntime(), state=state)
    call = TxCall("purse", "put", encode(["alice", 40]))
    assert not made.admit(ALICE.transaction(CHAIN_ID, 0, [call], 1_000, 1_000_000)).code
    made.make_block()
    return made


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Forgets compiled contracts, as a client in a process of its own has none."""
    return lambda: monkeypatch.setattr(machine, "_compiled", {})


def asked(ledger: FakeLedger, contract: str, view: str, *args: object) -> wire.QueryResponse:
    return ledger.query(wire.QueryRequest(contract=contract, view=view, args=encode(list(args)), prove=True))


def checked(ledger: FakeLedger, answer: wire.QueryResponse, contract: str, view: str, *args: object) -> object:
    raw = verify_view(answer, contract, view, encode(list(args)), "", ledger.trust, view_runtime())
    return decode(raw)


def test_a_client_that_has_compiled_nothing_checks_a_warm_node_s_answer(
    ledger: FakeLedger, cold: Callable[[], None]
) -> None:
    asked(ledger, "purse", "lines", [])  # from here on the node's runtime is warm
    answer = asked(ledger, "purse", "lines", ["alice", "bob"])
    cold()
    assert checked(ledger, answer, "purse", "lines", ["alice", "bob"]) == [["alice", 40], ["bob", 0]]


def test_a_view_that_asks_another_contract_is_proved_with_both(ledger: FakeLedger, cold: Callable[[], None]) -> None:
    answer = asked(ledger, "clerk", "twice", "alice")
    cold()
    assert checked(ledger, answer, "clerk", "twice", "alice") == 80
    assert {code_key("purse"), code_key("clerk")} <= {r.key for r in answer.reads}


def test_a_view_runs_at_the_height_and_time_of_the_header_that_vouches(ledger: FakeLedger) -> None:
    answer = asked(ledger, "purse", "moment")
    assert checked(ledger, answer, "purse", "moment") == [ledger.height, ledger.blocks[-1].time_ms]


def test_a_refusal_is_proved_too(ledger: FakeLedger) -> None:
    answer = asked(ledger, "purse", "known", "bob")
    assert not answer.ok
    verify_view(answer, "purse", "known", encode(["bob"]), "", ledger.trust, view_runtime())
    answer.code = "PAUSED"
    with pytest.raises(VerificationError, match="WRONG_RESULT"):
        verify_view(answer, "purse", "known", encode(["bob"]), "", ledger.trust, view_runtime())


def test_every_read_that_is_left_out_is_missed(ledger: FakeLedger, cold: Callable[[], None]) -> None:
    whole = asked(ledger, "clerk", "twice", "alice")
    for index in range(len(whole.reads)):
        answer = wire.QueryResponse()
        answer.CopyFrom(whole)
        del answer.reads[index]
        cold()
        with pytest.raises(VerificationError, match="UNPROVED_READ"):
            checked(ledger, answer, "clerk", "twice", "alice")


def test_another_contract_s_code_is_not_run_in_its_place(ledger: FakeLedger, cold: Callable[[], None]) -> None:
    answer = asked(ledger, "purse", "known", "alice")
    source = next(r for r in answer.reads if r.value == PURSE)
    source.value = PURSE.replace(b"amounts[account]\n", b"1_000_000\n")
    cold()
    with pytest.raises(VerificationError, match="BAD_STATE_PROOF"):
        checked(ledger, answer, "purse", "known", "alice")
