"""What the chain keeps about itself in the authenticated state: validator sets, whose turn it is, parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgpack

from chain.evidence import HISTORY, decode_evidence, decode_history, encode_history, record_key
from chain.genesis import ChainParams, Genesis, Member
from chain.overlay import Overlay, Writes
from chain.protocol import Protocol, decode_protocol
from chain.wire import decode_validators, encode_validators
from consensus import proposer
from consensus.evidence import offender
from consensus.proposer import ProposerOrder, Standing
from consensus.types import Commit, Height, ValidatorId, ValidatorSet
from contracts.runtime.api import StateView

LAST_VALIDATORS = b"$validators/last"
VALIDATORS = b"$validators"
NEXT_VALIDATORS = b"$validators/next"
LAST_STANDINGS = b"$standings/last"
STANDINGS = b"$standings"
WANTED_VALIDATORS = b"$validators/wanted"  # what a block's transactions ask for; gone when the block ends
PARAMS = b"$params"
MEMBERS = b"$members"
HALT = b"$halt"
PROTOCOL = b"$protocol"
EVIDENCE_COUNT = b"$evidence_count"
EVIDENCE_AT = b"$evidence_at/"
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
    halt_height: int | None  # only governance goes on after this height, until it says otherwise
    protocol: Protocol = Protocol()

    def is_halted(self, height: int) -> bool:
        return self.halt_height is not None and height > self.halt_height

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
    members = [
        {
            "public_key": m.public_key.hex(),
            "name": m.name,
            "role": m.role,
            "power": m.power,
            "peer_address": m.peer_address,
            "certificate": m.certificate,
        }
        for m in sorted(genesis.members, key=lambda m: m.public_key)
    ]
    return {
        CHAIN: genesis.chain_id.encode(),
        LAST_VALIDATORS: validators,
        VALIDATORS: validators,
        NEXT_VALIDATORS: validators,
        HISTORY: encode_history([(0, validators)]),
        LAST_STANDINGS: standings,
        STANDINGS: standings,
        PARAMS: encode_params(genesis.params),
        MEMBERS: msgpack.packb(members),
    }


def encode_params(params: ChainParams) -> bytes:
    packed: bytes = msgpack.packb({name: getattr(params, name) for name in sorted(ChainParams.__slots__)})
    return packed


def _stored(view: StateView, key: bytes) -> bytes:
    value = view.get(key)
    assert value is not None, f"the state lacks {key!r}"
    return value


def read_params(view: StateView) -> ChainParams:
    return ChainParams(**msgpack.unpackb(_stored(view, PARAMS)))


def read_members(view: StateView) -> tuple[Member, ...]:
    """Validators and observers as governance left them: whom a node may speak to."""
    return tuple(
        Member(m["name"], m["role"], bytes.fromhex(m["public_key"]), m["power"], m["peer_address"], m["certificate"])
        for m in msgpack.unpackb(_stored(view, MEMBERS))
    )


def read_system(view: StateView, height: int) -> SystemState:
    """Reads what `genesis_writes` and `end_of_block` wrote."""
    halt = view.get(HALT)
    return SystemState(
        height=height,
        last_validators=decode_validators(_stored(view, LAST_VALIDATORS)),
        validators=decode_validators(_stored(view, VALIDATORS)),
        next_validators=decode_validators(_stored(view, NEXT_VALIDATORS)),
        last_standings=proposer.decode_standings(_stored(view, LAST_STANDINGS)),
        standings=proposer.decode_standings(_stored(view, STANDINGS)),
        params=read_params(view),
        halt_height=None if halt is None else int.from_bytes(halt, "big"),
        protocol=decode_protocol(view.get(PROTOCOL)),
    )


def end_of_block(
    before: SystemState, view: StateView, height: int, last_commit: Commit | None, evidence: Sequence[bytes]
) -> tuple[SystemState, Writes]:
    """What a block at `height` leaves for the next ones; `view` already holds what its transactions wrote.

    `last_commit` is the one in the block: agreed by all, so standings are judged by it and not by what a node saw itself.
    A validator set that transactions or evidence ask for decides from height + 2 on.
    """
    state = Overlay(view)
    _record_evidence(state, height, evidence)
    standings: Mapping[ValidatorId, Standing] = before.standings
    if last_commit is not None:
        standings = proposer.advance(before.standings, before.next_validators, before.last_turns, last_commit)
    wanted = state.get(WANTED_VALIDATORS)
    state.writes[LAST_VALIDATORS] = encode_validators(before.validators)
    state.writes[VALIDATORS] = encode_validators(before.next_validators)
    state.writes[LAST_STANDINGS] = proposer.encode_standings(before.standings)
    state.writes[STANDINGS] = proposer.encode_standings(standings)
    if wanted is not None:
        state.writes[NEXT_VALIDATORS] = wanted
        state.writes[WANTED_VALIDATORS] = None
        history = decode_history(_stored(state, HISTORY))
        state.writes[HISTORY] = encode_history([*history, (height + 2, wanted)])
    return read_system(state, height), state.writes


def _record_evidence(state: Overlay, height: int, evidence: Sequence[bytes]) -> None:
    """Each fault is kept once and numbered. Where the parameter says so, its validator loses its vote."""
    removes = read_params(state).evidence_removes
    for raw in evidence:
        fault = decode_evidence(raw)
        count = int.from_bytes(state.get(EVIDENCE_COUNT) or b"", "big")
        state.writes[record_key(offender(fault))] = height.to_bytes(8, "big")
        state.writes[EVIDENCE_AT + count.to_bytes(8, "big")] = msgpack.packb([height, raw])
        state.writes[EVIDENCE_COUNT] = (count + 1).to_bytes(8, "big")
        if removes:
            _remove_validator(state, offender(fault))


def _remove_validator(state: Overlay, caught: ValidatorId) -> None:
    """The last validator stays: an empty set would decide nothing ever after."""
    current = decode_validators(state.get(WANTED_VALIDATORS) or _stored(state, NEXT_VALIDATORS))
    left = [v for v in current.validators if v.id != caught]
    if left and len(left) < len(current):
        state.writes[WANTED_VALIDATORS] = encode_validators(ValidatorSet.of(left))
