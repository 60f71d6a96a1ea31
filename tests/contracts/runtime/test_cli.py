"""`gridbft contract`: what an author sees."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from contracts.runtime.abi import checked
from contracts.runtime.listing import LineCost, line_costs
from node.cli import main
from tests.contracts.runtime.corpus import BOMBS, REFUSED_STATEMENTS, body
from tests.contracts.runtime.test_gas import used

ROOT = Path(__file__).parents[3]
ALICE = "a" * 40


def contract(*words: object) -> Result:
    result = CliRunner().invoke(main, ["contract", *map(str, words)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def report(*words: object) -> Any:
    return json.loads(contract(*words, "--json").stdout.strip().splitlines()[-1])


@pytest.fixture
def savings(tmp_path: Path) -> Path:
    assert contract("new", "savings", "--folder", tmp_path).exit_code == 0
    return tmp_path / "savings.py"


def test_a_new_contract_is_accepted_and_its_own_test_passes(savings: Path) -> None:
    assert report("check", savings) == {"ok": True, "errors": []}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-o",
        "addopts=",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(savings.parent),
    ]
    done = subprocess.run(
        [*command, str(savings.with_name("test_savings.py"))],
        cwd=savings.parent,
        env={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout


@pytest.mark.parametrize("name", ["Savings", "a-b", "class", "../x", "x" * 33, "_x", ""])
def test_a_name_that_no_contract_can_have_writes_nothing(tmp_path: Path, name: str) -> None:
    assert contract("new", name, "--folder", tmp_path).exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_stands_is_never_written_over(savings: Path) -> None:
    savings.write_text("mine\n")
    result = contract("new", "savings", "--folder", savings.parent)
    assert (result.exit_code, savings.read_text()) == (2, "mine\n")
    assert "stand there already" in result.stderr


def test_check_says_where_why_and_what_to_write_instead(tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    file.write_text(body("x = n is 2\nx = [i for i in [n] if i is n]"))
    answer = report("check", file)
    lines = body("").count("\n") - 1
    assert answer["ok"] is False
    assert [(e["line"], e["column"], e["code"]) for e in answer["errors"]] == [
        (lines, 9, "IS"),
        (lines + 1, 28, "IS"),
    ]
    assert "write ==" in answer["errors"][0]["message"]
    result = contract("check", file)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"{file}:{lines}:9: IS: is compares with None only: write ==")


@pytest.mark.parametrize("command", ["abi", "gas", "run"])
def test_what_is_no_contract_is_refused_by_every_command_with_its_errors(tmp_path: Path, command: str) -> None:
    file = tmp_path / "bad.py"
    file.write_text(body(REFUSED_STATEMENTS[0][0]))
    words = [command, file, *(["f", "[1]"] if command == "run" else [])]
    answer = report(*words)
    assert (answer["ok"], answer["error"], answer["errors"][0]["code"]) == (False, "NOT_A_CONTRACT", "IMPORT")
    assert contract(*words).exit_code == 1


def test_run_shows_the_result_the_events_the_writes_and_the_gas(savings: Path) -> None:
    answer = report("run", savings, "add", "[5]", "--sender", ALICE)
    assert (answer["ok"], answer["result"], answer["error"]) == (True, 5, None)
    assert answer["events"] == [{"contract": "savings", "name": "Added", "fields": {"account": ALICE, "amount": 5}}]
    (write,) = answer["writes"]
    assert (write["state"], write["entry"], write["value"], write["deleted"]) == ("coins", ALICE, 5, False)
    assert bytes.fromhex(write["key_hex"]) == b"savings/coins/\xd9\x28" + ALICE.encode()
    assert answer["gas_used"] > 1_000
    assert answer["seconds"] > 0
    assert report("run", savings, "held_by", f'["{ALICE}"]')["result"] == 0  # every run begins with an empty state


def test_a_refused_run_has_the_code_and_the_gas_and_no_writes(savings: Path) -> None:
    answer = report("run", savings, "add", "[-5]")
    assert (answer["ok"], answer["error"], answer["events"], answer["writes"]) == (False, "AMOUNT_NOT_POSITIVE", [], [])
    assert contract("run", savings, "add", "[-5]").exit_code == 1
    starved = report("run", savings, "add", "[5]", "--gas", 600)
    assert (starved["error"], starved["gas_used"]) == ("OUT_OF_GAS", 600)


def test_a_bomb_ends_at_its_gas(tmp_path: Path) -> None:
    file = tmp_path / "bomb.py"
    file.write_text(body(BOMBS[0][0]))
    assert report("run", file, "f", "[1]", "--gas", "100000")["error"] == "OUT_OF_GAS"


@pytest.mark.parametrize(
    ("function", "args", "what"),
    [
        ("nothing", "[]", "there are: add, held_by"),
        ("add", "[]", "expected 1 arguments (amount: int), found 0"),
        ("add", "[1.5]", "amount: expected int"),
        ("add", '["1"]', "amount: expected int"),
        ("add", "5", "a JSON array"),
        ("add", "[", "no JSON array"),
    ],
)
def test_arguments_that_do_not_fit_are_named(savings: Path, function: str, args: str, what: str) -> None:
    result = contract("run", savings, function, args)
    assert result.exit_code == 2
    assert what in result.stderr


def test_a_file_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    result = contract("check", tmp_path / "none.py")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "cannot be read" in result.stderr


def test_the_abi_names_every_function_with_its_types(savings: Path) -> None:
    functions = report("abi", savings)["functions"]
    assert [(f["name"], f["view"], f["returns"]) for f in functions] == [
        ("add", False, "int"),
        ("held_by", True, "int"),
    ]
    assert functions[0]["params"] == [{"name": "amount", "type": "int"}]
    assert "export add(amount: int) -> int" in contract("abi", savings).stdout


def test_every_line_shows_its_cost(savings: Path) -> None:
    lines = report("gas", savings)["lines"]
    costs = {row["source"].strip(): row["gas"] for row in lines}
    assert costs["return held"] == 1
    assert costs["coins[ctx.caller] = held"] == 2 + 300 + 1 + 4
    shown = contract("gas", savings).stdout.splitlines()
    assert sum("return held" in line and line.split()[0] == "1" for line in shown) == 1


PIECES = [
    "x = n + 1",
    "x = 0\nfor i in range(n):\n    x += i\n    if x > 3:\n        x = 0",
    "x = n\nwhile x > 0:\n    x -= 1",
    "x = [i + j for i in range(3) for j in [1, 2] if j > 1]",
    "if n > 1:\n    return 1\nelif n > 0:\n    return 2\nx = counts.get('a', n)",
    "emit('X', a=n * n, b=n)\nrequire(n > 0, 'ZERO')",
]


@pytest.mark.parametrize("text", PIECES)
def test_the_lines_of_a_straight_program_add_up_to_what_is_charged(text: str) -> None:
    """Without loops and branches, what the listing says is what a call pays, but for costs by size."""
    straight = all(word not in text for word in ("for ", "while ", "if ", "emit"))
    source = body(text)
    costs = line_costs(checked(source.encode()))
    start = source.splitlines().index("def f(n: int) -> int:") + 1
    total = sum(cost.once for line, cost in costs.items() if line >= start)
    assert total == used(text) if straight else total > 0
    looping = [line for line, cost in costs.items() if cost.each_turn]
    assert len(looping) == sum(
        line.strip().startswith(("for ", "while ")) or " for " in line for line in text.split("\n")
    )


def test_a_loop_says_what_each_turn_costs() -> None:
    costs = list(line_costs(checked(body("for i in range(n):\n    x = i").encode())).values())
    assert costs[-3:] == [LineCost(51, 8), LineCost(3, 0), LineCost(1, 0)]
    assert used("for i in range(9):\n    x = i", 0) == 20 + 51 + 9 * (8 + 3) + 1
