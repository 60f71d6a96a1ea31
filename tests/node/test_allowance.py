"""Allowances: what is taken is owed, clients take turns, and what is known of them stays bounded."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.allowance import BURST_SECONDS, DEBT_SECONDS, Accounts, Bucket, ClientLimits, Rota
from node.gate import client_of

steps = st.lists(st.tuples(st.floats(0, 5), st.floats(0, 50)), max_size=40)


@given(st.floats(1, 1000), steps)
def test_over_any_time_no_more_is_taken_than_the_rate_and_one_burst_allow(
    rate: float, asked: list[tuple[float, float]]
) -> None:
    """A client that waits whenever it is told to, and never asks for more at once than a debt can be."""
    bucket, now, taken, last = Bucket.full(rate, 0.0), 0.0, 0.0, 0.0
    for pause, count in asked:
        now += pause
        now += bucket.wait_s(now)
        last = min(count, rate * DEBT_SECONDS)
        bucket.take(last, now)
        taken += last
    assert taken - last <= rate * (now + BURST_SECONDS) * (1 + 1e-9) + 1e-6


@given(st.floats(1, 1000), st.floats(0, 10_000), st.floats(0, 1000))
def test_a_debt_is_paid_by_waiting_as_long_as_was_said(rate: float, count: float, start: float) -> None:
    bucket = Bucket.full(rate, start)
    bucket.take(count, start)
    wait = bucket.wait_s(start)
    assert wait <= DEBT_SECONDS * (1 + 1e-9)
    assert (wait > 0) == (count > rate * BURST_SECONDS)
    assert bucket.wait_s(start + wait + 1e-6) == pytest.approx(0, abs=1e-3)


def test_the_limit_that_was_met_is_named() -> None:
    accounts = Accounts(ClientLimits(faults_per_second=1, requests_per_second=10**6))
    account = accounts.of("a", 0.0)
    account.faults.take(12, 0.0)
    assert account.debt(0.0) == (10.0, "faults_per_second")
    account.fine("faults_per_second", 0.0)
    assert account.debt(0.0) == (11.0, "faults_per_second")


def test_one_clients_debt_is_not_anothers() -> None:
    accounts = Accounts(ClientLimits(requests_per_second=1))
    accounts.of("flooder", 0.0).requests.take(1_000, 0.0)
    assert accounts.of("honest", 0.0).debt(0.0)[0] == 0
    assert accounts.of("flooder", 0.0).debt(0.0)[0] == DEBT_SECONDS


@given(st.lists(st.sampled_from("abcdefghij"), max_size=60), st.sets(st.sampled_from("abcdefghij")))
def test_known_clients_are_bounded_and_those_at_work_are_kept(seen: list[str], busy: set[str]) -> None:
    accounts = Accounts(ClientLimits(), most=3)
    first = {}
    for client in sorted(busy):
        first[client] = accounts.of(client, 0.0)
        first[client].calls = 1
    for client in seen:
        accounts.of(client, 0.0)
    assert len(accounts) <= max(3, len(busy) + 1)
    assert all(accounts.of(client, 0.0) is account for client, account in first.items())


@given(st.lists(st.sampled_from("abc"), max_size=40))
def test_work_is_done_once_in_order_and_nobody_waits_for_more_than_one_of_each_other(clients: list[str]) -> None:
    rota: Rota[tuple[str, int]] = Rota()
    for number, client in enumerate(clients):
        rota.add(client, (client, number))
    served: list[tuple[str, int]] = []
    while (work := rota.next()) is not None:
        served.append(work)
    assert sorted(n for _, n in served) == list(range(len(clients)))
    for client in set(clients):
        own = [n for c, n in served if c == client]
        assert own == sorted(own)
        places = [i for i, (c, _) in enumerate(served) if c == client]
        assert all(b - a <= 3 for a, b in pairwise(places))
        assert places[0] < 3


@pytest.mark.parametrize(
    ("peer", "client"),
    [
        ("ipv4:10.1.2.3:4567", "10.1.2.3"),
        ("ipv6:%5B2001:db8:1:2:3:4:5:6%5D:80", "2001:db8:1:2::/64"),
        ("ipv6:[::ffff:10.1.2.3]:80", "10.1.2.3"),
        ("unix:/tmp/x:1", "unix:/tmp/x"),
    ],
)
def test_a_client_is_its_address_without_the_port(peer: str, client: str) -> None:
    assert client_of(peer) == client
