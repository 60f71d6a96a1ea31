"""Certificates away from any chain: the contracts themselves, in memory, do the splitting, claiming and retiring.

Input as in `gridbft.offline`; what the contracts refuse is an InputFault at the row that asked for it, with their code.
"""

from __future__ import annotations

from typing import Any

from contracts.energy import DEPLOYMENT_ORDER, SOURCES, genesis_calls
from contracts.energy import certificates as rules
from contracts.energy.metering import MAX_IMPORT_WH, MAX_SLOT, export_limit_wh
from contracts.energy.registry import MAX_RATING_W
from contracts.host import ContractError
from contracts.runtime.codec import encode
from contracts.runtime.keys import state_key
from contracts.runtime.world import World
from gridbft.rows import Field, Integer, Row, Text, parse_object, read_table, require_unique, shown

_OPERATOR, _OWNER, _OTHER = ("0" * 39 + digit for digit in "123")
_SLOT_MS = 900_000
_FIRST_ACCOUNT = 0x1000
_WH = Integer(1, export_limit_wh(MAX_RATING_W))

_WHOLE: dict[str, Field] = {"id": Text(), "quantity_wh": _WH, "unit_start": Integer(0, 10**18, default=0)}
_SPLIT: dict[str, Field] = {"id": Text(), "quantity_wh": _WH}
_SLOT = Integer(0, MAX_SLOT)
_CERTIFICATE: dict[str, Field] = {"id": Text(), "slot": _SLOT, "quantity_wh": _WH, "beneficiary": Text(default="")}
_CONSUMPTION: dict[str, Field] = {"account": Text(), "slot": _SLOT, "import_wh": Integer(0, MAX_IMPORT_WH)}


def split_certificates(text: str) -> dict[str, Any]:
    """{"certificates": [{"id", "quantity_wh", "unit_start"}], "splits": [{"id", "quantity_wh"}]}, splits in their order.

    A split gives the lower unit numbers to a new certificate, ID/1 for the first one of ID, which later splits may name; the
    rest keeps its id. `unit_start` may be left out (0). Gives {"certificates": [{"id", "parent", "unit_start",
    "unit_end", "quantity_wh"}]}, each after the one that it was split from. Raises InputFault.
    """
    record = parse_object(text, ("certificates", "splits"))
    wholes = read_table(record, "certificates", _WHOLE)
    require_unique(wholes, "id")
    book = _Book(0)
    numbers: dict[str, int] = {}
    parents: dict[str, str | None] = {}
    parts_of: dict[str, int] = {}
    for row, number in zip(wholes, book.issue([(row, 0, row["unit_start"]) for row in wholes]), strict=True):
        numbers[row["id"]] = number
        parents[row["id"]] = None
    for row in read_table(record, "splits", _SPLIT):
        name = row["id"]
        if name not in numbers:
            row.refuse("id", f"there is no certificate {shown(name)}")
        parts_of[name] = parts_of.get(name, 0) + 1
        part = f"{name}/{parts_of[name]}"
        if part in numbers:
            row.refuse("id", f"the part would be called {shown(part)}, which stands already")
        numbers[part] = book.split(row, numbers[name])
        parents[part] = name
    return {"certificates": [book.record(name, parents[name], number) for name, number in numbers.items()]}


def match_certificates(text: str) -> dict[str, Any]:
    """{"certificates": [{"id", "slot", "quantity_wh", "beneficiary"}], "consumption": [{"account", "slot", "import_wh"}]}.

    Retires certificates, in their order, for what was consumed in the same slot, in its order, until the units or the
    consumption are used up: each unit and each consumed Wh once. With "beneficiary" only that account's consumption is
    claimed. Gives {"matches": [{"id", "account", "slot", "quantity_wh", "unit_start", "unit_end"}], "certificates": [{"id",
    "retired_wh", "left_wh"}], "consumption": [{"account", "slot", "claimed_wh", "open_wh"}]}. Raises InputFault.
    """
    record = parse_object(text, ("certificates", "consumption"))
    certificates = read_table(record, "certificates", _CERTIFICATE)
    consumption = read_table(record, "consumption", _CONSUMPTION)
    require_unique(certificates, "id")
    by_slot: dict[int, list[Row]] = {}
    seen: set[tuple[str, int]] = set()
    for row in consumption:
        if (row["account"], row["slot"]) in seen:
            row.refuse("account", f"{shown(row['account'])} has consumption of slot {row['slot']} already")
        seen.add((row["account"], row["slot"]))
        if row["import_wh"] > 0:
            by_slot.setdefault(row["slot"], []).append(row)
    book = _Book(max((row["slot"] for row in (*certificates, *consumption)), default=0))
    book.consume(consumption)
    numbers = book.issue([(row, row["slot"], 0) for row in certificates])
    matches = []
    for row, number in zip(certificates, numbers, strict=True):
        for used in list(by_slot.get(row["slot"], ())):
            if row["beneficiary"] in ("", used["account"]) and book.left_wh(number) > 0:
                matches.append(book.retire(row, number, used))
                if book.open_wh(used) == 0:
                    by_slot[row["slot"]].remove(used)
    left_wh = [book.left_wh(number) for number in numbers]
    open_wh = [book.open_wh(row) for row in consumption]
    return {
        "matches": matches,
        "certificates": [
            {"id": row["id"], "retired_wh": row["quantity_wh"] - left, "left_wh": left}
            for row, left in zip(certificates, left_wh, strict=True)
        ],
        "consumption": [
            {"account": row["account"], "slot": row["slot"], "claimed_wh": row["import_wh"] - wh, "open_wh": wh}
            for row, wh in zip(consumption, open_wh, strict=True)
        ],
    }


