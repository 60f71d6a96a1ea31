"""Keys at rest: only the passphrase opens them, and a forged file neither opens nor costs the machine its memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridbft.errors import WalletError
from gridbft.passphrase import find_passphrase, read_passphrase
from gridbft.sealing import INTERACTIVE, Cost, seal, unseal
from gridbft.wallet import OPEN, Keyring, Wallet, key_info

CHEAP = Cost(1, 8192)
SEALED = seal(b"secret", "open sesame", CHEAP)


@given(st.binary(min_size=1, max_size=64), st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_only_the_same_passphrase_opens_what_was_sealed(secret: bytes, words: str, other: str) -> None:
    record = seal(secret, words, CHEAP)
    assert unseal(json.loads(json.dumps(record)), words) == secret
    if other != words:
        with pytest.raises(WalletError, match="passphrase is wrong"):
            unseal(record, other)


@given(st.data())
def test_a_changed_byte_is_noticed(data: st.DataObject) -> None:
    field = data.draw(st.sampled_from(["salt", "sealed"]))
    raw = bytearray.fromhex(SEALED[field])
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(WalletError):
        unseal({**SEALED, field: raw.hex()}, "open sesame")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kdf": "scrypt"}, "is not of the kind argon2id"),
        ({"cipher": "none"}, "is not of the kind argon2id"),
        ({"operations": 10**6}, "operations: expected"),
        ({"operations": True}, "operations: expected"),
        ({"memory_bytes": 1 << 40}, "memory_bytes: expected"),
        ({"memory_bytes": 1}, "memory_bytes: expected"),
        ({"salt": "00"}, "salt: expected 16 bytes"),
        ({"salt": 5}, "no salt and sealed bytes"),
        ({"sealed": "zz"}, "no salt and sealed bytes"),
        ({"sealed": ""}, "is wrong, or the sealed key is damaged"),
    ],
)
def test_a_forged_record_is_refused_with_a_sentence(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(WalletError, match=sentence):
        unseal({**SEALED, **change}, "open sesame")


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda x: st.lists(x) | st.dictionaries(st.text(max_size=5), x),
        max_leaves=5,
    )
)
def test_whatever_stands_in_the_place_of_a_record_is_refused(record: Any) -> None:
    with pytest.raises(WalletError):
        unseal(record, "x")


def test_two_files_of_one_key_and_passphrase_have_nothing_secret_in_common() -> None:
    one, two = seal(bytes(32), "x", CHEAP), seal(bytes(32), "x", CHEAP)
    assert one["salt"] != two["salt"]
    assert one["sealed"] != two["sealed"]


def test_people_pay_at_least_64_mib_for_a_guess() -> None:
    assert INTERACTIVE.memory_bytes >= 64 << 20


def test_an_encrypted_wallet_needs_its_passphrase_and_tells_its_address_without(tmp_path: Path) -> None:
    file = tmp_path / "alice.json"
    wallet = Wallet.generate("alice")
    wallet.save(file, "open sesame", CHEAP)
    assert "seed" not in json.loads(file.read_text())
    assert Wallet.load(file, "open sesame").address == wallet.address
    assert key_info(file).address == wallet.address
    assert key_info(file).encrypted
    with pytest.raises(WalletError, match="stays locked: the passphrase is wrong"):
        Wallet.load(file, "close sesame")


def test_a_key_that_is_not_encrypted_must_say_so(tmp_path: Path) -> None:
    file = tmp_path / "k.json"
    Wallet.generate("k").save(file)
    record = json.loads(file.read_text())
    assert record.pop("encryption") == OPEN
    for silent in (record, {**record, "encryption": None}, {**record, "encryption": "none"}):
        file.write_text(json.dumps(silent))
        with pytest.raises(WalletError, match="neither encrypted nor does it say that it is open"):
            Wallet.load(file)


def test_a_key_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "k.json"
    wallet = Wallet.generate("k")
    wallet.save(file, "old", CHEAP)
    wallet.save(file, "new", CHEAP, replace=True)
    assert Wallet.load(file, "new").address == wallet.address
    with pytest.raises(WalletError):
        Wallet.load(file, "old")
    assert [p.name for p in tmp_path.iterdir()] == ["k.json"]
    assert file.stat().st_mode & 0o077 == 0


def test_a_keyring_unlocks_with_what_it_was_given(tmp_path: Path) -> None:
    made = Keyring(tmp_path).new("bob", passphrase="b", cost=CHEAP)
    asked: list[str] = []

    def ask(what: str) -> str:
        asked.append(what)
        return "b"

    keyring = Keyring(tmp_path, ask)
    assert keyring.info("bob").address == made.address
    assert asked == []
    assert keyring.get("bob").address == made.address
    assert asked == [f"key file {tmp_path / 'bob.json'}"]


def test_a_passphrase_comes_from_the_file_then_the_environment_then_the_prompt(tmp_path: Path) -> None:
    file = tmp_path / "words"
    file.write_text("from the file\nsecond line\n")
    file.chmod(0o600)
    variables = {"GRIDBFT_PASSPHRASE": "from the environment", "GRIDBFT_PASSPHRASE_FILE": str(file)}
    assert find_passphrase(file, variables, str.upper)("k") == "from the file"
    assert find_passphrase(None, variables, str.upper)("k") == "from the environment"
    del variables["GRIDBFT_PASSPHRASE"]
    assert find_passphrase(None, variables, str.upper)("k") == "from the file"
    assert find_passphrase(None, {}, str.upper)("k") == "K"
    with pytest.raises(WalletError, match="k is encrypted: give --passphrase-file"):
        find_passphrase(None, {})("k")


@pytest.mark.parametrize(("content", "mode"), [(b"", 0o600), (b"\nx", 0o600), (b"\xff\xfe", 0o600), (b"words", 0o604)])
def test_a_passphrase_file_that_is_empty_or_open_to_everybody_is_refused(
    tmp_path: Path, content: bytes, mode: int
) -> None:
    file = tmp_path / "words"
    file.write_bytes(content)
    file.chmod(mode)
    with pytest.raises(WalletError, match="passphrase file"):
        read_passphrase(file)
