"""The metered runtime as the ledger sees it: outcomes, gas, reverts, calls between contracts."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.runtime.api import Call, Outcome
from contracts.runtime.codec import decode, encode
from contracts.runtime.deploy import contracts_writes, deploy_writes, deployed, deployed_abi, list_contracts
from contracts.runtime.engine import MeteredRuntime
from contracts.runtime.errors import RuntimeFault
from contracts.runtime.keys import source_key, state_key

TOKEN = b'''"""Money in the small."""
from contracts.host import Map, Value, call, ctx, emit, export, require, view

balances: Map[str, int] = Map("balances")
total: Value[int] = Value("total", 0)


@export
def mint(to: str, amount: int) -> None:
    """Makes money."""
    total.set(total.get() + amount)
    balances[to] = balances.get(to, 0) + amount
    emit("Minted", to=to, amount=amount)


@export
def pay(to: str, amount: int) -> int:
    left = balances.get(ctx.caller, 0) - amount
    balances[ctx.caller] = left
    balances[to] = balances.get(to, 0) + amount
    emit("Paid", source=ctx.caller, to=to, amount=amount)
    require(left >= 0, "POOR")
    return left


@view
def balance(account: str) -> int:
    return balances.get(account, 0)


@view
def who() -> tuple[str, str, str, int, int]:
    return (ctx.sender, ctx.caller, ctx.contract, ctx.height, ctx.time_ms)


@view
def spin(turns: int) -> int:
    x = 0
    i = 0
    while i < turns:
        i += 1
        x = x + i
    return x
'''
SHOP = b"""from contracts.host import Map, Value, call, ctx, emit, export, require, view

sold: Value[int] = Value("sold", 0)


@export
def buy(amount: int) -> int:
    sold.set(sold.get() + 1)
    emit("Sale", amount=amount)
    left: int = call("token", "pay", "till", amount)
    require(left != 7, "UNLUCKY")
    return left


@export
def bounce(contract: str, function: str) -> None:
    call(contract, function, "shop", "buy")


@export
def go(contract: str, function: str) -> None:
    call(contract, function, 1)


@view
def ask() -> tuple[str, str, str, int, int]:
    found: tuple[str, str, str, int, int] = call("token", "who")
    return found


@view
def sneaky() -> None:
    call("token", "mint", "shop", 5)


@view
def spin_there(turns: int) -> int:
    found: int = call("token", "spin", turns)
    return found
