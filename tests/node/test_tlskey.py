"""tls.key at rest: sealed, or open and saying so; what is damaged or strange is one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from gridbft.errors import WalletError
from gridbft.sealing import Cost
from node.certs import TlsIdentity, make_tls_identity, utc_now
from node.tlskey import load_tls_key, public_digest_of_certificate, save_tls_key, tls_key_info

CHEAP = Cost(1, 8192)
TLS = make_tls_identity("node", utc_now())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tls.key"


@given(words=st.text(min_size=1, max_size=20), wrong=st.text(min_size=1, max_size=20))
def test_a_sealed_key_opens_with_its_own_passphrase_only(
    tmp_path_factory: pytest.TempPathFactory, words: str, wrong: str
) -> None:
    path = tmp_path_factory.mktemp("sealed") / "tls.key"
    save_tls_key(path, TLS.private_key, words, CHEAP)
    assert load_tls_key(path, words) == TLS.private_key
    if wrong != words:
        with pytest.raises(WalletError, match="stays locked"):
            load_tls_key(path, wrong)


def test_a_sealed_file_has_nothing_of_the_key_in_it_and_is_matched_with_its_certificate_while_locked(
    path: Path,
) -> None:
    save_tls_key(path, TLS.private_key, "words", CHEAP)
    text = path.read_text()
    assert not any(line in text for line in TLS.private_key.splitlines())
    assert (tls_key_info(path).kept, tls_key_info(path).public_digest) == (
        "sealed",
        public_digest_of_certificate(TLS.certificate),
    )
    assert path.stat().st_mode & 0o077 == 0


def test_an_open_key_says_so_and_stays_readable_for_other_programs(path: Path) -> None:
    save_tls_key(path, TLS.private_key, None)
    assert path.read_text().splitlines()[0] == "encryption: none: anyone who reads this file has the key"
    assert load_tls_key(path, _nobody) == TLS.private_key
    assert serialization.load_pem_private_key(path.read_bytes(), None)
    assert tls_key_info(path).kept == "open"
    path.write_text(TLS.private_key)
    assert load_tls_key(path, _nobody) == TLS.private_key
    assert tls_key_info(path).kept == "unmarked"


def _nobody(what: str) -> str:
    raise AssertionError(f"{what} is open: nobody has to be asked")


def test_a_key_is_overwritten_only_where_that_is_asked_for(path: Path) -> None:
    other = make_tls_identity("other", utc_now())
    save_tls_key(path, TLS.private_key, None)
    with pytest.raises(FileExistsError):
        save_tls_key(path, other.private_key, None)
    assert load_tls_key(path, "") == TLS.private_key
    save_tls_key(path, other.private_key, "words", CHEAP, replace=True)
    assert load_tls_key(path, "words") == other.private_key
    assert [file.name for file in path.parent.iterdir()] == ["tls.key"]


def _with_password(identity: TlsIdentity) -> str:
    key = serialization.load_pem_private_key(identity.private_key.encode(), None)
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.BestAvailableEncryption(b"x")).decode()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is no private key in PEM"),
        ("{", "is damaged: it is no JSON"),
        ('{"version": 2, "kind": "tls"}', "is no TLS key of version 1"),
        ('{"version": 1, "kind": "wallet"}', "is no TLS key of version 1"),
        ('{"version": 1, "kind": "tls", "encryption": "none"}', "has nothing sealed in it"),
        (TLS.certificate, "is no private key in PEM"),
        (_with_password(TLS), "is no private key in PEM without a password"),
        ("\u00e4", "is neither a sealed key nor PEM"),
    ],
)
def test_what_is_no_key_is_told_in_one_sentence(path: Path, text: str, sentence: str) -> None:
    path.write_text(text, encoding="utf-8")
    for read in (tls_key_info, lambda p: load_tls_key(p, "words")):
        with pytest.raises(WalletError, match=sentence) as caught:
            read(path)
        assert "\n" not in str(caught.value)


def _sealed(path: Path, **changed: Any) -> None:
    save_tls_key(path, TLS.private_key, "words", CHEAP, replace=True)
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


def test_a_forged_public_digest_is_found_when_the_key_is_opened(path: Path) -> None:
    _sealed(path, public_digest="00" * 32)
    with pytest.raises(WalletError, match="its public digest is not that of the key it seals"):
        load_tls_key(path, "words")
    _sealed(path, public_digest=5)
    with pytest.raises(WalletError, match="its public digest is no hexadecimal"):
        tls_key_info(path)


def test_a_missing_key_and_a_folder_that_cannot_be_written_are_told(tmp_path: Path) -> None:
    with pytest.raises(WalletError, match="cannot be read"):
        tls_key_info(tmp_path / "none")
    with pytest.raises(WalletError, match="cannot be written"):
        save_tls_key(tmp_path / "no" / "tls.key", TLS.private_key, None)
