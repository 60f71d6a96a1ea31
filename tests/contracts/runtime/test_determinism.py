"""The same receipts, gas and state on every CPython that the language supports, whatever the hash seed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgpack
import pytest

ROOT = Path(__file__).parents[3]
VERSIONS = ("3.11", "3.12", "3.13")


def interpreters() -> dict[str, str]:
    """One working interpreter for each version: from the path, or as pyenv knows it."""
    found = {f"{sys.version_info.major}.{sys.version_info.minor}": sys.executable}
    pyenv = shutil.which("pyenv")
    names = [] if pyenv is None else _lines([pyenv, "versions", "--bare"])
    for version in VERSIONS:
        candidates = [shutil.which(f"python{version}")]
        for name in names:
            if name.startswith(version + ".") and pyenv is not None:
                candidates += [f"{prefix}/bin/python" for prefix in _lines([pyenv, "prefix", name])]
        for candidate in candidates:
            if version not in found and candidate is not None and _version_of(candidate) == version:
                found[version] = candidate
    return found


def _lines(command: list[str]) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.split() if done.returncode == 0 else []


def _version_of(python: str) -> str:
    found = _lines([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"])
    return found[0] if found else ""


def replay(python: str, hash_seed: str, folder: Path) -> str:
    """What `tests.contracts.runtime.replay` prints there; msgpack comes from here, in its pure form."""
    library = folder / "library"
    if not library.exists():
        library.mkdir()
        (library / "msgpack").symlink_to(Path(msgpack.__file__).parent)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
        "PYTHONHASHSEED": hash_seed,
        "MSGPACK_PUREPYTHON": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(library)]),
    }
    command = [python, "-m", "tests.contracts.runtime.replay"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_interpreter_and_hash_seed_gives_the_same_receipts_gas_and_state(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = interpreters()
    seeds = {version: str(number) for number, version in enumerate(found)}
    outputs = {
        f"{version} seed {seeds[version]}": replay(found[version], seeds[version], tmp_path) for version in found
    }
    if len(found) == 1:
        version, python = next(iter(found.items()))
        outputs[f"{version} seed 99"] = replay(python, "99", tmp_path)
    with capsys.disabled():
        only = " (no other interpreter was found)" if len(found) == 1 else ""
        print(f"\nreplayed on {', '.join(outputs)}{only}")
    assert len(set(outputs.values())) == 1, outputs
