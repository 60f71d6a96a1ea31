"""Passphrases on the command line: `--passphrase-file`, the environment, or a prompt where somebody sits."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from gridbft.errors import WalletError
from gridbft.passphrase import FILE_VARIABLE, VARIABLE, find_passphrase, read_passphrase
from gridbft.sealing import Passphrase, words_of

NEW_VARIABLE = "GRIDBFT_NEW_PASSPHRASE"
_KEY = "gridbft.passphrase_file"

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _remember(ctx: click.Context, param: click.Parameter, value: Path | None) -> None:
    ctx.meta[_KEY] = value


def passphrase_option(command: _Command) -> _Command:
    """Adds --passphrase-file, which `unlocking` finds by itself."""
    return click.option(
        "--passphrase-file",
        type=click.Path(path_type=Path, dir_okay=False),
        expose_value=False,
        callback=_remember,
        help=f"File whose first line unlocks keys (else ${VARIABLE}, ${FILE_VARIABLE}, or a prompt).",
    )(command)


def unlocking(fallback: Path | None = None) -> Callable[[str], str]:
    """Gives the passphrase when it is needed, and asks at most once; `fallback` is a file named by a configuration.

    What the option or the environment says wins over that file."""
    context = click.get_current_context(silent=True)
    file: Path | None = None if context is None else context.meta.get(_KEY)
    if file is None and fallback is not None and not (os.environ.get(VARIABLE) or os.environ.get(FILE_VARIABLE)):
        file = fallback
    return find_passphrase(file, ask=_ask if sys.stdin.isatty() else None)


def remembered(unlock: Callable[[Path | None], Passphrase]) -> Callable[[Path | None], Passphrase]:
    """Like `unlock`, but each key file's passphrase is asked for once in the life of the process."""
    known: dict[str, str] = {}

    def again(fallback: Path | None) -> Passphrase:
        def words(what: str) -> str:
            if what not in known:
                known[what] = words_of(unlock(fallback), what)
            return known[what]

        return words

    return again


def _ask(what: str) -> str:
    words: str = click.prompt(f"Passphrase of {what}", hide_input=True, err=True)
    return words


def new_passphrase(what: str, file: Path | None, variable: str = VARIABLE) -> str:
    """For a key that is made or changed: from `file`, the environment, or asked for twice. Raises WalletError."""
    if file is not None:
        return read_passphrase(file)
    if os.environ.get(variable):
        return os.environ[variable]
    if sys.stdin.isatty():
        words: str = click.prompt(f"New passphrase of {what}", hide_input=True, confirmation_prompt=True, err=True)
        return words
    option = "--passphrase-file" if variable == VARIABLE else "--new-passphrase-file"
    raise WalletError(
        f"{what} needs a passphrase: give {option} FILE, set {variable}, or say --unencrypted for a key that only plays"
    )


def given_file() -> Path | None:
    """What --passphrase-file or its variable names, if anything."""
    file: Path | None = click.get_current_context().meta.get(_KEY)
    named = os.environ.get(FILE_VARIABLE)
    return file or (Path(named) if named and not os.environ.get(VARIABLE) else None)
