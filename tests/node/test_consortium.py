"""A genesis from several organisations: the same whoever builds it, and what is wrong with it is named."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.genesis import ChainParams, Genesis, GenesisCall, GenesisError, Member, dump_genesis, load_genesis
from gridbft.wallet import Wallet
from node.certs import make_tls_identity
from node.consortium import Examined, examine, put_together

NOW = datetime(2026, 1, 31, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1_000)


def _member(number: int, power: int = 1) -> Member:
    wallet = Wallet.from_seed(bytes([number] * 32))
    certificate = make_tls_identity(f"utility-{number}", NOW).certificate
    return Member(f"utility-{number}", "utility", wallet.public_key, power, f"10.0.0.{number}:7201", certificate)


MEMBERS = [_member(number) for number in range(1, 5)]


def _genesis(members: list[Member], calls: tuple[GenesisCall, ...] = ()) -> Genesis:
    return put_together("test", "EUR", NOW_MS, members, ChainParams(), (), calls)


def _faults(found: Examined) -> list[str]:
    return [f.what for f in found.findings if f.is_fault]


@given(st.permutations(MEMBERS))
def test_the_order_of_the_parts_does_not_matter(members: list[Member]) -> None:
    assert dump_genesis(_genesis(members)) == dump_genesis(_genesis(MEMBERS))


def test_a_good_genesis_has_no_findings_and_a_state_root() -> None:
    found = examine(_genesis(MEMBERS), NOW_MS)
    assert found.is_usable
    assert (found.findings, found.faulty_power, len(found.state_root)) == ((), 1, 64)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": "utility-1"}, "utility-1, utility-1 have one name"),
        ({"peer_address": "10.0.0.1:7201"}, "utility-1, utility-2 have one peer address"),
        ({"certificate": MEMBERS[0].certificate}, "utility-1, utility-2 have one certificate"),
        ({"peer_address": "nowhere"}, "utility-2: peer address 'nowhere' is not HOST:PORT"),
        ({"certificate": "x"}, "utility-2: certificate: this text is no PEM certificate"),
        (
            {"certificate": make_tls_identity("old", NOW - timedelta(days=365 * 60)).certificate},
            "utility-2: the certificate is not valid now",
        ),
    ],
)
def test_a_fault_is_named_with_its_member(change: dict[str, str], sentence: str) -> None:
    found = examine(_genesis([MEMBERS[0], replace(MEMBERS[1], **change), *MEMBERS[2:]]), NOW_MS)  # type: ignore[arg-type]
    assert not found.is_usable
    assert any(sentence in fault for fault in _faults(found)), _faults(found)


def test_calls_that_do_not_run_are_a_fault() -> None:
    found = examine(_genesis(MEMBERS, (GenesisCall("nothing", "there", ()),)), NOW_MS)
    assert any("the genesis calls do not run" in fault for fault in _faults(found))


def test_what_operators_should_know_is_a_note_and_no_fault() -> None:
    local = replace(MEMBERS[0], peer_address="127.0.0.1:7201", power=5)
    found = examine(_genesis([local, *MEMBERS[1:3]]), NOW_MS - 1_000)
    notes = " | ".join(f.what for f in found.findings)
    assert found.is_usable
    for what in ("is reached from its own machine only", "has a third of the power or more", "lies in the future"):
        assert what in notes
    assert "tolerate no fault" in " | ".join(f.what for f in examine(_genesis(MEMBERS[:3]), NOW_MS).findings)


def test_a_genesis_survives_its_file() -> None:
    made = _genesis(MEMBERS)
    assert load_genesis(dump_genesis(made)) == made


@pytest.mark.parametrize("text", ['{"time_ms": ' + "9" * 5_000 + "}", "[" * 100_000])
def test_a_genesis_of_numbers_or_brackets_without_end_is_refused(text: str) -> None:
    """The fuzzer's seed 1200158131: Python reads no number of more than 4,300 digits, and says so in its own way."""
    with pytest.raises(GenesisError, match="no JSON of a genesis"):
        load_genesis(text)
