"""`devnet/down.sh`: stops the local network's processes; with --wipe its folder goes too."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from devnet.network import NetworkError, load_network
from devnet.page import stop_page
from devnet.processes import stop_nodes
from devnet.up import FOLDER, wipe


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="devnet/down.sh", description="Stop the local network.")
    parser.add_argument("--wipe", action="store_true", help="also remove its folder: chain, keys and logs")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the network lives (default .devnet)")
    options = parser.parse_args(arguments)
    try:
        network = load_network(options.folder)
        if network is None:
            print(f"no network in {options.folder}")
        else:
            print(f"{'control room':<12} {stop_page(options.folder)}")
            for name, outcome in stop_nodes(network.nodes).items():
                print(f"{name:<12} {outcome}")
        if options.wipe:
            wipe(options.folder)
            print(f"{options.folder} is removed")
    except (NetworkError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
