"""`gridbft completion`: what a shell needs to complete commands and options with the Tab key."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    gridbft completion bash > ~/.local/share/bash-completion/completions/gridbft
    gridbft completion zsh > ~/.zfunc/_gridbft        # with ~/.zfunc in $fpath
    gridbft completion fish > ~/.config/fish/completions/gridbft.fish
    """
    found = get_completion_class(shell)
    assert found is not None, "click knows these shells"
    click.echo(found(ctx.find_root().command, {}, "gridbft", "_GRIDBFT_COMPLETE").source())
