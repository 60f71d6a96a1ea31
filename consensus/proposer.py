"""Whose turn it is: a pure function of committed data, so that every node skips the same absent validators.

The healthy validators take turns by id; the benched ones stand behind them, so a round reaches a benched validator only
after every healthy one has failed.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from consensus.types import COMMIT, NIL, Commit, Height, Round, ValidatorId, ValidatorSet

MAX_BENCH_EXPONENT = 10  # a bench lasts 1,024 heights at most
MAX_MISSES = 2**32 - 1
_COUNT = struct.Struct(">BI")
_ENTRY = struct.Struct(">20sIQ")
_VERSION = 1
_ALL_GOOD = _COUNT.pack(_VERSION, 0)  # how it stands at nearly every block
NOT_BENCHED = Height(0)


@dataclass(frozen=True, slots=True)
class ProposerOrder:
    """The order of one height: the proposer of round r is order[r mod n]."""

    order: tuple[ValidatorId, ...]

    def proposer(self, round_: Round) -> ValidatorId:
        return self.order[round_ % len(self.order)]


@dataclass(frozen=True, slots=True)
class Standing:
    """How often a validator missed its turn since it last proposed a decided block, and until when it is benched.

    `benched_until` 0: not benched. A bench whose height has passed lasts on until the validator signs a commit.
    """

    misses: int = 0
    benched_until: Height = NOT_BENCHED


GOOD = Standing()
Standings = Mapping[ValidatorId, Standing]  # whoever is not in it is in good standing


def order(validators: ValidatorSet, height: Height, benched: Collection[ValidatorId] = ()) -> ProposerOrder:
    """The healthy by id, rotated by height, then the benched, rotated by height. If all are benched, nobody is."""
    ids = [v.id for v in validators.validators]
    present = [i for i in ids if i not in benched]
    healthy, absent = (present, [i for i in ids if i in benched]) if present else (ids, [])
    return ProposerOrder(_rotated(healthy, height) + _rotated(absent, height))


def _rotated(ids: list[ValidatorId], height: Height) -> tuple[ValidatorId, ...]:
    if not ids:
        return ()
    start = height % len(ids)
    return tuple(ids[start:] + ids[:start])


def benched(standings: Standings) -> frozenset[ValidatorId]:
    return frozenset(v for v, standing in standings.items() if standing.benched_until > NOT_BENCHED)


def signers(commit: Commit) -> frozenset[ValidatorId]:
    """Who was there: every validator with a signature in the commit, for the block or for nil."""
    return frozenset(e.validator for e in commit.entries if e.status == COMMIT or e.status == NIL)


def advance(
    standings: Standings, validators: ValidatorSet, turns: ProposerOrder, commit: Commit
) -> dict[ValidatorId, Standing]:
    """The standings after a commit that a block carries as its last commit.

    turns: the order of the commit's height. validators: whose standings are kept on (the next set). The proposers of the
    rounds before the commit's failed: one more miss each, benched for 2^misses heights. The commit's own proposer starts
    anew. A benched validator returns once its height has passed and it signed this commit, so a dead one costs one
    time-out and a live but silent one a number that grows with the logarithm of the heights (up to the cap).
    """
    decided_by = turns.proposer(commit.round)
    failed = {turns.proposer(Round(r)) for r in range(min(commit.round, len(turns.order)))}
    after: dict[ValidatorId, Standing] = {}
    if not standings and not failed:
        return after
    present = signers(commit)
    for validator in validators.validators:
        before = standings.get(validator.id, GOOD)
        standing = _judged(
            before, commit.height, validator.id in failed, validator.id == decided_by, validator.id in present
        )
        if standing is not GOOD and standing != GOOD:
            after[validator.id] = standing
    return after


def _judged(before: Standing, height: Height, failed: bool, decided: bool, present: bool) -> Standing:
    if decided:
        return GOOD
    if failed:
        misses = min(before.misses + 1, MAX_MISSES)
        return Standing(misses, Height(height + 2 ** min(misses, MAX_BENCH_EXPONENT)))
    if NOT_BENCHED < before.benched_until <= height and present:
        return Standing(before.misses)
    return before


def encode_standings(standings: Standings) -> bytes:
    """Version, count, then (id, misses, benched until) sorted by id; good standings are left out."""
    if not standings:
        return _ALL_GOOD
    rows = [(v, standings[v]) for v in sorted(standings) if standings[v] != GOOD]
    body = b"".join(_ENTRY.pack(v, s.misses, s.benched_until) for v, s in rows)
    return _COUNT.pack(_VERSION, len(rows)) + body


def decode_standings(data: bytes) -> dict[ValidatorId, Standing]:
    """The inverse of encode_standings; ValueError on anything that it cannot have written."""
    if data == _ALL_GOOD:
        return {}
    if len(data) < _COUNT.size:
        raise ValueError("standings end before their count")
    version, count = _COUNT.unpack_from(data)
    if version != _VERSION:
        raise ValueError(f"standings of an unknown version {version}")
    if len(data) != _COUNT.size + count * _ENTRY.size:
        raise ValueError("the length of the standings does not match their count")
    standings: dict[ValidatorId, Standing] = {}
    previous = b""
    for id_, misses, until in _ENTRY.iter_unpack(data[_COUNT.size :]):
        if id_ <= previous:
            raise ValueError("standings are not sorted by id")
        previous = id_
        standing = Standing(misses, Height(until))
        if standing == GOOD:
            raise ValueError("a good standing needs no entry")
        standings[ValidatorId(id_)] = standing
    return standings
