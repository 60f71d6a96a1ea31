"""Members, power, parameters and halting: voted by validators, in force when and as promised."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain import governance
from chain.genesis import ChainParams
from chain.system import read_members
from chain.tx import TxCall
from consensus.types import Round
from contracts.runtime.codec import decode, encode
from tests.chain.network import Chain, call, genesis
from tests.chain.txs import key_of


def chain(params: ChainParams = ChainParams()) -> Chain:
    return Chain(genesis(params, contracts=()))


def propose_member(name: str, power: int) -> TxCall:
    return call(
        "governance", "propose_member", key_of(name).verify_key.encode().hex(), name, "utility", power, "h:1", ""
    )


def vote(proposal_id: int, approve: bool = True) -> TxCall:
    return call("governance", "vote", proposal_id, approve)


def decide(c: Chain, proposal: TxCall, voters: tuple[str, ...] = ("v1", "v2")) -> list[tuple[bool, str]]:
    """v0 proposes, `voters` approve, in one block."""
    return c.grow(c.tx("v0", proposal), *[c.tx(v, vote(next_id(c))) for v in voters])


def next_id(c: Chain) -> int:
    proposals = decode(c.ledger.query("governance", "proposals", encode([1, 100]), "", 10**6)[0].result)
    return len(proposals) + 1


def names(c: Chain) -> list[str]:
    return sorted(v.name for v in c.ledger.system.validators.validators)


def test_a_validator_that_is_voted_in_at_height_h_decides_from_h_plus_2_on() -> None:
    c = chain()
    assert decide(c, propose_member("v4", 3)) == [(True, ""), (True, ""), (True, "")]
    assert names(c) == ["v0", "v1", "v2", "v3"]  # decides height 2
    assert c.ledger.system.next_validators.total_power == 7
    c.grow()
    assert names(c) == ["v0", "v1", "v2", "v3", "v4"]  # decides height 3
    c.grow()
    assert [m.name for m in read_members(c.ledger.view) if m.name == "v4"] == ["v4"]


TEXTS = st.one_of(
    st.sampled_from(["", "é", "bänk", "registry", "payments", "governance", "genesis", "a/b", "0" * 64, "é" * 32]),
    st.text(max_size=12),
)
NUMBERS = st.one_of(st.integers(0, 3), st.integers(-1, 2**64 - 1), st.just(2**255 - 1))
VALUES: dict[str, st.SearchStrategy[object]] = {"str": TEXTS, "int": NUMBERS, "bool": st.booleans()}
WELL_TYPED = st.sampled_from(governance.ABI).flatmap(
    lambda f: st.tuples(st.just(f.name), st.tuples(*[VALUES[kind] for _, kind in f.params]))
)


@settings(max_examples=150, deadline=None)
@given(st.lists(WELL_TYPED, min_size=1, max_size=8))
def test_whatever_a_validator_proposes_no_node_stops_for_it(calls: list[tuple[str, tuple[object, ...]]]) -> None:
    """A name outside ASCII once raised in every node that executed the block: one validator could end the chain."""
    c = chain()
    txs = [c.tx("v0", TxCall("governance", name, encode(list(args)))) for name, args in calls]
    assert all(ok or code for ok, code in c.grow(*txs))


@pytest.mark.parametrize("proposal", ["propose_pause", "propose_emergency_pause", "propose_resume"])
def test_a_pause_of_a_name_outside_ascii_is_refused(proposal: str) -> None:
    assert chain().grow(chain().tx("v0", call("governance", proposal, "é"))) == [(False, "UNKNOWN_CONTRACT")]


def test_code_under_a_name_outside_ascii_is_refused() -> None:
    c = chain()
    deploy = c.tx("v0", call("governance", "propose_deploy", "é", "x = 1", 0))
    upgrade = c.tx("v0", call("governance", "propose_upgrade", "é", "x = 1", 0))
    assert c.grow(deploy, upgrade) == [(False, "BAD_SOURCE"), (False, "UNKNOWN_CONTRACT")]


def test_a_set_that_no_header_could_carry_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder refuses larger sets, so a vote for one would have stopped every node at the end of its block."""
    monkeypatch.setattr(governance, "MAX_VALIDATORS", 4)
    c = chain()
    assert c.grow(c.tx("v0", propose_member("v4", 1))) == [(False, "TOO_MANY_VALIDATORS")]
    assert c.grow(c.tx("v0", propose_member("v3", 7))) == [(True, "")]


def test_two_thirds_are_not_enough_and_one_more_is() -> None:
    c = chain()
    c.grow(c.tx("v0", propose_member("v4", 1)), c.tx("v1", vote(1)))
    assert c.ledger.system.next_validators.total_power == 4
    c.grow(c.tx("v2", vote(1)))
    assert c.ledger.system.next_validators.total_power == 5


