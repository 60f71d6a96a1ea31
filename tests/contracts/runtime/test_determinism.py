"""The same receipts, gas and state on every CPython that the language supports, whatever the hash seed."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from contracts import runtime
from tests.contracts.runtime.interpreters import announce, run_on_each


def test_every_interpreter_and_hash_seed_gives_the_same_receipts_gas_and_state(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = run_on_each(tmp_path, "tests.contracts.runtime.replay")
    with capsys.disabled():
        print(f"\ncorpus, programs, energy: {announce(outputs)}")
    assert len(set(outputs.values())) == 1, outputs


def test_no_pattern_repeats_possessively() -> None:
    """CPython before 3.11.5 matches that wrongly: every contract of the genesis was refused on 3.11.2, and the chain had forked."""
    for source in sorted(Path(runtime.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not re.search(r"\*\+|\+\+|\?\+|\}\+|\(\?>", node.value), f"{source.name}:{node.lineno}"
