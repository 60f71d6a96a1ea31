"""The table in consensus/SPEC.md names every state and event, and the machine does what each row says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import consensus
from consensus import rules
from consensus.effects import Effect, SignVote
from consensus.events import Event, VoteSeen
from consensus.lock import Lock, LockRecord
from consensus.machine import State, Step, step
from consensus.timeouts import TimerKind
from consensus.types import Height, Round
from tests.consensus.kit import (
    BEGIN,
    HEIGHT,
    PREVOTE,
    X,
    Y,
    Z,
    built,
    checked,
    fired,
    machine,
    precommit,
    precommits,
    prevote,
    prevotes,
    proposal,
    run,
    vote,
)

SPEC = Path(consensus.__file__).with_name("SPEC.md").read_text()
EVENTS = [
    "Begin",
    "ProposalSeen",
    "BlockChecked",
    "VoteSeen",
    "TimerFired(PROPOSE)",
    "TimerFired(PREVOTE)",
    "TimerFired(PRECOMMIT)",
    "ValueBuilt",
]


@dataclass(frozen=True)
class Row:
    step: str
    event: str
    condition: str
    next: str
    effects: str
    rule: str

    def __str__(self) -> str:
        return f"{self.step} x {self.event}: {self.condition}"


def rows() -> list[Row]:
    table = SPEC.split("## Every state, every event")[1]
    lines = [line for line in table.splitlines() if line.startswith("| ") and not line.startswith("| -")]
    return [Row(*(cell.strip() for cell in line.strip("|").split("|"))) for line in lines[1:]]


def fresh(me: str | None = "b", **more: object) -> State:
    return machine(me, **more)  # type: ignore[arg-type]


def proposing() -> State:
    return run(machine("b"), BEGIN)[0]


def prevoting() -> State:
    """X is proposed, its block unknown; the propose timer has fired."""
    return run(machine("b"), BEGIN, proposal(X), fired(TimerKind.PROPOSE))[0]


def precommitting() -> State:
    return run(prevoting(), fired(TimerKind.PREVOTE))[0]


def decided() -> State:
    return run(machine("b"), BEGIN, proposal(X), checked(X), precommits("acd", X))[0]


BASE = {"NEW": fresh, "PROPOSE": proposing, "PREVOTE": prevoting, "PRECOMMIT": precommitting, "DECIDED": decided}
HEAVY = {"a": 7}
LOCKED_ON_Y = [BEGIN, proposal(Y), checked(Y), *prevotes("acd", Y)]
IN_ROUND_2 = [*LOCKED_ON_Y, fired(TimerKind.PRECOMMIT), fired(TimerKind.PRECOMMIT, 1), checked(X)]
# Round 1 is our turn (b): locked on Y in round 1, then in round 2 the proof of X is of round 0.
NEWER_LOCK = [
    BEGIN,
    *prevotes("acd", X),
    fired(TimerKind.PRECOMMIT),
    proposal(Y, 1),
    checked(Y),
    *prevotes("acd", Y, 1),
    fired(TimerKind.PRECOMMIT, 1),
    checked(X),
]

# (what happened before, the event) for each row; a row that is not here uses the base state and event of its pair.
Scenario = tuple[State, Event]


def scene(state: State, *events: Event | Sequence[Event]) -> Scenario:
    flat = [e for item in events for e in (item if isinstance(item, Sequence) else [item])]
    return run(state, *flat[:-1])[0], flat[-1]


RESTORED = LockRecord(HEIGHT, None, Lock(Round(0), X), tuple(vote(PREVOTE, 0, X, w) for w in "acd"))
SCENES: dict[str, Scenario] = {
    "NEW x Begin: another's turn": scene(fresh(), BEGIN),
    "NEW x Begin: our turn": scene(fresh("a"), BEGIN),
    "NEW x Begin: our turn, valid value restored": scene(fresh("b", restored=RESTORED, first_round=1), BEGIN),
    "NEW x VoteSeen: precommit quorum for a valid block": scene(fresh(powers=HEAVY), checked(X), precommit("a", X)),
    "NEW x VoteSeen: third ahead": scene(fresh(), prevote("a", X), prevote("c", Y)),
    "NEW x ProposalSeen: third ahead": scene(fresh(), prevote("c", X), proposal(X)),
    "PROPOSE x ProposalSeen: block unchecked": scene(proposing(), proposal(X)),
    "PROPOSE x ProposalSeen: fresh and acceptable": scene(proposing(), checked(X), proposal(X)),
    "PROPOSE x ProposalSeen: fresh and untimely": scene(proposing(), checked(X), proposal(X, timely=False)),
    "PROPOSE x ProposalSeen: fresh and invalid": scene(proposing(), checked(X, False), proposal(X)),
    "PROPOSE x ProposalSeen: fresh and against our lock": scene(fresh(), *IN_ROUND_2, proposal(X, 2)),
    "PROPOSE x ProposalSeen: proven and acceptable": scene(fresh(), *IN_ROUND_2, proposal(Y, 2, pol=0)),
    "PROPOSE x ProposalSeen: proven and against a newer lock": scene(fresh(), *NEWER_LOCK, proposal(X, 2, pol=0)),
    "PROPOSE x ProposalSeen: proof incomplete": scene(fresh(), *IN_ROUND_2, proposal(Y, 2, pol=1)),
    "PROPOSE x ProposalSeen: acceptable, prevote quorum waits": scene(
        proposing(), checked(X), prevotes("acd", X), proposal(X)
    ),
    "PROPOSE x BlockChecked: otherwise": scene(proposing(), proposal(X), checked(Y)),
    "PROPOSE x BlockChecked: the proposal's, acceptable": scene(proposing(), proposal(X), checked(X)),
    "PROPOSE x BlockChecked: the proposal's, invalid": scene(proposing(), proposal(X), checked(X, False)),
    "PROPOSE x BlockChecked: the proposal's, prevote quorum waits": scene(
        proposing(), proposal(X), prevotes("acd", X), checked(X)
    ),
    "PROPOSE x VoteSeen: prevote quorum": scene(proposing(), checked(X), prevotes("acd", X)),
    "PROPOSE x VoteSeen: completes the proposal's proof": scene(
        fresh(), *IN_ROUND_2, proposal(Y, 2, pol=1), prevotes("acd", Y, 1)
    ),
    "PROPOSE x VoteSeen: a second, different one that completes the proof": scene(
        fresh(), *IN_ROUND_2, proposal(Y, 2, pol=1), prevotes("ac", Y, 1), prevote("d", X, 1), prevote("d", Y, 1)
    ),
    "PROPOSE x TimerFired(PROPOSE): this round, nil prevote quorum waits": scene(
        proposing(), prevotes("acd", None), fired(TimerKind.PROPOSE)
    ),
    "PROPOSE x TimerFired(PROPOSE): this round, prevote quorum for a valid block waits": scene(
        proposing(), checked(X), prevotes("acd", X), fired(TimerKind.PROPOSE)
    ),
    "PROPOSE x TimerFired(PROPOSE): this round, prevote quorum without agreement waits": scene(
        proposing(), prevotes("ac", X), prevote("d", None), fired(TimerKind.PROPOSE)
    ),
    "PROPOSE x ValueBuilt: asked for": scene(machine("a"), BEGIN, built(X)),
    "PREVOTE x VoteSeen: prevote quorum for an unchecked block": scene(prevoting(), prevotes("acd", X)),
}


def common_scene(row: Row) -> Scenario:
    """Scenes that look the same in every step."""
    state = BASE[row.step]()
    match row.event, row.condition:
        case "Begin", _:
            return state, BEGIN
        case "ProposalSeen", "otherwise":
            return state, proposal(X)
        case "ProposalSeen", "a second, different one":
            return scene(state, proposal(X), proposal(Y))
        case "ProposalSeen", "third ahead":
            return scene(state, prevote("a", None, 5), proposal(X, 2))
        case "ProposalSeen", "not for us":
            return state, proposal(X, who="c")
        case "BlockChecked", "prevote quorum waits":
            return scene(state, prevotes("acd", X), checked(X))
        case "BlockChecked", "precommit quorum waits":
            return scene(state, precommits("acd", X), checked(X))
        case "BlockChecked", _:
            return state, checked(Z)
        case "VoteSeen", "otherwise":
            return state, prevote("a", X)
        case "VoteSeen", "a second, different one":
            return scene(state, prevote("d", X), prevote("d", Y))
        case "VoteSeen", "third ahead":
            return scene(state, prevote("a", None, 1), precommit("c", None, 1))
        case "VoteSeen", "not for us":
            return state, VoteSeen(replace(vote(PREVOTE, 0, X, "a"), height=Height(HEIGHT + 1)))
        case "VoteSeen", "prevote quorum for a valid block":
            return scene(state, checked(X), prevotes("acd", X))
        case "VoteSeen", "prevote quorum for nil":
            return scene(state, prevotes("acd", None))
        case "VoteSeen", "prevote quorum without agreement":
            return scene(state, prevotes("ac", X), prevote("d", Y))
        case "VoteSeen", "precommit quorum without agreement":
            return scene(state, precommits("ac", X), precommit("d", None))
        case "VoteSeen", "precommit quorum for an unchecked block":
            return scene(state, precommits("acd", X))
        case "VoteSeen", "precommit quorum for a valid block":
            return scene(state, checked(X), precommits("acd", X))
        case timer, condition if timer.startswith("TimerFired"):
            kind = TimerKind[timer.removeprefix("TimerFired(").rstrip(")")]
            return state, fired(kind, -1 if condition == "stale" else max(state.round, 0))
        case "ValueBuilt", _:
            return state, built(Y)
    raise AssertionError(f"no scene for {row}")


def named(effects: tuple[Effect, ...]) -> str:
    def name(effect: Effect) -> str:
        nil = isinstance(effect, SignVote) and effect.vote.block_id is None
        return type(effect).__name__ + (" nil" if nil else "")

    return ", ".join(name(e) for e in effects) or "-"


def scene_of(row: Row) -> Scenario:
    special = SCENES.get(str(row))
    return special if special is not None else common_scene(row)


def test_the_table_names_every_pair_of_step_and_event_once_per_condition() -> None:
    pairs = {(row.step, row.event) for row in rows()}
    assert pairs == {(s.name, e) for s in Step for e in EVENTS}
    assert len({str(row) for row in rows()}) == len(rows())


def test_every_special_scene_belongs_to_a_row_of_the_table() -> None:
    assert set(SCENES) <= {str(row) for row in rows()}


@pytest.mark.parametrize("row", rows(), ids=str)
def test_the_machine_does_what_the_row_says(row: Row) -> None:
    before, event = scene_of(row)
    assert before.step.name == row.step, "the scene starts where the row does"
    after, effects = step(before, event)
    assert (after.step.name, named(effects)) == (row.next, row.effects)


@pytest.mark.parametrize("row", [r for r in rows() if r.rule == "ignored"], ids=str)
def test_what_is_ignored_leaves_no_trace(row: Row) -> None:
    before, event = scene_of(row)
    assert step(before, event) == (before, ())


def test_every_function_that_the_rules_table_names_exists() -> None:
    table = SPEC.split("## The rules")[1].split("## Where")[0]
    names = {name for name in table.replace(",", " ").split("`") if name.startswith("l") and "_" in name}
    assert names
    assert all(callable(getattr(rules, name)) for name in names)


NUMBERED = sorted(name for name in vars(rules) if name[0] == "l" and name[1:3].isdigit())


@pytest.mark.parametrize("name", [*NUMBERED, "quorum", "third", "proven", "lock", "timer_is_current", "cast"])
def test_a_rule_can_be_replaced_and_the_table_notices(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = [scene_of(row) for row in rows()]

    def broken(*_: object) -> None:
        raise LookupError(name)

    monkeypatch.setattr(rules, name, broken)

    def reached(scenario: Scenario) -> bool:
        try:
            step(*scenario)
        except LookupError:
            return True
        return False

    assert any(reached(s) for s in scenes)