def test_more_than_a_third_against_ends_a_proposal() -> None:
    c = chain()
    c.grow(c.tx("v0", propose_member("v4", 1)), c.tx("v1", vote(1, False)), c.tx("v2", vote(1, False)))
    assert c.grow(c.tx("v3", vote(1))) == [(False, "PROPOSAL_CLOSED")]


def test_who_is_no_validator_neither_proposes_nor_votes() -> None:
    c = chain()
    assert c.grow(c.tx("alice", propose_member("alice", 1))) == [(False, "NOT_A_VALIDATOR")]
    c.grow(c.tx("v0", propose_member("v4", 1)))
    assert c.grow(c.tx("alice", vote(1))) == [(False, "NOT_A_VALIDATOR")]


def test_a_removed_proposer_no_longer_has_a_turn() -> None:
    c = chain()
    gone = c.ledger.system.turns.proposer(Round(0))
    name = next(v.name for v in c.ledger.system.validators.validators if v.id == gone)
    others = tuple(v for v in ("v0", "v1", "v2", "v3") if v != name)
    removal = call("governance", "propose_removal", key_of(name).verify_key.encode().hex())
    c.grow(c.tx(others[0], removal), *[c.tx(v, vote(1)) for v in others[1:]])
    c.grow()
    for _ in range(4):
        assert gone not in c.ledger.system.turns.order
        c.grow()


def test_power_can_shift_so_that_one_alone_is_a_quorum_and_back() -> None:
    c = chain()
    decide(c, propose_member("v3", 100))
    c.grow()
    assert c.ledger.system.validators.is_quorum(100)
    c.grow(c.tx("v3", propose_member("v3", 1)))
    c.grow()
    assert c.ledger.system.validators.total_power == 4


def test_the_last_validator_cannot_be_removed() -> None:
    c = chain()
    for i, name in enumerate(("v1", "v2", "v3")):
        removal = call("governance", "propose_removal", key_of(name).verify_key.encode().hex())
        voters = [v for v in ("v0", "v1", "v2", "v3") if v != "v0" and v in names(c)]
        c.grow(c.tx("v0", removal), *[c.tx(v, vote(i + 1)) for v in voters])
        c.grow()
        c.grow()
    assert names(c) == ["v0"]
    removal = call("governance", "propose_removal", key_of("v0").verify_key.encode().hex())
    assert c.grow(c.tx("v0", removal)) == [(False, "NO_VALIDATORS_LEFT")]


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("max_block_bytes", 0, "PARAMETER_OUT_OF_BOUNDS"),
        ("no_such", 1, "UNKNOWN_PARAMETER"),
        ("precision_ms", 2**62, "PARAMETER_OUT_OF_BOUNDS"),
        ("precision_ms", 1, "PARAMETER_OUT_OF_BOUNDS"),
        ("message_delay_ms", 1, "PARAMETER_OUT_OF_BOUNDS"),
    ],
)
def test_a_parameter_that_would_stop_the_chain_is_refused(name: str, value: int, code: str) -> None:
    c = chain()
    assert decide(c, call("governance", "propose_parameter", name, value))[0] == (False, code)


def test_a_parameter_changes_for_the_next_block() -> None:
    c = chain()
    decide(c, call("governance", "propose_parameter", "max_block_transactions", 3))
    assert c.ledger.system.params.max_block_transactions == 3
    block = c.propose(*[c.tx("alice", vote(1)) for _ in range(4)])
    assert "transactions" in (c.ledger.fault(block) or "")


def test_after_the_height_of_a_voted_halt_only_governance_goes_on_and_can_lift_it() -> None:
    c = chain()
    code_proposal(c, "deploy", COUNTER)
    decide(c, call("governance", "propose_halt", 3))
    c.grow()
    add = c.tx("alice", call("counter", "add", 1))
    for block in (c.propose(), c.propose(add), c.propose(c.tx("v3", vote(1)), add)):
        assert "halted after height 3" in (c.ledger.fault(block) or "")
    c.nonces["v3"] -= 1
    assert decide(c, call("governance", "propose_halt", 0)) == [(True, ""), (True, ""), (True, "")]
    assert c.grow(add) == [(True, "")]


@pytest.mark.parametrize(
    "args", [[], [1], ["zz", "n", "r", 1, "", ""], ["00" * 31, "n", "r", 1, "", ""], [b"", "n", "r", -1, "", ""]]
)
def test_bad_arguments_are_refused_with_a_code(args: list[object]) -> None:
    c = chain()
    ((ok, code),) = c.grow(c.tx("v0", call("governance", "propose_member", *args)))
    assert not ok
    assert code in {"BAD_ARGUMENTS", "BAD_PUBLIC_KEY"}


COUNTER = """from contracts.host import Value, ctx, emit, export, require, view

total: Value[int] = Value("total", 0)


@export
def add(amount: int) -> None:
    total.set(total.get() + amount)


@view
def count() -> int:
    return total.get()
"""

