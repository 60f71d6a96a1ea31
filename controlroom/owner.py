"""A person's own key, unlocked on the machine that serves the page, for the one browser that unlocked it.

The key never leaves this process: a page sends what it wants done, and what is signed goes to the nodes. A session is a
random token in a cookie that no script can read. It is offered only to viewers on this very machine that reach it by a
loopback name, so that neither a page of another site (`Origin`) nor a name that somebody points here (`Host`) gets a hand on it.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from controlroom.room import BadRequest, Params, Room, View
from gridbft import Client, Wallet
from gridbft.errors import QueryFailed, TransactionRefused, WalletError
from gridbft.records import Receipt
from gridbft.requests import make_call
from gridbft.wallet import Keyring

IDLE_S = 900.0
COOKIE = "controlroom"
GAS_LIMIT = 2_000_000
WRONG_PASSPHRASE_PAUSE_S = 1.0
MAX_WH = 10**12


class NotYours(PermissionError):  # noqa: N818 - named for what the viewer is told
    """Nothing is unlocked here, or this viewer may not unlock anything; one sentence."""


class Refused(Exception):  # noqa: N818 - named for what the viewer is told
    """The chain would not, or did not, do it: the contract's code."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(message or code)
        self.code = code


@dataclass(slots=True)
class Session:
    wallet: Wallet
    client: Client
    used_s: float  # monotonic


