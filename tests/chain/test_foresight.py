"""What transactions will read, guessed from what others of their kind wrote."""

from __future__ import annotations

from itertools import pairwise

import pytest

from chain.executor import nonce_key
from chain.foresight import MOST_EXPECTED, MOST_KEYS, MOST_KINDS, Foresight
from chain.ledger import TRIED_FIRST, Ledger
from chain.overlay import Writes
from chain.tx import Tx, TxCall
from contracts.runtime.engine import MeteredRuntime
from node.ed25519 import verify
from tests.chain.network import Chain, call, genesis, pay
from tests.chain.txs import address_of, tx

KIND = ("payments", "transfer")
ALICE, BOB = address_of("alice").encode(), address_of("bob").encode()


def by(sender: str, *calls: TxCall) -> Tx:
    return tx(sender)._replace(calls=calls)


def learned(sender: str, made: TxCall, *written: bytes) -> Foresight:
    foresight = Foresight()
    foresight.learn({made[:2]: (by(sender, made), dict.fromkeys(written, b"v"))})
    return foresight


def test_a_transaction_is_expected_to_read_of_its_accounts_what_the_last_of_its_kind_wrote_of_its_own() -> None:
    foresight = learned("alice", pay("bob", 5), b"payments/free/" + ALICE, b"payments/seen/" + BOB)
    carol, dave = address_of("carol"), address_of("dave")
    assert foresight.keys([by("carol", pay("dave", 7_000))]) == [
        b"payments/free/" + carol.encode(),
        b"payments/seen/" + dave.encode(),
    ]


def test_each_call_of_a_transaction_counts() -> None:
    foresight = learned("alice", pay("bob", 5), b"to/" + BOB)
    expected = foresight.keys([by("carol", pay("dave", 1), call("other", "f"), pay("alice", 1))])
    assert expected == [b"to/" + address_of("dave").encode(), b"to/" + ALICE]


@pytest.mark.parametrize("key", [b"payments/supply", b"payments/free/" + address_of("carol").encode(), BOB[:39], b""])
def test_what_belongs_to_no_account_of_the_transaction_says_nothing(key: bytes) -> None:
    assert learned("alice", pay("bob", 5), key).keys([by("alice", pay("bob", 5))]) == []


def test_arguments_of_another_shape_make_a_wrong_guess_and_no_fault() -> None:
    foresight = learned("alice", pay("bob", 5), b"to/" + BOB)
    assert foresight.keys([by("carol", call("payments", "transfer", 1))]) == [b"to/"]


def test_what_is_expected_of_a_block_is_bounded() -> None:
    foresight = learned("alice", pay("bob", 5), *[b"%d/" % number + BOB for number in range(MOST_KEYS)])
    large = by("carol", *[pay("dave", 1)] * 64)
    assert MOST_EXPECTED <= len(foresight.keys([large] * 1_000)) < MOST_EXPECTED + 64 * MOST_KEYS


def test_what_is_known_is_bounded_and_the_newest() -> None:
    foresight = Foresight()
    for number in range(MOST_KINDS + 10):
        made = call("contract", f"f{number}")
        foresight.learn({made[:2]: (by("alice", made), {b"%d/" % number + ALICE: b"v"})})
        foresight.learn({KIND: (by("alice", pay("bob", 1)), {b"%d/" % number + BOB: b"v"})})
    assert foresight.keys([by("bob", call("contract", "f0"))]) == []
    assert len(foresight.keys([by("bob", call("contract", f"f{MOST_KINDS + 9}"))])) == 1
    assert foresight.keys([by("bob", pay("alice", 1))]) == [b"%d/" % (MOST_KINDS + 9) + ALICE]
    many: Writes = {b"%d/" % number + BOB: b"v" for number in range(100)}
    foresight.learn({KIND: (by("alice", pay("bob", 1)), many)})
    assert len(foresight.keys([by("alice", pay("bob", 1))])) == MOST_KEYS


def test_a_block_shows_one_transaction_of_each_kind_that_was_carried_out_and_what_it_wrote() -> None:
    c = Chain(genesis())
    refused, done = c.tx("alice", pay("bob", 10**12)), c.tx("bob", pay("carol", 3))
    shown: dict[tuple[str, str], tuple[Tx, Writes]] = {}
    c.ledger._foresight.learn = shown.update  # type: ignore[method-assign,assignment]
    c.grow(refused, done, c.tx("carol", pay("alice", 3)), c.tx("alice", pay("bob", 1), pay("bob", 1)))
    assert list(shown) == [KIND]
    example, written = shown[KIND]
    assert example == done
    assert {key[-40:].decode() for key in written} == {address_of("bob"), address_of("carol")}


NAMES = [f"n{number}" for number in range(40)]


def paid() -> Chain:
    """All of NAMES have money, and a kind of call is known; of them nothing is in memory."""
    c = Chain(genesis())
    c.grow(*[c.tx("alice", pay(name, 100)) for name in NAMES])
    c.ledger = Chain(c.genesis, c.kv).ledger
    c.grow(c.tx("alice", pay("bob", 1)))
    return c


def read_one_by_one(c: Chain, patched: pytest.MonkeyPatch) -> list[bytes]:
    """The keys that are asked of the tree from now on, but not those of many at once."""
    asked: list[bytes] = []

    def reading(key: bytes) -> bytes | None:
        asked.append(key)
        return c.ledger._tree.get(key)

    patched.setattr(c.ledger._state._values, "stored", reading)
    return asked


def test_what_a_block_reads_of_accounts_is_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    c = paid()
    asked = read_one_by_one(c, monkeypatch)
    txs = [c.tx(name, pay(other, 1)) for name, other in pairwise(NAMES)]
    c.ledger.expect(txs)
    assert [c.ledger.next_nonce(tx.sender) for tx in txs] == [0] * len(txs)
    assert c.grow(*txs) == [(True, "")] * len(txs)
    assert not [key for key in asked if key[-40:].decode(errors="replace") in set(map(address_of, NAMES))]


def test_where_the_first_accounts_are_in_memory_the_others_are_not_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    c = paid()
    asked = read_one_by_one(c, monkeypatch)
    busy = [c.tx("alice", pay("bob", 1)) for _ in range(TRIED_FIRST)]
    others = [c.tx(name, pay("bob", 1)) for name in NAMES]
    c.ledger.expect([*busy, *others])
    c.ledger.next_nonce(address_of(NAMES[0]))
    assert asked == [nonce_key(address_of(NAMES[0]))]
    c.ledger.expect([*busy[1:], *reversed(others)])
    for name in NAMES:
        c.ledger.next_nonce(address_of(name))
    assert len(asked) == 1


def test_a_ledger_that_foresees_ends_like_one_that_knows_nothing() -> None:
    c = Chain(genesis())
    plain = Ledger(Chain(genesis()).kv, MeteredRuntime(), c.genesis, verify)
    for _ in range(3):
        txs = [c.tx(name, pay(to, 5)) for name in ("alice", "bob", "carol") for to in ("bob", "carol", "new") * 3]
        c.ledger.expect([*txs, *txs])
        block = c.propose(*txs)
        commit = c.commit(block)
        c.ledger.apply(block, commit)
        plain._foresight = Foresight()
        plain.apply(block, commit)
    assert plain.head == c.ledger.head
