"""python -m tests.fuzz --minutes 30 --json: exit code 1 when anything was found."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys

from tests.fuzz.run import run


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz",
        description="Fuzz every decoder, and both services of a real node over real sockets.",
    )
    parser.add_argument("--minutes", type=float, default=1.0, help="how long (default 1)")
    parser.add_argument("--seed", type=int, help="for the same inputs again (default: a new one)")
    parser.add_argument("--json", action="store_true", help="end with one JSON object on the last line")
    options = parser.parse_args()
    seed = random.randrange(2**31) if options.seed is None else options.seed
    report = asyncio.run(run(options.minutes * 60, seed, lambda text: print(text, file=sys.stderr)))
    for finding in report["findings"]:
        print(f"found: {finding}", file=sys.stderr)
    if options.json:
        print(json.dumps(report))
    else:
        print(f"{report['inputs']} inputs in {report['minutes']} minutes: {len(report['findings'])} findings")
    return 1 if report["findings"] else 0


if __name__ == "__main__":
    sys.exit(main())
