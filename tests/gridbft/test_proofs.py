"""Proof files and the light client, over chains of the production ledger whose validators change."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Generator
from dataclasses import replace
from functools import cache
from hashlib import sha256
from itertools import pairwise
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.block import decode_header
from chain.evidence import HISTORY
from chain.genesis import dump_genesis
from chain.tx import Tx
from chain.wire import encode_commit, encode_validators
from consensus.types import CommitStatus, Power, Validator, ValidatorId, ValidatorSet
from contracts.runtime.codec import decode, encode
from contracts.runtime.keys import state_key
from gridbft.blocking import BlockingClient
from gridbft.client import Client
from gridbft.errors import VerificationError
from gridbft.light import Link, advance
from gridbft.proofs import MAGIC, EventClaim, Proof, StateClaim, decode_proof, encode_proof
from gridbft.trail import Answer, Need, NeedState, Step, find_trail
from gridbft.verify import ProvedEvent, ProvedValue, Trust, Verified, verify
from tests.chain.network import Chain, call, genesis, pay
from tests.chain.txs import address_of, key_of
from tests.gridbft.chain_node import ChainNode

_T = TypeVar("_T")
YEAR_MS = 365 * 24 * 3_600_000


def replace_member(chain: Chain, old: str, new: str, voters: tuple[str, ...]) -> None:
    """`voters` vote `old` out and `new` in; both take effect two heights later."""
    proposals = decode(chain.ledger.query("governance", "proposals", encode([1, 100]), "", 10**6)[0].result)
    for number, (name, power) in enumerate(((new, 1), (old, 0)), len(proposals) + 1):
        key = key_of(name).verify_key.encode().hex()
        first = chain.tx(voters[0], call("governance", "propose_member", key, name, "utility", power, "h:1", ""))
        votes = [chain.tx(v, call("governance", "vote", number, True)) for v in voters[1:]]
        assert {ok for ok, _ in chain.grow(first, *votes)} == {True}
    chain.grow()
    chain.grow()


@cache
def grown() -> tuple[Chain, Tx]:
    """Validators v0 to v3, then two of them replaced, then the other two; the payment comes last."""
    chain = Chain(genesis())
    for name in ("v6", "v7"):
        chain.keys[_address(name)] = key_of(name)
    chain.grow(chain.tx("alice", pay("bob", 1)))
    replace_member(chain, "v0", "v4", ("v1", "v2", "v3"))
    replace_member(chain, "v1", "v5", ("v2", "v3", "v4"))
    replace_member(chain, "v2", "v6", ("v3", "v4", "v5"))
    replace_member(chain, "v3", "v7", ("v4", "v5", "v6"))
    payment = chain.tx("alice", pay("bob", 250))
    chain.grow(payment)
    chain.grow()
    return chain, payment


def _address(name: str) -> bytes:
    return bytes.fromhex(address_of(name))


def trust_of(chain: Chain) -> Trust:
    return Trust.read(dump_genesis(chain.genesis))


def client_of(node: ChainNode) -> BlockingClient:
    return BlockingClient(node.address, trust=trust_of(node.chain))


@cache
def proofs() -> tuple[bytes, bytes, bytes]:
    """One of an event, one of a value, one of an absence; and all verify."""
    chain, payment = grown()
    with ChainNode(chain) as node, client_of(node) as client:
        event = client.prove_event(payment.id, 0)
        value = client.prove_state(state_key("payments", "free", address_of("bob")))
        absence = client.prove_state(state_key("payments", "free", "nobody"))
    return event, value, absence


def checked(proof: bytes) -> Verified:
    return verify(proof, dump_genesis(grown()[0].genesis))


def reason(proof: bytes, **options: int) -> str:
    with pytest.raises(VerificationError) as error:
        verify(proof, dump_genesis(grown()[0].genesis), **options)
    return error.value.reason


# -- what a file shows


def test_an_event_is_proved_after_every_validator_of_the_genesis_is_gone() -> None:
    chain, payment = grown()
    assert {v.name for v in chain.ledger.system.validators.validators} == {"v4", "v5", "v6", "v7"}
    found = checked(proofs()[0])
    assert isinstance(found.claim, ProvedEvent)
    assert (found.claim.tx_id, found.claim.event.name) == (payment.id.hex(), "Transferred")
    assert found.claim.event.fields["amount_micros"] == 250
    assert (found.header_height, found.signed_power, found.total_power) == (found.claim.height + 1, 4, 4)
    assert found.steps > 1


def test_values_and_absences_are_proved() -> None:
    _, value, absence = (checked(p).claim for p in proofs())
    assert isinstance(value, ProvedValue)
    assert isinstance(absence, ProvedValue)
    assert value.value is not None
    assert absence.value is None


# -- what it does not show


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([0, 1, 2]), st.integers(0, 10**9), st.integers(1, 255))
def test_any_changed_byte_is_refused(which: int, at: int, change: int) -> None:
    proof = bytearray(proofs()[which])
    proof[at % len(proof)] ^= change
    assert reason(bytes(proof)) in ("NOT_A_PROOF", "DAMAGED")


@settings(max_examples=400, deadline=None)
@given(st.sampled_from([0, 1, 2]), st.integers(0, 10**9), st.integers(1, 255))
def test_a_forger_who_mends_the_checksum_shows_nothing_else(which: int, at: int, change: int) -> None:
    """Only the size of a list is free, for it is no part of what is claimed; and what shows one key's absence shows that of
    others too."""
    body = bytearray(proofs()[which][:-32])
    body[at % len(body)] ^= change
    try:
        found = checked(bytes(body) + sha256(body).digest())
    except VerificationError:
        return
    if isinstance(found.claim, ProvedValue) and found.claim.value is None:
        assert grown()[0].ledger.view.get(found.claim.key) is None
        found = replace(found, claim=replace(found.claim, key=state_key("payments", "free", "nobody")))
    assert found == checked(proofs()[which])


@given(st.sampled_from([0, 1, 2]), st.integers(0, 10**9))
def test_a_file_that_was_cut_off_is_refused(which: int, at: int) -> None:
    proof = proofs()[which]
    assert reason(proof[: at % len(proof)]) in ("NOT_A_PROOF", "DAMAGED")


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_a_sentence(data: bytes) -> None:
    assert reason(data) == "NOT_A_PROOF"
    body = MAGIC + data
    assert reason(body + sha256(body).digest()) == "MALFORMED"


def test_another_genesis_refuses_the_proof() -> None:
    other = Chain(genesis(contracts=()))
    with pytest.raises(VerificationError, match="WRONG_CHAIN"):
        verify(proofs()[0], dump_genesis(other.genesis))
    with pytest.raises(VerificationError, match="BAD_GENESIS"):
        verify(proofs()[0], "{}")


def test_a_header_from_the_future_is_refused_where_the_time_is_known() -> None:
    time_ms = checked(proofs()[0]).header_time_ms
    assert reason(proofs()[0], now_ms=time_ms - 3_600_000) == "FROM_THE_FUTURE"
    assert verify(proofs()[0], dump_genesis(grown()[0].genesis), now_ms=time_ms + YEAR_MS)


def test_every_step_is_needed() -> None:
    proof = decode_proof(proofs()[0])
    for left_out in range(len(proof.steps)):
        steps = proof.steps[:left_out] + proof.steps[left_out + 1 :]
        assert reason(encode_proof(Proof(proof.chain_id, proof.claim, steps))) in (
            "TOO_FEW_TRUSTED",
            "WRONG_VALIDATORS",
            "BAD_RECEIPT_PROOF",
        )


def test_a_claim_is_bound_to_its_header_and_its_place() -> None:
    event, value, absence = (decode_proof(p) for p in proofs())
    assert isinstance(event.claim, EventClaim)
    assert isinstance(value.claim, StateClaim)
    assert isinstance(absence.claim, StateClaim)
    forged = StateClaim(value.claim.key, b"\x00", value.claim.proof)
    assert reason(encode_proof(Proof(value.chain_id, forged, value.steps))) == "BAD_STATE_PROOF"
    hidden = StateClaim(value.claim.key, None, value.claim.proof)
    assert reason(encode_proof(Proof(value.chain_id, hidden, value.steps))) == "BAD_STATE_PROOF"
    beyond = EventClaim(event.claim.receipt, 7, event.claim.proof)
    assert reason(encode_proof(Proof(event.chain_id, beyond, event.steps))) == "NO_SUCH_EVENT"
    assert reason(encode_proof(Proof(event.chain_id, event.claim, event.steps[:1]))) == "BAD_RECEIPT_PROOF"
    repeated = Step(event.steps[0].link, encode_validators(trust_of(grown()[0]).validators))
    assert reason(encode_proof(Proof(event.chain_id, event.claim, (repeated, *event.steps[1:])))) == "MALFORMED"


def test_a_longer_encoding_of_the_same_proof_is_refused() -> None:
    body = proofs()[1][:-32]
    start = len(MAGIC)
    assert body[start] == 0x94  # a short array of four
    longer = body[:start] + b"\xdc\x00\x04" + body[start + 1 :]
    assert reason(longer + sha256(longer).digest()) == "MALFORMED"


# -- the rules of skipping


def driven(chain: Chain, steps: Generator[Need, Answer, _T]) -> tuple[_T, list[int]]:
    """Runs a generator on the ledger itself; also the heights that it asked for."""
    asked: list[int] = []
    answer: Answer = None
    while True:
        try:
            need = steps.send(answer)
        except StopIteration as done:
            return done.value, asked
        if isinstance(need, NeedState):
            answer = chain.ledger.view.get(need.key)
        else:
            asked.append(need.height)
            answer = link_at(chain, need.height)


def link_at(chain: Chain, height: int) -> Link:
    header, commit = chain.ledger.store.header(height), chain.ledger.store.commit_bytes(height)
    assert header is not None
    assert commit is not None
    return Link(header[1], commit)


def test_unchanged_validators_are_followed_in_one_step() -> None:
    chain = Chain(genesis(contracts=()))
    for _ in range(40):
        chain.grow()
    trust = trust_of(chain)
    (steps, reached), asked = driven(chain, find_trail(trust.root, link_at(chain, 40), trust.chain_id))
    assert (len(steps), reached.height, asked) == (1, 40, [])


def test_a_skip_reaches_over_the_trusting_period_and_no_further() -> None:
    chain = Chain(genesis(contracts=()))
    for _ in range(16):
        chain.grow()  # 100 ms apart
    trust = trust_of(chain)
    (steps, _), asked = driven(chain, find_trail(trust.root, link_at(chain, 16), trust.chain_id, 400))
    times = [chain.genesis.time_ms, *(decode_header(s.link.header).time_ms for s in steps)]
    assert asked
    assert all(later - earlier <= 400 for earlier, later in pairwise(times))
    with pytest.raises(VerificationError, match="TRUST_EXPIRED"):
        advance(trust.root, link_at(chain, 16), trust.validators, trust.chain_id, 400)


def test_a_set_that_shares_a_third_or_less_is_not_believed_without_steps_between() -> None:
    chain, _ = grown()
    trust = trust_of(chain)
    height = chain.ledger.head.height
    with pytest.raises(VerificationError, match="TOO_FEW_TRUSTED: 0 of 4 power"):
        advance(trust.root, link_at(chain, height), chain.ledger.system.last_validators, trust.chain_id)


def test_the_next_height_has_the_validators_that_this_one_names() -> None:
    chain = Chain(genesis(contracts=()))
    chain.grow()
    trust = trust_of(chain)
    assert advance(trust.root, link_at(chain, 1), trust.validators, trust.chain_id)[1].height == 1
    elsewhere = replace(trust.root, next_hash=bytes(32))
    with pytest.raises(VerificationError, match="WRONG_VALIDATORS: height 0 names other validators for the next"):
        advance(elsewhere, link_at(chain, 1), trust.validators, trust.chain_id)


def test_what_is_not_later_is_not_believed() -> None:
    chain = Chain(genesis(contracts=()))
    for _ in range(3):
        chain.grow()
    trust = trust_of(chain)
    third = advance(trust.root, link_at(chain, 3), trust.validators, trust.chain_id)[1]
    for height in (2, 3):
        with pytest.raises(VerificationError, match="NOT_AFTER"):
            advance(replace(third, time_ms=None), link_at(chain, height), trust.validators, trust.chain_id)
    with pytest.raises(VerificationError, match="NOT_AFTER"):
        advance(replace(trust.root, time_ms=YEAR_MS * 100), link_at(chain, 3), trust.validators, trust.chain_id)


def test_a_commit_has_one_encoding() -> None:
    chain = Chain(genesis(contracts=()))
    chain.grow()
    trust = trust_of(chain)
    link = link_at(chain, 1)
    padded = Link(link.header, link.commit + b"\x98\x06\x01")  # a field that no reader knows
    with pytest.raises(VerificationError, match="BAD_COMMIT: a commit in another encoding"):
        advance(trust.root, padded, trust.validators, trust.chain_id)


def test_strangers_with_a_chain_of_their_own_are_refused() -> None:
    """Four other keys sign a header that names themselves."""
    chain, _ = grown()
    strangers = Chain(genesis())
    strangers.grow()
    strangers.grow()
    trust = trust_of(chain)
    key = key_of("mallory")
    alone = ValidatorSet.of((Validator(ValidatorId(_address("mallory")), key.verify_key.encode(), Power(10), "m"),))
    with pytest.raises(VerificationError, match="WRONG_VALIDATORS"):
        advance(trust.root, link_at(strangers, 2), alone, trust.chain_id)


def test_a_commit_without_two_thirds_of_its_own_validators_is_no_commit() -> None:
    chain = Chain(genesis(contracts=()))
    chain.grow()
    block = chain.propose()
    trust = trust_of(chain)
    two = [v.id for v in trust.validators.validators[:2]]
    link = Link(block.header_bytes, encode_commit(chain.commit(block, two)))
    with pytest.raises(VerificationError, match="NO_QUORUM"):
        advance(trust.root, link, trust.validators, trust.chain_id)
    three = [v.id for v in trust.validators.validators[:3]]
    link = Link(block.header_bytes, encode_commit(chain.commit(block, three)))
    assert advance(trust.root, link, trust.validators, trust.chain_id)[1].height == 2
    assert chain.commit(block, two).entries[3].status == CommitStatus.ABSENT


def test_a_node_that_sends_another_header_than_asked_for_is_caught() -> None:
    chain, _ = grown()
    trust = trust_of(chain)
    steps = find_trail(trust.root, link_at(chain, chain.ledger.head.height), trust.chain_id)
    assert isinstance(next(steps), NeedState)
    steps.send(chain.ledger.view.get(HISTORY))
    with pytest.raises(VerificationError, match="BAD_HEADER: the node sent another header"):
        steps.send(link_at(chain, 1))


@given(st.one_of(st.none(), st.binary(max_size=60)))
def test_a_node_s_record_of_validators_may_be_anything(record: bytes | None) -> None:
    chain, _ = grown()
    trust = trust_of(chain)
    steps = find_trail(trust.root, link_at(chain, chain.ledger.head.height), trust.chain_id)
    next(steps)
    with pytest.raises(VerificationError):
        steps.send(record)


# -- clients


def test_a_blocking_client_believes_proofs_of_later_validators_and_walks_the_way_once() -> None:
    chain, payment = grown()
    with ChainNode(chain) as node, client_of(node) as client:
        assert client.query("payments", "balance", address_of("bob"), prove=True) == 1_000_251
        walked = node.blocks_asked
        assert walked > 0
        assert client.receipt(payment.id, prove=True).ok
        assert client.query("payments", "balance", address_of("bob"), prove=True) == 1_000_251
        assert node.blocks_asked == walked


async def _ask_async(address: str, trust: Trust) -> object:
    async with Client(address, trust=trust) as client:
        return await client.query("payments", "balance", address_of("bob"), prove=True)


def test_the_async_client_follows_too() -> None:
    chain, _ = grown()
    with ChainNode(chain) as node:
        assert asyncio.run(_ask_async(node.address, trust_of(chain))) == 1_000_251


def test_verifying_imports_nothing_of_the_node() -> None:
    script = (
        "import sys; from gridbft.verify import verify; "
        "print([m for m in sys.modules if m.split('.')[0] in ('node', 'grpc', 'plyvel', 'asyncio', 'devnet')])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