class Owner:
    """`keyring` None: nothing is ever offered. `connect` makes the client that signs with a wallet."""

    def __init__(self, room: Room, keyring: Keyring | None, connect: Callable[[Wallet], Client]) -> None:
        self.room = room
        self._keyring = keyring
        self._connect = connect
        self._sessions: dict[str, Session] = {}
        self._unlocking = asyncio.Lock()  # one try after the other

    # -- who

    def keys(self, token: str, local: bool) -> View:
        """What may be unlocked here, and what is."""
        session = self._sessions.get(token) if local else None
        offered = local and self._keyring is not None
        names = [self._key(name) for name in self._keyring.names()] if offered and self._keyring is not None else []
        unlocked = {"name": session.wallet.name, "account": session.wallet.address} if session else None
        return {"offered": offered, "keys": [k for k in names if k is not None], "unlocked": unlocked}

    def _key(self, name: str) -> dict[str, Any] | None:
        assert self._keyring is not None
        try:
            info = self._keyring.info(name)
        except WalletError:
            return None  # a file that is no key is nothing to unlock
        participant = info.address in self.room.model.people.participants
        return {"name": name, "account": info.address, "encrypted": info.encrypted, "participant": participant}

    async def unlock(self, name: str, passphrase: str) -> str:
        """A token for the browser. Raises NotYours where the passphrase is wrong or there is no such key."""
        if self._keyring is None:
            raise NotYours("this server was started without --keys: it has no key to unlock")
        async with self._unlocking:
            try:
                path = self._keyring.path(name)
                wallet = await asyncio.to_thread(Wallet.load, path, passphrase)
            except WalletError as error:
                await asyncio.sleep(WRONG_PASSPHRASE_PAUSE_S)
                raise NotYours("the key stays locked: there is no such key, or the passphrase is another") from error
        token = secrets.token_urlsafe(32)
        self._sessions[token] = Session(wallet, self._connect(wallet), time.monotonic())
        return token

    async def lock(self, token: str) -> None:
        session = self._sessions.pop(token, None)
        if session is not None:
            await session.client.close()

    async def lock_idle(self) -> None:
        """Locks what nobody used for a quarter of an hour."""
        now_s = time.monotonic()
        for token, session in list(self._sessions.items()):
            if now_s - session.used_s > IDLE_S:
                await self.lock(token)

    async def close(self) -> None:
        for token in list(self._sessions):
            await self.lock(token)

    def _session(self, token: str) -> Session:
        session = self._sessions.get(token)
        if session is None:
            raise NotYours("no key is unlocked in this browser")
        session.used_s = time.monotonic()
        return session

    # -- what it may do

    async def order_limits(self, token: str, params: Params) -> View:
        """What an order for the product may be at most, before anything is signed; -1: no limit."""
        session = self._session(token)
        zone, slot, account = params.get("zone", ""), _whole(params, "slot"), session.wallet.address
        ask = session.client.query
        try:
            buy_wh, sell_wh = await ask("market", "headroom", account, slot)
            is_open = await ask("market", "is_open", zone, slot)
            statement = await ask("payments", "statement", account)
            fees = await ask("market", "product_fees_of", zone, slot)
            participant = await ask("registry", "is_participant", account)
        except QueryFailed as error:
            raise Refused(error.code) from error
        product = self.room.model.trading.products.get((zone, slot))
        mine = [o for o in product.orders.values() if o.account == account and o.state == "OPEN"] if product else []
        return {
            "zone": zone,
            "slot": slot,
            "open": is_open,
            "participant": participant,
            "max_buy_wh": buy_wh,
            "max_sell_wh": sell_wh,
            "spendable_micros": statement[3],
            "dearest_fee_micros_per_kwh": max(fees[0::2]),
            "dearest_loss_ppm": max(fees[1::2]),
            "my_side": mine[0].side if mine else None,
        }

    async def retire_limits(self, token: str, params: Params) -> View:
        """How much of a certificate may be retired for the owner's, or another's, consumption in its slot."""
        session = self._session(token)
        model, number = self.room.model, _whole(params, "id")
        one = model.origin.certificates.get(number)
        if one is None or one.owner != session.wallet.address:
            raise NotYours("this certificate is not yours")
        beneficiary = params.get("beneficiary") or session.wallet.address
        try:
            consumed = (await session.client.query("metering", "imports", [(beneficiary, one.slot)]))[0]
            claimed = await session.client.query("certificates", "claimed_wh", beneficiary, one.slot)
        except QueryFailed as error:
            raise Refused(error.code) from error
        free = max(consumed - claimed, 0)
        told = {"left_wh": one.left, "consumed_wh": consumed, "claimed_wh": claimed, "max_wh": min(one.left, free)}
        return {"id": number, "slot": one.slot, "beneficiary": beneficiary, **told}

    async def place(self, token: str, wish: Mapping[str, Any]) -> View:
        side = wish.get("side")
        if side not in ("buy", "sell"):
            raise BadRequest("the side is buy or sell")
        numbers = (_integer(wish, "slot"), side, _integer(wish, "quantity_wh"), _integer(wish, "limit_micros_per_kwh"))
        return await self._do(token, "market", "place_order", str(wish.get("zone", "")), *numbers)

    async def cancel(self, token: str, wish: Mapping[str, Any]) -> View:
        return await self._do(token, "market", "cancel_order", _integer(wish, "order_id"))

    async def retire(self, token: str, wish: Mapping[str, Any]) -> View:
        beneficiary = str(wish.get("beneficiary") or self._session(token).wallet.address)
        args = (_integer(wish, "id"), _integer(wish, "quantity_wh"), beneficiary, str(wish.get("purpose", ""))[:128])
        return await self._do(token, "certificates", "retire", *args, _integer(wish, "slot"))

    async def _do(self, token: str, contract: str, function: str, *args: Any) -> View:
        """Tried on the latest state first: what would be refused is never signed."""
        session = self._session(token)
        call = make_call(contract, function, *args)
        trial = await session.client.simulate(call, GAS_LIMIT)
        if not trial.ok:
            raise Refused(trial.code)
        try:
            receipt: Receipt = await session.client.submit(call, True, gas_limit=GAS_LIMIT)
        except TransactionRefused as error:
            raise Refused(error.code, error.message) from error
        if not receipt.ok:
            raise Refused(receipt.code)
        return {"tx_id": receipt.tx_id, "height": receipt.height, "result": receipt.result}


def is_local(client_host: str, host_header: str, origin: str | None) -> bool:
    """Whether a request comes from this machine, by a loopback name, and from a page that was served under that name."""
    name = urlsplit(f"//{host_header}").hostname or ""
    if not _is_loopback(client_host) or not (name == "localhost" or _is_loopback(name)):
        return False
    return origin is None or urlsplit(origin).netloc == host_header


def _is_loopback(text: str) -> bool:
    try:
        return ip_address(text).is_loopback
    except ValueError:
        return False


def _whole(params: Params, name: str) -> int:
    text = params.get(name, "")
    if not text.isdecimal() or len(text) > 18:
        raise BadRequest(f"{name} is a whole number")
    return int(text)


def _integer(wish: Mapping[str, Any], name: str) -> int:
    value = wish.get(name)
    if type(value) is not int or not 0 <= value <= MAX_WH:
        raise BadRequest(f"{name} is a whole number")
    return value
