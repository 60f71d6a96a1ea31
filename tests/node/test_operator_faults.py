"""What an operator meets: a full disk, one that cannot be written, a taken port, a stop in the middle of work. Each ends in a
sentence and in a state from which the node starts again. Real processes, real file systems."""

from __future__ import annotations

import asyncio
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gridbft import Client
from gridbft.requests import Limits, make_call
from gridbft.wallet import Wallet
from node.home import Home
from tests.node.localnet import Localnet, free_ports

PROGRAM = [sys.executable, str(Path(sys.executable).parent / "gridbft"), "start", "--home"]
PATIENCE_S = 30.0
STOP_S = 5.0
MOUNTS = shutil.which("unshare") is not None and (
    subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode == 0
)
needs_mounts = pytest.mark.skipif(not MOUNTS, reason="file systems of one's own cannot be mounted here")


@dataclass
class Site:
    """A network of one, and the process that runs it."""

    net: Localnet
    process: subprocess.Popen[str] | None = None

    @property
    def home(self) -> Path:
        return self.net.homes[0]

    @property
    def address(self) -> str:
        return self.line("client_address")

    def line(self, key: str) -> str:
        text = Home(self.home).config.read_text()
        return next(line.split('"')[1] for line in text.splitlines() if line.startswith(f"{key} ="))

    def configure(self, key: str, value: str) -> None:
        config = Home(self.home).config
        lines = [
            f"{key} = {value}" if line.startswith(f"{key} =") else line for line in config.read_text().splitlines()
        ]
        config.write_text("\n".join(lines) + "\n")

    def start(self, *before: str, home: str = "") -> subprocess.Popen[str]:
        words = [*before, *PROGRAM, home or str(self.home)]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return self.process

    def ended(self) -> tuple[int, str]:
        """The exit code and all that it said."""
        assert self.process is not None
        output, _ = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, output


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(Localnet.make(tmp_path / "net", 1))
    site.configure("heartbeat_ms", "100")
    yield site
    if site.process is not None and site.process.poll() is None:
        site.process.kill()
        site.process.communicate()


