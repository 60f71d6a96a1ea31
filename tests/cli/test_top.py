"""`gridbft top` against fake nodes, and what it makes of what it saw."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from gridbft.records import NodeStatus, PeerRecord
from node.cli import main
from node.cli.network import NodeEntry
from node.cli.top import BARS, Track, screen, sparkline
from tests.gridbft.fake_ledger import FakeLedger, FakeNode

STATUS = NodeStatus("dso-1", "a:1", "c", 7, "", "", 0, 0, 3, (PeerRecord("b", True, 7),), "0", 1, 1_000, 240)


@pytest.fixture
def node() -> Iterator[FakeNode]:
    with FakeNode(FakeLedger(), "utility-1") as node:
        yield node


def shown(tracks: list[Track], width: int = 160) -> str:
    console = Console(width=width, record=True)
    console.print(screen(tracks, width))
    return console.export_text()


@given(st.lists(st.floats(0, 1e9), max_size=100), st.integers(1, 60))
def test_a_sparkline_has_a_character_for_each_of_the_last_values_and_the_greatest_is_full(
    values: list[float], width: int
) -> None:
    line = sparkline(values, width)
    last = values[-width:]
    assert len(line) == len(last)
    assert not any(last) or line[last.index(max(last))] == BARS[-1]
    assert all(a == BARS[0] for a, v in zip(line, last, strict=True) if v == 0)


def test_a_rate_is_what_came_since_the_last_look_and_a_restart_makes_none_negative() -> None:
    track = Track(NodeEntry("", "a:1"))
    track.saw(STATUS, 10.0)
    track.saw(replace(STATUS, transactions=3_000, height=9), 12.0)
    track.saw(replace(STATUS, transactions=50, height=9), 13.0)
    assert list(track.rates) == [1_000.0, 50.0]
    assert list(track.finality_ms) == [240, 240]  # one for each time that the height moved


def test_the_screen_shows_a_line_for_each_node_and_why_one_does_not_answer() -> None:
    good, lost = Track(NodeEntry("", "a:1")), Track(NodeEntry("dso-2", "b:1"))
    good.saw(STATUS, 1.0)
    good.saw(replace(STATUS, transactions=3_500), 2.0)
    lost.missed("nobody listens there")
    text = shown([good, lost])
    assert "height 7: 1 of 2 nodes answer" in text
    line = next(line for line in text.splitlines() if "dso-1" in line)
    assert all(part in line for part in ("240 ms", "2,500", "1/1", BARS[-1]))
    assert "nobody listens there" in next(line for line in text.splitlines() if "dso-2" in line)


@given(st.integers(80, 250), st.integers(0, 10**7), st.integers(0, 60))
def test_from_80_columns_on_no_name_and_no_number_is_cut_off(width: int, transactions: int, looks: int) -> None:
    good, lost = Track(NodeEntry("utility-12", "a:1")), Track(NodeEntry("dso-2", "b:1"))
    for second in range(looks + 1):
        good.saw(replace(STATUS, height=100_000 + second, transactions=second * transactions // 100), float(second))
        lost.missed("nobody listens there")
    text = shown([good, lost], width)
    assert "…" not in text
    assert "nobody listens there" in text
    for part in ("utility-12", f"{100_000 + looks:}", "240 ms", "1/1", "mempool"):
        assert part in text
    assert all(len(line) <= width for line in text.splitlines())


def test_once_is_for_scripts(node: FakeNode) -> None:
    words = ["top", "--once", "--interval", "0.1", "--nodes", f"{node.address},127.0.0.1:1"]
    table = CliRunner().invoke(main, words)
    assert table.exit_code == 0, table.output
    assert "1 of 2 nodes answer" in table.output
    result = CliRunner().invoke(main, [*words, "--json"])
    first, second = json.loads(result.output.splitlines()[-1])["nodes"]
    assert (first["name"], first["tps"], first["peers"]) == ("utility-1", 0.0, 1)
    assert second["height"] is None
    assert second["error"]


def test_where_no_node_answers_it_exits_with_1() -> None:
    result = CliRunner().invoke(main, ["top", "--once", "--interval", "0.1", "--nodes", "127.0.0.1:1"])
    assert result.exit_code == 1
