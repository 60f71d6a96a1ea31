from __future__ import annotations

import pytest

from tests.contracts.energy.network import ALICE, BOB, DEPOSIT_MICROS, OPERATOR, PEOPLE, STRANGER, Network, refused

MARKET = "market"  # as the immediate caller: a contract's name, which no signer can have


def test_a_transfer_moves_exactly_the_amount(network: Network) -> None:
    network.act(ALICE, "payments", "transfer", BOB, 7)
    assert network.see("payments", "balances", [ALICE, BOB]) == [DEPOSIT_MICROS - 7, DEPOSIT_MICROS + 7]
    assert network.events("Transferred")[-1] == {"source": ALICE, "to": BOB, "amount_micros": 7}


@pytest.mark.parametrize(
    ("to", "amount", "code"),
    [
        (BOB, 0, "AMOUNT_NOT_POSITIVE"),
        (BOB, -1, "AMOUNT_NOT_POSITIVE"),
        (BOB, DEPOSIT_MICROS + 1, "INSUFFICIENT_BALANCE"),
        (ALICE, 1, "SELF_TRANSFER"),
        ("bob", 1, "NOT_AN_ACCOUNT"),
    ],
)
def test_a_transfer_that_does_not_fit_is_refused(network: Network, to: str, amount: int, code: str) -> None:
    with refused(code):
        network.act(ALICE, "payments", "transfer", to, amount)
    assert network.balance(ALICE) == DEPOSIT_MICROS


def test_supply_counts_what_was_minted_and_burned(network: Network) -> None:
    network.act(OPERATOR, "payments", "burn", ALICE, 1_000, "withdrawal 1")
    assert network.see("payments", "supply") == (DEPOSIT_MICROS * len(PEOPLE), 1_000)
    assert network.balance(ALICE) == DEPOSIT_MICROS - 1_000
    assert network.events("Burned")[-1]["reference"] == "withdrawal 1"


@pytest.mark.parametrize(
    ("amount", "reference", "code"),
    [(10**18 + 1, "", "AMOUNT_TOO_LARGE"), (0, "", "AMOUNT_NOT_POSITIVE"), (1, "x" * 129, "REFERENCE_TOO_LONG")],
)
def test_a_deposit_or_withdrawal_that_does_not_fit_is_refused(
    network: Network, amount: int, reference: str, code: str
) -> None:
    for function in ("mint", "burn"):
        with refused(code):
            network.act(OPERATOR, "payments", function, ALICE, amount, reference)


def test_a_credit_line_lets_a_balance_fall_to_its_limit_and_no_further(network: Network) -> None:
    network.act(OPERATOR, "payments", "set_credit_limit", ALICE, 500)
    network.act(ALICE, "payments", "transfer", BOB, DEPOSIT_MICROS + 500)
    assert network.balance(ALICE) == -500
    with refused("INSUFFICIENT_BALANCE"):
        network.act(ALICE, "payments", "transfer", BOB, 1)
    with refused("LIMIT_BELOW_DRAW"):
        network.act(OPERATOR, "payments", "set_credit_limit", ALICE, 499)


def test_credit_cannot_be_withdrawn(network: Network) -> None:
    network.act(OPERATOR, "payments", "set_credit_limit", ALICE, 500)
    with refused("INSUFFICIENT_BALANCE"):
        network.act(OPERATOR, "payments", "burn", ALICE, DEPOSIT_MICROS + 1, "withdrawal")


def test_a_contract_s_account_is_never_an_address_or_a_fund(network: Network) -> None:
    for name in (ALICE, "", "neutrality"):
        with refused("NOT_A_CONTRACT_NAME"):
            network.act(OPERATOR, "payments", "allow_contract", name)
    with refused("CONTRACT_ALLOWED"):
        network.act(OPERATOR, "payments", "allow_contract", "market")


def test_a_hold_sets_money_aside_until_it_is_captured_or_released(network: Network) -> None:
    hold_id = network.act(MARKET, "payments", "hold", ALICE, 100)
    assert network.balance(ALICE) == DEPOSIT_MICROS - 100
    assert network.see("payments", "held", ALICE) == 100
    network.act(MARKET, "payments", "capture", hold_id, BOB, 30)
    network.act(MARKET, "payments", "release", hold_id, 20)
    assert tuple(network.see("payments", "held_by", hold_id)) == (ALICE, MARKET, 50)
    network.act(MARKET, "payments", "release_all", hold_id)
    assert network.see("payments", "held_by", hold_id) is None
    assert network.see("payments", "balances", [ALICE, BOB]) == [DEPOSIT_MICROS - 30, DEPOSIT_MICROS + 30]
    assert network.see("payments", "helds", [ALICE, BOB]) == [0, 0]
    assert network.money_residual() == 0


