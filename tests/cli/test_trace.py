"""`trace certificate`: every step of every unit, from the reading on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from node.cli import main
from tests.gridbft.chain_node import ChainNode
from tests.gridbft.energy_chain import ALICE, BOB, SLOT, market_chain


@pytest.fixture(scope="module")
def node() -> Iterator[ChainNode]:
    with ChainNode(market_chain()) as serving:
        yield serving


def trace(node: ChainNode, number: int, *words: str) -> Result:
    result = CliRunner().invoke(main, ["trace", "certificate", str(number), "--nodes", node.address, *words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def record(node: ChainNode, number: int) -> Any:
    return json.loads(trace(node, number, "--json").stdout)


def test_a_part_is_traced_through_the_certificate_that_it_was_split_from(node: ChainNode) -> None:
    found = record(node, 2)
    assert [(e["event"], e["owner"], e["unit_start"], e["unit_end"]) for e in found["history"]] == [
        ("Issued", ALICE, 0, 1_700),
        ("Transferred", BOB, 0, 900),
        ("Retired", BOB, 0, 600),
        ("Retired", BOB, 600, 900),
    ]
    assert (found["retired_wh"], found["unretired_wh"]) == (900, 0)
    assert [(r["slot"], r["export_wh"], r["quality"]) for r in found["readings"]] == [(SLOT, 1_777, "DIRECT")]
    assert found["readings"][0]["height"] < found["history"][0]["height"]


def test_the_whole_counts_what_became_of_its_parts(node: ChainNode) -> None:
    found = record(node, 1)
    assert (found["unit_start"], found["unit_end"]) == (0, 1_700)
    assert (found["retired_wh"], found["unretired_wh"]) == (900, 800)


def test_people_see_a_tree(node: ChainNode) -> None:
    shown = trace(node, 2).stdout
    for what in (
        "metered 1777 Wh export",
        "Issued: units 0 to 1700",
        "purpose home",
        "900 Wh retired, 0 Wh not retired",
    ):
        assert what in shown


def test_there_is_no_certificate_99(node: ChainNode) -> None:
    result = trace(node, 99)
    assert (result.exit_code, "there is no certificate 99" in result.stderr) == (2, True)


def test_a_certificate_is_traced_to_a_packed_reading(node: ChainNode) -> None:
    with ChainNode(market_chain(packed=True)) as packed:
        found = record(packed, 2)["readings"]
    single = record(node, 2)["readings"]
    assert [{**r, "tx_id": ""} for r in found] == [{**r, "tx_id": ""} for r in single]
    assert found[0]["export_wh"] == 1_777
