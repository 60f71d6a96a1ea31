"""The command line: one group whose commands load only when they are used, so that `gridbft --help` is quick."""

from __future__ import annotations

import os
from importlib import import_module

import click

# gRPC writes a line to stderr for each handshake that fails, as fast as strangers make them: they could fill the disk of
# the log. A node counts them instead (node/connections.py). To be set before gRPC is loaded, which commands do.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

# Command -> (module, attribute, what the group's help says). One line here is all that a new command needs.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "status": ("node.cli.status", "status", "Show where each node stands, and whether they agree."),
    "top": ("node.cli.top", "top", "Watch all nodes live."),
    "tx": ("node.cli.tx", "tx", "Sign and send a call of a contract's function."),
    "query": ("node.cli.query", "query", "Ask a contract's view, with --prove checked against the validators."),
    "contracts": ("node.cli.contracts", "contracts", "List the contracts on the chain and their functions."),
    "contract": ("node.cli.contract", "contract", "Write, check and try a contract, with no network."),
    "bench": ("devnet.bench.command", "bench", "Measure a fresh network of processes on this machine."),
    "block": ("node.cli.block", "block", "Show a block."),
    "receipt": ("node.cli.receipt", "receipt", "Show what a final transaction did."),
    "keys": ("node.cli.keys", "keys", "Make, list, export and rotate keys."),
    "market": ("node.cli.offline", "market", "Clear a market from a file, away from the chain."),
    "imbalance": ("node.cli.offline", "imbalance", "Settle a slot from a file, away from the chain."),
    "certificates": ("node.cli.offline", "certificates", "Split or match certificates from a file."),
    "explain": ("node.cli.explain", "explain", "Show what made a bill, down to readings, trades and prices."),
    "trace": ("node.cli.trace", "trace", "Follow a certificate from its reading to its retirement."),
    "export": ("node.cli.export", "export", "Write the chain as Parquet files for analysts."),
    "prove": ("node.cli.prove", "prove", "Write a proof file that anyone can check offline."),
    "verify": ("node.cli.verify", "verify", "Check a proof file against a genesis, with no network."),
    "completion": ("node.cli.completion", "completion", "Let the shell complete commands with Tab."),
    "init": ("node.cli.init", "init", "Make a validator's home."),
    "genesis": ("node.cli.genesis", "genesis", "Put a consortium's genesis together, or check one."),
    "join": ("node.cli.join", "join", "Take a genesis into a home, after checking both."),
    "signer": ("node.cli.signer", "signer", "Hold a validator's key and its guard in a process of its own."),
    "gov": ("node.cli.gov", "gov", "Propose and vote as a validator."),
    "halt": ("node.cli.gov", "halt", "Propose that the chain stops after a height."),
    "evidence": ("node.cli.gov", "evidence", "List validators that were caught signing twice."),
    "backup": ("node.cli.backup", "backup", "Write a node's chain to a file, while it runs or not."),
    "restore": ("node.cli.backup", "restore_command", "Put a backup into a home, after checking all of it."),
    "prune": ("node.cli.upkeep", "prune", "Forget old blocks of a stopped node."),
    "rollback": ("node.cli.upkeep", "rollback", "Take back the last block of a stopped node."),
    "doctor": ("node.cli.upkeep", "doctor", "Examine a stopped node's files."),
    "start": ("node.cli.start", "start", "Run a validator."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module only when that command runs or is asked for its help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, attribute, _ = COMMANDS[cmd_name]
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry[2]) for name, entry in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(None, "-V", "--version", package_name="gridbft", message="%(prog)s %(version)s")
def main() -> None:
    """A permissioned ledger for energy markets.

    Every command that answers something takes --json, which makes the last line of its output one JSON object. Exit codes:
    0 it worked, 1 it did not (the message says why), 2 the command or its input was wrong. COMMAND --help has examples.
    """
