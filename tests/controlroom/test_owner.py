"""A key is unlocked by its passphrase only, for the one browser that did it, and by nobody from elsewhere."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from controlroom.feed import Feed
from controlroom.owner import IDLE_S, NotYours, Owner, Refused, is_local
from controlroom.room import BadRequest, Room
from gridbft import Client, Wallet
from gridbft.records import Receipt
from gridbft.wallet import Keyring

PASSPHRASE = "correct horse battery staple"


class Chain(Client):
    """A client whose chain refuses one code, or does everything; what it was told to sign is kept."""

    def __init__(self, wallet: Wallet, refuses: str = "") -> None:
        super().__init__(["127.0.0.1:1"], wallet)
        self.refuses = refuses
        self.signed: list[Any] = []
        self.closed = False

    async def close(self) -> None:
        self.closed = True

    async def simulate(self, calls: Any, gas_limit: int | None = None) -> Receipt:
        return receipt(self.refuses)

    async def submit(self, calls: Any, wait: bool = False, *, gas_limit: int | None = None) -> Any:
        self.signed.append(calls)
        return receipt("")


def receipt(code: str) -> Receipt:
    return Receipt("0" * 64, 1, 0, not code, code, 1, (7,), (), 0)


def owner_of(folder: Path | None, refuses: str = "") -> tuple[Owner, list[Chain]]:
    made: list[Chain] = []

    def connect(wallet: Wallet) -> Client:
        made.append(Chain(wallet, refuses))
        return made[-1]

    keyring = Keyring(folder) if folder is not None else None
    return Owner(Room(Feed(["127.0.0.1:1"])), keyring, connect), made


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    Keyring(folder).new("alice", passphrase=PASSPHRASE)
    (folder / "notes.json").write_text("{}")
    return folder


@pytest.mark.parametrize(
    ("client", "host", "origin", "local"),
    [
        ("127.0.0.1", "127.0.0.1:7100", None, True),
        ("127.0.0.1", "localhost:7100", "http://localhost:7100", True),
        ("::1", "[::1]:7100", "http://[::1]:7100", True),
        ("127.0.0.1", "127.0.0.1:7100", "http://127.0.0.1:8080", False),  # another page on this machine
        ("127.0.0.1", "127.0.0.1:7100", "https://example.org", False),
        ("127.0.0.1", "127.0.0.1:7100", "null", False),
        ("127.0.0.1", "room.example.org:7100", None, False),  # a name that somebody pointed here
        ("127.0.0.1", "127.0.0.1.example.org", None, False),
        ("10.0.0.7", "127.0.0.1:7100", None, False),
        ("", "", None, False),
    ],
)
def test_only_this_machine_by_a_loopback_name_from_its_own_page_is_local(
    client: str, host: str, origin: str | None, local: bool
) -> None:
    assert is_local(client, host, origin) is local


def test_a_key_opens_by_its_passphrase_only_and_signs_for_its_token_only(
    keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controlroom.owner.WRONG_PASSPHRASE_PAUSE_S", 0)

    async def run() -> None:
        owner, made = owner_of(keys)
        for name, passphrase in (("alice", "wrong"), ("alice", ""), ("bob", PASSPHRASE), ("../alice", PASSPHRASE)):
            with pytest.raises(NotYours):
                await owner.unlock(name, passphrase)
        token = await owner.unlock("alice", PASSPHRASE)
        assert owner.keys(token, True)["unlocked"] == {"name": "alice", "account": Keyring(keys).info("alice").address}
        wish = {"zone": "feeder", "slot": 5, "side": "sell", "quantity_wh": 3, "limit_micros_per_kwh": 4}
        assert (await owner.place(token, wish))["result"] == 7
        (call,) = made[0].signed
        assert (call.contract, call.function) == ("market", "place_order")
        for other in ("", token[:-1], token + "x"):
            assert owner.keys(other, True)["unlocked"] is None
            with pytest.raises(NotYours):
                await owner.place(other, wish)
        assert owner.keys(token, False) == {"offered": False, "keys": [], "unlocked": None}  # not from elsewhere
        await owner.lock(token)
        assert made[0].closed
        with pytest.raises(NotYours):
            await owner.place(token, wish)

    asyncio.run(run())


def test_files_that_are_no_keys_are_not_offered_and_without_a_folder_nothing_is(keys: Path) -> None:
    assert [key["name"] for key in owner_of(keys)[0].keys("", True)["keys"]] == ["alice"]
    owner, _ = owner_of(None)
    assert owner.keys("", True) == {"offered": False, "keys": [], "unlocked": None}
    with pytest.raises(NotYours):
        asyncio.run(owner.unlock("alice", PASSPHRASE))


def test_what_the_chain_would_refuse_is_never_signed(keys: Path) -> None:
    async def run() -> None:
        owner, made = owner_of(keys, "GATE_CLOSED")
        token = await owner.unlock("alice", PASSPHRASE)
        with pytest.raises(Refused) as refused:
            await owner.cancel(token, {"order_id": 1})
        assert refused.value.code == "GATE_CLOSED"
        assert made[0].signed == []

    asyncio.run(run())


@pytest.mark.parametrize(
    "wish",
    [
        {"zone": "z", "slot": 1, "side": "steal", "quantity_wh": 1, "limit_micros_per_kwh": 1},
        {"zone": "z", "slot": 1, "side": "buy", "quantity_wh": -1, "limit_micros_per_kwh": 1},
        {"zone": "z", "slot": 1.5, "side": "buy", "quantity_wh": 1, "limit_micros_per_kwh": 1},
        {"zone": "z", "slot": True, "side": "buy", "quantity_wh": 1, "limit_micros_per_kwh": 1},
        {"zone": "z", "slot": 1, "side": "buy", "limit_micros_per_kwh": 1},
    ],
)
def test_a_wish_that_is_no_order_is_refused_before_anything_is_asked(keys: Path, wish: dict[str, Any]) -> None:
    async def run() -> None:
        owner, made = owner_of(keys)
        token = await owner.unlock("alice", PASSPHRASE)
        with pytest.raises(BadRequest):
            await owner.place(token, wish)
        assert made[0].signed == []

    asyncio.run(run())


def test_a_key_that_nobody_uses_is_locked(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        owner, made = owner_of(keys)
        token = await owner.unlock("alice", PASSPHRASE)
        await owner.lock_idle()
        assert owner.keys(token, True)["unlocked"] is not None
        later = time.monotonic() + IDLE_S + 1
        monkeypatch.setattr("controlroom.owner.time.monotonic", lambda: later)
        await owner.lock_idle()
        assert owner.keys(token, True)["unlocked"] is None
        assert made[0].closed

    asyncio.run(run())
