"""Where a passphrase comes from: a file, the environment, or whoever sits at the terminal."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from gridbft.errors import WalletError
from gridbft.sealing import MAX_PASSPHRASE_BYTES, Passphrase, words_of

VARIABLE = "GRIDBFT_PASSPHRASE"
FILE_VARIABLE = "GRIDBFT_PASSPHRASE_FILE"


def read_passphrase(path: Path) -> str:
    """The file's first line. Raises WalletError where it cannot be read, is empty, or is open to everybody."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & (stat.S_IROTH | stat.S_IWOTH):
                raise WalletError(f"passphrase file {path} is open to every user of this machine: chmod 600 {path}")
            line = file.readline(MAX_PASSPHRASE_BYTES + 2).rstrip(b"\r\n")
        words = line.decode("utf-8")
    except OSError as error:
        raise WalletError(f"passphrase file {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise WalletError(f"passphrase file {path} is not UTF-8 text") from error
    if not words:
        raise WalletError(f"passphrase file {path} has no passphrase in its first line")
    return words


def asked_once(passphrase: Passphrase) -> Callable[[str], str]:
    """For several keys under one passphrase: who gives the words is asked for the first of them only."""
    known: list[str] = []

    def words(what: str) -> str:
        if not known:
            known.append(words_of(passphrase, what))
        return known[0]

    return words


def find_passphrase(
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    ask: Callable[[str], str] | None = None,
) -> Callable[[str], str]:
    """Who gives the words when they are needed: the file, else $GRIDBFT_PASSPHRASE, else the file that
    $GRIDBFT_PASSPHRASE_FILE names, else `ask` (a prompt). Without any of them, asking raises WalletError."""
    variables = os.environ if environment is None else environment

    def words(what: str) -> str:
        if file is not None:
            return read_passphrase(file)
        if variables.get(VARIABLE):
            return variables[VARIABLE]
        if variables.get(FILE_VARIABLE):
            return read_passphrase(Path(variables[FILE_VARIABLE]))
        if ask is not None:
            return ask(what)
        raise WalletError(
            f"{what} is encrypted: give --passphrase-file FILE, set {VARIABLE}, or run it at a terminal that can ask"
        )

    return words
