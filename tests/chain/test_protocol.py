"""New rules begin where governance says, for everybody at once; who does not know them stops and keeps what it has."""

from __future__ import annotations

import dataclasses

import pytest

from chain.block import Block, make_block
from chain.ledger import Ledger
from chain.protocol import Protocol, UnknownProtocolError, decode_protocol, encode_protocol
from chain.wire import encode_commit
from contracts.runtime.codec import decode, encode
from contracts.runtime.engine import MeteredRuntime
from node.ed25519 import verify
from tests.chain.network import Chain, call, genesis
from tests.chain.test_governance import decide

NEW_FROM = 5


def reopened(c: Chain, *protocols: int) -> Ledger:
    return Ledger(c.kv, MeteredRuntime(), c.genesis, verify, frozenset(protocols))


def chain(*protocols: int) -> Chain:
    c = Chain(genesis(contracts=()))
    c.ledger = reopened(c, *protocols)
    return c


def of_version(block: Block, version: int) -> Block:
    header = dataclasses.replace(block.header, version=version)
    commit = block.last_commit
    return make_block(header, block.txs, (), encode_commit(commit) if commit else b"", commit)


def protocol_of(c: Chain) -> dict[str, int]:
    outcome, _ = c.ledger.query("governance", "protocol", encode([]), "", 10**6)
    return dict(decode(outcome.result))


def test_a_block_of_a_version_not_in_force_is_refused_and_at_the_governed_height_the_new_one_is_required() -> None:
    c = chain(1, 2)
    assert decide(c, call("governance", "propose_protocol", 2, NEW_FROM)) == [(True, "")] * 3
    while c.ledger.head.height < NEW_FROM + 2:
        height = c.ledger.head.height + 1
        wanted = 2 if height >= NEW_FROM else 1
        good = c.propose()
        assert good.header.version == wanted
        assert c.ledger.fault(good) is None
        assert c.ledger.fault(of_version(good, 3 - wanted)) == "the header's version is not the expected one"
        c.grow()


def test_a_program_that_does_not_know_the_new_rules_stops_before_them_and_a_newer_one_goes_on() -> None:
    c = chain(1)
    decide(c, call("governance", "propose_protocol", 2, NEW_FROM))
    assert c.ledger.system.protocol.required(frozenset({1})) == (2, NEW_FROM)
    assert c.ledger.system.protocol.required(frozenset({1, 2})) is None
    while c.ledger.head.height < NEW_FROM - 2:
        c.grow()
    with pytest.raises(UnknownProtocolError, match=f"from height {NEW_FROM} on .* version 2 .* knows up to 1: install"):
        c.grow()
    assert c.ledger.head.height == NEW_FROM - 1  # what was decided is kept
    with pytest.raises(UnknownProtocolError):
        reopened(c, 1)
    c.ledger = reopened(c, 1, 2)
    c.grow()
    assert c.ledger.head.height == NEW_FROM


def test_a_change_that_has_not_begun_can_be_taken_back_or_moved() -> None:
    c = chain(1)
    decide(c, call("governance", "propose_protocol", 2, 3))
    moved = c.tx("v0", call("governance", "propose_protocol", 2, 100))
    votes = [c.tx(v, call("governance", "vote", 2, True)) for v in ("v1", "v2")]
    assert c.grow(moved, *votes) == [(True, "")] * 3
    assert protocol_of(c) == {"version": 1, "next_version": 2, "next_height": 100}
    back = c.tx("v0", call("governance", "propose_protocol", 2, 0))
    votes = [c.tx(v, call("governance", "vote", 3, True)) for v in ("v1", "v2")]
    assert c.grow(back, *votes) == [(True, "")] * 3
    assert protocol_of(c) == {"version": 1, "next_version": 1, "next_height": 0}
    for _ in range(3):
        c.grow()
    assert c.ledger.head.height > 3


@pytest.mark.parametrize(
    ("version", "height", "code"),
    [(3, 50, "NOT_THE_NEXT_VERSION"), (1, 50, "NOT_THE_NEXT_VERSION"), (2, 1, "HEIGHT_IN_THE_PAST")],
)
def test_versions_follow_one_another_and_begin_in_the_future(version: int, height: int, code: str) -> None:
    c = chain(1, 2)
    assert c.grow(c.tx("v0", call("governance", "propose_protocol", version, height))) == [(False, code)]


def test_after_a_change_the_next_version_follows_from_there() -> None:
    c = chain(1, 2, 3)
    decide(c, call("governance", "propose_protocol", 2, 3))
    while c.ledger.head.height < 4:
        c.grow()
    proposal = c.tx("v0", call("governance", "propose_protocol", 3, 8))
    assert c.grow(proposal, *[c.tx(v, call("governance", "vote", 2, True)) for v in ("v1", "v2")])[0] == (True, "")
    versions = []
    while c.ledger.head.height < 9:
        versions.append(c.propose().header.version)
        c.grow()
    assert versions == [2, 2, 3, 3]  # heights 6 to 9


def test_a_record_survives_its_encoding_and_none_is_the_first_version() -> None:
    protocol = Protocol(2, 3, 77)
    assert decode_protocol(encode_protocol(protocol)) == protocol
    assert decode_protocol(None).at(10**9) == 1
