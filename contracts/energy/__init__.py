"""The energy contracts: their source text, the order in which a genesis deploys them, and the calls that set them up."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

# A contract calls only those before it.
DEPLOYMENT_ORDER: tuple[str, ...] = (
    "registry",
    "payments",
    "grid",
    "market",
    "continuous",
    "bilateral",
    "resort",
    "rosters",
    "metering",
    "archive",
    "balancing",
    "imbalance",
    "certificates",
)

# Contracts that may hold, capture, move or charge money.
MONEY_MOVERS = ("market", "continuous", "bilateral", "resort", "balancing", "imbalance", "certificates")

SOURCES: dict[str, bytes] = {name: files(__name__).joinpath(f"{name}.py").read_bytes() for name in DEPLOYMENT_ORDER}

# How far settlements may run ahead of what debtors have paid, in micros. An operator can change it on the chain.
NEUTRALITY_CREDIT_MICROS = 10**15

GenesisCall = tuple[str, str, tuple[Any, ...]]  # contract, function, arguments


def genesis_calls(
    operators: str | Sequence[str], meter_operators: str | Sequence[str], issuers: str | Sequence[str]
) -> list[GenesisCall]:
    """The calls that sender "genesis" makes at height 0: roles, the contracts that may move money, neutrality's credit.

    Each argument is an account (40 hex characters) or several.
    """
    roles = (("OPERATOR", operators), ("METER_OPERATOR", meter_operators), ("ISSUER", issuers))
    calls: list[GenesisCall] = [
        ("registry", "grant", (account, role))
        for role, accounts in roles
        for account in ((accounts,) if isinstance(accounts, str) else accounts)
    ]
    calls += [("payments", "allow_contract", (name,)) for name in MONEY_MOVERS]
    calls.append(("payments", "set_credit_limit", ("neutrality", NEUTRALITY_CREDIT_MICROS)))
    return calls