class _Book:
    """The energy contracts in memory, with an owner of all certificates and an account for each name."""

    def __init__(self, last_slot: int) -> None:
        self._world = World()
        for name in DEPLOYMENT_ORDER:
            self._world.deploy(name, SOURCES[name])
        for contract, function, args in genesis_calls(_OPERATOR, _OPERATOR, _OPERATOR):
            self._world.call(contract, function, *args)
        self._world.height = 1
        self._world.time_ms = (last_slot + 1) * _SLOT_MS
        for account in (_OWNER, _OTHER):
            self._operate("registry", "register_participant", account, "owner", "")
        self._accounts: dict[str, str] = {}
        self._slots: set[int] = set()

    def issue(self, wanted: list[tuple[Row, int, int]]) -> list[int]:
        """A certificate for each (row, slot, first unit), of a device of its own that has metered exactly that much.

        Gives their numbers. Closes the slots: whatever else is metered must be there before.
        """
        for place, (row, slot, unit_start) in enumerate(wanted):
            device = f"device-{place}"
            self._operate("registry", "register_meter", device, _OWNER, "pv", "bus", MAX_RATING_W)
            if unit_start:
                self._world.state[state_key("certificates", "device_units", device)] = encode(unit_start)
            self._meter(device, slot, 0, row["quantity_wh"])
        for slot in sorted(self._slots):
            self._operate("metering", "close_slot", slot)
        return [
            int(self._asked(row, _OPERATOR, "issue", f"device-{place}", slot, row["quantity_wh"]))
            for place, (row, slot, _) in enumerate(wanted)
        ]

    def split(self, row: Row, number: int) -> int:
        whole = self._certificate(number)
        if row["quantity_wh"] == whole["unit_end"] - whole["unit_start"]:
            row.refuse("quantity_wh", f"is all that {shown(row['id'])} has: nothing would be left")
        part = int(self._asked(row, _OWNER, "transfer", number, row["quantity_wh"], _OTHER))
        self._asked(row, _OTHER, "transfer", part, row["quantity_wh"], _OWNER)  # so that it can be split again
        return part

    def consume(self, rows: list[Row]) -> None:
        for row in rows:
            self._meter(f"meter-{self._account(row['account'])}", row["slot"], row["import_wh"], 0)

    def retire(self, row: Row, number: int, used: Row) -> dict[str, Any]:
        """As much as there is of both; there must be something of both."""
        quantity_wh = min(self.left_wh(number), self.open_wh(used))
        account = self._account(used["account"])
        retirement = self._asked(row, _OWNER, "retire", number, quantity_wh, account, "", used["slot"])
        made = self._named("Retirement", self._world.view("certificates", "retirement", retirement))
        units = {"unit_start": made["unit_start"], "unit_end": made["unit_end"]}
        place = {"account": used["account"], "slot": used["slot"]}
        return {"id": row["id"], **place, "quantity_wh": quantity_wh, **units}

    def left_wh(self, number: int) -> int:
        found = self._certificate(number)
        return int(found["unit_end"] - found["unit_start"])

    def open_wh(self, row: Row) -> int:
        """What of the consumption no retirement has claimed."""
        claimed_wh = self._world.view("certificates", "claimed_wh", self._account(row["account"]), row["slot"])
        return int(row["import_wh"] - claimed_wh)

    def record(self, name: str, parent: str | None, number: int) -> dict[str, Any]:
        found = self._certificate(number)
        units = {"unit_start": found["unit_start"], "unit_end": found["unit_end"]}
        return {"id": name, "parent": parent, **units, "quantity_wh": found["unit_end"] - found["unit_start"]}

    def _certificate(self, number: int) -> dict[str, Any]:
        return self._named("Certificate", self._world.view("certificates", "certificate", number))

    def _named(self, kind: str, record: Any) -> dict[str, Any]:
        return dict(zip(getattr(rules, kind)._fields, record, strict=True))

    def _account(self, name: str) -> str:
        """An address for a name of the input, with a meter of its own."""
        if name not in self._accounts:
            account = f"{_FIRST_ACCOUNT + len(self._accounts):040x}"
            self._accounts[name] = account
            self._operate("registry", "register_participant", account, "consumer", "")
            self._operate("registry", "register_meter", f"meter-{account}", account, "household", "bus", MAX_RATING_W)
        return self._accounts[name]

    def _meter(self, meter: str, slot: int, import_wh: int, export_wh: int) -> None:
        self._slots.add(slot)
        self._operate("metering", "submit", [(meter, slot, import_wh, export_wh, "DIRECT")])

    def _operate(self, contract: str, function: str, *args: Any) -> Any:
        return self._world.call(contract, function, *args, sender=_OPERATOR)

    def _asked(self, row: Row, sender: str, function: str, *args: Any) -> Any:
        try:
            return self._world.call("certificates", function, *args, sender=sender)
        except ContractError as refusal:
            row.refuse("quantity_wh", f"the certificates contract refuses it: {refusal.code}")
