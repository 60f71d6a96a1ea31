"""`devnet/up.sh`: makes the local network where there is none, starts what is not running, and waits until all of it decides."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from devnet.network import NETWORK_FILE, Network, NetworkError, base_port, create_network, load_network
from devnet.page import Page, start_page, stop_page, wait_page
from devnet.processes import log_tail, running_pid, start_node, stop_nodes
from gridbft import Client
from gridbft.errors import ClientError
from gridbft.records import NodeStatus
from gridbft.requests import Limits

DEFAULT_NODES = 4
READY_HEIGHT = 3
READY_S = 60.0
POLL_S = 0.1
FOLDER = Path(".devnet")


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    console = Console(soft_wrap=True)
    try:
        network = prepare(options.folder, options.nodes, options.fresh)
        started = start_missing(network)
        page = start_page(network) if options.page else None
        statuses = asyncio.run(wait_ready(network))
    except (NetworkError, OSError) as error:
        console.print(f"error: {error}", style="red", markup=False, highlight=False)
        return 1
    if page is not None:
        page = wait_page(network, page)
    print_table(console, network, statuses, page)
    if not started:
        console.print("Everything was running already.")
    if page is not None and page.problem:
        console.print(f"warning: {page.problem}", style="yellow", markup=False, highlight=False)
    print_next(console, network)
    return 0


def prepare(folder: Path, count: int | None, fresh: bool) -> Network:
    """The network of the folder, made where it is missing. Raises NetworkError."""
    port = base_port()
    if fresh:
        wipe(folder)
    network = load_network(folder)
    if network is None:
        if folder.exists():  # the making of a network was interrupted
            wipe(folder)
        return create_network(folder, DEFAULT_NODES if count is None else count, port)
    if count is not None and count != len(network.nodes):
        raise NetworkError(
            f"{folder} holds a network of {len(network.nodes)} nodes: devnet/up.sh --fresh --nodes {count} replaces it"
        )
    return network


def wipe(folder: Path) -> None:
    """Stops the network's nodes and removes its folder, and no folder that is anything else."""
    if not folder.exists():
        return
    try:
        network = load_network(folder)
    except NetworkError:
        network = None
    stop_page(folder)
    if network is not None:
        stop_nodes(network.nodes)
    # A network whose making was interrupted has keys and no network file yet.
    ours = (folder / NETWORK_FILE).exists() or (folder / "keys").is_dir() or not any(folder.iterdir())
    if not ours:
        raise NetworkError(f"{folder} is not a network's folder: nothing was removed; give another --folder")
    shutil.rmtree(folder)


def start_missing(network: Network) -> list[str]:
    """Names of the nodes that had to be started."""
    started = []
    for node in network.nodes:
        if running_pid(node) is None:
            start_node(node)
            started.append(node.name)
    return started


async def wait_ready(network: Network, height: int = READY_HEIGHT, patience_s: float = READY_S) -> list[NodeStatus]:
    """Polls until every node has committed `height`. Raises NetworkError with the tail of the log of one that did not."""
    deadline = time.monotonic() + patience_s
    clients = [Client(node.client_address, limits=Limits(request_s=2.0)) for node in network.nodes]
    try:
        while True:
            found = await asyncio.gather(*(client.status() for client in clients), return_exceptions=True)
            behind: list[str] = []
            for node, status in zip(network.nodes, found, strict=True):
                if isinstance(status, NodeStatus) and status.chain_id != network.chain_id:
                    raise NetworkError(
                        f"{node.client_address} is a node of the chain {status.chain_id}, not of {network.chain_id}: "
                        "another program uses the port of " + node.name
                    )
                if isinstance(status, BaseException) and not isinstance(status, ClientError):
                    raise status
                if running_pid(node) is None:
                    raise NetworkError(
                        f"{node.name} has stopped; the end of {node.home / 'node.log'}:\n{log_tail(node)}"
                    )
                if isinstance(status, BaseException) or status.height < height:
                    behind.append(node.name)
            if not behind:
                return [status for status in found if isinstance(status, NodeStatus)]
            if time.monotonic() > deadline:
                _give_up(network, behind, height, patience_s)
            await asyncio.sleep(POLL_S)
    finally:
        await asyncio.gather(*(client.close() for client in clients))


def _give_up(network: Network, behind: list[str], height: int, patience_s: float) -> None:
    node = next(node for node in network.nodes if node.name == behind[0])
    raise NetworkError(
        f"{', '.join(behind)} did not commit height {height} within {patience_s:.0f} s; "
        f"the end of {node.home / 'node.log'}:\n{log_tail(node)}"
    )


def print_table(console: Console, network: Network, statuses: list[NodeStatus], page: Page | None = None) -> None:
    table = Table(title=f"{network.chain_id}: {len(network.nodes)} validators", title_justify="left")
    for column in ("name", "role", "process", "address", "height", "state root"):
        table.add_column(column, justify="right" if column in ("process", "height") else "left", no_wrap=True)
    for node, status in zip(network.nodes, statuses, strict=True):
        pid, root = running_pid(node), status.state_root
        shown_root = f"{root[:16]}..." if console.is_terminal else root
        table.add_row(node.name, node.role, str(pid), node.client_address, str(status.height), shown_root)
    if page is not None and page.pid is not None:
        table.add_row("control room", "web page", str(page.pid), page.url, "", "")
    if console.is_terminal:
        console.print(table)
    else:
        Console(width=200).print(table)  # a pipe has no edge to wrap at


def print_next(console: Console, network: Network) -> None:
    prefix = "" if network.folder == FOLDER else f"GRIDBFT_NETWORK={network.folder / NETWORK_FILE} "
    for command, what in (
        ("devnet/day.sh", "a real feeder's day: 93 participants, 96 slots"),
        (prefix + ".venv/bin/gridbft status", "where each node stands, and whether they agree"),
        (prefix + ".venv/bin/gridbft tx payments mint @issuer 5_000_000 hello --from operator --wait", "a transaction"),
        (prefix + ".venv/bin/gridbft query payments balance @issuer", "what it did"),
        ("devnet/down.sh", "stops everything; --wipe also removes the chain"),
    ):
        console.print(f"  {command}", style="bold", markup=False, highlight=False)
        console.print(f"      {what}", markup=False, highlight=False)


def _nodes(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}, expected a number of nodes from 1")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="devnet/up.sh", description="Start the local network and wait until it decides."
    )
    parser.add_argument("--fresh", action="store_true", help="begin with an empty chain and new keys")
    parser.add_argument("--nodes", type=_nodes, help=f"how many validators a new network has (default {DEFAULT_NODES})")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the network lives (default .devnet)")
    parser.add_argument("--no-page", dest="page", action="store_false", help="without the control room's web page")
    return parser


if __name__ == "__main__":
    sys.exit(main())
