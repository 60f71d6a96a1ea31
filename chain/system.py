"""What the chain keeps about itself in the authenticated state: validator sets, whose turn it is, parameters."""

from __future__ import annotations

from dataclasses import dataclass

import msgpack

from chain.executor import Writes
from chain.genesis import ChainParams, Genesis
from chain.wire import decode_validators, encode_validators
from consensus import proposer
from consensus.proposer import ProposerOrder, Standing
from consensus.types import Commit, Height, ValidatorId, ValidatorSet
from contracts.runtime.api import StateView

LAST_VALIDATORS = b"$validators/last"
VALIDATORS = b"$validators"
NEXT_VALIDATORS = b"$validators/next"
LAST_STANDINGS = b"$standings/last"
STANDINGS = b"$standings"
PARAMS = b"$params"
CHAIN = b"$chain"


@dataclass(frozen=True, slots=True)
class SystemState:
    """After the block of `height`: who decides height + 1 (and + 2), whose turn it is, and what bounds a block.

    `last_validators` and `last_turns` are those of `height` itself, which the next block's last commit speaks of.
    """

    height: int
    last_validators: ValidatorSet
    validators: ValidatorSet
    next_validators: ValidatorSet
    last_standings: dict[ValidatorId, Standing]
    standings: dict[ValidatorId, Standing]
    params: ChainParams

    @property
    def turns(self) -> ProposerOrder:
        """The proposers of height + 1."""
        return proposer.order(self.validators, Height(self.height + 1), proposer.benched(self.standings))

    @property
    def last_turns(self) -> ProposerOrder:
        return proposer.order(self.last_validators, Height(self.height), proposer.benched(self.last_standings))


def genesis_writes(genesis: Genesis) -> Writes:
    """The system's part of the state at height 0."""
    validators = encode_validators(genesis.validators)
    standings = proposer.encode_standings({})
    return {
        CHAIN: genesis.chain_id.encode(),
        LAST_VALIDATORS: validators,
        VALIDATORS: validators,
        NEXT_VALIDATORS: validators,
        LAST_STANDINGS: standings,
        STANDINGS: standings,
        PARAMS: encode_params(genesis.params),
    }


def encode_params(params: ChainParams) -> bytes:
    packed: bytes = msgpack.packb({name: getattr(params, name) for name in sorted(ChainParams.__slots__)})
    return packed


def read_system(view: StateView, height: int) -> SystemState:
    """Reads what `genesis_writes` and `end_of_block` wrote."""

    def stored(key: bytes) -> bytes:
        value = view.get(key)
        assert value is not None, f"the state lacks {key!r}"
        return value

    return SystemState(
        height=height,
        last_validators=decode_validators(stored(LAST_VALIDATORS)),
        validators=decode_validators(stored(VALIDATORS)),
        next_validators=decode_validators(stored(NEXT_VALIDATORS)),
        last_standings=proposer.decode_standings(stored(LAST_STANDINGS)),
        standings=proposer.decode_standings(stored(STANDINGS)),
        params=ChainParams(**msgpack.unpackb(stored(PARAMS))),
    )


def end_of_block(
    before: SystemState, height: int, last_commit: Commit | None, wanted: ValidatorSet | None
) -> tuple[SystemState, Writes]:
    """What a block at `height` leaves for the next ones.

    `last_commit` is the one in the block: agreed by all, so standings are judged by it and not by what a node saw itself.
    `wanted` is the validator set that the block's transactions ask for, if they do: it decides from height + 2 on.
    """
    standings = before.standings
    if last_commit is not None:
        standings = proposer.advance(before.standings, before.next_validators, before.last_turns, last_commit)
    after = SystemState(
        height=height,
        last_validators=before.validators,
        validators=before.next_validators,
        next_validators=before.next_validators if wanted is None else wanted,
        last_standings=before.standings,
        standings=standings,
        params=before.params,
    )
    return after, _changes(before, after)


def _changes(before: SystemState, after: SystemState) -> Writes:
    writes: Writes = {}
    for key, old_set, new_set in (
        (LAST_VALIDATORS, before.last_validators, after.last_validators),
        (VALIDATORS, before.validators, after.validators),
        (NEXT_VALIDATORS, before.next_validators, after.next_validators),
    ):
        if old_set != new_set:
            writes[key] = encode_validators(new_set)
    for key, old, new in (
        (LAST_STANDINGS, before.last_standings, after.last_standings),
        (STANDINGS, before.standings, after.standings),
    ):
        if old != new:
            writes[key] = proposer.encode_standings(new)
    return writes