"""
ALICE = "a" * 40


class Chain:
    """State in a dict, and a runtime on it."""

    def __init__(self) -> None:
        self.state: dict[bytes, bytes] = {}
        self.reads: list[bytes] = []
        self.runtime = MeteredRuntime()
        self.deploy("token", TOKEN)
        self.deploy("shop", SHOP)

    def get(self, key: bytes, /) -> bytes | None:
        self.reads.append(key)
        return self.state.get(key)

    def deploy(self, name: str, source: bytes, version: int = 1, paused_until: int = 0) -> None:
        self.state |= deploy_writes(name, source, version, paused_until)

    def run(
        self,
        contract: str,
        function: str,
        *args: Any,
        gas: int = 1_000_000,
        read_only: bool = False,
        raw: bytes | None = None,
        keep: bool = True,
    ) -> Outcome:
        data = encode(args) if raw is None else raw
        call = Call(contract, function, data, ALICE, 7, 7_000, read_only)
        outcome = self.runtime.execute(call, self, gas)
        for key, value in outcome.writes.items() if keep else ():
            if value is None:
                del self.state[key]
            else:
                self.state[key] = value
        return outcome


@pytest.fixture
def chain() -> Chain:
    chain = Chain()
    assert chain.run("token", "mint", ALICE, 100).ok
    return chain


def test_a_call_gives_its_result_writes_and_events(chain: Chain) -> None:
    outcome = chain.run("token", "pay", "bob", 30)
    assert (outcome.ok, outcome.code, decode(outcome.result)) == (True, "", 70)
    assert outcome.writes == {
        state_key("token", "balances", ALICE): encode(70),
        state_key("token", "balances", "bob"): encode(30),
    }
    assert [(event.contract, event.name, decode(event.fields)) for event in outcome.events] == [
        ("token", "Paid", {"amount": 30, "source": ALICE, "to": "bob"})
    ]


def test_a_refusal_reverts_everything(chain: Chain) -> None:
    outcome = chain.run("token", "pay", "bob", 101)
    assert (outcome.ok, outcome.code, outcome.writes, outcome.events) == (False, "POOR", {}, ())


def test_a_refusal_after_a_call_reverts_both_contracts(chain: Chain) -> None:
    chain.run("token", "mint", "shop", 8)
    outcome = chain.run("shop", "buy", 1)
    assert (outcome.code, outcome.writes, outcome.events) == ("UNLUCKY", {}, ())
    assert decode(chain.run("token", "balance", "shop").result) == 8


def test_the_callees_refusal_is_the_callers(chain: Chain) -> None:
    outcome = chain.run("shop", "buy", 1)
    assert (outcome.code, outcome.writes, outcome.events) == ("POOR", {}, ())


def test_a_called_contract_sees_its_caller_and_the_sender(chain: Chain) -> None:
    assert decode(chain.run("shop", "ask").result) == [ALICE, "shop", "token", 7, 7_000]
    assert decode(chain.run("token", "who").result) == [ALICE, ALICE, "token", 7, 7_000]


def test_every_smaller_gas_limit_is_out_of_gas_and_changes_nothing(chain: Chain) -> None:
    chain.run("token", "mint", "shop", 50)
    needed = chain.run("shop", "buy", 1, keep=False).gas_used
    assert chain.run("shop", "buy", 1, gas=needed, keep=False).gas_used == needed
    for limit in [*range(0, needed, 97), needed - 1]:
        outcome = chain.run("shop", "buy", 1, gas=limit)
        assert (outcome.ok, outcome.code, outcome.gas_used) == (False, "OUT_OF_GAS", limit)
        assert (outcome.writes, outcome.events) == ({}, ())


def test_gas_is_one_counter_over_all_contracts(chain: Chain) -> None:
    near = chain.run("token", "spin", 1_000).gas_used - chain.run("token", "spin", 900).gas_used
    far = chain.run("shop", "spin_there", 1_000).gas_used - chain.run("shop", "spin_there", 900).gas_used
    assert near == far > 0


def test_gas_grows_with_the_turns_of_a_loop_and_not_with_the_history(chain: Chain) -> None:
    used = [chain.run("token", "spin", turns).gas_used for turns in (40, 80, 120)]
    assert used[2] - used[1] == used[1] - used[0] > 50
    assert Chain().run("token", "spin", 40).gas_used == used[0]


@pytest.mark.parametrize(
    ("contract", "function", "args", "code"),
    [
        ("nobody", "pay", (), "UNKNOWN_CONTRACT"),
        ("caf\u00e9", "pay", (), "UNKNOWN_CONTRACT"),
        ("", "pay", (), "UNKNOWN_CONTRACT"),
        ("token", "nothing", (), "UNKNOWN_FUNCTION"),
        ("token", "__init__", (), "UNKNOWN_FUNCTION"),
        ("token", "pay", (), "BAD_ARGUMENTS"),
        ("token", "pay", ("bob",), "BAD_ARGUMENTS"),
        ("token", "pay", ("bob", 1, 2), "BAD_ARGUMENTS"),
        ("token", "pay", (1, 1), "BAD_ARGUMENTS"),
        ("token", "pay", ("bob", "1"), "BAD_ARGUMENTS"),
        ("token", "pay", ("bob", True), "BAD_ARGUMENTS"),
        ("token", "pay", ("bob", None), "BAD_ARGUMENTS"),
        ("token", "pay", ("b" * 5_000, 1), "BAD_ARGUMENTS"),
        ("shop", "bounce", ("shop", "buy"), "REENTRANT"),
        ("shop", "go", ("token", "nothing"), "UNKNOWN_FUNCTION"),
        ("shop", "go", ("token", "pay"), "BAD_ARGUMENTS"),
        ("shop", "sneaky", (), "READ_ONLY"),
    ],
)
def test_a_wrong_call_has_its_own_code(
    chain: Chain, contract: str, function: str, args: tuple[Any, ...], code: str
) -> None:
    outcome = chain.run(contract, function, *args)
    assert (outcome.ok, outcome.code, outcome.writes) == (False, code, {})


@pytest.mark.parametrize(
    "raw", [b"", b"\xc1", b"\x01", b"\x92\xa3bob", b"\x92\xa3bob\xcb" + bytes(8), b"\xdd\xff\xff\xff\xff"]
)
def test_malformed_arguments_are_bad_arguments(chain: Chain, raw: bytes) -> None:
    assert chain.run("token", "pay", raw=raw).code == "BAD_ARGUMENTS"


def test_a_query_may_call_views_only(chain: Chain) -> None:
    assert chain.run("token", "balance", ALICE, read_only=True).ok
    assert chain.run("token", "pay", "bob", 1, read_only=True).code == "READ_ONLY"


def test_a_paused_contract_answers_paused_until_its_height(chain: Chain) -> None:
    chain.deploy("token", TOKEN, paused_until=8)
    assert chain.run("token", "pay", "bob", 1).code == "PAUSED"
    assert chain.run("shop", "buy", 1).code == "PAUSED"
    chain.deploy("token", TOKEN, paused_until=7)
    assert chain.run("token", "pay", "bob", 1).ok


def test_an_upgrade_takes_effect_at_once_and_keeps_the_state(chain: Chain) -> None:
    chain.deploy(
        "token", TOKEN.replace(b"return balances.get(account, 0)", b"return -balances.get(account, 0)"), version=2
    )
    assert decode(chain.run("token", "balance", ALICE).result) == -100
    found = deployed(chain, "token")
    assert found is not None
    assert found[0] == 2


def test_the_code_is_among_what_was_read(chain: Chain) -> None:
    chain.reads.clear()
    chain.run("shop", "ask")
    assert b"$code/shop" in chain.reads
    assert b"$code/token" in chain.reads


def test_missing_source_is_a_fault_of_ours_and_no_receipt() -> None:
    chain = Chain()
    found = deployed(chain, "token")
    assert found is not None
    other = Chain()
    other.state = dict(deploy_writes("token", TOKEN + b"# another\n"))
    other.state[source_key(next(iter(other.state)))] = b""
    del other.state[next(key for key in other.state if key.startswith(b"$source/") and other.state[key])]
    other.runtime = MeteredRuntime()
    from contracts.runtime import machine

    machine._compiled.clear()
    with pytest.raises(RuntimeFault):
        other.run("token", "balance", ALICE)


def test_the_chain_lists_its_contracts_and_their_interfaces(chain: Chain) -> None:
    chain.state |= contracts_writes(["token", "shop"])
    assert list_contracts(chain) == ["shop", "token"]
    abi = deployed_abi(chain, "token")
    assert abi is not None
    assert abi[0].name == "mint"
    assert abi[0].params == (("to", "str"), ("amount", "int"))
    assert (abi[0].view, abi[0].returns, abi[0].doc) == (False, "None", "Makes money.")
    assert deployed_abi(chain, "nobody") is None


def test_a_contract_that_the_checker_refuses_is_not_deployed() -> None:
    with pytest.raises(ValueError, match="IMPORT"):
        deploy_writes("bad", b"import os\n")
    with pytest.raises(ValueError, match="name"):
        deploy_writes("Bad/name", TOKEN)
