"""Two correct validators never decide differently, whatever the network and a faulty fourth do; and once messages
arrive in time, everybody decides."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from consensus import machine, rules
from consensus.machine import State, Step
from consensus.types import Proposal, Round, ValidatorSet, Vote, VoteKind
from tests.consensus.kit import HEIGHT, block, vid
from tests.consensus.network import INVALID, Network, Signed, stuck_in

HARSH_SEEDS = 250
VALUES = [None, *(block(f"{n}{r}") for n in "abcd" for r in range(3)), INVALID]


def byzantine_message(network: Network, rng: random.Random, name: str) -> Signed:
    """Anything that a faulty validator may sign; mostly about values and rounds in play."""
    round_ = Round(rng.choice([node.state.round for node in network.nodes.values()]) + rng.choice([0, 0, 0, 1, 2]))
    in_play = [m.block_id for node in network.nodes.values() for m in node.signed]
    value = rng.choice(in_play[-4:] * 2 + in_play + [None, INVALID])
    if rng.random() < 0.2:
        pol = Round(rng.randrange(-1, max(round_, 0) + 1))
        return Proposal(HEIGHT, round_, value or INVALID, pol, vid(name), b"byz")
    return Vote(rng.choice(list(VoteKind)), HEIGHT, round_, value, vid(name), b"byz")


def harsh(seed: int, names: str = "abcd", byzantine: str = "d", steps: int = 300) -> Network:
    """One adversarial schedule: reorder, drop, duplicate, cut off, early timers, crashes, lies."""
    rng = random.Random(seed)
    network = Network(names, byzantine)
    cut: set[str] = set()
    for count in range(steps):
        if count % 60 == 0:
            cut = set(rng.sample(list(network.nodes), rng.randint(0, 1)))
        roll = rng.random()
        if roll < 0.75 and network.flying:
            index = rng.randrange(len(network.flying))
            to, message = network.flying[index]
            lost = rng.random() < 0.03 or to in cut or sender(message) in {vid(c) for c in cut}
            if lost:
                del network.flying[index]
            else:
                network.deliver(index, keep=rng.random() < 0.05)
        elif roll < 0.80 and network.timers:
            network.fire(min(range(len(network.timers)), key=lambda i: network.timers[i].due_ms))
        elif roll < 0.82 and network.timers:
            network.fire(rng.randrange(len(network.timers)))
        elif roll < 0.83:
            network.crash(rng.choice(list(network.nodes)))
        elif byzantine:
            lie = byzantine_message(network, rng, rng.choice(byzantine))
            network.flying += [
                (name, lie) for name in rng.sample(list(network.nodes), rng.randint(1, len(network.nodes)))
            ]
    return network


def sender(message: Signed) -> bytes:
    return message.validator if isinstance(message, Vote) else message.proposer


def assert_agreement(network: Network) -> None:
    assert len(set(network.decided().values())) <= 1, network.decided()
    assert INVALID not in network.decided().values()


@pytest.mark.parametrize(
    ("names", "byzantine"), [("abcd", "d"), ("abcd", "a"), ("abcdefg", "bf")], ids=["last", "first", "two-of-seven"]
)
def test_correct_validators_agree_and_decide_once_the_network_heals(names: str, byzantine: str) -> None:
    for seed in range(HARSH_SEEDS if len(names) == 4 else HARSH_SEEDS // 4):
        network = harsh(seed, names, byzantine)
        assert_agreement(network)
        assert network.run_in_step(max_rounds=3 * len(names)), f"seed {seed} stalls:\n{stuck_in(network)}"
        assert_agreement(network)


def test_a_round_of_correct_validators_decides_at_once() -> None:
    network = Network("abcd")
    assert network.run_in_step(max_rounds=0)
    assert set(network.decided().values()) == {block("a0")}


@pytest.mark.parametrize("size", [1, 2, 3, 5, 10, 31])
def test_networks_of_any_size_decide_in_the_first_round(size: int) -> None:
    network = Network("".join(chr(ord("A") + i) for i in range(size)))
    assert network.run_in_step(max_rounds=0)
    assert len(network.decided()) == size


def test_a_heavy_validator_may_be_down_below_a_third_of_the_power_and_not_above() -> None:
    assert Network("abcd", byzantine="d", powers={"a": 3, "b": 3, "c": 3, "d": 4}).run_in_step(max_rounds=4)
    assert not Network("abcd", byzantine="d", powers={"d": 2}).run_in_step(max_rounds=4)


def test_a_liar_that_splits_prevotes_cannot_block_the_chain_for_ever() -> None:
    """d lets a alone see a quorum for a0 and goes silent: a is locked, b and c counted d's nil. The proof must still work."""
    network = Network("abcd", byzantine="d")
    split = {"a": block("a0"), "b": None, "c": None}
    for name, value in split.items():
        network.flying.append((name, Vote(VoteKind.PREVOTE, HEIGHT, Round(0), value, vid("d"), b"byz")))
    # c never gets the proposal in round 0, so its prevote is nil.
    network.flying = [f for f in network.flying if not (f[0] == "c" and isinstance(f[1], Proposal))]
    while network.flying:
        network.deliver(0)
    for index in range(len(network.timers) - 1, -1, -1):
        if network.timers[index].to == "c":
            network.fire(index)
    while network.flying:
        network.deliver(0)
    assert network.nodes["a"].state.locked is not None
    assert network.nodes["b"].state.locked is None
    assert network.run_in_step(max_rounds=8), stuck_in(network)
    assert set(network.decided().values()) == {block("a0")}


