import json
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.tx import Tx, TxCall, decode_tx
from gridbft.errors import WalletError
from gridbft.verify import verify_signature
from gridbft.wallet import Keyring, Wallet

seeds = st.binary(min_size=32, max_size=32)


@given(seeds, st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), st.binary(max_size=64))
def test_a_built_transaction_decodes_to_what_was_asked_for_and_is_signed_by_its_sender(
    seed: bytes, nonce: int, expiry: int, gas: int, args: bytes
) -> None:
    wallet = Wallet.from_seed(seed)
    raw, tx_id = wallet.signed("chain", nonce, [TxCall("bank", "transfer", args)], expiry, gas)
    decoded = decode_tx(raw, "chain")
    assert isinstance(decoded, tuple)
    tx, signed = decoded
    expected = Tx(tx_id, tx.key, raw, wallet.address, nonce, expiry, gas, (TxCall("bank", "transfer", args),))
    assert tx == expected
    assert verify_signature(signed.public_key, signed.message, signed.signature)
    assert not verify_signature(signed.public_key, signed.message + b"x", signed.signature)


def test_a_saved_wallet_is_loaded_as_the_same_key(tmp_path: Path) -> None:
    wallet = Wallet.generate("alice")
    wallet.save(tmp_path / "alice.json")
    again = Wallet.load(tmp_path / "alice.json")
    assert (again.name, again.address, again.public_key) == ("alice", wallet.address, wallet.public_key)
    assert again.sign(b"m") == wallet.sign(b"m")


def test_a_key_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    Wallet.generate().save(tmp_path / "k.json")
    assert stat.S_IMODE((tmp_path / "k.json").stat().st_mode) == 0o600


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    Wallet.from_seed(bytes(32)).save(tmp_path / "k.json")
    with pytest.raises(WalletError, match="never overwritten"):
        Wallet.generate().save(tmp_path / "k.json")
    assert Wallet.load(tmp_path / "k.json").address == Wallet.from_seed(bytes(32)).address


DAMAGES: list[dict[str, object]] = [
    {"address": "00" * 20},
    {"public_key": "00" * 32},
    {"seed": "11" * 32},
    {"seed": "xy"},
    {"seed": None},
    {"seed": "11"},
    {"version": 9},
    {"name": 3},
]


@pytest.mark.parametrize("change", DAMAGES)
def test_a_damaged_key_file_is_refused_with_a_sentence(tmp_path: Path, change: dict[str, object]) -> None:
    file = tmp_path / "k.json"
    Wallet.from_seed(bytes(32), "k").save(file)
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(WalletError):
        Wallet.load(file)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe", b"{", b"null"])
def test_a_file_that_is_no_wallet_is_refused_with_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "k.json").write_bytes(content)
    with pytest.raises(WalletError):
        Wallet.load(tmp_path / "k.json")


def test_a_wallet_does_not_show_its_key() -> None:
    seed = bytes(range(32))
    assert seed.hex() not in repr(Wallet.from_seed(seed))


def test_a_keyring_keeps_keys_by_name(tmp_path: Path) -> None:
    keyring = Keyring(tmp_path / "keys")
    bob = keyring.new("bob")
    alice = keyring.new("alice", seed=bytes(32))
    assert keyring.names() == ["alice", "bob"]
    assert [w.address for w in keyring] == [alice.address, bob.address]
    assert keyring.get("bob").address == bob.address
    assert "carol" not in keyring
    with pytest.raises(WalletError, match=r"no key named 'carol'.*alice, bob"):
        keyring.get("carol")
    with pytest.raises(WalletError, match="exists already"):
        keyring.new("bob")


@given(st.text(max_size=12).filter(lambda s: "/" in s or s.startswith(".") or not s or "\0" in s))
def test_no_name_leaves_the_keyring_s_folder(name: str) -> None:
    with pytest.raises(WalletError):
        Keyring("/nowhere").path(name)
