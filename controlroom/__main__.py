"""`python -m controlroom --nodes HOST:PORT,...`: serves the control room until it is told to stop."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from controlroom.feed import Feed
from controlroom.grid import GridError, load_grid
from controlroom.hub import Hub
from controlroom.lookups import Desk
from controlroom.owner import Owner
from controlroom.proofs import Notary
from controlroom.room import Room, Tariffs
from controlroom.server import Services, build
from controlroom.views import LIVELY, VIEWS
from gridbft import Client, Wallet
from gridbft.errors import ClientError, VerificationError
from gridbft.requests import Limits
from gridbft.tls import Tls
from gridbft.verify import Trust
from gridbft.wallet import Keyring

PORT = 7100
LIMITS = Limits(request_s=3.0, reconnect_s=10.0)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        services = assemble(options)
    except (ClientError, GridError, OSError, UnicodeDecodeError, ValueError, VerificationError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    config = uvicorn.Config(
        build(services, lambda: stop()),
        host=options.host,
        port=options.port,
        log_level="warning",
        access_log=False,
        ws="websockets-sansio",
        ws_max_size=16_384,
        timeout_graceful_shutdown=2,
        server_header=False,
    )
    server = uvicorn.Server(config)

    def stop() -> None:
        server.should_exit = True

    server.run()
    return 0 if server.started else 1


def assemble(options: argparse.Namespace) -> Services:
    """What the command line asks for. Raises ClientError, GridError, OSError, UnicodeDecodeError, ValueError, VerificationError."""
    genesis = _genesis(options.genesis)
    tls = _tls(options, genesis)
    grid = load_grid(options.feeder) if options.feeder is not None else None
    tariffs = Tariffs(*options.tariffs) if options.tariffs else None

    def connect(addresses: Sequence[str], wallet: Wallet | None = None) -> Client:
        return Client(list(addresses), wallet, limits=LIMITS, tls=tls)

    feed = Feed(options.nodes, connect, granted_roles(genesis))
    currency = str(json.loads(genesis).get("currency", "")) if genesis is not None else ""
    room = Room(feed, grid, tariffs, currency)
    keyring = Keyring(options.keys) if options.keys is not None else None
    owner = Owner(room, keyring, lambda wallet: connect(options.nodes, wallet))
    return Services(room, owner, Notary(room, genesis, tls), Desk(room), Hub(room, VIEWS, LIVELY))


def _tls(options: argparse.Namespace, genesis: str | None) -> Tls | None:
    """As the command line of `gridbft` has it: the members' own certificates, or those of a CA."""
    if not (options.tls or options.tls_ca or options.tls_cert):
        return None
    if options.tls_ca is not None:
        return Tls.load(options.tls_ca, options.tls_cert, options.tls_key)
    if genesis is None:
        raise ValueError("--tls needs to know the members' certificates: give --genesis FILE, or --tls-ca FILE")
    return Tls.of_genesis(genesis, options.tls_cert, options.tls_key)


def _genesis(file: Path | None) -> str | None:
    if file is None:
        return None
    text = file.read_text(encoding="utf-8")
    Trust.read(text)  # says now, not at the first proof, that it is no genesis
    return text


def granted_roles(genesis: str | None) -> dict[str, set[str]]:
    """Account -> the roles that a genesis grants in its calls."""
    found: dict[str, set[str]] = {}
    for call in json.loads(genesis)["calls"] if genesis is not None else ():
        if (call["contract"], call["function"]) == ("registry", "grant"):
            account, role = call["args"]
            found.setdefault(account, set()).add(role)
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m controlroom", description="The market and the network in a browser, from any nodes."
    )
    parser.add_argument(
        "--nodes",
        required=True,
        type=_addresses,
        metavar="HOST:PORT,...",
        help="client addresses of the nodes to look at",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to serve at (default: this machine only)")
    parser.add_argument("--port", type=int, default=PORT, help=f"port to serve at (default {PORT})")
    parser.add_argument("--genesis", type=Path, metavar="FILE", help="genesis file, to make and check proofs")
    parser.add_argument("--feeder", type=Path, metavar="DIR", help="folder with lines.csv, transformer.csv, meters.csv")
    parser.add_argument("--keys", type=Path, metavar="DIR", help="key files that a viewer on this machine may unlock")
    tls = parser.add_argument_group("where the nodes' client ports speak TLS")
    tls.add_argument("--tls", action="store_true", help="believe the certificates that the genesis pins")
    tls.add_argument("--tls-ca", type=Path, metavar="FILE", help="believe these CAs (PEM) instead; implies --tls")
    tls.add_argument(
        "--tls-cert", type=Path, metavar="FILE", help="certificate (PEM) for nodes that let in who they know"
    )
    tls.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key (PEM)")
    parser.add_argument(
        "--tariffs",
        type=_tariffs,
        metavar="RETAIL:FEED_IN",
        help="micros per kWh to compare prices with, where the chain has none",
    )
    return parser


def _addresses(text: str) -> list[str]:
    found = [part.strip() for part in text.split(",") if part.strip()]
    if not found:
        raise argparse.ArgumentTypeError("expected HOST:PORT,HOST:PORT")
    return found


def _tariffs(text: str) -> tuple[int, int]:
    retail, _, feed_in = text.partition(":")
    if not (retail.isdecimal() and feed_in.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r}, expected RETAIL:FEED_IN, for example 300000:80000")
    return int(retail), int(feed_in)


if __name__ == "__main__":
    sys.exit(main())
