"""Finds the headers that lead from a trusted one to a later one: few where validators stay, more where they change.

No connection is made here. `find_trail` is a generator: it yields what it needs and is sent what a node answered, so
that the blocking client, the async one and tests drive the same code. A node cannot lead it astray: every step is
verified before the next one is asked for.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from chain.evidence import HISTORY
from chain.wire import encode_validators
from consensus.types import ValidatorSet
from contracts.runtime.codec import decode
from gridbft.errors import VerificationError
from gridbft.light import TOO_FAR, TRUSTING_PERIOD_MS, Link, Trusted, advance, read_header, read_validators


@dataclass(frozen=True, slots=True)
class NeedState:
    """Send the bytes of this key of the newest state, or None where it is absent."""

    key: bytes


@dataclass(frozen=True, slots=True)
class NeedLink:
    """Send the Link of this height."""

    height: int


@dataclass(frozen=True, slots=True)
class Step:
    """A header to be believed next. `validators` (encoded) are empty where they are those of the step before."""

    link: Link
    validators: bytes


Need = NeedState | NeedLink
Answer = Link | bytes | None
Trail = tuple[tuple[Step, ...], Trusted]


def find_trail(
    trusted: Trusted, target: Link, chain_id: str, trusting_period_ms: int = TRUSTING_PERIOD_MS
) -> Generator[Need, Answer, Trail]:
    """The steps up to and including `target`, and what is trusted after them. Bisects where a step is too far.

    Raises VerificationError where the node's headers do not lead from the one to the other.
    """
    raw = yield NeedState(HISTORY)
    history = read_history(raw)
    pending, steps = [target], list[Step]()
    while pending:
        link = pending[-1]
        height = read_header(link.header, chain_id).height
        validators = history_at(history, height)
        try:
            _, reached = advance(trusted, link, validators, chain_id, trusting_period_ms)
        except VerificationError as error:
            if error.reason not in TOO_FAR:
                raise
            pending.append((yield from _link_at((trusted.height + height) // 2, chain_id)))
            continue
        same = validators == trusted.validators
        steps.append(Step(pending.pop(), b"" if same else encode_validators(validators)))
        trusted = reached
    return tuple(steps), trusted


def _link_at(height: int, chain_id: str) -> Generator[Need, Answer, Link]:
    link = yield NeedLink(height)
    assert isinstance(link, Link), "a NeedLink is answered by a Link"
    if read_header(link.header, chain_id).height != height:
        raise VerificationError("BAD_HEADER", f"the node sent another header than that of height {height}")
    return link


def read_history(raw: Answer) -> list[tuple[int, ValidatorSet]]:
    """(first height, validators) in growing order, from the chain's own record. What a node says here is not believed:
    it only tells which sets to try against the headers."""
    if not isinstance(raw, bytes):
        raise VerificationError("BAD_HISTORY", "the node has no record of the validators")
    try:
        record = decode(raw)
    except ValueError as error:
        raise VerificationError("BAD_HISTORY", "the node's record of the validators is malformed") from error
    if not isinstance(record, list) or not all(
        isinstance(e, list) and len(e) == 2 and type(e[0]) is int and type(e[1]) is bytes for e in record
    ):
        raise VerificationError("BAD_HISTORY", "the node's record of the validators is malformed")
    return [(since, read_validators(encoded)) for since, encoded in record]


def history_at(history: list[tuple[int, ValidatorSet]], height: int) -> ValidatorSet:
    found = [validators for since, validators in history if since <= height]
    if not found:
        raise VerificationError("BAD_HISTORY", f"the node does not know the validators of height {height}")
    return found[-1]
