"""What an operator reads when a node cannot go on."""

from __future__ import annotations

import errno
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from devnet.network import create_network
from node.cli.start import start


def _start_that_raises(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Result:
    def fail(work: Coroutine[Any, Any, None]) -> None:
        work.close()
        raise error

    home = create_network(tmp_path / "net", 1, 7101).nodes[0].home
    monkeypatch.setattr("node.cli.start.asyncio.run", fail)
    return CliRunner().invoke(start, ["--home", str(home)])


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EIO])
def test_a_disk_that_takes_no_more_is_one_sentence_and_no_traceback(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = _start_that_raises(OSError(number, os.strerror(number)), tmp_path, monkeypatch)
    assert result.exit_code == 1
    assert os.strerror(number).lower() in result.output
    assert "start it again" in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("error", [OSError(errno.EBADF, "bad file descriptor"), RuntimeError("a bug")])
def test_a_fault_of_our_own_keeps_its_traceback(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = _start_that_raises(error, tmp_path, monkeypatch)
    assert result.exit_code == 1
    assert "fault of its own" in result.output
