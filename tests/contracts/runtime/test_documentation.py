"""LANGUAGE.md says what the code does: every code, every cost, and an example that runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
from click.testing import CliRunner

import contracts
from contracts.runtime import gas
from contracts.runtime.metered_world import MeteredWorld
from contracts.runtime.world import World
from node.cli import main

FOLDER = Path(contracts.__file__).parent
TEXT = (FOLDER / "LANGUAGE.md").read_text()
CODE = re.compile(r'"([A-Z][A-Z_]*[A-Z])"')
NOT_CODES = {"CODE", "UPPER_SNAKE"}


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def test_every_code_in_the_source_is_explained() -> None:
    found = {
        code
        for path in (FOLDER / "runtime").glob("*.py")
        for line in path.read_text().splitlines()
        for code in CODE.findall(line)
    }
    words = set(re.findall(r"[A-Z][A-Z_]+", TEXT))
    assert found - words - NOT_CODES == set()


def test_every_cost_is_the_one_that_is_charged() -> None:
    costs = {name: value for name, value in vars(gas).items() if name.isupper()}
    table = dict(re.findall(r"\(([A-Z_]+)\)[^|]*\| ([0-9]+)", TEXT))
    divisors = {"BYTES_PER_UNIT": "4 characters", "TEXT_PER_ELEMENT": "64 characters", "SEARCHED": "32 pairs"}
    assert set(table) == set(costs)
    for name, value in costs.items():
        if name in divisors:
            assert divisors[name].split()[0] == str(value)
            assert divisors[name] in TEXT
        else:
            assert table[name] == str(value), name


def test_the_worked_example_runs_in_both_worlds() -> None:
    source, test, *_ = blocks()
    for kind in (World, MeteredWorld):
        lines = test.replace("World()", "kind()").replace('"savings.py"', "source").splitlines()[2:]
        exec("\n".join(lines), {"kind": kind, "source": source})


def commands() -> list[list[str]]:
    """The words of every `gridbft` line, without its comment."""
    lines = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("gridbft ")]


def test_every_command_of_the_page_exists_with_its_options() -> None:
    assert len(commands()) > 10
    for words in commands():
        command: click.Command = main
        context = click.Context(command)
        rest = words
        while isinstance(command, click.Group):
            _, found, rest = command.resolve_command(context, rest)
            assert found is not None
            command = found
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= options, words


def test_the_first_run_of_the_worked_example_works(tmp_path: Path) -> None:
    file = tmp_path / "savings.py"
    file.write_text(blocks()[0])
    (words,) = [words for words in commands() if words[:2] == ["contract", "run"]]
    result = CliRunner().invoke(main, [str(file) if word == "savings.py" else word for word in words])
    assert result.exit_code == 0
    assert result.stdout.startswith("result   1\n")
