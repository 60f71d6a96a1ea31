"""config.toml: what is wrong is named by its line, its value, and what was expected."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.config import _KEYS, Config, ConfigError, config_template, is_address, is_loopback, parse_config, read_config

GOOD = config_template("utility-1", "127.0.0.1:7101", "127.0.0.1:7201")


def test_the_template_is_the_defaults() -> None:
    assert parse_config(GOOD) == Config("utility-1", "127.0.0.1:7101", "127.0.0.1:7201")


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("propose_ms = 1000", "propose_ms = 0", "line N: consensus.propose_ms is 0, expected a whole number of mill"),
        ("propose_ms = 1000", 'propose_ms = "fast"', "consensus.propose_ms is 'fast', expected a whole number"),
        ("propose_ms = 1000", "propose_ms = true", "consensus.propose_ms is True, expected a whole number"),
        ("propose_ms = 1000", "propose_ms = 1.5", "consensus.propose_ms is 1.5, expected a whole number"),
        ("propose_ms = 1000", "propose_md = 1000", "consensus.propose_md is not a key of this file; known: name,"),
        ("[log]", "[logs]", "line N: [logs] is not a key of this file"),
        ('level = "info"', 'level = "loud"', 'log.level is \'loud\', expected one of "debug", "info"'),
        ('"127.0.0.1:7101"', '"127.0.0.1"', "line N: client_address is '127.0.0.1', expected an address like"),
        ('"127.0.0.1:7101"', '"127.0.0.1:99999"', "expected an address like"),
        ('"127.0.0.1:7101"', '"127.0.0.1:7201"', "client_address and peer_address are both '127.0.0.1:7201'"),
        ('name = "utility-1"', "", "name is missing, expected a name of"),
        ('name = "utility-1"', 'name = "a b"', "name is 'a b', expected a name of"),
        ("[clients]", "clients = 5\n[more]", "clients is 5, expected a section [clients]"),
        (
            'client_address = "127.0.0.1:7101"',
            'client_address = "0.0.0.0:7101"',
            "line N: client_address is '0.0.0.0:7101', which",
        ),
        ('certificate = ""', 'certificate = "x"', "line N: clients.certificate is set, expected clients.key too"),
        ('ca = ""', 'ca = "x"', "line N: clients.ca is set, expected clients.tls = true"),
        ("tls = false", "tls = 1", "line N: clients.tls is 1, expected true or false"),
        ("message_bytes = 4194304", "message_bytes = 9", "line N: limits.message_bytes is 9, expected a whole number"),
        ('signer = ""', 'signer = "tcp:1"', "line N: signer is 'tcp:1', expected a socket like"),
        ("[consensus]", "[consensus", "is no valid TOML"),
    ],
)
def test_a_fault_is_told_by_its_place_and_what_was_expected(before: str, after: str, complaint: str) -> None:
    assert before in GOOD
    complaint = complaint.replace("line N", f"line {GOOD[: GOOD.index(before)].count(chr(10)) + 1}")
    with pytest.raises(ConfigError) as caught:
        parse_config(GOOD.replace(before, after, 1))
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def _parsed(text: str) -> Config | str:
    try:
        return parse_config(text)
    except ConfigError as error:
        return str(error)


@given(st.text(max_size=200))
def test_any_text_is_a_config_or_a_complaint(text: str) -> None:
    for candidate in (text, GOOD + text):
        assert _parsed(candidate)


@given(st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc")), max_size=20))
def test_any_name_is_quoted_into_the_template_or_refused(name: str) -> None:
    parsed = _parsed(config_template(name, "a:1", "a:2"))
    assert "expected a name" in parsed if isinstance(parsed, str) else parsed.name == name


@pytest.mark.parametrize("good", ["localhost:1", "[::1]:7101", "node-1.example.org:65535"])
def test_addresses_that_are_taken(good: str) -> None:
    assert is_address(good)


@pytest.mark.parametrize("bad", ["", ":1", "host", "host:0", "host:65536", "host:x", "a b:1", "host:1\n", 7101, None])
def test_addresses_that_are_refused(bad: object) -> None:
    assert not is_address(bad)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path / "config.toml")


def test_every_setting_stands_in_the_template_with_its_default_and_a_remark() -> None:
    lines = [line for line in GOOD.splitlines() if "=" in line.partition("#")[0]]
    assert all(line.partition("#")[2].strip() for line in lines)
    assert len(lines) == len(_KEYS)
    assert parse_config(GOOD) == Config("utility-1", "127.0.0.1:7101", "127.0.0.1:7201")


def test_clients_from_elsewhere_get_tls_unless_the_operator_says_plain_text() -> None:
    assert parse_config(config_template("n", "10.0.0.1:7101", "10.0.0.1:7201")).client_tls
    plain = GOOD.replace('client_address = "127.0.0.1:7101"', 'client_address = "10.0.0.1:7101"')
    assert parse_config(plain.replace("allow_plaintext = false", "allow_plaintext = true")).allow_plaintext


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.9.9.9:1", "localhost:1", "[::1]:1"])
def test_the_loopback_is_known(address: str) -> None:
    assert is_loopback(address)


@pytest.mark.parametrize("address", ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "127.0.0.1.example.org:1", "localhost.de:1"])
def test_what_others_can_reach_is_no_loopback(address: str) -> None:
    assert not is_loopback(address)


@pytest.mark.parametrize("text", ["height = " + "9" * 5_000, "name = " + "[" * 100_000])
def test_numbers_and_brackets_without_end_are_a_complaint(text: str) -> None:
    with pytest.raises(ConfigError, match=r"config\.toml is no configuration"):
        parse_config(text)
