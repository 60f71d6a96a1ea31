"""The control room beside a local network: a process of its own, which only asks the nodes and dies without harm."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from devnet.forecast import FEED_IN_MICROS_PER_KWH, RETAIL_MICROS_PER_KWH
from devnet.network import GENESIS_FILE, Network

DATA = Path(__file__).resolve().parent / "data"
START_S = 20.0
STOP_S = 5.0
POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Page:
    """Where it is served, and its process. `problem`: a sentence where it is not there."""

    url: str
    pid: int | None
    problem: str = ""


def page_port(network: Network) -> int:
    """Just before the first node's client port."""
    return int(network.nodes[0].client_address.rpartition(":")[2]) - 1


def page_url(network: Network) -> str:
    return f"http://127.0.0.1:{page_port(network)}/"


def running_page(folder: Path) -> int | None:
    """The pid of the folder's control room, or None. A number that another program has taken over does not count."""
    try:
        pid = int(_pid_file(folder).read_text(encoding="ascii"))
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except (OSError, ValueError):
        return None
    return pid if "controlroom" in command and str(_genesis(folder)) in command else None


def start_page(network: Network) -> Page:
    """Starts it where it does not run. It waits for the nodes by itself, so it may be started before them."""
    url, pid = page_url(network), running_page(network.folder)
    if pid is not None:
        return Page(url, pid)
    if importlib.util.find_spec("starlette") is None:
        return Page(url, None, "the control room needs what requirements.lock lists: run devnet/up.sh")
    if _answers(network):
        return Page(url, None, f"another program uses port {page_port(network)}: the control room was not started")
    command = [sys.executable, "-m", "controlroom", "--nodes", ",".join(network.addresses)]
    command += ["--port", str(page_port(network)), "--genesis", str(_genesis(network.folder))]
    command += ["--keys", str((network.folder / "keys").resolve()), "--feeder", str(DATA)]
    command += ["--tariffs", f"{RETAIL_MICROS_PER_KWH}:{FEED_IN_MICROS_PER_KWH}"]
    with _log_file(network.folder).open("ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    _pid_file(network.folder).write_text(f"{process.pid}\n", encoding="ascii")
    return Page(url, process.pid)


def wait_page(network: Network, page: Page, patience_s: float = START_S) -> Page:
    """The page as soon as it is served; with a problem where it ended instead, or takes too long."""
    deadline = time.monotonic() + patience_s
    while not page.problem and not _answers(network):
        if running_page(network.folder) is None or time.monotonic() > deadline:
            stop_page(network.folder)
            return Page(page.url, None, f"the control room did not start: see {_log_file(network.folder)}")
        time.sleep(POLL_S)
    return page


def stop_page(folder: Path) -> str:
    """SIGTERM, then SIGKILL after 5 s. Returns what happened."""
    pid = running_page(folder)
    outcome = "stopped" if pid is not None else "was not running"
    if pid is not None:
        _signal(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        while running_page(folder) is not None:
            if time.monotonic() > deadline:
                _signal(pid, signal.SIGKILL)
                outcome = f"killed: it did not stop within {STOP_S:.0f} s"
            time.sleep(POLL_S)
    _pid_file(folder).unlink(missing_ok=True)
    return outcome


def _genesis(folder: Path) -> Path:
    return (folder / GENESIS_FILE).resolve()


def _pid_file(folder: Path) -> Path:
    return folder / "controlroom.pid"


def _log_file(folder: Path) -> Path:
    return folder / "controlroom.log"


def _answers(network: Network) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", page_port(network))) == 0


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it ended by itself meanwhile
