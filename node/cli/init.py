"""`gridbft init`: a validator's own keys and configuration. Only its public part ever leaves the folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import click

from chain.genesis import GenesisError, Member, load_genesis
from gridbft.sealing import MODERATE
from gridbft.wallet import Wallet
from node.certs import make_tls_identity, utc_now
from node.cli.output import BAD_INPUT, FAILURE, fail, faults, json_option, print_facts, print_json
from node.cli.unlock import given_file, new_passphrase, passphrase_option
from node.config import config_template, is_address
from node.home import Home
from node.tlskey import save_tls_key


def create_home(
    path: Path, name: str, role: str, client_address: str, peer_address: str, passphrase: str | None = None
) -> Member:
    """Makes the folder with new keys and a commented config.toml; returns what belongs into the genesis.

    The passphrase seals the validator's key and the TLS key; without one both files say that they are open.

    Raises FileExistsError where a part of a home stands already: keys are never overwritten.
    """
    home = Home(path)
    for file in (home.config, home.key, home.tls_key, home.tls_certificate):
        if file.exists():
            raise FileExistsError(f"{file} exists already: a validator's home is made once")
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    wallet = Wallet.generate(name)
    wallet.save(home.key, passphrase, MODERATE)
    tls = make_tls_identity(name, utc_now())
    save_tls_key(home.tls_key, tls.private_key, passphrase)
    home.tls_certificate.write_text(tls.certificate, encoding="utf-8")
    home.config.write_text(config_template(name, client_address, peer_address), encoding="utf-8")
    return Member(name, role, wallet.public_key, 1, peer_address, tls.certificate)


def member_record(member: Member) -> dict[str, Any]:
    """As an entry of the genesis file's `validators`."""
    return {
        "name": member.name,
        "role": member.role,
        "public_key": member.public_key.hex(),
        "power": member.power,
        "peer_address": member.peer_address,
        "certificate": member.certificate,
    }


def _address(ctx: click.Context, param: click.Parameter, value: str) -> str:
    if not is_address(value):
        raise click.BadParameter(f"{value!r}, expected HOST:PORT")
    return value


@click.command()
@click.option("--home", required=True, type=click.Path(path_type=Path, file_okay=False), help="The folder to make.")
@click.option("--name", required=True, help="The validator's name in the genesis.")
@click.option("--role", default="utility", show_default=True, help="What its operator is, for people.")
@click.option(
    "--client-address",
    default="127.0.0.1:7101",
    show_default=True,
    callback=_address,
    help="HOST:PORT where clients connect.",
)
@click.option(
    "--peer-address",
    default="127.0.0.1:7201",
    show_default=True,
    callback=_address,
    help="HOST:PORT where the other validators connect.",
)
@click.option("--genesis", type=click.Path(path_type=Path, dir_okay=False), help="The agreed genesis, if it stands.")
@click.option(
    "--unencrypted", is_flag=True, help="No passphrase for node.key and tls.key: for validators that only play."
)
@passphrase_option
@json_option
def init(
    home: Path,
    name: str,
    role: str,
    client_address: str,
    peer_address: str,
    genesis: Path | None,
    unencrypted: bool,
    as_json: bool,
) -> None:
    """Make a validator's home.

    Its public part is written to member.json: send that to whoever puts the genesis together. Everything else stays.

    \b
    gridbft init --home /var/lib/gridbft --name utility-1 --role utility \\
        --client-address 10.0.0.5:7101 --peer-address 10.0.0.5:7201 --passphrase-file /etc/gridbft/passphrase
    """
    with faults(as_json):
        if genesis is not None:
            try:
                load_genesis(genesis.read_text(encoding="utf-8"))
            except (OSError, UnicodeDecodeError, GenesisError) as error:
                fail(BAD_INPUT, "BAD_GENESIS", f"{genesis}: {error}", as_json)
        words = None if unencrypted else new_passphrase("the validator's keys", given_file())
        try:
            member = create_home(home, name, role, client_address, peer_address, words)
        except FileExistsError as error:
            fail(BAD_INPUT, "HOME_EXISTS", str(error), as_json)
        except OSError as error:
            fail(FAILURE, "HOME_NOT_WRITTEN", f"{home} cannot be written: {error.strerror}", as_json)
        if genesis is not None:
            shutil.copyfile(genesis, Home(home).genesis)
        record = member_record(member)
        (home / "member.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        if as_json:
            print_json({"ok": True, "home": str(home), "member": record})
            return
        print_facts(
            (
                ("home", str(home)),
                ("address", member.id.hex()),
                ("public part", str(home / "member.json")),
                ("next", f"gridbft join --home {home} --genesis FILE, once the genesis is agreed"),
            )
        )
