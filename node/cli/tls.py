"""TLS on the command line: off, with the members' certificates of the genesis, or with a CA's."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from gridbft.errors import ClientError
from gridbft.tls import Tls
from node.cli.output import InputError

TLS_VARIABLE = "GRIDBFT_TLS"
_TLS, _CA, _CERTIFICATE, _KEY = "gridbft.tls", "gridbft.tls_ca", "gridbft.tls_certificate", "gridbft.tls_key"

_Command = TypeVar("_Command", bound=Callable[..., Any])


def tls_options(command: _Command) -> _Command:
    """Adds --tls, --tls-ca, --tls-cert and --tls-key, which `chosen_tls` finds by itself."""

    def kept(key: str) -> Callable[[click.Context, click.Parameter, Any], None]:
        return lambda ctx, param, value: ctx.meta.__setitem__(key, value)

    file = click.Path(path_type=Path, dir_okay=False)
    for name, key, what in (
        ("--tls-key", _KEY, "The private key of --tls-cert (PEM)."),
        ("--tls-cert", _CERTIFICATE, "This client's certificate (PEM), where nodes let in only those they know."),
        ("--tls-ca", _CA, "CAs (PEM) of the nodes' certificates, instead of the members' own; implies --tls."),
    ):
        command = click.option(name, type=file, expose_value=False, callback=kept(key), help=what)(command)
    return click.option(
        "--tls",
        is_flag=True,
        expose_value=False,
        callback=kept(_TLS),
        help=f"Nodes speak TLS, with the certificates that the genesis pins (or set {TLS_VARIABLE}=1).",
    )(command)


def shown_to_nodes() -> tuple[bool, Tls | None]:
    """For a command that has no genesis yet: whether nodes speak TLS, and with --tls-ca or --tls-cert what to use there.

    Raises InputError."""
    context = click.get_current_context(silent=True)
    meta: dict[str, Any] = {} if context is None else context.meta
    ca, certificate, key = meta.get(_CA), meta.get(_CERTIFICATE), meta.get(_KEY)
    wanted = meta.get(_TLS) or ca or certificate or os.environ.get(TLS_VARIABLE) == "1"
    try:
        return bool(wanted), Tls.load(ca, certificate, key) if ca or certificate else None
    except ClientError as error:
        raise InputError(str(error)) from error


def chosen_tls(genesis: Path | None) -> Tls | None:
    """What the options of the command at hand say. Raises InputError."""
    context = click.get_current_context(silent=True)
    meta: dict[str, Any] = {} if context is None else context.meta
    ca, certificate, key = meta.get(_CA), meta.get(_CERTIFICATE), meta.get(_KEY)
    wanted = meta.get(_TLS) or ca or certificate or os.environ.get(TLS_VARIABLE) == "1"
    if not wanted:
        return None
    try:
        if ca is not None:
            return Tls.load(ca, certificate, key)
        if genesis is None:
            raise InputError("--tls needs to know the members' certificates: give --genesis FILE, or --tls-ca FILE")
        return Tls.of_genesis(genesis.read_text(encoding="utf-8"), certificate, key)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"genesis file {genesis} cannot be read: {error}") from error
    except ClientError as error:
        raise InputError(str(error)) from error
