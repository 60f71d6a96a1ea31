"""What a viewer asks for by name: a block, a transaction, a bill explained, a certificate's way. The node is asked at most
once for what never changes, and never because somebody merely looks on."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from controlroom.clock import slot_label, slots_of
from controlroom.plain import plain
from controlroom.room import BadRequest, Params, Room, View, account_of, chosen_day
from controlroom.views.certificates import shown_certificate
from controlroom.views.network import validator_addresses
from gridbft.errors import NotFound, QueryFailed
from gridbft.explain import Item, explain_bill
from gridbft.ground import Ground
from gridbft.history import asked
from gridbft.inspection import contract_source, settlement_terms
from gridbft.records import Receipt
from gridbft.trace import standing_readings, way_record

KEPT_ANSWERS = 256
ASKED_AT_ONCE = 8
MAX_HITS = 20
MAX_SHOWN_ROWS = 200


class Missing(LookupError):  # noqa: N818 - named for what the viewer is told
    """There is no such thing; one sentence."""


class Desk:
    """Answers for one server. `kept` holds answers that cannot change any more."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self._kept: OrderedDict[tuple[str, ...], Any] = OrderedDict()
        self._terms: dict[int, Any] = {}
        self._tariffs: dict[tuple[str, int], list[int]] = {}
        self._chain_id = ""

    def lookups(self) -> dict[str, Callable[[Params], Awaitable[View]]]:
        return {
            "block": self.block,
            "transaction": self.transaction,
            "contracts": self.contracts,
            "contract": self.contract,
            "bill": self.bill,
            "explain": self.explain,
            "statement": self.statement,
            "certificate": self.certificate,
            "search": self.search,
        }

    # -- the explorer

    async def block(self, params: Params) -> View:
        height = _number(params.get("height", ""), "height")
        return await self._once(("block", str(height)), lambda: self._block(height))

    async def _block(self, height: int) -> View:
        if height < 1:
            raise Missing("blocks begin at height 1")
        try:
            found = await self.room.feed.client.block(height)
        except NotFound as error:
            raise Missing(f"there is no block {height} here") from error
        names = validator_addresses(self.room)
        calls: dict[str, list[str]] = {}
        for call in asked(found.raw):
            calls.setdefault(call.tx_id, []).append(f"{call.contract}.{call.function}")
        return {
            "height": found.height,
            "block_id": found.block_id,
            "parent": found.parent,
            "time_ms": found.time_ms,
            "proposer": names.get(found.proposer, found.proposer),
            "round": found.round,
            "signers": [names.get(s, s) for s in found.signers],
            "state_root_before": found.state_root_before,
            "bytes": len(found.raw),
            "transactions": [
                {
                    "tx_id": r.tx_id,
                    "ok": r.ok,
                    "code": r.code,
                    "gas_used": r.gas_used,
                    "what": _summary(calls.get(r.tx_id, [])),
                }
                for r in found.receipts[:MAX_SHOWN_ROWS]
            ],
            "transaction_count": len(found.receipts),
        }

    async def transaction(self, params: Params) -> View:
        tx_id = params.get("tx_id", "").lower()
        if len(tx_id) != 64 or not _is_hex(tx_id):
            raise BadRequest("a transaction's id has 64 hexadecimal characters")
        return await self._once(("tx", tx_id), lambda: self._transaction(tx_id))

    async def _transaction(self, tx_id: str) -> View:
        client = self.room.feed.client
        try:
            receipt = await client.receipt(tx_id)
            block = await client.block(receipt.height)
        except NotFound as error:
            raise Missing("no final transaction has this id here") from error
        calls = [call for call in asked(block.raw) if call.tx_id == tx_id]
        sender = calls[0].sender if calls else ""
        return {
            **_receipt(receipt),
            "time_ms": block.time_ms,
            "sender": sender,
            "sender_name": self.room.model.people.name(sender) if sender else "",
            "calls": [
                {"contract": c.contract, "function": c.function, "args": _cut(plain(list(c.args)))} for c in calls[:60]
            ],
            "call_count": len(calls),
        }

    async def contracts(self, params: Params) -> View:
        return await self._once(("contracts", str(self.room.model.height)), self._contracts)

    async def _contracts(self) -> View:
        found = await self.room.feed.client.contracts()
        return {
            "contracts": [
                {"name": c.name, "version": c.version, "code_hash": c.code_hash, "functions": len(c.functions)}
                for c in found
            ]
        }

    async def contract(self, params: Params) -> View:
        name = params.get("name", "")
        client = self.room.feed.client
        source = await contract_source(client.state, name)
        if source is None:
            raise Missing(f"there is no contract {name[:60]!r}")
        abi = next((c for c in await client.contracts() if c.name == name), None)
        functions = abi.functions if abi is not None else ()
        return {
            "name": name,
            **asdict(source),
            "paused": source.paused_until > self.room.model.height,
            "functions": [{"signature": f.signature(), "view": f.view, "doc": f.doc} for f in functions],
        }

    async def search(self, params: Params) -> View:
        """Everything that the words may mean: height, block, transaction, account, name, meter, certificate, contract."""
        text = params.get("q", "").strip()
        if not text or len(text) > 128:
            raise BadRequest("search for 1 to 128 characters")
        hits = [*self._known(text), *await self._asked(text)]
        return {"q": text, "hits": hits[:MAX_HITS]}

    def _known(self, text: str) -> list[dict[str, str]]:
        model, low = self.room.model, text.lower()
        hits: list[dict[str, str]] = []
        if text.isdecimal() and len(text) <= 18:
            number = int(text)
            if model.first_height <= number <= model.height:
                hits.append(_hit("block", text, f"explorer/block/{number}"))
            if number in model.origin.certificates:
                hits.append(_hit("certificate", text, f"certificates/{number}"))
            if number in model.origin.retirements:
                certificate = model.origin.retirements[number].certificate_id
                hits.append(_hit("retirement", text, f"certificates/{certificate}"))
            hits += [
                _hit("proposal", text, "explorer/proposals")
                for p in self.room.feed.facts.proposals
                if p["id"] == number
            ]
        for one in model.people.participants.values():
            if low in (one.account, one.name.lower()) or (len(low) >= 3 and low in one.name.lower()):
                hits.append(_hit("participant", one.name, f"participant/{one.account}"))
        for account, roles in model.people.roles.items():
            named = {role.lower() for role in roles} | {role.lower().replace("_", " ") for role in roles}
            if roles and account not in model.people.participants and low in (account, *named):
                hits.append(_hit("account", model.people.name(account), f"participant/{account}"))
        for meter in model.people.meters.values():
            if low == meter.code.lower():
                hits.append(_hit("meter", meter.code, f"participant/{meter.account}"))
        for member in self.room.feed.members:
            if low in (member["name"].lower(), member["address"], member["public_key"]):
                hits.append(_hit("validator", member["name"], "network"))
        hits += [
            _hit("block", str(b.height), f"explorer/block/{b.height}")
            for b in model.blocks
            if len(low) >= 8 and b.block_id.startswith(low)
        ]
        hits += [
            _hit("transaction", t.tx_id, f"explorer/tx/{t.tx_id}")
            for t in model.recent
            if 8 <= len(low) < 64 and t.tx_id.startswith(low)
        ]
        return hits

    async def _asked(self, text: str) -> list[dict[str, str]]:
        client, low, hits = self.room.feed.client, text.lower(), list[dict[str, str]]()
        for contract in await client.contracts():
            if low == contract.name or low == contract.code_hash:
                hits.append(_hit("contract", contract.name, f"explorer/contract/{contract.name}"))
            hits += [
                _hit("function", f"{contract.name}.{f.name}", f"explorer/contract/{contract.name}")
                for f in contract.functions
                if low in (f.name, f"{contract.name}.{f.name}")
            ]
        if len(low) == 64 and _is_hex(low):
            try:
                await client.receipt(low)
                hits.append(_hit("transaction", low, f"explorer/tx/{low}"))
            except NotFound:
                pass  # it is no transaction; it may be something else that was found
        return hits

    # -- bills and certificates

    async def bill(self, params: Params) -> View:
        """The account's lines for a day, a slot in each; each can be opened by `explain`."""
        model = self.room.model
        account, day = account_of(model, params), chosen_day(model, params)
        if not account or day is None:
            raise BadRequest("whose bill, and of which day?")
        slots = [s for s in slots_of(day) if s in model.by_slot]
        await self._learn_terms(account, slots)
        lines, total = [], 0
        for slot in slots:
            item = self._explained(account, slot)
            if item.parts:
                parts = [{"label": p.label, "amount_micros": p.amount_micros} for p in item.parts[0].parts]
                lines.append(
                    {"slot": slot, "label": slot_label(slot), "amount_micros": item.amount_micros, "parts": parts}
                )
                total += item.amount_micros or 0
        return {"account": account, "day": day.isoformat(), "lines": lines, "total_micros": total}

    async def explain(self, params: Params) -> View:
        """One slot of a bill, down to the readings."""
        model = self.room.model
        account, slot = account_of(model, params), _number(params.get("slot", ""), "slot")
        await self._learn_terms(account, [slot])
        item = self._explained(account, slot)
        if not item.parts:
            raise Missing("nothing was billed for this slot")
        return {"account": account, "slot": slot, "item": self._item(item.parts[0])}

    def _explained(self, account: str, slot: int) -> Item:
        model = self.room.model
        ground = Ground(account, model.by_slot.get(slot, []), first_height=model.first_height)
        for meter in model.people.meters_of.get(account, []):
            if rows := model.energy.rows_of(meter.code, slot):
                ground.readings[meter.code, slot] = rows
        if slot in self._terms:
            ground.terms[slot] = self._terms[slot]
        ground.tariffs = {key: rates for key, rates in self._tariffs.items() if key[1] == slot}
        return explain_bill(ground, range(slot, slot + 1))

    async def _learn_terms(self, account: str, slots: list[int]) -> None:
        """The terms of settlements and the rates of grid fees that the account's lines need; each is asked for once."""
        self._forget_other_chain()
        model, client = self.room.model, self.room.feed.client
        gate = asyncio.Semaphore(ASKED_AT_ONCE)

        async def terms(slot: int) -> None:
            async with gate:
                found = await client.query("imbalance", "terms", slot)
                if found is not None:
                    self._terms[slot] = settlement_terms(found)

        async def rates(zone: str, slot: int) -> None:
            async with gate:
                self._tariffs[zone, slot] = list(await client.query("market", "product_fees_of", zone, slot))

        wanted = [s for s in slots if s not in self._terms and account in model.energy.settled.get(s, {})]
        paid = {
            (e.fields["zone"], s)
            for s in slots
            for e in model.by_slot.get(s, [])
            if e.fields.get("buyer") == account and e.fields.get("fee_micros", 0) + e.fields.get("loss_micros", 0)
        }
        await asyncio.gather(*(terms(s) for s in wanted), *(rates(*p) for p in paid if p not in self._tariffs))

    def _item(self, item: Item) -> dict[str, Any]:
        name = self.room.model.people.name
        facts = {k: name(v) if k in ("with", "brp", "debtor", "by", "signed_by") else v for k, v in item.facts.items()}
        label = name(item.label) if len(item.label) == 40 else item.label
        return {
            "label": label,
            "amount_micros": item.amount_micros,
            "facts": plain(facts),
            "parts": [self._item(p) for p in item.parts],
            "because": [self._item(p) for p in item.because],
        }

    async def statement(self, params: Params) -> View:
        """The account's money as its node tells it now."""
        account = account_of(self.room.model, params)
        if not account:
            raise BadRequest("whose money?")
        key = ("statement", account, str(self.room.model.height))
        return await self._once(key, lambda: self._statement(account))

    async def _statement(self, account: str) -> View:
        try:
            found = await self.room.feed.client.query("payments", "statement", account)
            owed = await self.room.feed.client.query("imbalance", "arrears", account)
        except QueryFailed as error:
            raise BadRequest(str(error)) from error
        names = ("balance_micros", "held_micros", "credit_limit_micros", "spendable_micros")
        return {"account": account, **dict(zip(names, found, strict=True)), "arrears_micros": owed}

    async def certificate(self, params: Params) -> View:
        """A certificate's way from the meter to its retirements."""
        model, number = self.room.model, _number(params.get("id", ""), "certificate")
        way = model.origin.way_of(number)
        if way is None:
            raise Missing(absent(number, model.origin.newest_certificate, "certificate", "trace"))
        rows = [] if way.is_carbon else [r for s in way.slots for r in model.energy.rows_of(way.device, s)]
        record = plain(way_record(way, standing_readings(way, rows)))
        people = ("source", "owner", "beneficiary", "seller", "buyer")
        for event in record["history"]:
            event |= {f"{p}_name": model.people.name(event[p]) for p in people if event.get(p)}
        for reading in record["readings"]:
            reading["signed_by_name"] = model.people.name(reading["signed_by"])
        return {"certificate": shown_certificate(model, model.origin.certificates[number]), **record}

    # -- within

    async def _once(self, key: tuple[str, ...], ask: Callable[[], Awaitable[View]]) -> View:
        self._forget_other_chain()
        if key not in self._kept:
            self._kept[key] = await ask()
            if len(self._kept) > KEPT_ANSWERS:
                self._kept.popitem(last=False)
        found: View = self._kept[key]
        return found

    def _forget_other_chain(self) -> None:
        if self._chain_id != self.room.feed.chain_id:
            self._kept.clear()
            self._terms.clear()
            self._tariffs.clear()
            self._chain_id = self.room.feed.chain_id


