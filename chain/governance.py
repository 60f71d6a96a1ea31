"""How the network changes itself: validators propose and vote, and what more than two thirds of the power want happens.

"governance" is called like a contract, but it is part of the chain's rules: it may change validators, parameters and
contracts. A validator speaks by the account of its consensus key. Everything it decides on was checked when it was
proposed and is checked again when it passes; a check refuses, it never raises.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import msgpack

from chain.contract_governance import (
    EMERGENCY_HEIGHTS,
    FOR_EVER,
    deploy_fault,
    enact_deploy,
    pause_fault,
    set_pause,
)
from chain.genesis import PARAM_BOUNDS, ChainParams
from chain.hashes import address, digest
from chain.overlay import Overlay, Writes
from chain.protocol import Protocol, decode_protocol, encode_protocol
from chain.system import (
    HALT,
    MEMBERS,
    NEXT_VALIDATORS,
    PARAMS,
    PROTOCOL,
    VALIDATORS,
    WANTED_VALIDATORS,
    encode_params,
    read_params,
)
from chain.tx import GOVERNANCE
from chain.wire import MAX_VALIDATORS, decode_validators, encode_validators
from consensus.types import Power, Validator, ValidatorId, ValidatorSet
from contracts.runtime.abi import FunctionAbi
from contracts.runtime.api import Call, Event, Outcome, Runtime, StateView
from contracts.runtime.codec import decode, encode

NAME = GOVERNANCE
NEXT_ID = b"$governance/next"
PROPOSAL_PREFIX = b"$governance/proposal/"
DUE_PREFIX = b"$governance/due/"
EMERGENCY = "emergency_pause"
LIFE_HEIGHTS = 100_000  # then an undecided proposal is dead
MAX_POWER = 10**12
MAX_TEXT = 4_096
MAX_SOURCE = 100_000
CALL_GAS = 20_000
"""What any call here costs: a handful of reads and writes of small records."""


class Refused(Exception):  # noqa: N818 - the code of a refusal, inside this module only
    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Proposal:
    """`subject` is what is wanted, by `kind`; `votes` maps an account to whether it is for it."""

    id: int
    kind: str
    subject: dict[str, Any]
    proposer: str
    created_height: int
    votes: dict[str, bool]
    status: str = "open"
    decided_height: int = 0

    def plain(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in type(self).__slots__}


class GoverningRuntime:
    """A contract runtime with governance in front: every other call goes to `inner`."""

    def __init__(self, inner: Runtime) -> None:
        self._inner = inner

    def execute(self, call: Call, view: StateView, gas_limit: int) -> Outcome:
        if call.contract != NAME:
            return self._inner.execute(call, view, gas_limit)
        if gas_limit < CALL_GAS:
            return Outcome(False, "OUT_OF_GAS", gas_limit)
        chamber = _Chamber(Overlay(view), call, self._inner)
        try:
            result = chamber.answer()
        except Refused as refusal:
            return Outcome(False, refusal.code, CALL_GAS)
        return Outcome(True, "", CALL_GAS, encode(result), tuple(chamber.events), chamber.state.writes)


def _function(name: str, view: bool, params: dict[str, str], returns: str, doc: str) -> FunctionAbi:
    return FunctionAbi(name, view, tuple(params.items()), returns, doc)


MEMBER = {
    "public_key": "str",
    "name": "str",
    "role": "str",
    "power": "int",
    "peer_address": "str",
    "certificate": "str",
}
CODE = {"name": "str", "source": "str", "effective_height": "int"}

ABI: tuple[FunctionAbi, ...] = (
    _function("propose_member", False, MEMBER, "int", "Adds or changes a validator; power 0 makes it an observer."),
    _function("propose_removal", False, {"public_key": "str"}, "int", "Removes a member and its vote."),
    _function("propose_parameter", False, {"name": "str", "value": "int"}, "int", "Changes a chain parameter."),
    _function("propose_halt", False, {"height": "int"}, "int", "Stops the chain after a height; 0 takes it back."),
    _function(
        "propose_protocol",
        False,
        {"version": "int", "height": "int"},
        "int",
        "Blocks follow the next version of the rules from a height on; height 0 takes that back.",
    ),
    _function("propose_deploy", False, CODE, "int", "Puts a new contract on the chain at the end of a height."),
    _function("propose_upgrade", False, CODE, "int", "Replaces a contract's code and runs its migrate(old_version)."),
    _function("propose_pause", False, {"name": "str"}, "int", "Pauses a contract until it is resumed."),
    _function(
        "propose_emergency_pause", False, {"name": "str"}, "int", "Pauses a contract for a while; needs a third."
    ),
    _function("propose_resume", False, {"name": "str"}, "int", "Ends a contract's pause."),
    _function("vote", False, {"proposal_id": "int", "approve": "bool"}, "str", "Votes; gives the proposal's status."),
    _function("proposal", True, {"proposal_id": "int"}, "dict", "One proposal with its votes."),
    _function(
        "proposals",
        True,
        {"start": "int", "count": "int"},
        "list",
        "Proposals by id, at most 100, without source text.",
    ),
    _function("members", True, {}, "list", "Validators and observers."),
    _function("parameters", True, {}, "dict", "The chain's parameters."),
    _function("protocol", True, {}, "dict", "The version of the rules, and what follows it from which height on."),
)
_TYPES: dict[str, type] = {"str": str, "int": int, "bool": bool}


class _Chamber:
    """One call: reads and writes go through `state`."""

    def __init__(self, state: Overlay, call: Call, runtime: Runtime) -> None:
        self.state = state
        self.call = call
        self.runtime = runtime
        self.events: list[Event] = []

    def answer(self) -> Any:
        function = next((f for f in ABI if f.name == self.call.function), None)
        if function is None:
            raise Refused("UNKNOWN_FUNCTION")
        if self.call.read_only and not function.view:
            raise Refused("NOT_A_VIEW")
        try:
            args = decode(self.call.args)
        except ValueError:
            raise Refused("BAD_ARGUMENTS") from None
        types = [_TYPES[kind] for _, kind in function.params]
        if not isinstance(args, list) or [type(a) for a in args] != types:
            raise Refused("BAD_ARGUMENTS")
        named = dict(zip([name for name, _ in function.params], args, strict=True))
        if any(isinstance(a, str) and len(a) > (MAX_SOURCE if n == "source" else MAX_TEXT) for n, a in named.items()):
            raise Refused("VALUE_TOO_LARGE")
        if any(isinstance(a, int) and not 0 <= a < 2**63 for a in args):
            raise Refused("OUT_OF_RANGE")
        if function.name.startswith("propose_"):
            return self._propose(function.name.removeprefix("propose_"), named)
        handlers: dict[str, Callable[..., Any]] = {
            "vote": self._vote,
            "proposal": lambda proposal_id: self._proposal(proposal_id).plain(),
            "proposals": self._proposals,
            "members": self._members,
            "protocol": self._protocol_now,
            "parameters": lambda: {n: getattr(self._params(), n) for n in sorted(ChainParams.__slots__)},
        }
        return handlers[function.name](**named)

    # --- voting ----------------------------------------------------------------------------------------------------

    def _validators(self) -> ValidatorSet:
        return decode_validators(self._stored(VALIDATORS))

    def _stored(self, key: bytes) -> bytes:
        value = self.state.get(key)
        assert value is not None, f"the state lacks {key!r}"
        return value

    def _power(self) -> int:
        sender = self.call.sender
        power = self._validators().power_of(ValidatorId(bytes.fromhex(sender))) if len(sender) == 40 else 0
        if power == 0:
            raise Refused("NOT_A_VALIDATOR")
        return power

    def _propose(self, kind: str, subject: dict[str, Any]) -> int:
        self._power()
        if kind in ("deploy", "upgrade"):
            subject = {**subject, "upgrade": kind == "upgrade"}
        CHECKS[kind](self, subject)
        raw = self.state.get(NEXT_ID)
        proposal_id = 1 if raw is None else int.from_bytes(raw, "big")
        self.state.writes[NEXT_ID] = (proposal_id + 1).to_bytes(8, "big")
        votes = {self.call.sender: True}
        proposal = Proposal(proposal_id, kind, subject, self.call.sender, self.call.height, votes)
        if kind in ("deploy", "upgrade"):
            subject["code_hash"] = digest(subject["source"].encode())
        self._emit("Proposed", proposal_id=proposal_id, kind=kind, proposer=self.call.sender)
        self._count(proposal)
        return proposal_id

    def _vote(self, proposal_id: int, approve: bool) -> str:
        self._power()
        proposal = self._proposal(proposal_id)
        if proposal.status != "open":
            raise Refused("PROPOSAL_CLOSED")
        if self.call.height > proposal.created_height + LIFE_HEIGHTS:
            raise Refused("PROPOSAL_EXPIRED")
        self._emit("Voted", proposal_id=proposal_id, voter=self.call.sender, approve=approve)
        return self._count(replace(proposal, votes={**proposal.votes, self.call.sender: approve}))

    def _count(self, proposal: Proposal) -> str:
        """Votes weigh what their validators weigh now: who left no longer counts."""
        validators = self._validators()
        weights = [(validators.power_of(ValidatorId(bytes.fromhex(v))), yes) for v, yes in proposal.votes.items()]
        status = proposal.status
        in_favour = sum(w for w, yes in weights if yes)
        enough = validators.is_third if proposal.kind == EMERGENCY else validators.is_quorum
        if enough(in_favour):
            CHECKS[proposal.kind](self, proposal.subject)
            status = ENACTMENTS[proposal.kind](self, proposal) or "passed"
        elif validators.is_third(sum(w for w, yes in weights if not yes)):
            status = "rejected"
        if status != "open":
            proposal = replace(proposal, status=status, decided_height=self.call.height)
            self._emit("Decided", proposal_id=proposal.id, status=status)
        votes = {voter: proposal.votes[voter] for voter in sorted(proposal.votes)}
        self.state.writes[_proposal_key(proposal.id)] = msgpack.packb(replace(proposal, votes=votes).plain())
        return status

    def _proposal(self, proposal_id: int) -> Proposal:
        raw = self.state.get(_proposal_key(proposal_id))
        if raw is None:
            raise Refused("UNKNOWN_PROPOSAL")
        return Proposal(**msgpack.unpackb(raw))

    def _proposals(self, start: int, count: int) -> list[dict[str, Any]]:
        raw = self.state.get(NEXT_ID)
        end = 1 if raw is None else int.from_bytes(raw, "big")
        first = max(start, 1)
        found = [self._proposal(i).plain() for i in range(first, min(end, first + min(count, 100)))]
        for plain in found:
            plain["subject"] = {k: v for k, v in plain["subject"].items() if k != "source"}
        return found

    def _emit(self, name: str, **fields: Any) -> None:
        self.events.append(Event(NAME, name, encode(dict(sorted(fields.items())))))

    # --- members ---------------------------------------------------------------------------------------------------

    def _members(self) -> list[dict[str, Any]]:
        members: list[dict[str, Any]] = msgpack.unpackb(self._stored(MEMBERS))
        return members

    def check_member(self, subject: dict[str, Any]) -> None:
        key = _public_key(subject["public_key"])
        if not subject["name"] or len(subject["name"]) > 64:
            raise Refused("BAD_NAME")
        if subject["power"] > MAX_POWER:
            raise Refused("POWER_TOO_LARGE")
        if any(m["name"] == subject["name"] and m["public_key"] != key.hex() for m in self._members()):
            raise Refused("NAME_TAKEN")
        self._changed_set(key, subject["name"], subject["power"])

    def enact_member(self, proposal: Proposal) -> None:
        subject = proposal.subject
        key = _public_key(subject["public_key"])
        others = [m for m in self._members() if m["public_key"] != key.hex()]
        self._keep_members([*others, {**subject, "public_key": key.hex()}])
        self.state.writes[WANTED_VALIDATORS] = encode_validators(
            self._changed_set(key, subject["name"], subject["power"])
        )

    def check_removal(self, subject: dict[str, Any]) -> None:
        key = _public_key(subject["public_key"])
        if all(m["public_key"] != key.hex() for m in self._members()):
            raise Refused("UNKNOWN_MEMBER")
        self._changed_set(key, "", 0)

    def enact_removal(self, proposal: Proposal) -> None:
        subject = proposal.subject
        key = _public_key(subject["public_key"])
        self._keep_members([m for m in self._members() if m["public_key"] != key.hex()])
        self.state.writes[WANTED_VALIDATORS] = encode_validators(self._changed_set(key, "", 0))

    def _keep_members(self, members: list[dict[str, Any]]) -> None:
        self.state.writes[MEMBERS] = msgpack.packb(sorted(members, key=lambda m: str(m["public_key"])))

    def _changed_set(self, public_key: bytes, name: str, power: int) -> ValidatorSet:
        """On top of what is already wanted for the next change."""
        raw = self.state.get(WANTED_VALIDATORS) or self._stored(NEXT_VALIDATORS)
        member = ValidatorId(address(public_key))
        others = [v for v in decode_validators(raw).validators if v.id != member]
        if power:
            others.append(Validator(member, public_key, Power(power), name))
        if not others:
            raise Refused("NO_VALIDATORS_LEFT")
        if len(others) > MAX_VALIDATORS:
            raise Refused("TOO_MANY_VALIDATORS")
        return ValidatorSet.of(others)

    # --- parameters and halting ---------------------------------------------------------------------------------------

    def _params(self) -> ChainParams:
        return read_params(self.state)

    def check_parameter(self, subject: dict[str, Any]) -> None:
        if subject["name"] not in PARAM_BOUNDS:
            raise Refused("UNKNOWN_PARAMETER")
        least, most = PARAM_BOUNDS[subject["name"]]
        if not least <= subject["value"] <= most:
            raise Refused("PARAMETER_OUT_OF_BOUNDS")

    def enact_parameter(self, proposal: Proposal) -> None:
        subject = proposal.subject
        changed: ChainParams = replace(self._params(), **{subject["name"]: subject["value"]})
        self.state.writes[PARAMS] = encode_params(changed)

    def check_halt(self, subject: dict[str, Any]) -> None:
        if subject["height"] and subject["height"] <= self.call.height:
            raise Refused("HEIGHT_IN_THE_PAST")

    def enact_halt(self, proposal: Proposal) -> None:
        subject = proposal.subject
        self.state.writes[HALT] = subject["height"].to_bytes(8, "big") if subject["height"] else None

    # --- versions of the rules ----------------------------------------------------------------------------------------

    def _protocol(self) -> Protocol:
        return decode_protocol(self.state.get(PROTOCOL))

    def _protocol_now(self) -> dict[str, int]:
        protocol = self._protocol()
        return {
            "version": protocol.at(self.call.height),
            "next_version": protocol.next_version,
            "next_height": protocol.next_height,
        }

    def check_protocol(self, subject: dict[str, Any]) -> None:
        """Versions follow one another, none is left out. What programs know of them must not matter here."""
        if subject["version"] != self._protocol().at(self.call.height) + 1:
            raise Refused("NOT_THE_NEXT_VERSION")
        if subject["height"] and subject["height"] <= self.call.height:
            raise Refused("HEIGHT_IN_THE_PAST")

    def enact_protocol(self, proposal: Proposal) -> None:
        current, subject = self._protocol().at(self.call.height), proposal.subject
        following = (subject["version"], subject["height"]) if subject["height"] else (current, 0)
        self.state.writes[PROTOCOL] = encode_protocol(Protocol(current, *following))

    # --- contracts ---------------------------------------------------------------------------------------------------

    def check_code(self, subject: dict[str, Any]) -> None:
        if subject["effective_height"] and subject["effective_height"] < self.call.height:
            raise Refused("HEIGHT_IN_THE_PAST")
        code = deploy_fault(self.state, subject)
        if code is not None:
            raise Refused(code)

    def schedule_code(self, proposal: Proposal) -> str:
        """At the end of the effective height (of this one, if none is given), after all of its transactions."""
        height = max(proposal.subject["effective_height"], self.call.height)
        waiting = _due(self.state, height)
        self.state.writes[_due_key(height)] = msgpack.packb([*waiting, proposal.id])
        return "scheduled"

    def check_pause(self, subject: dict[str, Any]) -> None:
        code = pause_fault(self.state, subject)
        if code is not None:
            raise Refused(code)

    def enact_pause(self, proposal: Proposal) -> None:
        until = {"pause": FOR_EVER, EMERGENCY: self.call.height + EMERGENCY_HEIGHTS, "resume": 0}[proposal.kind]
        set_pause(self.state, proposal.subject["name"], until)
        self._emit("PauseSet", contract=proposal.subject["name"], until_height=until)


Check = Callable[[_Chamber, dict[str, Any]], None]
Enactment = Callable[[_Chamber, Proposal], "str | None"]
"""Gives the proposal's status where that is not "passed"."""

