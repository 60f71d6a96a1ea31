"""One operating system process for each validator: started so that it outlives the shell, stopped by its own pid only."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from devnet.network import BASE_PORT_VARIABLE, NetworkError, Node

STOP_S = 5.0
POLL_S = 0.05
BURIAL_S = 2.0
BIRTH_POLLS = 20
LOG_TAIL_LINES = 20


def log_file(node: Node) -> Path:
    return node.home / "node.log"


def pid_file(node: Node) -> Path:
    return node.home / "node.pid"


def running_pid(node: Node) -> int | None:
    """The pid of the node's process, or None. A number that another program has taken over does not count."""
    try:
        pid = int(pid_file(node).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return pid if _is_node(_command_line(pid), node) else None


def start_node(node: Node, environment: Mapping[str, str] | None = None) -> int:
    """Returns the new pid. `environment` is added to this process's own. Raises NetworkError where a port is taken."""
    for address in (node.client_address, node.peer_address):
        _require_free(address, node)
    program = Path(sys.executable).parent / "gridbft"
    with log_file(node).open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, str(program), "start", "--home", str(node.home.resolve())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=node.home,
            env={**os.environ, **(environment or {})},
        )
    pid_file(node).write_text(f"{process.pid}\n", encoding="ascii")
    return process.pid


def stop_nodes(nodes: Iterable[Node]) -> dict[str, str]:
    """SIGTERM to all at once, SIGKILL to those that have not ended after 5 s. Returns what happened, by name."""
    nodes = tuple(nodes)
    pids = {node.name: pid for node in nodes if (pid := running_pid(node)) is not None}
    outcome = {node.name: "stopped" if node.name in pids else "was not running" for node in nodes}
    for pid in pids.values():
        _signal(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_S
    while any(running_pid(node) for node in nodes) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    for node in nodes:
        if (pid := running_pid(node)) is not None:
            _signal(pid, signal.SIGKILL)
            outcome[node.name] = f"killed: it did not stop within {STOP_S:.0f} s"
    for node in nodes:
        while running_pid(node) is not None:
            time.sleep(POLL_S)
        pid_file(node).unlink(missing_ok=True)
    return outcome


def log_tail(node: Node) -> str:
    try:
        lines = log_file(node).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "(no log)"
    return "\n".join(lines[-LOG_TAIL_LINES:]) or "(empty log)"


def is_free(address: str) -> bool:
    """Whether a program could listen there now."""
    return _bind_problem(address) is None


def _require_free(address: str, node: Node) -> None:
    """Patient for a moment: a process that was just killed holds its ports until the system has buried it."""
    deadline = time.monotonic() + BURIAL_S
    while (problem := _bind_problem(address)) is not None:
        if problem.errno != errno.EADDRINUSE:
            raise NetworkError(f"{node.name} cannot listen on {address}: {problem.strerror}") from problem
        if time.monotonic() > deadline:
            raise NetworkError(
                f"{node.name} cannot listen on {address}: another program uses that port; stop it, or choose other "
                f"ports: {BASE_PORT_VARIABLE}=7501 devnet/up.sh --fresh"
            ) from problem
        time.sleep(POLL_S)


def _bind_problem(address: str) -> OSError | None:
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError as error:
            return error
    return None


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it ended by itself meanwhile


def _is_node(command: list[str], node: Node) -> bool:
    return "start" in command and str(node.home.resolve()) in command


def _is_dead(pid: int) -> bool:
    """A zombie: it has ended, and nobody has asked for its exit code yet."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"


def _command_line(pid: int) -> list[str]:
    """A process's arguments; none where it has ended (a zombie has none either)."""
    proc = Path("/proc")
    if (proc / "self").exists():
        try:
            for _ in range(BIRTH_POLLS):
                raw = (proc / str(pid) / "cmdline").read_bytes()
                if raw or _is_dead(pid):
                    break
                time.sleep(POLL_S)  # it is becoming that program just now
            return raw.decode(errors="replace").split("\0")
        except OSError:
            return []
    shown = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout.split()
