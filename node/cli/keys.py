"""`gridbft keys`: a folder of keys, each encrypted under a passphrase of its own."""

from __future__ import annotations

from pathlib import Path

import click

from gridbft.wallet import KeyInfo, Keyring, Wallet
from node.cli.network import find_network
from node.cli.output import InputError, faults, json_option, print_json, print_table
from node.cli.unlock import NEW_VARIABLE, given_file, new_passphrase, passphrase_option, unlocking

folder_option = click.option(
    "--keys", "keys_folder", type=click.Path(path_type=Path), help="Folder of keys (else the network's)."
)
new_file_option = click.option(
    "--new-passphrase-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"File whose first line is the new passphrase (else ${NEW_VARIABLE}, or a prompt).",
)
unencrypted_option = click.option("--unencrypted", is_flag=True, help="No passphrase: for keys that only play.")


@click.group()
def keys() -> None:
    """List, make, export and rotate keys.

    Keys are encrypted with a passphrase (Argon2id and secretbox). It comes from --passphrase-file, from
    $GRIDBFT_PASSPHRASE, from the file that $GRIDBFT_PASSPHRASE_FILE names, or from a prompt, in this order.
    """


@keys.command("list")
@folder_option
@json_option
def list_keys(keys_folder: Path | None, as_json: bool) -> None:
    """List the keys of the folder with their addresses; nothing has to be unlocked for that.

    \b
    gridbft keys list --keys /etc/gridbft/keys
    """
    with faults(as_json):
        keyring = _keyring(keys_folder)
        found = [keyring.info(name) for name in keyring.names()]
        if as_json:
            print_json({"folder": str(keyring.folder), "keys": [_public(k) for k in found]})
        else:
            rows = [(k.name, k.address, "encrypted" if k.encrypted else "open") for k in found]
            print_table(f"Keys in {keyring.folder}", ("name", "address", "file"), rows)


@keys.command("new")
@click.argument("name")
@folder_option
@unencrypted_option
@passphrase_option
@json_option
def new_key(name: str, keys_folder: Path | None, unencrypted: bool, as_json: bool) -> None:
    """Make a key and save it in the folder, readable by its owner only.

    A folder that holds a file named UNENCRYPTED, as a development network's does, takes open keys without being asked.

    \b
    gridbft keys new alice --keys /etc/gridbft/keys --passphrase-file /etc/gridbft/passphrase
    """
    with faults(as_json):
        keyring = _keyring(keys_folder)
        keyring.refuse_taken(name)  # before anybody thinks of a passphrase
        is_open = unencrypted or keyring.holds_open_keys
        wallet = keyring.new(name, passphrase=None if is_open else new_passphrase(f"key {name}", given_file()))
        if as_json:
            print_json(_public(keyring.info(name)))
        else:
            click.echo(f"{wallet.name}  {wallet.address}")


@keys.command("export")
@click.argument("name", required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="A copy of the whole key goes here.")
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    help="Instead of NAME: all that a node's home cannot lose.",
)
@folder_option
@new_file_option
@unencrypted_option
@passphrase_option
@json_option
def export_key(
    name: str | None,
    output: Path | None,
    home: Path | None,
    keys_folder: Path | None,
    new_passphrase_file: Path | None,
    unencrypted: bool,
    as_json: bool,
) -> None:
    """Show a key's public part, or copy the whole key to a file under a passphrase of its own.

    With --home the copy is a folder with what is in no backup: node.key, tls.key, tls.crt, genesis.json, config.toml.

    \b
    gridbft keys export alice                      # name, address, public key
    gridbft keys export alice -o alice.backup      # the key itself, encrypted
    gridbft keys export --home /var/lib/gridbft -o FOLDER
    """
    with faults(as_json):
        if home is not None:
            if output is None or name is not None:
                raise InputError("--home needs -o FOLDER for the copies, and no NAME")
            from node.cli.homekeys import export_home

            export_home(home, output, new_passphrase_file, unencrypted, as_json)
            return
        if name is None:
            raise InputError("which key? give its NAME, or --home DIR for a node's own keys")
        keyring = _keyring(keys_folder)
        info = keyring.info(name)
        if output is not None:
            if output.exists():
                raise InputError(f"{output} exists already: a key is never overwritten")
            wallet = keyring.get(name)
            words = None if unencrypted else new_passphrase(str(output), new_passphrase_file, NEW_VARIABLE)
            wallet.save(output, words)
        report = _public(info) | ({} if output is None else {"file": str(output)})
        if as_json:
            print_json(report)
        else:
            for field, value in report.items():
                click.echo(f"{field:<10}  {value}")


@keys.command("rotate")
@click.argument("name", required=False)
@click.option("--consensus", is_flag=True, help="Replace a validator's own key, by governance.")
@click.option(
    "--home", type=click.Path(path_type=Path, file_okay=False), help="Instead of NAME: the keys of this home."
)
@click.option("--new-name", help="With --consensus: what the new member is called (names are unique).")
@click.option("--nodes", help="With --consensus: nodes to send the proposals to (else the home's own).")
@folder_option
@new_file_option
@unencrypted_option
@passphrase_option
@json_option
def rotate_key(
    name: str | None,
    consensus: bool,
    home: Path | None,
    new_name: str | None,
    nodes: str | None,
    keys_folder: Path | None,
    new_passphrase_file: Path | None,
    unencrypted: bool,
    as_json: bool,
) -> None:
    """Encrypt a key under a new passphrase, or replace a validator's key.

    A key keeps its address under a new passphrase; the old passphrase opens old copies only. With --home the keys of a node's
    home (node.key and tls.key) or of a signer's folder get the new passphrase together, while nothing runs there; keys that
    were not encrypted are so afterwards. With --consensus a new key is
    made beside the validator's own, under the same passphrase, and one transaction proposes to add it and to remove the old
    one. Once the other members have voted for both, the running node changes over by itself.

    \b
    gridbft keys rotate alice --new-passphrase-file FILE
    gridbft keys rotate --home /var/lib/gridbft --passphrase-file OLD --new-passphrase-file NEW
    gridbft keys rotate --consensus --home /var/lib/gridbft --new-name utility-1b
    """
    with faults(as_json):
        if consensus:
            if home is None or new_name is None:
                raise InputError("--consensus needs --home DIR and --new-name NAME")
            from node.cli.rotate import propose_rotation

            propose_rotation(home, new_name, nodes, as_json)
            return
        if home is not None:
            if name is not None:
                raise InputError(f"either the key {name} of a folder of keys, or those of --home {home}")
            from node.cli.homekeys import reseal_home

            reseal_home(home, new_passphrase_file, unencrypted, as_json)
            return
        if name is None:
            raise InputError("which key? give its NAME, or --home DIR, or --consensus with --home")
        keyring = _keyring(keys_folder)
        wallet: Wallet = keyring.get(name)
        words = None if unencrypted else new_passphrase(f"key {name}", new_passphrase_file, NEW_VARIABLE)
        wallet.save(keyring.path(name), words, replace=True)
        if as_json:
            print_json({"ok": True, **_public(keyring.info(name))})
        else:
            click.echo(f"{name} is {'open' if unencrypted else 'encrypted'} now")


def _public(key: KeyInfo) -> dict[str, object]:
    return {"name": key.name, "address": key.address, "public_key": key.public_key, "encrypted": key.encrypted}


def _keyring(folder: Path | None) -> Keyring:
    if folder is not None:
        return Keyring(folder, unlocking())
    return find_network(nodes="localhost:1").keyring()  # no node is asked here, so none has to be known