def test_many_holds_of_one_account_are_set_aside_at_once_or_not_at_all(network: Network) -> None:
    for amounts, code in (([10, 0], "AMOUNT_NOT_POSITIVE"), ([DEPOSIT_MICROS, 1], "INSUFFICIENT_BALANCE")):
        with refused(code):
            network.act(MARKET, "payments", "hold_each", ALICE, amounts)
    first, second = network.act(MARKET, "payments", "hold_each", ALICE, [10, 32])
    assert [tuple(network.see("payments", "held_by", one)) for one in (first, second)] == [
        (ALICE, MARKET, 10),
        (ALICE, MARKET, 32),
    ]
    assert network.see("payments", "held", ALICE) == 42
    assert network.balance(ALICE) == DEPOSIT_MICROS - 42
    assert network.act(MARKET, "payments", "hold", ALICE, 1) == second + 1


def test_a_hold_yields_no_more_than_it_holds_and_only_to_its_contract(network: Network) -> None:
    hold_id = network.act(MARKET, "payments", "hold", ALICE, 100)
    with refused("HOLD_TOO_SMALL"):
        network.act(MARKET, "payments", "capture", hold_id, BOB, 101)
    with refused("HOLD_TOO_SMALL"):
        network.act(MARKET, "payments", "settle_holds", [(hold_id, 101)], [(BOB, 101)])
    for function, args in (("capture", (hold_id, BOB, 1)), ("release", (hold_id, 1)), ("release_all", (hold_id,))):
        with refused("NOT_YOUR_HOLD"):
            network.act("imbalance", "payments", function, *args)
    with refused("NOT_YOUR_HOLD"):
        network.act("imbalance", "payments", "settle_holds", [(hold_id, 1)], [(BOB, 1)])
    network.act(MARKET, "payments", "release_all", hold_id)
    with refused("UNKNOWN_HOLD"):
        network.act(MARKET, "payments", "release_all", hold_id)


def test_ending_many_holds_pays_the_credits_and_gives_the_rest_back(network: Network) -> None:
    first = network.act(MARKET, "payments", "hold", ALICE, 100)
    second = network.act(MARKET, "payments", "hold", ALICE, 50)
    with refused("UNBALANCED"):
        network.act(MARKET, "payments", "settle_holds", [(first, 60), (second, 0)], [(BOB, 59)])
    with refused("UNKNOWN_HOLD"):
        network.act(MARKET, "payments", "settle_holds", [(first, 30), (first, 30)], [(BOB, 60)])
    with refused("HOLD_TOO_SMALL"):
        network.act(MARKET, "payments", "settle_holds", [(first, 60), (second, -1)], [(BOB, 59)])
    network.act(MARKET, "payments", "settle_holds", [(first, 60), (second, 0)], [(BOB, 60)])
    assert network.see("payments", "balances", [ALICE, BOB]) == [DEPOSIT_MICROS - 60, DEPOSIT_MICROS + 60]
    assert network.see("payments", "held", ALICE) == 0


def test_a_charge_takes_what_a_debtor_has_and_reports_the_rest(network: Network) -> None:
    network.act(OPERATOR, "payments", "set_credit_limit", ALICE, 10)
    rows = [(ALICE, -(DEPOSIT_MICROS + 25)), (BOB, 40), (STRANGER, -5)]
    assert network.act("imbalance", "payments", "charge", rows, "neutrality") == [15, 0, 5]
    assert network.see("payments", "balances", [ALICE, BOB, STRANGER]) == [-10, DEPOSIT_MICROS + 40, 0]
    assert network.balance("neutrality") == DEPOSIT_MICROS + 10 - 40
    assert network.money_residual() == 0


def test_a_charge_beyond_the_counterparty_s_credit_is_refused(network: Network) -> None:
    network.act(OPERATOR, "payments", "set_credit_limit", "neutrality", 39)
    with refused("INSUFFICIENT_BALANCE"):
        network.act("imbalance", "payments", "charge", [(BOB, 40)], "neutrality")
    with refused("SELF_TRANSFER"):
        network.act("imbalance", "payments", "charge", [("neutrality", 40)], "neutrality")


def test_authority_is_the_immediate_caller_s_so_a_contract_cannot_spend_its_caller_s_money(network: Network) -> None:
    network.world.deploy(
        "trap",
        "from contracts.host import call, export\n\n\n"
        "@export\ndef free_money(to: str) -> None:\n"
        '    call("payments", "transfer", to, 1_000)\n',
    )
    with refused("INSUFFICIENT_BALANCE"):
        network.act(ALICE, "trap", "free_money", BOB)
    assert network.balance(ALICE) == DEPOSIT_MICROS