CHECKS: dict[str, Check] = {
    "member": _Chamber.check_member,
    "removal": _Chamber.check_removal,
    "parameter": _Chamber.check_parameter,
    "halt": _Chamber.check_halt,
    "protocol": _Chamber.check_protocol,
    "deploy": _Chamber.check_code,
    "upgrade": _Chamber.check_code,
    "pause": _Chamber.check_pause,
    EMERGENCY: _Chamber.check_pause,
    "resume": _Chamber.check_pause,
}
ENACTMENTS: dict[str, Enactment] = {
    "member": _Chamber.enact_member,
    "removal": _Chamber.enact_removal,
    "parameter": _Chamber.enact_parameter,
    "halt": _Chamber.enact_halt,
    "protocol": _Chamber.enact_protocol,
    "deploy": _Chamber.schedule_code,
    "upgrade": _Chamber.schedule_code,
    "pause": _Chamber.enact_pause,
    EMERGENCY: _Chamber.enact_pause,
    "resume": _Chamber.enact_pause,
}


def _proposal_key(proposal_id: int) -> bytes:
    return PROPOSAL_PREFIX + proposal_id.to_bytes(8, "big")


def _public_key(text: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        raise Refused("BAD_PUBLIC_KEY") from None
    if len(key) != 32:
        raise Refused("BAD_PUBLIC_KEY")
    return key


def _due_key(height: int) -> bytes:
    return DUE_PREFIX + height.to_bytes(8, "big")


def _due(view: StateView, height: int) -> list[int]:
    raw = view.get(_due_key(height))
    return [] if raw is None else list(msgpack.unpackb(raw))


def enact_due(runtime: Runtime, view: StateView, height: int, time_ms: int) -> Writes:
    """What code governance decided to put in place at the end of this height. A failed one says so and changes nothing."""
    state = Overlay(view)
    for proposal_id in _due(state, height):
        key = _proposal_key(proposal_id)
        raw = state.get(key)
        assert raw is not None, "what is due was proposed"
        proposal = Proposal(**msgpack.unpackb(raw))
        failure = deploy_fault(state, proposal.subject)
        if failure is None:
            failure, _ = enact_deploy(runtime, state, proposal.subject, height, time_ms)
        status = f"failed: {failure}" if failure else "enacted"
        state.writes[key] = msgpack.packb(replace(proposal, status=status, decided_height=height).plain())
        state.writes[_due_key(height)] = None
    return state.writes
