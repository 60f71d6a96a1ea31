"""config.toml: what is wrong is named by its line, its value, and what was expected."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.config import Config, ConfigError, config_template, is_address, parse_config, read_config

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
        ("[consensus]", "consensus = 5\n[more]", "consensus is 5, expected a section [consensus]"),
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
