"""Whole heights as readable text: a line per event, under it what the machine does.

`tests/consensus/transcripts/*.txt` are read, played and written again; what comes out must be what stands there. To take
over a wanted change: `python -m tests.consensus.test_transcripts`, and read the difference.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from consensus.effects import (
    BuildValue,
    Decide,
    Effect,
    Equivocation,
    PersistLock,
    RoundEntered,
    SignProposal,
    SignVote,
    StartTimer,
)
from consensus.events import Event, VoteSeen
from consensus.lock import Lock
from consensus.machine import State, step
from consensus.timeouts import TimerKind
from consensus.types import BlockId, Proposal, Vote, VoteKind
from tests.consensus import kit

FOLDER = Path(__file__).with_name("transcripts")
SCRIPTS = sorted(FOLDER.glob("*.txt"))
KINDS = {"prevote": VoteKind.PREVOTE, "precommit": VoteKind.PRECOMMIT}


def value_of(word: str) -> BlockId | None:
    return None if word == "nil" else kit.block(word)


def name_of(id_: bytes | None) -> str:
    return "nil" if id_ is None else id_.rstrip(b".").decode()


def read_event(line: str) -> list[Event]:
    """The language of the transcripts; votes of several validators may share a line."""
    match line.split():
        case ["begin"]:
            return [kit.BEGIN]
        case ["proposal", value, "round", r, "from", who, *rest]:
            pol = int(rest[rest.index("pol") + 1]) if "pol" in rest else -1
            return [kit.proposal(kit.block(value), int(r), pol, who, timely="untimely" not in rest)]
        case ["block", value, "valid" | "invalid" as verdict]:
            return [kit.checked(kit.block(value), verdict == "valid")]
        case ["prevote" | "precommit" as kind, value, "round", r, "from", *who]:
            return [VoteSeen(kit.vote(KINDS[kind], int(r), value_of(value), w)) for w in who]
        case ["timer", kind, "round", r]:
            return [kit.fired(TimerKind[kind.upper()], int(r))]
        case ["built", value, "round", r]:
            return [kit.built(kit.block(value), int(r))]
    raise ValueError(f"no such event: {line}")


def said(message: Vote | Proposal) -> str:
    if isinstance(message, Vote):
        return f"{message.kind.name.lower()} {name_of(message.block_id)} round {message.round}"
    pol = "" if message.pol_round < 0 else f" pol {message.pol_round}"
    return f"proposal {name_of(message.block_id)} round {message.round}{pol}"


def lock_name(lock: Lock | None) -> str:
    return "nothing" if lock is None else f"{name_of(lock.block_id)} of round {lock.round}"


def written(effect: Effect) -> str:
    match effect:
        case RoundEntered(round_):
            return f"enter round {round_}"
        case StartTimer(kind, _, round_, delay_ms):
            return f"start timer {kind.name.lower()} round {round_}: {delay_ms} ms"
        case BuildValue(_, round_):
            return f"build a value for round {round_}"
        case SignProposal(proposal):
            return f"sign {said(proposal)}"
        case SignVote(vote):
            return f"sign {said(vote)}"
        case PersistLock(record):
            proof = " ".join(name_of(v.validator) for v in record.prevotes)
            return f"persist locked {lock_name(record.locked)}, valid {lock_name(record.valid)}, proof {proof}"
        case Decide(commit):
            entries = ", ".join(f"{name_of(e.validator)} {e.status.name.lower()}" for e in commit.entries)
            return f"decide {name_of(commit.block_id)} in round {commit.round}: {entries}"
        case Equivocation(first, second):
            who = first.validator if isinstance(first, Vote) else first.proposer
            return f"evidence against {name_of(who)}: {said(first)}; {said(second)}"


def play(script: str) -> str:
    """The same text with the machine's effects under each event, four spaces in."""
    lines: list[str] = []
    state: State = kit.machine("b")
    for line in script.splitlines():
        if line.startswith("    "):
            continue
        lines.append(line)
        if line.startswith("validator "):
            who = line.removeprefix("validator ")
            state = kit.machine(None if who == "none" else who)
        elif line and not line.startswith("#"):
            for event in read_event(line):
                state, effects = step(state, event)
                lines += [f"    {written(effect)}" for effect in effects]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.stem)
def test_the_machine_plays_the_transcript(path: Path) -> None:
    script = path.read_text()
    assert play(script) == script


def test_there_are_transcripts_and_a_wrong_line_is_noticed() -> None:
    assert len(SCRIPTS) >= 5
    for path in SCRIPTS:
        wrong = path.read_text().replace("    enter round", "    leave round")
        assert play(wrong) != wrong


if __name__ == "__main__":
    for transcript in SCRIPTS:
        transcript.write_text(play(transcript.read_text()))
