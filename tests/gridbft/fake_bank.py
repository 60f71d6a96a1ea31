"""A contract runtime small enough to read: one contract, `bank`, whose views and functions are Python methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from contracts.runtime import codec
from contracts.runtime.api import Call, Event, Outcome, StateView
from gridbft.v1 import client_pb2 as wire

NAME = "bank"

ABI = wire.ContractInfo(
    name=NAME,
    version=1,
    code_hash=bytes(32),
    functions=[
        wire.FunctionAbi(
            name="mint",
            params=[wire.Param(name="to", type="str"), wire.Param(name="amount_micros", type="int")],
            returns="None",
            doc="Makes money.",
        ),
        wire.FunctionAbi(
            name="transfer",
            params=[wire.Param(name="to", type="str"), wire.Param(name="amount_micros", type="int")],
            returns="int",
            doc="Moves money; gives the sender's new balance.",
        ),
        wire.FunctionAbi(
            name="balance",
            view=True,
            params=[wire.Param(name="account", type="str")],
            returns="int",
            doc="What it has.",
        ),
        wire.FunctionAbi(
            name="statement",
            view=True,
            params=[wire.Param(name="accounts", type="list[str]")],
            returns="list[Line(account: str, balance_micros: int)]",
            doc="",
        ),
        wire.FunctionAbi(name="now", view=True, params=[], returns="tuple[int, int]", doc="Height and time."),
    ],
)


def balance_key(account: str) -> bytes:
    return b"bank/balance/" + account.encode()


class Refused(Exception):  # noqa: N818 - the fake's own signal
    pass


class BankRuntime:
    """Implements contracts.runtime.api.Runtime."""

    def execute(self, call: Call, view: StateView, gas_limit: int) -> Outcome:
        functions = _VIEWS if call.read_only else _FUNCTIONS
        function = functions.get(call.function)
        if call.contract != NAME:
            return Outcome(False, "UNKNOWN_CONTRACT", 1)
        if function is None:
            return Outcome(False, "UNKNOWN_FUNCTION", 1)
        frame = _Frame(call, view)
        try:
            result = function(frame, *codec.decode(call.args))
        except Refused as refusal:
            return Outcome(False, str(refusal), 10)
        return Outcome(True, "", 100, codec.encode(result), tuple(frame.events), frame.writes)


class _Frame:
    def __init__(self, call: Call, view: StateView) -> None:
        self.call = call
        self.view = view
        self.events: list[Event] = []
        self.writes: dict[bytes, bytes | None] = {}

    def balance(self, account: str) -> int:
        key = balance_key(account)
        stored = self.writes[key] if key in self.writes else self.view.get(key)
        return 0 if stored is None else int(codec.decode(stored))

    def set_balance(self, account: str, amount_micros: int) -> None:
        self.writes[balance_key(account)] = codec.encode(amount_micros)


def _mint(frame: _Frame, to: str, amount_micros: int) -> None:
    frame.set_balance(to, frame.balance(to) + amount_micros)
    frame.events.append(Event(NAME, "Minted", codec.encode({"amount_micros": amount_micros, "to": to})))


def _transfer(frame: _Frame, to: str, amount_micros: int) -> int:
    sender = frame.call.sender
    if frame.balance(sender) < amount_micros:
        raise Refused("INSUFFICIENT_BALANCE")
    frame.set_balance(sender, frame.balance(sender) - amount_micros)
    frame.set_balance(to, frame.balance(to) + amount_micros)
    fields = {"amount_micros": amount_micros, "source": sender, "to": to}
    frame.events.append(Event(NAME, "Transferred", codec.encode(fields)))
    return frame.balance(sender)


def _statement(frame: _Frame, accounts: list[str]) -> list[list[Any]]:
    return [[a, frame.balance(a)] for a in accounts]


_FUNCTIONS: dict[str, Callable[..., Any]] = {"mint": _mint, "transfer": _transfer}
_VIEWS: dict[str, Callable[..., Any]] = {
    "balance": _Frame.balance,
    "statement": _statement,
    "now": lambda frame: [frame.call.height, frame.call.time_ms],
}
