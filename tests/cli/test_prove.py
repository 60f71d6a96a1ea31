"""`prove` and `verify`: from a chain of the production ledger to a file, and from the file to its reader."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from chain.genesis import dump_genesis
from node.cli import main
from tests.chain.network import genesis
from tests.chain.txs import address_of
from tests.gridbft.chain_node import ChainNode
from tests.gridbft.energy_chain import ALICE, BOB, SLOT, market_chain


@pytest.fixture(scope="module")
def node() -> Iterator[ChainNode]:
    with ChainNode(market_chain()) as serving:
        yield serving


@pytest.fixture
def folder(tmp_path: Path, node: ChainNode, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "genesis.json").write_text(dump_genesis(node.chain.genesis))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GRIDBFT_NETWORK", raising=False)
    monkeypatch.delenv("GRIDBFT_KEYS", raising=False)
    return tmp_path


def gridbft(*words: str) -> Result:
    result = CliRunner().invoke(main, list(words))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def report(result: Result) -> Any:
    return json.loads(result.stdout.strip().splitlines()[-1])


def proved(node: ChainNode, *words: str) -> Result:
    return gridbft("prove", *words, "-o", "it.proof", "--nodes", node.address, "--genesis", "genesis.json", "--json")


def verified(*words: str) -> Result:
    return gridbft("verify", "it.proof", "--genesis", "genesis.json", *words)


@pytest.mark.parametrize(("number", "quantity_wh", "purpose"), [(1, 600, "home"), (2, 300, "the rest")])
def test_a_retirement_is_proved_to_whoever_holds_the_genesis(
    folder: Path, node: ChainNode, number: int, quantity_wh: int, purpose: str
) -> None:
    assert proved(node, "retirement", str(number)).exit_code == 0
    result = verified("--json")
    found = report(result)
    assert (result.exit_code, found["ok"], found["kind"]) == (0, True, "event")
    assert (found["event"]["contract"], found["event"]["name"]) == ("certificates", "Retired")
    fields = found["event"]["fields"]
    assert (fields["retirement_id"], fields["quantity_wh"], fields["purpose"]) == (number, quantity_wh, purpose)
    assert (fields["beneficiary"], fields["owner"], fields["issuer"]) == (BOB, BOB, address_of("operator"))
    readable = verified().stdout
    assert "certificates.Retired" in readable
    assert "signed by" in readable


def test_a_changed_byte_is_refused_with_the_reason(folder: Path, node: ChainNode) -> None:
    proved(node, "retirement", "1")
    file = folder / "it.proof"
    raw = file.read_bytes()
    file.write_bytes(raw[:200] + bytes([raw[200] ^ 1]) + raw[201:])
    result = verified("--json")
    assert (result.exit_code, report(result)["error"]) == (1, "DAMAGED")
    assert "it.proof proves nothing: DAMAGED" in result.stderr


def test_another_network_s_genesis_refuses_the_proof(folder: Path, node: ChainNode) -> None:
    proved(node, "retirement", "1")
    (folder / "genesis.json").write_text(dump_genesis(genesis(contracts=())))
    assert report(verified("--json"))["error"] == "WRONG_CHAIN"
    (folder / "genesis.json").write_text("{}")
    assert report(verified("--json"))["error"] == "BAD_GENESIS"


@pytest.mark.parametrize(
    ("contract", "key", "value"),
    [
        ("metering", f"readings/load-bob/{SLOT}", [1_403, 0, "ESTIMATED"]),
        ("certificates", "last_certificate", 2),
        ("certificates", "certificates_by_id/99", None),
        ("registry", f"grants/{ALICE}/OPERATOR", None),
    ],
)
def test_a_key_of_the_state_is_proved_present_or_absent(
    folder: Path, node: ChainNode, contract: str, key: str, value: Any
) -> None:
    assert proved(node, "state", contract, key).exit_code == 0
    found = report(verified("--json"))
    assert (found["kind"], found["readable_key"]) == ("state", f"{contract}/{key}")
    assert found["present"] is (value is not None)
    if value is not None:
        shown = found["value"]
        assert (shown[: len(value)] if isinstance(value, list) else shown) == value
    assert ("has nothing" in verified().stdout) is (value is None)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("retirement", "99"), "there is no retirement 99"),
        (("state", "nowhere", "x"), "no contract 'nowhere'; there are: "),
        (("state", "payments", "cash/x"), "payments keeps nothing named 'cash'; there are: "),
        (("state", "payments", "free"), "a key of free is written free/STR"),
        (("state", "metering", "readings/x"), "a key of readings is written readings/STR/INT"),
        (("state", "metering", "readings/x/y"), "expected a whole number"),
        (("state", "payments", "minted/1"), "minted is a single value"),
    ],
)
def test_what_cannot_be_proved_is_said_and_no_file_is_written(
    folder: Path, node: ChainNode, words: tuple[str, ...], what: str
) -> None:
    result = proved(node, *words)
    assert result.exit_code == 2
    assert what in result.stderr
    assert not (folder / "it.proof").exists()


def test_a_missing_file_is_bad_input(folder: Path) -> None:
    assert verified().exit_code == 2
    assert "cannot be read" in verified().stderr
