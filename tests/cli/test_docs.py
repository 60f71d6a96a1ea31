"""What the pages tell people to type works, in the order in which they stand there, on a network as devnet/up.sh makes it."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.shell_completion import get_completion_class
from click.testing import CliRunner

from devnet.network import create_network
from devnet.processes import start_node, stop_nodes
from devnet.up import wait_ready
from node.cli import COMMANDS, main
from tests.devnet.test_end_to_end import free_base_port

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("operator.md", "contract-author.md", "client-author.md")
PATIENCE_S = 60.0
FIRST_PORT = 7101


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (DOCS / page).read_text(), re.M | re.S)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """A working directory with a network of four in .devnet, and its first client port."""
    folder = tmp_path_factory.mktemp("docs")
    port = free_base_port(4)
    network = create_network(folder / ".devnet", 4, port)
    try:
        for node in network.nodes:
            start_node(node)
        asyncio.run(wait_ready(network))
        yield folder, port
    finally:
        stop_nodes(network.nodes)


def run(words: list[str], text: str, place: tuple[Path, int]) -> str:
    folder, port = place
    moved = re.sub(r"127\.0\.0\.1:71(\d\d)", lambda m: f"127.0.0.1:{port + int(m[1]) - FIRST_PORT % 100}", text)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [*words, moved],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, f"{moved}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_what_the_contract_author_types_writes_tests_deploys_and_upgrades_a_contract(folder: tuple[Path, int]) -> None:
    said = [run(["bash", "-euc"], block, folder) for block in blocks("contract-author.md", "sh")]
    assert len(said) == 3
    assert "pool.py is a contract" in said[0]
    assert '"result": 1' in said[1]
    assert said[1].splitlines()[-1].split()[0] == "5"


@pytest.mark.parametrize("index", range(len(blocks("client-author.md", "python"))))
def test_the_programs_of_the_client_author_run(index: int, folder: tuple[Path, int]) -> None:
    said = run([sys.executable, "-c"], blocks("client-author.md", "python")[index], folder)
    assert said


def test_the_commands_of_the_client_author_run(folder: tuple[Path, int]) -> None:
    for block in blocks("client-author.md", "sh"):
        assert run(["bash", "-euc"], block, folder)


@pytest.mark.parametrize("page", [*PAGES, "metrics.md"])
def test_commands_options_and_files_that_a_page_names_exist(page: str) -> None:
    text = (DOCS / page).read_text()
    for word in re.findall(r"(?:^ *|`)gridbft ([a-z]+)", text, re.M):
        assert word in COMMANDS, word
    root = DOCS.parent
    for name in re.findall(r"`((?:node|proto|contracts|devnet|tests)/[\w./-]+)`", text):
        assert (root / name).exists(), name
    for name in re.findall(r"\]\(([^)#]+)\)", text):
        assert (DOCS / name).exists(), name


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_that_knows_the_program(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0
    assert "_GRIDBFT_COMPLETE" in result.output
    checker = shutil.which(shell)
    if checker is not None:
        subprocess.run([checker, "-n"], input=result.output, text=True, check=True)


def test_completion_offers_commands_and_options() -> None:
    found = get_completion_class("bash")
    assert found is not None
    completing = found(main, {}, "gridbft", "_GRIDBFT_COMPLETE")
    assert {c.value for c in completing.get_completions(["gov", "propose"], "p")} >= {"parameter", "protocol", "pause"}
    assert "--home" in {c.value for c in completing.get_completions(["backup"], "--")}