async def decides(address: str, height: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    async with Client(address, limits=Limits(request_s=1.0)) as client:
        while True:
            try:
                if (await client.status()).height >= height:
                    return
            except Exception:  # noqa: BLE001 - not up yet: the deadline ends a test that fails
                assert time.monotonic() < deadline
            await asyncio.sleep(0.05)


def goes_on(site: Site) -> None:
    """The very same home works again as soon as the cause is gone, and stops in order."""
    process = site.start()
    asyncio.run(decides(site.address, 3))
    process.send_signal(signal.SIGTERM)
    code, output = site.ended()
    assert code == 0, output


def test_sigterm_in_the_middle_of_work_stops_in_under_5_s_and_loses_nothing_that_was_final(site: Site) -> None:
    async def scenario() -> int:
        await decides(site.address, 1)
        async with Client(site.address, Wallet.from_seed(b"\x0a" * 32), limits=Limits(request_s=10.0)) as client:
            following = asyncio.create_task(_follow(client))
            for amount in range(1, 6):
                await client.submit(make_call("counter", "add", amount))
            waiting = asyncio.create_task(client.submit(make_call("counter", "add", 1)))
            await asyncio.sleep(0)
            assert site.process is not None
            begun = time.monotonic()
            site.process.send_signal(signal.SIGTERM)
            code, output = await asyncio.to_thread(site.ended)
            assert code == 0, output
            assert "stopped" in output
            assert "Traceback" not in output
            for task in (following, waiting):
                task.cancel()
            await asyncio.gather(following, waiting, return_exceptions=True)
            return round(time.monotonic() - begun)

    site.start()
    assert asyncio.run(scenario()) < STOP_S  # the one promise about time that the program makes
    site.start()

    async def count() -> int:
        await decides(site.address, 1)
        async with Client(site.address) as client:
            found: int = await client.query("counter", "count", Wallet.from_seed(b"\x0a" * 32).address)
            return found

    assert asyncio.run(count()) in (15, 16)


async def _follow(client: Client) -> None:
    async for _ in client.subscribe(from_height=1):
        continue


@pytest.mark.parametrize("key", ["client_address", "peer_address", "metrics_address"])
def test_a_port_that_another_program_uses_is_named_and_the_node_ends(key: str, site: Site) -> None:
    if key == "metrics_address":
        site.configure(key, f'"127.0.0.1:{free_ports(1)[0]}"')
    address = site.line(key)
    with socket.socket() as other:
        other.bind(("127.0.0.1", int(address.rpartition(":")[2])))
        other.listen()
        site.start()
        code, output = site.ended()
    assert code == 1
    assert f"{key} {address} cannot be used" in output
    assert "is another process listening there?" in output
    assert "Traceback" not in output
    goes_on(site)


def test_a_limit_on_the_size_of_files_stops_the_node_in_a_sentence_and_it_goes_on_when_lifted(site: Site) -> None:
    site.start()
    asyncio.run(decides(site.address, 2))
    assert site.process is not None
    largest = max(f.stat().st_size for f in [Home(site.home).wal, Home(site.home).guard])
    resource.prlimit(site.process.pid, resource.RLIMIT_FSIZE, (largest + 500, resource.RLIM_INFINITY))
    code, output = site.ended()
    assert code == 1
    assert "cannot be written" in output or "Cannot write" in output
    assert "Traceback" not in output
    goes_on(site)


@needs_mounts
def test_a_full_disk_stops_the_node_in_a_sentence_and_what_was_decided_is_there_afterwards(
    site: Site, tmp_path: Path
) -> None:
    mounted = tmp_path / "disk"
    mounted.mkdir()
    saved = tmp_path / "saved"
    # LevelDB and the log have some megabytes; then the rest of the disk is taken away from under the running node.
    script = (
        f"mount -t tmpfs -o size=40m none {mounted} && cp -r {site.home} {mounted}/home && "
        f"( while [ ! -e {tmp_path}/fill ]; do sleep 0.05; done; cat /dev/zero > {mounted}/rubbish; "
        f"cat /dev/zero > {mounted}/rubbish2 ) 2>/dev/null & "
        f"{sys.executable} {' '.join(PROGRAM[1:])} {mounted}/home; code=$?; "
        f"rm -f {mounted}/rubbish*; cp -r {mounted}/home {saved}; exit $code"
    )
    site.process = subprocess.Popen(
        ["unshare", "-rm", "sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    asyncio.run(decides(site.address, 3))
    (tmp_path / "fill").touch()
    code, output = site.ended()
    assert code == 1, output
    assert "no space left on device" in output.lower() or "the disk is full" in output
    assert "Traceback" not in output
    shutil.rmtree(site.home)
    shutil.copytree(saved, site.home)
    goes_on(site)


@needs_mounts
def test_a_disk_that_can_only_be_read_is_told_in_a_sentence_and_nothing_is_begun(site: Site, tmp_path: Path) -> None:
    mounted = tmp_path / "disk"
    mounted.mkdir()
    script = (
        f"mount -t tmpfs none {mounted} && cp -r {site.home} {mounted}/home && mount -o remount,ro {mounted} && "
        f"exec {sys.executable} {' '.join(PROGRAM[1:])} {mounted}/home"
    )
    site.process = subprocess.Popen(
        ["unshare", "-rm", "sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    code, output = site.ended()
    assert code == 1
    assert "read-only" in output.lower()
    assert "Traceback" not in output
    goes_on(site)


def test_a_second_process_in_one_home_is_told_which_one_runs(site: Site) -> None:
    site.start()
    asyncio.run(decides(site.address, 1))
    second = subprocess.run([*PROGRAM, str(site.home)], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert second.returncode == 1
    assert site.process is not None
    assert f"is in use by process {site.process.pid}" in second.stderr