COUNTER_2 = (
    COUNTER.replace("+ amount", "+ 2 * amount")
    + """

@export
def migrate(old_version: int) -> None:
    require(total.get() < 100, "TOO_MUCH_TO_MIGRATE")
    total.set(total.get() * 10 + old_version)
"""
)


def code_proposal(c: Chain, kind: str, source: str, height: int = 0) -> list[tuple[bool, str]]:
    return decide(c, call("governance", f"propose_{kind}", "counter", source, height))


def count_of(c: Chain) -> int:
    outcome, _ = c.ledger.query("counter", "count", encode([]), "", 10**6)
    assert outcome.ok, outcome.code
    total: int = decode(outcome.result)
    return total


def status_of(c: Chain, proposal_id: int) -> str:
    outcome, _ = c.ledger.query("governance", "proposal", encode([proposal_id]), "", 10**6)
    status: str = decode(outcome.result)["status"]
    return status


def test_a_contract_is_deployed_upgraded_with_its_migration_and_its_version_grows() -> None:
    c = chain()
    code_proposal(c, "deploy", COUNTER)
    assert c.grow(c.tx("alice", call("counter", "add", 3))) == [(True, "")]
    code_proposal(c, "upgrade", COUNTER_2)
    assert count_of(c) == 31
    c.grow(c.tx("alice", call("counter", "add", 3)))
    assert count_of(c) == 37
    (info,) = [i for i in c.ledger.contracts() if i.name == "counter"]
    assert info.version == 2
    assert status_of(c, 2) == "enacted"


def test_what_an_upgrade_took_away_is_unknown_at_the_door_from_then_on() -> None:
    c = chain()
    add = c.tx("alice", call("counter", "add", 1))
    assert c.ledger.unknown_call(add) is not None
    code_proposal(c, "deploy", COUNTER)
    assert c.ledger.unknown_call(add) is None
    code_proposal(c, "upgrade", COUNTER_2.replace("def add", "def increase"))
    assert c.ledger.unknown_call(add) is not None


def test_a_migration_that_fails_keeps_the_old_code_and_says_so() -> None:
    c = chain()
    code_proposal(c, "deploy", COUNTER)
    c.grow(c.tx("alice", call("counter", "add", 100)))
    code_proposal(c, "upgrade", COUNTER_2)
    assert status_of(c, 2) == "failed: TOO_MUCH_TO_MIGRATE"
    c.grow(c.tx("alice", call("counter", "add", 1)))
    assert count_of(c) == 101


def test_code_comes_into_force_after_the_transactions_of_its_effective_height() -> None:
    c = chain()
    code_proposal(c, "deploy", COUNTER, height=2)
    assert status_of(c, 1) == "scheduled"
    assert c.grow(c.tx("alice", call("counter", "add", 1))) == [(False, "UNKNOWN_CONTRACT")]
    assert c.grow(c.tx("alice", call("counter", "add", 1))) == [(True, "")]


def test_nobody_but_governance_runs_a_migration() -> None:
    c = chain()
    code_proposal(c, "deploy", COUNTER_2)
    assert c.grow(c.tx("alice", call("counter", "migrate", 1))) == [(False, "NOT_GOVERNANCE")]


def test_bad_code_an_unknown_contract_and_one_that_exists_are_refused() -> None:
    c = chain()
    assert code_proposal(c, "deploy", "import os")[0] == (False, "BAD_SOURCE")
    assert code_proposal(c, "upgrade", COUNTER)[0] == (False, "UNKNOWN_CONTRACT")
    code_proposal(c, "deploy", COUNTER)
    assert code_proposal(c, "deploy", COUNTER)[0] == (False, "CONTRACT_EXISTS")
    reserved = call("governance", "propose_deploy", "governance", COUNTER, 0)
    assert c.grow(c.tx("v0", reserved)) == [(False, "NAME_RESERVED")]


def test_a_paused_contract_answers_paused_and_changes_nothing_until_it_is_resumed() -> None:
    c = chain()
    code_proposal(c, "deploy", COUNTER)
    decide(c, call("governance", "propose_pause", "counter"))
    assert c.grow(c.tx("alice", call("counter", "add", 1))) == [(False, "PAUSED")]
    decide(c, call("governance", "propose_resume", "counter"))
    assert count_of(c) == 0
    assert c.grow(c.tx("alice", call("counter", "add", 1))) == [(True, "")]


def test_more_than_a_third_pause_in_an_emergency_and_the_pause_ends_by_itself() -> None:
    c = chain()
    code_proposal(c, "deploy", COUNTER)
    decide(c, call("governance", "propose_emergency_pause", "counter"), voters=("v1",))
    assert c.grow(c.tx("alice", call("counter", "add", 1))) == [(False, "PAUSED")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chain.governance.EMERGENCY_HEIGHTS", 2)
        decide(c, call("governance", "propose_emergency_pause", "counter"), voters=("v1",))
    c.grow()
    assert c.grow(c.tx("alice", call("counter", "add", 1))) == [(True, "")]
