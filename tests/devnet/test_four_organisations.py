"""Four organisations, four folders, four addresses: only member.json and genesis.json travel between them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

PATIENCE_S = 60.0
TIME = "2026-01-31T12:00:00Z"
PROGRAM = Path(sys.executable).parent / "gridbft"


@dataclass
class Organisation:
    """A machine of its own, as far as this test can have one: a folder that nobody else reads, and an address."""

    folder: Path
    number: int
    role: str
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def client(self) -> str:
        return f"127.0.1.{self.number}:17101"

    def run(self, *words: str | Path, fails: bool = False) -> Any:
        """A command of its operator: what its last line of JSON says."""
        command = [sys.executable, str(PROGRAM), *map(str, words), "--json"]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return json.loads(done.stdout.strip().splitlines()[-1])

    def prepare(self) -> None:
        self.folder.mkdir(parents=True)
        words = self.folder / "passphrase"
        words.write_text(f"the words of organisation {self.number}\n")
        words.chmod(0o600)
        peer = f"127.0.1.{self.number}:17201"
        self.run("init", "--home", self.home, "--name", f"{self.role}-{self.number}", "--role", self.role,
                 "--client-address", self.client, "--peer-address", peer, "--passphrase-file", words)  # fmt: skip
        for name in ("operator", "meters", "issuer") if self.number == 1 else ():
            self.run("keys", "new", name, "--keys", self.folder / "keys", "--passphrase-file", words)

    def start(self) -> None:
        log = (self.folder / "node.log").open("wb")
        command = [sys.executable, str(PROGRAM), "start", "--home", str(self.home)]
        command += ["--passphrase-file", str(self.folder / "passphrase")]
        self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=subprocess.STDOUT)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def organisations(tmp_path: Path) -> Iterator[list[Organisation]]:
    made = [
        Organisation(tmp_path / f"org-{n}", n, role) for n, role in enumerate(("utility", "utility", "dso", "dso"), 1)
    ]
    try:
        yield made
    finally:
        for organisation in made:
            organisation.stop()


def test_four_organisations_begin_a_network_without_a_shared_folder(organisations: list[Organisation]) -> None:
    for organisation in organisations:
        organisation.prepare()
    first, *others = organisations
    accounts: list[str] = []
    for option, name in (("--operator", "operator"), ("--meter-operator", "meters"), ("--issuer", "issuer")):
        accounts += [option, first.run("keys", "export", name, "--keys", first.folder / "keys")["address"]]
    builds: list[Any] = []
    for builder in (first, others[-1]):  # two of them build alone, from parts in another order
        parts = [builder.folder / f"part-{o.number}.json" for o in organisations]
        for part, organisation in zip(parts, organisations, strict=True):
            shutil.copy(organisation.home / "member.json", part)
        ordered = parts if builder is first else parts[::-1]
        builds.append(
            builder.run("genesis", "build", *ordered, "-o", builder.folder / "made.json", "--time", TIME, *accounts)
        )
    assert builds[0]["chain_id"] == builds[1]["chain_id"]
    assert (builds[0]["faults"], builds[0]["faulty_power"]) == ([], 1)

    for organisation in organisations:
        received = organisation.folder / "genesis.json"
        shutil.copy(first.folder / "made.json", received)
        own = organisation.home / "member.json"
        checked = organisation.run("genesis", "check", received, "--member", own, "--chain-id", builds[0]["chain_id"])
        assert checked["state_root"] == builds[1]["state_root"]
        assert organisation.run("join", "--home", organisation.home, "--genesis", received)["member"] is True
        organisation.start()

    nodes = ",".join(o.client for o in organisations)
    deadline = time.monotonic() + PATIENCE_S
    while True:
        status = first.run("status", "--nodes", f"{first.client}", fails=False) if _answers(first) else None
        if status is not None and (status["nodes"][0]["height"] or 0) >= 2:
            break
        assert time.monotonic() < deadline, (first.folder / "node.log").read_text()[-2_000:]
        time.sleep(0.1)
    words = ("--keys", first.folder / "keys", "--passphrase-file", first.folder / "passphrase", "--nodes", nodes)
    minted = first.run("tx", "payments", "mint", "@issuer", "77", "hello", "--from", "operator", *words)
    assert minted["ok"] is True
    issuer = accounts[-1]
    for organisation in organisations:  # each asks its own node, and believes the genesis only
        genesis = ("--genesis", organisation.home / "genesis.json", "--nodes", organisation.client)
        organisation.run("receipt", minted["tx_id"], "--prove", *genesis)
        found = organisation.run("query", "payments", "balance", issuer, "--prove", *genesis)
        assert (found["result"], found["proved"]) == (77, True)
    assert first.run("status", "--nodes", nodes)["agree"] is True


def _answers(organisation: Organisation) -> bool:
    command = [sys.executable, str(PROGRAM), "status", "--nodes", organisation.client]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_a_changed_or_foreign_genesis_is_not_joined(organisations: list[Organisation]) -> None:
    first, second = organisations[:2]
    first.prepare()
    second.prepare()
    made = first.folder / "genesis.json"
    first.run("genesis", "build", first.home / "member.json", "-o", made, "--contracts", "none")
    record = json.loads(made.read_text())
    record["validators"][0]["power"] = 7
    changed = first.folder / "changed.json"
    changed.write_text(json.dumps(record))
    assert "the file was changed" in first.run("genesis", "check", changed, fails=True)["message"]
    assert (
        "the file was changed" in first.run("join", "--home", first.home, "--genesis", changed, fails=True)["message"]
    )
    own = second.home / "member.json"
    assert "is not in it" in second.run("genesis", "check", made, "--member", own, fails=True)["message"]
    assert "is the genesis of" in second.run("genesis", "check", made, "--chain-id", "other", fails=True)["message"]
    joined = second.run("join", "--home", second.home, "--genesis", made)
    assert joined["member"] is False
    assert "gov propose member" in joined["propose"]
    first.run("genesis", "build", own, "-o", second.folder / "another.json", "--contracts", "none")
    refused = second.run("join", "--home", second.home, "--genesis", second.folder / "another.json", fails=True)
    assert "another network's" in refused["message"]
