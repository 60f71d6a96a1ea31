"""The files that operators install: the systemd unit and the Containerfile, as far as they can be checked without installing."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from node.cli import main
from node.cli.ending import STOP_SECONDS

ROOT = Path(__file__).parents[2]
OPS = ROOT / "node" / "ops"
INSTRUCTIONS = {"FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL", "ENTRYPOINT", "CMD"}
ANALYZE = shutil.which("systemd-analyze")
HADOLINT = shutil.which("hadolint")


UNITS = {"gridbft.service": ("start", "gridbft"), "gridbft-signer.service": ("signer", "gridbft-signer")}
"""Of each unit, the command that it starts and its user."""


def unit(name: str) -> dict[str, list[str]]:
    """Settings of the unit; a comment has a line of its own, as systemd wants it."""
    lines = [line for line in (OPS / name).read_text().splitlines() if line and line[0] not in "#["]
    found: dict[str, list[str]] = {}
    for line in lines:
        key, equals, value = line.partition("=")
        assert equals, line
        found.setdefault(key, []).append(value)
    return found


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", (OPS / "Containerfile").read_text(), flags=re.M)
    joined = re.sub(r"\\\n\s*", " ", text)
    return [(line.split()[0], line.split(None, 1)[1]) for line in joined.splitlines() if line.strip()]


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_starts_what_the_command_line_knows_as_a_user_of_its_own(name: str) -> None:
    settings = unit(name)
    starts, user = UNITS[name]
    words = shlex.split(settings["ExecStart"][0])
    assert words[0].endswith("/bin/gridbft")
    assert words[1] == starts
    command = main.get_command(main.make_context("gridbft", [starts, "-h"], resilient_parsing=True), words[1])
    assert command is not None
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known
    assert settings["User"] == [user]
    assert settings["Restart"] == ["on-failure"]
    # the program says what it waits for before systemd ends it
    assert int(settings["TimeoutStopSec"][0]) > STOP_SECONDS
    for hardening in ("NoNewPrivileges", "ProtectHome", "PrivateTmp", "LockPersonality"):
        assert settings[hardening] == ["yes"]
    assert settings["ProtectSystem"] == ["strict"]


def test_the_signers_unit_gives_it_no_network_and_the_node_only_its_socket() -> None:
    settings = unit("gridbft-signer.service")
    words = shlex.split(settings["ExecStart"][0])
    node = unit("gridbft.service")
    assert settings["PrivateNetwork"] == ["yes"]
    assert settings["RestrictAddressFamilies"] == ["AF_UNIX"]
    assert words[words.index("--home") + 1] == f"/var/lib/{settings['StateDirectory'][0]}"
    assert settings["StateDirectoryMode"] == ["0700"]
    assert Path(words[words.index("--socket") + 1]).parent == Path("/run") / settings["RuntimeDirectory"][0]
    assert settings["RuntimeDirectoryMode"] == ["0750"]
    assert settings["Group"] == node["Group"] == [words[words.index("--group") + 1]]
    assert settings["User"] != node["User"]


@pytest.mark.skipif(ANALYZE is None, reason="systemd is not on this machine")
@pytest.mark.parametrize("name", UNITS)
def test_systemd_accepts_a_unit(name: str, tmp_path: Path) -> None:
    assert ANALYZE is not None
    text = (OPS / name).read_text().replace("/opt/gridbft/.venv/bin/gridbft", "/bin/true")
    (tmp_path / name).write_text(text)
    ran = subprocess.run([ANALYZE, "verify", str(tmp_path / name)], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_the_containerfile_copies_what_there_is_and_runs_without_privileges() -> None:
    steps = instructions()
    assert {name for name, _ in steps} <= INSTRUCTIONS
    bases = [rest.split()[0] for name, rest in steps if name == "FROM"]
    assert all(re.fullmatch(r"[\w./-]+:[\w.-]+", base) and not base.endswith(":latest") for base in bases)
    copied = [rest.split() for name, rest in steps if name == "COPY" and not rest.startswith("--from")]
    sources = [word for words in copied for word in words[:-1]]
    assert all((ROOT / source).exists() for source in sources)
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {p.rstrip("*") for p in packages} <= set(sources)
    assert ("STOPSIGNAL", "SIGTERM") in steps
    last_user = [rest for name, rest in steps if name == "USER"][-1]
    assert last_user.split(":")[0] not in ("root", "0")
    assert ("ENTRYPOINT", '["gridbft"]') in steps
    assert any("--require-hashes" in rest for name, rest in steps if name == "RUN")


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not on this machine")
def test_hadolint_finds_nothing_in_the_containerfile() -> None:
    assert HADOLINT is not None
    ran = subprocess.run([HADOLINT, str(OPS / "Containerfile")], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, "")


def test_what_the_containerfile_installs_is_the_whole_program(tmp_path: Path) -> None:
    """The wheel that `pip install .` builds there: not an editable install, so nothing outside of it may be needed."""
    copied = [rest.split() for name, rest in instructions() if name == "COPY" and not rest.startswith("--from")]
    for words in copied:
        for source in words[:-1]:
            place = tmp_path / "src" / source
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__", "data"))
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, place)
    words = ["-m", "pip", "--disable-pip-version-check", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w"]
    ran = subprocess.run([sys.executable, *words, str(tmp_path), str(tmp_path / "src")], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    for needed in ("node/cli/start.py", "contracts/energy/market.py", "gridbft/v1/peer_pb2.py", "gridbft/py.typed"):
        assert needed in names
    contracts = {path.name for path in (ROOT / "contracts" / "energy").glob("*.py")}
    assert contracts == {Path(n).name for n in names if n.startswith("contracts/energy/") and n.endswith(".py")}
