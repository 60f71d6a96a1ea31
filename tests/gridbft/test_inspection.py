"""What the chain keeps about itself is read as it was written; what a node makes up is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from chain.evidence import encode_evidence
from chain.system import EVIDENCE_AT, EVIDENCE_COUNT, STANDINGS
from consensus.evidence import double_vote
from consensus.proposer import Standing as Judged
from consensus.proposer import encode_standings
from consensus.types import BlockId, Height, Round, ValidatorId, Vote, VoteKind
from contracts.energy import SOURCES
from contracts.runtime.codec import encode
from contracts.runtime.deploy import deploy_writes
from gridbft.errors import VerificationError
from gridbft.inspection import Ask, Fault, Standing, contract_source, evidence, standings

ONE, TWO = ValidatorId(b"\x01" * 20), ValidatorId(b"\x02" * 20)


def of(state: Mapping[bytes, bytes | None]) -> Ask:
    async def ask(key: bytes) -> bytes | None:
        return state.get(key)

    return ask


def test_standings_are_told_by_address_and_good_ones_are_left_out() -> None:
    raw = encode_standings({ONE: Judged(3, Height(77)), TWO: Judged()})
    assert asyncio.run(standings(of({STANDINGS: raw}))) == {ONE.hex(): Standing(3, 77)}
    assert asyncio.run(standings(of({}))) == {}


def test_evidence_names_who_signed_twice_where_and_what() -> None:
    votes = [Vote(VoteKind.PRECOMMIT, Height(9), Round(1), BlockId(bytes([n]) * 32), ONE, b"\x05" * 64) for n in (1, 2)]
    raw = encode([12, encode_evidence(double_vote(*votes))])
    state = {EVIDENCE_COUNT: (1).to_bytes(8, "big"), EVIDENCE_AT + (0).to_bytes(8, "big"): raw}
    assert asyncio.run(evidence(of(state))) == (Fault(0, 12, ONE.hex(), "precommit", 9, 1),)
    assert asyncio.run(evidence(of({}))) == ()


def test_a_contracts_source_is_the_text_that_was_deployed() -> None:
    found = asyncio.run(contract_source(of(deploy_writes("market", SOURCES["market"], 4, 99)), "market"))
    assert found is not None
    assert (found.text.encode(), found.version, found.paused_until) == (SOURCES["market"], 4, 99)
    assert asyncio.run(contract_source(of({}), "market")) is None
    assert asyncio.run(contract_source(of({}), "m\u00e4rkte")) is None


@pytest.mark.parametrize("raw", [b"", b"\x01", b"nonsense", encode([1])])
def test_what_a_node_makes_up_is_refused(raw: bytes) -> None:
    with pytest.raises(VerificationError):
        asyncio.run(standings(of({STANDINGS: raw})))
    with pytest.raises(VerificationError):
        asyncio.run(evidence(of({EVIDENCE_COUNT: b"\x01", EVIDENCE_AT + bytes(8): raw})))
    with pytest.raises(VerificationError):
        asyncio.run(contract_source(of({b"$code/market": raw}), "market"))