def test_one_dead_validator_costs_one_time_out_when_it_is_its_turn() -> None:
    network = Network("abcd", byzantine="a")
    assert network.run_in_step(max_rounds=1)
    assert {node.commit.round for node in network.nodes.values() if node.commit} == {1}


def test_a_crash_at_any_moment_of_a_height_forgets_no_promise() -> None:
    """Amnesia: after every single delivery, every node restarts from its disk alone (malachite #850, #864)."""
    for seed in range(40):
        rng = random.Random(seed)
        network = Network("abcd", "d")
        for _ in range(60):
            if network.flying:
                network.deliver(rng.randrange(len(network.flying)))
            elif network.timers:
                network.fire(rng.randrange(len(network.timers)))
            for name in network.nodes:
                network.crash(name)
        assert_agreement(network)
        assert network.run_in_step(max_rounds=12), f"seed {seed} stalls:\n{stuck_in(network)}"
        assert_agreement(network)


def one_less(validators: ValidatorSet, power: int) -> bool:
    return validators.is_quorum(power + 1)


@pytest.mark.parametrize(
    ("name", "mutant", "seeds"),
    [
        ("quorum", one_less, range(100)),
        ("acceptable_fresh", lambda state, block_id, timely: state.verdicts[block_id], range(1200, 1600)),
    ],
    ids=["a quorum of one less", "a lock forgotten"],
)
def test_a_broken_rule_is_noticed(name: str, mutant: object, seeds: range, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checker that cannot fail is worth nothing."""
    assert not any(forks(seed) for seed in seeds[-5:])
    monkeypatch.setattr(rules, name, mutant)
    assert any(forks(seed) for seed in seeds)


def forks(seed: int) -> bool:
    network = harsh(seed)
    network.run_in_step(max_rounds=12)
    return len(set(network.decided().values())) > 1


class Adversary(RuleBasedStateMachine):
    """Hypothesis chooses the schedule, and shrinks it when it finds a fork."""

    @initialize(faulty=st.sampled_from("abcd"))
    def start(self, faulty: str) -> None:
        self.faulty = faulty
        self.network = Network("abcd", faulty)

    @rule(pick=st.integers(0, 1000), keep=st.booleans())
    def deliver(self, pick: int, keep: bool) -> None:
        if self.network.flying:
            self.network.deliver(pick % len(self.network.flying), keep)

    @rule(pick=st.integers(0, 1000))
    def drop(self, pick: int) -> None:
        if self.network.flying:
            del self.network.flying[pick % len(self.network.flying)]

    @rule(pick=st.integers(0, 1000))
    def fire(self, pick: int) -> None:
        if self.network.timers:
            self.network.fire(pick % len(self.network.timers))

    @rule(pick=st.integers(0, 2))
    def crash(self, pick: int) -> None:
        self.network.crash(list(self.network.nodes)[pick])

    @rule(
        to=st.integers(0, 2),
        kind=st.sampled_from(VoteKind),
        round_=st.integers(0, 4),
        value=st.sampled_from(VALUES),
    )
    def lie_in_a_vote(self, to: int, kind: VoteKind, round_: int, value: bytes | None) -> None:
        message = Vote(kind, HEIGHT, Round(round_), value, vid(self.faulty), b"byz")  # type: ignore[arg-type]
        self.network.flying.append((list(self.network.nodes)[to], message))

    @rule(to=st.integers(0, 2), round_=st.integers(0, 4), value=st.sampled_from(VALUES[1:]), pol=st.integers(-1, 3))
    def lie_in_a_proposal(self, to: int, round_: int, value: bytes, pol: int) -> None:
        message = Proposal(HEIGHT, Round(round_), value, Round(pol), vid(self.faulty), b"byz")  # type: ignore[arg-type]
        self.network.flying.append((list(self.network.nodes)[to], message))

    @invariant()
    def agreement(self) -> None:
        if hasattr(self, "network"):
            assert_agreement(self.network)

    def teardown(self) -> None:
        if hasattr(self, "network"):
            assert self.network.run_in_step(max_rounds=12), stuck_in(self.network)
            assert_agreement(self.network)


TestAdversary = Adversary.TestCase
TestAdversary.settings = settings(
    max_examples=60,
    stateful_step_count=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)


def every_rule(state: State, touched: Iterable[Round]) -> machine.Transition | None:
    """SPEC's order of the rules, whatever step the machine is at."""
    if state.step is Step.DECIDED:
        return None
    return (
        rules.l49_decide(state, touched)
        or rules.l55_higher_round(state)
        or rules.l22_fresh_proposal(state)
        or rules.l28_proven_proposal(state)
        or rules.l36_prevote_quorum(state)
        or rules.l44_nil_prevotes(state)
        or rules.l34_any_prevotes(state)
        or rules.l47_any_precommits(state)
    )


def test_the_rules_that_a_step_leaves_out_would_not_have_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, steps = machine._next, set()

    def compared(state: State, touched: Iterable[Round]) -> machine.Transition | None:
        steps.add(state.step)
        outcome = asked(state, touched)
        assert outcome == every_rule(state, touched)
        return outcome

    monkeypatch.setattr(machine, "_next", compared)
    for seed in range(60):
        harsh(seed)
    assert steps >= set(Step) - {Step.NEW}
