from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from chain.mempool import Limits, Mempool
from chain.refusal import Code
from chain.tx import Tx
from tests.chain.txs import address_of, tx

SENDERS = ("alice", "bob", "carol")
PLENTY = (10**9, 10**12, 10**6)


def pool(limits: Limits = Limits(), **nonces: int) -> Mempool:
    chain = {address_of(name): nonce for name, nonce in nonces.items()}
    return Mempool(lambda sender: chain.get(sender, 0), limits)


def code(mempool: Mempool, item: Tx, height: int = 1) -> Code | None:
    refusal = mempool.add(item, height)
    return None if refusal is None else refusal.code


def test_a_nonce_goes_out_only_after_those_below_it() -> None:
    mempool = pool()
    for nonce in (2, 0, 1, 4):
        assert code(mempool, tx(nonce=nonce)) is None
    assert [t.nonce for t in mempool.reap(*PLENTY)] == [0, 1, 2]


def test_order_of_arrival_is_kept_between_senders() -> None:
    mempool = pool()
    for sender, nonce in (("alice", 0), ("bob", 0), ("alice", 1), ("carol", 0)):
        mempool.add(tx(sender, nonce), 1)
    assert [(t.sender, t.nonce) for t in mempool.reap(*PLENTY)] == [
        (address_of(s), n) for s, n in (("alice", 0), ("bob", 0), ("alice", 1), ("carol", 0))
    ]


def test_used_far_taken_expired_and_distant_nonces_have_their_codes() -> None:
    mempool = pool(Limits(per_sender=10, expiry_window=50), alice=5)
    assert code(mempool, tx(nonce=4)) is Code.NONCE_USED
    assert code(mempool, tx(nonce=15)) is Code.NONCE_TOO_FAR
    assert code(mempool, tx(nonce=5, expiry_height=6), height=7) is Code.EXPIRED
    assert code(mempool, tx(nonce=5, expiry_height=58), height=7) is Code.EXPIRY_TOO_FAR
    assert code(mempool, tx(nonce=5), height=60) is None
    assert code(mempool, tx(nonce=5, gas_limit=2), height=60) is Code.NONCE_TAKEN


def test_the_same_transaction_twice_stands_once() -> None:
    mempool = pool()
    assert code(mempool, tx()) is None
    assert code(mempool, tx()) is None
    assert len(mempool) == 1


def test_caps_hold_for_a_sender_and_in_all() -> None:
    mempool = pool(Limits(transactions=3, per_sender=2))
    assert [code(mempool, tx("alice", n)) for n in range(3)] == [None, None, Code.NONCE_TOO_FAR]
    assert code(mempool, tx("bob")) is None
    assert code(mempool, tx("carol")) is Code.MEMPOOL_FULL
    small = pool(Limits(bytes=len(tx().raw) + 1))
    assert [code(small, tx("alice")), code(small, tx("bob"))] == [None, Code.MEMPOOL_FULL]


def test_a_block_takes_what_fits_into_its_bytes_gas_and_count() -> None:
    mempool = pool(alice=1)
    for nonce in range(1, 6):
        mempool.add(tx(nonce=nonce, gas_limit=10), 1)
    size = len(tx(nonce=1, gas_limit=10).raw) + 8
    assert len(mempool.reap(2 * size, 10**9, 99)) == 2
    assert len(mempool.reap(10**9, 35, 99)) == 3
    assert len(mempool.reap(10**9, 10**9, 4)) == 4


def test_a_kind_of_transaction_is_reaped_alone_and_what_stands_behind_another_waits() -> None:
    mempool = pool()
    for sender, nonce in (("alice", 0), ("alice", 1), ("bob", 0)):
        mempool.add(tx(sender, nonce), 1)
    only_alice, only_late = (lambda t: t.sender == address_of("alice")), (lambda t: t.nonce == 1)
    assert [(t.sender, t.nonce) for t in mempool.reap(*PLENTY, only_alice)] == [
        (address_of("alice"), n) for n in (0, 1)
    ]
    assert mempool.any_ready(only_alice)
    assert not mempool.any_ready(only_late)
    assert mempool.reap(*PLENTY, only_late) == []


class MempoolAgainstAModel(RuleBasedStateMachine):
    """Random arrivals and blocks: the indexes never drift apart, and a block is always executable."""

    def __init__(self) -> None:
        super().__init__()
        self.chain: dict[str, int] = {}
        self.height = 1
        self.mempool = Mempool(lambda s: self.chain.get(s, 0), Limits(transactions=30, per_sender=8, expiry_window=40))

    @rule(sender=st.sampled_from(SENDERS), ahead=st.integers(-2, 10), life=st.integers(-1, 45))
    def arrive(self, sender: str, ahead: int, life: int) -> None:
        nonce = max(0, self.chain.get(address_of(sender), 0) + ahead)
        self.mempool.add(tx(sender, nonce, max(0, self.height + life)), self.height)

    @rule(count=st.integers(0, 12), lost=st.integers(0, 3))
    def decide(self, count: int, lost: int) -> None:
        block = self.mempool.reap(10**9, 10**12, count)
        for item in block:
            assert item.nonce == self.chain.get(item.sender, 0)
            assert item.expiry_height >= self.height
            self.chain[item.sender] = item.nonce + 1
        self.mempool.committed(block, self.height)
        self.height += 1

    @rule(sender=st.sampled_from(SENDERS))
    def someone_elses_block(self, sender: str) -> None:
        """A block whose transaction this node never saw."""
        nonce = self.chain.get(address_of(sender), 0)
        self.chain[address_of(sender)] = nonce + 1
        self.mempool.committed([tx(sender, nonce, gas_limit=77)], self.height)
        self.height += 1

    @invariant()
    def indexes_agree(self) -> None:
        self.mempool.check_invariants()


MempoolAgainstAModel.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestMempoolAgainstAModel = MempoolAgainstAModel.TestCase


@given(st.permutations(range(6)))
def test_whatever_the_order_of_arrival_all_consecutive_nonces_go_out(order: list[int]) -> None:
    mempool = pool()
    for nonce in order:
        mempool.add(tx(nonce=nonce), 1)
    assert sorted(t.nonce for t in mempool.reap(*PLENTY)) == list(range(6))
    assert [t.nonce for t in mempool.reap(*PLENTY)] == list(range(6))
