"""Who takes part in a benchmark: keys drawn from a number, and the genesis calls that give everyone what the load needs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from hashlib import sha256

from chain.genesis import GenesisCall
from devnet.bench.options import Workload
from gridbft.wallet import Wallet

SENDERS = 200_000
"""At most so many accounts have a key. The rest of a large network hold money and receive: what the state tree costs
depends on how many there are, and a run does not send from more."""
START_MICROS = 100_000_000
METER_OPERATORS = 16
FUNDED_AT_ONCE = 1_000
METER_RATING_W = 10_000
ROSTER = 1  # with all meters
ENLISTED_AT_ONCE = 4_096
_DOMAIN = b"gridbft/bench/account/v1\x00"


def secret(number: int) -> bytes:
    return sha256(_DOMAIN + number.to_bytes(8, "big")).digest()


@lru_cache(maxsize=SENDERS)
def wallet(number: int) -> Wallet:
    """The key of an account with number < SENDERS."""
    return Wallet.from_seed(secret(number), f"account-{number}")


def account(number: int) -> str:
    """An address (40 hex characters)."""
    return wallet(number).address if number < SENDERS else secret(number)[:20].hex()


@lru_cache
def meter_operator(number: int) -> Wallet:
    return Wallet.from_seed(secret(2**63 + number), f"meter-operator-{number}")


@lru_cache
def operator(number: int) -> Wallet:
    """Closes the gates of the products."""
    return Wallet.from_seed(secret(2**62 + number), f"operator-{number}")


def meter(number: int) -> str:
    return f"bench-meter-{number:07d}"


def genesis_calls(workload: Workload, accounts: int) -> Iterator[GenesisCall]:
    """Money for everybody, minted so that the supply is right; participants and meters where the load needs them."""
    yield GenesisCall("payments", "allow_contract", ("genesis",))
    yield GenesisCall("payments", "mint", ("neutrality", START_MICROS * accounts, "bench"))
    for start in range(0, accounts, FUNDED_AT_ONCE):
        rows = [[account(n), START_MICROS] for n in range(start, min(start + FUNDED_AT_ONCE, accounts))]
        yield GenesisCall("payments", "charge", (rows, "neutrality"))
    if workload == "transfer":
        return
    yield GenesisCall("registry", "grant", (operator(0).address, "OPERATOR"))
    for number in range(accounts):
        yield GenesisCall("registry", "register_participant", (account(number), f"Account {number}", ""))
    if workload == "meter":
        for number in range(accounts):
            arguments = (meter(number), account(number), "pv", "bus 1", METER_RATING_W)
            yield GenesisCall("registry", "register_meter", arguments)
        for number in range(METER_OPERATORS):
            yield GenesisCall("registry", "grant", (meter_operator(number).address, "METER_OPERATOR"))
        yield GenesisCall("rosters", "open_roster", ())
        for start in range(0, accounts, ENLISTED_AT_ONCE):
            meters = [meter(number) for number in range(start, min(start + ENLISTED_AT_ONCE, accounts))]
            yield GenesisCall("rosters", "enlist", (ROSTER, meters))
