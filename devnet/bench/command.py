"""`gridbft bench`: measures a fresh network of real processes on this machine."""

from __future__ import annotations

import json

import click

from devnet.bench.figures import figures
from devnet.bench.options import DEFAULT_ACCOUNTS, WORKLOADS, Options
from devnet.bench.orders import window as orders_window
from devnet.bench.run import run
from devnet.network import NetworkError, node_names
from gridbft.errors import ClientError
from node.cli.output import BAD_INPUT, FAILURE, fail, json_option, print_facts

WINDOWS = {"transfer": 16_000, "meter": 64}
"""Transactions under way at once where no rate is given: enough for full blocks while the next ones arrive."""


@click.command()
@click.option("--nodes", default=4, show_default=True, type=click.IntRange(1, 16), help="Validators.")
@click.option(
    "--seconds", default=30.0, show_default=True, type=click.FloatRange(1, 3_600), help="How long to send, in seconds."
)
@click.option("--workload", default="transfer", show_default=True, type=click.Choice(WORKLOADS), help="What is sent.")
@click.option("--accounts", type=click.IntRange(2, 10_000_000), help="How many there are (else by workload).")
@click.option("--rate", type=click.FloatRange(0.1), help="Transactions per second; else as many as it can.")
@click.option(
    "--readings", type=click.IntRange(1), help="With --workload meter: how many to send, however long it takes."
)
@click.option(
    "--orders-per-tx",
    default=1,
    show_default=True,
    type=click.IntRange(1, 96),
    help="With --workload orders: how many orders for different slots stand in one transaction.",
)
@click.option("--kill", metavar="ONE", help="SIGKILL this node, as dso-1, soon after the load begins.")
@click.option("--window", type=click.IntRange(1), help="Most transactions under way where no rate is given.")
@json_option
def bench(
    nodes: int,
    seconds: float,
    workload: str,
    accounts: int | None,
    rate: float | None,
    readings: int | None,
    orders_per_tx: int,
    kill: str | None,
    window: int | None,
    as_json: bool,
) -> None:
    """Measure a fresh network of real processes: throughput, latency, and where the time goes.

    TLS between the nodes, every sync to the disk and every check are as in production. Each transaction is signed
    beforehand, sent by another process, and looked up afterwards.

    \b
    gridbft bench --workload transfer --nodes 4 --seconds 10 --json
    """
    chosen = next(w for w in WORKLOADS if w == workload)
    names = [name for name, _ in node_names(nodes)]
    if kill is not None and kill not in names:
        fail(BAD_INPUT, "BAD_INPUT", f"--kill {kill}: the nodes are {', '.join(names)}", as_json)
    if readings is not None and workload != "meter":
        fail(BAD_INPUT, "BAD_INPUT", "--readings goes with --workload meter", as_json)
    accounts = accounts or DEFAULT_ACCOUNTS[chosen]
    window = window or (WINDOWS.get(chosen) or orders_window(orders_per_tx))
    options = Options(nodes, seconds, chosen, accounts, rate, kill, window, readings, orders_per_tx)
    try:
        found = figures(run(options, lambda line: click.echo(line, err=True)))
    except (NetworkError, ClientError, OSError) as error:
        fail(FAILURE, "BENCH_FAILED", str(error), as_json)
    if as_json:
        click.echo(json.dumps(found))
    else:
        print_facts(
            tuple((key, json.dumps(value) if isinstance(value, dict) else str(value)) for key, value in found.items())
        )
