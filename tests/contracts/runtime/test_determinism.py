"""The same receipts, gas and state on every CPython that the language supports, whatever the hash seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contracts.runtime.interpreters import announce, run_on_each


def test_every_interpreter_and_hash_seed_gives_the_same_receipts_gas_and_state(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = run_on_each(tmp_path, "tests.contracts.runtime.replay")
    with capsys.disabled():
        print(f"\ncorpus, programs, energy: {announce(outputs)}")
    assert len(set(outputs.values())) == 1, outputs
