"""Random programs under plain CPython and on the metered runtime: `python -m tests.contracts.runtime.fuzz --programs N --seed S`.

Each program is called three times in both worlds, which must do the same (result or code, state, events). A copy of it with one construct
from outside of the language put in must be refused. Ends with one JSON object; `digest` covers results, gas and state, so the same
command gives the same digest on every interpreter (`--interpreters` runs it on each one found here and compares).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

from contracts.host import ContractError
from contracts.runtime.checker import check
from tests.contracts.runtime.corpus import REFUSED_EXPRESSIONS, REFUSED_STATEMENTS
from tests.contracts.runtime.programs import OTHER, program
from tests.contracts.runtime.twin import TwinWorld

ARGUMENTS = (4, 17, -3)
# Those that are refused wherever they stand, whatever names are around.
STRANGE = [text for text, code in REFUSED_EXPRESSIONS if code in ("UNDERSCORE", "LAMBDA", "GENERATOR", "SET", "FLOAT")]
STRANGE_LINES = [
    text for text, code in REFUSED_STATEMENTS if code in ("TRY", "WITH", "GLOBAL", "RAISE", "CLASS", "MATCH")
]


def run(seed: int) -> tuple[str, bytes]:
    """Three calls one after the other: how the last one ended, and a digest of all that they did. Raises AssertionError."""
    world = TwinWorld()
    world.height = 5
    world.deploy("other", OTHER)
    world.deploy("c", program(seed))
    seen: list[Any] = []
    code = ""
    for n in ARGUMENTS:
        try:
            seen.append(world.call("c", "f", n))
            code = ""
        except ContractError as refusal:
            code = refusal.code
            seen.append(code)
        seen.append(world.metered.gas_used)
    seen += [sorted(world.state.items()), [tuple(event) for event in world.events]]
    return code, sha256(repr(seen).encode()).digest()


def strange(seed: int) -> str:
    """The program with one construct more, which is not in the language."""
    random = Random(seed)
    lines = program(seed).splitlines()
    first = next(place for place, line in enumerate(lines) if line.startswith("    q = ")) + 1
    ends = [place for place in range(first, len(lines)) if lines[place].startswith("    ") and lines[place][4] != " "]
    place = random.choice([p for p in ends if not lines[p].lstrip().startswith("else")])
    if random.random() < 0.7:
        added = [f"    a = {random.choice(STRANGE)}"]
    else:
        added = ["    " + line for line in random.choice(STRANGE_LINES).split("\n")]
    return "\n".join([*lines[:place], *added, *lines[place:]]) + "\n"


def fuzz(first: int, count: int) -> dict[str, Any]:
    """Raises AssertionError with the seed that did it."""
    endings: Counter[str] = Counter()
    digest = sha256()
    for seed in range(first, first + count):
        try:
            code, seen = run(seed)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        endings[code or "ok"] += 1
        digest.update(seen)
        assert check(strange(seed).encode())[1], f"seed {seed}: what is not in the language was accepted"
    return {"ok": True, "programs": count, "endings": dict(endings.most_common()), "digest": digest.hexdigest()}


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare random programs under CPython and on the metered runtime.")
    parser.add_argument("--programs", type=int, default=1_000, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="the first program's seed")
    parser.add_argument(
        "--interpreters", action="store_true", help="on each CPython of this machine, with other hash seeds"
    )
    options = parser.parse_args()
    try:
        if options.interpreters:
            report = _on_each(options.programs, options.seed)
        else:
            report = fuzz(options.seed, options.programs)
    except AssertionError as error:
        print(json.dumps({"ok": False, "error": str(error)}))
        return 1
    print(json.dumps(report))
    return 0 if report["ok"] else 1


def _on_each(programs: int, seed: int) -> dict[str, Any]:
    from tests.contracts.runtime.interpreters import announce, run_on_each

    words = ("--programs", str(programs), "--seed", str(seed))
    with tempfile.TemporaryDirectory() as folder:
        outputs = run_on_each(Path(folder), "tests.contracts.runtime.fuzz", *words)
    same = len(set(outputs.values())) == 1
    return {**json.loads(next(iter(outputs.values()))), "ok": same, "interpreters": announce(outputs)}


if __name__ == "__main__":
    sys.exit(main())
