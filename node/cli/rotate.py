"""`gridbft keys rotate --consensus`: the next key of a validator, and the proposals that bring it in."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from chain.governance import NAME
from gridbft.errors import WalletError
from gridbft.requests import make_call
from gridbft.sealing import MODERATE
from gridbft.wallet import Wallet, key_info
from node.cli.gov import session
from node.cli.output import FAILURE, InputError, print_facts, print_json
from node.cli.unlock import unlocking
from node.config import ConfigError, read_config
from node.home import Home
from node.rotation import next_key


def propose_rotation(folder: Path, new_name: str, nodes: str | None, as_json: bool) -> None:
    """Makes the next key where there is none yet, and proposes both changes in one transaction. Raises InputError."""
    home = Home(folder)
    try:
        config = read_config(home.config)
    except ConfigError as error:
        raise InputError(str(error)) from error
    if config.signer:
        raise InputError(
            f"the key of {folder} is at its signer: start a signer with a new key, and change `signer` in {home.config}"
        )
    old, new = _keys(home)
    with session(nodes, None, None, folder, signs=True) as client:
        listed = {m["public_key"]: m for m in client.query(NAME, "members")}
        own = listed.get(old.public_key.hex())
        if own is None:
            raise InputError(f"the key of {folder} is no member's: there is nothing to replace")
        certificate = home.tls_certificate.read_text(encoding="utf-8")
        wanted = (new.public_key.hex(), new_name, own["role"], own["power"], own["peer_address"], certificate)
        calls = (
            make_call(NAME, "propose_member", *wanted),
            make_call(NAME, "propose_removal", old.public_key.hex()),
        )
        receipt = client.submit(calls)
    _report(receipt.ok, receipt.code, [int(n) for n in receipt.results] if receipt.ok else [], new, as_json)


def _keys(home: Home) -> tuple[Wallet, Wallet]:
    """The key in use and the next one, which is made and kept under the same passphrase."""
    words: str | None = None
    if key_info(home.key).encrypted:
        words = unlocking()(f"key file {home.key}")
    old = Wallet.load(home.key, words)
    if next_key(home).is_file():
        return old, Wallet.load(next_key(home), words)
    new = Wallet.generate(old.name)
    try:
        new.save(next_key(home), words, MODERATE)
    except WalletError as error:
        raise InputError(str(error)) from error
    return old, new


def _report(ok: bool, code: str, proposals: list[int], new: Wallet, as_json: bool) -> None:
    report: dict[str, Any] = {"ok": ok, "code": code, "proposals": proposals, "address": new.address}
    if as_json:
        print_json(report)
    elif ok:
        ids = " ".join(map(str, proposals))
        print_facts(
            (
                ("new address", new.address),
                ("proposals", ids),
                ("others vote", f"gridbft gov vote {ids} --yes --home DIR    (both at once)"),
                ("then", "the running node changes over by itself"),
            )
        )
    else:
        print_facts((("refused", code),))
    if not ok:
        sys.exit(FAILURE)