def absent(number: int, newest: int, what: str, command: str) -> str:
    """Why there is no such certificate or retirement here; they are numbered from 1."""
    if 1 <= number <= newest:
        return f"too old for this page to have it: gridbft {command} {what} {number} asks the chain"
    return f"there is no {what} {number}"


def _receipt(receipt: Receipt) -> dict[str, Any]:
    return {
        "tx_id": receipt.tx_id,
        "height": receipt.height,
        "index": receipt.index,
        "ok": receipt.ok,
        "code": receipt.code,
        "gas_used": receipt.gas_used,
        "failed_call": receipt.failed_call,
        "results": _cut(plain(list(receipt.results))),
        "events": [
            {"contract": e.contract, "name": e.name, "fields": plain(dict(e.fields))}
            for e in receipt.events[:MAX_SHOWN_ROWS]
        ],
        "event_count": len(receipt.events),
    }


def _summary(calls: list[str]) -> str:
    first = calls[0] if calls else ""
    return first if len(calls) < 2 else f"{first} +{len(calls) - 1}"


def _cut(value: Any) -> Any:
    """Long lists are shown by their beginning."""
    if isinstance(value, list):
        shown = [_cut(v) for v in value[:20]]
        return [*shown, f"... {len(value) - 20} more"] if len(value) > 20 else shown
    return value


def _hit(kind: str, title: str, page: str) -> dict[str, str]:
    return {"kind": kind, "title": title, "page": page}


def _number(text: str, what: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        raise BadRequest(f"{text[:20]!r} is no {what}: expected a whole number")
    return int(text)


def _is_hex(text: str) -> bool:
    return all(c in "0123456789abcdef" for c in text)
